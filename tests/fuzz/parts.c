/* SPDX-License-Identifier: Apache-2.0 */
/* Records of stored parts, as Redis hands them back: what is read, writes and reads the same. */
#include "daemon/parts.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

void fuzz_one(const char *bytes, size_t len)
{
    struct s3_part part = { .number = -7 }, again = { .number = -7 };
    AUTO_TEXT char *text = mem_copy_bytes(bytes, len);
    AUTO_BUF out = BUF_INIT(1024);
    if (parts_read(text, &part)) {
        MUST_HOLD(part.number == -7); /* untouched */
        return;
    }
    MUST_HOLD(part.size >= 0 && part.has_crc32c && part.etag[0]);
    parts_write(&part, &out);
    MUST_HOLD(parts_read(buf_text(&out), &again) == OK);
    MUST_HOLD(again.size == part.size && again.crc32c == part.crc32c);
    MUST_HOLD(strcmp(again.etag, part.etag) == 0);
}
