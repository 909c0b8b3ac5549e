/* SPDX-License-Identifier: Apache-2.0 */
/* A set of digests, open addressing. */
#include "lib/aep/seen.h"

#include <string.h>

#include "lib/base/digest.h"
#include "lib/base/mem.h"

#define SIZE_FIRST 256

static const uint8_t free_slot[SEEN_KEY_SIZE];

/* Where the key is, or the free slot where it belongs. */
static uint8_t *find(struct seen *seen, const uint8_t *key)
{
    size_t at;
    memcpy(&at, key, sizeof at);
    for (;; at++) {
        uint8_t *slot = seen->slot[at & (seen->size - 1)];
        if (memcmp(slot, key, SEEN_KEY_SIZE) == 0 ||
            memcmp(slot, free_slot, SEEN_KEY_SIZE) == 0)
            return slot;
    }
}

static void grow(struct seen *seen)
{
    struct seen bigger = { .count = seen->count,
                           .size = seen->size ? seen->size * 2 : SIZE_FIRST };
    bigger.slot = mem_alloc_array(bigger.size, SEEN_KEY_SIZE);
    for (size_t i = 0; i < seen->size; i++)
        memcpy(find(&bigger, seen->slot[i]), seen->slot[i], SEEN_KEY_SIZE);
    mem_free(seen->slot);
    *seen = bigger;
}

bool seen_add(struct seen *seen, const char *kind, const char *text)
{
    uint8_t digest[SHA256_SIZE];
    AUTO_TEXT char *both = mem_print("%s\n%s", kind, text);
    digest_sha256(both, strlen(both), digest);
    if (2 * seen->count >= seen->size)
        grow(seen);
    uint8_t *slot = find(seen, digest);
    if (memcmp(slot, digest, SEEN_KEY_SIZE) == 0)
        return false;
    memcpy(slot, digest, SEEN_KEY_SIZE);
    seen->count++;
    return true;
}

void seen_release(struct seen *seen)
{
    mem_free(seen->slot);
    *seen = (struct seen){ 0 };
}
