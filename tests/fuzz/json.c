/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON: every accessor on every value; whatever is written can be read, and is the same if it
 * was UTF-8.
 */
#include "lib/base/json.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

/* `text` is what must come out; NULL: anything. */
static void check_written(const char *bytes, size_t len, const char *text)
{
    AUTO_BUF out = BUF_INIT(1 << 20);
    AUTO_JSON *again = NULL;
    struct fault fault = { 0 };
    buf_add_char(&out, '[');
    json_write_text(&out, bytes, len);
    buf_add_char(&out, ']');
    MUST_HOLD(json_parse(out.data, out.len, out.max, &again, &fault) == OK);
    MUST_HOLD(!text || strcmp(json_text(json_element(again, 0)), text) == 0);
}

static void check_text(const char *text)
{
    check_written(text, strlen(text), text);
}

static void walk(const struct json_t *value, int depth)
{
    uint64_t number = 0;
    size_t members = 0;
    MUST_HOLD(depth <= JSON_DEPTH_MAX);
    if (json_is_string(value))
        check_text(json_text(value));
    for (size_t i = 0; json_is_array(value) && i < json_count(value); i++)
        walk(json_element(value, i), depth + 1);
    for (struct json_iter it = json_iter(value); json_iter_next(&it); members++) {
        check_text(it.name);
        if (json_member_u64(value, it.name, 1000, &number) == OK)
            MUST_HOLD(number <= 1000);
        walk(it.value, depth + 1);
    }
    MUST_HOLD(!json_is_object(value) || members == json_count(value));
}

void fuzz_one(const char *bytes, size_t len)
{
    AUTO_JSON *root = NULL;
    struct fault fault = { 0 };
    if (!memchr(bytes, 0, len)) /* foreign names hold no NUL */
        check_written(bytes, len, NULL);
    if (!fuzz_accepted(json_parse(bytes, len, 1 << 16, &root, &fault), &fault))
        return;
    MUST_HOLD(json_is_array(root) || json_is_object(root));
    walk(root, 0);
}
