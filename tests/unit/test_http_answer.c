/* SPDX-License-Identifier: Apache-2.0 */
/* What an HTTP answer says: header lookup, Content-Range, Retry-After, error rows. */
#include "lib/net/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static struct http_req answer;

static void set_headers(const char *text)
{
    buf_release(&answer.headers);
    buf_init(&answer.headers, 4096);
    buf_add_text(&answer.headers, text);
}

static int tear_down(void **state)
{
    (void)state;
    http_req_release(&answer);
    return 0;
}

static void expect_header(const char *name, const char *expected)
{
    char value[16];
    assert_true(http_header(&answer, name, value, sizeof value));
    assert_string_equal(value, expected);
}

static void expect_no_header(const char *name)
{
    char value[16] = "untouched";
    assert_false(http_header(&answer, name, value, sizeof value));
    assert_string_equal(value, "untouched");
}

static void headers_are_found_by_name(void **state)
{
    (void)state;
    set_headers("Content-Length: 5\r\nETag:\"a\"\r\nX-A: first\r\nX-A: second\r\nX-Empty:\r\n"
                "X-Wide:\t  wide  \t\r\nX-Colon: a:b\r\nLast: x");
    expect_header("content-length", "5");
    expect_header("etag", "\"a\"");
    expect_header("X-A", "first");
    expect_header("x-empty", "");
    expect_header("X-Wide", "wide");
    expect_header("X-Colon", "a:b");
    expect_header("LAST", "x");
    expect_no_header("X");
    expect_no_header("Content");
    expect_no_header("");
}

static void header_must_fit(void **state)
{
    (void)state;
    set_headers("A: 123456789012345\r\nB: 1234567890123456\r\n");
    expect_header("A", "123456789012345");
    expect_no_header("B");
}

static void no_headers_at_all(void **state)
{
    (void)state;
    buf_release(&answer.headers);
    expect_no_header("A");
    set_headers("");
    expect_no_header("A");
    set_headers("\r\n:\r\nA\r\n");
    expect_no_header("A");
}

static void expect_range(const char *text, int64_t first, int64_t last, int64_t total)
{
    struct http_range range;
    set_headers("Content-Range: ");
    buf_add_text(&answer.headers, text);
    assert_int_equal(http_content_range(&answer, &range), OK);
    assert_int_equal(range.first, first);
    assert_int_equal(range.last, last);
    assert_int_equal(range.total, total);
}

static void content_range_is_parsed(void **state)
{
    (void)state;
    expect_range("bytes 0-0/1\r\n", 0, 0, 1);
    expect_range("bytes 5-9/100\r\n", 5, 9, 100);
    expect_range("Bytes 5-9/*\r\n", 5, 9, -1);
    expect_range(" bytes 0-9223372036854775806/9223372036854775807 \r\n", 0, INT64_MAX - 1,
                 INT64_MAX);
}

static void malformed_content_range_is_refused(void **state)
{
    (void)state;
    static const char *const text[] = {
        "",
        "bytes",
        "bytes ",
        "bytes */100",
        "bytes 0-9",
        "bytes 0-9/",
        "bytes 9-0/100",
        "bytes 0-100/100",
        "bytes -1-9/100",
        "bytes +1-9/100",
        "bytes 0 - 9/100",
        "bytes 0-9/100x",
        "bytes 0-9/100, 20-29/100",
        "bytes 0-9/**",
        "bytes 0x0-9/100",
        "items 0-9/100",
        "bytes=0-9/100",
        "bytes 0-9223372036854775808/*",
        "bytes 0-99999999999999999999999999999999999999/*",
    };
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        struct http_range range = { 7, 7, 7 };
        set_headers("Content-Range: ");
        buf_add_text(&answer.headers, text[i]);
        assert_int_equal(http_content_range(&answer, &range), ERR_BAD_RESPONSE);
        assert_int_equal(range.first, 7);
    }
}

static void absent_content_range_is_not_found(void **state)
{
    (void)state;
    struct http_range range;
    set_headers("Content-Length: 5\r\n");
    assert_int_equal(http_content_range(&answer, &range), ERR_NOT_FOUND);
}

static int64_t retry_after(const char *headers)
{
    set_headers(headers);
    return http_retry_after(&answer, (struct wall){ 1700000000000 }); /* 22:13:20 UTC */
}

static void retry_after_is_read_and_capped(void **state)
{
    (void)state;
    assert_int_equal(retry_after(""), 0);
    assert_int_equal(retry_after("Retry-After: 30\r\n"), 30000);
    assert_int_equal(retry_after("Retry-After: 0\r\n"), 0);
    assert_int_equal(retry_after("Retry-After: 300\r\n"), 300000);
    assert_int_equal(retry_after("Retry-After: 301\r\n"), 300000);
    assert_int_equal(retry_after("Retry-After: 86400\r\n"), 300000);
    assert_int_equal(retry_after("Retry-After: 99999999999999999999999\r\n"), 300000);
    assert_int_equal(retry_after("Retry-After: -5\r\n"), 0);
    assert_int_equal(retry_after("Retry-After: soon\r\n"), 0);
    assert_int_equal(retry_after("Retry-After: Tue, 14 Nov 2023 22:13:50 GMT\r\n"), 30000);
    assert_int_equal(retry_after("Retry-After: Tue, 14 Nov 2023 22:13:00 GMT\r\n"), 0);
    assert_int_equal(retry_after("Retry-After: Fri, 14 Nov 2098 22:13:00 GMT\r\n"), 300000);
}

/* Whoever answers may have another clock than we. */
static void retry_after_counts_from_the_answers_own_date(void **state)
{
    (void)state;
    static const char late[] = "Retry-After: Sat, 01 Jan 2000 00:00:07 GMT\r\n";
    AUTO_TEXT char *dated = mem_print("Date: Sat, 01 Jan 2000 00:00:00 GMT\r\n%s", late);
    AUTO_TEXT char *odd = mem_print("Date: yesterday\r\n%s", late);
    assert_int_equal(retry_after(dated), 7000);
    assert_int_equal(retry_after(late), 0);
    assert_int_equal(retry_after(odd), 0);
    assert_int_equal(retry_after("Date: Sat, 01 Jan 2000 00:00:00 GMT\r\nRetry-After: 30\r\n"),
                     30000);
}

static void status_maps_to_its_row(void **state)
{
    (void)state;
    static const struct {
        int status;
        enum err code;
    } row[] = {
        { 200, OK },
        { 206, OK },
        { 299, OK },
        { 301, ERR_REDIRECT },
        { 304, ERR_REDIRECT },
        { 400, ERR_REQUEST },
        { 401, ERR_AUTH },
        { 403, ERR_DENIED },
        { 404, ERR_NOT_FOUND },
        { 408, ERR_TIMEOUT },
        { 409, ERR_CONFLICT },
        { 410, ERR_NOT_FOUND },
        { 412, ERR_EXISTS },
        { 416, ERR_BAD_RESPONSE },
        { 429, ERR_THROTTLED },
        { 499, ERR_REQUEST },
        { 500, ERR_SERVER },
        { 502, ERR_SERVER },
        { 503, ERR_THROTTLED },
        { 504, ERR_SERVER },
        { 0, ERR_BAD_RESPONSE },
        { -1, ERR_BAD_RESPONSE },
        { 101, ERR_BAD_RESPONSE },
        { 600, ERR_BAD_RESPONSE },
        { 999, ERR_BAD_RESPONSE },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        assert_string_equal(err_name(http_status_err(row[i].status)), err_name(row[i].code));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_found_by_name),
        cmocka_unit_test(header_must_fit),
        cmocka_unit_test(no_headers_at_all),
        cmocka_unit_test(content_range_is_parsed),
        cmocka_unit_test(malformed_content_range_is_refused),
        cmocka_unit_test(absent_content_range_is_not_found),
        cmocka_unit_test(retry_after_is_read_and_capped),
        cmocka_unit_test(retry_after_counts_from_the_answers_own_date),
        cmocka_unit_test(status_maps_to_its_row),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
