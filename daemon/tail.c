/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tail of one dataset. One turn of it is a walk or a sweep:
 *
 *   walk [watermark - overlap, server's now - settle)
 *     each page: its batches become tasks and the watermark moves, in one step (fan)
 *     end: watermark to where it ended, back to the queue until the next poll
 *   sweep over what changed (sweep.c), each aep.sweep
 *     each page: readable batches become tasks, withdrawn ones are looked after
 *     end: `swept` to where it began; it never is before all of that is durable
 *
 * Batches of every status are queued by the walk: a batch that is not readable yet waits as its own
 * task. The watermark is about discovery only. The overlap finds batches that were listed late; a
 * walk that finds only what the last one had found, to its last batch, goes no further. The first
 * walk of a tail, and one each aep.reconcile that begins in the past, take nothing for known and
 * look after withdrawn batches, too.
 */
#include "daemon/tail.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/discover.h"
#include "daemon/sweep.h"
#include "daemon/task.h"
#include "daemon/walk.h"
#include "lib/base/log.h"

#define NOTES 5

struct tail {
    struct task task;
    const struct dataset_settings *dataset;
    struct tail_memory *memory;
    int64_t watermark;
    char offset[48]; /* the cursor as the queue knows it: "<watermark>" or "<watermark>/<n>" */
    struct tail_seen *seen;
    size_t seen_count;
    size_t found;
    bool remembers; /* the queue still has what `memory` says */
    bool full;      /* the walk takes nothing for known, and looks after withdrawn batches */
    int64_t start, swept, oldest;
    int64_t reached; /* by the page of the walk */
    struct mono began;
    struct walk walk;
    struct sweep sweep;
    struct withdrawn withdrawn;
    struct queue_op fan;
    struct deferred begin;
    struct {
        struct queue_field field[NOTES];
        char text[NOTES][sizeof((struct fault *)0)->text];
        size_t count;
    } note; /* what the queue shall keep of this turn */
};

static void on_begin(struct deferred *work);
static void start_walk(struct tail *tail);
static void on_page(struct walk *walk);
static void on_page_queued(struct queue_op *op);
static void check_page(struct tail *tail);
static void on_page_checked(struct withdrawn *withdrawn);
static void on_walked(struct walk *walk);
static void start_sweep(struct tail *tail);
static void on_changes(struct sweep *sweep);
static void on_changes_queued(struct queue_op *op);
static void on_swept(struct sweep *sweep);
static void rest(struct tail *tail);

void tail_submit(struct core *core, struct queue_op *op, size_t dataset, int64_t start_ms)
{
    const struct dataset_settings *settings = &core->settings->dataset[dataset];
    int64_t start = start_ms > 0 ? start_ms : 1;
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, start);
    char *id = mem_print("tail/%s", settings->id);
    struct queue_field field[] = { { "start", text } };
    struct queue_child child = { .kind = QUEUE_TAIL,
                                 .id = id,
                                 .lane = QUEUE_LIVE,
                                 .order = start,
                                 .field = field,
                                 .fields = 1 };
    queue_submit(core->queue, op, &child, settings->id, "");
    mem_free(id);
}

/* ---- life */

static struct task *tail_start(struct core *core, struct queue_task *lease)
{
    struct tail *tail = mem_alloc(sizeof *tail);
    task_init(&tail->task, core, lease, &tail_kind);
    tail->begin.run = on_begin;
    tail->walk.core = core;
    loop_defer(core->loop, &tail->begin);
    return &tail->task;
}

static void tail_free(struct task *task)
{
    struct tail *tail = container_of(task, struct tail, task);
    loop_undefer(task->core->loop, &tail->begin);
    queue_cancel(&tail->fan);
    queue_op_release(&tail->fan);
    walk_release(&tail->walk);
    sweep_release(&tail->sweep);
    withdrawn_release(&tail->withdrawn);
    mem_free(tail->seen);
    task_release(task);
    mem_free(tail);
}

static void tail_cancel(struct task *task)
{
    struct tail *tail = container_of(task, struct tail, task);
    /* Without effect while a fan is on its way: its answer ends the task. */
    walk_cancel(&tail->walk);
    sweep_cancel(&tail->sweep);
    withdrawn_cancel(&tail->withdrawn);
}

const struct task_kind tail_kind = { .start = tail_start,
                                     .cancel = tail_cancel,
                                     .free = tail_free };

/* ---- one turn */

static int64_t now_of(const struct tail *tail)
{
    return aep_now(tail->task.core->aep).ms;
}

/* When this turn began, by the server: known once it has answered. */
static int64_t began_at(const struct tail *tail)
{
    return now_of(tail) - mono_ms_between(tail->began, loop_now(tail->task.core->loop));
}

static void note(struct tail *tail, const char *name, const char *text)
{
    size_t at = tail->note.count++;
    assert(at < NOTES);
    snprintf(tail->note.text[at], sizeof tail->note.text[at], "%s", text);
    tail->note.field[at] = (struct queue_field){ name, tail->note.text[at] };
}

static void note_time(struct tail *tail, const char *name, int64_t ms)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, ms);
    note(tail, name, text);
}

static bool wants_sweep(const struct tail *tail)
{
    const struct core *core = tail->task.core;
    int64_t at = queue_task_int(tail->task.lease, "sweep_at", 0);
    return tail->swept > 0 && !tail->memory->has_swept &&
           !upstream_fails(core, UPSTREAM_BIT(UPSTREAM_S3)) &&
           sweep_due(at, now_of(tail), core->settings->aep.sweep_ms);
}

static void on_begin(struct deferred *work)
{
    struct tail *tail = container_of(work, struct tail, begin);
    struct core *core = tail->task.core;
    struct queue_task *lease = tail->task.lease;
    if (tail->task.cancelled) {
        task_stop(&tail->task);
        return;
    }
    tail->dataset = settings_dataset(core->settings, lease->dataset);
    if (!tail->dataset) {
        task_not_ours(&tail->task);
        return;
    }
    tail->memory = core->tail_memory[tail->dataset - core->settings->dataset];
    snprintf(tail->offset, sizeof tail->offset, "%s", lease->offset);
    tail->watermark = strtoll(tail->offset, NULL, 10);
    tail->start = queue_task_int(lease, "start", 1);
    tail->swept = queue_task_int(lease, "swept", 0);
    tail->oldest = INT64_MAX;
    tail->began = loop_now(core->loop);
    if (wants_sweep(tail))
        start_sweep(tail);
    else
        start_walk(tail);
}

/* Children into the queue, and the cursor with them. It must move: if not by time, by count. */
static void fan(struct tail *tail, int64_t watermark, const struct discovered *found,
                void (*done)(struct queue_op *op))
{
    char cursor[sizeof tail->offset];
    const char *slash = strchr(tail->offset, '/');
    if (watermark > tail->watermark)
        snprintf(cursor, sizeof cursor, "%" PRId64, watermark);
    else
        snprintf(cursor, sizeof cursor, "%" PRId64 "/%ld", tail->watermark,
                 slash ? strtol(slash + 1, NULL, 10) + 1 : 1);
    tail->watermark = watermark > tail->watermark ? watermark : tail->watermark;
    tail->found += found->count;
    tail->task.core->metrics.batches_discovered += (int64_t)found->count;
    tail->fan.done = done;
    queue_op_release(&tail->fan);
    queue_fan(tail->task.core->queue, &tail->fan, tail->task.lease, tail->offset, cursor, false,
              found->child, found->count);
    memcpy(tail->offset, cursor, sizeof cursor);
}

static bool was_queued(struct tail *tail)
{
    if (tail->fan.fault.code) {
        task_fail(&tail->task, &tail->fan.fault);
        return false;
    }
    tail->task.progress(tail->task.core);
    if (tail->task.cancelled)
        task_stop(&tail->task);
    return !tail->task.cancelled;
}

static void rest(struct tail *tail)
{
    if (tail->found)
        log_event(LOG_DEBUG, tail->task.lease->id, "seen=%zu watermark=%" PRId64, tail->found,
                  tail->watermark);
    if (!tail->memory->has_swept) /* it was a walk: how fresh the dataset is, for everybody */
        note_time(tail, "seen_to", tail->memory->watermark_ms);
    task_rest(&tail->task, tail->dataset->poll_ms, tail->note.field, tail->note.count);
}

/* ---- a walk */

/* Where it begins. A poll does not list again all that it knows: what is late the sweep finds. */
static int64_t walk_from(struct tail *tail)
{
    const struct settings *settings = tail->task.core->settings;
    int64_t reconciled = queue_task_int(tail->task.lease, "reconciled", 0);
    int64_t from = tail->watermark - settings->aep.overlap_ms;
    int64_t past = now_of(tail) - settings->aep.reconcile_window_ms;
    bool due = sweep_due(reconciled, now_of(tail), settings->aep.reconcile_ms);
    tail->full = due || tail->swept == 0;
    tail->remembers =
        !tail->full && tail->memory->count && tail->watermark >= tail->memory->cursor;
    if (due && past < from)
        from = past;
    if (tail->remembers && tail->memory->tip > from)
        from = tail->memory->tip;
    return from < tail->start ? tail->start : from;
}

static void start_walk(struct tail *tail)
{
    struct core *core = tail->task.core;
    int64_t to = now_of(tail) - core->settings->aep.settle_ms, end = tail->dataset->end_ms;
    tail->memory->has_swept = false;
    tail->walk.core = core;
    tail->walk.dataset = tail->dataset->id;
    tail->walk.limit = (int)tail->dataset->page;
    tail->walk.from = walk_from(tail);
    tail->walk.to = end >= 0 && end < to ? end : to;
    if (end >= 0 && tail->walk.from >= end) { /* all there will ever be is known */
        rest(tail);
        return;
    }
    if (tail->walk.to <=
        tail->walk.from) /* our clock is behind: the answer will tell the time */
        tail->walk.to = tail->walk.from + 1;
    tail->walk.page = on_page;
    tail->walk.done = on_walked;
    walk_start(&tail->walk);
}

/*
 * Whether a page without anything new, which ends with `last`, is the end. A full page may have
 * something behind it. So may a short one, if rarely: that is left to the sweep.
 */
static bool stops_at(const struct tail *tail, uint64_t last)
{
    const struct tail_memory *memory = tail->memory;
    return tail->remembers && memory->count > 0 && !tail->walk.full &&
           memory->known[memory->count - 1].hash == last;
}

/*
 * Notes the page's ids and moves those that were not there last time to its front; returns how
 * many, and the last id of the page.
 */
static size_t sift(struct tail *tail, struct walk *walk, uint64_t *ret_last)
{
    size_t fresh = 0;
    uint64_t hash = 0;
    for (size_t i = 0; i < walk->count; i++) {
        hash = tail_hash(walk->batches[i].id);
        tail->seen = mem_grow(tail->seen, tail->seen_count + 1, sizeof *tail->seen);
        tail->seen[tail->seen_count++] = (struct tail_seen){ hash, walk->batches[i].created };
        if (!tail->remembers || !tail_memory_knows(tail->memory, hash))
            walk->batches[fresh++] = walk->batches[i];
    }
    tail->seen_count = tail_seen_trim(tail->seen, tail->seen_count);
    *ret_last = hash;
    return fresh;
}

static void queue_page(struct tail *tail)
{
    struct discovered found;
    discover_children(tail->walk.batches, tail->walk.count, tail->dataset->id, QUEUE_LIVE,
                      &found);
    fan(tail, tail->reached, &found, on_page_queued);
    discover_free(&found);
}

/* Of snapshots only the newest is worth a task. */
static size_t keep_newest(const struct tail *tail, struct batch_info *batch, size_t count,
                          const struct batch_info *newest)
{
    bool all = tail->dataset->semantics != SNAPSHOT_LATEST;
    return all ? count : discover_drop_older(batch, count, newest);
}

static void on_page(struct walk *walk)
{
    struct tail *tail = container_of(walk, struct tail, walk);
    uint64_t last;
    const struct batch_info *of_page = discover_newest(walk->batches, walk->count);
    struct batch_info newest = of_page ? *of_page : (struct batch_info){ 0 };
    size_t fresh = sift(tail, walk, &last);
    if (fresh == 0 && stops_at(tail, last)) {
        tail->memory->watermark_ms = walk->to;
        rest(tail); /* as it was: one call was enough to know */
        return;
    }
    if (fresh == 0) {
        walk_next(walk);
        return;
    }
    tail->reached = walk->batches[fresh - 1].created;
    walk->count = keep_newest(tail, walk->batches, fresh, &newest);
    if (tail->full)
        check_page(tail);
    else
        queue_page(tail);
}

/* Before they are queued: a task that is open now may still write a manifest. */
static void check_page(struct tail *tail)
{
    tail->withdrawn.core = tail->task.core;
    tail->withdrawn.dataset = tail->dataset;
    tail->withdrawn.successors = &tail->memory->successors;
    tail->withdrawn.since = tail->start;
    tail->withdrawn.row = tail->walk.batches;
    tail->withdrawn.count = tail->walk.count;
    tail->withdrawn.done = on_page_checked;
    for (size_t i = 0; i < tail->walk.count; i++)
        successors_learn(&tail->memory->successors, &tail->walk.batches[i]);
    withdrawn_start(&tail->withdrawn);
}

static void on_page_checked(struct withdrawn *withdrawn)
{
    struct tail *tail = container_of(withdrawn, struct tail, withdrawn);
    if (withdrawn->fault.code) {
        task_fail(&tail->task, &withdrawn->fault);
        return;
    }
    if (withdrawn->oldest < tail->oldest)
        tail->oldest = withdrawn->oldest;
    queue_page(tail);
}

static void on_page_queued(struct queue_op *op)
{
    struct tail *tail = container_of(op, struct tail, fan);
    if (!was_queued(tail))
        return;
    if (tail->walk.batches)
        walk_next(&tail->walk);
    else
        rest(tail); /* after the last page */
}

/* What a full walk says about the sweeps to come. It has not seen what is older than the start. */
static void note_walk(struct tail *tail)
{
    const struct settings *settings = tail->task.core->settings;
    int64_t began = began_at(tail), past = began - settings->aep.reconcile_window_ms;
    int64_t swept = tail->swept > 0 ? tail->swept : past > 0 ? past : 1;
    int64_t reached = sweep_reached(swept, tail->oldest, settings->aep.overlap_ms);
    if (!tail->full)
        return;
    note_time(tail, "reconciled", began);
    if (reached != tail->swept)
        note_time(tail, "swept", reached);
    if (tail->swept == 0)
        note_time(tail, "sweep_at", began);
}

static void on_walked(struct walk *walk)
{
    struct tail *tail = container_of(walk, struct tail, walk);
    if (walk->fault.code) {
        task_fail(&tail->task, &walk->fault);
        return;
    }
    /* Our clock may have been wrong before the first answer told Adobe's time. */
    int64_t now = now_of(tail) - tail->task.core->settings->aep.settle_ms;
    walk->to = walk->to < now ? walk->to : now;
    tail_memory_learn(tail->memory, tail->seen, tail->seen_count,
                      walk->to > tail->watermark ? walk->to : tail->watermark, tail->remembers);
    tail->seen = NULL;
    note_walk(tail);
    tail->memory->watermark_ms = walk->to; /* all before it is known */
    struct discovered none = { 0 };
    if (walk->to > tail->watermark)
        fan(tail, walk->to, &none, on_page_queued);
    else
        rest(tail);
}

/* ---- a sweep */

static void start_sweep(struct tail *tail)
{
    const struct core *core = tail->task.core;
    tail->memory->has_swept = true;
    tail->sweep.core = tail->task.core;
    tail->sweep.dataset = tail->dataset;
    tail->sweep.memory = tail->memory;
    tail->sweep.bound = tail->swept - core->settings->aep.overlap_ms;
    tail->sweep.since = tail->start;
    tail->sweep.page = on_changes;
    tail->sweep.done = on_swept;
    sweep_start(&tail->sweep);
}

/* Readable, and in the time that the tail is about. */
static bool is_ours(const struct tail *tail, const struct batch_info *batch)
{
    int64_t end = tail->dataset->end_ms;
    return batch->state == BATCH_READABLE && !batch->other_dataset &&
           batch->created >= tail->start && (end < 0 || batch->created < end);
}

static void on_changes(struct sweep *sweep)
{
    struct tail *tail = container_of(sweep, struct tail, sweep);
    struct discovered found;
    size_t count = 0;
    const struct batch_info *newest = discover_newest(sweep->batches, sweep->count);
    struct batch_info *batch = mem_alloc_array(sweep->count, sizeof *batch);
    for (size_t i = 0; i < sweep->count; i++)
        if (is_ours(tail, &sweep->batches[i]))
            batch[count++] = sweep->batches[i];
    count = keep_newest(tail, batch, count, newest);
    discover_children(batch, count, tail->dataset->id, QUEUE_LIVE, &found);
    mem_free(batch);
    if (found.count)
        fan(tail, tail->watermark, &found, on_changes_queued);
    else
        sweep_next(sweep);
    discover_free(&found);
}

static void on_changes_queued(struct queue_op *op)
{
    struct tail *tail = container_of(op, struct tail, fan);
    if (was_queued(tail))
        sweep_next(&tail->sweep);
}

/* A sweep that fails keeps nothing back: new batches are found all the same. */
static void on_swept(struct sweep *sweep)
{
    struct tail *tail = container_of(sweep, struct tail, sweep);
    struct metrics *metrics = &tail->task.core->metrics;
    const struct fault *fault = &sweep->fault;
    if (tail->task.cancelled) {
        task_stop(&tail->task);
    } else if (fault->code) {
        metrics->sweeps_failed++;
        log_event(LOG_WARN, tail->task.lease->id, "sweep failed error=%s status=%d: %s",
                  err_name(fault->code), fault->http_status, fault->text);
        note_time(tail, "sweep_at", now_of(tail));
        note(tail, "sweep_error", fault->text);
        start_walk(tail);
    } else {
        int64_t overlap = tail->task.core->settings->aep.overlap_ms;
        metrics->sweeps++;
        note_time(tail, "swept", sweep_reached(sweep->began, sweep->oldest, overlap));
        note_time(tail, "sweep_at", sweep->began);
        note(tail, "sweep_error", "");
        rest(tail);
    }
}
