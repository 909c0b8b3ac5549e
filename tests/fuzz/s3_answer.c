/* SPDX-License-Identifier: Apache-2.0 */
/* S3's documents, as the answer to an operation that the first byte chooses. */
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/s3_fixture.h"

static const struct {
    char letter;
    enum s3_op op;
    int status;
} row[] = {
    { 'l', S3_LIST_PARTS, 200 }, { 'c', S3_COMPLETE, 200 }, { 'n', S3_CREATE, 200 },
    { 'p', S3_PUT, 503 },        { 'q', S3_PART, 404 },     { 'h', S3_HEAD, 403 },
    { 'd', S3_COMPLETE, 500 },   { 'a', S3_ABORT, 404 },    { 'g', S3_GET, 400 },
};

static void check_results(const struct s3_call *call)
{
    for (size_t i = 0; i < call->listed_count; i++) {
        const struct s3_part *part = &call->listed[i];
        MUST_HOLD(part->number >= 1 && part->number <= S3_PARTS_MAX && part->size >= 0);
        MUST_HOLD(i == 0 || part->number > call->listed[i - 1].number);
        MUST_HOLD(memchr(part->etag, 0, sizeof part->etag));
    }
    MUST_HOLD(memchr(call->etag, 0, sizeof call->etag));
    MUST_HOLD(memchr(call->new_upload_id, 0, sizeof call->new_upload_id));
}

static void answer(size_t chosen, const char *bytes, size_t len)
{
    struct fixture f = fixture_of(row[chosen].op);
    f.options.traits = all;
    begin(&f);
    buf_init(&f.attempt.req.content, 1 << 20);
    buf_add(&f.attempt.req.content, bytes, len);
    f.attempt.req.status = row[chosen].status;
    enum err err = s3_answer_read(&f.attempt, AT);
    fuzz_accepted(err, &f.call.fault);
    MUST_HOLD(err || row[chosen].status == 200 || row[chosen].op == S3_ABORT);
    MUST_HOLD(!f.attempt.more || (!err && f.attempt.marker > 0));
    check_results(&f.call);
    end(&f);
}

void fuzz_one(const char *bytes, size_t len)
{
    for (size_t i = 0; len > 0 && i < sizeof row / sizeof *row; i++)
        if (row[i].letter == bytes[0])
            answer(i, bytes + 1, len - 1);
}
