/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of a file's ends, and files cut into pieces: the verdict does not depend on the cut. The
 * first byte says which form and where to cut.
 */
#include "daemon/content.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

static void fuzz_record(const char *bytes, size_t len)
{
    struct content_ends ends = { .head_seen = 77 };
    AUTO_TEXT char *text = mem_copy_bytes(bytes, len);
    AUTO_BUF out = BUF_INIT(100);
    if (content_read(text, &ends)) {
        MUST_HOLD(ends.head_seen == 77); /* untouched */
        return;
    }
    content_write(&ends, &out);
    MUST_HOLD(strcmp(buf_text(&out), text) == 0);
}

static void fuzz_verdict(enum content_form form, size_t cut, const char *bytes, size_t len)
{
    struct content_ends whole = { .head_seen = 0 }, cut_up = whole;
    struct fault fault = { .code = OK }, other = fault;
    int64_t first, last, length = (int64_t)len;
    content_note(&whole, length, 0, bytes, len);
    content_note(&cut_up, length, (int64_t)cut, bytes + cut, len - cut);
    while (content_missing(&cut_up, form, length, &first, &last)) {
        MUST_HOLD(first >= 0 && first <= last && last < (int64_t)cut);
        MUST_HOLD(
            content_note(&cut_up, length, first, bytes + first, (size_t)(last - first + 1)));
    }
    enum err err = content_judge(&whole, form, "a\nb", length, &fault);
    MUST_HOLD(err == content_judge(&cut_up, form, "a\nb", length, &other));
    MUST_HOLD(fuzz_accepted(err, &fault) == fuzz_accepted(err, &other));
}

void fuzz_one(const char *bytes, size_t len)
{
    fuzz_record(bytes, len);
    if (len < 2)
        return;
    uint8_t how = (uint8_t)bytes[0];
    enum content_form form = how & 1 ? FORM_PARQUET : FORM_LINES;
    fuzz_verdict(form, (how >> 1) % len, bytes + 1, len - 1);
}
