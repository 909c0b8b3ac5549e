/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Object keys: the bytes are a template up to the first line end, then a name. A template that
 * passes the check makes keys within the limits, of any name; and what was encoded can be told
 * back.
 */
#include "lib/s3/key.h"

#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#define DEFAULT_TEMPLATE "{prefix}{dataset}/dt={created:%Y-%m-%d}/{file_id}-{name}"

static void decode(const char *key, struct buf *name)
{
    while (*key) {
        char digits[3] = { 0 };
        if (*key != '%') {
            buf_add_char(name, *key++);
            continue;
        }
        memcpy(digits, key + 1, 2);
        buf_add_char(name, (char)strtoul(digits, NULL, 16));
        key += 3;
    }
}

static void check_encoding(const char *name)
{
    AUTO_BUF key = BUF_INIT(1 << 16), again = BUF_INIT(1 << 16);
    key_encode(&key, name);
    MUST_HOLD(key.len > 0 && !strpbrk(buf_text(&key), "/\\ ?#") && buf_text(&key)[0] != '.');
    fuzz_check_line(buf_text(&key));
    decode(buf_text(&key), &again);
    MUST_HOLD(strcmp(buf_text(&again), name) == 0);
}

static void check_key(const char *template, const char *name, bool bounded)
{
    const struct key_values values = { .prefix = "lake/",
                                       .dataset = "web",
                                       .dataset_id = name,
                                       .batch = name,
                                       .file_id = name,
                                       .name = name,
                                       .created = { 1700000000000 } };
    AUTO_BUF key = BUF_INIT(1 << 17), again = BUF_INIT(1 << 17);
    key_build(template, &values, &key);
    key_build(template, &values, &again);
    MUST_HOLD(key.len > 0 && !key.overflow && strcmp(buf_text(&key), buf_text(&again)) == 0);
    MUST_HOLD(buf_text(&key)[0] != '/' && !strstr(buf_text(&key), "//"));
    MUST_HOLD(!bounded || key.len <= S3_KEY_MAX);
}

void fuzz_one(const char *bytes, size_t len)
{
    AUTO_TEXT char *template = mem_copy_bytes(bytes, len);
    char *name = strchr(template, '\n');
    if (!name)
        return;
    *name++ = 0;
    check_encoding(name);
    check_key(DEFAULT_TEMPLATE, name, true);
    for (int for_data = 0; for_data < 2; for_data++) {
        struct fault fault = { 0 };
        if (fuzz_accepted(key_check(template, for_data, &fault), &fault))
            check_key(template, name, false); /* the operator's own text may be long */
    }
}
