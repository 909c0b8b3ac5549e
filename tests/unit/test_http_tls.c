/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP client over TLS: bytes arrive, and nobody is trusted without reason. */
#include "tests/unit/http_probe.h"

#include <stdlib.h>

struct tls {
    struct http_req req;
    char url[URL_SIZE];
    size_t got;
    bool wrong;
};

static void on_done(struct http_req *req)
{
    (void)req;
    loop_stop(loop);
}

static enum http_data on_data(struct http_req *req, const void *bytes, size_t len)
{
    struct tls *tls = container_of(req, struct tls, req);
    for (size_t i = 0; i < len; i++)
        tls->wrong |= ((const unsigned char *)bytes)[i] != pattern(tls->got + i);
    tls->got += len;
    return HTTP_TAKEN;
}

/* What comes of GET /bytes/SIZE from `host` for a client that trusts `ca_file`. */
static enum err get(const char *ca_file, const char *proxy, const char *host, size_t size)
{
    struct tls tls = { .req = { .method = "GET", .on_data = on_data, .done = on_done } };
    struct http *client = http_new(
        loop,
        &(struct http_options){ .ca_file = ca_file, .proxy = proxy, .max_connections = 4 });
    snprintf(tls.url, sizeof tls.url, "https://%s:%d/bytes/%zu", host, peer_tls_port, size);
    tls.req.url = tls.url;
    http_start(client, &tls.req);
    loop_run(loop);
    enum err result = tls.req.result;
    assert_false(tls.wrong);
    assert_int_equal(tls.got, result ? 0 : size);
    http_req_release(&tls.req);
    http_free(client);
    return result;
}

static void trusted_peer_is_read(void **state)
{
    (void)state;
    assert_int_equal(get(peer_certificate, NULL, "localhost", 10), OK);
    assert_int_equal(get(peer_certificate, NULL, "localhost", 8 * MIB), OK);
}

static void unknown_certificate_is_refused(void **state)
{
    (void)state;
    assert_int_equal(get(NULL, NULL, "localhost", 10), ERR_TLS);
}

static void wrong_name_is_refused(void **state)
{
    (void)state;
    assert_int_equal(get(peer_certificate, NULL, "127.0.0.1", 10), ERR_TLS);
}

static void missing_bundle_is_no_permission(void **state)
{
    (void)state;
    assert_int_equal(get("/nonexistent/bundle.pem", NULL, "localhost", 10), ERR_TLS);
}

static void environment_has_no_say(void **state)
{
    (void)state;
    setenv("https_proxy", "http://127.0.0.1:1", 1);
    setenv("CURL_CA_BUNDLE", peer_certificate, 1);
    setenv("SSL_CERT_FILE", peer_certificate, 1);
    assert_int_equal(get(peer_certificate, NULL, "localhost", 10), OK);
    assert_int_equal(get(NULL, NULL, "localhost", 10), ERR_TLS);
    unsetenv("https_proxy");
    unsetenv("CURL_CA_BUNDLE");
    unsetenv("SSL_CERT_FILE");
}

static void configured_proxy_is_used(void **state)
{
    (void)state;
    assert_int_equal(get(peer_certificate, "http://127.0.0.1:1", "localhost", 10), ERR_CONNECT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(trusted_peer_is_read),   TEST(unknown_certificate_is_refused),
        TEST(wrong_name_is_refused),  TEST(missing_bundle_is_no_permission),
        TEST(environment_has_no_say), TEST(configured_proxy_is_used),
    };
    return cmocka_run_group_tests(tests, start_peer, stop_peer);
}
