/* SPDX-License-Identifier: Apache-2.0 */
/* Token bucket and adaptive window, with time by argument. */
#include "lib/net/ratelimit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct mono start = { 1000000000 };

static struct mono at(int64_t ms)
{
    return mono_after_ms(start, ms);
}

static int64_t next_ms(const struct ratelimit *limit, int64_t now_ms)
{
    return mono_ms_between(start, ratelimit_next(limit, at(now_ms)));
}

static void take(struct ratelimit *limit, int count, int64_t ms)
{
    while (count-- > 0) {
        assert_true(ratelimit_room(limit, at(ms)) > 0);
        ratelimit_take(limit, at(ms));
    }
}

static void good(struct ratelimit *limit, int count, int64_t ms)
{
    while (count-- > 0)
        ratelimit_done(limit, RATELIMIT_GOOD, 0, at(ms), at(ms));
}

static void no_limit_means_the_window_only(void **state)
{
    (void)state;
    struct ratelimit limit;
    ratelimit_init(&limit, 0, 0, 4, 16, start);
    assert_int_equal(ratelimit_room(&limit, at(0)), 4);
    take(&limit, 4, 0);
    assert_int_equal(ratelimit_room(&limit, at(1000000)), 0);
    assert_int_equal(ratelimit_next(&limit, at(0)).us, MONO_NEVER.us);
}

static void tokens_refill_at_the_rate_up_to_the_burst(void **state)
{
    (void)state;
    struct ratelimit limit;
    ratelimit_init(&limit, 10, 3, 100, 100, start);
    take(&limit, 3, 0);
    assert_int_equal(ratelimit_room(&limit, at(0)), 0);
    assert_int_equal(ratelimit_room(&limit, at(99)), 0);
    assert_int_equal(next_ms(&limit, 0), 100);
    assert_int_equal(ratelimit_room(&limit, at(100)), 1);
    assert_int_equal(ratelimit_room(&limit, at(250)), 2);
    assert_int_equal(ratelimit_room(&limit, at(3600000)), 3);
    assert_int_equal(next_ms(&limit, 250), 250);
}

static void next_is_never_too_early_or_much_too_late(void **state)
{
    (void)state;
    struct ratelimit limit;
    struct mono now = start;
    ratelimit_init(&limit, 7, 1, 1000, 1000, now);
    for (int i = 0; i < 700; i++) {
        now = ratelimit_next(&limit, now);
        assert_int_equal(ratelimit_room(&limit, now), 1);
        ratelimit_take(&limit, now);
    }
    assert_in_range(mono_ms_between(start, now), 699 * 1000 / 7, 699 * 1000 / 7 + 2);
}

static void burst_below_one_still_lets_one_through(void **state)
{
    (void)state;
    struct ratelimit limit;
    ratelimit_init(&limit, 0.5, 0, 1, 1, start);
    take(&limit, 1, 0);
    good(&limit, 1, 0);
    assert_int_equal(ratelimit_room(&limit, at(1999)), 0);
    assert_int_equal(ratelimit_room(&limit, at(2000)), 1);
}

static void time_that_runs_backwards_takes_nothing_away(void **state)
{
    (void)state;
    struct ratelimit limit;
    ratelimit_init(&limit, 10, 2, 8, 8, at(1000));
    assert_in_range(ratelimit_room(&limit, at(0)), 0, 2);
    assert_int_equal(ratelimit_room(&limit, at(2000)), 2);
}

static void window_doubles_until_the_first_throttle(void **state)
{
    (void)state;
    struct ratelimit limit;
    ratelimit_init(&limit, 0, 0, 2, 10, start);
    take(&limit, 2, 0);
    good(&limit, 2, 10);
    assert_int_equal(ratelimit_room(&limit, at(10)), 4);
    take(&limit, 4, 10);
    good(&limit, 4, 20);
    assert_int_equal(ratelimit_room(&limit, at(20)), 8);
    take(&limit, 8, 20);
    good(&limit, 8, 30);
    assert_int_equal(ratelimit_room(&limit, at(30)), 10); /* window_max */
}

static void throttle_halves_once_per_round_trip(void **state)
{
    (void)state;
    struct ratelimit limit;
    ratelimit_init(&limit, 0, 0, 16, 16, start);
    take(&limit, 16, 0);
    for (int i = 0; i < 8; i++)
        ratelimit_done(&limit, RATELIMIT_THROTTLED, 0, at(0), at(50 + i));
    assert_int_equal((int)limit.window, 8);
    assert_int_equal(limit.throttled, 8);
    assert_int_equal(limit.in_flight, 8);
    for (int i = 0; i < 8; i++)
        ratelimit_done(&limit, RATELIMIT_NEUTRAL, 0, at(0), at(60));
    take(&limit, 1, 1050);
    ratelimit_done(&limit, RATELIMIT_THROTTLED, 0, at(1050), at(1100));
    assert_int_equal((int)limit.window, 4);
}

static void after_a_throttle_the_window_grows_by_one_per_window(void **state)
{
    (void)state;
    struct ratelimit limit;
    ratelimit_init(&limit, 0, 0, 8, 16, start);
    take(&limit, 8, 0);
    ratelimit_done(&limit, RATELIMIT_THROTTLED, 0, at(0), at(0));
    assert_int_equal((int)limit.window, 4);
    good(&limit, 3, 0);
    assert_int_equal((int)limit.window, 4);
    good(&limit, 2, 0);
    assert_int_equal((int)limit.window, 5);
}

static void window_never_falls_below_one(void **state)
{
    (void)state;
    struct ratelimit limit;
    ratelimit_init(&limit, 0, 0, 4, 4, start);
    for (int i = 0; i < 10; i++) {
        take(&limit, 1, i * 5000);
        ratelimit_done(&limit, RATELIMIT_THROTTLED, 0, at(i * 5000), at(i * 5000));
    }
    assert_int_equal((int)limit.window, 1);
    assert_int_equal(ratelimit_room(&limit, at(60000)), 1);
    ratelimit_init(&limit, 0, 0, 0, 0, start);
    assert_int_equal(ratelimit_room(&limit, start), 1);
}

static void retry_after_closes_the_door(void **state)
{
    (void)state;
    struct ratelimit limit;
    ratelimit_init(&limit, 0, 0, 8, 8, start);
    take(&limit, 3, 0);
    ratelimit_done(&limit, RATELIMIT_THROTTLED, 7000, at(0), at(100));
    ratelimit_done(&limit, RATELIMIT_THROTTLED, 2000, at(0), at(200)); /* does not shorten it */
    ratelimit_done(&limit, RATELIMIT_GOOD, 0, at(0), at(300));         /* does not open it */
    assert_int_equal(ratelimit_room(&limit, at(7099)), 0);
    assert_int_equal(next_ms(&limit, 300), 7100);
    assert_true(ratelimit_room(&limit, at(7100)) > 0);
}

static void throttle_without_retry_after_pauses_a_second(void **state)
{
    (void)state;
    struct ratelimit limit;
    ratelimit_init(&limit, 0, 0, 8, 8, start);
    take(&limit, 1, 0);
    ratelimit_done(&limit, RATELIMIT_THROTTLED, 0, at(0), at(10));
    assert_int_equal(ratelimit_room(&limit, at(1009)), 0);
    assert_int_equal(ratelimit_room(&limit, at(1010)), 4);
}

static void rate_can_change_while_running(void **state)
{
    (void)state;
    struct ratelimit limit;
    ratelimit_init(&limit, 100, 1, 8, 8, start);
    take(&limit, 1, 0);
    ratelimit_set_rate(&limit, 1);
    assert_int_equal(ratelimit_room(&limit, at(10)), 0);
    assert_int_equal(ratelimit_room(&limit, at(1000)), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_limit_means_the_window_only),
        cmocka_unit_test(tokens_refill_at_the_rate_up_to_the_burst),
        cmocka_unit_test(next_is_never_too_early_or_much_too_late),
        cmocka_unit_test(burst_below_one_still_lets_one_through),
        cmocka_unit_test(time_that_runs_backwards_takes_nothing_away),
        cmocka_unit_test(window_doubles_until_the_first_throttle),
        cmocka_unit_test(throttle_halves_once_per_round_trip),
        cmocka_unit_test(after_a_throttle_the_window_grows_by_one_per_window),
        cmocka_unit_test(window_never_falls_below_one),
        cmocka_unit_test(retry_after_closes_the_door),
        cmocka_unit_test(throttle_without_retry_after_pauses_a_second),
        cmocka_unit_test(rate_can_change_while_running),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
