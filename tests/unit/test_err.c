/* SPDX-License-Identifier: Apache-2.0 */
/* The error table: complete, names unique and stable in form, faults cut and cleaned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/err.h"

static void every_row_is_complete(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ERR_COUNT; i++) {
        const char *name = err_name(i);
        assert_true(strlen(name) > 1 && strlen(err_text(i)) > 5);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz-"), strlen(name));
        assert_true(err_action(i) <= ACT_BUG);
        assert_int_equal(err_action(i) == ACT_NONE, i == OK);
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(name, err_name(j));
    }
}

static void decisions_of_the_table(void **state)
{
    (void)state;
    assert_int_equal(err_action(ERR_THROTTLED), ACT_WAIT);
    assert_int_equal(err_action(ERR_CUT), ACT_RETRY);
    assert_int_equal(err_action(ERR_AUTH), ACT_TOKEN);
    assert_int_equal(err_action(ERR_NO_UPLOAD), ACT_RESTART);
    assert_int_equal(err_action(ERR_REQUEST), ACT_GIVE_UP);
    assert_int_equal(err_action(ERR_FENCED), ACT_DROP);
    assert_int_equal(err_action(ERR_BUG), ACT_BUG);
}

static void foreign_numbers_are_bugs(void **state)
{
    (void)state;
    assert_string_equal(err_name(ERR_COUNT), "unknown");
    assert_string_equal(err_text((enum err)9999), "unknown error");
    assert_int_equal(err_action((enum err)9999), ACT_BUG);
}

static void faults_keep_status_and_clean_text(void **state)
{
    (void)state;
    struct fault fault = { .http_status = 503, .retry_after_ms = 7 };
    assert_int_equal(fault_set(&fault, ERR_SERVER, "a%sb %d", "\r\n\x7f\xc3\xa9", 5),
                     ERR_SERVER);
    assert_int_equal(fault.code, ERR_SERVER);
    assert_string_equal(fault.text, "a?????b 5");
    assert_int_equal(fault.http_status, 503);
    assert_int_equal(fault.retry_after_ms, 7);
}

static void faults_are_cut(void **state)
{
    (void)state;
    struct fault fault = { 0 };
    fault_set(&fault, ERR_IO, "%0500d", 1);
    assert_int_equal(strlen(fault.text), sizeof fault.text - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_complete),
        cmocka_unit_test(decisions_of_the_table),
        cmocka_unit_test(foreign_numbers_are_bugs),
        cmocka_unit_test(faults_keep_status_and_clean_text),
        cmocka_unit_test(faults_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
