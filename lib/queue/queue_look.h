/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the task tree beside the work, and mending its indexes. Needs no lease. */
#ifndef SLUICE_QUEUE_QUEUE_LOOK_H
#define SLUICE_QUEUE_QUEUE_LOOK_H

#include "lib/queue/queue.h"

void queue_stat(struct queue *queue, struct queue_op *op); /* text: one line per dataset */
/* A number of such a line, "<dataset> name=number …"; false, and no change, without it. Pure. */
bool queue_stat_number(const char *line, const char *name, int64_t *ret);

/* text: a field of any task; `found` is false if there is no such field or task. */
void queue_field(struct queue *queue, struct queue_op *op, const char *id, const char *name);

/*
 * rows: the ids of some tasks, perhaps named twice; text: the cursor of the next page ("0" begins
 * and ends). `count` bounds the keys that Redis looks at, not the ids.
 */
void queue_scan(struct queue *queue, struct queue_op *op, const char *cursor, int count);

/*
 * Makes the index entries of one task anew from its hash; number: how many were missing. First
 * LINK over all tasks, then SETTLE over all tasks.
 */
enum queue_pass { QUEUE_PASS_LINK, QUEUE_PASS_SETTLE };
void queue_fix(struct queue *queue, struct queue_op *op, enum queue_pass pass, const char *id);

#endif
