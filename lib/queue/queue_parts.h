/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to queue*.c. From the connection upwards:
 *
 *   queue_check   is this Redis fit, is our library newer (pure)
 *   queue         connection, checks, library; runs that are sent and repeated
 *   queue_task    replies to tasks and rows
 *   queue_verbs   one row and one function per verb
 */
#ifndef SLUICE_QUEUE_QUEUE_PARTS_H
#define SLUICE_QUEUE_QUEUE_PARTS_H

#include "lib/queue/queue.h"

/* ---- checks ---- */

/* Whether the answer to INFO describes a Redis that will not forget tasks. */
enum err queue_check_info(const char *info, const char *prefix, bool allow_volatile,
                          struct fault *fault) MUST_CHECK;
/* The number behind "local VERSION = " in the library's text; -1 if there is none. */
int64_t queue_library_version(const char *library);
/* Adds what an operator has to do to a refused FUNCTION LOAD. */
enum err queue_library_fault(const struct fault *refused, struct fault *fault);

/* ---- replies ---- */

/* NULL if the reply is no task: nothing is done then, and its lease lapses. */
struct queue_task *queue_task_parse(const char *id, const struct redisReply *fields);
void queue_rows_add(struct queue_op *op, const struct redisReply *flat);
/* A table that grows while it is walked names rows twice. */
void queue_rows_unique(struct queue_op *op);

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
};

/* Its args hold the command up to the prefix. It is started even if building it went wrong. */
struct queue_run *queue_run_new(struct queue *queue, struct queue_op *op,
                                const struct queue_verb *verb);
void queue_run_start(struct queue_run *run);
void queue_run_args(struct queue_run *run); /* begins args anew, up to the prefix */
const char *queue_prefix(const struct queue *queue);

#endif
