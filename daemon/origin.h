/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a readable batch without a manifest is to those beside it, and what its manifest will say
 * of that:
 *
 *   snapshots of which the latest is wanted: is there a newer one?
 *   it has predecessors: lineage.c
 *   what was found out is noted in its task, before it is listed and sealed: the commit writes the
 *   same at each try
 */
#ifndef SLUICE_DAEMON_ORIGIN_H
#define SLUICE_DAEMON_ORIGIN_H

#include "daemon/lineage.h"
#include "daemon/newest.h"

enum origin_verdict {
    ORIGIN_COPY,
    ORIGIN_KEEP,      /* no files, its manifest says whose rows it holds */
    ORIGIN_WAIT,      /* look again after delay_ms, with `waits` noted */
    ORIGIN_SUPERSEDED /* by a newer snapshot; see `reason` */
};

struct origin {
    /* Set by the owner, kept until done. */
    struct core *core;
    const struct dataset_settings *dataset;
    const struct queue_task *lease;
    const char *batch;
    const struct batch_info *row;        /* NULL = an ordinary batch, as its task says */
    void (*done)(struct origin *origin); /* once, from the loop, the last act */
    /* ---- */
    struct fault fault;
    enum origin_verdict verdict;
    char reason[CATALOG_ID_MAX + 40];
    int64_t delay_ms, waits;
    /* private */
    bool cancelled;
    struct catalog_list newest;
    struct lineage lineage;
    struct queue_op save;
    struct deferred step;
};
void origin_start(struct origin *origin);
void origin_cancel(
    struct origin *origin); /* `done` follows, unless an answer of Redis is due */
void origin_release(struct origin *origin);

#endif
