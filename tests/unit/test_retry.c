/* SPDX-License-Identifier: Apache-2.0 */
/* Back-off arithmetic and what becomes of failed tasks. */
#include "lib/net/retry.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void delay_is_uniform_up_to_the_limit(void **state)
{
    (void)state;
    assert_int_equal(retry_delay_ms(0, 100, 10000, 0, 0), 0);
    assert_int_equal(retry_delay_ms(0, 100, 10000, 0, 100), 100);
    assert_int_equal(retry_delay_ms(0, 100, 10000, 0, 101), 0);
    assert_int_equal(retry_delay_ms(3, 100, 10000, 0, 800), 800);
    assert_int_equal(retry_delay_ms(3, 100, 10000, 0, 801), 0);
}

static void delay_never_passes_the_cap(void **state)
{
    (void)state;
    assert_int_equal(retry_delay_ms(7, 100, 10000, 0, 10000), 10000);
    assert_int_equal(retry_delay_ms(7, 100, 10000, 0, 10001), 0);
    assert_int_equal(retry_delay_ms(INT_MAX, 1, INT64_MAX / 2, 0, 5), 5);
    assert_int_equal(retry_delay_ms(5, 20000, 10000, 0, 10000), 10000);
}

static void senseless_arguments_do_no_harm(void **state)
{
    (void)state;
    assert_int_equal(retry_delay_ms(-3, 100, 10000, 0, 100), 100);
    assert_int_equal(retry_delay_ms(3, 0, 10000, 0, 77), 0);
    assert_int_equal(retry_delay_ms(3, 100, 0, 0, 77), 0);
}

static void retry_after_is_the_least(void **state)
{
    (void)state;
    assert_int_equal(retry_delay_ms(0, 100, 10000, 60000, 50), 60000);
    assert_int_equal(retry_delay_ms(6, 1000, 100000, 500, 4000), 4000);
}

static struct retry_verdict verdict(enum err code, int attempts, int64_t retry_after_ms,
                                    uint64_t random)
{
    struct fault fault = { .code = code, .retry_after_ms = retry_after_ms };
    return retry_task(&fault, attempts, 0, random);
}

static void own_trouble_counts_and_ends_at_the_limit(void **state)
{
    (void)state;
    struct retry_verdict v = verdict(ERR_CUT, 1, 0, 2000);
    assert_true(v.count && !v.dead && v.delay_ms == 2000);
    v = verdict(ERR_CUT, RETRY_ATTEMPTS_MAX - 1, 0, 300000);
    assert_true(v.count && !v.dead && v.delay_ms == 300000);
    v = verdict(ERR_NO_UPLOAD, RETRY_ATTEMPTS_MAX, 0, 0);
    assert_true(v.count && v.dead);
}

static void trouble_of_others_never_kills_a_task(void **state)
{
    (void)state;
    for (uint64_t random = 0; random < 100000; random += 777) {
        struct retry_verdict v = verdict(ERR_SERVER, 1000, 0, random);
        assert_false(v.count || v.dead);
        assert_in_range(v.delay_ms, 250, 750);
    }
    struct fault down = { .code = ERR_SERVER };
    assert_int_equal(retry_task(&down, 1, 3, 4000).delay_ms, 4250);
    assert_int_equal(retry_task(&down, 1, 1000, 60000).delay_ms, 60250);
    assert_in_range(verdict(ERR_THROTTLED, 1, 90000, 0).delay_ms, 90000, 90750);
    assert_false(verdict(ERR_AUTH, 1000, 0, 0).dead);
}

static void hopeless_tasks_die_at_once(void **state)
{
    (void)state;
    assert_true(verdict(ERR_DIFFERS, 1, 0, 0).dead);
    assert_true(verdict(ERR_BUG, 1, 0, 0).dead);
}

static void lost_tasks_are_left_alone(void **state)
{
    (void)state;
    struct retry_verdict v = verdict(ERR_FENCED, 99, 0, 5);
    assert_false(v.dead || v.count);
    assert_int_equal(v.delay_ms, 0);
}

/* Each row of the error table gets an answer that makes sense. */
static void every_error_has_a_verdict(void **state)
{
    (void)state;
    for (int code = 0; code < ERR_COUNT; code++) {
        struct retry_verdict v = verdict((enum err)code, 3, 0, 12345);
        assert_true(v.dead || v.delay_ms >= 0);
        if (err_action((enum err)code) == ACT_WAIT)
            assert_true(v.delay_ms > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delay_is_uniform_up_to_the_limit),
        cmocka_unit_test(delay_never_passes_the_cap),
        cmocka_unit_test(senseless_arguments_do_no_harm),
        cmocka_unit_test(retry_after_is_the_least),
        cmocka_unit_test(own_trouble_counts_and_ends_at_the_limit),
        cmocka_unit_test(trouble_of_others_never_kills_a_task),
        cmocka_unit_test(hopeless_tasks_die_at_once),
        cmocka_unit_test(lost_tasks_are_left_alone),
        cmocka_unit_test(every_error_has_a_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
