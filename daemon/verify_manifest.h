/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a manifest back and believes nothing: what was read is written again in the way of
 * manifest.h, and the bytes must be the same. So order, form, sums and counts are all proven at
 * once, and a later version of the form is checked as soon as it can be written. Pure.
 */
#ifndef SLUICE_DAEMON_VERIFY_MANIFEST_H
#define SLUICE_DAEMON_VERIFY_MANIFEST_H

#include "lib/base/json.h"

#define VERIFY_MANIFEST_MAX (64 << 20)

struct verify_entry {
    const char *key, *file_id, *name;
    int64_t size;
    uint32_t crc32c;
};

struct verify_manifest {
    const char *batch, *dataset, *sandbox;
    int64_t created, generation;
    struct verify_entry *entry; /* ascending by key, none twice */
    size_t entries;
    const struct json_t *consolidates; /* ids of batches that hold its rows; NULL = it does */
    struct json_t *json;               /* private: what is above leads into it */
};

/*
 * ERR_DIFFERS with a sentence if these bytes are no manifest for objects of `bucket`. Needs about
 * ten times the manifest's size while it runs.
 */
enum err verify_manifest_read(const char *bytes, size_t len, const char *bucket,
                              struct verify_manifest *ret, struct fault *fault) MUST_CHECK;
void verify_manifest_release(struct verify_manifest *manifest); /* zeroes */

#endif
