/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went wrong with a batch, read for people: its errors and counts in Catalog, the files that
 * Data Access keeps of it, the rows that were refused.
 *
 *   GET /data/foundation/export/batches/{batch}/failed[?path={name}]   files of a failed batch
 *   GET /data/foundation/export/batches/{batch}/meta[?path={name}]     row_errors/, input_files/, …
 *
 * Both list directories in the shape {data:[{name,length,_links}],_page}; with the path of a file
 * they give its bytes. Diagnostics are kept for 30 days. An error row is one line of JSON with
 * _errors[{code,message}], _filename and, if the line itself was broken, _corrupt_record.
 *
 * Source: Data Access API reference, "Retrieving error diagnostics". Pure.
 */
#ifndef SLUICE_AEP_DIAGNOSE_H
#define SLUICE_AEP_DIAGNOSE_H

#include "lib/base/json.h"

#define DIAGNOSE_NAME_MAX 1024

/* Of a batch in Catalog; -1 = not said. */
struct diagnose_counts {
    int64_t files, records, failed, bytes;
};
void diagnose_read_counts(const struct json_t *batch, struct diagnose_counts *ret);

/* Texts are borrowed from the document; code may be NULL. `records`: how many it concerns. */
struct diagnose_error {
    const char *code, *text;
    int64_t records;
};
size_t diagnose_error_count(const struct json_t *batch);
void diagnose_read_error(const struct json_t *batch, size_t index, struct diagnose_error *ret);
/* "200, INGEST-1212-400": each code once. */
void diagnose_write_codes(const struct json_t *batch, struct buf *out);

/* A row of either listing; false if it has no usable name (empty, too long, climbing). */
struct diagnose_entry {
    char path[2 * DIAGNOSE_NAME_MAX + 2]; /* from the listing's root on */
    int64_t length;                       /* -1 = not said */
    bool directory;                       /* must be listed itself */
};
bool diagnose_read_entry(const struct json_t *row, const char *directory,
                         struct diagnose_entry *ret) MUST_CHECK;
/* The rows of a listing in any of its shapes; NULL if it is none. */
const struct json_t *diagnose_rows(const struct json_t *root);

/* First error of an error row; false if the line is no such row. `ret` borrows from `row`. */
bool diagnose_read_row(const struct json_t *row, struct diagnose_error *ret,
                       const char **ret_file) MUST_CHECK;

#endif
