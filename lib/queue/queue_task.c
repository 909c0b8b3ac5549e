/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies of Redis as tasks and rows. What comes back was written by our own functions, but an
 * operator can write to Redis too: a hash that is no task is left alone.
 */
#include "lib/queue/queue_task.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/encode.h"
#include "lib/queue/queue_parts.h"

static const char *const kind_name[QUEUE_KINDS] = {
    [QUEUE_TAIL] = "tail",   [QUEUE_JOB] = "job",   [QUEUE_WINDOW] = "window",
    [QUEUE_BATCH] = "batch", [QUEUE_FILE] = "file",
};

const char *queue_kind_name(enum queue_kind kind)
{
    return kind_name[kind];
}

/* ---- tasks ---- */

const char *queue_task_get(const struct queue_task *task, const char *name)
{
    for (size_t i = 0; i < task->fields; i++)
        if (strcmp(task->field[i].name, name) == 0)
            return task->field[i].value;
    return NULL;
}

int64_t queue_task_int(const struct queue_task *task, const char *name, int64_t absent)
{
    const char *text = queue_task_get(task, name);
    uint64_t number;
    if (!text || parse_u64(text, INT64_MAX, &number))
        return absent;
    return (int64_t)number;
}

void queue_task_free(struct queue_task *task)
{
    if (!task)
        return;
    mem_free(task->field);
    mem_free(task->bytes);
    mem_free(task);
}

/* All texts of a task live in one piece of memory. */
static void copy_texts(struct queue_task *task, const char *id, const struct redisReply *fields)
{
    size_t count = redis_reply_count(fields), size = strlen(id) + 1;
    for (size_t i = 0; i < count; i++)
        size += redis_reply_len(redis_reply_at(fields, i)) + 1;
    task->bytes = mem_alloc(size);
    task->fields = count / 2;
    task->field = mem_alloc_array(task->fields, sizeof *task->field);
    char *at = task->bytes;
    task->id = at;
    at = stpcpy(at, id) + 1;
    for (size_t i = 0; i < 2 * task->fields; i++) {
        const struct redisReply *reply = redis_reply_at(fields, i);
        const char **slot = i % 2 ? &task->field[i / 2].value : &task->field[i / 2].name;
        *slot = at;
        memcpy(at, redis_reply_text(reply), redis_reply_len(reply));
        at += redis_reply_len(reply) + 1;
    }
}

static bool find_kind(const char *name, enum queue_kind *ret)
{
    for (enum queue_kind kind = 0; name && kind < QUEUE_KINDS; kind++)
        if (strcmp(kind_name[kind], name) == 0) {
            *ret = kind;
            return true;
        }
    return false;
}

static char *own_text(const struct queue_task *task, const char *name)
{
    return (char *)(uintptr_t)queue_task_get(task, name); /* points into task->bytes */
}

static bool read_fields(struct queue_task *task)
{
    const char *lane = queue_task_get(task, "lane");
    task->dataset = own_text(task, "dataset");
    task->phase = own_text(task, "phase");
    task->parent = own_text(task, "parent");
    task->offset = own_text(task, "offset");
    task->fence = own_text(task, "fence");
    task->order = queue_task_int(task, "order", -1);
    task->attempts = (int)queue_task_int(task, "attempts", 0);
    task->lost = (int)queue_task_int(task, "lost", 0);
    task->created_at = queue_task_int(task, "created_at", 0);
    task->lane = lane && strcmp(lane, "backfill") == 0 ? QUEUE_BACKFILL : QUEUE_LIVE;
    return find_kind(queue_task_get(task, "kind"), &task->kind) && task->dataset &&
           task->phase && task->parent && task->offset && task->fence && task->order >= 0;
}

struct queue_task *queue_task_parse(const char *id, const struct redisReply *fields)
{
    struct queue_task *task = mem_alloc(sizeof *task);
    copy_texts(task, id, fields);
    if (read_fields(task))
        return task;
    queue_task_free(task);
    return NULL;
}

/* ---- ids ---- */

/* The text behind so many slashes; NULL if there are not so many. */
static const char *segment(const char *id, int number)
{
    while (id && number-- > 0) {
        id = strchr(id, '/');
        id = id ? id + 1 : NULL;
    }
    return id;
}

int64_t queue_id_generation(const char *id)
{
    /* kind, dataset, generation, name; a file has one segment more */
    const int last = id[0] == 'f' ? 4 : 3;
    const char *at = segment(id, 2);
    uint64_t generation;
    if (!id[0] || !strchr("wbf", id[0]) || id[1] != '/' || !at || !segment(id, last) ||
        segment(id, last + 1))
        return 1;
    AUTO_TEXT char *number = mem_copy_bytes(at, strcspn(at, "/"));
    return parse_u64(number, INT64_MAX, &generation) ? 1 : (int64_t)generation;
}

bool queue_id_is_replay(const char *id)
{
    const char *at = segment(id, 2);
    bool job = strncmp(id, "j/", 2) == 0 && at && strncmp(at, "replay/", 7) == 0;
    return job || queue_id_generation(id) > 1;
}

/* ---- rows ---- */

/* Name and value of a row live in one piece of memory, which begins with the name. */
void queue_rows_add(struct queue_op *op, const struct redisReply *flat)
{
    size_t new = redis_reply_count(flat) / 2;
    op->row = mem_grow(op->row, op->rows + new, sizeof *op->row);
    for (size_t i = 0; i < new; i++) {
        const struct redisReply *name = redis_reply_at(flat, 2 * i);
        const struct redisReply *value = redis_reply_at(flat, 2 * i + 1);
        char *text = mem_alloc(redis_reply_len(name) + redis_reply_len(value) + 2);
        char *second = text + redis_reply_len(name) + 1;
        memcpy(text, redis_reply_text(name), redis_reply_len(name));
        memcpy(second, redis_reply_text(value), redis_reply_len(value));
        op->row[op->rows++] = (struct queue_field){ text, second };
    }
}

void queue_rows_add_ids(struct queue_op *op, const struct redisReply *list, size_t before)
{
    size_t new = redis_reply_count(list);
    op->row = mem_grow(op->row, op->rows + new, sizeof *op->row);
    for (size_t i = 0; i < new; i++) {
        const struct redisReply *id = redis_reply_at(list, i);
        if (redis_reply_len(id) > before)
            op->row[op->rows++] =
                (struct queue_field){ mem_copy_text(redis_reply_text(id) + before), NULL };
    }
}

static int compare_rows(const void *a, const void *b)
{
    const struct queue_field *left = a, *right = b;
    return strcmp(left->name, right->name);
}

static void free_row(const struct queue_field *row)
{
    mem_free((void *)(uintptr_t)row->name);
}

void queue_rows_unique(struct queue_op *op)
{
    size_t kept = 0;
    if (op->rows)
        qsort(op->row, op->rows, sizeof *op->row, compare_rows);
    for (size_t i = 0; i < op->rows; i++) {
        if (kept && strcmp(op->row[kept - 1].name, op->row[i].name) == 0)
            free_row(&op->row[i]);
        else
            op->row[kept++] = op->row[i];
    }
    op->rows = kept;
}

/* ---- results ---- */

void queue_op_release(struct queue_op *op)
{
    for (size_t i = 0; i < op->tasks; i++)
        queue_task_free(op->task[i]);
    for (size_t i = 0; i < op->rows; i++)
        free_row(&op->row[i]);
    mem_free(op->task);
    mem_free(op->row);
    mem_free(op->held);
    buf_release(&op->text);
    *op = (struct queue_op){ .done = op->done, .fault = op->fault, .run = op->run };
}
