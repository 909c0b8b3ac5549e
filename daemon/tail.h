/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tail of one dataset: a task that finds new batches, for ever. This header is only about
 * what a daemon remembers between two polls, to make an unchanged dataset cost one call.
 */
#ifndef SLUICE_DAEMON_TAIL_H
#define SLUICE_DAEMON_TAIL_H

#include "daemon/core.h"

/* Ids (hashed) of the last walk that reached its end; and figures for /status. */
struct tail_memory {
    uint64_t *known;
    size_t count;
    int64_t cursor;  /* the queue's when `known` was learned; a lower one has forgotten tasks */
    int short_polls; /* since that walk */
    int64_t watermark_ms; /* every batch created before it has been seen; 0 = not polled yet */
};
struct tail_memory *tail_memory_new(size_t datasets);
void tail_memory_free(struct tail_memory *memory, size_t datasets);

/* What was learned of a queue that has gone back in time says nothing about the one there is. */
void tail_forget(struct core *core);

/* Makes sure that a configured dataset has its tail in the queue; a new one begins at start_ms. */
void tail_submit(struct core *core, struct queue_op *op, size_t dataset, int64_t start_ms);

#endif
