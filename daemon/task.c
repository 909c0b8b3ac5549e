/* SPDX-License-Identifier: Apache-2.0 */
/* How tasks end: one queue operation, then the scheduler's callback. */
#include "daemon/task.h"

#include "lib/base/log.h"
#include "lib/net/retry.h"

#define TAIL_REST_MS 300000 /* after the error that ends any other task */

static void on_end(struct queue_op *op);

void task_init(struct task *task, struct core *core, struct queue_task *lease,
               const struct task_kind *kind)
{
    task->core = core;
    task->lease = lease;
    task->kind = kind;
}

void task_count_time(struct task *task)
{
    struct core *core = task->core;
    histogram_add(&core->metrics.task_seconds[task->lease->kind],
                  (double)mono_ms_between(task->began, loop_now(core->loop)) / 1000);
}

void task_release(struct task *task)
{
    queue_op_release(&task->end);
    queue_task_free(task->lease);
    task->lease = NULL;
}

bool task_may_write(const struct task *task)
{
    int64_t kept_ms = task->core->settings->queue.lease_ms / 3;
    return !task->lost &&
           !mono_due(task->lease_until, mono_after_ms(loop_now(task->core->loop), kept_ms));
}

static struct queue_op *begin_end(struct task *task)
{
    assert(!task->ending);
    task->ending = true;
    task->end.done = on_end;
    return &task->end;
}

void task_complete(struct task *task, const struct queue_field *field, size_t fields)
{
    queue_done(task->core->queue, begin_end(task), task->lease, field, fields);
}

/* A fault that is no failure of the task: it is not ours any more, or we are stopping. */
static bool ends_without_fault(struct task *task, const struct fault *fault)
{
    bool lost = task->lost || fault->code == ERR_FENCED, stopped = fault->code == ERR_CANCELLED;
    if (lost)
        task_drop(task); /* it may be gone now */
    else if (stopped)
        task_rest(task, 0, NULL, 0);
    return lost || stopped;
}

static void report(struct task *task, const struct fault *fault, struct retry_verdict verdict)
{
    if (verdict.dead)
        metrics_count_dead(&task->core->metrics, fault->code);
    else
        task->core->metrics.retries++;
    if (verdict.dead)
        log_event(LOG_ERROR, task->lease->id, "given up error=%s status=%d attempts=%d: %s",
                  err_name(fault->code), fault->http_status, task->lease->attempts,
                  fault->text);
    else
        log_event(LOG_WARN, task->lease->id,
                  "put back error=%s status=%d attempts=%d retry_in=%.1fs: %s",
                  err_name(fault->code), fault->http_status, task->lease->attempts,
                  (double)verdict.delay_ms / 1000, fault->text);
    queue_fail(task->core->queue, begin_end(task), task->lease,
               verdict.dead ? -1 : verdict.delay_ms, verdict.count, fault);
}

/* While an upstream fails for everybody, its silence is not this task's trouble. */
static struct fault to_be_judged(const struct task *task, const struct fault *fault)
{
    struct fault judged = *fault;
    bool silence = fault->code == ERR_TIMEOUT || fault->code == ERR_CUT;
    if (silence && upstream_fails(task->core, upstream_needs(task->lease)))
        judged.code = ERR_SERVER;
    return judged;
}

/* A tail is never given up: without it a dataset stands still. */
static struct retry_verdict verdict_of(const struct task *task, const struct fault *fault,
                                       int waits)
{
    struct retry_verdict verdict =
        retry_task(fault, task->lease->attempts, waits, core_random());
    if (verdict.dead && task->lease->kind == QUEUE_TAIL)
        verdict = (struct retry_verdict){ .delay_ms = TAIL_REST_MS };
    return verdict;
}

void task_fail(struct task *task, const struct fault *fault)
{
    struct fault judged = to_be_judged(task, fault);
    int waits = (int)queue_task_int(task->lease, "waits", 0);
    if (!ends_without_fault(task, fault))
        report(task, fault, verdict_of(task, &judged, waits));
}

void task_give_up(struct task *task, const struct fault *fault)
{
    if (!ends_without_fault(task, fault))
        report(task, fault, (struct retry_verdict){ .dead = true, .count = true });
}

void task_rest(struct task *task, int64_t delay_ms, const struct queue_field *field,
               size_t fields)
{
    queue_release(task->core->queue, begin_end(task), task->lease, delay_ms, field, fields);
}

void task_stop(struct task *task)
{
    if (task->lost)
        task_drop(task);
    else
        task_rest(task, 0, NULL, 0);
}

void task_not_ours(struct task *task)
{
    struct fault fault = { 0 };
    fault_set(&fault, ERR_CANCELLED, "dataset %s is not configured here", task->lease->dataset);
    task_fail(task, &fault);
}

void task_sealed(struct task *task)
{
    assert(!task->ending);
    task->ending = true;
    task->ended(task);
}

void task_drop(struct task *task)
{
    task->core->metrics.leases_lost++;
    log_event(LOG_WARN, task->lease->id, "lease lost, work dropped");
    task_sealed(task);
}

static void on_end(struct queue_op *op)
{
    struct task *task = container_of(op, struct task, end);
    if (op->fault.code == ERR_FENCED)
        task->core->metrics.leases_lost++;
    else if (op->fault.code)
        log_event(LOG_WARN, task->lease->id, "end not reported error=%s: %s",
                  err_name(op->fault.code), op->fault.text);
    task->ended(task);
}
