/* SPDX-License-Identifier: Apache-2.0 */
/* What stands between libFuzzer and the targets. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/digest.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    digest_init();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    fuzz_one((const char *)bytes, len);
    return 0;
}

void fuzz_fail(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}

void fuzz_check_line(const char *text)
{
    for (; *text; text++)
        MUST_HOLD(*text >= 0x20 && *text < 0x7f);
}

bool fuzz_accepted(enum err err, const struct fault *fault)
{
    if (err == OK)
        return true;
    MUST_HOLD(fault->code == err && fault->text[0]);
    fuzz_check_line(fault->text);
    return false;
}
