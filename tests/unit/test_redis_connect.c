/* SPDX-License-Identifier: Apache-2.0 */
/* Redis connections: greeting, refusal, names, back-off, closing at every stage. */
#include <dlfcn.h>
#include <netdb.h>
#include <signal.h>

#include "redis_peer.h"

#define TWO_ADDRESSES "two.test" /* the first one refuses, the second is the peer's */

typedef int resolver(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* Stands in front of the C library's: a name with several addresses exists on no machine. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    resolver *resolve = (resolver *)dlsym(RTLD_NEXT, "getaddrinfo");
    if (!node || strcmp(node, TWO_ADDRESSES) != 0)
        return resolve(node, service, hints, ret);
    int status = resolve("127.0.0.2", service, hints, ret);
    return status ? status : resolve("127.0.0.1", service, hints, &(*ret)->ai_next);
}

static void greeting_has_user_password_and_database(void **state)
{
    (void)state;
    struct peer peer;
    struct secret password = { 0 };
    char url[64];
    peer_listen(&peer);
    secret_set(&password, "pa ss", 5);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/9", peer.port);
    peer_open(&peer, (struct redis_options){ .url = url, .user = "me", .password = &password });
    peer_accept(&peer);
    peer_expect(&peer, "*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$5\r\npa ss\r\n"
                       "*2\r\n$6\r\nSELECT\r\n$1\r\n9\r\n" NAME_CALL);
    peer_send(&peer, "+OK\r\n+OK\r\n");
    rig_turn(&peer.rig);
    assert_false(redis_up(peer.rig.redis));
    peer_send(&peer, "+OK\r\n");
    SPIN(&peer.rig, redis_up(peer.rig.redis));
    assert_int_equal(peer.rig.ups, 1);
    peer_end(&peer);
    secret_release(&password);
}

static void greeting_refused(void **state)
{
    (void)state;
    struct peer peer;
    peer_listen(&peer);
    peer_open(&peer, (struct redis_options){ 0 });
    peer_accept(&peer);
    peer_send(&peer, "-NOAUTH Authentication required.\r\n");
    SPIN(&peer.rig, peer.rig.downs == 1);
    assert_int_equal(peer.rig.down.code, ERR_REDIS_DENIED);
    assert_non_null(strstr(peer.rig.down.text, "NOAUTH"));
    peer_accept(&peer);
    peer_send(&peer, "-ERR max number of clients reached\r\n");
    SPIN(&peer.rig, peer.rig.downs == 2);
    assert_int_equal(peer.rig.down.code, ERR_REDIS_BUSY);
    peer_accept(&peer); /* a user without the right to set the name is fine */
    peer_send(&peer, "-NOPERM no right to run 'client|setname'\r\n");
    SPIN(&peer.rig, peer.rig.ups == 1);
    peer_end(&peer);
}

static void greeting_without_answer_times_out(void **state)
{
    (void)state;
    struct peer peer;
    peer_listen(&peer);
    peer_open(&peer, (struct redis_options){ .connect_timeout_ms = 30 });
    SPIN(&peer.rig, peer.rig.downs == 2);
    assert_int_equal(peer.rig.down.code, ERR_CONNECT);
    assert_int_equal(peer.rig.ups, 0);
    peer_end(&peer);
}

static void refused_port_backs_off(void **state)
{
    (void)state;
    struct peer peer;
    struct probe probe = { 0 };
    peer_listen(&peer);
    close(peer.listener);
    peer.listener = -1;
    peer_open(&peer, (struct redis_options){ 0 });
    struct mono begin = clock_mono();
    SPIN(&peer.rig, mono_ms_between(begin, clock_mono()) > 1000);
    /* Without growth: on average one each 25 ms, i.e. 40. With it about log2(1000/25) + 1. */
    assert_in_range(peer.rig.downs, 1, 25);
    assert_int_equal(peer.rig.down.code, ERR_CONNECT);
    assert_non_null(strstr(peer.rig.down.text, "refused"));
    probe_start(&peer.rig, &probe, "PING");
    SPIN(&peer.rig, probe.dones == 1);
    assert_int_equal(probe.call.fault.code, ERR_REDIS_LOST);
    assert_non_null(strstr(probe.call.fault.text, "refused"));
    peer_end(&peer);
}

static void unknown_name(void **state)
{
    (void)state;
    struct rig rig = { 0 };
    rig_open(&rig, (struct redis_options){ .url = "redis://no-such-host.invalid" });
    SPIN(&rig, rig.downs == 1);
    assert_int_equal(rig.down.code, ERR_RESOLVE);
    rig_close(&rig);
}

static void name_with_several_addresses(void **state)
{
    (void)state;
    struct peer peer;
    char url[64];
    peer_listen(&peer);
    snprintf(url, sizeof url, "redis://" TWO_ADDRESSES ":%d", peer.port);
    peer_open(&peer, (struct redis_options){ .url = url });
    peer_greet(&peer);
    assert_int_equal(peer.rig.downs, 0);
    peer_end(&peer);
}

static void free_at_every_stage(void **state)
{
    (void)state;
    for (int turns = 0; turns < 12; turns++) {
        struct peer peer;
        char url[64];
        peer_listen(&peer);
        snprintf(url, sizeof url, "redis://" TWO_ADDRESSES ":%d", peer.port);
        peer_open(&peer, (struct redis_options){ .url = url, .connect_timeout_ms = 20 });
        for (int i = 0; i < turns; i++)
            rig_turn(&peer.rig);
        peer_end(&peer);
    }
}

static void bad_url_is_a_configuration_error(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct redis *redis = NULL;
    struct fault fault = { 0 };
    struct redis_options options = { .url = "rediss://h" };
    assert_int_equal(redis_new(loop, &options, &redis, &fault), ERR_CONFIG);
    assert_non_null(strstr(fault.text, "TLS"));
    assert_null(redis);
    redis_free(redis);
    loop_free(loop);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(greeting_has_user_password_and_database),
        cmocka_unit_test(greeting_refused),
        cmocka_unit_test(greeting_without_answer_times_out),
        cmocka_unit_test(refused_port_backs_off),
        cmocka_unit_test(unknown_name),
        cmocka_unit_test(name_with_several_addresses),
        cmocka_unit_test(free_at_every_stage),
        cmocka_unit_test(bad_url_is_a_configuration_error),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
