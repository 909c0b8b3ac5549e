/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Catalog Service, read side: batches by window of creation time, and by id.
 *
 *   GET /data/foundation/catalog/batches?dataSet=…&createdAfter=…&createdBefore=…
 *       &orderBy=asc:created&limit=100[&start=…]       both bounds are exclusive
 *   GET /data/foundation/catalog/batches?dataSet=…&created=…&start=…   one instant (ties)
 *   GET /data/foundation/catalog/batches/{id}
 *
 * The answer is an object keyed by batch id; its order is not trusted, a page is re-sorted by
 * (created, id). Source: Catalog Service API reference; Adobe "Catalog filtering".
 */
#ifndef SLUICE_AEP_CATALOG_H
#define SLUICE_AEP_CATALOG_H

#include "lib/aep/aep.h"

#define CATALOG_PAGE   100
#define CATALOG_ID_MAX 160

/* What a batch's status means for us (16 documented values and unknown ones). */
enum batch_state {
    BATCH_OPEN,    /* loading, loaded, queued, processing, staging, staged, retrying, unknown */
    BATCH_STALLED, /* may be revived by Adobe: look again, slowly */
    BATCH_READABLE, /* success, active */
    BATCH_FAILED,   /* failed, failure */
    BATCH_DROPPED,  /* aborted, abandoned: never became readable */
    BATCH_WITHDRAWN /* inactive, deleted, archived, retained: no longer readable */
};

/* What kind of batch it is (aside from its state). */
enum batch_class {
    BATCH_LAKE,          /* ordinary ingestion into the lake */
    BATCH_SUB,           /* profile or identity sub-batch: holds no new lake files */
    BATCH_CONSOLIDATION, /* compaction: repeats rows of its predecessors */
    BATCH_REPLACEMENT    /* replay: replaces its predecessors */
};

struct batch_info {
    char id[CATALOG_ID_MAX + 1];
    int64_t created, updated; /* ms */
    char status[24];
    enum batch_state state;
    enum batch_class class;
    int64_t output_files, output_records; /* -1 = not said */
    bool other_dataset;                   /* relatedObjects name datasets, but not this one */
};

enum batch_state catalog_state(const char *status);

/* Ids become parts of URLs and of queue ids: 1..160 of [A-Za-z0-9_.@:-]. */
bool catalog_id_valid(const char *id);

/*
 * Parses a keyed object of batches, sorted by (created, id). `dataset` tells other_dataset.
 * An object that lacks id or created, or has a wrong type there, refuses the page. Pure.
 */
enum err catalog_parse_batches(const char *body, size_t len, const char *dataset,
                               struct batch_info **ret_batches, size_t *ret_count,
                               struct fault *fault) MUST_CHECK;

/* One request. Owner sets the fields above the line, keeps it until done, releases it. */
struct catalog_list {
    const char *dataset; /* borrowed until done */
    int64_t from, to;    /* created in [from, to), ms; from == to - 1: one instant */
    int start;           /* offset; only meaningful for one instant */
    const char *batch;   /* not NULL: this batch by id, the rest is ignored */
    void (*done)(struct catalog_list *list);
    /* ---- */
    struct fault fault;         /* ERR_NOT_FOUND for an unknown batch id */
    struct batch_info *batches; /* sorted; freed by release; the owner may take it (set NULL) */
    size_t count;
    struct aep_call call;
};
void catalog_start(struct aep *aep, struct catalog_list *list);
void catalog_cancel(struct catalog_list *list);
void catalog_release(struct catalog_list *list); /* in or after done; zeroes the results */

#endif
