/* SPDX-License-Identifier: Apache-2.0 */
/* Text forms of bytes and numbers, strict both ways. Pure. */
#ifndef SLUICE_BASE_ENCODE_H
#define SLUICE_BASE_ENCODE_H

#include "lib/base/buf.h"

/* Lower-case hex; `text` takes 2 * len + 1 bytes. */
void encode_hex(const void *bytes, size_t len, char *text);

/* Base64 with padding (RFC 4648 §4); `text` takes 4 * ((len + 2) / 3) + 1 bytes. */
void encode_base64(const void *bytes, size_t len, char *text);

/* Strict inverse; writes at most `size` bytes; ERR_ARGUMENT on anything irregular. */
enum err decode_base64(const char *text, void *bytes, size_t size, size_t *ret_len) MUST_CHECK;

/*
 * Percent-encoding (RFC 3986 §2.1) with upper-case digits. Kept: A-Z a-z 0-9 - . _ ~ and the
 * characters in `keep` ("" for a query value or path segment, "/" for a whole path).
 */
void encode_percent(struct buf *out, const char *text, size_t len, const char *keep);

/* Decimal digits only, no sign, no blank, no overflow past `max`. */
enum err parse_u64(const char *text, uint64_t max, uint64_t *ret) MUST_CHECK;

/* "64MiB", "8KiB", "1GiB", "512" (bytes). */
enum err parse_size(const char *text, uint64_t *ret_bytes) MUST_CHECK;

/* "250ms", "30s", "15m", "2h", "7d"; a bare number is refused, except "0". */
enum err parse_duration(const char *text, int64_t *ret_ms) MUST_CHECK;

/* The inverse of both, in the largest unit that divides the value. */
void print_size(struct buf *out, int64_t bytes);
void print_duration(struct buf *out, int64_t ms);

/*
 * Retry-After (RFC 9110 §10.2.3): seconds or an HTTP date, relative to `now`; negative or
 * malformed values give 0 (= not said), the result is capped at `cap_ms`.
 */
int64_t parse_retry_after(const char *text, int64_t now_ms, int64_t cap_ms);

#endif
