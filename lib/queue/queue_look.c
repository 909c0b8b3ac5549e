/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and mending the tree: one row and one function per verb of queue_look.h. */
#include "lib/queue/queue_look.h"

#include <stdlib.h>
#include <string.h>

#include "lib/queue/queue_parts.h"

#define TEXT_MAX (1024 * 1024)

static enum err read_field(struct queue_run *run, const struct redisReply *reply);
static enum err read_scan(struct queue_run *run, const struct redisReply *reply);
static enum err read_fix(struct queue_run *run, const struct redisReply *reply);

static const struct queue_verb verb_field = { "HGET", NULL, false, read_field };
static const struct queue_verb verb_scan = { "SCAN", NULL, false, read_scan };
static const struct queue_verb verb_fix = { "FCALL", "sluice_fix", false, read_fix };

static void set_text(struct queue_op *op, const struct redisReply *reply)
{
    buf_init(&op->text, TEXT_MAX);
    buf_add(&op->text, redis_reply_text(reply), redis_reply_len(reply));
}

void queue_field(struct queue *queue, struct queue_op *op, const char *id, const char *name)
{
    struct queue_run *run = queue_run_new(queue, op, &verb_field);
    AUTO_TEXT char *key = mem_print("%st:%s", queue_prefix(queue), id);
    redis_args_add(&run->args, key);
    redis_args_add(&run->args, name);
    queue_run_start(run);
}

static enum err read_field(struct queue_run *run, const struct redisReply *reply)
{
    run->op->found = redis_reply_type(reply) == REDIS_TEXT;
    set_text(run->op, reply);
    return OK;
}

void queue_scan(struct queue *queue, struct queue_op *op, const char *cursor, int count)
{
    struct queue_run *run = queue_run_new(queue, op, &verb_scan);
    AUTO_TEXT char *pattern = mem_print("%st:*", queue_prefix(queue));
    redis_args_add(&run->args, cursor);
    redis_args_add(&run->args, "MATCH");
    redis_args_add(&run->args, pattern);
    redis_args_add(&run->args, "COUNT");
    redis_args_add_int(&run->args, count);
    queue_run_start(run);
}

static enum err read_scan(struct queue_run *run, const struct redisReply *reply)
{
    const struct redisReply *keys = redis_reply_at(reply, 1);
    if (redis_reply_type(keys) != REDIS_ARRAY)
        return fault_set(&run->op->fault, ERR_REDIS_REPLY, "SCAN answered no cursor and keys");
    set_text(run->op, redis_reply_at(reply, 0));
    queue_rows_add_ids(run->op, keys, strlen(queue_prefix(run->queue)) + strlen("t:"));
    return OK;
}

void queue_fix(struct queue *queue, struct queue_op *op, enum queue_pass pass, const char *id)
{
    struct queue_run *run = queue_run_new(queue, op, &verb_fix);
    redis_args_add(&run->args, pass == QUEUE_PASS_LINK ? "a" : "b");
    redis_args_add(&run->args, id);
    queue_run_start(run);
}

static enum err read_fix(struct queue_run *run, const struct redisReply *reply)
{
    run->op->number = redis_reply_int(reply);
    return OK;
}

bool queue_stat_number(const char *line, const char *name, int64_t *ret)
{
    size_t len = strlen(name);
    while ((line = strchr(line, ' '))) {
        line++;
        if (strncmp(line, name, len) == 0 && line[len] == '=') {
            *ret = strtoll(line + len + 1, NULL, 10);
            return true;
        }
    }
    return false;
}
