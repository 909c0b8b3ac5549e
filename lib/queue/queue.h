/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The task tree in Redis: tail · job > window > batch > file. One hash per task is the truth,
 * every other key is an index that can be derived again. All rules live in one Redis Function
 * library (queue.lua, built into the program); here is one C verb per function.
 *
 * Lease = owner (this process) + fence (integer, grows with each claim): every write to a held
 * task names both, a stale one gets ERR_FENCED and must not touch the task any more. Times are
 * the Redis server's.
 *
 * Connection: after each connect the queue checks that Redis is fit (>= 7.0, AOF on, noeviction,
 * master), loads the library if it is missing or older, and then calls on_up. Verbs that report
 * work (fan save done fail release submit) are repeated over lost connections until Redis
 * answers; each is safe to repeat. The others fail with the row of the trouble.
 *
 * Lost writes: every mutation counts up `seq` and tells it. If it is ever lower than it was, if
 * what our last tick wrote is not there (two histories may count as far), if datasets of ours are
 * unknown tick after tick, or a replica was promoted in the place of the server that we knew,
 * Redis may have forgotten what it had acknowledged. From that moment on the queue works under
 * another owner name, so that no old lease is good for anything, and says so. Whoever is told
 * ticks at once: only so is a second loss on the heels of the first seen.
 */
#ifndef SLUICE_QUEUE_QUEUE_H
#define SLUICE_QUEUE_QUEUE_H

#include "lib/net/redis.h"
#include "lib/queue/queue_task.h"

struct queue;

struct queue_options {
    struct redis_options redis; /* owner, on_up and on_down are the queue's */
    const char *prefix;         /* "sluice:"; on Redis Cluster "{sluice}:" */
    bool allow_volatile;        /* run although Redis may forget (tests, demos) */
    void *owner;
    void (*on_up)(void *owner);
    /*
     * Connection lost or Redis unfit; the queue keeps trying. The text names the fix. Once per
     * reason, but each time that the password is refused: it may be exchanged then.
     */
    void (*on_down)(void *owner, const struct fault *fault);
    /* From the loop, once for each loss; the text says how it was noticed. */
    void (*on_lost_writes)(void *owner, const char *how);
};
enum err queue_new(struct loop *loop, const struct queue_options *options, struct queue **ret,
                   struct fault *fault) MUST_CHECK;
void queue_free(struct queue *queue); /* pending operations end with ERR_CANCELLED first */
bool queue_up(const struct queue *queue);
size_t queue_pending(const struct queue *queue);
/* <host>.<pid>.<128 random bits>; another one after lost writes. */
const char *queue_owner_name(const struct queue *queue);
const char *queue_server(const struct queue *queue); /* run id of the Redis process, or "" */
void queue_cancel(struct queue_op *op); /* `done` will not fire; none running: no effect */

struct queue_claim {
    enum queue_class class;
    enum queue_lane lane;
    int max;
    int64_t lease_ms;
    int64_t bytes, part; /* files: sum of min(max(length, 64 KiB), part) stays <= bytes */
    const char *const *dataset;
    size_t datasets;
};
void queue_claim(struct queue *queue, struct queue_op *op, const struct queue_claim *claim);

void queue_submit(struct queue *queue, struct queue_op *op, const struct queue_child *task,
                  const char *dataset, const char *parent);

/*
 * Children and the listing cursor move in one step; `prev` is compared with the stored cursor
 * (ERR_FENCED if it differs), `cursor` must differ from it. `sealed`: nothing more comes, the
 * lease is given up and the task waits for its children (a batch without children goes to fin).
 * A tail is never sealed. Files that the sealed listing of a batch did not name leave it.
 */
void queue_fan(struct queue *queue, struct queue_op *op, const struct queue_task *task,
               const char *prev, const char *cursor, bool sealed,
               const struct queue_child *child, size_t children);

struct queue_beat {
    const struct queue_task *task;
    const char *offset; /* NULL = unchanged */
};
void queue_beat(struct queue *queue, struct queue_op *op, int64_t lease_ms,
                const struct queue_beat *beat, size_t count);

void queue_save(struct queue *queue, struct queue_op *op, const struct queue_task *task,
                const struct queue_field *field, size_t fields);
/* A file's field "row" goes to its batch's table of results, read by queue_rows. */
void queue_done(struct queue *queue, struct queue_op *op, const struct queue_task *task,
                const struct queue_field *field, size_t fields);
/* delay_ms < 0 = dead letter; `count`: whether the attempt counts. */
void queue_fail(struct queue *queue, struct queue_op *op, const struct queue_task *task,
                int64_t delay_ms, bool count, const struct fault *why);
/* A file that is gone or replaced leaves, its batch is listed anew. Text "worn": too often. */
void queue_relist(struct queue *queue, struct queue_op *op, const struct queue_task *file);
/* Gives the task back, claimable after delay_ms, attempt refunded; fields are saved with it. */
void queue_release(struct queue *queue, struct queue_op *op, const struct queue_task *task,
                   int64_t delay_ms, const struct queue_field *field, size_t fields);

/* Each second: due delays, lapsed leases; says what it buried. */
struct queue_cost {
    const char *dataset;
    int64_t bytes; /* to be added to what it has cost at the source */
};
void queue_tick(struct queue *queue, struct queue_op *op, const struct queue_cost *cost,
                size_t datasets, int64_t retention_ms);

/* Results of a batch's files (held by us), unordered, each id once, all or ERR_REDIS_REPLY. */
void queue_rows(struct queue *queue, struct queue_op *op, const struct queue_task *task);

/* Makes a dataset known and sets its options (order, max_open_files, …). */
void queue_dataset(struct queue *queue, struct queue_op *op, const char *dataset,
                   const struct queue_field *field, size_t fields);

#endif
