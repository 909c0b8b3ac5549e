/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to queue*.c. From the connection upwards:
 *
 *   queue_check   is this Redis fit, is our library newer (pure)
 *   queue         connection, checks, library; runs that are sent and repeated
 *   queue_task    replies to tasks and rows
 *   queue_verbs   one row and one function per verb
 *   queue_look    the same for reading and mending
 *   queue_name    names of owners and keys
 */
#ifndef SLUICE_QUEUE_QUEUE_PARTS_H
#define SLUICE_QUEUE_QUEUE_PARTS_H

#include "lib/queue/queue.h"

/* ---- names and checks ---- */

uint64_t queue_random(void);
char *queue_name_make(void); /* of an owner; no other process ever had it */
enum err queue_name_check_prefix(const char *prefix, struct fault *fault) MUST_CHECK;

/* Whether the answer to INFO describes a Redis that will not forget tasks. */
enum err queue_check_info(const char *info, const char *prefix, bool allow_volatile,
                          struct fault *fault) MUST_CHECK;
/* Which process it is, and whether that was a replica before. */
#define QUEUE_RUN_ID_MAX 40
struct queue_server {
    char run_id[QUEUE_RUN_ID_MAX + 1];
    bool promoted;
};
void queue_check_server(const char *info, struct queue_server *ret);

/* What we know of the queue in Redis; each new fact may tell that writes were lost: how, or NULL. */
struct queue_history {
    int64_t seq;         /* the highest seen */
    int64_t alive_until; /* what our last tick has written; 0 = none yet */
    int strange;         /* ticks in a row that named a dataset which Redis does not know */
    struct queue_server server;
};
const char *queue_history_seq(struct queue_history *history, int64_t seq);
const char *queue_history_tick(struct queue_history *history, int64_t found, int64_t until,
                               int64_t now);
const char *queue_history_datasets(struct queue_history *history, int64_t unknown);
const char *queue_history_server(struct queue_history *history, const char *info);

/* The number behind "local VERSION = " in the library's text; -1 if there is none. */
int64_t queue_library_version(const char *library);
int64_t queue_library_ours(void); /* of the one that is built in */
const char *queue_library_text(void);
/* Adds what an operator has to do to a refused FUNCTION LOAD. */
enum err queue_library_fault(const struct fault *refused, struct fault *fault);

/* ---- replies ---- */

/* NULL if the reply is no task: nothing is done then, and its lease lapses. */
struct queue_task *queue_task_parse(const char *id, const struct redisReply *fields);
void queue_rows_add(struct queue_op *op, const struct redisReply *flat);
/* A table that grows while it is walked names rows twice. */
void queue_rows_unique(struct queue_op *op);
/* A list of ids, as rows without a value; what precedes the name of each is cut off. */
void queue_rows_add_ids(struct queue_op *op, const struct redisReply *list, size_t before);

/* ---- runs: one verb on its way ---- */

struct queue_run;
struct queue_verb {
    const char *command;  /* "FCALL", "FCALL_RO", or a command on its own */
    const char *function; /* NULL for that */
    bool repeats;         /* over lost connections, until Redis answers */
    /* Fills the run's operation. */
    enum err (*read)(struct queue_run *run, const struct redisReply *reply);
};

struct queue_run {
    struct list_node node;
    struct queue *queue;
    struct queue_op *op;
    const struct queue_verb *verb;
    struct redis_args args;
    struct redis_call call;
    struct timer again;
    int tries;
    bool sent;
    bool more;     /* set by `read`, which has changed args: ask once more */
    char *subject; /* whatever `read` has to know; freed with the run */
    int64_t least; /* the same */
};

/* Its args hold the command up to the prefix. It is started even if building it went wrong. */
struct queue_run *queue_run_new(struct queue *queue, struct queue_op *op,
                                const struct queue_verb *verb);
void queue_run_start(struct queue_run *run);
void queue_run_args(struct queue_run *run); /* begins args anew, up to the prefix */
/* For `read`: the counter of mutations as the reply tells it. */
void queue_run_seq(struct queue_run *run, const struct redisReply *seq);
/* For `read`: what the tick of this owner found and wrote as its end of life. */
void queue_run_tick(struct queue_run *run, const char *owner, int64_t found, int64_t until,
                    int64_t now, int64_t unknown);
const char *queue_prefix(const struct queue *queue);

#endif
