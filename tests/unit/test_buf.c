/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers: growth, the maximum, and what stays after it was passed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/buf.h"

static void empty_buffers_read_as_text(void **state)
{
    (void)state;
    AUTO_BUF buf = BUF_INIT(10);
    assert_string_equal(buf_text(&buf), "");
    buf_add(&buf, NULL, 0);
    assert_string_equal(buf_text(&buf), "");
    buf_clear(&buf);
    buf_consume(&buf, 5);
    assert_int_equal(buf.len, 0);
}

static void appending_grows(void **state)
{
    (void)state;
    AUTO_BUF buf = BUF_INIT(5000);
    for (int i = 0; i < 1000; i++)
        buf_print(&buf, "%04d", i);
    buf_add_text(&buf, "ab");
    buf_add_char(&buf, 'c');
    buf_add(&buf, "d\0e", 3);
    assert_false(buf.overflow);
    assert_int_equal(buf.len, 4006);
    assert_memory_equal(buf.data + 3996, "0999abcd\0e", 11);
    assert_memory_equal(buf.data, "00000001", 8);
}

static void the_maximum_is_exact(void **state)
{
    (void)state;
    AUTO_BUF buf = BUF_INIT(4);
    buf_add_text(&buf, "abcd");
    assert_false(buf.overflow);
    buf_add_char(&buf, 'e');
    assert_true(buf.overflow);
    assert_string_equal(buf_text(&buf), "abcd");
}

/* A shorter text after the overflow would make a result with a hole. */
static void overflow_stays_until_cleared(void **state)
{
    (void)state;
    AUTO_BUF buf = BUF_INIT(4);
    buf_add_text(&buf, "ab");
    buf_print(&buf, "%d", 12345);
    assert_true(buf.overflow);
    buf_add_char(&buf, 'c');
    assert_string_equal(buf_text(&buf), "ab");
    buf_clear(&buf);
    buf_print(&buf, "%d", 1234);
    assert_false(buf.overflow);
    assert_string_equal(buf_text(&buf), "1234");
}

static void huge_lengths_do_not_wrap(void **state)
{
    (void)state;
    AUTO_BUF buf = BUF_INIT(100);
    buf_add_text(&buf, "x");
    buf_add(&buf, "y", SIZE_MAX);
    assert_true(buf.overflow);
    assert_string_equal(buf_text(&buf), "x");
}

static void consuming_moves_the_rest(void **state)
{
    (void)state;
    AUTO_BUF buf = BUF_INIT(100);
    buf_add_text(&buf, "headbody");
    buf_consume(&buf, 4);
    assert_string_equal(buf_text(&buf), "body");
    buf_add_text(&buf, "!");
    buf_consume(&buf, 0);
    assert_string_equal(buf_text(&buf), "body!");
    buf_consume(&buf, 99);
    assert_int_equal(buf.len, 0);
    assert_string_equal(buf_text(&buf), "");
}

static void taking_leaves_an_empty_buffer(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 50);
    AUTO_TEXT char *nothing = buf_take(&buf);
    assert_string_equal(nothing, "");
    buf_add_text(&buf, "text");
    AUTO_TEXT char *text = buf_take(&buf);
    assert_string_equal(text, "text");
    assert_null(buf.data);
    assert_int_equal(buf.len, 0);
    buf_add_text(&buf, "again");
    assert_string_equal(buf_text(&buf), "again");
    buf_release(&buf);
    buf_release(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_buffers_read_as_text),
        cmocka_unit_test(appending_grows),
        cmocka_unit_test(the_maximum_is_exact),
        cmocka_unit_test(overflow_stays_until_cleared),
        cmocka_unit_test(huge_lengths_do_not_wrap),
        cmocka_unit_test(consuming_moves_the_rest),
        cmocka_unit_test(taking_leaves_an_empty_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
