/* SPDX-License-Identifier: Apache-2.0 */
/* Withdrawn batches of a page, WITHDRAWN_SLOTS at a time; and whose predecessors they are. */
#include "daemon/withdrawn.h"

#include <inttypes.h>
#include <string.h>

#include "lib/base/log.h"

#define KNOWN_MAX 4096 /* predecessors in mind */

static void on_step(struct deferred *step);
static void on_revoke(struct revoke *revoke);
static void on_newest(struct newest *newest);

/* ---- successors */

static uint64_t hash_of(const char *text)
{
    uint64_t hash = 14695981039346656037ull; /* FNV-1a */
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211ull;
    return hash;
}

void successors_release(struct successors *successors)
{
    for (size_t i = 0; i < successors->count; i++)
        mem_free(successors->known[i].batch);
    mem_free(successors->known);
    *successors = (struct successors){ 0 };
}

static void learn_one(struct successors *successors, const char *predecessor, const char *batch)
{
    const char *known = successors_of(successors, predecessor);
    if (known && strcmp(known, batch) == 0)
        return;
    if (successors->count < KNOWN_MAX) {
        successors->known =
            mem_grow(successors->known, successors->count + 1, sizeof *successors->known);
        successors->known[successors->count++] = (struct successor){ 0 };
    }
    struct successor *slot = &successors->known[successors->next++ % KNOWN_MAX];
    slot->predecessor = hash_of(predecessor);
    mem_set_text(&slot->batch, batch);
}

void successors_learn(struct successors *successors, const struct batch_info *row)
{
    const char *name = row->predecessors.first;
    if (row->state != BATCH_READABLE || row->class == BATCH_SUB || row->other_dataset)
        return;
    for (size_t i = 0; i < row->predecessors.count; i++, name = catalog_names_next(name))
        learn_one(successors, name, row->id);
}

const char *successors_of(const struct successors *successors, const char *batch)
{
    uint64_t hash = hash_of(batch);
    for (size_t i = 1; i <= successors->count; i++) { /* the newest first */
        const struct successor *slot =
            &successors->known[(successors->next - i) % successors->count];
        if (slot->predecessor == hash)
            return slot->batch;
    }
    return NULL;
}

/* ---- the rows */

void withdrawn_start(struct withdrawn *withdrawn)
{
    withdrawn->fault = (struct fault){ 0 };
    withdrawn->oldest = INT64_MAX;
    withdrawn->next = 0;
    withdrawn->started = true;
    withdrawn->cancelled = false;
    withdrawn->outdated = false;
    withdrawn->step.run = on_step;
    loop_defer(withdrawn->core->loop, &withdrawn->step);
}

void withdrawn_cancel(struct withdrawn *withdrawn)
{
    if (!withdrawn->started || withdrawn->cancelled)
        return;
    withdrawn->cancelled = true;
    for (size_t i = 0; withdrawn->slot && i < WITHDRAWN_SLOTS; i++)
        if (withdrawn->slot[i].owner)
            revoke_cancel(&withdrawn->slot[i].revoke);
    newest_cancel(&withdrawn->newest);
    loop_defer(withdrawn->core->loop, &withdrawn->step);
}

void withdrawn_release(struct withdrawn *withdrawn)
{
    assert(withdrawn->running == 0);
    if (withdrawn->core)
        loop_undefer(withdrawn->core->loop, &withdrawn->step);
    newest_release(&withdrawn->newest);
    mem_free(withdrawn->slot);
    withdrawn->slot = NULL;
}

bool withdrawn_concerns(const struct batch_info *row)
{
    return row->state == BATCH_WITHDRAWN && row->class != BATCH_SUB && !row->other_dataset;
}

static const struct batch_info *next_row(struct withdrawn *withdrawn)
{
    while (withdrawn->next < withdrawn->count) {
        const struct batch_info *row = &withdrawn->row[withdrawn->next++];
        if (withdrawn_concerns(row))
            return row;
    }
    return NULL;
}

static bool is_busy(const struct withdrawn *withdrawn, size_t slot)
{
    return withdrawn->slot && withdrawn->slot[slot].owner;
}

static void start_slot(struct withdrawn *withdrawn, size_t number, const struct batch_info *row)
{
    if (!withdrawn->slot)
        withdrawn->slot = mem_alloc_array(WITHDRAWN_SLOTS, sizeof *withdrawn->slot);
    struct withdrawn_slot *slot = &withdrawn->slot[number];
    slot->owner = withdrawn;
    slot->revoke = (struct revoke){ .core = withdrawn->core,
                                    .dataset = withdrawn->dataset,
                                    .row = row,
                                    .successors = withdrawn->successors,
                                    .done = on_revoke };
    withdrawn->outdated = withdrawn->dataset->semantics == SNAPSHOT_LATEST;
    withdrawn->running++;
    revoke_start(&slot->revoke);
}

static void start_newest(struct withdrawn *withdrawn)
{
    withdrawn->outdated = false;
    withdrawn->running++;
    withdrawn->newest.core = withdrawn->core;
    withdrawn->newest.dataset = withdrawn->dataset;
    withdrawn->newest.since = withdrawn->since;
    withdrawn->newest.done = on_newest;
    newest_start(&withdrawn->newest);
}

static void on_newest(struct newest *newest)
{
    struct withdrawn *withdrawn = container_of(newest, struct withdrawn, newest);
    if (newest->fault.code && !withdrawn->fault.code)
        withdrawn->fault = newest->fault;
    withdrawn->running--;
    loop_defer(withdrawn->core->loop, &withdrawn->step);
}

static void on_step(struct deferred *step)
{
    struct withdrawn *withdrawn = container_of(step, struct withdrawn, step);
    const struct batch_info *row;
    if (withdrawn->cancelled && !withdrawn->fault.code)
        fault_set(&withdrawn->fault, ERR_CANCELLED, "cancelled");
    for (size_t i = 0; i < WITHDRAWN_SLOTS && !withdrawn->fault.code; i++)
        if (!is_busy(withdrawn, i) && (row = next_row(withdrawn)))
            start_slot(withdrawn, i, row);
    if (withdrawn->running > 0)
        return;
    if (withdrawn->outdated && !withdrawn->fault.code) {
        start_newest(withdrawn);
        return;
    }
    withdrawn->started = false;
    withdrawn->done(withdrawn);
}

/* What stays unclear for longer than the past is reconciled stays as it is. */
static bool unclear_for_long(const struct withdrawn *withdrawn, const struct batch_info *row)
{
    const struct core *core = withdrawn->core;
    return aep_now(core->aep).ms - row->updated >
           core->settings->aep.reconcile_window_ms + core->settings->aep.overlap_ms;
}

static void judge(struct withdrawn *withdrawn, const struct revoke *revoke)
{
    const struct batch_info *row = revoke->row;
    bool again = revoke->verdict == REVOKE_LATER;
    if (again && unclear_for_long(withdrawn, row)) {
        log_event(LOG_WARN, withdrawn->dataset->id,
                  "withdrawn long ago, and its copy is still under way batch=%s status=%s",
                  row->id, row->status);
        again = false;
    }
    if (again && row->updated < withdrawn->oldest)
        withdrawn->oldest = row->updated;
    else if (!again && withdrawn->settled)
        withdrawn->settled(withdrawn, row);
}

static void on_revoke(struct revoke *revoke)
{
    struct withdrawn_slot *slot = container_of(revoke, struct withdrawn_slot, revoke);
    struct withdrawn *withdrawn = slot->owner;
    if (revoke->fault.code && !withdrawn->fault.code)
        withdrawn->fault = revoke->fault;
    else if (!revoke->fault.code)
        judge(withdrawn, revoke);
    revoke_release(revoke);
    slot->owner = NULL;
    withdrawn->running--;
    loop_defer(withdrawn->core->loop, &withdrawn->step);
}
