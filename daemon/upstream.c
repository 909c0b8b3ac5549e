/* SPDX-License-Identifier: Apache-2.0 */
/* The services that tasks depend on, and the tasks that have to wait for them. */
#include "daemon/upstream.h"

#include <limits.h>
#include <string.h>

#include "daemon/scheduler.h"
#include "daemon/task.h"
#include "lib/base/log.h"

#define WAIT_LEAST_MS  250
#define WAIT_UNSURE_MS 2000 /* somebody is trying right now */

const char *upstream_name(enum upstream upstream)
{
    static const char *const name[UPSTREAMS] = { "ims", "catalog", "access", "s3" };
    return name[upstream];
}

/* Permissions of Adobe's are given per dataset; those for a bucket are for all of us. */
void upstream_init(struct upstreams *upstreams)
{
    upstreams->breaker[UPSTREAM_CATALOG].denied_is_local = true;
    upstreams->breaker[UPSTREAM_ACCESS].denied_is_local = true;
}

static void works_again(struct core *core, enum upstream upstream)
{
    log_event(LOG_INFO, upstream_name(upstream), "works again, breaker closed");
    scheduler_nudge(core);
}

void upstream_hint(struct core *core, enum upstream upstream)
{
    if (breaker_hint(&core->upstreams.breaker[upstream]))
        works_again(core, upstream);
}

void upstream_note(struct core *core, enum upstream upstream, const struct fault *fault)
{
    struct breaker *breaker = &core->upstreams.breaker[upstream];
    struct mono now = loop_now(core->loop);
    enum breaker_state before = breaker->state;
    if (!breaker_note(breaker, fault, now, core_random())) {
        if (breaker->state != before)
            log_event(LOG_DEBUG, upstream_name(upstream), "breaker %s, next try in %.1fs",
                      breaker_state_name(breaker->state),
                      (double)mono_ms_between(now, breaker->try_at) / 1000);
        return;
    }
    if (breaker->state == BREAKER_CLOSED) {
        works_again(core, upstream);
    } else {
        log_event(LOG_ERROR, upstream_name(upstream),
                  "fails for all tasks, breaker open error=%s status=%d: %s",
                  err_name(fault->code), fault->http_status, fault->text);
    }
}

/* ---- what needs what */

unsigned upstream_needs(const struct queue_task *task)
{
    const unsigned ims = UPSTREAM_BIT(UPSTREAM_IMS), catalog = UPSTREAM_BIT(UPSTREAM_CATALOG);
    const unsigned s3 = UPSTREAM_BIT(UPSTREAM_S3);
    switch (task->kind) {
    case QUEUE_TAIL:
    case QUEUE_WINDOW:
        return ims | catalog;
    case QUEUE_BATCH: /* listed, or committed */
        return strcmp(task->phase, "fin") == 0 ? s3 : UPSTREAM_FILES;
    case QUEUE_FILE:
        return UPSTREAM_FILES;
    case QUEUE_JOB: /* one batch is looked up, a range is only cut */
        return queue_task_get(task, "batch") && strcmp(task->phase, "fan") == 0 ? ims | catalog
                                                                                : 0;
    case QUEUE_KINDS:
        break;
    }
    return 0;
}

int upstream_room(const struct core *core, unsigned needs)
{
    struct mono now = loop_now(core->loop);
    int least = INT_MAX;
    for (int i = 0; i < UPSTREAMS; i++) {
        int room =
            needs & UPSTREAM_BIT(i) ? breaker_room(&core->upstreams.breaker[i], now) : INT_MAX;
        least = room < least ? room : least;
    }
    return least;
}

bool upstream_fails(const struct core *core, unsigned needs)
{
    for (int i = 0; i < UPSTREAMS; i++)
        if (needs & UPSTREAM_BIT(i) && core->upstreams.breaker[i].state != BREAKER_CLOSED)
            return true;
    return false;
}

unsigned upstream_try(struct core *core, unsigned needs)
{
    unsigned tries = 0;
    for (int i = 0; i < UPSTREAMS; i++) {
        struct breaker *breaker = &core->upstreams.breaker[i];
        if (!(needs & UPSTREAM_BIT(i)) || breaker->state == BREAKER_CLOSED)
            continue;
        breaker_try(breaker);
        tries |= UPSTREAM_BIT(i);
    }
    return tries;
}

void upstream_tried(struct core *core, unsigned tries)
{
    for (int i = 0; i < UPSTREAMS; i++)
        if (tries & UPSTREAM_BIT(i))
            breaker_tried(&core->upstreams.breaker[i], loop_now(core->loop));
}

int64_t upstream_wait_ms(const struct core *core, unsigned needs)
{
    int64_t most = 0;
    for (int i = 0; i < UPSTREAMS; i++) {
        const struct breaker *breaker = &core->upstreams.breaker[i];
        int64_t wait = 0;
        if (needs & UPSTREAM_BIT(i) && breaker->state == BREAKER_HALF_OPEN)
            wait = WAIT_UNSURE_MS;
        else if (needs & UPSTREAM_BIT(i) && breaker->state == BREAKER_OPEN)
            wait = mono_ms_between(loop_now(core->loop), breaker->try_at);
        most = wait > most ? wait : most;
    }
    return most;
}

/* ---- tasks that wait */

struct waiting {
    struct task task;
    struct deferred begin;
};

static void begin_waiting(struct deferred *work)
{
    struct waiting *waiting = container_of(work, struct waiting, begin);
    struct task *task = &waiting->task;
    if (task->cancelled) {
        task_stop(task);
        return;
    }
    int64_t wait = upstream_wait_ms(task->core, upstream_needs(task->lease));
    task_rest(task, wait + WAIT_LEAST_MS + (int64_t)(core_random() % WAIT_LEAST_MS), NULL, 0);
}

static struct task *waiting_start(struct core *core, struct queue_task *lease)
{
    struct waiting *waiting = mem_alloc(sizeof *waiting);
    task_init(&waiting->task, core, lease, &waiting_kind);
    waiting->begin.run = begin_waiting;
    loop_defer(core->loop, &waiting->begin);
    return &waiting->task;
}

static void waiting_cancel(struct task *task)
{
    (void)task; /* it ends in this turn of the loop */
}

static void waiting_free(struct task *task)
{
    struct waiting *waiting = container_of(task, struct waiting, task);
    loop_undefer(task->core->loop, &waiting->begin);
    task_release(task);
    mem_free(waiting);
}

const struct task_kind waiting_kind = {
    .start = waiting_start,
    .cancel = waiting_cancel,
    .free = waiting_free,
};
