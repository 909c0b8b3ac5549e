/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tail of one dataset. One turn of it:
 *
 *   walk [watermark - overlap, server's now - settle)
 *     each page: its batches become tasks and the watermark moves, in one step (fan)
 *   end of the walk: watermark to where it ended, back to the queue until the next poll
 *
 * Batches of every status are queued: a batch that is not readable yet waits as its own task. The
 * watermark is about discovery only. The overlap finds batches that were listed late. A poll that
 * finds only what the last walk had found, to its last batch, goes no further.
 */
#include "daemon/tail.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/discover.h"
#include "daemon/task.h"
#include "daemon/walk.h"
#include "lib/base/log.h"

#define SHORT_POLLS 9 /* in a row, which end at the last batch known */

struct tail {
    struct task task;
    const struct dataset_settings *dataset;
    struct tail_memory *memory;
    int64_t watermark;
    char offset[40]; /* the watermark as the queue knows it, see next_cursor */
    uint64_t *seen;
    size_t seen_count;
    size_t found;
    bool remembers; /* the queue still has what `memory` says */
    struct walk walk;
    struct queue_op fan;
    struct deferred begin;
};

static void on_begin(struct deferred *work);
static void on_page(struct walk *walk);
static void on_page_queued(struct queue_op *op);
static void on_walked(struct walk *walk);
static void rest(struct tail *tail);

struct tail_memory *tail_memory_new(size_t datasets)
{
    return mem_alloc_array(datasets, sizeof(struct tail_memory));
}

void tail_memory_free(struct tail_memory *memory, size_t datasets)
{
    for (size_t i = 0; memory && i < datasets; i++)
        mem_free(memory[i].known);
    mem_free(memory);
}

void tail_forget(struct core *core)
{
    for (size_t i = 0; i < core->settings->datasets; i++)
        core->tail_memory[i].count = 0;
}

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
    mem_free(tail->seen);
    task_release(task);
    mem_free(tail);
}

static void tail_cancel(struct task *task)
{
    /* Without effect while a fan is on its way: its answer ends the task. */
    walk_cancel(&container_of(task, struct tail, task)->walk);
}

const struct task_kind tail_kind = { .start = tail_start,
                                     .cancel = tail_cancel,
                                     .free = tail_free };

/* ---- one turn */

static void on_begin(struct deferred *work)
{
    struct tail *tail = container_of(work, struct tail, begin);
    struct core *core = tail->task.core;
    struct queue_task *lease = tail->task.lease;
    struct fault fault = { 0 };
    if (tail->task.cancelled) {
        task_stop(&tail->task);
        return;
    }
    tail->dataset = settings_dataset(core->settings, lease->dataset);
    if (!tail->dataset) {
        fault_set(&fault, ERR_BUG, "dataset %s is not configured here", lease->dataset);
        task_fail(&tail->task, &fault);
        return;
    }
    tail->memory = &core->tail_memory[tail->dataset - core->settings->dataset];
    snprintf(tail->offset, sizeof tail->offset, "%s", lease->offset);
    tail->watermark = strtoll(tail->offset, NULL, 10);
    tail->remembers = tail->memory->count && tail->watermark >= tail->memory->cursor;
    int64_t from = tail->watermark - core->settings->aep.overlap_ms;
    int64_t start = queue_task_int(lease, "start", 1);
    tail->walk.dataset = tail->dataset->id;
    tail->walk.from = from < start ? start : from;
    tail->walk.to = aep_now(core->aep).ms - core->settings->aep.settle_ms;
    if (tail->walk.to <=
        tail->walk.from) /* our clock is behind: the answer will tell the time */
        tail->walk.to = tail->walk.from + 1;
    tail->walk.page = on_page;
    tail->walk.done = on_walked;
    walk_start(&tail->walk);
}

static uint64_t hash_id(const char *id)
{
    uint64_t hash = 14695981039346656037ull; /* FNV-1a */
    for (; *id; id++)
        hash = (hash ^ (unsigned char)*id) * 1099511628211ull;
    return hash;
}

static bool known(const struct tail *tail, uint64_t hash)
{
    for (size_t i = 0; tail->remembers && i < tail->memory->count; i++)
        if (tail->memory->known[i] == hash)
            return true;
    return false;
}

/*
 * Whether a page without anything new, which ends with `last`, is the end. A full page may have
 * something behind it, and so may a short one, if rarely: sometimes the walk goes on to the end.
 */
static bool stops_at(struct tail *tail, uint64_t last)
{
    struct tail_memory *memory = tail->memory;
    if (!tail->remembers || memory->count == 0 || tail->walk.full ||
        memory->known[memory->count - 1] != last)
        return false;
    return memory->short_polls++ < SHORT_POLLS;
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
        hash = hash_id(walk->batches[i].id);
        tail->seen = mem_grow(tail->seen, tail->seen_count + 1, sizeof *tail->seen);
        tail->seen[tail->seen_count++] = hash;
        if (!known(tail, hash))
            walk->batches[fresh++] = walk->batches[i];
    }
    *ret_last = hash;
    return fresh;
}

/*
 * The cursor moves with each fan, the watermark not: what was created at one instant may fill more
 * than a page, and in an ordered dataset no batch of that instant may pass before all of them are
 * known. Then a number behind the watermark counts: 1706745600001/2.
 */
static void next_cursor(struct tail *tail, int64_t watermark, char *cursor, size_t size)
{
    const char *slash = strchr(tail->offset, '/');
    if (watermark > tail->watermark) {
        tail->watermark = watermark;
        snprintf(cursor, size, "%" PRId64, watermark);
        return;
    }
    snprintf(cursor, size, "%" PRId64 "/%ld", tail->watermark,
             slash ? strtol(slash + 1, NULL, 10) + 1 : 1);
}

static void fan(struct tail *tail, int64_t watermark, const struct discovered *found)
{
    char cursor[sizeof tail->offset];
    next_cursor(tail, watermark, cursor, sizeof cursor);
    tail->fan.done = on_page_queued;
    queue_op_release(&tail->fan);
    queue_fan(tail->task.core->queue, &tail->fan, tail->task.lease, tail->offset, cursor, false,
              found->child, found->count);
    memcpy(tail->offset, cursor, sizeof cursor);
}

static void on_page(struct walk *walk)
{
    struct tail *tail = container_of(walk, struct tail, walk);
    struct discovered found;
    uint64_t last;
    size_t fresh = sift(tail, walk, &last);
    if (fresh == 0 && stops_at(tail, last)) {
        rest(tail); /* as it was: one call was enough to know */
        return;
    }
    if (fresh == 0) {
        walk_next(walk);
        return;
    }
    discover_children(walk->batches, fresh, tail->dataset->id, QUEUE_LIVE, &found);
    tail->found += found.count;
    tail->task.core->metrics.batches_discovered += (int64_t)found.count;
    fan(tail, walk->batches[fresh - 1].created, &found);
    discover_free(&found);
}

static void on_page_queued(struct queue_op *op)
{
    struct tail *tail = container_of(op, struct tail, fan);
    if (op->fault.code) {
        task_fail(&tail->task, &op->fault);
        return;
    }
    tail->task.progress(tail->task.core);
    if (tail->task.cancelled)
        task_stop(&tail->task);
    else if (tail->walk.batches)
        walk_next(&tail->walk);
    else
        rest(tail);
}

static void learn(struct tail *tail, int64_t cursor)
{
    struct tail_memory *memory = tail->memory;
    mem_free(memory->known);
    memory->known = tail->seen;
    memory->count = tail->seen_count;
    memory->cursor = cursor;
    memory->short_polls = 0;
    tail->seen = NULL;
}

static void on_walked(struct walk *walk)
{
    struct tail *tail = container_of(walk, struct tail, walk);
    if (walk->fault.code) {
        task_fail(&tail->task, &walk->fault);
        return;
    }
    /* Our clock may have been wrong before the first answer told Adobe's time. */
    int64_t now = aep_now(tail->task.core->aep).ms - tail->task.core->settings->aep.settle_ms;
    walk->to = walk->to < now ? walk->to : now;
    learn(tail, walk->to > tail->watermark ? walk->to : tail->watermark);
    struct discovered none = { 0 };
    if (walk->to > tail->watermark)
        fan(tail, walk->to, &none);
    else
        rest(tail);
}

static void rest(struct tail *tail)
{
    tail->memory->watermark_ms = tail->walk.to; /* all before it is known */
    if (tail->found)
        log_event(LOG_DEBUG, tail->task.lease->id, "seen=%zu watermark=%" PRId64, tail->found,
                  tail->watermark);
    task_rest(&tail->task, tail->dataset->poll_ms, NULL, 0);
}
