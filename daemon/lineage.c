/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of batches that grows while it is worked off, LINEAGE_SLOTS at a time: first the
 * predecessors, then what the answers about them add.
 */
#include "daemon/lineage.h"

#include <string.h>

#include "daemon/manifest.h"

#define DEPTH_MAX 16

struct lineage_entry {
    char *id;
    int depth;
    bool needed; /* its rows are rows of the batch */
    bool stored;
    struct json_t *head; /* of its manifest */
};

static void on_step(struct deferred *step);
static void on_located(struct locate *locate);

/* ---- pure */

enum lineage_step lineage_decide(const struct lineage_facts *facts, bool patient)
{
    if (facts->open && facts->older && patient)
        return LINEAGE_HOLD;
    if (facts->stored && !facts->revoked)
        return LINEAGE_STORED;
    if (!facts->stored && facts->known && facts->consolidation && facts->has_more)
        return LINEAGE_EXPAND;
    return LINEAGE_MISSING;
}

/* ---- the list */

static void add(struct lineage *lineage, const char *id, int depth, bool needed)
{
    if (strcmp(id, lineage->row->id) == 0 || depth > DEPTH_MAX || lineage->fault.code)
        return;
    for (size_t i = 0; i < lineage->count; i++) {
        if (strcmp(lineage->entry[i].id, id) != 0)
            continue;
        lineage->entry[i].needed = lineage->entry[i].needed || needed;
        return;
    }
    if (lineage->count == LINEAGE_MAX) {
        fault_set(&lineage->fault, ERR_MEMORY,
                  "batch %s has more than %d batches before it; skip it or copy it by hand",
                  lineage->row->id, LINEAGE_MAX);
        return;
    }
    lineage->entry = mem_grow(lineage->entry, lineage->count + 1, sizeof *lineage->entry);
    lineage->entry[lineage->count++] =
        (struct lineage_entry){ .id = mem_copy_text(id), .depth = depth, .needed = needed };
}

static void add_names(struct lineage *lineage, const struct catalog_names *names, int depth,
                      bool needed)
{
    const char *name = names->first;
    for (size_t i = 0; i < names->count; i++, name = catalog_names_next(name))
        if (catalog_id_valid(name))
            add(lineage, name, depth, needed);
}

/* The batches whose copies hold its rows. */
static void add_below(struct lineage *lineage, size_t at)
{
    const struct json_t *list = json_member(lineage->entry[at].head, "consolidates");
    int depth = lineage->entry[at].depth + 1;
    for (size_t i = 0; i < json_count(list); i++) {
        const char *id = json_text(json_element(list, i));
        if (id && catalog_id_valid(id))
            add(lineage, id, depth, false);
    }
}

/* From now on all is about what does not count any more. */
static void must_copy(struct lineage *lineage)
{
    size_t count = lineage->count;
    if (lineage->copies)
        return;
    lineage->copies = true;
    for (size_t i = 0; i < count; i++)
        if (lineage->entry[i].stored)
            add_below(lineage, i);
}

/* ---- life */

void lineage_start(struct lineage *lineage)
{
    const struct batch_info *row = lineage->row;
    bool repeats = row->class == BATCH_CONSOLIDATION;
    lineage->started = true;
    lineage->step.run = on_step;
    lineage->slot = mem_alloc_array(LINEAGE_SLOTS, sizeof *lineage->slot);
    add_names(lineage, &row->predecessors, 1, repeats);
    if (repeats &&
        row->predecessors.count == 0) /* the external id is the id, if none is given */
        add_names(lineage, &row->externals, 1, true);
    if (!repeats || lineage->count == 0)
        must_copy(lineage);
    loop_defer(lineage->core->loop, &lineage->step);
}

void lineage_cancel(struct lineage *lineage)
{
    if (!lineage->started || lineage->cancelled)
        return;
    lineage->cancelled = true;
    for (size_t i = 0; i < LINEAGE_SLOTS; i++)
        if (lineage->slot[i].owner)
            locate_cancel(&lineage->slot[i].locate);
    loop_defer(lineage->core->loop, &lineage->step);
}

void lineage_release(struct lineage *lineage)
{
    assert(lineage->running == 0);
    if (lineage->core)
        loop_undefer(lineage->core->loop, &lineage->step);
    for (size_t i = 0; i < lineage->count; i++) {
        mem_free(lineage->entry[i].id);
        json_release(&lineage->entry[i].head);
    }
    mem_free(lineage->entry);
    mem_free(lineage->slot);
    mem_free(lineage->consolidates);
    mem_free(lineage->replaces);
    *lineage = (struct lineage){ 0 };
}

static char *list_of(const struct lineage *lineage, bool stored_only)
{
    const char **name = mem_alloc_array(lineage->count, sizeof *name);
    size_t count = 0;
    for (size_t i = 0; i < lineage->count; i++)
        if (!stored_only || (lineage->entry[i].needed && lineage->entry[i].stored))
            name[count++] = lineage->entry[i].id;
    char *list = count ? manifest_names(name, count) : NULL;
    mem_free(name);
    return list;
}

static void finish(struct lineage *lineage)
{
    lineage->started = false;
    lineage->verdict = lineage->copies ? LINEAGE_COPY : LINEAGE_KEEP;
    if (lineage->waits)
        lineage->verdict = LINEAGE_WAIT;
    else if (lineage->copies)
        lineage->replaces = list_of(lineage, false);
    else
        lineage->consolidates = list_of(lineage, true);
    lineage->done(lineage);
}

static void start_slot(struct lineage *lineage, struct lineage_slot *slot)
{
    slot->owner = lineage;
    slot->entry = lineage->next++;
    slot->locate = (struct locate){ .core = lineage->core,
                                    .dataset = lineage->dataset,
                                    .batch = lineage->entry[slot->entry].id,
                                    .created = -1,
                                    .look = LOCATE_LOOK_ABSENT,
                                    .details = true,
                                    .done = on_located };
    lineage->running++;
    locate_start(&slot->locate);
}

static void on_step(struct deferred *step)
{
    struct lineage *lineage = container_of(step, struct lineage, step);
    if (lineage->cancelled && !lineage->fault.code)
        fault_set(&lineage->fault, ERR_CANCELLED, "cancelled");
    for (size_t i = 0; i < LINEAGE_SLOTS; i++)
        if (!lineage->slot[i].owner && lineage->next < lineage->count && !lineage->fault.code &&
            !lineage->waits)
            start_slot(lineage, &lineage->slot[i]);
    if (lineage->running == 0)
        finish(lineage);
}

/* ---- an answer */

static void take_in(struct lineage *lineage, size_t at, struct locate *located)
{
    const struct batch_info *row = located->row;
    struct lineage_facts facts = {
        .open = located->open,
        .older = located->created < lineage->row->created,
        .stored = located->stored,
        .revoked = located->revoked,
        .known = row != NULL,
        .consolidation = row && row->class == BATCH_CONSOLIDATION,
        .has_more = row && row->predecessors.count > 0,
    };
    bool needed = lineage->entry[at].needed;
    int depth = lineage->entry[at].depth;
    lineage->entry[at].head = located->head;
    located->head = NULL;
    lineage->entry[at].stored = located->stored;
    if (located->stored && lineage->copies)
        add_below(lineage, at);
    switch (lineage_decide(&facts, lineage->patient)) {
    case LINEAGE_HOLD:
        lineage->waits = true;
        break;
    case LINEAGE_EXPAND:
        add_names(lineage, &row->predecessors, depth + 1, needed);
        if (depth >= DEPTH_MAX && needed)
            must_copy(lineage);
        break;
    case LINEAGE_MISSING:
        if (needed)
            must_copy(lineage);
        if (!located->stored && row)
            add_names(lineage, &row->predecessors, depth + 1, false);
        break;
    case LINEAGE_STORED:
        break;
    }
}

static void on_located(struct locate *located)
{
    struct lineage_slot *slot = container_of(located, struct lineage_slot, locate);
    struct lineage *lineage = slot->owner;
    if (located->fault.code && !lineage->fault.code)
        lineage->fault = located->fault;
    else if (!located->fault.code)
        take_in(lineage, slot->entry, located);
    locate_release(located);
    slot->owner = NULL;
    lineage->running--;
    loop_defer(lineage->core->loop, &lineage->step);
}
