/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/patience.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MINUTE 60000LL

static void test_pauses_grow_with_age_and_looks(void **state)
{
    (void)state;
    assert_int_equal(patience_look_ms(BATCH_OPEN, 0, 0), 1000);
    assert_int_equal(patience_look_ms(BATCH_OPEN, MINUTE, 9), 6000);
    assert_int_equal(patience_look_ms(BATCH_OPEN, 9000 * MINUTE, 3), 8000);
    assert_int_equal(patience_look_ms(BATCH_OPEN, 9000 * MINUTE, 99), 10 * MINUTE);
    assert_int_equal(patience_look_ms(BATCH_STALLED, 0, 0), 10 * MINUTE);
}

static void test_one_not_found_is_not_believed(void **state)
{
    (void)state;
    assert_int_equal(patience_missing_ms(1), 2000);
    assert_int_equal(patience_missing_ms(2), 4000);
    assert_int_equal(patience_missing_ms(3), -1);
}

static void test_short_listings_are_doubted_for_a_while(void **state)
{
    (void)state;
    struct listing_facts facts = { .files = 5, .expected = 5, .doubt_ms = 5 * MINUTE };
    assert_false(patience_doubts(&facts));
    facts.expected = 6;
    assert_true(patience_is_short(&facts));
    facts.shorts = 100;
    assert_true(patience_doubts(&facts)); /* it changed just now */
    facts.quiet_ms = 5 * MINUTE;
    assert_false(patience_doubts(&facts));
    facts.shorts = 1; /* long ago, but not asked often enough */
    assert_true(patience_doubts(&facts));
    facts.doubt_ms = 0;
    assert_false(patience_doubts(&facts));
}

static void test_no_file_at_all_is_not_believed_where_rows_are(void **state)
{
    (void)state;
    struct listing_facts facts = { .expected = -1, .shorts = 100, .quiet_ms = 9000 * MINUTE };
    assert_false(patience_doubts(&facts));
    facts.records = 1;
    assert_true(patience_doubts(&facts));
    facts.records = 0;
    facts.expected = 1;
    assert_false(patience_doubts(&facts)); /* its count is no reason for doubt */
    facts.doubt_ms = 1;
    assert_true(patience_doubts(&facts));
    facts.expected = -1;
    facts.listed = 1;
    assert_true(patience_doubts(&facts));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pauses_grow_with_age_and_looks),
        cmocka_unit_test(test_one_not_found_is_not_believed),
        cmocka_unit_test(test_short_listings_are_doubted_for_a_while),
        cmocka_unit_test(test_no_file_at_all_is_not_believed_where_rows_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
