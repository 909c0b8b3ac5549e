/* SPDX-License-Identifier: Apache-2.0 */
/* Credential files of other tools: each shape, odd variants, and what is refused. */
#include "lib/aep/credential.h"

#include "tests/unit/aep_rig.h"

#define PEM "-----BEGIN PRIVATE KEY-----\\nMIIabc\\n-----END PRIVATE KEY-----\\n"

static const char aepp_oauth[] =
    "{\"org_id\":\"O@AdobeOrg\",\"client_id\":\"C\",\"secret\":\"s1\",\"sandbox-name\":\"dev\","
    "\"environment\":\"prod\",\"scopes\":\"openid, AdobeID,session\"}";
static const char aepp_jwt[] =
    "{\"org_id\":\"O@AdobeOrg\",\"api_key\":\"C\",\"secret\":\"s1\",\"sandbox-name\":\"dev\","
    "\"environment\":\"stage\",\"tech_id\":\"T@techacct.adobe.com\","
    "\"pathToKey\":\"keys/private.key\"}";
static const char console[] =
    "{\"CLIENT_SECRETS\":[\"s1\",\"s2\",\"s3\"],\"ORG_ID\":\"O@AdobeOrg\",\"CLIENT_ID\":\"C\","
    "\"SCOPES\":[\"openid\",\"AdobeID\",\"session\"],\"TECHNICAL_ACCOUNT_ID\":"
    "\"T@techacct.adobe.com\",\"TECHNICAL_ACCOUNT_EMAIL\":\"e@techacct.adobe.com\"}";
static const char console_jwt[] =
    "{\"CLIENT_SECRET\":\"s1\",\"ORG_ID\":\"O@AdobeOrg\",\"API_KEY\":\"C\","
    "\"TECHNICAL_ACCOUNT_ID\":\"T@techacct.adobe.com\","
    "\"PUBLIC_KEYS_WITH_EXPIRY\":{\"ab\":\"01/07/2023\"}}";
static const char project[] =
    "{\"project\":{\"id\":\"1\",\"name\":\"p\",\"org\":{\"id\":\"2\",\"ims_org_id\":"
    "\"O@AdobeOrg\"},\"workspace\":{\"id\":\"3\",\"details\":{\"credentials\":[{\"id\":\"4\","
    "\"integration_type\":\"apikey\",\"api_key\":{\"client_id\":\"other\"}},{\"id\":\"5\","
    "\"integration_type\":\"oauth_server_to_server\",\"oauth_server_to_server\":{\"client_id\":"
    "\"C\",\"client_secrets\":[\"s1\"],\"technical_account_id\":\"T@techacct.adobe.com\","
    "\"scopes\":[\"openid\",\"AdobeID\",\"session\"]}}],\"services\":[]}}}}";
static const char project_jwt[] =
    "{\"project\":{\"org\":{\"ims_org_id\":\"O@AdobeOrg\"},\"workspace\":{\"details\":"
    "{\"credentials\":[{\"integration_type\":\"service\",\"jwt\":{\"client_id\":\"C\","
    "\"client_secret\":\"s1\",\"technical_account_id\":\"T@techacct.adobe.com\","
    "\"meta_scopes\":[\"ent_dataservices_sdk\"]}}]}}}}";
static const char aio[] =
    "{\"$ims\":{\"contexts\":{\"cli\":{\"access_token\":{\"token\":\"x\"}},\"my\":{"
    "\"client_id\":\"C\",\"client_secrets\":[\"s1\"],\"ims_org_id\":\"O@AdobeOrg\","
    "\"technical_account_id\":\"T@techacct.adobe.com\",\"scopes\":[\"openid\",\"AdobeID\","
    "\"session\"]}}}}";
static const char aio_jwt[] =
    "{\"ims\":{\"contexts\":{\"my\":{\"client_id\":\"C\",\"client_secret\":\"s1\","
    "\"technical_account_id\":\"T@techacct.adobe.com\",\"meta_scopes\":[\"x\"],\"ims_org_id\":"
    "\"O@AdobeOrg\",\"private_key\":\"" PEM "\"}}}}";
static const char postman[] =
    "{\"id\":\"1\",\"name\":\"env\",\"values\":[{\"key\":\"CLIENT_SECRET\",\"value\":\"s1\","
    "\"type\":\"secret\",\"enabled\":true},{\"key\":\"API_KEY\",\"value\":\"C\"},"
    "{\"key\":\"API_KEY\",\"value\":\"off\",\"enabled\":false},"
    "{\"key\":\"IMS_ORG\",\"value\":\"O@AdobeOrg\"},{\"key\":\"SANDBOX_NAME\",\"value\":"
    "\"dev\"},"
    "{\"key\":\"SCOPES\",\"value\":\"openid,AdobeID,session\"},{\"key\":\"ACCESS_TOKEN\","
    "\"value\":\"\"},{\"key\":\"TECHNICAL_ACCOUNT_ID\",\"value\":\"T@techacct.adobe.com\"}]}";

#define ACCOUNT "T@techacct.adobe.com"
#define SCOPES  "openid,AdobeID,session"

static const struct {
    const char *text, *shape, *sandbox, *scopes, *account, *key_file, *environment;
    size_t secrets;
    bool key;
} row[] = {
    { aepp_oauth, "aepp config", "dev", SCOPES, NULL, NULL, "prod", 1, false },
    { aepp_jwt, "aepp config", "dev", NULL, ACCOUNT, "keys/private.key", "stage", 1, false },
    { console, "Developer Console credential", NULL, SCOPES, ACCOUNT, NULL, NULL, 2, false },
    { console_jwt, "Developer Console credential", NULL, NULL, ACCOUNT, NULL, NULL, 1, false },
    { project, "Developer Console project", NULL, SCOPES, ACCOUNT, NULL, NULL, 1, false },
    { project_jwt, "Developer Console project", NULL, NULL, ACCOUNT, NULL, NULL, 1, false },
    { aio, "aio config", NULL, SCOPES, ACCOUNT, NULL, NULL, 1, false },
    { aio_jwt, "aio config", NULL, NULL, ACCOUNT, NULL, NULL, 1, true },
    { postman, "Postman environment", "dev", SCOPES, ACCOUNT, NULL, NULL, 1, false },
};
#define ROWS (sizeof row / sizeof *row)

static void assert_same(const char *text, const char *expected)
{
    if (expected)
        assert_string_equal(text, expected);
    else
        assert_null(text);
}

static void every_shape_is_recognised(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        struct credential found;
        struct fault fault = { 0 };
        assert_int_equal(credential_parse(row[i].text, strlen(row[i].text), &found, &fault),
                         OK);
        assert_string_equal(found.shape, row[i].shape);
        assert_string_equal(found.org, "O@AdobeOrg");
        assert_string_equal(found.client_id, "C");
        assert_same(found.sandbox, row[i].sandbox);
        assert_same(found.scopes, row[i].scopes);
        assert_same(found.technical_account, row[i].account);
        assert_same(found.key_file, row[i].key_file);
        assert_same(found.environment, row[i].environment);
        assert_int_equal(found.secrets, row[i].secrets);
        for (size_t n = 0; n < found.secrets; n++)
            assert_int_equal(secret_reveal(&found.secret[n])[1], '1' + (int)n);
        assert_int_equal(secret_reveal(&found.private_key) != NULL, row[i].key);
        credential_release(&found);
        assert_null(found.org);
    }
}

static void keys_may_stand_line_by_line(void **state)
{
    (void)state;
    static const char text[] =
        "{\"ims\":{\"contexts\":{\"x\":{\"CLIENT_ID\":\"C\",\"client_secret\":\"s\","
        "\"private_key\":[\"-----BEGIN RSA PRIVATE KEY-----\",\"ab\",\"-----END-----\"]}}}}";
    struct credential found;
    struct fault fault = { 0 };
    assert_int_equal(credential_parse(text, strlen(text), &found, &fault), OK);
    assert_string_equal(secret_reveal(&found.private_key),
                        "-----BEGIN RSA PRIVATE KEY-----\nab\n-----END-----\n");
    credential_release(&found);
}

static void odd_values_are_as_if_absent(void **state)
{
    (void)state;
    static const char text[] =
        "{\"client_id\":\"C\",\"client_secrets\":[\"s\",\"s\",7,null,\"\",\"a\\nb\"],"
        "\"org_id\":7,\"scopes\":[1,\" a  b,\",null,\"c\"],\"private_key\":\"no pem\","
        "\"sandbox-name\":\"caf\\u00e9\",\"technical_account_id\":\"\"}";
    struct credential found;
    struct fault fault = { 0 };
    assert_int_equal(credential_parse(text, strlen(text), &found, &fault), OK);
    assert_int_equal(found.secrets, 1);
    assert_string_equal(found.scopes, "a,b,c");
    assert_null(found.org);
    assert_null(found.sandbox);
    assert_null(found.technical_account);
    assert_null(secret_reveal(&found.private_key));
    credential_release(&found);
}

static void others_are_refused_with_a_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } bad[] = {
        { "", "aepp config, a Developer Console" },
        { "client_id: C\nsecret: hush", "is not JSON; known are" },
        { "[]", "has no known shape; known are an aepp config" },
        { "{\"type\":\"service_account\",\"private_key\":\"hush\"}", "has no known shape" },
        { "{\"access_token\":\"hush\"}", "a Postman environment" },
        { "{\"values\":[{\"key\":\"HOST\",\"value\":\"hush\"}]}", "neither a client id nor" },
        { "{\"values\":7}", "neither a client id nor" },
        { "{\"project\":{\"workspace\":{\"details\":{}}}}", "neither a client id nor" },
        { "{\"project\":{\"workspace\":{\"details\":{\"credentials\":[{\"jwt\":{\"client_id\":"
          "\"a\",\"client_secret\":\"hush\"}},{\"oauth_server_to_server\":{}}]}}}}",
          "2 server-to-server credentials: keep one" },
        { "{\"ims\":{\"contexts\":{\"a\":{\"client_secret\":\"hush\"},\"b\":{\"client_"
          "secrets\":"
          "[]}}}}",
          "2 contexts that have a secret: keep one" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct credential found = { .org = NULL };
        struct fault fault = { 0 };
        assert_int_equal(credential_parse(bad[i].text, strlen(bad[i].text), &found, &fault),
                         ERR_SECRET);
        assert_non_null(strstr(fault.text, bad[i].why));
        assert_null(strstr(fault.text, "hush"));
        assert_null(found.client_id);
    }
}

static void parse_damaged(const char *body, size_t len)
{
    struct credential found = { .org = NULL };
    struct fault fault = { 0 };
    if (!credential_parse(body, len, &found, &fault))
        assert_true(found.client_id || found.secrets);
    credential_release(&found);
}

static void damaged_files_are_survived(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++)
        damage_each(row[i].text, 1000, parse_damaged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_is_recognised),
        cmocka_unit_test(keys_may_stand_line_by_line),
        cmocka_unit_test(odd_values_are_as_if_absent),
        cmocka_unit_test(others_are_refused_with_a_sentence),
        cmocka_unit_test(damaged_files_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
