/* SPDX-License-Identifier: Apache-2.0 */
/* What the S3 client makes of answers: rows, sentences, and the 200s that are not believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/s3_fixture.h"

static enum err answer(struct fixture *f, int status, const char *headers, const char *body)
{
    struct http_req *req = &f->attempt.req;
    buf_init(&req->headers, 64 * 1024);
    buf_init(&req->content, 1024 * 1024);
    req->status = status;
    buf_add_text(&req->headers, headers);
    buf_add_text(&req->content, body);
    enum err err = s3_answer_read(&f->attempt, AT);
    print_message("%d: %s: %s\n", status, err_name(err), f->call.fault.text);
    assert_int_equal(f->call.fault.code, err);
    return err;
}

static void assert_answer(enum s3_op op, int status, const char *headers, const char *body,
                          enum err err, const char *text)
{
    struct fixture f = fixture_of(op);
    f.options.traits = all;
    begin(&f);
    assert_int_equal(answer(&f, status, headers, body), err);
    assert_non_null(strstr(f.call.fault.text, text));
    end(&f);
}

#define ERROR(code, rest) XML "<Error><Code>" code "</Code>" rest "</Error>"

static void refusals_become_rows_and_sentences(void **state)
{
    (void)state;
    assert_answer(S3_PUT, 503, "Retry-After: 3\r\n", ERROR("SlowDown", ""), ERR_THROTTLED,
                  "PutObject: 503 SlowDown");
    assert_answer(S3_PUT, 403, "", ERROR("AccessDenied", "<Message/>"), ERR_DENIED,
                  "grant s3:PutObject");
    assert_answer(S3_HEAD, 403, "", "", ERR_DENIED, "grant s3:GetObject and s3:ListBucket");
    assert_answer(S3_HEAD, 403, "Date: Tue, 14 Nov 2023 22:33:20 GMT\r\n", "", ERR_SKEW, "403");
    assert_answer(S3_HEAD, 403, "Date: Tue, 14 Nov 2023 22:18:20 GMT\r\n", "", ERR_DENIED,
                  "403");
    assert_answer(S3_HEAD, 404, "", "", ERR_NOT_FOUND, "404");
    assert_answer(S3_PART, 404, "", ERROR("NoSuchKey", ""), ERR_NO_UPLOAD, "NoSuchKey");
    assert_answer(S3_GET, 404, "", ERROR("NoSuchKey", ""), ERR_NOT_FOUND, "NoSuchKey");
    assert_answer(S3_PART, 404, "", ERROR("NoSuchBucket", ""), ERR_DENIED, "create the bucket");
    assert_answer(S3_PUT, 403, "", ERROR("SignatureDoesNotMatch", "<Message>m</Message>"),
                  ERR_AUTH, "m: check the secret key");
    assert_answer(S3_PUT, 502, "", "<html><body>Bad Gateway<br></body></html>", ERR_SERVER,
                  "502");
    assert_answer(S3_PUT, 400, "", "", ERR_REQUEST, "400");
}

static void regions_are_named(void **state)
{
    (void)state;
    assert_answer(S3_PUT, 301, "x-amz-bucket-region: eu-west-1\r\n",
                  ERROR("PermanentRedirect", ""), ERR_REGION,
                  "region eu-west-1: set s3.region");
    assert_answer(S3_PUT, 400, "",
                  ERROR("AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
                  ERR_REGION, "region eu-west-1: set s3.region");
    assert_answer(S3_HEAD, 400, "x-amz-bucket-region: eu-west-1\r\n", "", ERR_REGION,
                  "eu-west-1");
    assert_answer(S3_HEAD, 400, "x-amz-bucket-region: us-east-1\r\n", "", ERR_REQUEST, "400");
    assert_answer(S3_HEAD, 307, "", "", ERR_REGION, "307");
}

static void retry_after_is_kept(void **state)
{
    (void)state;
    struct fixture f = fixture_of(S3_PUT);
    begin(&f);
    answer(&f, 503, "Retry-After: 3\r\n", "");
    assert_int_equal(f.call.fault.retry_after_ms, 3000);
    assert_int_equal(f.call.fault.http_status, 503);
    end(&f);
}

static void aborting_what_is_gone_is_success(void **state)
{
    (void)state;
    assert_answer(S3_ABORT, 204, "", "", OK, "");
    assert_answer(S3_ABORT, 404, "", ERROR("NoSuchUpload", ""), OK, "");
    assert_answer(S3_ABORT, 404, "", ERROR("NoSuchKey", ""), OK, "");
    assert_answer(S3_ABORT, 404, "", ERROR("NoSuchBucket", ""), ERR_DENIED, "NoSuchBucket");
    assert_answer(S3_DELETE, 204, "", "", OK, "");
    assert_answer(S3_DELETE, 404, "", ERROR("NoSuchKey", ""), OK, "");
    assert_answer(S3_DELETE, 404, "", ERROR("NoSuchBucket", ""), ERR_DENIED, "NoSuchBucket");
    assert_answer(S3_DELETE, 403, "", ERROR("AccessDenied", ""), ERR_DENIED,
                  "grant s3:DeleteObject");
    assert_answer(S3_DELETE, 503, "", ERROR("SlowDown", ""), ERR_THROTTLED,
                  "DeleteObject: 503");
}

static void a_200_is_not_believed(void **state)
{
    (void)state;
    assert_answer(S3_COMPLETE, 200, "", ERROR("InternalError", ""), ERR_SERVER,
                  "InternalError");
    assert_answer(S3_COMPLETE, 200, "", "  \n" ERROR("PreconditionFailed", ""), ERR_EXISTS,
                  "PreconditionFailed");
    assert_answer(S3_COMPLETE, 200, "", "   ", ERR_BAD_RESPONSE, "empty");
    assert_answer(S3_COMPLETE, 200, "", "<Complete", ERR_BAD_RESPONSE, "broken");
    assert_answer(S3_COMPLETE, 200, "", "<Other/>", ERR_BAD_RESPONSE, "another kind");
    assert_answer(S3_COMPLETE, 200, "",
                  "<CompleteMultipartUploadResult><ChecksumCRC32C>AAAAAQ==</ChecksumCRC32C>"
                  "</CompleteMultipartUploadResult>",
                  ERR_DIGEST, "the store has CRC-32C 00000001");
    assert_answer(S3_CREATE, 200, "", "<InitiateMultipartUploadResult/>", ERR_BAD_RESPONSE,
                  "no UploadId");
    assert_answer(S3_PART, 200, "", "", ERR_BAD_RESPONSE, "no ETag");
    assert_answer(S3_PUT, 200, "x-amz-checksum-crc32c: AAAAAQ==\r\n", "", ERR_DIGEST,
                  "00000001");
    assert_answer(S3_HEAD, 200, "", "", ERR_BAD_RESPONSE, "no Content-Length");
}

static void assert_etag(enum s3_op op, const char *headers, const char *body,
                        const char *expected)
{
    struct fixture f = fixture_of(op);
    f.options.traits = all;
    begin(&f);
    assert_int_equal(answer(&f, 200, headers, body), OK);
    assert_string_equal(f.call.etag, expected);
    end(&f);
}

#define COMPLETED(rest)                                                                        \
    " \n" XML "<CompleteMultipartUploadResult>" rest "</CompleteMultipartUploadResult>"

static void etags_lose_their_quotes(void **state)
{
    (void)state;
    assert_etag(S3_PUT, "etag: \"abc\"\r\n", "", "abc");
    assert_etag(S3_PART, "ETag: abc-1\r\n", "", "abc-1");
    assert_etag(S3_PUT, "", "", "");
    assert_etag(S3_COMPLETE, "", COMPLETED("<ETag>&quot;abc-2&quot;</ETag>"), "abc-2");
    assert_etag(S3_COMPLETE, "", COMPLETED("<ETag></ETag>"), ""); /* Ceph */
    /* a checksum of checksums is not of the bytes */
    assert_etag(S3_COMPLETE, "",
                COMPLETED("<ETag>e</ETag><ChecksumCRC32C>AAAAAQ==-2</ChecksumCRC32C>"), "e");
    assert_etag(S3_COMPLETE, "",
                COMPLETED("<ETag>e</ETag><ChecksumCRC32C>AAAAAQ==</ChecksumCRC32C>"
                          "<ChecksumType>COMPOSITE</ChecksumType>"),
                "e");
}

static void assert_found(const char *headers, bool has_crc32c, uint32_t crc32c)
{
    struct fixture f = fixture_of(S3_HEAD);
    begin(&f);
    assert_int_equal(answer(&f, 200, headers, ""), OK);
    assert_int_equal(f.call.got_size, 5);
    assert_int_equal(f.call.has_crc32c, has_crc32c);
    if (has_crc32c)
        assert_int_equal(f.call.got_crc32c, crc32c);
    end(&f);
}

#define LENGTH "Content-Length: 5\r\n"

static void head_prefers_the_stores_own_checksum(void **state)
{
    (void)state;
    assert_found(LENGTH, false, 0);
    assert_found(LENGTH "x-amz-checksum-crc32c: mnG7TA==\r\n", true, 0x9a71bb4c);
    assert_found(LENGTH "x-amz-meta-sluice-crc32c: 9a71bb4c\r\n", true, 0x9a71bb4c);
    assert_found(LENGTH
                 "x-amz-meta-sluice-crc32c: 00000001\r\n"
                 "x-amz-checksum-crc32c: mnG7TA==\r\nx-amz-checksum-type: FULL_OBJECT\r\n",
                 true, 0x9a71bb4c);
    assert_found(LENGTH "x-amz-checksum-crc32c: mnG7TA==-3\r\n", false, 0);
    assert_found(LENGTH "x-amz-checksum-crc32c: mnG7TA==\r\nx-amz-checksum-type: COMPOSITE\r\n",
                 false, 0);
    assert_found(LENGTH "x-amz-meta-sluice-crc32c: 9a71bb4\r\n", false, 0);
    assert_found(LENGTH "x-amz-meta-sluice-crc32c: 9a71bb4c0\r\n", false, 0);
    assert_found(LENGTH "x-amz-meta-sluice-crc32c: 9A71BB4C\r\n", false, 0);
}

static void content_is_checked_and_handed_over(void **state)
{
    (void)state;
    struct fixture f = fixture_of(S3_GET);
    begin(&f);
    assert_int_equal(answer(&f, 200,
                            LENGTH "x-amz-meta-sluice-src: s\r\n"
                                   "x-amz-meta-sluice-crc32c: 9a71bb4c\r\n",
                            "hello"),
                     OK);
    assert_string_equal(buf_text(&f.call.content), "hello");
    assert_string_equal(f.call.got_source, "s");
    end(&f);
    assert_answer(S3_GET, 200, LENGTH "x-amz-meta-sluice-crc32c: 9a71bb4c\r\n", "hellO",
                  ERR_DIGEST, "9a71bb4c");
    assert_answer(S3_GET, 200, LENGTH, "hell", ERR_BAD_RESPONSE, "Content-Length");
}

/* ---- lists of parts */

#define PART(number, size, etag)                                                               \
    "<Part><PartNumber>" number "</PartNumber><Size>" size "</Size><ETag>" etag "</ETag></"    \
    "Part>"
#define LIST(rest) XML "<ListPartsResult>" rest "</ListPartsResult>"
#define NEXT(marker)                                                                           \
    "<IsTruncated>true</IsTruncated><NextPartNumberMarker>" marker "</NextPartNumberMarker>"

static void pages_are_joined(void **state)
{
    (void)state;
    struct fixture f = fixture_of(S3_LIST_PARTS);
    begin(&f);
    assert_int_equal(
        answer(&f, 200, "", LIST(PART("1", "5", "\"a\"") PART("3", "7", "b") NEXT("3"))), OK);
    assert_true(f.attempt.more);
    assert_int_equal(f.attempt.marker, 3);
    buf_clear(&f.attempt.req.content);
    buf_add_text(&f.attempt.req.content, LIST(PART("4", "0", "c")));
    assert_int_equal(s3_answer_read(&f.attempt, AT), OK);
    assert_false(f.attempt.more);
    assert_int_equal(f.call.listed_count, 3);
    assert_string_equal(f.call.listed[0].etag, "a");
    assert_int_equal(f.call.listed[1].number, 3);
    assert_int_equal(f.call.listed[1].size, 7);
    assert_int_equal(f.call.listed[2].number, 4);
    assert_false(f.call.listed[2].has_crc32c);

    /* a page that breaks leaves those before it as they were */
    buf_clear(&f.attempt.req.content);
    buf_add_text(&f.attempt.req.content, "<ListPartsResult>" PART("5", "5", "d"));
    assert_int_equal(s3_answer_read(&f.attempt, AT), ERR_BAD_RESPONSE);
    assert_int_equal(f.call.listed_count, 3);
    end(&f);
}

static void senseless_lists_are_refused(void **state)
{
    (void)state;
    assert_answer(S3_LIST_PARTS, 200, "", LIST(""), OK, "");
    assert_answer(S3_LIST_PARTS, 200, "", LIST(PART("2", "5", "a") PART("1", "5", "b")),
                  ERR_BAD_RESPONSE, "senseless");
    assert_answer(S3_LIST_PARTS, 200, "", LIST(PART("1", "5", "a") PART("1", "5", "b")),
                  ERR_BAD_RESPONSE, "senseless");
    assert_answer(S3_LIST_PARTS, 200, "", LIST(PART("0", "5", "a")), ERR_BAD_RESPONSE,
                  "senseless");
    assert_answer(S3_LIST_PARTS, 200, "", LIST(PART("10001", "5", "a")), ERR_BAD_RESPONSE,
                  "senseless");
    assert_answer(S3_LIST_PARTS, 200, "", LIST(PART("1", "-5", "a")), ERR_BAD_RESPONSE,
                  "senseless");
    assert_answer(S3_LIST_PARTS, 200, "", LIST("<Part><PartNumber>1</PartNumber></Part>"),
                  ERR_BAD_RESPONSE, "senseless");
    assert_answer(S3_LIST_PARTS, 200, "", LIST(NEXT("0")), ERR_BAD_RESPONSE, "next begins");
    assert_answer(S3_LIST_PARTS, 200, "", LIST("<IsTruncated>true</IsTruncated>"),
                  ERR_BAD_RESPONSE, "next begins");
    assert_answer(S3_LIST_PARTS, 404, "", ERROR("NoSuchUpload", ""), ERR_NO_UPLOAD, "404");
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
        cmocka_unit_test(refusals_become_rows_and_sentences),
        cmocka_unit_test(regions_are_named),
        cmocka_unit_test(retry_after_is_kept),
        cmocka_unit_test(aborting_what_is_gone_is_success),
        cmocka_unit_test(a_200_is_not_believed),
        cmocka_unit_test(etags_lose_their_quotes),
        cmocka_unit_test(head_prefers_the_stores_own_checksum),
        cmocka_unit_test(content_is_checked_and_handed_over),
        cmocka_unit_test(pages_are_joined),
        cmocka_unit_test(senseless_lists_are_refused),
    };
    return cmocka_run_group_tests(tests, init, release);
}
