/* SPDX-License-Identifier: Apache-2.0 */
/* What the S3 client sends, as data: URLs, queries, and which header goes to which store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/s3_fixture.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* What the request says in header `name`; NULL if it is not there. */
static const char *sent(const struct fixture *f, const char *name)
{
    for (size_t i = 0; i < f->request.headers; i++)
        if (strcmp(f->request.header[i].name, name) == 0)
            return f->request.header[i].value;
    return NULL;
}

static void assert_sent(const struct fixture *f, const char *name, const char *value)
{
    print_message("%s\n", name);
    if (!value)
        assert_null(sent(f, name));
    else
        assert_string_equal(sent(f, name) ? sent(f, name) : "(absent)", value);
}

static void assert_url(const char *endpoint, bool path_style, const char *key, const char *url,
                       const char *host)
{
    struct fixture f = fixture_of(S3_GET);
    f.options.endpoint = endpoint;
    f.options.path_style = path_style;
    f.call.key = key;
    begin(&f);
    assert_string_equal(buf_text(&f.request.url), url);
    assert_string_equal(f.request.header[0].name, "host");
    assert_string_equal(f.request.header[0].value, host);
    end(&f);
}

static void urls_for_every_kind_of_endpoint(void **state)
{
    (void)state;
    assert_url("http://127.0.0.1:7480", true, "a/b", "http://127.0.0.1:7480/lake/a/b",
               "127.0.0.1:7480");
    assert_url("http://127.0.0.1:7480/", true, "k", "http://127.0.0.1:7480/lake/k",
               "127.0.0.1:7480");
    assert_url("https://s3.eu-west-1.amazonaws.com", false, "k",
               "https://lake.s3.eu-west-1.amazonaws.com/k", "lake.s3.eu-west-1.amazonaws.com");
    assert_url("https://h:443", false, "k", "https://lake.h/k", "lake.h");
    assert_url("https://h:80", false, "k", "https://lake.h:80/k", "lake.h:80");
    assert_url("http://h:80", true, "k", "http://h/lake/k", "h");
    assert_url("http://h:8080/s3/v1/", true, "k", "http://h:8080/s3/v1/lake/k", "h:8080");
    assert_url("http://h:8080/s3", false, "k", "http://lake.h:8080/s3/k", "lake.h:8080");
    assert_url("http://[::1]:7480", true, "k", "http://[::1]:7480/lake/k", "[::1]:7480");
}

static void keys_are_encoded_once(void **state)
{
    (void)state;
    assert_url("http://h", true, "dt=1/a b+c%2F~\xc3\xa9?#&;'",
               "http://h/lake/dt%3D1/a%20b%2Bc%252F~%C3%A9%3F%23%26%3B%27", "h");
    assert_url("http://h", true, "/a//b/../c/.", "http://h/lake//a//b/../c/.", "h");
}

static void assert_query(enum s3_op op, const char *method, const char *query)
{
    struct fixture f = fixture_of(op);
    f.call.part_number = 7;
    f.attempt.marker = 1000;
    begin(&f);
    assert_string_equal(f.request.method, method);
    assert_string_equal(buf_text(&f.request.query), query);
    const char *in_url = strchr(buf_text(&f.request.url), '?');
    assert_string_equal(in_url ? in_url + 1 : "", query);
    end(&f);
}

static void queries_are_canonical(void **state)
{
    (void)state;
    assert_query(S3_PUT, "PUT", "");
    assert_query(S3_CREATE, "POST", "uploads=");
    assert_query(S3_PART, "PUT", "partNumber=7&uploadId=u%2F1%20~%2B");
    assert_query(S3_COMPLETE, "POST", "uploadId=u%2F1%20~%2B");
    assert_query(S3_ABORT, "DELETE", "uploadId=u%2F1%20~%2B");
    assert_query(S3_DELETE, "DELETE", "");
    assert_query(S3_LIST_PARTS, "GET",
                 "max-parts=1000&part-number-marker=1000&uploadId=u%2F1%20~%2B");
    assert_query(S3_HEAD, "HEAD", "");
    assert_query(S3_GET, "GET", "");
}

static void an_unproven_store_gets_no_surprises(void **state)
{
    (void)state;
    struct fixture f = fixture_of(S3_PUT);
    f.call.create_only = true;
    f.call.body_crc32c = 0x9a71bb4c;
    f.call.source = "01B-1:5";
    begin(&f);
    assert_sent(&f, "if-none-match", NULL);
    assert_sent(&f, "x-amz-checksum-crc32c", NULL);
    assert_sent(&f, "x-amz-security-token", NULL);
    assert_sent(&f, "x-amz-date", "20231114T221320Z");
    assert_sent(&f, "x-amz-content-sha256",
                "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    assert_sent(&f, "content-type", "application/octet-stream");
    assert_sent(&f, "x-amz-meta-sluice-src", "01B-1:5");
    assert_sent(&f, "x-amz-meta-sluice-crc32c", "9a71bb4c");
    end(&f);
}

static void a_proven_store_checks_for_us(void **state)
{
    (void)state;
    struct fixture f = fixture_of(S3_PUT);
    f.options.traits = all;
    f.call.create_only = true;
    f.call.body_crc32c = 0x9a71bb4c;
    f.call.content_type = "text/csv";
    begin(&f);
    assert_sent(&f, "if-none-match", "*");
    assert_sent(&f, "x-amz-checksum-crc32c", "mnG7TA==");
    assert_sent(&f, "content-type", "text/csv");
    assert_sent(&f, "x-amz-meta-sluice-src", NULL);
    end(&f);
}

static void assert_payload(const char *endpoint, enum s3_payload payload, bool checks,
                           enum s3_op op, bool is_unsigned)
{
    struct fixture f = fixture_of(op);
    f.options.endpoint = endpoint;
    f.options.payload = payload;
    f.options.traits.checks_crc32c = checks;
    begin(&f);
    assert_int_equal(strcmp(sent(&f, "x-amz-content-sha256"), SIGV4_UNSIGNED) == 0,
                     is_unsigned);
    if (is_unsigned) /* something must protect the bytes */
        assert_non_null(sent(&f, "x-amz-checksum-crc32c"));
    end(&f);
}

static void payload_is_unsigned_only_where_it_is_safe(void **state)
{
    (void)state;
    assert_payload("https://h", S3_PAYLOAD_AUTO, true, S3_PUT, true);
    assert_payload("HTTPS://h", S3_PAYLOAD_AUTO, true, S3_PART, true);
    assert_payload("https://h", S3_PAYLOAD_AUTO, false, S3_PUT, false);
    assert_payload("http://h", S3_PAYLOAD_AUTO, true, S3_PUT, false);
    assert_payload("https://h", S3_PAYLOAD_SIGNED, true, S3_PUT, false);
    assert_payload("http://h", S3_PAYLOAD_UNSIGNED, false, S3_PART, true);
    assert_payload("https://h", S3_PAYLOAD_AUTO, true, S3_COMPLETE, false);
}

static void multipart_carries_the_whole_checksum(void **state)
{
    (void)state;
    struct fixture f = fixture_of(S3_CREATE);
    f.options.traits = all;
    begin(&f);
    assert_sent(&f, "x-amz-checksum-algorithm", "CRC32C");
    assert_sent(&f, "x-amz-checksum-type", "FULL_OBJECT");
    assert_sent(&f, "x-amz-content-sha256", EMPTY);
    end(&f);

    const struct s3_part parts[] = { { 1, 5, 0x9a71bb4c, true, "e&1" },
                                     { 2, 1, 0, false, "e2" } };
    f = fixture_of(S3_COMPLETE);
    f.options.traits = all;
    f.call.parts = parts;
    f.call.part_count = 2;
    f.call.size = 6;
    f.call.crc32c = 1;
    f.call.create_only = true;
    begin(&f);
    assert_sent(&f, "x-amz-checksum-crc32c", "AAAAAQ==");
    assert_sent(&f, "x-amz-checksum-type", "FULL_OBJECT");
    assert_sent(&f, "x-amz-mp-object-size", "6");
    assert_sent(&f, "if-none-match", "*");
    assert_sent(&f, "content-type", "application/xml");
    assert_string_equal(
        buf_text(&f.attempt.document),
        "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
        "<Part><PartNumber>1</PartNumber><ETag>\"e&amp;1\"</ETag>"
        "<ChecksumCRC32C>mnG7TA==</ChecksumCRC32C></Part>"
        "<Part><PartNumber>2</PartNumber><ETag>\"e2\"</ETag></Part></CompleteMultipartUpload>");
    assert_int_equal(f.attempt.body_len, f.attempt.document.len);
    end(&f);

    f = fixture_of(S3_COMPLETE);
    f.call.create_only = true;
    begin(&f);
    assert_sent(&f, "x-amz-checksum-crc32c", NULL);
    assert_sent(&f, "x-amz-mp-object-size", NULL);
    assert_sent(&f, "if-none-match", NULL);
    end(&f);
}

static void a_session_token_is_signed(void **state)
{
    (void)state;
    struct fixture f = fixture_of(S3_HEAD);
    struct s3_credentials temporary = { .access_key = (char *)"AK" };
    secret_set(&temporary.secret_key, "S", 1);
    secret_set(&temporary.session_token, "TOKEN", 5);
    f.options.credentials = &temporary;
    begin(&f);
    assert_sent(&f, "x-amz-security-token", "TOKEN");
    assert_non_null(strstr(buf_text(&f.request.authorization), "x-amz-security-token"));
    assert_null(strstr(buf_text(&f.request.authorization), "TOKEN"));
    end(&f);
    secret_release(&temporary.secret_key);
    secret_release(&temporary.session_token);
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
        cmocka_unit_test(urls_for_every_kind_of_endpoint),
        cmocka_unit_test(keys_are_encoded_once),
        cmocka_unit_test(queries_are_canonical),
        cmocka_unit_test(an_unproven_store_gets_no_surprises),
        cmocka_unit_test(a_proven_store_checks_for_us),
        cmocka_unit_test(payload_is_unsigned_only_where_it_is_safe),
        cmocka_unit_test(multipart_carries_the_whole_checksum),
        cmocka_unit_test(a_session_token_is_signed),
    };
    return cmocka_run_group_tests(tests, init, release);
}
