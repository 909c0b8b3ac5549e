/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all kinds of tasks share: the lease they hold, and how they end. A task is started by the
 * scheduler with a claimed queue_task, works on its own, and ends by exactly one of
 * task_complete, task_fail, task_rest, task_sealed or task_drop. After Redis has answered,
 * `ended` fires once and the scheduler frees the task through its kind.
 *
 * Cancel (drain, lost lease) asks a task to stop soon: it ends with task_rest (still ours) or
 * task_drop (lost), whatever it was doing; task_stop() chooses.
 */
#ifndef SLUICE_DAEMON_TASK_H
#define SLUICE_DAEMON_TASK_H

#include "daemon/core.h"

struct task;
struct transfer;

struct task_kind {
    struct task *(*start)(struct core *core,
                          struct queue_task *lease); /* takes over the lease */
    void (*cancel)(struct task *task);               /* may be called more than once */
    void (*free)(struct task *task);
    /* What the lease renewal reports as `offset`; NULL = nothing. */
    const char *(*offset)(struct task *task);
    /* The lease was renewed: what task_may_write forbade may go on. NULL = nothing waits. */
    void (*renewed)(struct task *task);
    /* Its transfer, if it moves bytes right now. NULL = never does. */
    const struct transfer *(*transfer)(const struct task *task);
};

struct task {
    struct list_node node; /* in the scheduler's list of its class */
    struct core *core;
    struct queue_task *lease;
    const struct task_kind *kind;
    void (*ended)(struct task *task); /* the scheduler's */
    void (*progress)(
        struct core *core); /* the scheduler's doorbell: new work may be claimable */
    struct mono began;      /* the scheduler's */
    struct mono lease_until;
    struct timer lapse; /* then; the scheduler's */
    int64_t reserved;   /* pool bytes; the scheduler's */
    unsigned tries;     /* upstreams whose breakers it tries; the scheduler's */
    unsigned epoch;     /* core's when it began; the scheduler's */
    bool lost;          /* the lease is gone: end with task_drop */
    bool cancelled;     /* cancel was asked for */
    bool ending;
    struct queue_op end;
};

void task_init(struct task *task, struct core *core, struct queue_task *lease,
               const struct task_kind *kind);
void task_release(struct task *task);    /* what task_init took over */
void task_count_time(struct task *task); /* for the metrics: since task_init */

/*
 * Whether an operation that changes S3 may begin. Not in the last third of a lease that was not
 * renewed: it could end when the task is another worker's. `renewed` or the loss follows.
 */
bool task_may_write(const struct task *task);

void task_complete(struct task *task, const struct queue_field *field, size_t fields);
/* Retry or dead letter, by the fault's row; fenced = dropped. The one place that logs it. */
void task_fail(struct task *task, const struct fault *fault);
void task_give_up(struct task *task, const struct fault *fault); /* dead letter in any case */
/* Back to the queue for `delay_ms`; costs no attempt. */
void task_rest(struct task *task, int64_t delay_ms, const struct queue_field *field,
               size_t fields);
/* Its dataset is not in this daemon's configuration: back to the queue, for others. */
void task_not_ours(struct task *task);
void task_sealed(struct task *task); /* the lease was given up by a sealed fan */
void task_drop(struct task *task);   /* not ours any more */
/* After a cancel: rest at once, or drop if the lease is lost. */
void task_stop(struct task *task);

/* One kind a file; see scheduler.c for the table. */
extern const struct task_kind tail_kind, job_kind, window_kind, batch_kind, file_kind;

#endif
