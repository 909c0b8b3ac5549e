/* SPDX-License-Identifier: Apache-2.0 */
/* Header blocks: a Content-Range that makes sense or none, a Retry-After within its cap. */
#include "lib/net/http.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

#define HOUR_MS (60 * 60 * 1000)

void fuzz_one(const char *bytes, size_t len)
{
    struct http_req req = { .headers = BUF_INIT(1 << 16) };
    struct http_range range = { -7, -7, -7 };
    char value[32];
    buf_add(&req.headers, bytes, len);
    if (http_content_range(&req, &range) == OK) {
        MUST_HOLD(range.first >= 0 && range.last >= range.first);
        MUST_HOLD(range.total == -1 || range.last < range.total);
    } else {
        MUST_HOLD(range.first == -7); /* untouched */
    }
    int64_t wait_ms = http_retry_after(&req, (struct wall){ 1700000000000 });
    MUST_HOLD(wait_ms >= 0 && wait_ms <= HOUR_MS);
    if (http_header(&req, "X", value, sizeof value)) {
        MUST_HOLD(memchr(value, 0, sizeof value));
        MUST_HOLD(!strpbrk(value, "\n") && value[strspn(value, " \t")] == value[0]);
    }
    buf_release(&req.headers);
}
