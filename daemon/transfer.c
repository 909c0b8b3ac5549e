/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lanes between ranged GETs and the uploader threads.
 *
 *   lane:  ROOM ──buffer──▶ FETCH ──part full──▶ STORE ──stored──▶ FETCH … ──no part left──▶ gone
 *
 * Only bytes move in the data callback; what follows from a full buffer happens in step_lane,
 * from the loop.
 */
#include "daemon/transfer.h"

#include <string.h>

#include "daemon/pool.h"
#include "daemon/uploader.h"
#include "lib/aep/access.h"
#include "lib/base/digest.h"

#define RANGE_WORK_MS 20000 /* Data Access cuts answers after 60 s */
#define RANGE_MAX     (4LL << 30)
#define STALL_MS      20000
#define STALL_BYTES   20000 /* 1 kB/s */
#define CUTS_MAX      6     /* in a row without a part's worth of progress */
#define HUGE_PARTS    64
#define LANES_GOAL                                                                             \
    (800.0 * 1024 * 1024 / 1000) /* bytes per ms: what one main thread can move */
#define KEEP_SHARE 4             /* extra lanes leave a quarter of the pool to other files */

enum lane_state { LANE_ROOM, LANE_FETCH, LANE_STORE };

struct lane {
    struct list_node node;
    struct transfer *transfer;
    enum lane_state state;
    int part, last_part; /* the part in the buffer; the end of the run that is ours */
    char *buffer;
    size_t filled;
    uint32_t crc;
    struct buf carry; /* bytes of the next part that came with the end of this one */
    struct pool_waiter waiter;
    struct access_read read;
    struct upload upload;
    struct deferred step;
    bool reading, paused;
    int cuts;                     /* since the last full part */
    struct mono read_at, part_at; /* the GET began; this part began */
};

static void step_transfer(struct deferred *work);
static void step_lane(struct deferred *work);
static void lane_add(struct transfer *transfer);
static void lane_next_run(struct lane *lane);
static void lane_end(struct lane *lane);
static void on_room(struct pool_waiter *waiter, void *buffer);
static void lane_fetch(struct lane *lane);
static enum http_data on_data(struct access_read *read, const void *bytes, size_t len);
static void on_read(struct access_read *read);
static void lane_store(struct lane *lane);
static void on_stored(struct upload *upload);

void transfer_start(struct transfer *transfer)
{
    list_init(&transfer->lanes);
    transfer->step.run = step_transfer;
    transfer->range_bytes = transfer->parts->size;
    transfer->lane_rate = 0;
    transfer->fault = (struct fault){ .code = OK };
    transfer->refused = transfer->stopping = transfer->finished = false;
    lane_add(transfer);
    loop_defer(transfer->core->loop, &transfer->step);
}

static void stop(struct transfer *transfer, const struct fault *fault)
{
    if (transfer->fault.code == OK)
        transfer->fault = *fault;
    transfer->stopping = true;
    list_each(&transfer->lanes, node)
    {
        struct lane *lane = container_of(node, struct lane, node);
        if (lane->reading)
            access_read_cancel(&lane->read);
        loop_defer(transfer->core->loop, &lane->step);
    }
    loop_defer(transfer->core->loop, &transfer->step);
}

void transfer_cancel(struct transfer *transfer)
{
    struct fault fault = { 0 };
    fault_set(&fault, ERR_CANCELLED, "cancelled");
    if (!transfer->finished)
        stop(transfer, &fault);
}

void transfer_abort(struct transfer *transfer)
{
    transfer_cancel(transfer);
    list_each(&transfer->lanes, node)
        uploader_abort(&container_of(node, struct lane, node)->upload);
}

void transfer_resume(struct transfer *transfer)
{
    list_each(&transfer->lanes, node)
        loop_defer(transfer->core->loop, &container_of(node, struct lane, node)->step);
}

void transfer_look(const struct transfer *transfer, struct transfer_view *ret)
{
    *ret = (struct transfer_view){ .name = transfer->name,
                                   .lanes = transfer->lanes.count,
                                   .stored = parts_stored_bytes(transfer->parts),
                                   .length = transfer->parts->length };
    ret->bytes_per_s = transfer->lane_rate * 1000 * (double)ret->lanes;
}

/* Ends the transfer when no lane is left. */
static void step_transfer(struct deferred *work)
{
    struct transfer *transfer = container_of(work, struct transfer, step);
    if (transfer->lanes.count > 0 || transfer->finished)
        return;
    transfer->finished = true;
    if (transfer->parts->stored == transfer->parts->count)
        transfer->fault.code = OK; /* the last part was on its way when it was cancelled */
    transfer->done(transfer);
}

/* ---- lanes come and go */

static void lane_add(struct transfer *transfer)
{
    struct lane *lane = mem_alloc(sizeof *lane);
    lane->transfer = transfer;
    lane->step.run = step_lane;
    lane->waiter.ready = on_room;
    buf_init(&lane->carry, SIZE_MAX / 2);
    list_push(&transfer->lanes, &lane->node);
    lane_next_run(lane);
}

static size_t buffer_bytes(const struct transfer *transfer)
{
    return (size_t)parts_length(transfer->parts, 0);
}

/* How fast one lane is fed, smoothed over some parts. */
static void measure(struct transfer *transfer, const struct lane *lane)
{
    int64_t us = loop_now(transfer->core->loop).us - lane->part_at.us;
    double rate = (double)lane->filled * 1000 / (double)(us + 1);
    bool known = transfer->lane_rate > 0;
    transfer->lane_rate = known ? (transfer->lane_rate * 3 + rate) / 4 : rate;
}

/* A source that limits each connection wants many of them; over a fast one two fill the machine,
 * and more would only spread the work over more memory. */
static size_t lanes_wanted(const struct transfer *transfer)
{
    double wanted = transfer->lane_rate > 0 ? LANES_GOAL / transfer->lane_rate : 0;
    double most = (double)transfer->core->settings->transfer.lanes;
    return 1 + (size_t)(wanted < most - 1 ? wanted : most - 1);
}

/* More lanes only for huge files, and only with room that nobody else waits for. */
static bool wants_lane(const struct transfer *transfer)
{
    const struct core *core = transfer->core;
    size_t cost = pool_cost((size_t)transfer->parts->size);
    size_t keep = pool_size(core->pool) / KEEP_SHARE;
    return transfer->parts->count >= HUGE_PARTS && transfer->parts->todo > 0 &&
           transfer->lanes.count < lanes_wanted(transfer) &&
           pool_room(core->pool) >= cost + keep &&
           ratelimit_room(aep_limit(core->aep, AEP_CONTENT), loop_now(core->loop)) > 0;
}

static void lane_next_run(struct lane *lane)
{
    struct transfer *transfer = lane->transfer;
    struct parts *parts = transfer->parts;
    int64_t most = transfer->range_bytes / parts->size;
    int64_t share = parts->todo / (2 * (int64_t)transfer->lanes.count) + 1; /* ends together */
    most = most > share ? share : most < 1 ? 1 : most;
    int first = 0, count = parts_take(parts, (int)most, &first);
    if (count == 0) {
        lane_end(lane);
        return;
    }
    lane->part = first;
    lane->last_part = first + count - 1;
    lane->filled = 0;
    lane->crc = 0;
    lane->state = LANE_ROOM;
    loop_defer(transfer->core->loop, &lane->step);
}

static void lane_end(struct lane *lane)
{
    struct transfer *transfer = lane->transfer;
    pool_forget(transfer->core->pool, &lane->waiter);
    if (lane->buffer)
        pool_give(transfer->core->pool, lane->buffer, buffer_bytes(transfer));
    loop_undefer(transfer->core->loop, &lane->step);
    access_read_release(&lane->read);
    s3_call_release(&lane->upload.call);
    buf_release(&lane->carry);
    list_remove(&transfer->lanes, &lane->node);
    mem_free(lane);
    loop_defer(transfer->core->loop, &transfer->step);
}

/* Gives back the parts that were not finished. */
static void lane_abandon(struct lane *lane)
{
    for (int part = lane->part; part <= lane->last_part; part++)
        parts_put_back(lane->transfer->parts, part);
    lane_end(lane);
}

static bool part_full(const struct lane *lane)
{
    return (int64_t)lane->filled == parts_length(lane->transfer->parts, lane->part);
}

/* False: the lane waits in line, on_room comes back. */
static bool take_buffer(struct lane *lane)
{
    struct pool *pool = lane->transfer->core->pool;
    lane->waiter.bytes = buffer_bytes(lane->transfer);
    if (list_linked(&lane->waiter.node))
        return false;
    lane->buffer = pool_take(pool, lane->waiter.bytes);
    if (!lane->buffer)
        pool_wait(pool, &lane->waiter);
    return lane->buffer != NULL;
}

/* What the lane can do now, given what has arrived. */
static void step_lane(struct deferred *work)
{
    struct lane *lane = container_of(work, struct lane, step);
    struct transfer *transfer = lane->transfer;
    if (lane->state == LANE_STORE || (transfer->stopping && lane->reading))
        return; /* on_stored and on_read come back */
    if (transfer->stopping) {
        lane_abandon(lane);
        return;
    }
    if (!lane->buffer && !take_buffer(lane))
        return;
    if (!part_full(lane)) {
        if (!lane->reading)
            lane_fetch(lane);
        return;
    }
    /* The last part of a GET waits for the proper end of the answer. */
    bool proper = !lane->reading || lane->part < lane->last_part;
    if (proper && transfer->may_store(transfer))
        lane_store(lane);
}

static void on_room(struct pool_waiter *waiter, void *buffer)
{
    struct lane *lane = container_of(waiter, struct lane, waiter);
    lane->buffer = buffer;
    loop_defer(lane->transfer->core->loop, &lane->step);
}

/* ---- from the source into the buffer */

static void lane_fetch(struct lane *lane)
{
    struct transfer *transfer = lane->transfer;
    struct parts *parts = transfer->parts;
    lane->state = LANE_FETCH;
    lane->reading = true;
    lane->paused = false;
    lane->read_at = lane->part_at = loop_now(transfer->core->loop);
    access_read_release(&lane->read);
    lane->read = (struct access_read){
        .file_id = transfer->file_id,
        .name = transfer->path,
        .first = parts_start(parts, lane->part) + (int64_t)lane->filled,
        .last = parts_start(parts, lane->last_part) + parts_length(parts, lane->last_part) - 1,
        .length = parts->length,
        .stall_ms = STALL_MS,
        .stall_bytes = STALL_BYTES,
        .data = on_data,
        .done = on_read,
    };
    access_read_start(transfer->core->aep, &lane->read);
}

static void fill(struct lane *lane, const char *bytes, size_t len)
{
    memcpy(lane->buffer + lane->filled, bytes, len);
    lane->crc = digest_crc32c(lane->crc, bytes, len);
    lane->filled += len;
}

static enum http_data on_data(struct access_read *read, const void *bytes, size_t len)
{
    struct lane *lane = container_of(read, struct lane, read);
    if (part_full(lane) || lane->state == LANE_STORE) {
        lane->paused = true;
        return HTTP_PAUSE;
    }
    size_t room = (size_t)parts_length(lane->transfer->parts, lane->part) - lane->filled;
    size_t now = len < room ? len : room;
    fill(lane, bytes, now);
    if (now < len)
        buf_add(&lane->carry, (const char *)bytes + now, len - now);
    lane->transfer->core->metrics.bytes_received += (int64_t)len;
    *lane->transfer->exported_bytes += (int64_t)len;
    if (part_full(lane))
        loop_defer(lane->transfer->core->loop, &lane->step);
    return HTTP_TAKEN;
}

/* Grow towards RANGE_WORK_MS of work per GET by the measured rate; halve after a cut. */
static void adapt_range(struct lane *lane, bool cut)
{
    struct transfer *transfer = lane->transfer;
    if (cut) {
        transfer->range_bytes /= 2;
        return;
    }
    int64_t ms = mono_ms_between(lane->read_at, loop_now(transfer->core->loop)) + 1;
    int64_t target = lane->read.received / ms * RANGE_WORK_MS;
    int64_t most = transfer->range_bytes * 4;
    transfer->range_bytes = target < most ? target : most;
    if (transfer->range_bytes > RANGE_MAX)
        transfer->range_bytes = RANGE_MAX;
}

/* Whether the stream may go on where it stopped. */
static bool goes_on(struct lane *lane)
{
    const struct access_read *read = &lane->read;
    bool cut = read->fault.code == ERR_CUT || read->fault.code == ERR_TIMEOUT;
    if (read->fault.code && !cut)
        return false;
    adapt_range(lane, cut);
    lane->cuts += cut || read->received == 0;
    return lane->cuts < CUTS_MAX && (!cut || read->received > 0);
}

static void on_read(struct access_read *read)
{
    struct lane *lane = container_of(read, struct lane, read);
    struct transfer *transfer = lane->transfer;
    struct fault fault = read->fault;
    lane->reading = false;
    if (!transfer->stopping && !goes_on(lane)) {
        if (!fault.code)
            fault_set(&fault, ERR_BAD_RESPONSE, "empty answers for %s", transfer->path);
        stop(transfer, &fault);
    }
    loop_defer(transfer->core->loop, &lane->step);
}

/* ---- from the buffer into the store */

static void lane_store(struct lane *lane)
{
    struct transfer *transfer = lane->transfer;
    bool whole = transfer->upload_id == NULL;
    struct fault fault = { .code = OK };
    if (transfer->passes(transfer, lane->part, lane->buffer, &fault)) {
        stop(transfer, &fault);
        return;
    }
    measure(transfer, lane);
    lane->state = LANE_STORE;
    lane->cuts = 0;
    lane->upload.done = on_stored;
    lane->upload.call = (struct s3_call){
        .op = whole ? S3_PUT : S3_PART,
        .key = transfer->key,
        .body = lane->buffer,
        .body_len = lane->filled,
        .body_crc32c = lane->crc,
        .create_only = whole,
        .source = transfer->source,
        .upload_id = transfer->upload_id,
        .part_number = lane->part + 1,
    };
    uploader_start(transfer->core->uploader, &lane->upload);
}

static void record(struct lane *lane)
{
    struct transfer *transfer = lane->transfer;
    struct s3_part part = { .size = (int64_t)lane->filled,
                            .crc32c = lane->crc,
                            .has_crc32c = true };
    memcpy(part.etag, lane->upload.call.etag, sizeof part.etag);
    parts_store(transfer->parts, lane->part, &part);
    transfer->core->metrics.parts_stored++;
    transfer->core->metrics.bytes_stored += part.size;
    transfer->stored(transfer, lane->part);
}

/* Moves on to the next part of the run; its first bytes may have come already. */
static void lane_advance(struct lane *lane)
{
    lane->part++;
    lane->filled = 0;
    lane->crc = 0;
    lane->state = LANE_FETCH;
    lane->part_at = loop_now(lane->transfer->core->loop);
    if (!lane->transfer->stopping)
        fill(lane, buf_text(&lane->carry), lane->carry.len);
    buf_clear(&lane->carry);
    if (lane->paused && lane->reading) {
        lane->paused = false;
        access_read_resume(&lane->read);
    }
    loop_defer(lane->transfer->core->loop, &lane->step);
}

static void on_stored(struct upload *upload)
{
    struct lane *lane = container_of(upload, struct lane, upload);
    struct transfer *transfer = lane->transfer;
    struct fault fault = upload->call.fault;
    lane->state = LANE_FETCH;
    s3_call_release(&upload->call);
    if (fault.code) {
        transfer->crc32c = lane->crc;
        transfer->refused = transfer->refused || !transfer->stopping;
        stop(transfer, &fault);
        return;
    }
    record(lane);
    if (lane->part < lane->last_part || transfer->stopping)
        lane_advance(lane);
    else
        lane_next_run(lane);
    if (!transfer->stopping && wants_lane(transfer))
        lane_add(transfer);
}
