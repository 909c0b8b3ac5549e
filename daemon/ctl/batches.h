/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the command batches: batches.c walks and shows them, quarantine.c copies what Data
 * Access knows of the failed ones into the bucket.
 */
#ifndef SLUICE_DAEMON_CTL_BATCHES_H
#define SLUICE_DAEMON_CTL_BATCHES_H

#include "daemon/ctl/lookup.h"
#include "daemon/ctl/table.h"

/*
 * Copies /failed and /meta of one batch to {prefix}{dataset}/_sluice/quarantine/{batch}/… Objects
 * that are there already stay as they are. Adds rows to `table`, a list with quarantine_columns.
 * Returns EX_OK, 1 if something was left out or differs, or the status of a failure.
 */
#define QUARANTINE_COLUMNS 4
extern const struct table_column quarantine_column[QUARANTINE_COLUMNS];
int quarantine_batch(struct ask *ask, struct table *table, const char *dataset_name,
                     const char *batch) MUST_CHECK;

/*
 * Walks /failed or /meta of a batch, directories included. `entry` returns false to end the walk.
 * ERR_NOT_FOUND: Data Access keeps nothing (diagnostics live for 30 days).
 */
struct diagnose_entry;
enum err quarantine_walk(struct ask *ask, const char *batch, const char *kind, void *owner,
                         bool (*entry)(void *owner,
                                       const struct diagnose_entry *entry)) MUST_CHECK;
/* Path and query of one file there. */
char *quarantine_path(const char *batch, const char *kind, const char *name);

#endif
