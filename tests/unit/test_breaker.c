/* SPDX-License-Identifier: Apache-2.0 */
/* Breakers: when they open, how long they wait, who may try, what closes them. */
#include "daemon/breaker.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct mono start = { 1000000 };
static const struct fault good = { .code = OK };

static bool note(struct breaker *breaker, enum err code, int status, struct mono now)
{
    struct fault fault = { .code = code, .http_status = status };
    return breaker_note(breaker, &fault, now, 0);
}

static void fail_often(struct breaker *breaker, int times, struct mono now)
{
    for (int i = 0; i < times; i++)
        note(breaker, ERR_CONNECT, 0, now);
}

static void opens_after_five_in_a_row(void **state)
{
    (void)state;
    struct breaker breaker = { 0 };
    fail_often(&breaker, 4, start);
    assert_int_equal(breaker.state, BREAKER_CLOSED);
    assert_int_equal(breaker.fault.code, OK);
    assert_false(breaker_note(&breaker, &good, start, 0)); /* forgotten */
    fail_often(&breaker, 4, start);
    assert_int_equal(breaker_room(&breaker, start), INT_MAX);
    assert_true(note(&breaker, ERR_TLS, 0, start));
    assert_int_equal(breaker.state, BREAKER_OPEN);
    assert_int_equal(breaker.fault.code, ERR_TLS);
    assert_int_equal(breaker_room(&breaker, start), 0);
}

static void knows_what_is_systemic(void **state)
{
    (void)state;
    static const struct {
        enum err code;
        int status;
        bool systemic;
    } row[] = {
        { ERR_RESOLVE, 0, true },      { ERR_CONNECT, 0, true },
        { ERR_TLS, 0, true },          { ERR_TIMEOUT, 0, true },
        { ERR_CUT, 0, true },          { ERR_SERVER, 500, true },
        { ERR_THROTTLED, 503, true },  { ERR_AUTH, 401, true },
        { ERR_DENIED, 403, true },     { ERR_SKEW, 403, true },
        { ERR_THROTTLED, 429, false }, { ERR_TIMEOUT, 206, false },
        { ERR_CUT, 206, false },       { ERR_BAD_RESPONSE, 200, false },
        { ERR_REQUEST, 400, false },   { ERR_CANCELLED, 0, false },
        { ERR_DIGEST, 400, false },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct breaker breaker = { 0 };
        for (int n = 0; n < BREAKER_FAULTS; n++)
            note(&breaker, row[i].code, row[i].status, start);
        assert_int_equal(breaker.state, row[i].systemic ? BREAKER_OPEN : BREAKER_CLOSED);
        assert_int_equal(breaker.faults, row[i].systemic ? BREAKER_FAULTS : 0);
    }
}

static void a_refused_credential_opens_it_at_once(void **state)
{
    (void)state;
    struct breaker breaker = { .denied_is_local = true };
    assert_true(note(&breaker, ERR_CREDENTIAL, 403, start));
    assert_int_equal(breaker.state, BREAKER_OPEN);
    assert_int_equal(breaker.fault.code, ERR_CREDENTIAL);
    assert_true(breaker_note(&breaker, &good, start, 0));
    assert_int_equal(breaker.state, BREAKER_CLOSED);
}

static void answers_about_one_object_are_success(void **state)
{
    (void)state;
    static const enum err code[] = { OK,           ERR_NOT_FOUND, ERR_EXISTS,
                                     ERR_CONFLICT, ERR_NO_UPLOAD, ERR_SOURCE_CHANGED };
    for (size_t i = 0; i < sizeof code / sizeof *code; i++) {
        struct breaker breaker = { 0 };
        fail_often(&breaker, 5, start);
        assert_true(note(&breaker, code[i], 404, start));
        assert_int_equal(breaker.state, BREAKER_CLOSED);
        assert_int_equal(breaker.fault.code, OK);
        assert_false(note(&breaker, code[i], 404, start));
    }
}

static void one_may_try_when_the_wait_is_over(void **state)
{
    (void)state;
    struct breaker breaker = { 0 };
    fail_often(&breaker, 5, start);
    struct mono due = breaker.try_at, before = { due.us - 1 };
    assert_int_equal(mono_ms_between(start, due), BREAKER_BASE_MS / 2);
    assert_int_equal(breaker_room(&breaker, before), 0);
    assert_int_equal(breaker_room(&breaker, due), 1);
    breaker_try(&breaker);
    assert_int_equal(breaker.state, BREAKER_HALF_OPEN);
    assert_int_equal(breaker_room(&breaker, mono_after_ms(due, 1000000)), 0);
    assert_false(note(&breaker, ERR_SERVER, 500, due)); /* open as before, no news */
    assert_int_equal(breaker.state, BREAKER_OPEN);
    assert_int_equal(mono_ms_between(due, breaker.try_at), BREAKER_BASE_MS);
    breaker_try(&breaker);
    assert_true(breaker_note(&breaker, &good, due, 0));
    fail_often(&breaker, 5, due);
    assert_int_equal(mono_ms_between(due, breaker.try_at), BREAKER_BASE_MS / 2); /* anew */
}

static void waits_longer_each_round_up_to_a_minute(void **state)
{
    (void)state;
    struct breaker breaker = { 0 };
    struct fault fault = { .code = ERR_CONNECT };
    fail_often(&breaker, 5, start);
    for (int round = 1; round < 70; round++) {
        int64_t most = round < 6 ? BREAKER_BASE_MS << round : BREAKER_CAP_MS;
        breaker_try(&breaker);
        breaker_note(&breaker, &fault, start, (uint64_t)(most / 2)); /* the longest */
        assert_int_equal(mono_ms_between(start, breaker.try_at), most);
    }
    breaker_try(&breaker);
    breaker_note(&breaker, &fault, start, UINT64_MAX);
    int64_t wait = mono_ms_between(start, breaker.try_at);
    assert_true(wait >= BREAKER_CAP_MS / 2 && wait <= BREAKER_CAP_MS);
}

static void retry_after_is_a_lower_bound(void **state)
{
    (void)state;
    struct breaker breaker = { 0 };
    struct fault fault = { .code = ERR_THROTTLED, .http_status = 503, .retry_after_ms = 90000 };
    for (int i = 0; i < 5; i++)
        breaker_note(&breaker, &fault, start, 7);
    assert_int_equal(mono_ms_between(start, breaker.try_at), 90000);
}

static void late_answers_of_an_open_one_change_little(void **state)
{
    (void)state;
    struct breaker breaker = { 0 };
    fail_often(&breaker, 5, start);
    struct mono due = breaker.try_at;
    assert_false(note(&breaker, ERR_SERVER, 500, mono_after_ms(start, 100)));
    assert_int_equal(breaker.try_at.us, due.us);
    assert_int_equal(breaker.fault.code, ERR_SERVER);
}

static void a_try_that_taught_nothing_is_followed_by_another(void **state)
{
    (void)state;
    struct breaker breaker = { 0 };
    fail_often(&breaker, 5, start);
    breaker_try(&breaker);
    breaker_tried(&breaker, start);
    assert_int_equal(breaker.state, BREAKER_OPEN);
    assert_int_equal(breaker_room(&breaker, mono_after_ms(start, 1000)), 1);
    struct breaker closed = { 0 };
    breaker_try(&closed);
    breaker_tried(&closed, start);
    assert_int_equal(closed.state, BREAKER_CLOSED);
}

static void hints_close_only_together_and_while_somebody_tries(void **state)
{
    (void)state;
    struct breaker breaker = { 0 };
    fail_often(&breaker, 5, start);
    for (int i = 0; i < 2 * BREAKER_HINTS; i++)
        assert_false(breaker_hint(&breaker));
    breaker_try(&breaker);
    for (int i = 0; i < BREAKER_HINTS - 1; i++)
        assert_false(breaker_hint(&breaker));
    note(&breaker, ERR_SERVER, 500, start); /* they count for nothing now */
    breaker_try(&breaker);
    for (int i = 0; i < BREAKER_HINTS - 1; i++)
        assert_false(breaker_hint(&breaker));
    assert_true(breaker_hint(&breaker));
    assert_int_equal(breaker.state, BREAKER_CLOSED);
}

static void a_hint_does_not_interrupt_a_row_of_faults(void **state)
{
    (void)state;
    struct breaker breaker = { 0 };
    fail_often(&breaker, 4, start);
    breaker_hint(&breaker);
    fail_often(&breaker, 1, start);
    assert_int_equal(breaker.state, BREAKER_OPEN);
}

static void a_local_denial_is_shown_and_stops_nobody(void **state)
{
    (void)state;
    struct breaker breaker = { .denied_is_local = true };
    for (int i = 0; i < 20; i++)
        assert_false(note(&breaker, ERR_DENIED, 403, start));
    assert_int_equal(breaker.state, BREAKER_CLOSED);
    assert_int_equal(breaker.fault.code, ERR_DENIED);
    breaker_note(&breaker, &good, start, 0);
    assert_int_equal(breaker.fault.code, OK);
    fail_often(&breaker, 5, start);
    assert_true(note(&breaker, ERR_DENIED, 403, start)); /* whoever denies works */
    assert_int_equal(breaker.state, BREAKER_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_after_five_in_a_row),
        cmocka_unit_test(knows_what_is_systemic),
        cmocka_unit_test(a_refused_credential_opens_it_at_once),
        cmocka_unit_test(answers_about_one_object_are_success),
        cmocka_unit_test(one_may_try_when_the_wait_is_over),
        cmocka_unit_test(waits_longer_each_round_up_to_a_minute),
        cmocka_unit_test(retry_after_is_a_lower_bound),
        cmocka_unit_test(late_answers_of_an_open_one_change_little),
        cmocka_unit_test(a_try_that_taught_nothing_is_followed_by_another),
        cmocka_unit_test(hints_close_only_together_and_while_somebody_tries),
        cmocka_unit_test(a_hint_does_not_interrupt_a_row_of_faults),
        cmocka_unit_test(a_local_denial_is_shown_and_stops_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
