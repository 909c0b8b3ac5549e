/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Catalog says about datasets, read for people: everything may be missing, odd or new, and
 * nothing refuses the answer but a wrong shape of the whole.
 *
 *   GET /data/foundation/catalog/dataSets?start=&limit=100&properties=…   object keyed by id
 *   GET /data/foundation/catalog/dataSets/{id}                            the same with one member
 *   GET /data/foundation/catalog/lastBatches?dataSetId={id}               keyed by dataset id
 *
 * Source: Catalog Service API reference, "Catalog filtering"; the ETL integration guide.
 */
#ifndef SLUICE_AEP_DATASET_H
#define SLUICE_AEP_DATASET_H

#include "lib/aep/catalog.h"

/* Texts are borrowed from the document, NULL if not said; numbers -1, times 0. */
struct dataset_info {
    const char *id, *name, *description;
    const char *format; /* fileDescription.format, else containerFormat; lower case as sent */
    const char *table;  /* format of the lake's table: parquet, iceberg, delta */
    const char *behaviour;  /* time-series, record, … (dataBehavior) */
    const char *managed_by; /* CUSTOMER, SYSTEM */
    const char *state;      /* DRAFT, ACTIVE */
    const char *sql_name;
    const char *schema_id,
        *schema_type;           /* schemaRef: its id, its content type with a version */
    const char *schema_link;    /* of old: "@/xdms/…" */
    const char *row_expiration; /* ISO 8601 duration */
    const char *last_batch, *last_status, *last_success, *last_failed;
    int64_t created, updated, rows, bytes;
    const struct json_t *tags; /* object of arrays of text, or of bare values */
};
void dataset_read(const char *id, const struct json_t *object, struct dataset_info *ret);

/*
 * The member of a keyed answer: of `id`, or the only one there is if it names this id inside;
 * NULL if there is none. For datasets and for lastBatches.
 */
const struct json_t *dataset_of_answer(const struct json_t *root, const char *id);

/* The first value of a tag as text; NULL if it is not there or no text. */
const char *dataset_tag(const struct json_t *tags, const char *name);

/* lastBatches: fills the four last_… members; false if the row names no batch at all. */
bool dataset_read_last(const struct json_t *row, struct dataset_info *info);

#endif
