/* SPDX-License-Identifier: Apache-2.0 */
/* Error bodies: their text, their row, and what to do about them. */
#include "lib/aep/aep_error.h"

#include "tests/unit/aep_rig.h"

static void every_shape_of_error_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *body, *text;
    } row[] = {
        { "{\"error_code\":\"401013\",\"message\":\"Oauth token is not valid\"}",
          "401013: Oauth token is not valid" },
        { "{\"error_code\":429050,\"message\":\"Too many requests\"}",
          "429050: Too many requests" },
        { "{\"type\":\"http://ns.adobe.com/aep/errors/HYGN-3102-400\",\"title\":\"Bad\","
          "\"status\":400,\"detail\":\"worse\",\"report\":{},\"error-chain\":[]}",
          "Bad: worse" },
        { "{\"type\":\"x\",\"title\":\"Not found\",\"status\":404,"
          "\"report\":{\"detailed-message\":\"m\"}}",
          "Not found" },
        { "{\"type\":\"/placeholder/type/uri\",\"status\":400,\"title\":\"BadRequestError\","
          "\"detail\":\"A valid content-type must be specified\"}",
          "BadRequestError: A valid content-type must be specified" },
        { "{\"errorMessage\":\"no flow\"}", "no flow" },
        { "{\"error\":\"invalid_client\",\"error_description\":\"bad\\nsecret\"}",
          "invalid_client: bad secret" },
        { "{\"message\":\"only this\"}", "only this" },
        { "<html><head><title>504</title></head>\r\n<body>Gateway\t time-out</body></html>",
          "504 Gateway time-out" },
        { "  plain \n\n text  ", "plain text" },
        { "", "" },
        { "\x01\x02", "" },
        { "caf\xc3\xa9", "caf??" },
        { "{\"title\":{\"a\":1}}", "{\"title\":{\"a\":1}}" },
        { "[1]", "[1]" },
        { "<unclosed", "" },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char text[128];
        aep_error_text(row[i].body, strlen(row[i].body), text, sizeof text);
        assert_string_equal(text, row[i].text);
    }
}

/* Each documented code: its row, and a sentence that names what to do. */
static void codes_become_rows_and_advice(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        enum err err;
        const char *advice; /* a part of it; "" = none */
    } row[] = {
        { 401, "{\"error_code\":\"401013\",\"message\":\"Oauth token is not valid\"}", ERR_AUTH,
          "aep.org" },
        { 401, "{\"error_code\":401013}", ERR_AUTH, "aep.org" },
        { 401, "", ERR_AUTH, "" },
        { 403, "{\"error_code\":403010}", ERR_CREDENTIAL, "proxy" },
        { 403, "{\"error_code\":\"403000\"}", ERR_CREDENTIAL, "proxy" },
        { 403, "{\"error_code\":\"403003\"}", ERR_CREDENTIAL, "aep.client_id" },
        { 400, "{\"error_code\":\"400003\",\"message\":\"Missing header\"}", ERR_CREDENTIAL,
          "aep.org and aep.sandbox" },
        { 403, "{\"error_code\":403025}", ERR_CREDENTIAL, "product profile" },
        { 403, "{\"error_code\":\"403027\"}", ERR_CREDENTIAL, "@AdobeOrg" },
        { 403, "{\"title\":\"Forbidden\",\"detail\":\"no access\"}", ERR_DENIED, "role" },
        { 400, "{\"error_code\":\"400999\"}", ERR_REQUEST, "" },
        { 429, "{\"error_code\":\"429050\"}", ERR_THROTTLED, "" },
        { 500, "{\"error_code\":429050}", ERR_THROTTLED, "" },
        { 401, "{\"error\":\"invalid_client\"}", ERR_CREDENTIAL, "client secret" },
        { 400, "{\"error\":\"invalid_scope\"}", ERR_CREDENTIAL, "aep.scopes" },
        { 400, "{\"error\":\"unauthorized_client\"}", ERR_CREDENTIAL, "server-to-server" },
        { 400, "{\"error\":\"invalid_token\"}", ERR_CREDENTIAL, "aep.private_key_file" },
        { 400, "{\"error\":\"something else\"}", ERR_REQUEST, "" },
        { 404, "not JSON", ERR_NOT_FOUND, "" },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct aep_error error;
        aep_error_read(&error, row[i].status, row[i].body, strlen(row[i].body));
        assert_int_equal(error.err, row[i].err);
        assert_non_null(strstr(error.advice, row[i].advice));
        assert_int_equal(error.advice[0] == 0, row[i].advice[0] == 0);
        for (const char *at = error.advice; *at; at++)
            assert_true(*at >= ' ' && *at <= '~'); /* as faults want it */
        struct fault fault = { 0 };
        fault_set(&fault, error.err, "Data Access %d: %s, request %036d; %s", row[i].status,
                  error.text, 0, error.advice);
        assert_string_equal(fault.text + strlen(fault.text) - strlen(error.advice),
                            error.advice);
    }
}

static void error_texts_are_cut(void **state)
{
    (void)state;
    char body[70000], text[16];
    memset(body, 'x', sizeof body);
    aep_error_text(body, sizeof body, text, sizeof text);
    assert_true(strlen(text) >= 14);
    aep_error_text(body, sizeof body, text, 1);
    assert_string_equal(text, "");
    AUTO_TEXT char *json = mem_print("{\"title\":\"%.*s\",\"detail\":\"d\"}", 3000, body);
    aep_error_text(json, strlen(json), text, sizeof text);
    assert_int_equal(strlen(text), 15);
}

static void parse_damaged(const char *body, size_t len)
{
    char text[64];
    aep_error_text(body, len, text, sizeof text);
    for (const char *at = text; *at; at++)
        assert_true(*at >= ' ' && *at <= '~');
}

static void damaged_errors_are_survived(void **state)
{
    (void)state;
    damage_each("{\"error_code\":\"401013\",\"message\":\"Oauth <b>token</b> is not valid\"}",
                3000, parse_damaged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_of_error_is_read),
        cmocka_unit_test(codes_become_rows_and_advice),
        cmocka_unit_test(error_texts_are_cut),
        cmocka_unit_test(damaged_errors_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
