/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commit record of a batch: canonical JSON (sorted members, entries sorted by key, integers
 * only, no clock, no host), so that two workers produce the same bytes. A superset of the form
 * that Redshift's UNLOAD writes and COPY reads (entries[].url, mandatory, meta.content_length).
 * Pure.
 */
#ifndef SLUICE_DAEMON_MANIFEST_H
#define SLUICE_DAEMON_MANIFEST_H

#include "lib/base/buf.h"

struct manifest_file {
    const char *bucket, *key, *file_id, *name;
    int64_t size;
    uint32_t crc32c;
};

/* The queue's row of one finished file: "<key>\t<size>\t<entry JSON>". */
void manifest_row(const struct manifest_file *file, struct buf *out);

struct manifest_head {
    const char *batch, *dataset, *sandbox;
    int64_t created;
    int64_t generation; /* up to 1: the ordinary extraction */
};

/*
 * Builds the manifest from rows in any order; `row` is sorted in place. ERR_BUG if a row is not
 * of the form above.
 */
enum err manifest_build(const struct manifest_head *head, const char **row, size_t rows,
                        struct buf *out, int64_t *ret_bytes) MUST_CHECK;

#endif
