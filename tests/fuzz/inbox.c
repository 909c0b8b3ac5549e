/* SPDX-License-Identifier: Apache-2.0 */
/* Operators' commands: words lie in the storage, and are neither too few nor too many. */
#include "daemon/inbox.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

void fuzz_one(const char *bytes, size_t len)
{
    const char *word[INBOX_WORDS];
    size_t words = 0;
    struct fault fault = { 0 };
    AUTO_BUF storage = { 0 };
    AUTO_TEXT char *text = mem_copy_bytes(bytes, len); /* list elements come with a 0 behind */
    if (!fuzz_accepted(inbox_parse(text, len, &storage, word, &words, &fault), &fault))
        return;
    MUST_HOLD(words >= 2 && words <= INBOX_WORDS && !storage.overflow);
    for (size_t i = 0; i < words; i++) {
        MUST_HOLD(word[i] >= storage.data);
        MUST_HOLD(word[i] + strlen(word[i]) <= storage.data + storage.len);
    }
}
