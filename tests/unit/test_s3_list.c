/* SPDX-License-Identifier: Apache-2.0 */
/* ListObjectsV2 and ranged GETs: what is asked, what is believed of the answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/s3_fixture.h"

#define PAGE(inner)                                                                            \
    XML "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">" inner           \
        "</ListBucketResult>"
#define OBJECT(key, size)                                                                      \
    "<Contents><Key>" key "</Key><LastModified>2023-11-14T22:13:20.000Z</LastModified>"        \
    "<ETag>&quot;e&quot;</ETag><Size>" size "</Size></Contents>"

static enum err answer(struct fixture *f, int status, const char *headers, const char *body)
{
    struct http_req *req = &f->attempt.req;
    buf_release(&req->headers);
    buf_release(&req->content);
    buf_init(&req->headers, 64 * 1024);
    buf_init(&req->content, 1024 * 1024);
    req->status = status;
    buf_add_text(&req->headers, headers);
    buf_add_text(&req->content, body);
    return s3_answer_read(&f->attempt, AT);
}

static void the_prefix_goes_into_the_query(void **state)
{
    struct fixture f = fixture_of(S3_LIST);
    (void)state;
    f.call.key = "a b/+";
    begin(&f);
    assert_string_equal(buf_text(&f.request.url),
                        "http://127.0.0.1:7480/lake/?encoding-type=url&list-type=2&"
                        "max-keys=250&prefix=a%20b%2F%2B");
    assert_string_equal(f.request.method, "GET");
    s3_request_release(&f.request);
    f.call.token = "t/=";
    s3_request_build(&f.attempt, AT, &f.request);
    assert_non_null(strstr(buf_text(&f.request.url), "?continuation-token=t%2F%3D&encoding"));
    end(&f);
}

static void pages_are_read(void **state)
{
    struct fixture f = fixture_of(S3_LIST);
    (void)state;
    begin(&f);
    assert_int_equal(
        answer(&f, 200, "",
               PAGE("<IsTruncated>true</IsTruncated>" OBJECT("a%2Fb+c%01%C3%A9", "7")
                        OBJECT("x", "0") "<EncodingType>url</EncodingType>"
                                         "<NextContinuationToken>n1</NextContinuationToken>")),
        OK);
    const struct s3_page *page = &f.call.page;
    assert_int_equal(page->count, 2);
    assert_string_equal(page->object[0].key, "a/b c\x01\xc3\xa9");
    assert_int_equal(page->object[0].size, 7);
    assert_int_equal(page->object[0].modified_ms, AT.ms);
    assert_string_equal(page->object[1].key, "x");
    assert_string_equal(page->next, "n1");
    /* A refusal leaves the page alone: its token is that of the request to repeat. */
    assert_int_equal(answer(&f, 503, "", XML "<Error><Code>SlowDown</Code></Error>"),
                     ERR_THROTTLED);
    assert_string_equal(page->next, "n1");
    assert_int_equal(answer(&f, 200, "", PAGE("<IsTruncated>false</IsTruncated>")), OK);
    assert_int_equal(page->count, 0);
    assert_null(page->next);
    end(&f);
}

static void a_store_that_does_not_escape_is_read_too(void **state)
{
    struct fixture f = fixture_of(S3_LIST);
    (void)state;
    begin(&f);
    assert_int_equal(answer(&f, 200, "", PAGE(OBJECT("100%25+", "1"))), OK);
    assert_string_equal(f.call.page.object[0].key, "100%25+");
    end(&f);
}

static void senseless_pages_are_refused(void **state)
{
    static const char *const body[] = {
        PAGE("<IsTruncated>true</IsTruncated>"),
        PAGE("<IsTruncated>true</IsTruncated><NextContinuationToken/>"),
        PAGE("<EncodingType>url</EncodingType>" OBJECT("%", "1")),
        PAGE("<EncodingType>url</EncodingType>" OBJECT("%4", "1")),
        PAGE("<EncodingType>url</EncodingType>" OBJECT("%zz", "1")),
        PAGE("<EncodingType>url</EncodingType>" OBJECT("a%00b", "1")),
        PAGE(OBJECT("k", "-1")),
        PAGE(OBJECT("k", "")),
        PAGE("<Contents><Key>k</Key><Size>1</Size></Contents>"),
        PAGE("<Contents><Size>1</Size></Contents>"),
        XML "<ListPartsResult/>",
        "",
    };
    (void)state;
    for (size_t i = 0; i < sizeof body / sizeof *body; i++) {
        struct fixture f = fixture_of(S3_LIST);
        begin(&f);
        print_message("%s\n", body[i]);
        assert_int_equal(answer(&f, 200, "", body[i]), ERR_BAD_RESPONSE);
        end(&f);
    }
}

static void a_range_is_asked_for_and_checked(void **state)
{
    static const struct {
        int status;
        const char *headers;
        enum err err;
    } row[] = {
        { 206, "Content-Length: 5\r\nContent-Range: bytes 10-14/20\r\n", OK },
        { 206, "Content-Length: 5\r\nContent-Range: bytes 11-15/20\r\n", ERR_BAD_RESPONSE },
        { 206, "Content-Length: 5\r\nContent-Range: bytes 10-13/20\r\n", ERR_BAD_RESPONSE },
        { 206, "Content-Length: 5\r\n", ERR_BAD_RESPONSE },
        { 200, "Content-Length: 5\r\nContent-Range: bytes 10-14/20\r\n", ERR_BAD_RESPONSE },
        /* What the store knows of the whole object is no measure for a piece of it. */
        { 206,
          "Content-Length: 5\r\nContent-Range: bytes 10-14/20\r\n"
          "x-amz-meta-sluice-crc32c: 00000001\r\n",
          OK },
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct fixture f = fixture_of(S3_GET);
        f.call.range_at = 10;
        f.call.range_len = 5;
        begin(&f);
        assert_string_equal(f.request.range, "bytes=10-14");
        assert_int_equal(answer(&f, row[i].status, row[i].headers, "hello"), row[i].err);
        end(&f);
    }
}

static void a_note_is_told_from_a_checksum(void **state)
{
    struct fixture f = fixture_of(S3_HEAD);
    (void)state;
    begin(&f);
    assert_int_equal(
        answer(&f, 200, "Content-Length: 5\r\nx-amz-meta-sluice-crc32c: 0000000a\r\n", ""), OK);
    assert_true(f.call.has_crc32c && f.call.noted_crc32c && f.call.got_crc32c == 10);
    assert_int_equal(answer(&f, 200,
                            "Content-Length: 5\r\nx-amz-checksum-crc32c: AAAACw==\r\n"
                            "x-amz-meta-sluice-crc32c: 0000000a\r\n",
                            ""),
                     OK);
    assert_true(f.call.has_crc32c && !f.call.noted_crc32c && f.call.got_crc32c == 11);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_prefix_goes_into_the_query),
        cmocka_unit_test(pages_are_read),
        cmocka_unit_test(a_store_that_does_not_escape_is_read_too),
        cmocka_unit_test(senseless_pages_are_refused),
        cmocka_unit_test(a_range_is_asked_for_and_checked),
        cmocka_unit_test(a_note_is_told_from_a_checksum),
    };
    digest_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
