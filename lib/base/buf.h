/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growable bytes with a stated maximum. Once an append would pass the maximum the buffer is
 * marked `overflow`, keeps what it had and ignores further appends: check once, at the end.
 * The content is always followed by a 0 byte. AUTO_BUF releases a local at the end of scope.
 */
#ifndef SLUICE_BASE_BUF_H
#define SLUICE_BASE_BUF_H

#include "lib/base/mem.h"

struct buf {
    char *data; /* NULL while empty; use buf_text() to read it as text */
    size_t len, size, max;
    bool overflow;
};

/* clang-format off */
#define BUF_INIT(limit) { .max = (limit) }
/* clang-format on */
#define AUTO_BUF AUTO(buf_release) struct buf

void buf_init(struct buf *buf, size_t max);
void buf_release(struct buf *buf);
void buf_clear(struct buf *buf); /* keeps the memory */

void buf_add(struct buf *buf, const void *bytes, size_t len);
void buf_add_text(struct buf *buf, const char *text);
void buf_add_char(struct buf *buf, char c);
void buf_print(struct buf *buf, const char *format, ...) PRINTF(2, 3);

/* Drops `len` bytes from the front. */
void buf_consume(struct buf *buf, size_t len);

const char *buf_text(const struct buf *buf); /* "" while empty */

/* Hands the memory to the caller (free with mem_free) and empties the buffer. Never NULL. */
char *buf_take(struct buf *buf);

#endif
