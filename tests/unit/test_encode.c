/* SPDX-License-Identifier: Apache-2.0 */
/* Text forms: published vectors, the edges of every range, and what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/encode.h"

#define NOW_MS 784111777000 /* Sun, 06 Nov 1994 08:49:37 GMT */

static void hex_is_lower_case(void **state)
{
    (void)state;
    char text[9];
    encode_hex("\x00\xff\x0a\xb4", 4, text);
    assert_string_equal(text, "00ff0ab4");
    encode_hex("", 0, text);
    assert_string_equal(text, "");
}

static const struct {
    const char *bytes, *text;
} base64_vector[] = {
    /* RFC 4648 §10 */
    { "", "" },
    { "f", "Zg==" },
    { "fo", "Zm8=" },
    { "foo", "Zm9v" },
    { "foob", "Zm9vYg==" },
    { "fooba", "Zm9vYmE=" },
    { "foobar", "Zm9vYmFy" },
    { "\xfb\xff\xfe", "+//+" },
};

static void base64_follows_the_rfc(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof base64_vector / sizeof *base64_vector; i++) {
        char text[16], bytes[8];
        size_t len = strlen(base64_vector[i].bytes), got = 99;
        encode_base64(base64_vector[i].bytes, len, text);
        assert_string_equal(text, base64_vector[i].text);
        assert_int_equal(decode_base64(text, bytes, len, &got), OK);
        assert_int_equal(got, len);
        assert_memory_equal(bytes, base64_vector[i].bytes, len);
    }
}

static void base64_refuses_the_irregular(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Zg",   "Zg=",      "Z===", "====", "Zm9v\n", "Zm 9v===", "Zh==",
        "Zm9=", "Zg==Zg==", "=Zg=", "Zm-_", "Zm9vYg", "Zg=A",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char bytes[64];
        size_t got = 99;
        assert_int_equal(decode_base64(bad[i], bytes, sizeof bytes, &got), ERR_ARGUMENT);
        assert_int_equal(got, 99);
    }
}

static void base64_stays_in_its_room(void **state)
{
    (void)state;
    char bytes[4] = "abc";
    size_t got;
    assert_int_equal(decode_base64("Zm9v", bytes, 2, &got), ERR_ARGUMENT);
    assert_string_equal(bytes, "abc");
    assert_int_equal(decode_base64("Zm8=", bytes, 2, &got), OK);
    assert_memory_equal(bytes, "foc", 3);
}

static void percent_keeps_only_the_unreserved(void **state)
{
    (void)state;
    static const char text[] = "aZ09-._~/ +%\xc3\xa9\0=";
    AUTO_BUF out = BUF_INIT(1000);
    encode_percent(&out, text, sizeof text - 1, "");
    assert_string_equal(buf_text(&out), "aZ09-._~%2F%20%2B%25%C3%A9%00%3D");
    buf_clear(&out);
    encode_percent(&out, "a/b c\0", 6, "/");
    assert_string_equal(buf_text(&out), "a/b%20c%00");
}

static void u64_takes_digits_only(void **state)
{
    (void)state;
    uint64_t value = 7;
    static const char *const bad[] = { "",
                                       "-1",
                                       "+1",
                                       " 1",
                                       "1 ",
                                       "0x1",
                                       "1.0",
                                       "1e3",
                                       "18446744073709551616",
                                       "99999999999999999999999" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(parse_u64(bad[i], UINT64_MAX, &value), ERR_ARGUMENT);
    assert_int_equal(value, 7);
    assert_int_equal(parse_u64("18446744073709551615", UINT64_MAX, &value), OK);
    assert_true(value == UINT64_MAX);
    assert_int_equal(parse_u64("00010", 10, &value), OK);
    assert_int_equal(value, 10);
    assert_int_equal(parse_u64("11", 10, &value), ERR_ARGUMENT);
    assert_int_equal(parse_u64("0", 0, &value), OK);
}

static void sizes_have_binary_units(void **state)
{
    (void)state;
    uint64_t bytes = 7;
    static const char *const bad[] = {
        "",       "MiB",   "1 MiB", "1MB",           "1mib",
        "1.5MiB", "-1KiB", "1MiB ", "8589934592GiB", "9223372036854775808"
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(parse_size(bad[i], &bytes), ERR_ARGUMENT);
    assert_int_equal(bytes, 7);
    assert_int_equal(parse_size("512", &bytes), OK);
    assert_int_equal(bytes, 512);
    assert_int_equal(parse_size("8KiB", &bytes), OK);
    assert_int_equal(bytes, 8192);
    assert_int_equal(parse_size("64MiB", &bytes), OK);
    assert_int_equal(bytes, 64 << 20);
    assert_int_equal(parse_size("8589934591GiB", &bytes), OK);
    assert_true(bytes == 8589934591u * (1ull << 30));
}

static void durations_need_a_unit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = { { "0", 0 },        { "0s", 0 },       { "250ms", 250 },   { "30s", 30000 },
                 { "15m", 900000 }, { "2h", 7200000 }, { "7d", 604800000 } };
    static const char *const bad[] = { "",    "30",   "s",  "1 s",          "1S",
                                       "-1s", "1.5h", "1w", "106751991168d" };
    int64_t ms = 7;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(parse_duration(bad[i], &ms), ERR_ARGUMENT);
    assert_int_equal(ms, 7);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(parse_duration(good[i].text, &ms), OK);
        assert_int_equal(ms, good[i].ms);
    }
}

static void printing_is_the_inverse(void **state)
{
    (void)state;
    static const int64_t values[] = { 0,         1,     999,     1000,           1023,
                                      1024,      90000, 3600000, 86400000,       5ll << 20,
                                      1ll << 30, 1536,  1000001, 65537 * 1024ll, INT64_MAX };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        AUTO_BUF size = BUF_INIT(100), duration = BUF_INIT(100);
        uint64_t bytes;
        int64_t ms;
        print_size(&size, values[i]);
        print_duration(&duration, values[i]);
        assert_int_equal(parse_size(buf_text(&size), &bytes), OK);
        assert_int_equal(parse_duration(buf_text(&duration), &ms), OK);
        assert_true((int64_t)bytes == values[i] && ms == values[i]);
    }
    AUTO_BUF out = BUF_INIT(100);
    print_size(&out, 64 << 20);
    buf_add_char(&out, ' ');
    print_size(&out, 1536);
    buf_add_char(&out, ' ');
    print_duration(&out, 90000);
    buf_add_char(&out, ' ');
    print_duration(&out, 604800000);
    assert_string_equal(buf_text(&out), "64MiB 1536 90s 7d");
}

static void retry_after_is_capped_and_never_negative(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } row[] = {
        { "0", 0 },
        { "7", 7000 },
        { "60", 60000 },
        { "61", 60000 },
        { "99999999999999999999999", 60000 },
        { "-5", 0 },
        { "1.5", 0 },
        { "soon", 0 },
        { "", 0 },
        { "Sun, 06 Nov 1994 08:49:40 GMT", 3000 },
        { "Sun, 06 Nov 1994 08:49:37 GMT", 0 },
        { "Sun, 06 Nov 1994 08:00:00 GMT", 0 },
        { "Sun, 06 Nov 1994 23:00:00 GMT", 60000 },
        { "Sun, 06 Nov 1994 08:49:40", 0 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        assert_int_equal(parse_retry_after(row[i].text, NOW_MS, 60000), row[i].ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex_is_lower_case),
        cmocka_unit_test(base64_follows_the_rfc),
        cmocka_unit_test(base64_refuses_the_irregular),
        cmocka_unit_test(base64_stays_in_its_room),
        cmocka_unit_test(percent_keeps_only_the_unreserved),
        cmocka_unit_test(u64_takes_digits_only),
        cmocka_unit_test(sizes_have_binary_units),
        cmocka_unit_test(durations_need_a_unit),
        cmocka_unit_test(printing_is_the_inverse),
        cmocka_unit_test(retry_after_is_capped_and_never_negative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
