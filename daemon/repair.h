/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit of the queue's indexes: in the background every task is looked at, and index entries
 * that its hash calls for and that are missing are made anew (an operator's slip, a bug, a restore
 * of half a backup). About once an hour for all daemons together; at once after Redis has
 * restarted or lost writes. Several daemons may do it at the same time.
 */
#ifndef SLUICE_DAEMON_REPAIR_H
#define SLUICE_DAEMON_REPAIR_H

#include "daemon/core.h"

struct repair;
struct repair *repair_new(struct core *core);
void repair_free(struct repair *repair);

/* A whole pass begins now, even if one is running. */
void repair_start(struct repair *repair);

/* What the library's own housekeeping did in a tick: lapsed leases, poisoned tasks. */
void repair_note_tick(struct core *core, const struct queue_op *tick);

#endif
