/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a token by its own words: a time that can be reckoned with, or none. */
#include "lib/aep/jwt.h"

#include "tests/fuzz/fuzz.h"

void fuzz_one(const char *bytes, size_t len)
{
    struct wall end = { -1 };
    AUTO_TEXT char *token = mem_copy_bytes(bytes, len);
    if (jwt_expiry(token, &end))
        MUST_HOLD(end.ms >= 0 && end.ms <= INT64_MAX / 2);
    else
        MUST_HOLD(end.ms == -1);
}
