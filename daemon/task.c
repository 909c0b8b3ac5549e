/* SPDX-License-Identifier: Apache-2.0 */
/* How tasks end: one queue operation, then the scheduler's callback. */
#include "daemon/task.h"

#include "lib/base/log.h"
#include "lib/net/retry.h"

static void on_end(struct queue_op *op);

void task_init(struct task *task, struct core *core, struct queue_task *lease,
               const struct task_kind *kind)
{
    task->core = core;
    task->lease = lease;
    task->kind = kind;
}

void task_release(struct task *task)
{
    queue_op_release(&task->end);
    queue_task_free(task->lease);
    task->lease = NULL;
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

void task_fail(struct task *task, const struct fault *fault)
{
    if (task->lost || fault->code == ERR_FENCED) {
        task_drop(task);
        return;
    }
    if (fault->code == ERR_CANCELLED) {
        task_rest(task, 0, NULL, 0);
        return;
    }
    struct retry_verdict verdict =
        retry_task(fault, task->lease->attempts, (int)queue_task_int(task->lease, "waits", 0),
                   core_random());
    if (verdict.dead)
        task->core->metrics.dead_letters++;
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
