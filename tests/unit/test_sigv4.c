/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures against the examples that AWS publishes for S3 ("Signature Calculations for the
 * Authorization Header", header, chunked and query forms) and the get-vanilla case of its generic
 * test suite; stage by stage for the first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/encode.h"
#include "lib/s3/sigv4.h"

#define EMPTY  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define BODY   "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
#define BUCKET "examplebucket.s3.amazonaws.com"
#define T2013  "20130524T000000Z"
#define AT2013 1369353600000 /* 2013-05-24T00:00:00Z */
#define AT2015 1440938160000 /* 2015-08-30T12:36:00Z */

#define COMMON(host, payload)                                                                  \
    { "host", host }, { "x-amz-content-sha256", payload },                                     \
    {                                                                                          \
        "x-amz-date", T2013                                                                    \
    }

struct example {
    const char *name, *method, *path, *query, *payload, *signature;
    struct sigv4_header header[8];
    size_t headers;
};

#define CHUNKED         "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
#define CHUNKED_TRAILER "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"

/* clang-format off */
static const struct example s3_example[] = {
    { "GET with a range", "GET", "/test.txt", "", EMPTY,
      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
      { { "range", "bytes=0-9" }, COMMON(BUCKET, EMPTY) }, 4 },
    { "PUT with an encoded path", "PUT", "/test%24file.text", "", BODY,
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
      { COMMON(BUCKET, BODY), { "x-amz-storage-class", "REDUCED_REDUNDANCY" },
        { "date", "Fri, 24 May 2013 00:00:00 GMT" } }, 5 },
    { "query without value", "GET", "/", "lifecycle=", EMPTY,
      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
      { COMMON(BUCKET, EMPTY) }, 3 },
    { "query with two values", "GET", "/", "max-keys=2&prefix=J", EMPTY,
      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
      { COMMON(BUCKET, EMPTY) }, 3 },
    { "presigned, unsigned payload", "GET", "/test.txt",
      "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2F"
      "us-east-1%2Fs3%2Faws4_request&X-Amz-Date=" T2013 "&X-Amz-Expires=86400&"
      "X-Amz-SignedHeaders=host", SIGV4_UNSIGNED,
      "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
      { { "host", BUCKET } }, 1 },
    { "chunked, seed", "PUT", "/examplebucket/chunkObject.txt", "", CHUNKED,
      "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
      { COMMON("s3.amazonaws.com", CHUNKED), { "x-amz-storage-class", "REDUCED_REDUNDANCY" },
        { "x-amz-decoded-content-length", "66560" }, { "content-encoding", "aws-chunked" },
        { "content-length", "66824" } }, 7 },
    { "chunked with trailer, seed", "PUT", "/examplebucket/chunkObject.txt", "", CHUNKED_TRAILER,
      "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
      { COMMON("s3.amazonaws.com", CHUNKED_TRAILER),
        { "x-amz-storage-class", "REDUCED_REDUNDANCY" },
        { "x-amz-decoded-content-length", "66560" }, { "content-encoding", "aws-chunked" },
        { "x-amz-trailer", "x-amz-checksum-crc32c" } }, 7 },
};
/* clang-format on */

static struct sigv4_scope s3_scope(void)
{
    return (struct sigv4_scope){ .access_key = "AKIAIOSFODNN7EXAMPLE",
                                 .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                                 .region = "us-east-1",
                                 .service = "s3",
                                 .at = { AT2013 } };
}

static struct sigv4_request request_of(const struct example *example)
{
    return (struct sigv4_request){ .method = example->method,
                                   .path = example->path,
                                   .query = example->query,
                                   .header = example->header,
                                   .headers = example->headers,
                                   .payload = example->payload };
}

static void the_stages_are_as_published(void **state)
{
    (void)state;
    struct sigv4_request request = request_of(&s3_example[0]);
    struct sigv4_scope scope = s3_scope();
    AUTO_BUF canonical = BUF_INIT(4096);
    AUTO_BUF to_sign = BUF_INIT(4096);
    AUTO_BUF header = BUF_INIT(4096);
    char signature[65];

    sigv4_canonical_request(&request, &canonical);
    assert_string_equal(buf_text(&canonical),
                        "GET\n/test.txt\n\nhost:" BUCKET "\nrange:bytes=0-9\n"
                        "x-amz-content-sha256:" EMPTY "\nx-amz-date:" T2013 "\n\n"
                        "host;range;x-amz-content-sha256;x-amz-date\n" EMPTY);
    sigv4_string_to_sign(buf_text(&canonical), &scope, &to_sign);
    assert_string_equal(buf_text(&to_sign),
                        "AWS4-HMAC-SHA256\n" T2013 "\n20130524/us-east-1/s3/aws4_request\n"
                        "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972");
    sigv4_signature(buf_text(&to_sign), &scope, signature);
    assert_string_equal(signature, s3_example[0].signature);
    sigv4_authorization(&request, &scope, &header);
    assert_string_equal(
        buf_text(&header),
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"
        "aws4_request, SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void all_examples_have_their_signature(void **state)
{
    (void)state;
    struct sigv4_scope scope = s3_scope();
    for (size_t i = 0; i < sizeof s3_example / sizeof *s3_example; i++) {
        struct sigv4_request request = request_of(&s3_example[i]);
        AUTO_BUF header = BUF_INIT(4096);
        sigv4_authorization(&request, &scope, &header);
        print_message("%s\n", s3_example[i].name);
        assert_string_equal(strstr(buf_text(&header), "Signature=") + strlen("Signature="),
                            s3_example[i].signature);
    }
}

static void generic_suite_get_vanilla(void **state)
{
    (void)state;
    const struct sigv4_header header[] = { { "x-amz-date", "20150830T123600Z" },
                                           { "host", "example.amazonaws.com" } };
    const struct sigv4_request request = { "GET", "/", "", header, 2, EMPTY };
    const struct sigv4_scope scope = { .access_key = "AKIDEXAMPLE",
                                       .secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                                       .region = "us-east-1",
                                       .service = "service",
                                       .at = { AT2015 } };
    AUTO_BUF out = BUF_INIT(4096);
    sigv4_authorization(&request, &scope, &out);
    assert_non_null(
        strstr(buf_text(&out),
               "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"));
}

static void headers_are_sorted_by_name_and_trimmed(void **state)
{
    (void)state;
    /* "x-amz-meta-a:" sorts behind "x-amz-meta-a-b:", the bare name before it */
    const struct sigv4_header header[] = { { "x-amz-meta-a-b", "  two   blanks\t" },
                                           { "x-amz-meta-a", "" },
                                           { "host", "h" } };
    const struct sigv4_request request = { "PUT", "/k", "", header, 3, "p" };
    AUTO_BUF out = BUF_INIT(4096);
    sigv4_canonical_request(&request, &out);
    assert_string_equal(buf_text(&out), "PUT\n/k\n\nhost:h\nx-amz-meta-a:\n"
                                        "x-amz-meta-a-b:two blanks\n\n"
                                        "host;x-amz-meta-a;x-amz-meta-a-b\np");
}

static void the_key_is_kept_for_its_day_only(void **state)
{
    (void)state;
    struct sigv4_key cache = { 0 };
    char plain[65], cached[65], key[65];
    for (int64_t day = 0; day < 3; day++)
        for (int64_t hour = 0; hour < 24; hour += 23) {
            struct sigv4_scope scope = s3_scope();
            scope.at.ms += (day * 24 + hour) * 3600 * 1000;
            sigv4_signature("text", &scope, plain);
            scope.cache = &cache;
            sigv4_signature("text", &scope, cached);
            assert_string_equal(plain, cached);
            encode_hex(cache.bytes, sizeof cache.bytes, key);
            if (day == 0) /* published */
                assert_string_equal(
                    key, "dbb893acc010964918f1fd433add87c70e8b0db6be30c1fbeafefa5ec6ba8378");
        }
}

static void dates_are_utc_seconds(void **state)
{
    (void)state;
    char text[17];
    sigv4_date((struct wall){ AT2013 + 999 }, text);
    assert_string_equal(text, "20130524T000000Z");
    sigv4_date((struct wall){ AT2013 - 1 }, text);
    assert_string_equal(text, "20130523T235959Z");
}

static int init(void **state)
{
    (void)state;
    digest_init();
    return 0;
}

static int release(void **state)
{
    (void)state;
    digest_release();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_stages_are_as_published),
        cmocka_unit_test(all_examples_have_their_signature),
        cmocka_unit_test(generic_suite_get_vanilla),
        cmocka_unit_test(headers_are_sorted_by_name_and_trimmed),
        cmocka_unit_test(the_key_is_kept_for_its_day_only),
        cmocka_unit_test(dates_are_utc_seconds),
    };
    return cmocka_run_group_tests(tests, init, release);
}
