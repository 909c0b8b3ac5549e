/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all fuzz targets share. A target is one file with fuzz_one(): it hands the bytes to one
 * parser and checks what must be true of every result. libFuzzer brings main(); the bytes are in
 * memory of exactly their size. Seeds: tests/fuzz/seed/<target>/.
 */
#ifndef SLUICE_TESTS_FUZZ_H
#define SLUICE_TESTS_FUZZ_H

#include "lib/base/mem.h"

/* The target's. */
void fuzz_one(const char *bytes, size_t len);

#define MUST_HOLD(condition)                                                                   \
    do {                                                                                       \
        if (!(condition))                                                                      \
            fuzz_fail(#condition, __FILE__, __LINE__);                                         \
    } while (0)
_Noreturn void fuzz_fail(const char *condition, const char *file, int line);

/* One line of printable ASCII. */
void fuzz_check_line(const char *text);
/* A parser that fails says so in its fault, too, with a sentence; true if it did not fail. */
bool fuzz_accepted(enum err err, const struct fault *fault);

/* libFuzzer's */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#endif
