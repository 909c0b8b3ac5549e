/* SPDX-License-Identifier: Apache-2.0 */
/* JSON: limits of the parser, types that are not what we expect, and the writer's escapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/json.h"

#define LIMIT 100000

static struct json_t *parse(const char *text)
{
    struct json_t *value = NULL;
    struct fault fault = { 0 };
    assert_int_equal(json_parse(text, strlen(text), LIMIT, &value, &fault), OK);
    return value;
}

static void assert_refused(const char *text, size_t len, enum err expected)
{
    struct json_t *value = NULL;
    struct fault fault = { 0 };
    assert_int_equal(json_parse(text, len, LIMIT, &value, &fault), expected);
    assert_int_equal(fault.code, expected);
    assert_true(strlen(fault.text) > 10);
    assert_null(value);
}

static void malformed_text_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "1",
        "\"text\"",
        "null",
        "{",
        "[1,]",
        "{} {}",
        "{\"a\":1,\"a\":2}",
        "[01]",
        "[NaN]",
        "['a']",
        "[\"\xff\"]",
        "[\"\\ud800\"]",
        "[99999999999999999999]",
        "[\"a\\u0000b\"]",
        "[\"line\nbreak\"]",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused(bad[i], strlen(bad[i]), ERR_BAD_RESPONSE);
    assert_refused("{}\0", 3, ERR_BAD_RESPONSE);
}

static void length_is_limited(void **state)
{
    (void)state;
    struct json_t *value = NULL;
    struct fault fault = { 0 };
    assert_int_equal(json_parse("[1]", 3, 2, &value, &fault), ERR_TOO_BIG);
    assert_null(value);
    assert_int_equal(json_parse("[1]", 3, 3, &value, &fault), OK);
    json_release(&value);
    assert_null(value);
}

static void nest(struct buf *out, size_t depth)
{
    for (size_t i = 0; i < depth; i++)
        buf_add_text(out, i % 2 ? "{\"k\":" : "[");
    buf_add_text(out, "1");
    for (size_t i = depth; i-- > 0;)
        buf_add_text(out, i % 2 ? "}" : "]");
}

static void depth_is_limited(void **state)
{
    (void)state;
    AUTO_BUF text = BUF_INIT(LIMIT);
    nest(&text, JSON_DEPTH_MAX);
    AUTO_JSON *value = parse(buf_text(&text));
    assert_true(json_is_array(value));
    buf_clear(&text);
    nest(&text, JSON_DEPTH_MAX + 1);
    assert_refused(text.data, text.len, ERR_BAD_RESPONSE);
}

static void brackets_in_strings_are_no_depth(void **state)
{
    (void)state;
    AUTO_BUF text = BUF_INIT(LIMIT);
    buf_add_text(&text, "[\"\\\\\",\"\\\"");
    for (size_t i = 0; i < 100; i++)
        buf_add_text(&text, "[{");
    buf_add_text(&text, "\"]");
    AUTO_JSON *value = parse(buf_text(&text));
    assert_int_equal(json_count(value), 2);
    assert_string_equal(json_text(json_element(value, 0)), "\\");
}

static void siblings_are_no_depth(void **state)
{
    (void)state;
    AUTO_BUF text = BUF_INIT(LIMIT);
    buf_add_text(&text, "[{}");
    for (size_t i = 0; i < 1000; i++)
        buf_add_text(&text, ",[{}]");
    buf_add_text(&text, "]");
    AUTO_JSON *value = parse(buf_text(&text));
    assert_int_equal(json_count(value), 1001);
}

static void getters_accept_anything(void **state)
{
    (void)state;
    AUTO_JSON *value =
        parse("{\"o\":{\"x\":1},\"a\":[5,null],\"s\":\"t\",\"n\":null,\"b\":true}");
    assert_null(json_member(NULL, "o"));
    assert_null(json_element(NULL, 0));
    assert_null(json_text(NULL));
    assert_null(json_member_text(NULL, "o"));
    assert_int_equal(json_count(NULL), 0);
    assert_false(json_is_object(NULL) || json_is_array(NULL) || json_is_string(NULL));

    assert_null(json_member(value, "missing"));
    assert_null(json_member(value, "n"));
    assert_null(json_element(value, 0));
    assert_null(json_element(json_member(value, "a"), 1));
    assert_null(json_element(json_member(value, "a"), 2));
    assert_null(json_member(json_member(value, "a"), "o"));
    assert_null(json_member_text(value, "b"));
    assert_string_equal(json_member_text(value, "s"), "t");
    assert_int_equal(json_count(value), 5);
    assert_int_equal(json_count(json_member(value, "a")), 2);
    assert_int_equal(json_count(json_member(value, "s")), 0);
    assert_true(json_is_object(json_member(value, "o")));
    assert_true(json_is_string(json_member(value, "s")));
}

static void numbers_come_as_integer_or_text(void **state)
{
    (void)state;
    AUTO_JSON *value =
        parse("{\"i\":120,\"s\":\"120\",\"z\":0,\"neg\":-1,\"real\":1.0,\"b\":true,"
              "\"sneg\":\"-1\",\"empty\":\"\",\"hex\":\"0x1\",\"null\":null,"
              "\"max\":9223372036854775807,\"smax\":\"18446744073709551615\"}");
    static const char *const bad[] = { "neg", "real", "b", "sneg", "empty", "hex" };
    uint64_t n = 7;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(json_member_u64(value, bad[i], UINT64_MAX, &n), ERR_BAD_RESPONSE);
    assert_int_equal(json_member_u64(value, "missing", 9, &n), ERR_NOT_FOUND);
    assert_int_equal(json_member_u64(value, "null", 9, &n), ERR_NOT_FOUND);
    assert_int_equal(json_member_u64(NULL, "i", 9, &n), ERR_NOT_FOUND);
    assert_int_equal(json_member_u64(value, "i", 119, &n), ERR_BAD_RESPONSE);
    assert_int_equal(json_member_u64(value, "s", 119, &n), ERR_BAD_RESPONSE);
    assert_int_equal(n, 7);
    assert_int_equal(json_member_u64(value, "i", 120, &n), OK);
    assert_int_equal(n, 120);
    assert_int_equal(json_member_u64(value, "z", 120, &n), OK);
    assert_int_equal(n, 0);
    assert_int_equal(json_member_u64(value, "s", 120, &n), OK);
    assert_int_equal(n, 120);
    assert_int_equal(json_member_u64(value, "max", INT64_MAX, &n), OK);
    assert_true(n == INT64_MAX);
    assert_int_equal(json_member_u64(value, "smax", UINT64_MAX, &n), OK);
    assert_true(n == UINT64_MAX);
}

static void iteration_keeps_the_order(void **state)
{
    (void)state;
    AUTO_JSON *value = parse("{\"z\":1,\"a\":null,\"m\":[],\"b\":\"x\"}");
    AUTO_BUF names = BUF_INIT(100);
    for (struct json_iter it = json_iter(value); json_iter_next(&it);) {
        assert_non_null(it.value);
        buf_add_text(&names, it.name);
    }
    assert_string_equal(buf_text(&names), "zamb");
    struct json_iter array = json_iter(json_member(value, "m")), none = json_iter(NULL);
    assert_false(json_iter_next(&array) || json_iter_next(&none));
}

static const struct {
    const char *bytes;
    size_t len;
    const char *text;
} written[] = {
    { "", 0, "\"\"" },
    { "plain / text", 12, "\"plain / text\"" },
    { "\"\\\b\f\n\r\t", 7, "\"\\\"\\\\\\b\\f\\n\\r\\t\"" },
    { "\0\x1f\x7f", 3, "\"\\u0000\\u001f\\u007f\"" },
    { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
    /* lone continuation, overlong forms, a surrogate, above U+10FFFF, cut at the end */
    { "\x80", 1, "\"\xef\xbf\xbd\"" },
    { "\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
    { "\xe0\x9f\xbf", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
    { "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
    { "\xf4\x90\x80\x80", 4, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
    { "a\xe2\x82", 3, "\"a\xef\xbf\xbd\xef\xbf\xbd\"" },
    { "\xe2\x82x", 3, "\"\xef\xbf\xbd\xef\xbf\xbdx\"" },
};

static void writing_escapes_and_repairs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
        AUTO_BUF out = BUF_INIT(1000);
        json_write_text(&out, written[i].bytes, written[i].len);
        assert_string_equal(buf_text(&out), written[i].text);
    }
}

static void what_is_written_can_be_read(void **state)
{
    (void)state;
    for (unsigned c = 1; c < 256; c++) {
        AUTO_BUF out = BUF_INIT(1000);
        char bytes[2] = { (char)c, 'x' };
        buf_add_char(&out, '[');
        json_write_text(&out, bytes, sizeof bytes);
        buf_add_char(&out, ']');
        AUTO_JSON *value = parse(buf_text(&out));
        const char *text = json_text(json_element(value, 0));
        if (c < 0x80)
            assert_memory_equal(text, bytes, 2);
        else
            assert_string_equal(text, "\xef\xbf\xbdx");
    }
}

static void values_are_written_as_they_were(void **state)
{
    (void)state;
    static const char text[] = "{\"b\":[1,2.5,true,null,\"\u00e9\\n\"],\"a\":{}}";
    AUTO_JSON *value = parse(text);
    AUTO_BUF out = BUF_INIT(1000);
    json_write(&out, value);
    assert_string_equal(buf_text(&out), text);
    buf_clear(&out);
    json_write(&out, json_element(json_member(value, "b"), 4));
    json_write(&out, NULL);
    assert_string_equal(buf_text(&out), "\"\u00e9\\n\"null");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_text_is_refused),
        cmocka_unit_test(length_is_limited),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(brackets_in_strings_are_no_depth),
        cmocka_unit_test(siblings_are_no_depth),
        cmocka_unit_test(getters_accept_anything),
        cmocka_unit_test(numbers_come_as_integer_or_text),
        cmocka_unit_test(iteration_keeps_the_order),
        cmocka_unit_test(writing_escapes_and_repairs),
        cmocka_unit_test(what_is_written_can_be_read),
        cmocka_unit_test(values_are_written_as_they_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
