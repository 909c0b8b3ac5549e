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

static void a_door_closed_from_outside_stays_closed_longest(void **state)
{
    (void)state;
    struct ratelimit limit;
    ratelimit_init(&limit, 0, 0, 8, 8, start);
    ratelimit_close(&limit, at(5000));
    ratelimit_close(&limit, at(3000));
    assert_int_equal(ratelimit_room(&limit, at(4999)), 0);
    assert_int_equal(next_ms(&limit, 0), 5000);
    assert_int_equal(ratelimit_room(&limit, at(5000)), 8); /* nobody throttled this one */
}

/*
 * A server that doubles its penalty whenever a request comes before the last one is over. Those
 * that were on their way when it said so are forgiven, as real ones do.
 */
static void a_penalty_for_impatience_never_grows(void **state)
{
    (void)state;
    struct ratelimit limit;
    int64_t penalty_ms = 4000, until = 0, trip_ms = 80, impatient = 0, served = 0;
    ratelimit_init(&limit, 50, 50, 8, 64, start);
    for (int64_t now = 0; now < 120000; now += trip_ms) {
        int room = ratelimit_room(&limit, at(now));
        for (int i = 0; i < room; i++)
            ratelimit_take(&limit, at(now));
        if (room > 0 && now < until) {
            impatient++;
            penalty_ms *= 2;
        }
        /* Every 500th it serves is one too many. */
        for (int i = 0; i < room; i++) {
            bool throttle = now < until || ++served % 500 == 0;
            if (throttle)
                until = now + trip_ms + penalty_ms;
            ratelimit_done(&limit, throttle ? RATELIMIT_THROTTLED : RATELIMIT_GOOD,
                           throttle ? until - now - trip_ms : 0, at(now), at(now + trip_ms));
        }
    }
    assert_int_equal(impatient, 0);
    assert_int_equal(penalty_ms, 4000);
    assert_true(limit.throttled > 2);
    assert_true(served > 1000);
}

/* Ten throttles of one burst are one reason to slow down, each burst anew. */
static void bursts_of_each_kind_halve_the_window(void **state)
{
    (void)state;
    static const int64_t retry_after_ms[] = { 0, 1000, 0, 300000 };
    struct ratelimit limit;
    int64_t now = 0;
    ratelimit_init(&limit, 0, 0, 64, 64, start);
    for (size_t i = 0; i < sizeof retry_after_ms / sizeof *retry_after_ms; i++) {
        int room = ratelimit_room(&limit, at(now));
        take(&limit, room, now);
        for (int n = 0; n < room; n++)
            ratelimit_done(&limit, RATELIMIT_THROTTLED, retry_after_ms[i], at(now),
                           at(now + 10));
        assert_int_equal((int)limit.window, 32 >> i);
        int64_t pause = retry_after_ms[i] ? retry_after_ms[i] : 1000;
        assert_int_equal(ratelimit_room(&limit, at(now + 10 + pause - 1)), 0);
        now += 10 + pause;
        assert_int_equal(ratelimit_room(&limit, at(now)), 32 >> i);
    }
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
        cmocka_unit_test(a_door_closed_from_outside_stays_closed_longest),
        cmocka_unit_test(a_penalty_for_impatience_never_grows),
        cmocka_unit_test(bursts_of_each_kind_halve_the_window),
        cmocka_unit_test(rate_can_change_while_running),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
