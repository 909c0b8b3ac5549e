/* SPDX-License-Identifier: Apache-2.0 */
/* What all calls share: headers, refused tokens, rate, cancelling, server time. */
#include "lib/aep/aep.h"

#include "lib/aep/seen.h"
#include "tests/unit/aep_rig.h"

static void sets_remember(void **state)
{
    (void)state;
    AUTO(seen_release) struct seen seen = { 0 };
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 3000; i++) {
            AUTO_TEXT char *text = mem_print("row %d", i);
            assert_int_equal(seen_add(&seen, "k", text), round == 0);
        }
    assert_int_equal(seen.count, 3000);
    assert_true(seen_add(&seen, "K", "row 1"));
    assert_true(seen_add(&seen, "", ""));
    assert_false(seen_add(&seen, "", ""));
}

/* ---- calls */

static struct {
    int count;
    char order[64]; /* first letters of what ended */
} ended;

static void on_done(struct aep_call *call)
{
    ended.order[ended.count++] = buf_text(&call->path)[1];
}

static void call_start(struct rig *rig, struct aep_call *call, const char *path)
{
    *call = (struct aep_call){ .service = AEP_CATALOG, .range_last = -1, .done = on_done };
    call->http.method = "GET";
    buf_init(&call->path, 1000);
    buf_add_text(&call->path, path);
    aep_start(rig->aep, call);
}

static void call_run(struct rig *rig, struct aep_call *call, const char *path)
{
    int before = ended.count;
    call_start(rig, call, path);
    assert_int_equal(ended.count, before);
    SPIN(rig, ended.count > before);
}

static void start(struct rig *rig)
{
    memset(&ended, 0, sizeof ended);
    rig_start(rig);
}

static void platform_headers_are_sent(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "GET /x?y=1 HTTP/1.1\r\n",      "\r\nAuthorization: Bearer T1\r\n",
        "\r\nx-api-key: client id\r\n", "\r\nx-gw-ims-org-id: ORG@AdobeOrg\r\n",
        "\r\nx-sandbox-name: prod\r\n",
    };
    struct rig rig;
    struct aep_call call;
    start(&rig);
    rig_token(&rig, ALWAYS, "T1", "86399");
    rig_answer(&rig, "GET /x", 1, "200 OK", "", "{}");
    call_run(&rig, &call, "/x?y=1");
    assert_int_equal(call.fault.code, OK);
    assert_string_equal(buf_text(&call.http.content), "{}");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_int_equal(rig_count(&rig, lines[i]), 1);
    assert_int_equal(rig_count(&rig, "\r\nAccept: application/json\r\n"), 2); /* IMS too */
    assert_int_equal(rig_count(&rig, "Range:"), 0);
    aep_call_release(&call);
    rig_stop(&rig);
}

static void refused_tokens_are_renewed_once(void **state)
{
    (void)state;
    struct rig rig;
    struct aep_call call;
    start(&rig);
    rig_token(&rig, 1, "T1", "86399");
    rig_token(&rig, ALWAYS, "T2", "86399");
    rig_answer(&rig, "Bearer T1", ALWAYS, "401 No", "",
               "{\"error_code\":\"401013\",\"message\":\"Oauth token is not valid\"}");
    rig_answer(&rig, "GET /good", ALWAYS, "200 OK", "", "{}");
    rig_answer(&rig, "GET /bad", ALWAYS, "401 No", "x-request-id: R7\r\n", "");
    call_run(&rig, &call, "/good");
    assert_int_equal(call.fault.code, OK);
    assert_int_equal(call.http.status, 200);
    assert_int_equal(rig_count(&rig, "GET /good"), 2);
    assert_int_equal(rig_count(&rig, TOKEN_ROW), 2);
    aep_call_release(&call);

    call_run(&rig, &call, "/bad");
    assert_int_equal(call.fault.code, ERR_AUTH);
    assert_int_equal(call.fault.http_status, 401);
    assert_string_equal(call.fault.text, "Catalog 401: no message, request R7");
    assert_int_equal(aep_auth_fault(rig.aep)->code, ERR_CREDENTIAL); /* T2 was fresh */
    assert_int_equal(rig_count(&rig, "GET /bad"), 2);
    aep_call_release(&call);
    rig_stop(&rig);
}

/* Several calls are refused with the same token: one new token does for all of them. */
static void one_renewal_serves_all(void **state)
{
    (void)state;
    struct rig rig;
    struct aep_call call[4];
    start(&rig);
    rig_token(&rig, 1, "T1", "86399");
    rig_token(&rig, ALWAYS, "T2", "86399");
    rig_answer(&rig, "Bearer T1", ALWAYS, "401 No", "", "");
    rig_answer(&rig, "GET ", ALWAYS, "200 OK", "", "{}");
    for (int i = 0; i < 4; i++)
        call_start(&rig, &call[i], "/x");
    SPIN(&rig, ended.count == 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(call[i].fault.code, OK);
        aep_call_release(&call[i]);
    }
    assert_int_equal(rig_count(&rig, TOKEN_ROW), 2);
    assert_int_equal(rig_count(&rig, "GET /x"), 8);
    rig_stop(&rig);
}

static void missing_tokens_fail_calls(void **state)
{
    (void)state;
    struct rig rig;
    struct aep_call call[3];
    start(&rig);
    rig_answer(&rig, TOKEN_ROW, ALWAYS, "400 No", "", "{\"error\":\"invalid_client\"}");
    assert_int_equal(aep_auth_fault(rig.aep)->code, OK);
    for (int i = 0; i < 3; i++)
        call_start(&rig, &call[i], "/x");
    SPIN(&rig, ended.count == 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(call[i].fault.code, ERR_CREDENTIAL);
        assert_non_null(strstr(call[i].fault.text, "IMS 400: invalid_client; check "));
        aep_call_release(&call[i]);
    }
    assert_int_equal(aep_auth_fault(rig.aep)->code, ERR_CREDENTIAL);
    assert_int_equal(aep_token_expires_in_ms(rig.aep), 0);
    assert_int_equal(aep_limit(rig.aep, AEP_CATALOG)->in_flight, 0);
    assert_int_equal(aep_limit(rig.aep, AEP_CATALOG)->throttled, 0);
    assert_int_equal(rig_count(&rig, TOKEN_ROW), 1);
    assert_int_equal(rig_count(&rig, "GET "), 0);
    rig_stop(&rig);
}

static void statuses_become_faults_and_slow_down(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        enum err code;
        int throttled;
        int64_t retry_after_ms;
    } row[] = {
        { "200 OK\r\nContent-Length: 0\r\n\r\n", OK, 0, 0 },
        { "400 B\r\nContent-Length: 0\r\n\r\n", ERR_REQUEST, 0, 0 },
        { "403 F\r\nContent-Length: 0\r\n\r\n", ERR_DENIED, 0, 0 },
        { "404 N\r\nContent-Length: 0\r\n\r\n", ERR_NOT_FOUND, 0, 0 },
        { "429 T\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", ERR_THROTTLED, 1, 7000 },
        { "429 T\r\nRetry-After: -7\r\nContent-Length: 0\r\n\r\n", ERR_THROTTLED, 1, 0 },
        { "429 T\r\nRetry-After: 999999999\r\nContent-Length: 0\r\n\r\n", ERR_THROTTLED, 1,
          300000 },
        { "429 T\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n", ERR_THROTTLED, 1, 0 },
        { "403 F\r\nContent-Length: 23\r\n\r\n{\"error_code\":\"403025\"}", ERR_CREDENTIAL, 0,
          0 },
        { "400 B\r\nContent-Length: 21\r\n\r\n{\"error_code\":400003}", ERR_CREDENTIAL, 0, 0 },
        { "429 T\r\nDate: Sat, 21 Nov 2026 02:00:00 GMT\r\nRetry-After: Sat, 21 Nov 2026 "
          "02:00:09 GMT\r\nContent-Length: 0\r\n\r\n",
          ERR_THROTTLED, 1, 9000 },
        { "500 S\r\nContent-Length: 0\r\n\r\n", ERR_SERVER, 1, 0 },
        { "503 S\r\nContent-Length: 0\r\n\r\n", ERR_THROTTLED, 1, 0 },
        { "504 S\r\nContent-Length: 0\r\n\r\n", ERR_SERVER, 1, 0 },
        { "301 M\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n", ERR_REDIRECT, 0,
          0 },
        { "200 OK\r\nContent-Length: 9\r\n\r\n{", ERR_CUT, 0, 0 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct rig rig;
        struct aep_call call;
        AUTO_TEXT char *answer = mem_print("HTTP/1.1 %s", row[i].answer);
        start(&rig);
        rig_token(&rig, ALWAYS, "T1", "86399");
        rig_script(&rig, "GET ", 1, answer);
        call_run(&rig, &call, "/x");
        assert_int_equal(call.fault.code, row[i].code);
        assert_int_equal(call.fault.retry_after_ms, row[i].retry_after_ms);
        assert_int_equal(aep_limit(rig.aep, AEP_CATALOG)->throttled, row[i].throttled);
        assert_int_equal(aep_limit(rig.aep, AEP_CATALOG)->in_flight, 0);
        assert_int_equal(rig_count(&rig, "GET "), 1);
        aep_call_release(&call);
        rig_stop(&rig);
    }
}

static void silence_slows_down(void **state)
{
    (void)state;
    struct rig rig;
    struct aep_call call;
    start(&rig);
    rig_token(&rig, ALWAYS, "T1", "86399");
    rig_script(&rig, "GET ", ALWAYS, NULL);
    call_run(&rig, &call, "/x");
    assert_int_equal(call.fault.code, ERR_CUT);
    assert_int_equal(aep_limit(rig.aep, AEP_CATALOG)->throttled, 1);
    assert_int_equal(aep_limit(rig.aep, AEP_LISTING)->throttled, 0);
    aep_call_release(&call);
    rig_stop(&rig);
}

static void calls_wait_in_line_for_room(void **state)
{
    (void)state;
    struct rig rig;
    struct aep_call call[4];
    static const char *const path[] = { "/a", "/b", "/c", "/d" };
    start(&rig);
    rig.options.window_start = rig.options.window_max = 1;
    rig_renew_tenant(&rig);
    rig_token(&rig, ALWAYS, "T1", "86399");
    rig_answer(&rig, "GET ", ALWAYS, "200 OK", "", "{}");
    for (int i = 0; i < 4; i++)
        call_start(&rig, &call[i], path[i]);
    assert_int_equal(aep_limit(rig.aep, AEP_CATALOG)->in_flight, 1);
    SPIN(&rig, ended.count == 4);
    assert_string_equal(ended.order, "abcd");
    for (int i = 0; i < 4; i++)
        aep_call_release(&call[i]);
    rig_stop(&rig);
}

static void the_rate_is_kept_and_shared(void **state)
{
    (void)state;
    struct rig rig;
    struct aep_call call[5];
    start(&rig);
    rig.options.requests_per_second = 20;
    rig_renew_tenant(&rig);
    aep_set_rate(rig.aep, 20, 2);
    aep_limit(rig.aep, AEP_CATALOG)->tokens = 1;
    rig_token(&rig, ALWAYS, "T1", "86399");
    rig_answer(&rig, "GET ", ALWAYS, "200 OK", "", "{}");
    struct mono before = clock_mono();
    for (int i = 0; i < 5; i++)
        call_start(&rig, &call[i], "/x");
    SPIN(&rig, ended.count == 5);
    int64_t ms = mono_ms_between(before, clock_mono());
    assert_true(ms >= 390); /* four times 100 ms */
    assert_true(ms < 3000);
    for (int i = 0; i < 5; i++)
        aep_call_release(&call[i]);
    rig_stop(&rig);
}

static void retry_after_closes_the_door(void **state)
{
    (void)state;
    struct rig rig;
    struct aep_call call;
    start(&rig);
    rig_token(&rig, ALWAYS, "T1", "86399");
    rig_answer(&rig, "GET ", 1, "429 T", "Retry-After: 2\r\n", "");
    rig_answer(&rig, "GET ", ALWAYS, "200 OK", "", "{}");
    call_run(&rig, &call, "/x");
    aep_call_release(&call);
    struct mono before = clock_mono();
    call_run(&rig, &call, "/y");
    assert_int_equal(call.fault.code, OK);
    assert_true(mono_ms_between(before, clock_mono()) >= 1900);
    aep_call_release(&call);
    rig_stop(&rig);
}

static bool is_open(struct rig *rig, enum aep_service service)
{
    return ratelimit_room(aep_limit(rig->aep, service), loop_now(rig->loop)) > 0;
}

/* Retry-After concerns all of the service that sent it, and no other one. */
static void retry_after_holds_for_the_whole_service(void **state)
{
    (void)state;
    struct rig rig;
    struct aep_call call = { .service = AEP_CONTENT, .range_last = -1, .done = on_done };
    start(&rig);
    rig_token(&rig, ALWAYS, "T1", "86399");
    rig_answer(&rig, "GET /data", 1, "429 T", "Retry-After: 60\r\n", "");
    rig_answer(&rig, "GET /data", 1, "503 S", "Retry-After: 60\r\n", "");
    call.http.method = "GET";
    buf_init(&call.path, 100);
    buf_add_text(&call.path, "/data");
    aep_start(rig.aep, &call);
    SPIN(&rig, ended.count == 1);
    aep_call_release(&call);
    assert_false(is_open(&rig, AEP_CONTENT));
    assert_false(is_open(&rig, AEP_LISTING));
    assert_true(is_open(&rig, AEP_CATALOG));
    assert_int_equal((int)aep_limit(rig.aep, AEP_LISTING)->window, 8); /* it was not too fast */
    call_run(&rig, &call, "/data");
    aep_call_release(&call);
    assert_false(is_open(&rig, AEP_CATALOG));
    rig_stop(&rig);
}

static void calls_can_be_cancelled_anywhere(void **state)
{
    (void)state;
    struct rig rig;
    struct aep_call waiting, tokenless, running;
    start(&rig);
    rig_script(&rig, TOKEN_ROW, 1, HANG);
    call_start(&rig, &tokenless, "/t");
    SPIN(&rig, rig_count(&rig, TOKEN_ROW) == 1);
    aep_limit(rig.aep, AEP_CATALOG)->window = 1;
    call_start(&rig, &waiting, "/w");
    aep_cancel(&waiting);
    aep_cancel(&tokenless);
    aep_cancel(&tokenless);
    assert_int_equal(ended.count, 0);
    SPIN(&rig, ended.count == 2);
    assert_string_equal(ended.order, "wt");
    assert_int_equal(waiting.fault.code, ERR_CANCELLED);
    assert_int_equal(tokenless.fault.code, ERR_CANCELLED);
    assert_int_equal(aep_limit(rig.aep, AEP_CATALOG)->in_flight, 0);
    aep_cancel(&tokenless); /* over: no effect */
    aep_call_release(&waiting);
    aep_call_release(&tokenless);

    rig_renew_tenant(&rig);
    rig_token(&rig, ALWAYS, "T1", "86399");
    rig_script(&rig, "GET ", ALWAYS, HANG);
    call_start(&rig, &running, "/r");
    SPIN(&rig, rig_count(&rig, "GET /r") == 1);
    aep_cancel(&running);
    assert_int_equal(ended.count, 2);
    SPIN(&rig, ended.count == 3);
    assert_int_equal(running.fault.code, ERR_CANCELLED);
    assert_int_equal(aep_limit(rig.aep, AEP_CATALOG)->throttled, 0);
    aep_call_release(&running);
    rig_stop(&rig);
}

static void freeing_ends_all_calls(void **state)
{
    (void)state;
    struct rig rig;
    struct aep_call call[3], tokenless;
    start(&rig);
    rig_token(&rig, ALWAYS, "T1", "86399");
    rig_script(&rig, "GET ", ALWAYS, HANG);
    rig.options.window_start = 1;
    rig_renew_tenant(&rig);
    call_start(&rig, &call[0], "/a");
    SPIN(&rig, rig_count(&rig, "GET /a") == 1);
    call_start(&rig, &call[1], "/b");
    call_start(&rig, &call[2], "/c");
    aep_cancel(&call[2]);
    rig_renew_tenant(&rig);
    assert_int_equal(ended.count, 2); /* the one on the wire follows */
    SPIN(&rig, ended.count == 3);
    call_start(&rig, &tokenless, "/t");
    rig_renew_tenant(&rig);
    assert_int_equal(ended.count, 4);
    assert_int_equal(tokenless.fault.code, ERR_CANCELLED);
    aep_call_release(&tokenless);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(call[i].fault.code, ERR_CANCELLED);
        aep_cancel(&call[i]);
        aep_call_release(&call[i]);
    }
    aep_free(NULL);
    rig_stop(&rig);
}

static void the_servers_clock_is_followed(void **state)
{
    (void)state;
    struct rig rig;
    struct aep_call call;
    struct wall expected;
    start(&rig);
    assert_true(llabs(aep_now(rig.aep).ms - clock_wall().ms) < 5000);
    rig_token(&rig, ALWAYS, "T1", "86399");
    rig_answer(&rig, "GET /a", 1, "404 N", "Date: Sat, 01 Jan 2000 00:00:00 GMT\r\n", "");
    rig_answer(&rig, "GET /b", 1, "404 N", "Date: tomorrow\r\n", "");
    call_run(&rig, &call, "/a");
    aep_call_release(&call);
    assert_int_equal(wall_parse("2000-01-01", &expected), OK);
    assert_true(aep_now(rig.aep).ms - expected.ms < 1000);
    rig_turn_for(&rig, 50);
    assert_true(aep_now(rig.aep).ms - expected.ms >= 40);
    call_run(&rig, &call, "/b");
    aep_call_release(&call);
    assert_true(aep_now(rig.aep).ms - expected.ms < 5000);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_remember),
        cmocka_unit_test(platform_headers_are_sent),
        cmocka_unit_test(refused_tokens_are_renewed_once),
        cmocka_unit_test(one_renewal_serves_all),
        cmocka_unit_test(missing_tokens_fail_calls),
        cmocka_unit_test(statuses_become_faults_and_slow_down),
        cmocka_unit_test(silence_slows_down),
        cmocka_unit_test(calls_wait_in_line_for_room),
        cmocka_unit_test(the_rate_is_kept_and_shared),
        cmocka_unit_test(retry_after_closes_the_door),
        cmocka_unit_test(retry_after_holds_for_the_whole_service),
        cmocka_unit_test(calls_can_be_cancelled_anywhere),
        cmocka_unit_test(freeing_ends_all_calls),
        cmocka_unit_test(the_servers_clock_is_followed),
    };
    return cmocka_run_group_tests(tests, rig_setup_libraries, rig_release_libraries);
}
