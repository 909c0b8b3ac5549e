/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims, leases, beats, ticks.
 *
 *   tick 1 s ─▶ Redis moves what is due; says how many daemons live and what the inbox holds
 *   beat lease/4 ─▶ renews every lease in one call; what is fenced, or lapsed since, is cancelled
 *   pump ─▶ for each class and lane: is there room? claim; start what came
 */
#include "daemon/scheduler.h"

#include "daemon/file_plan.h"
#include "daemon/inbox.h"
#include "daemon/pool.h"
#include "daemon/repair.h"
#include "daemon/startup.h"
#include "daemon/task.h"
#include "daemon/uploader.h"
#include "lib/base/log.h"

#define TICK_MS       1000
#define CLAIM_MOST    64
#define RESERVE_SHARE 4    /* of the slots, kept for the live lane */
#define BLOCKED_MS    1000 /* between claims that bring tasks which have to wait */
#define CLASSES       2

struct claim {
    struct scheduler *scheduler;
    enum queue_class class;
    enum queue_lane lane;
    bool asking;
    struct mono asked_at; /* from then on the leases run */
    struct mono again_at; /* after an empty answer */
    struct queue_op op;
};

struct scheduler {
    struct core *core;
    bool begun, draining, beating;
    bool ticking, tick_again; /* one is on its way; another was wanted meanwhile */
    struct list running[CLASSES];
    int64_t reserved; /* pool bytes that the running files need */
    struct claim claim[CLASSES][QUEUE_LANES];
    const char **dataset;
    struct deferred pump;
    struct timer wake, tick, beat;
    struct queue_op tick_op, beat_op;
    struct task **beaten; /* in the order of the running beat */
    size_t beaten_count;
    struct mono beat_at;
    struct scheduler_figures figures;
    struct inbox *inbox;
    void (*drained)(struct core *core);
};

static const struct task_kind *const kind[QUEUE_KINDS] = {
    [QUEUE_TAIL] = &tail_kind,   [QUEUE_JOB] = &job_kind,   [QUEUE_WINDOW] = &window_kind,
    [QUEUE_BATCH] = &batch_kind, [QUEUE_FILE] = &file_kind,
};

static void pump(struct deferred *work);
static void on_wake(struct timer *timer);
static void on_tick(struct timer *timer);
static void on_ticked(struct queue_op *op);
static void on_beat(struct timer *timer);
static void on_beaten(struct queue_op *op);
static void on_claimed(struct queue_op *op);
static void on_ended(struct task *task);
static void on_lapse(struct timer *timer);

struct scheduler *scheduler_new(struct core *core)
{
    struct scheduler *scheduler = mem_alloc(sizeof *scheduler);
    scheduler->core = core;
    scheduler->pump.run = pump;
    scheduler->wake.fire = on_wake;
    scheduler->tick.fire = on_tick;
    scheduler->beat.fire = on_beat;
    scheduler->inbox = inbox_new(core);
    scheduler_reload(scheduler);
    for (int class = 0; class < CLASSES; class ++) {
        list_init(&scheduler->running[class]);
        for (int lane = 0; lane < QUEUE_LANES; lane++)
            scheduler->claim[class][lane] = (struct claim){ .scheduler = scheduler,
                                                            .class = (enum queue_class) class,
                                                            .lane = (enum queue_lane)lane };
    }
    return scheduler;
}

void scheduler_reload(struct scheduler *scheduler)
{
    const struct settings *settings = scheduler->core->settings;
    mem_free(scheduler->dataset);
    scheduler->dataset = mem_alloc_array(settings->datasets, sizeof *scheduler->dataset);
    for (size_t i = 0; i < settings->datasets; i++)
        scheduler->dataset[i] = settings->dataset[i].id;
}

unsigned scheduler_oldest(const struct scheduler *scheduler)
{
    unsigned oldest = scheduler->core->epoch;
    for (int class = 0; class < CLASSES; class ++)
        list_each(&scheduler->running[class], node)
        {
            const struct task *task = container_of(node, struct task, node);
            oldest = task->epoch < oldest ? task->epoch : oldest;
        }
    return oldest;
}

void scheduler_free(struct scheduler *scheduler)
{
    if (!scheduler)
        return;
    for (int class = 0; class < CLASSES; class ++)
        for (int lane = 0; lane < QUEUE_LANES; lane++) {
            queue_cancel(&scheduler->claim[class][lane].op);
            queue_op_release(&scheduler->claim[class][lane].op);
        }
    struct loop *loop = scheduler->core->loop;
    loop_undefer(loop, &scheduler->pump);
    timer_clear(loop, &scheduler->wake);
    timer_clear(loop, &scheduler->tick);
    timer_clear(loop, &scheduler->beat);
    queue_cancel(&scheduler->tick_op);
    queue_cancel(&scheduler->beat_op);
    queue_op_release(&scheduler->tick_op);
    queue_op_release(&scheduler->beat_op);
    inbox_free(scheduler->inbox);
    mem_free(scheduler->beaten);
    mem_free(scheduler->dataset);
    mem_free(scheduler);
}

void scheduler_begin(struct scheduler *scheduler)
{
    struct loop *loop = scheduler->core->loop;
    scheduler->begun = true;
    timer_set_in(loop, &scheduler->tick, 0);
    timer_set_in(loop, &scheduler->beat, 0); /* after an outage leases are close to their end */
    loop_defer(loop, &scheduler->pump);
}

void scheduler_tick(struct scheduler *scheduler)
{
    timer_set_in(scheduler->core->loop, &scheduler->tick, 0);
}

void scheduler_pause(struct scheduler *scheduler)
{
    scheduler->begun = false;
}

void scheduler_nudge(struct core *core)
{
    struct scheduler *scheduler = core->scheduler;
    for (int class = 0; class < CLASSES; class ++)
        for (int lane = 0; lane < QUEUE_LANES; lane++)
            scheduler->claim[class][lane].again_at = (struct mono){ 0 };
    loop_defer(core->loop, &scheduler->pump);
}

void scheduler_figures(const struct scheduler *scheduler, struct scheduler_figures *ret)
{
    *ret = scheduler->figures;
    ret->control = scheduler->running[QUEUE_CONTROL].count;
    ret->files = scheduler->running[QUEUE_FILES].count;
    ret->draining = scheduler->draining;
}

const struct list *scheduler_files(const struct scheduler *scheduler)
{
    return &scheduler->running[QUEUE_FILES];
}

/* ---- claims */

static int64_t slots(const struct scheduler *scheduler, const struct claim *claim)
{
    const struct settings *settings = scheduler->core->settings;
    int64_t all =
        claim->class == QUEUE_FILES ? settings->transfer.files : settings->transfer.batches;
    if (claim->lane == QUEUE_BACKFILL)
        all -= all / RESERVE_SHARE;
    return all - (int64_t)scheduler->running[claim->class].count;
}

/* Twice the pool may be promised: half of the files wait for buffers while others use them. */
static int64_t unreserved(const struct scheduler *scheduler, enum queue_lane lane)
{
    int64_t all = 2 * (int64_t)pool_size(scheduler->core->pool);
    if (lane == QUEUE_BACKFILL)
        all -= all / RESERVE_SHARE;
    return all - scheduler->reserved;
}

/* How many tasks could start now; for files also by window, buffers and what they depend on. */
static int64_t room_for(const struct scheduler *scheduler, const struct claim *claim,
                        int64_t *ret_bytes)
{
    struct core *core = scheduler->core;
    int64_t room = slots(scheduler, claim);
    if (claim->class == QUEUE_CONTROL || room <= 0)
        return room;
    int64_t bytes = *ret_bytes = unreserved(scheduler, claim->lane);
    struct ratelimit *limit = aep_limit(core->aep, AEP_CONTENT);
    int most = ratelimit_room(limit, loop_now(core->loop));
    int upstreams = upstream_room(core, UPSTREAM_FILES);
    most = most < upstreams ? most : upstreams;
    return bytes < POOL_BLOCK ? 0 : room < most ? room : most;
}

static void ask(struct claim *claim)
{
    struct scheduler *scheduler = claim->scheduler;
    const struct settings *settings = scheduler->core->settings;
    int64_t bytes = 0, room = room_for(scheduler, claim, &bytes);
    if (claim->asking || room <= 0 ||
        !mono_due(claim->again_at, loop_now(scheduler->core->loop)))
        return;
    claim->asking = true;
    claim->asked_at = loop_now(scheduler->core->loop);
    claim->op.done = on_claimed;
    queue_claim(scheduler->core->queue, &claim->op,
                &(struct queue_claim){ .class = claim->class,
                                       .lane = claim->lane,
                                       .max = (int)(room < CLAIM_MOST ? room : CLAIM_MOST),
                                       .lease_ms = settings->queue.lease_ms,
                                       .bytes = bytes,
                                       .part = settings->transfer.part_bytes,
                                       .dataset = scheduler->dataset,
                                       .datasets = settings->datasets });
}

static void pump(struct deferred *work)
{
    struct scheduler *scheduler = container_of(work, struct scheduler, pump);
    if (!scheduler->begun || scheduler->draining)
        return;
    for (int class = 0; class < CLASSES; class ++) {
        ask(&scheduler->claim[class][QUEUE_LIVE]);
        /* The lanes share the room: backfill asks when the live lane's answer is in. */
        if (!scheduler->claim[class][QUEUE_LIVE].asking)
            ask(&scheduler->claim[class][QUEUE_BACKFILL]);
    }
    timer_set_in(scheduler->core->loop, &scheduler->wake,
                 scheduler->core->settings->queue.claim_poll_ms);
}

static void on_wake(struct timer *timer)
{
    loop_defer(container_of(timer, struct scheduler, wake)->core->loop,
               &container_of(timer, struct scheduler, wake)->pump);
}

static void keep_until(struct task *task, struct mono from)
{
    const struct core *core = task->core;
    task->lease_until = mono_after_ms(from, core->settings->queue.lease_ms);
    timer_set(core->loop, &task->lapse, task->lease_until);
}

/* A task whose upstream fails becomes one that waits: control tasks of all kinds share a claim. */
static bool start_task(const struct claim *claim, struct queue_task *lease)
{
    struct scheduler *scheduler = claim->scheduler;
    struct core *core = scheduler->core;
    unsigned needs = upstream_needs(lease);
    bool starts = upstream_room(core, needs) > 0;
    unsigned tries = starts ? upstream_try(core, needs) : 0;
    struct task *task = (starts ? kind[lease->kind] : &waiting_kind)->start(core, lease);
    task->ended = on_ended;
    task->began = loop_now(core->loop);
    task->tries = tries;
    task->epoch = core->epoch;
    task->reserved = file_plan_memory(core, lease);
    scheduler->reserved += task->reserved;
    task->progress = scheduler_nudge;
    task->lapse.fire = on_lapse;
    keep_until(task, claim->asked_at);
    list_push(&scheduler->running[claim->class], &task->node);
    core->metrics.claims++;
    if (scheduler->draining) {
        task->cancelled = true;
        task->kind->cancel(task);
    }
    return starts;
}

/* A claim on its way may still bring tasks, which have to be given back. */
static bool all_ended(const struct scheduler *scheduler)
{
    size_t left =
        scheduler->running[QUEUE_CONTROL].count + scheduler->running[QUEUE_FILES].count;
    for (int class = 0; class < CLASSES; class ++)
        for (int lane = 0; lane < QUEUE_LANES; lane++)
            left += scheduler->claim[class][lane].asking;
    return left == 0;
}

static void on_claimed(struct queue_op *op)
{
    struct claim *claim = container_of(op, struct claim, op);
    struct scheduler *scheduler = claim->scheduler;
    struct mono now = loop_now(scheduler->core->loop);
    size_t started = 0;
    claim->asking = false;
    startup_claimed(scheduler->core, &op->fault);
    for (size_t i = 0; i < op->tasks; i++) {
        started += start_task(claim, op->task[i]);
        op->task[i] = NULL;
    }
    if (op->tasks == 0)
        claim->again_at = mono_after_ms(now, scheduler->core->settings->queue.claim_poll_ms);
    else if (started == 0)
        claim->again_at = mono_after_ms(now, BLOCKED_MS);
    queue_op_release(op);
    loop_defer(scheduler->core->loop, &scheduler->pump);
    if (scheduler->draining && all_ended(scheduler))
        scheduler->drained(scheduler->core);
}

static void on_ended(struct task *task)
{
    struct scheduler *scheduler = task->core->scheduler;
    enum queue_class class = task->lease->kind == QUEUE_FILE ? QUEUE_FILES : QUEUE_CONTROL;
    for (size_t i = 0; i < scheduler->beaten_count; i++)
        if (scheduler->beaten[i] == task)
            scheduler->beaten[i] = NULL;
    list_remove(&scheduler->running[class], &task->node);
    timer_clear(scheduler->core->loop, &task->lapse);
    scheduler->reserved -= task->reserved;
    upstream_tried(scheduler->core, task->tries);
    bool worked = task->kind != &waiting_kind;
    if (worked)
        task_count_time(task);
    task->kind->free(task);
    if (!scheduler->draining && worked)
        scheduler_nudge(scheduler->core);
    else if (scheduler->draining && all_ended(scheduler))
        scheduler->drained(scheduler->core);
}

/* ---- ticks */

/* What datasets have cost goes with the tick. If its answer is lost, a second may count twice. */
static void send_tick(struct scheduler *scheduler)
{
    struct core *core = scheduler->core;
    const struct settings *settings = core->settings;
    struct queue_cost *cost = mem_alloc_array(settings->datasets, sizeof *cost);
    for (size_t i = 0; i < settings->datasets; i++) {
        cost[i].dataset = settings->dataset[i].id;
        cost[i].bytes = metrics_unsaved(&core->metrics, settings->dataset[i].as);
    }
    queue_tick(core->queue, &scheduler->tick_op, cost, settings->datasets,
               settings->queue.retention_ms);
    mem_free(cost);
}

static void on_tick(struct timer *timer)
{
    struct scheduler *scheduler = container_of(timer, struct scheduler, tick);
    timer_set_in(scheduler->core->loop, timer,
                 TICK_MS * 4 / 5 + (int64_t)(core_random() % (TICK_MS * 2 / 5)));
    scheduler->tick_again = scheduler->ticking;
    if (scheduler->ticking || !queue_up(scheduler->core->queue))
        return;
    scheduler->ticking = true;
    scheduler->tick_op.done = on_ticked;
    send_tick(scheduler);
}

static void on_ticked(struct queue_op *op)
{
    struct scheduler *scheduler = container_of(op, struct scheduler, tick_op);
    struct core *core = scheduler->core;
    scheduler->ticking = false;
    if (scheduler->tick_again)
        scheduler_tick(scheduler);
    if (!op->fault.code) {
        scheduler->figures.live_daemons = op->live_daemons;
        scheduler->figures.seq = op->seq;
        metrics_saved(&core->metrics);
        repair_note_tick(core, op);
        aep_set_rate(core->aep, (double)core->settings->aep.requests_per_second,
                     (int)op->live_daemons);
        if (op->inbox > 0 && !scheduler->draining)
            inbox_look(scheduler->inbox);
        if (op->number > 0)
            scheduler_nudge(core);
    }
    queue_op_release(op);
}

/* ---- leases */

static void cancel(struct task *task)
{
    if (task->ending || (task->cancelled && !task->lost))
        return;
    task->cancelled = true;
    task->kind->cancel(task);
}

static void lose(struct task *task)
{
    if (task->lost || task->ending)
        return;
    task->lost = true;
    task->cancelled = false;
    cancel(task);
}

/* Without a confirmed renewal until its end a lease is over, whatever Redis would say. */
static void on_lapse(struct timer *timer)
{
    lose(container_of(timer, struct task, lapse));
}

static void renew(struct task *task, struct mono from)
{
    keep_until(task, from);
    if (task->kind->renewed)
        task->kind->renewed(task);
}

static size_t collect_beats(struct scheduler *scheduler, struct queue_beat *beat)
{
    size_t count = 0;
    for (int class = 0; class < CLASSES; class ++)
        list_each(&scheduler->running[class], node)
        {
            struct task *task = container_of(node, struct task, node);
            if (task->ending || task->lost)
                continue;
            const char *offset = task->kind->offset ? task->kind->offset(task) : NULL;
            beat[count] = (struct queue_beat){ task->lease, offset };
            scheduler->beaten[count++] = task;
        }
    return count;
}

static void on_beat(struct timer *timer)
{
    struct scheduler *scheduler = container_of(timer, struct scheduler, beat);
    struct core *core = scheduler->core;
    size_t all =
        scheduler->running[QUEUE_CONTROL].count + scheduler->running[QUEUE_FILES].count;
    timer_set_in(core->loop, &scheduler->beat, core->settings->queue.lease_ms / 4);
    if (scheduler->beating || !queue_up(core->queue) || all == 0)
        return;
    struct queue_beat *beat = mem_alloc_array(all, sizeof *beat);
    scheduler->beaten = mem_grow(scheduler->beaten, all, sizeof(struct task *));
    scheduler->beaten_count = collect_beats(scheduler, beat);
    scheduler->beat_at = loop_now(core->loop);
    if (scheduler->beaten_count > 0) {
        scheduler->beating = true;
        scheduler->beat_op.done = on_beaten;
        queue_beat(core->queue, &scheduler->beat_op, core->settings->queue.lease_ms, beat,
                   scheduler->beaten_count);
    }
    mem_free(beat);
}

static void on_beaten(struct queue_op *op)
{
    struct scheduler *scheduler = container_of(op, struct scheduler, beat_op);
    scheduler->beating = false;
    for (size_t i = 0; !op->fault.code && i < scheduler->beaten_count; i++) {
        struct task *task = scheduler->beaten[i];
        if (task && op->held[i] && !task->lost)
            renew(task, scheduler->beat_at);
        else if (task)
            lose(task);
    }
    scheduler->beaten_count = 0;
    queue_op_release(op);
}

void scheduler_forget(struct scheduler *scheduler)
{
    for (int class = 0; class < CLASSES; class ++)
        list_each(&scheduler->running[class], node) lose(container_of(node, struct task, node));
}

/* ---- the end */

void scheduler_drain(struct scheduler *scheduler, void (*drained)(struct core *core))
{
    scheduler->draining = true;
    scheduler->drained = drained;
    if (all_ended(scheduler)) {
        drained(scheduler->core);
        return;
    }
    for (int class = 0; class < CLASSES; class ++)
        list_each(&scheduler->running[class], node)
            cancel(container_of(node, struct task, node));
}
