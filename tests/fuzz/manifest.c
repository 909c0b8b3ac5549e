/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests as a bucket hands them back: what is believed is sorted, complete and ours. */
#include <string.h>

#include "daemon/verify_manifest.h"
#include "tests/fuzz/fuzz.h"

void fuzz_one(const char *bytes, size_t len)
{
    struct verify_manifest manifest = { 0 };
    struct fault fault = { 0 };
    enum err err = verify_manifest_read(bytes, len, "bucket", &manifest, &fault);
    if (fuzz_accepted(err, &fault)) {
        MUST_HOLD(manifest.batch && manifest.dataset && manifest.sandbox);
        for (size_t i = 0; i < manifest.entries; i++) {
            const struct verify_entry *entry = &manifest.entry[i];
            MUST_HOLD(entry->key[0] && entry->file_id && entry->name && entry->size >= 0);
            MUST_HOLD(i == 0 || strcmp(entry[-1].key, entry->key) < 0);
        }
    }
    verify_manifest_release(&manifest);
}
