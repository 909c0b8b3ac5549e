/* SPDX-License-Identifier: Apache-2.0 */
/* How a batch or a file that was found in a listing becomes a task. */
#ifndef SLUICE_DAEMON_DISCOVER_H
#define SLUICE_DAEMON_DISCOVER_H

#include "daemon/core.h"
#include "lib/aep/access.h"
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
/* Children of a batch, one for each file, which must outlive them. */
void discover_files(const struct access_file *file, size_t count,
                    const struct queue_task *batch, struct discovered *ret);
/* The newest readable batch of its dataset, by (created, id); NULL if none is. */
const struct batch_info *discover_newest(const struct batch_info *batch, size_t count);
bool discover_is_older(const struct batch_info *batch, const struct batch_info *than);
/* Drops readable batches that are older than `newest`, keeps the order; returns how many stay. */
size_t discover_drop_older(struct batch_info *batch, size_t count,
                           const struct batch_info *newest);
void discover_free(struct discovered *discovered);

#endif
