/* SPDX-License-Identifier: Apache-2.0 */
/* Error bodies of AEP, or of whatever stands in between: always one line that fits. */
#include "lib/aep/aep.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

void fuzz_one(const char *bytes, size_t len)
{
    static const size_t size[] = { 1, 2, 40, 232 };
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        char *text = mem_alloc(size[i]);
        memset(text, 'x', size[i]);
        aep_error_text(bytes, len, text, size[i]);
        MUST_HOLD(memchr(text, 0, size[i]));
        fuzz_check_line(text);
        mem_free(text);
    }
}
