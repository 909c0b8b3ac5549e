/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   LIST a page ─ rows that are new as they are ─▶ page ─ sweep_next ─▶ withdrawn ones
 *     ─▶ LIST the next one … ─▶ done
 */
#include "daemon/sweep.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PAGES_MAX   10000
#define NAME_MAX    (CATALOG_ID_MAX + 24)
#define SHIFT_SHARE 10 /* of a page is listed again with the next: rows may move up meanwhile */

static void on_step(struct deferred *step);
static void on_list(struct catalog_list *list);
static void on_settled(struct withdrawn *withdrawn, const struct batch_info *row);
static void on_withdrawn(struct withdrawn *withdrawn);

/* ---- pure */

bool sweep_due(int64_t at, int64_t now, int64_t every_ms)
{
    return every_ms > 0 && (at <= 0 || now >= at + every_ms || now < at - every_ms);
}

int64_t sweep_reached(int64_t began, int64_t oldest, int64_t overlap_ms)
{
    return oldest < began - overlap_ms ? oldest + overlap_ms : began;
}

/* ---- life */

void sweep_start(struct sweep *sweep)
{
    sweep->oldest = INT64_MAX;
    sweep->began_at = loop_now(sweep->core->loop);
    sweep->started = true;
    sweep->step.run = on_step;
    sweep->list.done = on_list;
    loop_defer(sweep->core->loop, &sweep->step);
}

static void end(struct sweep *sweep)
{
    sweep->last = true;
    loop_defer(sweep->core->loop, &sweep->step);
}

static void fail(struct sweep *sweep, const struct fault *fault)
{
    sweep->fault = *fault;
    end(sweep);
}

void sweep_cancel(struct sweep *sweep)
{
    if (!sweep->started || sweep->paging || sweep->last)
        return;
    fault_set(&sweep->fault, ERR_CANCELLED, "cancelled");
    catalog_cancel(&sweep->list);
    withdrawn_cancel(&sweep->withdrawn);
}

void sweep_release(struct sweep *sweep)
{
    if (!sweep->core)
        return;
    loop_undefer(sweep->core->loop, &sweep->step);
    catalog_release(&sweep->list);
    withdrawn_release(&sweep->withdrawn);
    key_set_release(&sweep->known);
    mem_free(sweep->batches);
    sweep->batches = NULL;
}

/* What was seen is kept for the next time; of a sweep that failed, nothing. */
static void learn(struct sweep *sweep, bool to_the_end)
{
    struct sweep_memory *memory = &sweep->memory->sweep;
    key_set_release(&memory->known);
    memory->known = sweep->known;
    memory->rows = to_the_end ? sweep->rows : 0;
    sweep->known = (struct key_set){ 0 };
}

static void on_step(struct deferred *step)
{
    struct sweep *sweep = container_of(step, struct sweep, step);
    if (!sweep->fault.code && !sweep->last && sweep->pages++ >= PAGES_MAX)
        fault_set(&sweep->fault, ERR_BAD_RESPONSE, "no end after %d pages", PAGES_MAX);
    if (sweep->fault.code || sweep->last) {
        sweep->last = true;
        sweep->done(sweep);
        return;
    }
    catalog_release(&sweep->list);
    sweep->list = (struct catalog_list){ .dataset = sweep->dataset->id,
                                         .query = CATALOG_CHANGED,
                                         .start = sweep->start,
                                         .limit = (int)sweep->dataset->page,
                                         .done = on_list };
    catalog_start(sweep->core->aep, &sweep->list);
}

/* ---- a page */

static void name_row(const struct batch_info *row, char name[NAME_MAX])
{
    snprintf(name, NAME_MAX, "%s %" PRId64, row->id, row->updated);
}

static void note_known(struct sweep *sweep, const struct batch_info *row)
{
    char name[NAME_MAX];
    name_row(row, name);
    key_set_add(&sweep->known, name);
}

/* Leaves the rows that are new as they are; returns the oldest change of all. */
static int64_t sift(struct sweep *sweep)
{
    int64_t oldest = INT64_MAX;
    size_t fresh = 0;
    for (size_t i = 0; i < sweep->count; i++) {
        const struct batch_info *row = &sweep->batches[i];
        char name[NAME_MAX];
        name_row(row, name);
        oldest = row->updated < oldest ? row->updated : oldest;
        successors_learn(&sweep->memory->successors, row);
        if (key_set_has(&sweep->memory->sweep.known, name))
            key_set_add(&sweep->known, name);
        else if (!key_set_has(&sweep->known, name) && row->updated >= sweep->bound)
            sweep->batches[fresh++] = *row;
    }
    sweep->count = fresh;
    return oldest;
}

/*
 * A page whose rows are all that there were and as they were: a new one would be the first of it.
 * Any other short page proves nothing.
 */
static bool is_as_it_was(const struct sweep *sweep)
{
    return sweep->start == 0 && sweep->count == 0 && sweep->rows > 0 &&
           sweep->rows == sweep->memory->sweep.rows;
}

/* By the clock of the server, as its answer tells it: ours may be wrong until then. */
static void learn_time(struct sweep *sweep)
{
    const struct core *core = sweep->core;
    if (!sweep->began)
        sweep->began =
            aep_now(core->aep).ms - mono_ms_between(sweep->began_at, loop_now(core->loop));
}

static void on_list(struct catalog_list *list)
{
    struct sweep *sweep = container_of(list, struct sweep, list);
    if (list->fault.code || sweep->fault.code) {
        fail(sweep, sweep->fault.code ? &sweep->fault : &list->fault);
        return;
    }
    learn_time(sweep);
    mem_free(sweep->batches);
    sweep->batches = list->batches;
    sweep->count = list->count;
    list->batches = NULL;
    list->count = 0;
    size_t rows = sweep->count;
    sweep->rows += rows;
    bool ends = rows == 0, reached = sift(sweep) < sweep->bound || is_as_it_was(sweep);
    if (ends || (reached && sweep->count == 0)) {
        learn(sweep, ends || is_as_it_was(sweep));
        end(sweep);
        return;
    }
    sweep->bounded = reached;
    sweep->start +=
        (int)(rows < (size_t)sweep->dataset->page ? rows : rows - rows / SHIFT_SHARE);
    sweep->paging = sweep->count > 0;
    if (sweep->paging)
        sweep->page(sweep);
    else
        loop_defer(sweep->core->loop, &sweep->step);
}

/* ---- its withdrawn rows, once the others are in the queue */

void sweep_next(struct sweep *sweep)
{
    sweep->paging = false;
    sweep->withdrawn.core = sweep->core;
    sweep->withdrawn.dataset = sweep->dataset;
    sweep->withdrawn.successors = &sweep->memory->successors;
    sweep->withdrawn.since = sweep->since;
    sweep->withdrawn.row = sweep->batches;
    sweep->withdrawn.count = sweep->count;
    sweep->withdrawn.settled = on_settled;
    sweep->withdrawn.done = on_withdrawn;
    withdrawn_start(&sweep->withdrawn);
}

static void on_settled(struct withdrawn *withdrawn, const struct batch_info *row)
{
    note_known(container_of(withdrawn, struct sweep, withdrawn), row);
}

static void on_withdrawn(struct withdrawn *withdrawn)
{
    struct sweep *sweep = container_of(withdrawn, struct sweep, withdrawn);
    if (withdrawn->fault.code || sweep->fault.code) {
        fail(sweep, sweep->fault.code ? &sweep->fault : &withdrawn->fault);
        return;
    }
    sweep->oldest = withdrawn->oldest < sweep->oldest ? withdrawn->oldest : sweep->oldest;
    for (size_t i = 0; i < sweep->count; i++)
        if (!withdrawn_concerns(&sweep->batches[i]))
            note_known(sweep, &sweep->batches[i]);
    if (sweep->bounded) {
        learn(sweep, false);
        end(sweep);
    } else {
        loop_defer(sweep->core->loop, &sweep->step);
    }
}
