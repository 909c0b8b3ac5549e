/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After a withdrawal in a dataset of which the latest snapshot is wanted: the newest one that
 * Catalog lists as readable is queued, although it was skipped as outdated before. If there is
 * none, that is told. What has its manifest already stays as it is.
 */
#ifndef SLUICE_DAEMON_NEWEST_H
#define SLUICE_DAEMON_NEWEST_H

#include "daemon/core.h"
#include "lib/aep/catalog.h"

struct newest {
    /* Set by the owner, kept until done. */
    struct core *core;
    const struct dataset_settings *dataset;
    int64_t since;                       /* no snapshot created before it, in ms */
    void (*done)(struct newest *newest); /* once, from the loop, the last act */
    /* ---- */
    struct fault fault;
    /* private */
    struct catalog_list list;
    struct queue_op submit;
};
void newest_start(struct newest *newest);
void newest_cancel(struct newest *newest); /* `done` follows, none running: no */
void newest_release(struct newest *newest);

/* Asks Catalog for the snapshots created in [since, end of the dataset), the newest first. */
struct catalog_list newest_query(const struct dataset_settings *dataset, int64_t since);

#endif
