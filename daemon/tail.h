/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tail of one dataset: a task that finds new batches, for ever. This header is only about
 * what a daemon remembers between two polls, to make an unchanged dataset cost one call.
 */
#ifndef SLUICE_DAEMON_TAIL_H
#define SLUICE_DAEMON_TAIL_H

#include "daemon/verify_keys.h"
#include "daemon/withdrawn.h"

struct tail_seen {
    uint64_t hash; /* of an id */
    int64_t created;
};

/* Of the last complete sweep over changes. */
struct sweep_memory {
    struct key_set known; /* "<id> <updated>" of what needs nothing more */
    size_t rows;          /* all that there were; 0 = it stopped at its bound */
};

/* Batches of the last walk that reached its end; the last sweep; and figures for /status. */
struct tail_memory {
    struct tail_seen *known; /* all that were created at `tip` or later */
    size_t count;
    int64_t cursor; /* the queue's when `known` was learned; a lower one has forgotten tasks */
    int64_t tip;
    struct sweep_memory sweep;
    bool has_swept; /* in its last turn: the next one is a walk, however short aep.sweep is */
    struct successors successors;
    int64_t watermark_ms; /* every batch created before it has been seen; 0 = not polled yet */
};
struct tail_memory *tail_memory_new(size_t datasets);
void tail_memory_free(struct tail_memory *memory, size_t datasets);
bool tail_memory_knows(const struct tail_memory *memory, uint64_t hash);
/*
 * Takes over what a walk to the end has seen, by creation time. The last batches are enough to
 * recognise a dataset in which nothing is new; `goes_on`: the walk began at the tip, or later.
 */
void tail_memory_learn(struct tail_memory *memory, struct tail_seen *seen, size_t count,
                       int64_t cursor, bool goes_on);
uint64_t tail_hash(const char *id);

/* What was learned of a queue that has gone back in time says nothing about the one there is. */
void tail_forget(struct core *core);

/* Makes sure that a configured dataset has its tail in the queue; a new one begins at start_ms. */
void tail_submit(struct core *core, struct queue_op *op, size_t dataset, int64_t start_ms);

#endif
