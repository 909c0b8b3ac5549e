/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The change sweep over one dataset: its batches by their last change, the latest first, until
 * one that was as it is when the last complete sweep began. Rows that were seen as they are now
 * cost nothing; if there are no others, one request tells so. Finds batches that became readable
 * or were listed late, and those that were withdrawn.
 *
 * The bound is the server's time at which the last complete sweep began, less the overlap: what
 * moves to the head while we page is met by the next sweep. A withdrawn batch of which it is not
 * clear yet what it means for our readers holds the bound back.
 */
#ifndef SLUICE_DAEMON_SWEEP_H
#define SLUICE_DAEMON_SWEEP_H

#include "daemon/tail.h"
#include "daemon/verify_keys.h"
#include "daemon/withdrawn.h"

/* Pure: is it time (every_ms 0 = never, at 0 = it never was)? A clock that went back: yes. */
bool sweep_due(int64_t at, int64_t now, int64_t every_ms);
/* Pure: what is complete of a sweep that began at `began` and has to see `oldest` again. */
int64_t sweep_reached(int64_t began, int64_t oldest, int64_t overlap_ms);

struct sweep {
    /* Set by the owner, kept until done. */
    struct core *core;
    const struct dataset_settings *dataset;
    struct tail_memory *memory;
    int64_t bound, since; /* since: the tail's start */
    /* A page with rows that are new as they are: in batches/count until sweep_next. */
    void (*page)(struct sweep *sweep);
    void (*done)(struct sweep *sweep); /* once, from the loop, the last act */
    /* ---- */
    struct fault fault;
    struct batch_info *batches;
    size_t count;
    int64_t began;  /* by the server */
    int64_t oldest; /* change that must be seen again; INT64_MAX = none */
    size_t rows;
    /* private */
    struct mono began_at;
    bool paging, last, started, bounded; /* the page reached the bound */
    int start, pages;
    struct key_set known;
    struct catalog_list list;
    struct withdrawn withdrawn;
    struct deferred step;
};
void sweep_start(struct sweep *sweep);
void sweep_next(struct sweep *sweep);
/* `done` with ERR_CANCELLED follows, unless it was called or a page is with the owner. */
void sweep_cancel(struct sweep *sweep);
void sweep_release(struct sweep *sweep);

#endif
