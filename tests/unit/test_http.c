/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP client, one request at a time: what it makes of answers, failures and nonsense. The
 * path of a request names what http_peer.py does with it.
 */
#include "tests/unit/http_probe.h"

#include <signal.h>
#include <string.h>

struct probe {
    struct http_req req;
    char url[URL_SIZE];
    int done, headers_seen, data_seen;
    enum err headers_verdict;
};

static void on_done(struct http_req *req)
{
    container_of(req, struct probe, req)->done++;
    loop_stop(loop);
}

static enum err on_headers(struct http_req *req)
{
    struct probe *probe = container_of(req, struct probe, req);
    assert_int_equal(probe->data_seen, 0);
    assert_true(req->status >= 200);
    probe->headers_seen++;
    return probe->headers_verdict;
}

static enum http_data on_data_abort(struct http_req *req, const void *bytes, size_t len)
{
    (void)bytes;
    (void)len;
    container_of(req, struct probe, req)->data_seen++;
    return HTTP_ABORT;
}

static struct probe *probe_new(const char *method, const char *path)
{
    struct probe *probe = mem_alloc(sizeof *probe);
    probe->req = (struct http_req){ .method = method,
                                    .url = peer_url(probe->url, path),
                                    .max_body = MIB,
                                    .on_headers = on_headers,
                                    .done = on_done };
    return probe;
}

static void probe_free(struct probe *probe)
{
    http_req_release(&probe->req);
    mem_free(probe);
}

static struct probe *run(struct probe *probe)
{
    probe->done = 0;
    http_start(http, &probe->req);
    assert_int_equal(probe->done, 0);
    assert_true(http_running(&probe->req));
    loop_run(loop);
    assert_int_equal(probe->done, 1);
    assert_false(http_running(&probe->req));
    assert_int_equal(probe->req.result, probe->req.fault.code);
    return probe;
}

static struct probe *get(const char *path)
{
    return run(probe_new("GET", path));
}

static void expect_failure(struct probe *probe, enum err code)
{
    assert_string_equal(err_name(probe->req.result), err_name(code));
    assert_true(probe->req.fault.text[0]);
    probe_free(probe);
}

static void expect_body(struct probe *probe, const char *body)
{
    assert_int_equal(probe->req.result, OK);
    assert_int_equal(probe->req.status, 200);
    assert_string_equal(buf_text(&probe->req.content), body);
    probe_free(probe);
}

static void expect_header(const struct probe *probe, const char *name, const char *expected)
{
    char value[64];
    assert_true(http_header(&probe->req, name, value, sizeof value));
    assert_string_equal(value, expected);
}

static void expect_no_header(const struct probe *probe, const char *name)
{
    char value[64];
    assert_false(http_header(&probe->req, name, value, sizeof value));
}

/* ---- answers */

static void body_with_length_is_collected(void **state)
{
    (void)state;
    struct probe *probe = get("/bytes/100000");
    assert_int_equal(probe->req.result, OK);
    assert_int_equal(probe->req.status, 200);
    assert_int_equal(probe->req.content.len, 100000);
    assert_int_equal(probe->req.body_bytes, 100000);
    for (size_t i = 0; i < 100000; i++)
        assert_int_equal((unsigned char)probe->req.content.data[i], pattern(i));
    assert_int_equal(probe->headers_seen, 1);
    assert_true(probe->req.first_byte_us > 0);
    assert_true(probe->req.total_us >= probe->req.first_byte_us);
    expect_header(probe, "content-TYPE", "text/x-pattern");
    probe_free(probe);
}

static void chunked_body_is_collected_without_trailers(void **state)
{
    (void)state;
    struct probe *probe = get("/chunked/12345");
    assert_int_equal(probe->req.result, OK);
    assert_int_equal(probe->req.content.len, 12345);
    expect_no_header(probe, "X-Trailer");
    probe_free(probe);
}

static void answers_without_body(void **state)
{
    (void)state;
    struct probe *probe = get("/empty");
    assert_int_equal(probe->req.result, OK);
    assert_int_equal(probe->req.status, 204);
    assert_int_equal(probe->req.content.len, 0);
    probe_free(probe);
    probe = run(probe_new("HEAD", "/bytes/5000"));
    expect_header(probe, "Content-Length", "5000");
    expect_body(probe, "");
}

static void methods_alternate_on_one_handle(void **state)
{
    (void)state;
    static const struct {
        const char *method, *length;
        size_t body_len;
    } row[] = {
        { "PUT", "5", 5 }, { "GET", "none", 0 }, { "POST", "4", 4 },   { "DELETE", "none", 0 },
        { "PUT", "0", 0 }, { "PATCH", "3", 3 },  { "GET", "none", 0 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct probe *probe = probe_new(row[i].method, "/echo");
        probe->req.body = "12345";
        probe->req.body_len = row[i].body_len;
        run(probe);
        expect_header(probe, "X-Method", row[i].method);
        expect_header(probe, "X-Length", row[i].length);
        expect_header(probe, "X-Expect", "none");
        assert_int_equal(probe->req.content.len, row[i].body_len);
        probe_free(probe);
        expect_body(run(probe_new("HEAD", "/bytes/10")), "");
    }
}

static void large_put_arrives_whole(void **state)
{
    (void)state;
    size_t len = 3 * MIB + 17;
    char *body = mem_alloc(len);
    for (size_t i = 0; i < len; i++)
        body[i] = (char)pattern(i);
    for (int large = 0; large < 2; large++) {
        struct probe *probe = probe_new("PUT", "/echo");
        probe->req.body = body;
        probe->req.body_len = probe->req.max_body = len;
        probe->req.send_buffer = probe->req.recv_buffer = large ? 256 * 1024 : 0;
        run(probe);
        assert_int_equal(probe->req.content.len, len);
        assert_memory_equal(probe->req.content.data, body, len);
        probe_free(probe);
    }
    mem_free(body);
}

static void headers_go_with_one_start_only(void **state)
{
    (void)state;
    struct probe *probe = probe_new("GET", "/echo");
    http_set_secret_header(&probe->req, "X-Token", "Bearer ", "abc");
    expect_header(run(probe), "X-Token", "Bearer abc");
    expect_header(run(probe), "X-Token", "none");
    http_set_header(&probe->req, "X-Token", "");
    expect_header(run(probe), "X-Token", "");
    probe_free(probe);
}

static void header_injection_is_refused(void **state)
{
    (void)state;
    struct probe *probe = probe_new("GET", "/echo");
    http_set_header(&probe->req, "X-Token", "a\r\nX-Evil: b");
    assert_int_equal(run(probe)->req.status, 0);
    expect_failure(probe, ERR_ARGUMENT);
}

static void headers_are_released_without_a_start(void **state)
{
    (void)state;
    struct probe *probe = probe_new("GET", "/echo");
    http_set_header(&probe->req, "X-Token", "a");
    http_cancel(&probe->req);
    probe_free(probe);
}

static void interim_answers_are_skipped(void **state)
{
    (void)state;
    struct probe *probe = get("/interim");
    assert_int_equal(probe->headers_seen, 1);
    expect_no_header(probe, "X-Interim");
    expect_header(probe, "X-Final", "yes");
    expect_body(probe, "ok");
}

static void redirect_is_not_followed(void **state)
{
    (void)state;
    struct probe *probe = get("/moved");
    assert_int_equal(probe->req.result, OK);
    assert_int_equal(probe->req.status, 301);
    expect_header(probe, "Location", "/bytes/10");
    probe_free(probe);
}

static void error_body_never_reaches_on_data(void **state)
{
    (void)state;
    struct probe *probe = probe_new("GET", "/status/500000300");
    probe->req.on_data = on_data_abort;
    probe->req.max_body = 10;
    run(probe);
    assert_int_equal(probe->req.result, OK);
    assert_int_equal(probe->req.status, 500);
    assert_int_equal(probe->data_seen, 0);
    assert_int_equal(probe->req.content.len, 300);
    assert_int_equal(http_retry_after(&probe->req, clock_wall()), 7000);
    probe_free(probe);
}

static void huge_error_body_is_cut(void **state)
{
    (void)state;
    struct probe *probe = get("/status/404900000");
    assert_int_equal(probe->req.result, OK);
    assert_int_equal(probe->req.status, 404);
    assert_int_equal(probe->req.content.len, 64 * 1024);
    probe_free(probe);
}

static void expect_size(const char *path, size_t max_body, enum err expected)
{
    struct probe *probe = probe_new("GET", path);
    probe->req.max_body = max_body;
    assert_int_equal(run(probe)->req.result, expected);
    probe_free(probe);
}

static void body_may_have_exactly_the_maximum(void **state)
{
    (void)state;
    expect_size("/bytes/70000", 70000, OK);
    expect_size("/bytes/70000", 69999, ERR_TOO_BIG);
    expect_size("/chunked/100", 99, ERR_TOO_BIG);
    expect_size("/chunked/65536", 0, OK);
    expect_size("/chunked/65537", 0, ERR_TOO_BIG);
}

/* ---- failures */

static void broken_answers(void **state)
{
    (void)state;
    expect_failure(get("/cut/100000"), ERR_CUT);
    expect_failure(get("/cut/10"), ERR_CUT);
    expect_failure(get("/cutchunk/100000"), ERR_CUT);
    expect_failure(get("/reset/100000"), ERR_CUT);
    expect_failure(get("/hangup"), ERR_CUT);
    expect_failure(get("/garbage"), ERR_BAD_RESPONSE);
    expect_failure(get("/fat/80"), ERR_BAD_RESPONSE);
}

static void expect_url_failure(const char *url, enum err code)
{
    struct probe *probe = probe_new("GET", "/");
    probe->req.url = url;
    run(probe);
    assert_null(strstr(probe->req.fault.text, "secret"));
    expect_failure(probe, code);
}

static void unreachable_peers(void **state)
{
    (void)state;
    char url[URL_SIZE];
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", peer_port);
    expect_url_failure(url, ERR_TLS);
    expect_url_failure("http://127.0.0.1:1/secret?x=1", ERR_CONNECT);
    expect_url_failure("http://nowhere.invalid/", ERR_RESOLVE);
}

static void senseless_urls(void **state)
{
    (void)state;
    expect_url_failure("", ERR_ARGUMENT);
    expect_url_failure("ftp://127.0.0.1/", ERR_ARGUMENT);
    expect_url_failure("file:///etc/passwd", ERR_ARGUMENT);
    expect_url_failure("127.0.0.1", ERR_ARGUMENT);
    expect_url_failure("http://user:secret@127.0.0.1/", ERR_ARGUMENT);
    expect_url_failure("http://127.0.0.1:99999/", ERR_ARGUMENT);
    expect_url_failure("http:///", ERR_ARGUMENT);
}

static void plain_http_must_be_allowed(void **state)
{
    (void)state;
    struct http *strict = http_new(loop, &(struct http_options){ .max_connections = 1 });
    struct probe *probe = probe_new("GET", "/bytes/1");
    http_start(strict, &probe->req);
    loop_run(loop);
    expect_failure(probe, ERR_ARGUMENT);
    http_free(strict);
}

static void expect_timeout(const char *path, int64_t timeout_ms, int64_t stall_ms)
{
    struct probe *probe = probe_new("GET", path);
    struct mono start = clock_mono();
    probe->req.timeout_ms = timeout_ms;
    probe->req.stall_ms = stall_ms;
    run(probe);
    assert_in_range(mono_ms_between(start, clock_mono()), 80, 3000);
    expect_failure(probe, ERR_TIMEOUT);
}

static void silence_and_stalls_end(void **state)
{
    (void)state;
    expect_timeout("/silent", 80, 0);
    expect_timeout("/silent", 0, 80);
    expect_timeout("/halt/1000", 80, 0);
    expect_timeout("/halt/1000", 0, 80);
    expect_timeout("/drip/1000", 200, 100000);
}

static void slow_progress_is_no_stall(void **state)
{
    (void)state;
    struct probe *probe = probe_new("GET", "/drip/12"); /* takes 360 ms */
    probe->req.stall_ms = 250;
    run(probe);
    assert_int_equal(probe->req.result, OK);
    assert_int_equal(probe->req.content.len, 12);
    probe_free(probe);
}

static void upload_to_a_deaf_peer_stalls(void **state)
{
    (void)state;
    struct probe *probe = probe_new("PUT", "/echo");
    char *body = mem_alloc(64 * MIB);
    probe->req.body = body;
    probe->req.body_len = 64 * MIB;
    probe->req.stall_ms = 80;
    kill(peer_pid, SIGSTOP);
    run(probe);
    kill(peer_pid, SIGCONT);
    expect_failure(probe, ERR_TIMEOUT);
    mem_free(body);
}

static void early_answer_to_an_upload_counts(void **state)
{
    (void)state;
    struct probe *probe = probe_new("PUT", "/early");
    char *body = mem_alloc(16 * MIB);
    probe->req.body = body;
    probe->req.body_len = 16 * MIB;
    run(probe);
    assert_int_equal(probe->req.result, OK);
    assert_int_equal(probe->req.status, 503);
    assert_string_equal(buf_text(&probe->req.content), "busy");
    probe_free(probe);
    mem_free(body);
}

static void owner_ends_the_request(void **state)
{
    (void)state;
    struct probe *probe = probe_new("GET", "/bytes/100000");
    probe->headers_verdict = ERR_SOURCE_CHANGED;
    assert_int_equal(run(probe)->req.fault.http_status, 200);
    expect_failure(probe, ERR_SOURCE_CHANGED);
    probe = probe_new("GET", "/bytes/100000");
    probe->req.on_data = on_data_abort;
    assert_int_equal(run(probe)->data_seen, 1);
    expect_failure(probe, ERR_CANCELLED);
}

/* ---- connections */

static void connection_is_used_again(void **state)
{
    (void)state;
    char first[16], again[16];
    struct probe *probe = get("/number");
    snprintf(first, sizeof first, "%s", buf_text(&probe->req.content));
    snprintf(again, sizeof again, "%.*s 1", (int)strcspn(first, " "), first);
    probe_free(probe);
    expect_body(get("/number"), again);
}

static void request_on_a_dead_connection_is_replayed(void **state)
{
    (void)state;
    char *body = mem_alloc(2 * MIB);
    for (size_t i = 0; i < 40; i++) { /* curl fails in different places */
        struct probe *probe = probe_new("PUT", "/echo");
        probe->req.body = body;
        probe->req.body_len = probe->req.max_body = i % 2 ? 5 : 2 * MIB;
        probe_free(get("/grudge"));
        run(probe);
        assert_string_equal(probe->req.fault.text, "");
        assert_int_equal(probe->req.content.len, probe->req.body_len);
        probe_free(probe);
    }
    mem_free(body);
    probe_free(get("/grudge"));
    expect_body(get("/bytes/0"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(body_with_length_is_collected),
        TEST(chunked_body_is_collected_without_trailers),
        TEST(answers_without_body),
        TEST(methods_alternate_on_one_handle),
        TEST(large_put_arrives_whole),
        TEST(headers_go_with_one_start_only),
        TEST(header_injection_is_refused),
        TEST(headers_are_released_without_a_start),
        TEST(interim_answers_are_skipped),
        TEST(redirect_is_not_followed),
        TEST(error_body_never_reaches_on_data),
        TEST(huge_error_body_is_cut),
        TEST(body_may_have_exactly_the_maximum),
        TEST(broken_answers),
        TEST(unreachable_peers),
        TEST(senseless_urls),
        TEST(plain_http_must_be_allowed),
        TEST(silence_and_stalls_end),
        TEST(slow_progress_is_no_stall),
        TEST(upload_to_a_deaf_peer_stalls),
        TEST(early_answer_to_an_upload_counts),
        TEST(owner_ends_the_request),
        TEST(connection_is_used_again),
        TEST(request_on_a_dead_connection_is_replayed),
    };
    return cmocka_run_group_tests(tests, start_peer, stop_peer);
}
