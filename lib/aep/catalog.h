/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Catalog Service, read side: batches by window of creation time, by their last change, by id.
 *
 *   GET /data/foundation/catalog/batches?dataSet=…&createdAfter=…&createdBefore=…
 *       &orderBy=asc:created&limit=100[&start=…]       both bounds are exclusive
 *   GET /data/foundation/catalog/batches?dataSet=…&created=…&start=…   one instant (ties)
 *   GET /data/foundation/catalog/batches?dataSet=…&orderBy=desc:updated&limit=100&start=…
 *   GET /data/foundation/catalog/batches?dataSet=…&status=success,active&orderBy=desc:created
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

/* Texts one after the other, each with its 0 byte. */
struct catalog_names {
    const char *first; /* NULL = none */
    size_t count;
};
const char *catalog_names_next(const char *name);

/* Texts stand behind the array that a listing gives, and live as long as it. */
struct batch_info {
    char id[CATALOG_ID_MAX + 1];
    int64_t created, updated; /* ms */
    char status[24];
    enum batch_state state;
    enum batch_class class;
    int64_t output_files, output_records, failed_records; /* -1 = not said */
    bool other_dataset;                /* relatedObjects name datasets, but not this one */
    struct catalog_names predecessors; /* ids of batches; those that can be none are left out */
    struct catalog_names externals;    /* predecessors by external id */
    const char *reason;                /* of the replay; NULL = none */
    const char *successor;             /* the batch that took its place; NULL = not said */
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

enum catalog_query {
    CATALOG_CREATED, /* in [from, to), ascending; from == to - 1: one instant, from `start` on */
    CATALOG_CHANGED, /* the last change first, from `start` on */
    CATALOG_NEWEST   /* readable ones in [from, to), the last created first; to 0 = all since */
};

/* One request, or a search. Owner sets the fields above the line, keeps it until done, releases it. */
struct catalog_list {
    const char *dataset; /* borrowed until done */
    enum catalog_query query;
    int64_t from, to; /* ms */
    int start;        /* offset */
    int limit;        /* rows; 0 = CATALOG_PAGE */
    /* Not NULL: this batch by its id. What is not found so may be in the lists all the same (they
     * have an index each): with its time of creation in `from` it is looked for there, too. */
    const char *batch;
    void (*done)(struct catalog_list *list);
    /* ---- */
    struct fault fault;         /* ERR_NOT_FOUND for an unknown batch id */
    struct batch_info *batches; /* sorted; freed by release; the owner may take it (set NULL) */
    size_t count;
    struct aep *aep;
    bool searching;
    struct aep_call call;
};
void catalog_start(struct aep *aep, struct catalog_list *list);
void catalog_cancel(struct catalog_list *list);
void catalog_release(struct catalog_list *list); /* in or after done; zeroes the results */

#endif
