/* SPDX-License-Identifier: Apache-2.0 */
/*
 * History on demand: a job names a range of creation times, it is cut into windows, each window
 * lists its batches. Both are tasks, so a year of history survives any restart, and both only
 * list: the batches take the same way as those of the tail, in the slow lane.
 *
 *   job     [from, to)  ──fan──▶ windows of queue.window each       cursor: start of the next one
 *           noted in the ledger before its first fan, and as done when all below it is
 *           of one batch: looked up in Catalog ──fan──▶ that batch
 *   window  [from, to)  ──walk, fan──▶ batches                      cursor: "<created>/<page>"
 *
 * A replay is a job with a generation: all below it has ids of that generation, and so do keys.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/discover.h"
#include "daemon/ledger.h"
#include "daemon/task.h"
#include "daemon/walk.h"
#include "lib/base/log.h"

#define WINDOWS_PER_FAN 50

/* What the ids below a task begin with, behind their kind. */
static char *scope_of(const struct queue_task *lease, int64_t generation)
{
    return generation > 1 ? mem_print("%s/%" PRId64, lease->dataset, generation)
                          : mem_copy_text(lease->dataset);
}

/* ---- job */

struct job {
    struct task task;
    const struct dataset_settings *dataset;
    int64_t from, to, at;
    int64_t generation;
    char *scope; /* of the ids below it: the dataset, or <dataset>/<generation> */
    char offset[24];
    bool noting;  /* the ledger's answer is awaited */
    bool looking; /* Catalog's */
    struct ledger_op note;
    struct catalog_list look; /* a replay of one batch */
    struct queue_op fan;
    struct deferred step;
};

static void begin_job(struct deferred *work);
static void on_noted(struct ledger_op *op);
static void step_job(struct deferred *work);
static void on_windows(struct queue_op *op);
static void start_look(struct deferred *work);
static void on_look(struct catalog_list *look);
static void on_batch_queued(struct queue_op *op);

static struct task *job_start(struct core *core, struct queue_task *lease)
{
    struct job *job = mem_alloc(sizeof *job);
    task_init(&job->task, core, lease, &job_kind);
    job->dataset = settings_dataset(core->settings, lease->dataset);
    job->from = queue_task_int(lease, "from", 0);
    job->to = queue_task_int(lease, "to", 0);
    job->generation = queue_task_int(lease, "generation", 1);
    job->scope = scope_of(lease, job->generation);
    snprintf(job->offset, sizeof job->offset, "%s", lease->offset);
    int64_t reached = strtoll(lease->offset, NULL, 10);
    job->at = reached > job->from ? reached : job->from;
    job->note.done = on_noted;
    job->step.run = begin_job;
    loop_defer(core->loop, &job->step);
    return &job->task;
}

static void job_free(struct task *task)
{
    struct job *job = container_of(task, struct job, task);
    loop_undefer(task->core->loop, &job->step);
    queue_cancel(&job->fan);
    queue_op_release(&job->fan);
    ledger_op_release(&job->note);
    catalog_release(&job->look);
    mem_free(job->scope);
    task_release(task);
    mem_free(job);
}

static void job_cancel(struct task *task)
{
    struct job *job = container_of(task, struct job, task);
    if (job->noting)
        ledger_cancel(&job->note);
    if (job->looking)
        catalog_cancel(&job->look);
    /* else a fan answers soon, and the end follows */
}

const struct task_kind job_kind = { .start = job_start,
                                    .cancel = job_cancel,
                                    .free = job_free };

static bool is_done(const struct job *job)
{
    return strcmp(job->task.lease->phase, "fin") == 0;
}

/*
 * The ledger first: Redis may forget an order only if S3 remembers it. What Sluice itself ordered
 * (enroll.c) it would order again.
 */
static void begin_job(struct deferred *work)
{
    struct job *job = container_of(work, struct job, step);
    const struct queue_task *lease = job->task.lease;
    if (job->task.cancelled) {
        task_stop(&job->task);
        return;
    }
    if (!job->dataset) {
        task_not_ours(&job->task);
        return;
    }
    bool begun = !is_done(job) && strcmp(job->offset, "0") != 0;
    if (begun || queue_task_get(lease, "origin")) {
        on_noted(&job->note);
        return;
    }
    job->noting = true;
    ledger_job(job->task.core->ledger, &job->note, job->dataset,
               &(struct ledger_job){ .id = lease->id, .generation = job->generation },
               is_done(job) ? LEDGER_DONE : LEDGER_ORDERED);
}

static void on_noted(struct ledger_op *op)
{
    struct job *job = container_of(op, struct job, note);
    job->noting = false;
    if (op->fault.code) {
        task_fail(&job->task, &op->fault);
    } else if (is_done(job)) {
        log_event(LOG_INFO, job->task.lease->id, "done");
        task_complete(&job->task, NULL, 0);
    } else if (job->task.cancelled) {
        task_stop(&job->task);
    } else {
        bool single = queue_task_get(job->task.lease, "batch");
        job->step.run = single ? start_look : step_job;
        loop_defer(job->task.core->loop, &job->step);
    }
}

/* Names of windows: both ends, because one of another size must not pass for one that is known. */
static char *window_id(const struct job *job, int64_t end)
{
    const char *above = job->generation > 1 ? job->scope : job->task.lease->id + strlen("j/");
    return mem_print("w/%s/%" PRId64 "-%" PRId64, above, job->at, end);
}

static void step_job(struct deferred *work)
{
    struct job *job = container_of(work, struct job, step);
    struct core *core = job->task.core;
    struct queue_child child[WINDOWS_PER_FAN];
    struct queue_field field[WINDOWS_PER_FAN][2];
    char *text[WINDOWS_PER_FAN][3];
    size_t count = 0;
    for (; count < WINDOWS_PER_FAN && job->at < job->to; count++) {
        int64_t end = job->at + core->settings->queue.window_ms;
        end = end < job->to ? end : job->to;
        text[count][0] = window_id(job, end);
        text[count][1] = mem_print("%" PRId64, job->at);
        text[count][2] = mem_print("%" PRId64, end);
        field[count][0] = (struct queue_field){ "from", text[count][1] };
        field[count][1] = (struct queue_field){ "to", text[count][2] };
        child[count] =
            (struct queue_child){ QUEUE_WINDOW, text[count][0], job->task.lease->lane,
                                  job->at,      field[count],   2 };
        job->at = end;
    }
    char cursor[24];
    snprintf(cursor, sizeof cursor, "%" PRId64, job->at);
    job->fan.done = on_windows;
    queue_op_release(&job->fan);
    queue_fan(core->queue, &job->fan, job->task.lease, job->offset, cursor, job->at >= job->to,
              child, count);
    memcpy(job->offset, cursor, sizeof cursor);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < 3; k++)
            mem_free(text[i][k]);
}

static void on_windows(struct queue_op *op)
{
    struct job *job = container_of(op, struct job, fan);
    if (op->fault.code) {
        task_fail(&job->task, &op->fault);
        return;
    }
    job->task.progress(job->task.core);
    if (job->at >= job->to) {
        log_event(LOG_INFO, job->task.lease->id, "cut into windows");
        task_sealed(&job->task);
    } else if (job->task.cancelled) {
        task_stop(&job->task);
    } else {
        loop_defer(job->task.core->loop, &job->step);
    }
}

/* ---- job of one batch */

static void start_look(struct deferred *work)
{
    struct job *job = container_of(work, struct job, step);
    job->looking = true;
    job->look = (struct catalog_list){ .dataset = job->dataset->id,
                                       .batch = queue_task_get(job->task.lease, "batch"),
                                       .done = on_look };
    catalog_start(job->task.core->aep, &job->look);
}

static void refuse_batch(struct job *job)
{
    struct fault fault = { 0 };
    fault_set(&fault, ERR_NOT_FOUND,
              "Catalog has no batch %s of dataset %s: expired there, or of another dataset or "
              "sandbox; cancel this job, or retry it when the batch is there",
              job->look.batch, job->dataset->id);
    task_give_up(&job->task, &fault);
}

static void on_look(struct catalog_list *look)
{
    struct job *job = container_of(look, struct job, look);
    struct discovered found = { 0 };
    job->looking = false;
    if (job->task.cancelled) {
        task_stop(&job->task);
        return;
    }
    if (look->fault.code && look->fault.code != ERR_NOT_FOUND) {
        task_fail(&job->task, &look->fault);
        return;
    }
    if (!look->fault.code)
        discover_children(look->batches, look->count, job->scope, job->task.lease->lane,
                          &found);
    if (found.count == 0) {
        discover_free(&found);
        refuse_batch(job);
        return;
    }
    job->task.core->metrics.batches_discovered++;
    job->fan.done = on_batch_queued;
    queue_op_release(&job->fan);
    queue_fan(job->task.core->queue, &job->fan, job->task.lease, job->offset, "1", true,
              found.child, found.count);
    discover_free(&found);
}

static void on_batch_queued(struct queue_op *op)
{
    struct job *job = container_of(op, struct job, fan);
    if (op->fault.code) {
        task_fail(&job->task, &op->fault);
        return;
    }
    job->task.progress(job->task.core);
    task_sealed(&job->task);
}

/* ---- window */

struct window {
    struct task task;
    char offset[48];
    int page;
    bool sealing;
    struct walk walk;
    struct queue_op fan;
    struct deferred begin;
};

static void begin_window(struct deferred *work);
static void on_page(struct walk *walk);
static void on_walked(struct walk *walk);
static void on_page_queued(struct queue_op *op);

static struct task *window_start(struct core *core, struct queue_task *lease)
{
    struct window *window = mem_alloc(sizeof *window);
    task_init(&window->task, core, lease, &window_kind);
    snprintf(window->offset, sizeof window->offset, "%s", lease->offset);
    const char *slash = strchr(lease->offset, '/');
    window->page = slash ? (int)strtol(slash + 1, NULL, 10) : 0;
    int64_t from = queue_task_int(lease, "from", 0), at = strtoll(lease->offset, NULL, 10);
    window->walk = (struct walk){ .core = core,
                                  .dataset = lease->dataset,
                                  .from = at > from ? at : from,
                                  .to = queue_task_int(lease, "to", 0),
                                  .page = on_page,
                                  .done = on_walked };
    window->begin.run = begin_window;
    loop_defer(core->loop, &window->begin);
    return &window->task;
}

static void window_free(struct task *task)
{
    struct window *window = container_of(task, struct window, task);
    loop_undefer(task->core->loop, &window->begin);
    queue_cancel(&window->fan);
    queue_op_release(&window->fan);
    walk_release(&window->walk);
    task_release(task);
    mem_free(window);
}

static void window_cancel(struct task *task)
{
    walk_cancel(&container_of(task, struct window, task)->walk);
}

const struct task_kind window_kind = { .start = window_start,
                                       .cancel = window_cancel,
                                       .free = window_free };

static void begin_window(struct deferred *work)
{
    struct window *window = container_of(work, struct window, begin);
    if (window->task.cancelled)
        task_stop(&window->task);
    else
        walk_start(&window->walk);
}

static void fan_window(struct window *window, int64_t at, const struct discovered *found)
{
    char cursor[48];
    snprintf(cursor, sizeof cursor, "%" PRId64 "/%d", at, ++window->page);
    window->fan.done = on_page_queued;
    queue_op_release(&window->fan);
    queue_fan(window->task.core->queue, &window->fan, window->task.lease, window->offset,
              cursor, window->sealing, found->child, found->count);
    memcpy(window->offset, cursor, sizeof cursor);
}

static void on_page(struct walk *walk)
{
    struct window *window = container_of(walk, struct window, walk);
    const struct queue_task *lease = window->task.lease;
    struct discovered found;
    AUTO_TEXT char *scope = scope_of(lease, queue_id_generation(lease->id));
    discover_children(walk->batches, walk->count, scope, lease->lane, &found);
    window->task.core->metrics.batches_discovered += (int64_t)found.count;
    fan_window(window, walk->batches[walk->count - 1].created, &found);
    discover_free(&found);
}

static void on_walked(struct walk *walk)
{
    struct window *window = container_of(walk, struct window, walk);
    struct discovered none = { 0 };
    if (walk->fault.code) {
        task_fail(&window->task, &walk->fault);
        return;
    }
    window->sealing = true;
    fan_window(window, walk->to, &none);
}

static void on_page_queued(struct queue_op *op)
{
    struct window *window = container_of(op, struct window, fan);
    if (op->fault.code) {
        task_fail(&window->task, &op->fault);
        return;
    }
    window->task.progress(window->task.core);
    if (window->sealing)
        task_sealed(&window->task);
    else if (window->task.cancelled)
        task_stop(&window->task);
    else
        walk_next(&window->walk);
}
