/* SPDX-License-Identifier: Apache-2.0 */
/* The ways to a token: two client secrets, credential files, signed assertions, ready files. */
#include "lib/aep/grant.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <sys/stat.h>

#include "lib/aep/ims.h"
#include "lib/base/encode.h"
#include "tests/unit/aep_rig.h"

#define JWT_ROW "POST /ims/exchange/jwt HTTP/1.1\r\n"
#define REFUSED "{\"error\":\"invalid_client\",\"error_description\":\"invalid client_secret\"}"

static struct rig rig;
static struct ims *ims;
static char other_file[64]; /* credential, key or token */

struct asker {
    struct ims_waiter waiter;
    char token[2048]; /* "" on failure */
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

static void ask(struct asker *asker)
{
    *asker = (struct asker){ .waiter.ready = on_ready };
    const struct secret *token = ims_token(ims, &asker->waiter);
    if (token)
        snprintf(asker->token, sizeof asker->token, "%s", secret_reveal(token));
    else
        SPIN(&rig, asker->ready > 0);
}

static void write_other(const char *text)
{
    FILE *file = fopen(other_file, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int start(void **state)
{
    (void)state;
    rig_start(&rig);
    snprintf(other_file, sizeof other_file, "/tmp/sluice-grant-XXXXXX");
    close(mkstemp(other_file));
    return 0;
}

static int stop(void **state)
{
    (void)state;
    ims_free(ims);
    ims = NULL;
    rig_stop(&rig);
    unlink(other_file);
    return 0;
}

static void make_ims(void)
{
    ims_free(ims);
    ims = ims_new(rig.loop, rig.http, &rig.options);
}

/* ---- two secrets */

static void the_second_secret_is_tried_at_once_and_remembered(void **state)
{
    (void)state;
    struct asker asker;
    rig_write_secret(&rig, "old-secret\nnew-secret\n");
    rig_answer(&rig, "client_secret=old-secret", ALWAYS, "401 No", "", REFUSED);
    rig_token(&rig, 1, "T1", "86399");
    rig_token(&rig, ALWAYS, "T2", "86399");
    make_ims();
    assert_int_equal(ims_secret(ims), 0);
    struct mono before = clock_mono();
    ask(&asker);
    assert_string_equal(asker.token, "T1"); /* the waiter never heard of the refusal */
    assert_true(mono_ms_between(before, clock_mono()) < 900);
    assert_int_equal(ims_secret(ims), 2);
    ims_reject(ims, "T1");
    ask(&asker);
    assert_string_equal(asker.token, "T2");
    assert_int_equal(rig_count(&rig, "client_secret=old-secret"), 1);
    assert_int_equal(rig_count(&rig, "client_secret=new-secret"), 2);
    assert_int_equal(rig_count(&rig, TOKEN_ROW), 3);
}

/* The order of rotation: a second one is added, then the first is deleted, then its line. */
static void a_rotation_costs_nobody_a_token(void **state)
{
    (void)state;
    struct asker asker;
    rig_token(&rig, 2, "T1", "86399"); /* while both live */
    rig_answer(&rig, "client_secret=first", ALWAYS, "401 No", "", REFUSED);
    rig_token(&rig, ALWAYS, "T2", "86399");
    rig_write_secret(&rig, "first");
    make_ims();
    ask(&asker);
    assert_int_equal(ims_secret(ims), 1);
    rig_write_secret(&rig, "first\nsecond");
    ims_reject(ims, "T1");
    ask(&asker);
    assert_string_equal(asker.token, "T1");
    assert_int_equal(ims_secret(ims), 1);
    ims_reject(ims, "T1"); /* refused twice in a row: this one waits for a second or two */
    ask(&asker);
    assert_string_equal(asker.token, "T2");
    assert_int_equal(ims_secret(ims), 2);
    rig_write_secret(&rig, "second");
    make_ims();
    ask(&asker);
    assert_string_equal(asker.token, "T2");
    assert_int_equal(ims_secret(ims), 1);
}

static void two_dead_secrets_are_one_failure(void **state)
{
    (void)state;
    struct asker asker;
    rig_write_secret(&rig, "dead-one-1\n\ndead-two-2\n\n");
    rig_answer(
        &rig, TOKEN_ROW, ALWAYS, "401 No", "",
        "{\"error\":\"invalid_client\",\"error_description\":\"dead-two-2 is unknown\"}");
    make_ims();
    ask(&asker);
    assert_string_equal(asker.token, "");
    assert_int_equal(asker.fault.code, ERR_CREDENTIAL);
    assert_null(strstr(asker.fault.text, "dead-two"));
    assert_true(asker.fault.retry_after_ms >= 900);
    assert_int_equal(rig_count(&rig, TOKEN_ROW), 2);
    assert_int_equal(ims_secret(ims), 0);
}

static void other_failures_do_not_blame_the_secret(void **state)
{
    (void)state;
    static const char *const answer[][2] = {
        { "400 Bad", "{\"error\":\"invalid_scope\"}" },
        { "503 Down", "" },
        { "429 Slow", "" },
    };
    for (size_t i = 0; i < sizeof answer / sizeof *answer; i++) {
        struct asker asker;
        int before = rig_count(&rig, TOKEN_ROW);
        rig_write_secret(&rig, "one\ntwo");
        rig_answer(&rig, TOKEN_ROW, 1, answer[i][0], "", answer[i][1]);
        make_ims();
        ask(&asker);
        assert_string_equal(asker.token, "");
        assert_int_equal(rig_count(&rig, TOKEN_ROW), before + 1);
        assert_int_equal(rig_count(&rig, "client_secret=two"), 0);
    }
}

static void three_lines_are_no_secrets(void **state)
{
    (void)state;
    struct asker asker;
    rig_write_secret(&rig, "a\nb\nc\n");
    make_ims();
    ask(&asker);
    assert_int_equal(asker.fault.code, ERR_SECRET);
    assert_non_null(strstr(asker.fault.text, "has 3 lines"));
    assert_int_equal(rig_count(&rig, TOKEN_ROW), 0);
}

/* ---- a credential file */

static void secrets_come_from_the_credential_file(void **state)
{
    (void)state;
    struct asker asker;
    rig.options.client_secret_file = NULL;
    rig.options.credential_file = other_file;
    write_other("{\"CLIENT_ID\":\"client id\",\"CLIENT_SECRETS\":[\"k1\",\"k2\"]}");
    rig_answer(&rig, "client_secret=k1", ALWAYS, "401 No", "", REFUSED);
    rig_token(&rig, ALWAYS, "T1", "86399");
    make_ims();
    ask(&asker);
    assert_string_equal(asker.token, "T1");
    assert_int_equal(ims_secret(ims), 2);

    static const char *const bad[][2] = {
        { "{\"CLIENT_ID\":\"stranger\",\"CLIENT_SECRETS\":[\"k1\"]}",
          "now that of client stranger: restart" },
        { "{\"CLIENT_ID\":\"client id\",\"CLIENT_SECRETS\":[]}", "no client secret: none in" },
        { "{}", "has no known shape" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_other(bad[i][0]);
        make_ims();
        ask(&asker);
        assert_int_equal(asker.fault.code, ERR_SECRET);
        assert_non_null(strstr(asker.fault.text, bad[i][1]));
        assert_non_null(strstr(asker.fault.text, other_file));
    }
}

/* ---- the legacy exchange */

static EVP_PKEY *key;

static int setup(void **state)
{
    key = EVP_RSA_gen(2048); /* takes its time */
    return key ? rig_setup_libraries(state) : -1;
}

static int teardown(void **state)
{
    EVP_PKEY_free(key);
    return rig_release_libraries(state);
}

static void write_key(void)
{
    FILE *file = fopen(other_file, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
}

static void assertions_are_exchanged(void **state)
{
    (void)state;
    struct asker asker;
    write_key();
    rig.options.auth = AEP_JWT;
    rig.options.technical_account = "T@techacct.adobe.com";
    rig.options.metascope = "ent_dataservices_sdk";
    rig.options.private_key_file = other_file;
    rig_answer(&rig, JWT_ROW, 1, "200 OK", "",
               "{\"token_type\":\"bearer\",\"access_token\":\"J1\",\"expires_in\":86399992}");
    rig_answer(&rig, JWT_ROW, 1, "400 Bad", "",
               "{\"error\":\"invalid_token\",\"error_description\":\"no binding\"}");
    make_ims();
    ask(&asker);
    assert_string_equal(asker.token, "J1");
    assert_true(ims_expires_in_ms(ims) > 86390000 && ims_expires_in_ms(ims) < 86400000);
    assert_int_equal(rig_count(&rig,
                               "\r\n\r\nclient_id=client%20id&client_secret=s3cr%2Bt%26%3D"
                               "&jwt_token=eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9."),
                     1);
    ims_reject(ims, "J1");
    ask(&asker);
    assert_int_equal(asker.fault.code, ERR_CREDENTIAL);
    assert_non_null(strstr(asker.fault.text, "aep.private_key_file"));
    write_other("not a key");
    make_ims();
    ask(&asker);
    assert_int_equal(asker.fault.code, ERR_SECRET);
    assert_non_null(strstr(asker.fault.text, "is no private key in PEM form"));
    assert_non_null(strstr(asker.fault.text, other_file));
}

/* ---- a ready token */

static char *token_until(int64_t ms_from_now, const char *name)
{
    char text[256];
    AUTO_TEXT char *payload =
        mem_print("{\"created_at\":\"%lld\",\"expires_in\":\"1000\",\"id\":\"%s\"}",
                  (long long)(clock_wall().ms + ms_from_now - 1000), name);
    encode_base64(payload, strlen(payload), text);
    text[strcspn(text, "=")] = 0;
    for (char *at = text; *at; at++)
        *at = *at == '+' ? '-' : *at == '/' ? '_' : *at;
    return mem_print("e30.%s.%s", text, name);
}

static void use_token_file(const char *token)
{
    write_other(token);
    rig.options.auth = AEP_TOKEN;
    rig.options.client_secret_file = NULL;
    rig.options.token_file = other_file;
    make_ims();
}

/* Until the file has been looked at again. */
static void ask_until(struct asker *asker, const char *token)
{
    do {
        rig_turn_for(&rig, 50);
        ask(asker);
        assert_false(rig.late);
    } while (strcmp(asker->token, token) != 0);
}

static void ready_tokens_are_used_and_renewed_with_their_file(void **state)
{
    (void)state;
    struct asker asker;
    AUTO_TEXT char *token = token_until(3600000, "one");
    AUTO_TEXT char *line = mem_print("Bearer %s\r\n", token);
    use_token_file(line);
    ask(&asker);
    assert_string_equal(asker.token, token);
    assert_true(ims_expires_in_ms(ims) > 3500000 && ims_expires_in_ms(ims) <= 3600000);
    write_other("opaque-token\n");
    ask_until(&asker, "opaque-token");
    assert_true(ims_expires_in_ms(ims) > 24LL * 3600 * 1000);
    unlink(other_file); /* being replaced: the one that lives is still good */
    rig_turn_for(&rig, 1100);
    ask(&asker);
    assert_string_equal(asker.token, "opaque-token");
    assert_int_equal(rig_count(&rig, "POST "), 0);
    write_other("another-one");
    assert_int_equal(chmod(other_file, 0600), 0);
    ask_until(&asker, "another-one");
}

static void tokens_that_are_over_wait_for_new_ones(void **state)
{
    (void)state;
    struct asker asker;
    AUTO_TEXT char *over = token_until(-5000, "over");
    AUTO_TEXT char *soon = token_until(1500, "soon");
    AUTO_TEXT char *good = token_until(3600000, "good");
    use_token_file(over);
    ask(&asker);
    assert_string_equal(asker.token, "");
    assert_int_equal(asker.fault.code, ERR_CREDENTIAL);
    assert_non_null(strstr(asker.fault.text, "is over since"));
    write_other(soon);
    ask_until(&asker, soon);
    ask_until(&asker, ""); /* by its own words */
    assert_int_equal(asker.fault.code, ERR_CREDENTIAL);
    write_other(good);
    ask_until(&asker, good);
    assert_int_equal(ims_fault(ims)->code, OK);
}

static void refused_tokens_wait_for_the_file_to_change(void **state)
{
    (void)state;
    struct asker asker;
    int used = 0;
    use_token_file("stale");
    for (struct mono end = mono_after_ms(clock_mono(), 4000); !mono_due(end, clock_mono());) {
        ask(&asker);
        used += asker.token[0] != 0;
        ims_reject(ims, "stale");
    }
    assert_true(used >= 2 && used <= 5); /* tried again, but ever more rarely */
    assert_int_equal(ims_fault(ims)->code, ERR_CREDENTIAL);
    assert_non_null(strstr(ims_fault(ims)->text, "write a new one"));
    write_other("fresh");
    ask_until(&asker, "fresh");
}

static void files_without_a_token_are_told(void **state)
{
    (void)state;
    static const char *const bad[] = { "a b", "one\ntwo", "caf\xc3\xa9", " \n", "Bearer \n" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct asker asker;
        use_token_file(bad[i]);
        ask(&asker);
        assert_int_equal(asker.fault.code, ERR_SECRET);
        assert_non_null(strstr(asker.fault.text, "must hold an access token and nothing else"));
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(the_second_secret_is_tried_at_once_and_remembered),
        TEST(a_rotation_costs_nobody_a_token),
        TEST(two_dead_secrets_are_one_failure),
        TEST(other_failures_do_not_blame_the_secret),
        TEST(three_lines_are_no_secrets),
        TEST(secrets_come_from_the_credential_file),
        TEST(assertions_are_exchanged),
        TEST(ready_tokens_are_used_and_renewed_with_their_file),
        TEST(tokens_that_are_over_wait_for_new_ones),
        TEST(refused_tokens_wait_for_the_file_to_change),
        TEST(files_without_a_token_are_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
