/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One batch becomes file tasks. A batch is claimed twice: in phase "fan" it is looked at and
 * listed here, in phase "fin", when all its files are completed, commit.c takes it.
 *
 *   LOOK ─ readable? ─▶ CHECK ─ no manifest yet? ─▶ ORIGIN ─▶ LIST ──fan──▶ file tasks, sealed
 *    │ open: back to the queue, look again later       └ others hold its rows: KEEP ──fan──▶ sealed
 *    └ never readable, or nothing for the lake: SKIP ──fan──▶ sealed without children, with the reason in its cursor
 *
 * A batch in the queue can be listed any number of times: its children have ids made of what they
 * are, so the queue knows those that it has.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/batch_list.h"
#include "daemon/commit.h"
#include "daemon/discover.h"
#include "daemon/origin.h"
#include "daemon/patience.h"
#include "daemon/task.h"
#include "daemon/uploader.h"
#include "lib/aep/catalog.h"
#include "lib/base/log.h"

#define FILES_PER_FAN  50
#define ROOM_WAIT_MS   500
#define ROOM_WAITS_MAX 10 /* in a row; then the slot is left to others */
#define ROOM_REST_MS   5000

enum batch_phase {
    BATCH_LOOK,
    BATCH_CHECK,
    BATCH_ORIGIN,
    BATCH_LIST,
    BATCH_KEEP,
    BATCH_SKIP,
    BATCH_PHASES
};

struct batch {
    struct task task;
    enum batch_phase phase;
    bool entered;
    const struct dataset_settings *dataset;
    const char *id; /* AEP's, inside the task's id */
    char *manifest_key;
    const char *skip; /* why nothing is copied */
    struct {
        int64_t records, files, updated;
    } said; /* by Catalog */
    struct {
        int64_t files, shorts;
    } doubted; /* the listing */
    struct catalog_list look;
    struct origin origin;
    struct batch_list list;
    char offset[256];
    bool fanning, sealing, wants_room;
    struct timer room;
    int room_waits; /* in a row */
    struct queue_op op;
    struct upload upload;
    size_t files; /* handed on so far */
    struct deferred step;
};

static void step_batch(struct deferred *work);
static void start_look(struct batch *batch);
static void start_check(struct batch *batch);
static void start_origin(struct batch *batch);
static void start_list(struct batch *batch);
static void start_skip(struct batch *batch);
static void on_room(struct timer *timer);
static void fan_next(struct batch_list *list);

static const struct {
    const char *name;
    void (*start)(struct batch *batch);
} row[BATCH_PHASES] = {
    [BATCH_LOOK] = { "look", start_look },       [BATCH_CHECK] = { "check", start_check },
    [BATCH_ORIGIN] = { "origin", start_origin }, [BATCH_LIST] = { "list", start_list },
    [BATCH_KEEP] = { "keep", start_skip },       [BATCH_SKIP] = { "skip", start_skip },
};

/* ---- life */

static enum batch_phase first_phase(const struct batch *batch)
{
    const struct queue_task *lease = batch->task.lease;
    const char *status = queue_task_get(lease, "status_aep");
    int64_t class = queue_task_int(lease, "class_aep", BATCH_LAKE);
    if (class == BATCH_SUB)
        return BATCH_SKIP;
    /* What discovery saw is good for the first try; later the batch may have been withdrawn. It
     * does not tell who was before this batch. */
    bool fresh = lease->attempts <= 1 && lease->lost == 0 && class == BATCH_LAKE &&
                 queue_task_int(lease, "looks", 0) == 0;
    return fresh && status && catalog_state(status) == BATCH_READABLE ? BATCH_CHECK
                                                                      : BATCH_LOOK;
}

static struct task *batch_start(struct core *core, struct queue_task *lease)
{
    if (strcmp(lease->phase, "fin") == 0)
        return commit_kind.start(core, lease);
    struct batch *batch = mem_alloc(sizeof *batch);
    task_init(&batch->task, core, lease, &batch_kind);
    batch->step.run = step_batch;
    batch->room.fire = on_room;
    batch->dataset = settings_dataset(core->settings, lease->dataset);
    batch->id = strrchr(lease->id, '/') + 1;
    batch->skip = "sub-batch";
    batch->said.records = queue_task_int(lease, "records", 0);
    batch->said.files = queue_task_int(lease, "output_files", -1);
    batch->said.updated = queue_task_int(lease, "updated_aep", lease->order);
    batch->phase = first_phase(batch);
    snprintf(batch->offset, sizeof batch->offset, "%s", lease->offset);
    loop_defer(core->loop, &batch->step);
    return &batch->task;
}

static void batch_free(struct task *task)
{
    struct batch *batch = container_of(task, struct batch, task);
    loop_undefer(task->core->loop, &batch->step);
    timer_clear(task->core->loop, &batch->room);
    queue_cancel(&batch->op);
    queue_op_release(&batch->op);
    catalog_release(&batch->look);
    origin_release(&batch->origin);
    batch_list_release(&batch->list);
    s3_call_release(&batch->upload.call);
    mem_free(batch->manifest_key);
    task_release(task);
    mem_free(batch);
}

static void batch_cancel(struct task *task)
{
    struct batch *batch = container_of(task, struct batch, task);
    if (batch->entered && batch->phase == BATCH_LOOK)
        catalog_cancel(&batch->look);
    if (batch->entered && batch->phase == BATCH_ORIGIN)
        origin_cancel(&batch->origin);
    if (batch->entered && batch->phase == BATCH_LIST)
        batch_list_cancel(&batch->list);
    loop_defer(task->core->loop, &batch->step);
}

const struct task_kind batch_kind = {
    .start = batch_start,
    .cancel = batch_cancel,
    .free = batch_free,
};

/* ---- the driver */

static void step_batch(struct deferred *work)
{
    struct batch *batch = container_of(work, struct batch, step);
    if (batch->task.ending || batch->entered)
        return;
    if (batch->task.cancelled) {
        task_stop(&batch->task);
        return;
    }
    if (!batch->dataset) {
        task_not_ours(&batch->task);
        return;
    }
    if (!batch->manifest_key)
        batch->manifest_key = commit_key(batch->task.core, batch->dataset, batch->task.lease);
    batch->entered = true;
    row[batch->phase].start(batch);
}

static void go(struct batch *batch, enum batch_phase phase)
{
    log_event(LOG_DEBUG, batch->task.lease->id, "%s -> %s", row[batch->phase].name,
              row[phase].name);
    batch->phase = phase;
    batch->entered = false;
    loop_defer(batch->task.core->loop, &batch->step);
}

static void skip(struct batch *batch, const char *why)
{
    batch->skip = why;
    go(batch, BATCH_SKIP);
}

static void call_s3(struct batch *batch, struct s3_call call,
                    void (*done)(struct upload *upload))
{
    s3_call_release(&batch->upload.call);
    batch->upload.call = call;
    batch->upload.call.key = batch->manifest_key;
    batch->upload.done = done;
    uploader_start(batch->task.core->uploader, &batch->upload);
}

/* ---- is it readable? */

/* Back to the queue until the next look. */
static void look_again(struct batch *batch, enum batch_state state, const char *status)
{
    const struct queue_task *lease = batch->task.lease;
    int64_t looks = queue_task_int(lease, "looks", 0);
    int64_t age_ms = aep_now(batch->task.core->aep).ms - lease->order;
    const struct {
        const char *name;
        int64_t value;
    } number[] = {
        { "looks", looks + 1 },
        { "records", batch->said.records },
        { "output_files", batch->said.files },
        { "updated_aep", batch->said.updated },
        { "shorts", batch->doubted.shorts },
        { "short_files", batch->doubted.files },
        { "missing", 0 },
    };
    enum { NUMBERS = sizeof number / sizeof *number };
    char text[NUMBERS][24];
    struct queue_field field[NUMBERS + 1] = { { "status_aep", status } };
    for (size_t i = 0; i < NUMBERS; i++) {
        snprintf(text[i], sizeof text[i], "%" PRId64, number[i].value);
        field[i + 1] = (struct queue_field){ number[i].name, text[i] };
    }
    task_rest(&batch->task, patience_look_ms(state, age_ms, looks), field, NUMBERS + 1);
}

static void on_missing(struct batch *batch)
{
    int64_t times = queue_task_int(batch->task.lease, "missing", 0) + 1;
    int64_t pause_ms = patience_missing_ms(times);
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, times);
    if (pause_ms < 0)
        skip(batch, "deleted");
    else
        task_rest(&batch->task, pause_ms, (struct queue_field[]){ { "missing", text } }, 1);
}

static void on_look(struct catalog_list *look)
{
    struct batch *batch = container_of(look, struct batch, look);
    struct fault fault = look->fault;
    const struct batch_info *info = look->batches;
    if (fault.code == ERR_NOT_FOUND) {
        on_missing(batch);
        return;
    }
    if (fault.code) {
        task_fail(&batch->task, &fault);
        return;
    }
    batch->said.records = info->output_records;
    batch->said.files = info->output_files;
    batch->said.updated = info->updated;
    if (info->class == BATCH_SUB) {
        skip(batch, "sub-batch");
    } else if (info->state == BATCH_READABLE) {
        go(batch, BATCH_CHECK);
    } else if (info->state == BATCH_OPEN || info->state == BATCH_STALLED) {
        look_again(batch, info->state, info->status);
    } else {
        skip(batch, info->state == BATCH_WITHDRAWN ? "withdrawn" : "failed");
    }
}

static void start_look(struct batch *batch)
{
    batch->look = (struct catalog_list){ .dataset = batch->dataset->id,
                                         .batch = batch->id,
                                         .from = batch->task.lease->order,
                                         .done = on_look };
    catalog_start(batch->task.core->aep, &batch->look);
}

/* ---- is it committed already? (after a loss of Redis, or when its record has expired) */

static void on_check(struct upload *upload)
{
    struct batch *batch = container_of(upload, struct batch, upload);
    enum err err = upload->call.fault.code;
    if (err == ERR_NOT_FOUND)
        go(batch, BATCH_ORIGIN);
    else if (err)
        task_fail(&batch->task, &upload->call.fault);
    else
        skip(batch, "manifest");
}

static void start_check(struct batch *batch)
{
    call_s3(batch, (struct s3_call){ .op = S3_HEAD }, on_check);
}

/* ---- what is it to those before and after it? */

static void on_origin(struct origin *origin)
{
    struct batch *batch = container_of(origin, struct batch, origin);
    char waits[24];
    snprintf(waits, sizeof waits, "%" PRId64, origin->waits);
    struct queue_field field[] = { { "lineage_waits", waits } };
    if (origin->fault.code)
        task_fail(&batch->task, &origin->fault);
    else if (batch->task.cancelled)
        task_stop(&batch->task);
    else if (origin->verdict == ORIGIN_WAIT)
        task_rest(&batch->task, origin->delay_ms, field, 1);
    else if (origin->verdict == ORIGIN_SUPERSEDED)
        skip(batch, origin->reason);
    else
        go(batch, origin->verdict == ORIGIN_KEEP ? BATCH_KEEP : BATCH_LIST);
}

/* A replay is a copy of its own: it asks for nothing that lies elsewhere. */
static void start_origin(struct batch *batch)
{
    if (queue_id_is_replay(batch->task.lease->id)) {
        go(batch, BATCH_LIST);
        return;
    }
    batch->origin = (struct origin){ .core = batch->task.core,
                                     .dataset = batch->dataset,
                                     .lease = batch->task.lease,
                                     .batch = batch->id,
                                     .row = batch->look.batches,
                                     .done = on_origin };
    origin_start(&batch->origin);
}

/* ---- its files */

/* Files were renamed or removed at the source after they had been copied. */
static void count_strays(struct batch *batch, int64_t strays)
{
    if (strays == 0)
        return;
    batch->task.core->metrics.strays += strays;
    log_event(LOG_WARN, batch->task.lease->id,
              "strays=%" PRId64 " objects of files that the batch no longer has: no manifest "
              "will name them, `sluicectl verify` does",
              strays);
}

static void on_fanned(struct queue_op *op)
{
    struct batch *batch = container_of(op, struct batch, op);
    batch->fanning = false;
    if (op->fault.code) {
        /* The listing must stop before the task may end; the fault waits in it. */
        batch->list.fault = op->fault;
        batch_list_cancel(&batch->list);
    } else if (batch->sealing) {
        count_strays(batch, op->strays);
        batch->task.progress(batch->task.core);
        task_sealed(&batch->task);
        return;
    } else if (op->number > 0) {
        batch->room_waits = 0;
    } else if (batch->room_waits++ < ROOM_WAITS_MAX) {
        batch->wants_room = true;
        timer_set_in(batch->task.core->loop, &batch->room, ROOM_WAIT_MS);
    } else {
        batch_list_cancel(&batch->list);
    }
    batch->task.progress(batch->task.core);
    fan_next(&batch->list);
}

static void fan(struct batch *batch, const struct queue_child *child, size_t count, bool sealed)
{
    char cursor[sizeof batch->offset];
    bool skips = batch->phase == BATCH_SKIP;
    snprintf(cursor, sizeof cursor, "%ld%s%s", strtol(batch->offset, NULL, 10) + 1,
             skips ? "/" : "", skips ? batch->skip : "");
    batch->fanning = true;
    batch->sealing = sealed;
    batch->op.done = on_fanned;
    queue_op_release(&batch->op);
    queue_fan(batch->task.core->queue, &batch->op, batch->task.lease, batch->offset, cursor,
              sealed, child, count);
    memcpy(batch->offset, cursor, sizeof cursor);
}

/* There was no room for more open files; an empty fan asks again. */
static void on_room(struct timer *timer)
{
    struct batch *batch = container_of(timer, struct batch, room);
    batch->wants_room = false;
    if (batch->list.fault.code || batch->task.cancelled)
        fan_next(&batch->list);
    else
        fan(batch, NULL, 0, false);
}

static void fan_files(struct batch *batch, size_t count, bool sealed)
{
    struct discovered found;
    discover_files(batch->list.files, count, batch->task.lease, &found);
    batch->files += count;
    fan(batch, found.child, found.count, sealed);
    discover_free(&found);
    batch_list_take(&batch->list, count);
}

/* Ends the task if what was listed is too little to be believed. */
static bool listed_too_early(struct batch *batch)
{
    struct core *core = batch->task.core;
    const struct queue_task *lease = batch->task.lease;
    struct listing_facts facts = { .files = (int64_t)(batch->files + batch->list.count),
                                   .expected = batch->said.files,
                                   .records = batch->said.records,
                                   .listed = queue_task_int(lease, "listed", 0),
                                   .quiet_ms = aep_now(core->aep).ms - batch->said.updated,
                                   .doubt_ms = core->settings->aep.short_listing_ms };
    if (facts.files == queue_task_int(lease, "short_files", 0))
        facts.shorts = queue_task_int(lease, "shorts", 0);
    if (patience_doubts(&facts)) {
        batch->doubted.files = facts.files;
        batch->doubted.shorts = facts.shorts + 1;
        look_again(batch, BATCH_OPEN, "success");
        return true;
    }
    if (!patience_is_short(&facts))
        return false;
    core->metrics.short_listings++;
    log_event(LOG_WARN, lease->id,
              "listing stays short files=%" PRId64 " expected=%" PRId64
              ": taken as it is; they were merged at the source, or AEP counts otherwise",
              facts.files, facts.expected);
    return false;
}

/* Nothing more is handed on: the task ends as soon as no listing runs. */
static void end_listing(struct batch *batch)
{
    if (!batch->list.complete)
        return;
    if (batch->room_waits > ROOM_WAITS_MAX && !batch->task.cancelled)
        task_rest(&batch->task, ROOM_REST_MS, NULL, 0);
    else if (batch->list.fault.code)
        task_fail(&batch->task, &batch->list.fault);
    else
        task_stop(&batch->task);
}

static bool ends_early(const struct batch *batch)
{
    return batch->list.fault.code || batch->task.cancelled ||
           batch->room_waits > ROOM_WAITS_MAX;
}

static void fan_next(struct batch_list *list)
{
    struct batch *batch = container_of(list, struct batch, list);
    if (batch->fanning || batch->wants_room || batch->task.ending)
        return;
    if (ends_early(batch))
        end_listing(batch);
    else if (list->complete && list->count <= FILES_PER_FAN && listed_too_early(batch))
        return;
    else if (list->complete && list->count <= FILES_PER_FAN)
        fan_files(batch, list->count, true);
    else if (list->count)
        fan_files(batch, list->count < FILES_PER_FAN ? list->count : FILES_PER_FAN, false);
}

static void start_list(struct batch *batch)
{
    batch->list =
        (struct batch_list){ .core = batch->task.core, .batch = batch->id, .ready = fan_next };
    batch_list_start(&batch->list);
}

/* ---- nothing to copy */

/*
 * KEEP: its manifest says who holds its rows. SKIP: none is written. The reason is in the cursor
 * that seals the batch: so it cannot be lost without the seal, and the commit does not take a batch
 * for an empty one.
 */
static void start_skip(struct batch *batch)
{
    batch->list.complete = true;
    fan(batch, NULL, 0, true);
}
