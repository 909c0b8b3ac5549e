/* SPDX-License-Identifier: Apache-2.0 */
/* Assertions that a second reader verifies; keys that cannot sign; the end of tokens. */
#include "lib/aep/jwt.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "lib/base/encode.h"
#include "lib/base/json.h"
#include "lib/base/sign.h"
#include "tests/unit/aep_rig.h"

static EVP_PKEY *rsa;

static int make_key(void **state)
{
    (void)state;
    rsa = EVP_RSA_gen(2048);
    return rsa ? 0 : -1;
}

static int free_key(void **state)
{
    (void)state;
    EVP_PKEY_free(rsa);
    return 0;
}

static struct secret pem_of(EVP_PKEY *key, const char *passphrase)
{
    struct secret pem = { 0 };
    char *text;
    BIO *bio = BIO_new(BIO_s_mem());
    int len = passphrase ? (int)strlen(passphrase) : 0;
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key,
                                                   passphrase ? EVP_aes_256_cbc() : NULL,
                                                   passphrase, len, NULL, NULL),
                     1);
    long size = BIO_get_mem_data(bio, &text);
    secret_set(&pem, text, (size_t)size);
    BIO_free(bio);
    return pem;
}

/* The part of this number, decoded by the rules of RFC 7515. */
static size_t decode_part(const char *token, int part, unsigned char *out, size_t size)
{
    char text[4096];
    size_t len = 0;
    while (part-- > 0)
        token = strchr(token, '.') + 1;
    for (; token[len] && token[len] != '.'; len++)
        text[len] = token[len] == '-' ? '+' : token[len] == '_' ? '/' : token[len];
    while (len % 4)
        text[len++] = '=';
    text[len] = 0;
    assert_int_equal(decode_base64(text, out, size, &len), OK);
    out[len] = 0;
    return len;
}

static void assertions_can_be_verified(void **state)
{
    (void)state;
    struct secret pem = pem_of(rsa, NULL);
    struct jwt_claims claims = { .org = "O@AdobeOrg",
                                 .technical_account = "T@techacct.adobe.com",
                                 .ims_endpoint = "https://ims.example/",
                                 .client_id = "C\"1",
                                 .metascope = "ent_dataservices_sdk",
                                 .expires = { 1700000000999 } };
    AUTO_BUF token = BUF_INIT(4096);
    struct fault fault = { 0 };
    unsigned char bytes[4096];
    assert_int_equal(jwt_sign(&claims, &pem, &token, &fault), OK);
    assert_null(strpbrk(buf_text(&token), "+/="));
    decode_part(buf_text(&token), 0, bytes, sizeof bytes - 1);
    assert_string_equal((char *)bytes, "{\"alg\":\"RS256\",\"typ\":\"JWT\"}");
    decode_part(buf_text(&token), 1, bytes, sizeof bytes - 1);
    assert_string_equal((char *)bytes,
                        "{\"iss\":\"O@AdobeOrg\",\"sub\":\"T@techacct.adobe.com\","
                        "\"aud\":\"https://ims.example/c/C\\\"1\",\"exp\":1700000000,"
                        "\"https://ims.example/s/ent_dataservices_sdk\":true}");
    size_t len = decode_part(buf_text(&token), 2, bytes, sizeof bytes - 1);
    size_t signed_len = (size_t)(strrchr(buf_text(&token), '.') - buf_text(&token));
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, rsa), 1);
    assert_int_equal(EVP_DigestVerify(context, bytes, len,
                                      (const unsigned char *)buf_text(&token), signed_len),
                     1);
    EVP_MD_CTX_free(context);
    secret_release(&pem);
}

static void assert_unfit(struct secret pem, const char *why)
{
    AUTO_BUF out = BUF_INIT(4096);
    struct fault fault = { 0 };
    assert_int_equal(sign_rs256(&pem, "x", 1, &out, &fault), ERR_SECRET);
    assert_non_null(strstr(fault.text, why));
    assert_int_equal(out.len, 0);
    secret_release(&pem);
}

static void unfit_keys_are_told(void **state)
{
    (void)state;
    struct secret text = { 0 };
    EVP_PKEY *small = EVP_RSA_gen(1024), *curve = EVP_EC_gen("P-256");
    assert_unfit(pem_of(rsa, "hush"), "has a passphrase");
    assert_unfit(pem_of(small, NULL), "less than 2048 bits");
    assert_unfit(pem_of(curve, NULL), "no RSA key");
    secret_set(&text, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 57);
    assert_unfit(text, "no private key in PEM form");
    text = (struct secret){ 0 };
    secret_set(&text, "", 0);
    assert_unfit(text, "no private key in PEM form");
    EVP_PKEY_free(small);
    EVP_PKEY_free(curve);
    struct secret pem = pem_of(rsa, NULL); /* an earlier failure leaves nothing behind */
    AUTO_BUF out = BUF_INIT(4096);
    struct fault fault = { 0 };
    assert_int_equal(sign_rs256(&pem, "x", 1, &out, &fault), OK);
    assert_int_equal(out.len, 256);
    secret_release(&pem);
}

static char *token_with(const char *payload)
{
    char text[512];
    encode_base64(payload, strlen(payload), text);
    for (char *at = text; *at; at++)
        *at = *at == '+' ? '-' : *at == '/' ? '_' : *at == '=' ? 0 : *at;
    return mem_print("e30.%s.c2ln", text);
}

static void tokens_say_when_they_end(void **state)
{
    (void)state;
    static const struct {
        const char *payload;
        int64_t end_ms; /* -1 = it does not say */
    } row[] = {
        { "{\"exp\":1700000000}", 1700000000000 },
        { "{\"exp\":\"1700000000\",\"created_at\":\"1\",\"expires_in\":\"2\"}", 1700000000000 },
        { "{\"created_at\":\"1700000000000\",\"expires_in\":\"86400000\"}", 1700086400000 },
        { "{\"created_at\":1700000000000,\"expires_in\":1}", 1700000000001 },
        { "{\"created_at\":\"1700000000000\"}", -1 },
        { "{\"exp\":-1}", -1 },
        { "{\"exp\":1e99}", -1 },
        { "{\"exp\":99999999999999999}", -1 },
        { "{\"created_at\":\"soon\",\"expires_in\":\"2\"}", -1 },
        { "[]", -1 },
        { "not JSON", -1 },
        { "", -1 },
        { "{\"exp\":1700000000,\"name\":\"\xc3\xbf\xc3\xbe~\"}", 1700000000000 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct wall end = { -1 };
        AUTO_TEXT char *token = token_with(row[i].payload);
        assert_int_equal(jwt_expiry(token, &end), row[i].end_ms >= 0);
        assert_int_equal(end.ms, row[i].end_ms);
    }
    static const char *const bad[] = { "", ".", "..", "a.b", "opaque", "a.!!.c", "a.e30.b.c" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct wall end = { -1 };
        assert_false(jwt_expiry(bad[i], &end));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(assertions_can_be_verified),
        cmocka_unit_test(unfit_keys_are_told),
        cmocka_unit_test(tokens_say_when_they_end),
    };
    return cmocka_run_group_tests(tests, make_key, free_key);
}
