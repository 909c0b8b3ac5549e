/* SPDX-License-Identifier: Apache-2.0 */
/* Access tokens: the answer's text, one request for all, renewal, refusals and back-off. */
#include "lib/aep/ims.h"

#include "tests/unit/aep_rig.h"

#define DAY_MS (24 * 60 * 60 * 1000)

/* ---- the answer's text */

static const char answer[] =
    "{\"access_token\":\"aaa.bbb-c_c.ddd\",\"token_type\":\"bearer\",\"expires_in\":86399}";

static void tokens_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *life;
        int64_t life_ms;
    } row[] = {
        { "86399", 86399000 },   { "\"86399\"", 86399000 },         { "1", 1000 },
        { "10000000", DAY_MS },  { "10000001", 10000001 },          { "86399992", 86399992 },
        { "259200000", DAY_MS }, { "9223372036854775807", DAY_MS },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct secret token = { 0 };
        struct fault fault = { 0 };
        int64_t life_ms = 0;
        AUTO_TEXT char *body =
            mem_print("{\"access_token\":\"a.b.c\",\"expires_in\":%s}", row[i].life);
        assert_int_equal(ims_parse(body, strlen(body), &token, &life_ms, &fault), OK);
        assert_string_equal(secret_reveal(&token), "a.b.c");
        assert_int_equal(life_ms, row[i].life_ms);
        secret_release(&token);
    }
}

static void unusable_tokens_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"expires_in\":1}",
        "{\"access_token\":\"t\"}",
        "{\"access_token\":\"\",\"expires_in\":1}",
        "{\"access_token\":7,\"expires_in\":1}",
        "{\"access_token\":\"t\",\"expires_in\":0}",
        "{\"access_token\":\"t\",\"expires_in\":-1}",
        "{\"access_token\":\"t\",\"expires_in\":1.5}",
        "{\"access_token\":\"t\",\"expires_in\":null}",
        "{\"access_token\":\"t\",\"expires_in\":\"soon\"}",
        "{\"access_token\":\"t\",\"expires_in\":99999999999999999999}",
        "{\"access_token\":\"t\\r\\nx-evil: 1\",\"expires_in\":1}",
        "{\"access_token\":\"t t\",\"expires_in\":1}",
        "{\"access_token\":\"t\\u00e9\",\"expires_in\":1}",
        "{\"access_token\":\"secret-token\",\"expires_in\":1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct secret token = { 0 };
        struct fault fault = { 0 };
        int64_t life_ms = 7;
        assert_int_equal(ims_parse(bad[i], strlen(bad[i]), &token, &life_ms, &fault),
                         ERR_BAD_RESPONSE);
        assert_null(secret_reveal(&token));
        assert_int_equal(life_ms, 7);
        assert_null(strstr(fault.text, "secret-token"));
    }
}

static void parse_damaged(const char *body, size_t len)
{
    struct secret token = { 0 };
    struct fault fault = { 0 };
    int64_t life_ms = 0;
    if (!ims_parse(body, len, &token, &life_ms, &fault))
        assert_true(life_ms > 0 && life_ms <= DAY_MS && token.len > 0);
    else
        assert_null(secret_reveal(&token));
    secret_release(&token);
}

static void damaged_answers_are_survived(void **state)
{
    (void)state;
    damage_each(answer, 5000, parse_damaged);
}

/* ---- requests */

struct asker {
    struct ims_waiter waiter;
    char token[64]; /* "" on failure */
    struct fault fault;
    int ready;
};

static void on_ready(struct ims_waiter *waiter, const struct secret *token,
                     const struct fault *fault)
{
    struct asker *asker = container_of(waiter, struct asker, waiter);
    asker->ready++;
    asker->fault = *fault;
    snprintf(asker->token, sizeof asker->token, "%s", token ? secret_reveal(token) : "");
}

/* The token, whether it is there or has to be fetched. */
static void ask(struct rig *rig, struct ims *ims, struct asker *asker)
{
    *asker = (struct asker){ .waiter.ready = on_ready };
    const struct secret *token = ims_token(ims, &asker->waiter);
    if (token) {
        snprintf(asker->token, sizeof asker->token, "%s", secret_reveal(token));
        return;
    }
    assert_int_equal(asker->ready, 0);
    SPIN(rig, asker->ready > 0);
    assert_int_equal(asker->ready, 1);
}

static struct ims *start(struct rig *rig)
{
    rig_start(rig);
    return ims_new(rig->loop, rig->http, &rig->options);
}

static void stop(struct rig *rig, struct ims *ims)
{
    ims_free(ims);
    rig_stop(rig);
}

static void one_request_serves_all(void **state)
{
    (void)state;
    struct rig rig;
    struct ims *ims = start(&rig);
    struct asker asker[5];
    rig_token(&rig, ALWAYS, "T1", "86399");
    for (int i = 0; i < 5; i++) {
        asker[i] = (struct asker){ .waiter.ready = on_ready };
        assert_null(ims_token(ims, &asker[i].waiter));
        assert_null(ims_token(ims, &asker[i].waiter)); /* once more changes nothing */
    }
    ims_forget(ims, &asker[1].waiter);
    SPIN(&rig, asker[4].ready);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(asker[i].ready, i != 1);
        assert_string_equal(asker[i].token, i != 1 ? "T1" : "");
    }
    ask(&rig, ims, &asker[0]);
    assert_int_equal(asker[0].ready, 0); /* from the cache */
    assert_string_equal(asker[0].token, "T1");
    assert_int_equal(rig_count(&rig, TOKEN_ROW), 1);
    assert_true(ims_expires_in_ms(ims) > 86390000);
    assert_int_equal(ims_fault(ims)->code, OK);
    stop(&rig, ims);
}

static void the_form_is_complete_and_encoded(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig);
    AUTO_TEXT char *slashed = mem_print("%s//", rig.url);
    rig.options.ims_endpoint = slashed;
    struct ims *ims = ims_new(rig.loop, rig.http, &rig.options);
    struct asker asker;
    rig_token(&rig, ALWAYS, "T1", "86399");
    ask(&rig, ims, &asker);
    assert_int_equal(rig_count(&rig, "POST /ims/token/v3 HTTP/1.1\r\n"), 1);
    assert_int_equal(rig_count(&rig, "Content-Type: application/x-www-form-urlencoded\r\n"), 1);
    assert_int_equal(rig_count(&rig, "\r\n\r\ngrant_type=client_credentials"
                                     "&client_id=client%20id&scope=openid%2Csession"
                                     "&client_secret=s3cr%2Bt%26%3D\n"),
                     1);
    stop(&rig, ims);
}

static void failures_are_told_and_slow_down(void **state)
{
    (void)state;
    static const struct {
        const char *status, *headers, *body;
        enum err code;
        int64_t at_least_ms;
        const char *text;
    } row[] = {
        { "400 Bad", "", "{\"error\":\"invalid_client\",\"error_description\":\"no such\"}",
          ERR_CREDENTIAL, 900,
          "IMS 400: invalid_client: no such; check aep.client_id, and whether the Console "
          "still "
          "lists this client secret" },
        { "418 Odd", "", "{\"error\":\"teapot\"}", ERR_DENIED, 900, "IMS 418: teapot" },
        { "404 No", "", "<html><b>not</b>\n here</html>", ERR_DENIED, 900,
          "IMS 404: not here" },
        { "429 Slow", "Retry-After: 38\r\n", "", ERR_THROTTLED, 37900, "IMS 429: no message" },
        { "503 Down", "Retry-After: nonsense\r\n", "", ERR_THROTTLED, 900,
          "IMS 503: no message" },
        { "500 Bug", "", "", ERR_SERVER, 900, "IMS 500: no message" },
        { "302 F", "Location: http://x/\r\n", "", ERR_REDIRECT, 900, "IMS 302: no message" },
        { "200 OK", "", "{\"access_token\":\"t\",\"expires_in\":-1}", ERR_SERVER, 900,
          "IMS: expires_in is no positive number" },
        { "200 OK", "", "<html>", ERR_SERVER, 900, "IMS: token answer is not JSON" },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct rig rig;
        struct ims *ims = start(&rig);
        struct asker asker;
        rig_answer(&rig, TOKEN_ROW, 1, row[i].status, row[i].headers, row[i].body);
        ask(&rig, ims, &asker);
        assert_string_equal(asker.token, "");
        assert_int_equal(asker.fault.code, row[i].code);
        assert_string_equal(asker.fault.text, row[i].text);
        assert_true(asker.fault.retry_after_ms >= row[i].at_least_ms);
        assert_int_equal(err_action(asker.fault.code), ACT_WAIT);
        assert_int_equal(ims_fault(ims)->code, row[i].code);
        assert_int_equal(ims_expires_in_ms(ims), 0);
        stop(&rig, ims);
    }
}

static void long_waits_are_answered_at_once(void **state)
{
    (void)state;
    struct rig rig;
    struct ims *ims = start(&rig);
    struct asker asker;
    rig_answer(&rig, TOKEN_ROW, 1, "429 Slow", "Retry-After: 600\r\n", "");
    rig_token(&rig, ALWAYS, "T1", "86399");
    ask(&rig, ims, &asker);
    struct mono before = clock_mono();
    for (int i = 0; i < 3; i++) {
        ask(&rig, ims, &asker);
        assert_int_equal(asker.fault.code, ERR_THROTTLED);
        assert_true(asker.fault.retry_after_ms > 290000);
    }
    assert_true(mono_ms_between(before, clock_mono()) < 500);
    assert_int_equal(rig_count(&rig, TOKEN_ROW), 1);
    stop(&rig, ims);
}

static void lost_connections_are_upstreams_trouble(void **state)
{
    (void)state;
    struct rig rig;
    struct ims *ims = start(&rig);
    struct asker asker;
    rig_script(&rig, TOKEN_ROW, 1, NULL);
    rig_token(&rig, ALWAYS, "T1", "86399");
    ask(&rig, ims, &asker);
    assert_int_equal(err_action(asker.fault.code), ACT_WAIT);
    struct mono before = clock_mono();
    ask(&rig, ims, &asker); /* a short wait is worth waiting */
    assert_string_equal(asker.token, "T1");
    assert_true(mono_ms_between(before, clock_mono()) > 900);
    assert_int_equal(ims_fault(ims)->code, OK);
    stop(&rig, ims);
}

static void secrets_are_read_anew(void **state)
{
    (void)state;
    struct rig rig;
    struct ims *ims = start(&rig);
    struct asker asker;
    rig_answer(&rig, "client_secret=s3cr", 1, "401 No", "", "{\"error\":\"invalid_client\"}");
    rig_token(&rig, ALWAYS, "T1", "86399");
    ask(&rig, ims, &asker);
    assert_int_equal(asker.fault.code, ERR_CREDENTIAL);
    rig_write_secret(&rig, "rotated");
    ask(&rig, ims, &asker);
    assert_string_equal(asker.token, "T1");
    assert_int_equal(rig_count(&rig, "client_secret=rotated\n"), 1);
    stop(&rig, ims);
}

static void missing_secrets_are_told(void **state)
{
    (void)state;
    struct rig rig;
    struct ims *ims = start(&rig);
    struct asker asker;
    rig_token(&rig, ALWAYS, "T1", "86399");
    unlink(rig.secret_file);
    ask(&rig, ims, &asker);
    assert_int_equal(asker.fault.code, ERR_SECRET);
    assert_non_null(strstr(asker.fault.text, rig.secret_file));
    assert_int_equal(rig_count(&rig, TOKEN_ROW), 0);
    stop(&rig, ims);
}

/* True if the machine was quick enough to ask in the last 5 % of the token's life. */
static bool asks_in_the_last_moment(void)
{
    struct rig rig;
    struct ims *ims = start(&rig);
    struct asker asker;
    rig_token(&rig, 1, "T1", "4");
    rig_answer(&rig, TOKEN_ROW, 1, "500 Bug", "", "");
    rig_token(&rig, ALWAYS, "T2", "86399");
    ask(&rig, ims, &asker);
    assert_string_equal(asker.token, "T1");
    rig_turn_for(&rig, 3850);
    bool in_time = ims_expires_in_ms(ims) > 50;
    if (in_time) {
        ask(&rig, ims, &asker);
        assert_int_equal(asker.ready, 0);
        assert_string_equal(asker.token, "T1");
        SPIN(&rig, ims_fault(ims)->code == ERR_SERVER);
        assert_int_equal(rig_count(&rig, TOKEN_ROW), 2);
        rig_turn_for(&rig, 200);
        ask(&rig, ims, &asker); /* T1 is dead now: this one waits */
        assert_string_equal(asker.token, "T2");
        assert_int_equal(asker.ready, 1);
    }
    stop(&rig, ims);
    return in_time;
}

/* What has to hit a moment is tried until it does. */
static void until_in_time(bool (*attempt)(void))
{
    int tries = 1;
    while (!attempt() && tries < 10)
        tries++;
    assert_true(tries < 10);
}

static void old_tokens_serve_while_renewing_fails(void **state)
{
    (void)state;
    until_in_time(asks_in_the_last_moment);
}

static void only_the_refused_token_is_dropped(void **state)
{
    (void)state;
    struct rig rig;
    struct ims *ims = start(&rig);
    struct asker asker;
    rig_token(&rig, 1, "T1", "86399");
    rig_token(&rig, ALWAYS, "T2", "86399");
    ask(&rig, ims, &asker);
    ims_reject(ims, "T0");
    ask(&rig, ims, &asker);
    assert_string_equal(asker.token, "T1");
    struct mono before = clock_mono();
    ims_reject(ims, "T1");
    ims_reject(ims, "T1");
    assert_int_equal(ims_expires_in_ms(ims), 0);
    assert_int_equal(ims_fault(ims)->code, ERR_CREDENTIAL);
    ask(&rig, ims, &asker);
    assert_string_equal(asker.token, "T2");
    assert_true(mono_ms_between(before, clock_mono()) > 800); /* one request a second */
    assert_true(mono_ms_between(before, clock_mono()) < 2500);
    ims_reject(ims, "T1");
    ask(&rig, ims, &asker);
    assert_string_equal(asker.token, "T2");
    assert_int_equal(rig_count(&rig, TOKEN_ROW), 2);
    stop(&rig, ims);
}

static void endless_refusals_slow_down(void **state)
{
    (void)state;
    struct rig rig;
    struct ims *ims = start(&rig);
    struct asker asker;
    rig_token(&rig, ALWAYS, "T", "86399");
    int failed = 0;
    struct mono end = mono_after_ms(clock_mono(), 4000);
    while (!mono_due(end, clock_mono()) && !failed) {
        ask(&rig, ims, &asker);
        failed += asker.token[0] == 0;
        ims_reject(ims, "T");
    }
    assert_true(rig_count(&rig, TOKEN_ROW) <= 5);
    assert_int_equal(ims_fault(ims)->code, ERR_CREDENTIAL);
    stop(&rig, ims);
}

/* True if the machine was quick enough to ask in the last 5 % of the second token's life. */
static bool refuses_while_asking(void)
{
    struct rig rig;
    struct ims *ims = start(&rig);
    struct asker asker;
    rig_token(&rig, 1, "T1", "86399");
    rig_token(&rig, 1, "T2", "3");
    rig_token(&rig, 1, "T3", "1");
    rig_token(&rig, ALWAYS, "T4", "86399");
    ask(&rig, ims, &asker);
    ims_reject(ims, "T1");
    ask(&rig, ims, &asker);
    assert_string_equal(asker.token, "T2");
    rig_turn_for(&rig, (int)ims_expires_in_ms(ims) - 100);
    bool in_time = ims_expires_in_ms(ims) > 20;
    if (in_time) {
        ask(&rig, ims, &asker);
        SPIN(&rig, rig_count(&rig, TOKEN_ROW) == 3);
        ims_reject(ims, "T2"); /* the second one: up to 4 s are waited after it */
        in_time = ims_expires_in_ms(ims) == 0;
    }
    if (in_time) {
        SPIN(&rig, ims_expires_in_ms(ims) > 0);
        rig_turn_for(&rig, ims_expires_in_ms(ims) + 1);
        struct mono before = clock_mono();
        ask(&rig, ims, &asker); /* T3 is dead, and a second is over since it was asked for */
        assert_string_equal(asker.token, "T4");
        assert_true(mono_ms_between(before, clock_mono()) < 900);
    }
    stop(&rig, ims);
    return in_time;
}

static void tokens_in_time_end_the_pause_after_a_refusal(void **state)
{
    (void)state;
    until_in_time(refuses_while_asking);
}

static void freeing_ends_waiters(void **state)
{
    (void)state;
    struct rig rig;
    struct ims *ims = start(&rig);
    struct asker asker = { .waiter.ready = on_ready };
    rig_script(&rig, TOKEN_ROW, ALWAYS, HANG);
    assert_null(ims_token(ims, &asker.waiter));
    SPIN(&rig, rig_count(&rig, TOKEN_ROW) == 1);
    ims_free(ims); /* with its request on the wire */
    assert_int_equal(asker.ready, 1);
    assert_int_equal(asker.fault.code, ERR_CANCELLED);
    rig_turn_for(&rig, 20);
    ims = ims_new(rig.loop, rig.http, &rig.options);
    assert_null(ims_token(ims, &asker.waiter));
    ims_free(ims); /* before the request */
    assert_int_equal(asker.ready, 2);
    ims_free(NULL);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_read),
        cmocka_unit_test(unusable_tokens_are_refused),
        cmocka_unit_test(damaged_answers_are_survived),
        cmocka_unit_test(one_request_serves_all),
        cmocka_unit_test(the_form_is_complete_and_encoded),
        cmocka_unit_test(failures_are_told_and_slow_down),
        cmocka_unit_test(long_waits_are_answered_at_once),
        cmocka_unit_test(lost_connections_are_upstreams_trouble),
        cmocka_unit_test(secrets_are_read_anew),
        cmocka_unit_test(missing_secrets_are_told),
        cmocka_unit_test(old_tokens_serve_while_renewing_fails),
        cmocka_unit_test(only_the_refused_token_is_dropped),
        cmocka_unit_test(endless_refusals_slow_down),
        cmocka_unit_test(tokens_in_time_end_the_pause_after_a_refusal),
        cmocka_unit_test(freeing_ends_waiters),
    };
    return cmocka_run_group_tests(tests, rig_setup_libraries, rig_release_libraries);
}
