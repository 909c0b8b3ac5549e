/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Error rows, and the life of calls that nobody answers. The client against real and scripted
 * servers: tests/flow/test_s3.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/s3_fixture.h"

/* ---- error rows */

static void codes_and_statuses_have_rows(void **state)
{
    (void)state;
    static const struct {
        const char *code;
        int status;
        enum err err;
    } row[] = {
        { "SlowDown", 503, ERR_THROTTLED },
        { "InternalError", 500, ERR_SERVER },
        { "InternalError", 200, ERR_SERVER },
        { "Unheard", 200, ERR_SERVER }, /* an error inside a 200 is never "ok" */
        { "Unheard", 400, ERR_REQUEST },
        { "InvalidRequest", 412, ERR_EXISTS }, /* Swift's word for a failed condition */
        { "RequestTimeout", 400, ERR_TIMEOUT },
        { "RequestTimeTooSkewed", 403, ERR_SKEW },
        { "AccessDenied", 403, ERR_DENIED },
        { "SignatureDoesNotMatch", 403, ERR_AUTH },
        { "InvalidAccessKeyId", 403, ERR_AUTH },
        { "NoSuchBucket", 404, ERR_DENIED }, /* never "object is absent" */
        { "NoSuchKey", 404, ERR_NOT_FOUND },
        { "NoSuchUpload", 404, ERR_NO_UPLOAD },
        { "InvalidPart", 400, ERR_BAD_PART },
        { "BadDigest", 400, ERR_DIGEST },
        { "XAmzContentSHA256Mismatch", 400, ERR_DIGEST },
        { "PreconditionFailed", 200, ERR_EXISTS },
        { "ConditionalRequestConflict", 409, ERR_CONFLICT },
        { "PermanentRedirect", 301, ERR_REGION },
        { "", 301, ERR_REGION },
        { "", 307, ERR_REGION },
        { "", 403, ERR_DENIED },
        { "", 404, ERR_NOT_FOUND },
        { "", 409, ERR_CONFLICT },
        { "", 412, ERR_EXISTS },
        { "", 501, ERR_REQUEST },
        { "", 502, ERR_SERVER },
        { "", 503, ERR_THROTTLED },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        print_message("%s %d\n", row[i].code, row[i].status);
        assert_int_equal(s3_error_row(row[i].code, row[i].status), row[i].err);
    }
    assert_null(s3_error_advice("Unheard"));
    assert_null(s3_error_advice(""));
    assert_non_null(strstr(s3_error_advice("NoSuchBucket"), "s3.bucket"));
}

/* ---- life */

struct waiting {
    struct s3_call call;
    struct loop *loop;
    int done;
};

static void on_done(struct s3_call *call)
{
    struct waiting *waiting = container_of(call, struct waiting, call);
    waiting->done++;
    loop_stop(waiting->loop);
}

/* A server that accepts and never answers. */
static int silent_server(char *endpoint, size_t size)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    snprintf(endpoint, size, "http://127.0.0.1:%d", ntohs(address.sin_port));
    return fd;
}

static void every_call_ends_once(void **state)
{
    (void)state;
    char endpoint[64];
    int fd = silent_server(endpoint, sizeof endpoint);
    struct fixture f = fixture_of(S3_PUT);
    f.options.endpoint = endpoint;
    struct loop *loop = loop_new();
    struct http *http = http_new(loop, &(struct http_options){ .plain_http = true,
                                                               .max_connections = 4,
                                                               .connect_timeout_ms = 1000 });
    struct s3 *s3 = s3_new(loop, http, &f.options);
    struct waiting waiting[3];
    for (size_t i = 0; i < 3; i++) {
        waiting[i] = (struct waiting){ .call = f.call, .loop = loop };
        waiting[i].call.done = on_done;
        waiting[i].call.deadline_ms = i == 0 ? 50 : 0;
        s3_start(s3, &waiting[i].call);
    }
    loop_run(loop);
    assert_int_equal(waiting[0].done, 1);
    assert_int_equal(waiting[0].call.fault.code, ERR_TIMEOUT);

    s3_cancel(&waiting[1].call);
    s3_cancel(&waiting[1].call);
    assert_int_equal(waiting[1].done, 0);
    loop_run(loop);
    assert_int_equal(waiting[1].done, 1);
    assert_int_equal(waiting[1].call.fault.code, ERR_CANCELLED);
    s3_cancel(&waiting[1].call); /* too late: no effect */

    s3_free(s3);
    assert_int_equal(waiting[2].done, 1);
    assert_int_equal(waiting[2].call.fault.code, ERR_CANCELLED);
    http_free(http);
    loop_free(loop);
    close(fd);
}

static int init(void **state)
{
    (void)state;
    digest_init();
    http_init();
    return 0;
}

static int release(void **state)
{
    (void)state;
    http_cleanup();
    digest_release();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_and_statuses_have_rows),
        cmocka_unit_test(every_call_ends_once),
    };
    return cmocka_run_group_tests(tests, init, release);
}
