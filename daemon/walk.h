/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the batches of a dataset that were created in [from, to), ascending, by keyset: after a
 * page the next one starts at the last `created` seen (the bound is inclusive here, batches seen
 * already are dropped), because offsets shift when batches come and go while we page. If a whole
 * page shares one instant, that instant is listed by offset until a whole pass brings nothing
 * new. A short page proves nothing; only an empty page is the end.
 */
#ifndef SLUICE_DAEMON_WALK_H
#define SLUICE_DAEMON_WALK_H

#include "daemon/core.h"
#include "lib/aep/catalog.h"

struct walk {
    /* Set by the owner, kept until done. */
    struct core *core;
    const char *dataset;
    int64_t from, to;
    int limit; /* rows per page; 0 = as many as Catalog gives */
    /* A page with new batches is in batches/count; the owner calls walk_next when it is ready. */
    void (*page)(struct walk *walk);
    void (*done)(struct walk *walk); /* once, last act */
    /* ---- */
    struct fault fault;
    struct batch_info *batches;
    size_t count;
    bool full; /* the page had as many rows as fit one, known ones included */
    /* private */
    int64_t at;  /* where the next page begins */
    int offset;  /* >= 0: listing the one instant `at` from this offset on */
    bool fresh;  /* this pass over the instant has brought something new */
    int quiet;   /* passes in a row that did not */
    char **edge; /* ids seen at the instant `at` */
    size_t edges;
    int pages;
    bool listing, finished;
    struct catalog_list list;
    struct deferred next;
};
void walk_start(struct walk *walk);
void walk_next(struct walk *walk);
/* `done` with ERR_CANCELLED follows, unless it was called or a page is with the owner. */
void walk_cancel(struct walk *walk);
void walk_release(struct walk *walk);

#endif
