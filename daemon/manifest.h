/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commit record of a batch: canonical JSON (sorted members, entries sorted by key, integers
 * only, no clock, no host), so that two workers produce the same bytes. A superset of the form
 * that Redshift's UNLOAD writes and COPY reads (entries[].url, mandatory, meta.content_length).
 * Pure.
 */
#ifndef SLUICE_DAEMON_MANIFEST_H
#define SLUICE_DAEMON_MANIFEST_H

#include "lib/base/json.h"

struct manifest_file {
    const char *bucket, *key, *file_id, *name;
    int64_t size;
    uint32_t crc32c;
};

/* The queue's row of one finished file: "<key>\t<size>\t<entry JSON>". */
void manifest_row(const struct manifest_file *file, struct buf *out);

/*
 * Members behind `created` are left out where they say nothing: NULL, records -1, no failed ones.
 * Lists are JSON, as manifest_names writes it.
 */
struct manifest_head {
    const char *batch, *dataset, *sandbox;
    int64_t created;
    int64_t records, failed_records;
    const char *consolidates; /* it repeats their rows, and names no files */
    const char *replaces;     /* they do not count any more */
    const char *replaces_external;
    const char *replay_reason;
    bool snapshot; /* only the newest of its dataset counts */
};

/* A sorted JSON list, each text once; sorts `name` in place. */
char *manifest_names(const char **name, size_t count);

/*
 * Builds the manifest from rows in any order; `row` is sorted in place. ERR_BUG if a row is not
 * of the form above.
 */
enum err manifest_build(const struct manifest_head *head, const char **row, size_t rows,
                        struct buf *out, int64_t *ret_bytes) MUST_CHECK;

/*
 * The head of a manifest, read from bytes that are its end; ERR_TOO_BIG if it begins before them.
 */
enum err manifest_read_head(const char *end, size_t len, struct json_t **ret,
                            struct fault *fault) MUST_CHECK;
/* Whether a list of the head names this text. */
bool manifest_lists(const struct json_t *head, const char *list, const char *text);

#endif
