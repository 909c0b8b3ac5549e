/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The batches of a dataset, newest first, page by page. Keyset paging downwards: each page asks for
 * what was created before the oldest row so far, that instant included, and only within one
 * instant offsets are used. Each row is given once; an empty page is the end.
 */
#ifndef SLUICE_DAEMON_CTL_PAGES_H
#define SLUICE_DAEMON_CTL_PAGES_H

#include "daemon/ctl/ask.h"
#include "lib/aep/catalog.h"
#include "lib/aep/seen.h"

struct pages {
    struct ask *ask;
    const char *dataset, *status; /* status: words of Catalog; NULL = any */
    int64_t from, before;         /* created in [from, before) */
    void *owner;
    /* False ends the walk. `object`: the row as Catalog sent it. */
    bool (*take)(void *owner, const struct batch_info *info, const struct json_t *object);
    /* private */
    size_t start; /* within the instant before - 1 */
    struct seen seen;
};
/* All of them; a fault is in ask->fault. */
enum err pages_walk(struct pages *pages) MUST_CHECK;

#endif
