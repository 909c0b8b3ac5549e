/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies of Redis: every accessor on every element; and the same replies, whether their bytes
 * come at once or in two pieces, of which the first byte says how long the first one is.
 */
#include "lib/net/redis_parts.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

static void walk(const struct redisReply *reply)
{
    const char *text = redis_reply_text(reply);
    MUST_HOLD(text[redis_reply_len(reply)] == 0);
    if (redis_reply_type(reply) == REDIS_ERROR)
        MUST_HOLD(redis_error_row(text) != OK);
    (void)redis_error_reconnects(text);
    (void)redis_reply_int(reply);
    for (size_t i = 0; i < redis_reply_count(reply); i++)
        walk(redis_reply_at(reply, i));
    MUST_HOLD(!redis_reply_at(reply, redis_reply_count(reply)));
}

/* Takes all whole replies; false after an error. */
static bool drain(struct redis_reader *reader, size_t *count)
{
    for (;; (*count)++) {
        struct redisReply *reply = NULL;
        struct fault fault = { 0 };
        if (!fuzz_accepted(redis_reader_next(reader, &reply, &fault), &fault))
            return false;
        if (!reply)
            return true;
        walk(reply);
        redis_reply_free(reply);
    }
}

static size_t read_in_two(const char *bytes, size_t len, size_t first)
{
    struct redis_reader *reader = redis_reader_new();
    struct fault fault = { 0 };
    size_t count = 0;
    if (redis_reader_feed(reader, bytes, first, &fault) == OK && drain(reader, &count) &&
        redis_reader_feed(reader, bytes + first, len - first, &fault) == OK)
        (void)drain(reader, &count);
    redis_reader_free(reader);
    return count;
}

void fuzz_one(const char *bytes, size_t len)
{
    if (len < 2)
        return;
    size_t first = (uint8_t)bytes[0] % len;
    MUST_HOLD(read_in_two(bytes + 1, len - 1, len - 1) ==
              read_in_two(bytes + 1, len - 1, first));
}
