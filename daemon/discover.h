/* SPDX-License-Identifier: Apache-2.0 */
/* What tail and backfill share: how a batch found in a listing becomes a task. */
#ifndef SLUICE_DAEMON_DISCOVER_H
#define SLUICE_DAEMON_DISCOVER_H

#include "daemon/core.h"
#include "lib/aep/catalog.h"

/* Children for queue_fan; free with discover_free. Batches of other datasets are left out. */
struct discovered {
    struct queue_child *child;
    size_t count;
    char **text; /* what the children point into */
    struct queue_field *field;
    size_t texts;
};
void discover_children(const struct batch_info *batch, size_t count, const char *dataset,
                       enum queue_lane lane, struct discovered *ret);
/* The newest readable batch of its dataset, by (created, id); NULL if none is. */
const struct batch_info *discover_newest(const struct batch_info *batch, size_t count);
bool discover_is_older(const struct batch_info *batch, const struct batch_info *than);
/* Drops readable batches that are older than `newest`, keeps the order; returns how many stay. */
size_t discover_drop_older(struct batch_info *batch, size_t count,
                           const struct batch_info *newest);
void discover_free(struct discovered *discovered);

#endif
