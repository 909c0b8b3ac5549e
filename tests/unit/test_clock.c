/* SPDX-License-Identifier: Apache-2.0 */
/* Dates: both directions at the edges of calendar and format, and monotonic arithmetic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/clock.h"

static const struct {
    const char *text;
    int64_t ms;
} date[] = {
    { "0", 0 },
    { "1706783400123", 1706783400123 },
    { "253402300799999", 253402300799999 },
    { "1970-01-01", 0 },
    { "2024-02-29", 1709164800000 },
    { "2000-02-29T00:00Z", 951782400000 },
    { "2024-02-01T10:30Z", 1706783400000 },
    { "2024-02-01T10:30:00Z", 1706783400000 },
    { "2024-02-01T10:30:59.1Z", 1706783459100 },
    { "2024-02-01T10:30:00.123Z", 1706783400123 },
    { "2024-02-01T10:30:00.123999999Z", 1706783400123 },
    { "2024-12-31T23:59:59.999Z", 1735689599999 },
    { "1969-12-31T23:59:59Z", -1000 },
};

static void dates_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof date / sizeof *date; i++) {
        struct wall at = { 7 };
        assert_int_equal(wall_parse(date[i].text, &at), OK);
        assert_true(at.ms == date[i].ms);
    }
}

static void everything_else_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "now",
        "-1",
        "+5",
        "253402300800000",
        "1000000000000000",
        "2024-02",
        "2024-2-1",
        "2024-02- 1",
        " 024-02-01",
        "+024-02-01",
        "2024-02-30",
        "2023-02-29",
        "1900-02-29",
        "2024-13-01",
        "2024-00-10",
        "2024-01-00",
        "2024-01-32",
        "2024/01/02",
        "2024-01-02 ",
        "2024-01-02Z",
        "2024-01-02T",
        "2024-01-02T10Z",
        "2024-01-02T10:30",
        "2024-01-02T 1:30Z",
        "2024-01-02T24:00Z",
        "2024-01-02T10:60Z",
        "2024-01-02T10:30.5Z",
        "2024-01-02T10:30:00",
        "2024-01-02T10:30:60Z",
        "2024-01-02T10:30:00z",
        "2024-01-02T10:30:00.Z",
        "2024-01-02T10:30:00.1234567890Z",
        "2024-01-02T10:30:00+00:00",
        "2024-01-02T10:30:00Zx",
        "2024-01-02 10:30:00Z",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct wall at = { 7 };
        assert_int_equal(wall_parse(bad[i], &at), ERR_ARGUMENT);
        assert_int_equal(at.ms, 7);
    }
}

static void text_is_the_inverse(void **state)
{
    (void)state;
    static const int64_t times[] = {
        0, -1, -1000, 999, 1706783400123, 951782399999, 253402300799999
    };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        char text[WALL_TEXT_SIZE];
        struct wall at;
        assert_int_equal(wall_parse(wall_text((struct wall){ times[i] }, text), &at), OK);
        assert_true(at.ms == times[i]);
        assert_int_equal(strlen(text), 24);
    }
    char text[WALL_TEXT_SIZE];
    assert_string_equal(wall_text((struct wall){ -1 }, text), "1969-12-31T23:59:59.999Z");
}

static void format_is_utc_and_cut(void **state)
{
    (void)state;
    char text[11] = "untouched";
    wall_format((struct wall){ 1706783400123 }, "%Y-%m-%d", text, sizeof text);
    assert_string_equal(text, "2024-02-01");
    wall_format((struct wall){ 1706783400123 }, "%Y-%m-%d %H", text, sizeof text);
    assert_string_equal(text, "");
    wall_format((struct wall){ 0 }, "%Y", NULL, 0);
}

static void http_dates_have_one_form(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun,  6 Nov 1994 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:49:37 GMT",
    };
    struct wall at = { 7 };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(wall_parse_http(bad[i], &at), ERR_ARGUMENT);
    assert_int_equal(at.ms, 7);
    assert_int_equal(wall_parse_http("Sun, 06 Nov 1994 08:49:37 GMT", &at), OK);
    assert_true(at.ms == 784111777000);
}

static void monotonic_time_adds_up(void **state)
{
    (void)state;
    struct mono at = { 5000 }, later = mono_after_ms(at, 20);
    assert_int_equal(later.us, 25000);
    assert_int_equal(mono_ms_between(at, later), 20);
    assert_int_equal(mono_ms_between(later, at), -20);
    assert_true(mono_due(at, at) && mono_due(at, later) && !mono_due(later, at));
    assert_false(mono_due(MONO_NEVER, later));
    assert_int_equal(mono_earlier(later, at).us, 5000);
    assert_int_equal(mono_earlier(at, MONO_NEVER).us, 5000);
}

static void clocks_run(void **state)
{
    (void)state;
    struct mono before = clock_mono();
    assert_true(before.us > 0);
    assert_true(clock_mono().us >= before.us);
    assert_true(clock_wall().ms > 1577836800000); /* 2020 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_are_read),
        cmocka_unit_test(everything_else_is_refused),
        cmocka_unit_test(text_is_the_inverse),
        cmocka_unit_test(format_is_utc_and_cut),
        cmocka_unit_test(http_dates_have_one_form),
        cmocka_unit_test(monotonic_time_adds_up),
        cmocka_unit_test(clocks_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
