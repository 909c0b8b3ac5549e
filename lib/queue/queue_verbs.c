/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs: arguments into a command, the answer into the operation. One row per function of
 * the library; the rules behind them are there, not here.
 */
#include <inttypes.h>
#include <string.h>

#include "lib/queue/queue_inbox.h"
#include "lib/queue/queue_look.h"
#include "lib/queue/queue_parts.h"

#define DAEMON_TTL_MS 15000 /* without a tick for so long a daemon no longer counts as alive */
#define LOST_MAX      5     /* leases that a task may lose without progress */
#define TEXT_MAX      (16u * 1024 * 1024)

static enum err read_submit(struct queue_run *run, const struct redisReply *reply);
static enum err read_fan(struct queue_run *run, const struct redisReply *reply);
static enum err read_claim(struct queue_run *run, const struct redisReply *reply);
static enum err read_beat(struct queue_run *run, const struct redisReply *reply);
static enum err read_seq(struct queue_run *run, const struct redisReply *reply);
static enum err read_dataset(struct queue_run *run, const struct redisReply *reply);
static enum err read_tick(struct queue_run *run, const struct redisReply *reply);
static enum err read_rows(struct queue_run *run, const struct redisReply *reply);
static enum err read_text(struct queue_run *run, const struct redisReply *reply);
static enum err read_taken(struct queue_run *run, const struct redisReply *reply);

enum verb {
    SUBMIT,
    FAN,
    RELIST,
    CLAIM,
    BEAT,
    SAVE,
    DONE,
    FAIL,
    RELEASE,
    TICK,
    ROWS,
    DATASET,
    STAT,
    INBOX_PEEK,
    INBOX_TAKE
};

static const struct queue_verb row[] = {
    [SUBMIT] = { "FCALL", "sluice_submit", true, read_submit },
    [FAN] = { "FCALL", "sluice_fan", true, read_fan },
    [RELIST] = { "FCALL", "sluice_relist", true, read_submit },
    [CLAIM] = { "FCALL", "sluice_claim", false, read_claim },
    [BEAT] = { "FCALL", "sluice_beat", false, read_beat },
    [SAVE] = { "FCALL", "sluice_save", true, read_seq },
    [DONE] = { "FCALL", "sluice_done", true, read_seq },
    [FAIL] = { "FCALL", "sluice_fail", true, read_seq },
    [RELEASE] = { "FCALL", "sluice_release", true, read_seq },
    [TICK] = { "FCALL", "sluice_tick", false, read_tick },
    [ROWS] = { "FCALL_RO", "sluice_rows", false, read_rows },
    [DATASET] = { "FCALL", "sluice_dataset", true, read_dataset },
    [STAT] = { "FCALL_RO", "sluice_stat", false, read_text },
    [INBOX_PEEK] = { "FCALL", "sluice_inbox_peek", false, read_text },
    [INBOX_TAKE] = { "FCALL", "sluice_inbox_take", false, read_taken },
};

static const char *const lane_name[QUEUE_LANES] = {
    [QUEUE_LIVE] = "live",
    [QUEUE_BACKFILL] = "backfill",
};

/* ---- pieces of commands ---- */

static struct queue_run *begin(struct queue *queue, struct queue_op *op, enum verb verb)
{
    return queue_run_new(queue, op, &row[verb]);
}

static void add(struct queue_run *run, const char *text)
{
    redis_args_add(&run->args, text);
}

static void add_int(struct queue_run *run, int64_t number)
{
    redis_args_add_int(&run->args, number);
}

static void add_all(struct queue_run *run, const char *const *text, size_t count)
{
    for (size_t i = 0; i < count; i++)
        add(run, text[i]);
}

static void add_fields(struct queue_run *run, const struct queue_field *field, size_t fields)
{
    for (size_t i = 0; i < fields; i++) {
        add(run, field[i].name);
        add(run, field[i].value);
    }
}

/* Under which name it was claimed: not under the one of now, if writes were lost since then. */
static const char *owner_of(const struct queue *queue, const struct queue_task *task)
{
    const char *owner = queue_task_get(task, "owner");
    return owner ? owner : queue_owner_name(queue);
}

/* The task, and with owner and fence the proof that it is ours. */
static struct queue_run *begin_held(struct queue *queue, struct queue_op *op, enum verb verb,
                                    const struct queue_task *task)
{
    struct queue_run *run = begin(queue, op, verb);
    add(run, task->id);
    add(run, owner_of(queue, task));
    add(run, task->fence);
    return run;
}

static enum err unexpected(struct queue_run *run, const char *want)
{
    const char *name = run->verb->function ? run->verb->function : run->verb->command;
    return fault_set(&run->op->fault, ERR_REDIS_REPLY, "%s answered no %s", name, want);
}

static bool is_array(const struct redisReply *reply, size_t least)
{
    return redis_reply_type(reply) == REDIS_ARRAY && redis_reply_count(reply) >= least;
}

static int64_t int_at(const struct redisReply *reply, size_t index)
{
    return redis_reply_int(redis_reply_at(reply, index));
}

static void set_text(struct queue_op *op, const char *before, const struct redisReply *reply)
{
    buf_init(&op->text, TEXT_MAX);
    buf_add_text(&op->text, before);
    buf_add(&op->text, redis_reply_text(reply), redis_reply_len(reply));
}

/* ---- making and listing ---- */

void queue_submit(struct queue *queue, struct queue_op *op, const struct queue_child *task,
                  const char *dataset, const char *parent)
{
    struct queue_run *run = begin(queue, op, SUBMIT);
    add(run, task->id);
    add(run, queue_kind_name(task->kind));
    add(run, dataset);
    add(run, lane_name[task->lane]);
    add_int(run, task->order);
    add(run, parent);
    add_fields(run, task->field, task->fields);
    queue_run_start(run);
}

/* submit, relist: a word and the mutation counter. */
static enum err read_submit(struct queue_run *run, const struct redisReply *reply)
{
    if (!is_array(reply, 2))
        return unexpected(run, "pair");
    set_text(run->op, "", redis_reply_at(reply, 0));
    queue_run_seq(run, redis_reply_at(reply, 1));
    return OK;
}

static void add_child(struct queue_run *run, const struct queue_child *child)
{
    add(run, queue_kind_name(child->kind));
    add(run, child->id);
    add(run, lane_name[child->lane]);
    add_int(run, child->order);
    add_int(run, (int64_t)child->fields);
    add_fields(run, child->field, child->fields);
}

void queue_fan(struct queue *queue, struct queue_op *op, const struct queue_task *task,
               const char *prev, const char *cursor, bool sealed,
               const struct queue_child *child, size_t children)
{
    struct queue_run *run = begin_held(queue, op, FAN, task);
    add(run, cursor);
    add(run, sealed ? "1" : "0");
    add(run, prev);
    for (size_t i = 0; i < children; i++)
        add_child(run, &child[i]);
    queue_run_start(run);
}

static enum err read_fan(struct queue_run *run, const struct redisReply *reply)
{
    if (!is_array(reply, 4))
        return unexpected(run, "four numbers");
    queue_run_seq(run, redis_reply_at(reply, 1));
    run->op->number = int_at(reply, 2);
    run->op->strays = int_at(reply, 3);
    return OK;
}

void queue_relist(struct queue *queue, struct queue_op *op, const struct queue_task *file)
{
    queue_run_start(begin_held(queue, op, RELIST, file));
}

/* ---- leases ---- */

void queue_claim(struct queue *queue, struct queue_op *op, const struct queue_claim *claim)
{
    struct queue_run *run = begin(queue, op, CLAIM);
    add(run, queue_owner_name(queue));
    add_int(run, claim->lease_ms);
    add(run, claim->class == QUEUE_FILES ? "f" : "x");
    add(run, lane_name[claim->lane]);
    add_int(run, claim->max);
    add_int(run, claim->bytes);
    add_int(run, claim->part);
    add_all(run, claim->dataset, claim->datasets);
    queue_run_start(run);
}

static enum err read_claim(struct queue_run *run, const struct redisReply *reply)
{
    struct queue_op *op = run->op;
    size_t count = is_array(reply, 0) ? redis_reply_count(reply) : 0;
    if (count == 0)
        return unexpected(run, "counter and tasks");
    op->task = mem_alloc_array(count, sizeof *op->task);
    queue_run_seq(run, redis_reply_at(reply, 0));
    for (size_t i = 1; i < count; i++) {
        const struct redisReply *pair = redis_reply_at(reply, i);
        if (!is_array(pair, 2) || !is_array(redis_reply_at(pair, 1), 0))
            return unexpected(run, "list of tasks");
        struct queue_task *task = queue_task_parse(redis_reply_text(redis_reply_at(pair, 0)),
                                                   redis_reply_at(pair, 1));
        if (task)
            op->task[op->tasks++] = task;
    }
    return OK;
}

void queue_beat(struct queue *queue, struct queue_op *op, int64_t lease_ms,
                const struct queue_beat *beat, size_t count)
{
    struct queue_run *run = begin(queue, op, BEAT);
    add(run, queue_owner_name(queue));
    add_int(run, lease_ms);
    for (size_t i = 0; i < count; i++) {
        const struct queue_task *task = beat[i].task;
        bool ours = strcmp(owner_of(queue, task), queue_owner_name(queue)) == 0;
        add(run, task->id);
        add(run, ours ? task->fence : "0"); /* which no lease has */
        add(run, beat[i].offset ? beat[i].offset : "");
    }
    queue_run_start(run);
}

static enum err read_beat(struct queue_run *run, const struct redisReply *reply)
{
    if (!is_array(reply, 0))
        return unexpected(run, "list of words");
    size_t count = redis_reply_count(reply);
    run->op->held = mem_alloc_array(count, sizeof *run->op->held);
    for (size_t i = 0; i < count; i++)
        run->op->held[i] = strcmp(redis_reply_text(redis_reply_at(reply, i)), "ok") == 0;
    return OK;
}

void queue_save(struct queue *queue, struct queue_op *op, const struct queue_task *task,
                const struct queue_field *field, size_t fields)
{
    struct queue_run *run = begin_held(queue, op, SAVE, task);
    add_fields(run, field, fields);
    queue_run_start(run);
}

void queue_done(struct queue *queue, struct queue_op *op, const struct queue_task *task,
                const struct queue_field *field, size_t fields)
{
    struct queue_run *run = begin_held(queue, op, DONE, task);
    add_fields(run, field, fields);
    queue_run_start(run);
}

void queue_fail(struct queue *queue, struct queue_op *op, const struct queue_task *task,
                int64_t delay_ms, bool count, const struct fault *why)
{
    struct queue_run *run = begin_held(queue, op, FAIL, task);
    add_int(run, delay_ms < 0 ? -1 : delay_ms);
    add(run, count ? "1" : "0");
    add(run, why->text);
    add(run, err_name(why->code));
    queue_run_start(run);
}

void queue_release(struct queue *queue, struct queue_op *op, const struct queue_task *task,
                   int64_t delay_ms, const struct queue_field *field, size_t fields)
{
    struct queue_run *run = begin_held(queue, op, RELEASE, task);
    add_int(run, delay_ms);
    add_fields(run, field, fields);
    queue_run_start(run);
}

/* save, done, fail, release, dataset: a word and the mutation counter. */
static enum err read_seq(struct queue_run *run, const struct redisReply *reply)
{
    if (!is_array(reply, 2))
        return unexpected(run, "pair");
    queue_run_seq(run, redis_reply_at(reply, 1));
    return OK;
}

static enum err read_dataset(struct queue_run *run, const struct redisReply *reply)
{
    if (!is_array(reply, 3))
        return unexpected(run, "pair and time");
    run->op->server_ms = int_at(reply, 2);
    queue_run_seq(run, redis_reply_at(reply, 1));
    return OK;
}

/* ---- time ---- */

void queue_tick(struct queue *queue, struct queue_op *op, const struct queue_cost *cost,
                size_t datasets, int64_t retention_ms)
{
    struct queue_run *run = begin(queue, op, TICK);
    run->subject = mem_copy_text(queue_owner_name(queue));
    add(run, run->subject);
    add_int(run, DAEMON_TTL_MS);
    add_int(run, retention_ms);
    add_int(run, LOST_MAX);
    for (size_t i = 0; i < datasets; i++) {
        AUTO_TEXT char *word = mem_print("%s=%" PRId64, cost[i].dataset, cost[i].bytes);
        add(run, word);
    }
    queue_run_start(run);
}

static enum err read_tick(struct queue_run *run, const struct redisReply *reply)
{
    if (!is_array(reply, 9) || !is_array(redis_reply_at(reply, 6), 0))
        return unexpected(run, "six numbers, a list and two numbers");
    run->op->number = int_at(reply, 0);
    run->op->live_daemons = int_at(reply, 1);
    run->op->inbox = int_at(reply, 2);
    run->op->server_ms = int_at(reply, 3);
    queue_run_tick(run, run->subject, int_at(reply, 7), run->op->server_ms + DAEMON_TTL_MS,
                   run->op->server_ms, int_at(reply, 8));
    run->op->lapsed = int_at(reply, 5);
    queue_rows_add_ids(run->op, redis_reply_at(reply, 6), 0);
    queue_run_seq(run, redis_reply_at(reply, 4));
    return OK;
}

/* ---- looking ---- */

static void add_rows_args(struct queue_run *run, const char *cursor)
{
    add(run, run->subject);
    add(run, cursor);
}

void queue_rows(struct queue *queue, struct queue_op *op, const struct queue_task *task)
{
    struct queue_run *run = begin(queue, op, ROWS);
    run->subject = mem_copy_text(task->id);
    run->least = queue_task_int(task, "listed", 0);
    add_rows_args(run, "0");
    queue_run_start(run);
}

/* What lacks a row must not become a manifest. */
static enum err check_rows(struct queue_run *run)
{
    size_t rows = run->op->rows;
    if (rows >= (size_t)run->least)
        return OK;
    return fault_set(&run->op->fault, ERR_REDIS_REPLY, "results of %zu of %zu files are lost",
                     (size_t)run->least - rows, (size_t)run->least);
}

static enum err read_rows(struct queue_run *run, const struct redisReply *reply)
{
    if (!is_array(reply, 2) || !is_array(redis_reply_at(reply, 1), 0))
        return unexpected(run, "cursor and rows");
    const char *next = redis_reply_text(redis_reply_at(reply, 0));
    queue_rows_add(run->op, redis_reply_at(reply, 1));
    if (strcmp(next, "0") == 0) {
        queue_rows_unique(run->op);
        return check_rows(run);
    }
    queue_run_args(run);
    add_rows_args(run, next);
    run->more = true;
    return OK;
}

void queue_stat(struct queue *queue, struct queue_op *op)
{
    queue_run_start(begin(queue, op, STAT));
}

static enum err read_text(struct queue_run *run, const struct redisReply *reply)
{
    if (redis_reply_type(reply) != REDIS_TEXT && redis_reply_type(reply) != REDIS_NIL)
        return unexpected(run, "text");
    set_text(run->op, "", reply);
    return OK;
}

/* ---- datasets and the inbox ---- */

void queue_dataset(struct queue *queue, struct queue_op *op, const char *dataset,
                   const struct queue_field *field, size_t fields)
{
    struct queue_run *run = begin(queue, op, DATASET);
    add(run, dataset);
    add_fields(run, field, fields);
    queue_run_start(run);
}

void queue_inbox_peek(struct queue *queue, struct queue_op *op)
{
    queue_run_start(begin(queue, op, INBOX_PEEK));
}

void queue_inbox_accept(struct queue *queue, struct queue_op *op, const char *raw,
                        size_t raw_len, const char *const *word, size_t words)
{
    struct queue_run *run = begin(queue, op, INBOX_TAKE);
    redis_args_add_bytes(&run->args, raw, raw_len);
    add(run, "run");
    add_all(run, word, words);
    queue_run_start(run);
}

void queue_inbox_reject(struct queue *queue, struct queue_op *op, const char *raw,
                        size_t raw_len, const char *reason)
{
    struct queue_run *run = begin(queue, op, INBOX_TAKE);
    redis_args_add_bytes(&run->args, raw, raw_len);
    add(run, "reject");
    add(run, reason);
    queue_run_start(run);
}

/* done, rejected or gone, and the text that belongs to it. */
static enum err read_taken(struct queue_run *run, const struct redisReply *reply)
{
    if (!is_array(reply, 2))
        return unexpected(run, "pair");
    const char *verdict = redis_reply_text(redis_reply_at(reply, 0));
    const char *before = "";
    if (strcmp(verdict, "rejected") == 0)
        before = "rejected: ";
    else if (strcmp(verdict, "gone") == 0)
        before = "gone";
    set_text(run->op, before, redis_reply_at(reply, 1));
    return OK;
}
