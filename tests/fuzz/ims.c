/* SPDX-License-Identifier: Apache-2.0 */
/* Token answers: a token that can be a header, a life that is positive; no token in a fault. */
#include "lib/aep/ims.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

void fuzz_one(const char *bytes, size_t len)
{
    AUTO(secret_release) struct secret token = { 0 };
    struct fault fault = { 0 };
    int64_t life_ms = 0;
    if (!fuzz_accepted(ims_parse(bytes, len, &token, &life_ms, &fault), &fault)) {
        MUST_HOLD(!secret_reveal(&token) && !strstr(fault.text, "eyJ"));
        return;
    }
    MUST_HOLD(life_ms > 0);
    MUST_HOLD(token.len > 0 && strlen(secret_reveal(&token)) == token.len);
    fuzz_check_line(secret_reveal(&token));
}
