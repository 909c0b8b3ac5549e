/* SPDX-License-Identifier: Apache-2.0 */
/* What tail and backfill share: how a batch found in a listing becomes a task. */
#ifndef SLUICE_DAEMON_DISCOVER_H
#define SLUICE_DAEMON_DISCOVER_H

#include "daemon/core.h"
#include "lib/aep/catalog.h"

/*
 * Children for queue_fan; free with discover_free. Batches of other datasets are left out.
 * `scope`: the dataset, or <dataset>/<generation> for a replay.
 */
struct discovered {
    struct queue_child *child;
    size_t count;
    char **text; /* what the children point into */
    struct queue_field *field;
    size_t texts;
};
void discover_children(const struct batch_info *batch, size_t count, const char *scope,
                       enum queue_lane lane, struct discovered *ret);
void discover_free(struct discovered *discovered);

#endif
