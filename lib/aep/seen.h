/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which rows and cursors a listing has shown already. Foreign names are kept as 16 bytes of
 * their SHA-256 each, whatever their length: 100 000 files cost 4 MiB.
 */
#ifndef SLUICE_AEP_SEEN_H
#define SLUICE_AEP_SEEN_H

#include "lib/base/err.h"

#define SEEN_KEY_SIZE 16

struct seen {
    uint8_t (*slot)[SEEN_KEY_SIZE]; /* open addressing; all zero = free */
    size_t count, size;             /* size is a power of two, at most half of it used */
};

/* True if (kind, text) was not there yet. A zeroed struct is empty. */
bool seen_add(struct seen *seen, const char *kind, const char *text);
void seen_release(struct seen *seen);

#endif
