/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims tasks when there is room for them and keeps their leases. Room is reserved before the
 * claim: a slot, buffer bytes and the source's window for files, a slot for control tasks. The
 * live lane is asked first and the backfill lane never gets the last quarter of the slots.
 */
#ifndef SLUICE_DAEMON_SCHEDULER_H
#define SLUICE_DAEMON_SCHEDULER_H

#include "daemon/core.h"

struct scheduler;

struct scheduler *scheduler_new(struct core *core);
void scheduler_free(struct scheduler *scheduler);

/* Redis is up and the datasets are registered: begin, or go on after an outage. */
void scheduler_begin(struct scheduler *scheduler);
void scheduler_pause(struct scheduler *scheduler); /* no claims until begin */
void scheduler_tick(struct scheduler *scheduler);  /* now: from then on a loss is noticed */

/* The configured datasets are others: claim for those. */
void scheduler_reload(struct scheduler *scheduler);
/* When the oldest running task began, in core's epochs; the present one if there is none. */
unsigned scheduler_oldest(const struct scheduler *scheduler);

/* Redis has forgotten what is running: drop it all. */
void scheduler_forget(struct scheduler *scheduler);

/* Claim nothing more, let every task stop; `drained` fires when none is left. */
void scheduler_drain(struct scheduler *scheduler, void (*drained)(struct core *core));

/* There may be new work in the queue: claim at the end of this turn. */
void scheduler_nudge(struct core *core);

struct scheduler_figures {
    size_t control, files; /* running */
    int64_t live_daemons;  /* from the last tick */
    int64_t seq;
    bool draining;
};
/* The running file tasks, by task->node. */
const struct list *scheduler_files(const struct scheduler *scheduler);
void scheduler_figures(const struct scheduler *scheduler, struct scheduler_figures *ret);

#endif
