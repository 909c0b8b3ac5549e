/* SPDX-License-Identifier: Apache-2.0 */
/* NEWEST ─▶ LINEAGE ─▶ NOTE; what a batch does not need is left out. */
#include "daemon/origin.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/discover.h"
#include "daemon/manifest.h"

#define NOTES       6
#define WAIT_MIN_MS 1000LL
#define WAIT_MAX_MS 300000LL
#define WAITS_MAX   300 /* about a day; then it is copied */

static void on_step(struct deferred *step);
static void on_newest(struct catalog_list *list);
static void trace(struct origin *origin);
static void on_lineage(struct lineage *lineage);
static void note(struct origin *origin);
static void on_noted(struct queue_op *op);

void origin_start(struct origin *origin)
{
    origin->waits = queue_task_int(origin->lease, "lineage_waits", 0);
    origin->step.run = on_step;
    loop_defer(origin->core->loop, &origin->step);
}

void origin_cancel(struct origin *origin)
{
    origin->cancelled = true;
    catalog_cancel(&origin->newest);
    lineage_cancel(&origin->lineage);
}

void origin_release(struct origin *origin)
{
    if (!origin->core)
        return;
    loop_undefer(origin->core->loop, &origin->step);
    catalog_release(&origin->newest);
    lineage_release(&origin->lineage);
    queue_cancel(&origin->save);
    queue_op_release(&origin->save);
}

static void finish(struct origin *origin, const struct fault *fault)
{
    origin->fault = *fault;
    origin->done(origin);
}

/* ---- is there a newer snapshot? */

static void on_step(struct deferred *step)
{
    struct origin *origin = container_of(step, struct origin, step);
    if (origin->cancelled) {
        fault_set(&origin->fault, ERR_CANCELLED, "cancelled");
        origin->done(origin);
        return;
    }
    if (origin->dataset->semantics != SNAPSHOT_LATEST) {
        trace(origin);
        return;
    }
    origin->newest = newest_query(origin->dataset, 0);
    origin->newest.done = on_newest;
    catalog_start(origin->core->aep, &origin->newest);
}

static void on_newest(struct catalog_list *list)
{
    struct origin *origin = container_of(list, struct origin, newest);
    struct batch_info own = { .created = origin->lease->order };
    if (list->fault.code) {
        finish(origin, &list->fault);
        return;
    }
    snprintf(own.id, sizeof own.id, "%s", origin->batch);
    const struct batch_info *newest = discover_newest(list->batches, list->count);
    if (newest && discover_is_older(&own, newest)) {
        origin->verdict = ORIGIN_SUPERSEDED;
        snprintf(origin->reason, sizeof origin->reason, "snapshot superseded by %s",
                 newest->id);
        finish(origin, &list->fault);
        return;
    }
    trace(origin);
}

/* ---- what was before it? */

static void trace(struct origin *origin)
{
    const struct batch_info *row = origin->row;
    if (!row || row->predecessors.count + row->externals.count == 0) {
        note(origin);
        return;
    }
    origin->lineage = (struct lineage){ .core = origin->core,
                                        .dataset = origin->dataset,
                                        .row = row,
                                        .patient = row->class == BATCH_CONSOLIDATION &&
                                                   origin->waits < WAITS_MAX,
                                        .done = on_lineage };
    lineage_start(&origin->lineage);
}

static void on_lineage(struct lineage *lineage)
{
    struct origin *origin = container_of(lineage, struct origin, lineage);
    int64_t waits = origin->waits < 20 ? origin->waits : 20;
    if (lineage->fault.code) {
        finish(origin, &lineage->fault);
        return;
    }
    if (lineage->verdict == LINEAGE_WAIT) {
        origin->verdict = ORIGIN_WAIT;
        origin->waits++;
        origin->delay_ms =
            WAIT_MIN_MS << waits < WAIT_MAX_MS ? WAIT_MIN_MS << waits : WAIT_MAX_MS;
        finish(origin, &lineage->fault);
        return;
    }
    origin->verdict = lineage->verdict == LINEAGE_KEEP ? ORIGIN_KEEP : ORIGIN_COPY;
    note(origin);
}

/* ---- what the manifest will say */

static char *list_of(const struct catalog_names *names)
{
    const char **name = mem_alloc_array(names->count, sizeof *name), *at = names->first;
    for (size_t i = 0; i < names->count; i++, at = catalog_names_next(at))
        name[i] = at;
    char *list = names->count ? manifest_names(name, names->count) : mem_copy_text("");
    mem_free(name);
    return list;
}

/* Only what the task does not say yet. */
static void add(const struct origin *origin, struct queue_field *field, size_t *count,
                const char *name, const char *value)
{
    const char *there = queue_task_get(origin->lease, name);
    value = value ? value : "";
    if (strcmp(there ? there : "", value) != 0)
        field[(*count)++] = (struct queue_field){ name, value };
}

static void note(struct origin *origin)
{
    const struct batch_info *row = origin->row;
    struct queue_field field[NOTES];
    size_t count = 0;
    if (!row) {
        finish(origin, &origin->lineage.fault);
        return;
    }
    bool replaces = row->class == BATCH_REPLACEMENT, copied = origin->verdict == ORIGIN_COPY;
    AUTO_TEXT char *records = mem_print("%" PRId64, row->output_records);
    AUTO_TEXT char *failed = mem_print("%" PRId64, row->failed_records);
    AUTO_TEXT char *externals = list_of(&row->externals);
    add(origin, field, &count, "records", records);
    add(origin, field, &count, "failed_records", failed);
    add(origin, field, &count, "consolidates", origin->lineage.consolidates);
    add(origin, field, &count, "replaces", origin->lineage.replaces);
    add(origin, field, &count, "replaces_external", copied ? externals : "");
    add(origin, field, &count, "replay_reason", replaces ? row->reason : "");
    if (count == 0) {
        finish(origin, &origin->lineage.fault);
        return;
    }
    origin->save.done = on_noted;
    queue_save(origin->core->queue, &origin->save, origin->lease, field, count);
}

static void on_noted(struct queue_op *op)
{
    struct origin *origin = container_of(op, struct origin, save);
    finish(origin, &op->fault);
}
