/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Redis client against a real redis-server, which each test starts in a directory of its
 * own and stops by pid.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "redis_probe.h"

#define CALLS 10000

struct server {
    struct rig rig;
    pid_t pid;
    char dir[32], port[8];
    char unix_url[80], tcp_url[80];
    const char *password; /* requirepass; NULL = none */
};

static int free_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void server_start(struct server *server)
{
    const char *password = server->password ? server->password : "";
    server->pid = fork();
    assert_true(server->pid >= 0);
    if (server->pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves no server behind */
    execlp("redis-server", "redis-server", "--bind", "127.0.0.1", "--port", server->port,
           "--unixsocket", "r.sock", "--dir", server->dir, "--logfile", "log", "--save", "",
           "--requirepass", password, (char *)NULL);
    _exit(127);
}

static void server_kill(struct server *server)
{
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
}

static void server_init(struct server *server, const char *password)
{
    *server = (struct server){ .dir = "/tmp/sluice-redis-XXXXXX", .password = password };
    assert_non_null(mkdtemp(server->dir));
    snprintf(server->port, sizeof server->port, "%d", free_port());
    snprintf(server->tcp_url, sizeof server->tcp_url, "redis://127.0.0.1:%s", server->port);
    snprintf(server->unix_url, sizeof server->unix_url, "unix://%s/r.sock", server->dir);
    server_start(server);
}

/* The client comes up by itself as soon as the server does. */
static void server_begin(struct server *server, bool tcp, struct redis_options options)
{
    options.url = tcp ? server->tcp_url : server->unix_url;
    rig_open(&server->rig, options);
    SPIN(&server->rig, redis_up(server->rig.redis));
}

static void server_end(struct server *server)
{
    static const char *const file[] = { "r.sock", "log" };
    char path[64];
    rig_close(&server->rig);
    server_kill(server);
    for (size_t i = 0; i < sizeof file / sizeof *file; i++) {
        snprintf(path, sizeof path, "%s/%s", server->dir, file[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(server->dir), 0);
}

static void call(struct server *server, struct probe *probe, const char *line)
{
    int before = probe->dones;
    probe_start(&server->rig, probe, line);
    SPIN(&server->rig, probe->dones == before + 1);
}

/* ---- tests ---- */

static void check_types(bool tcp)
{
    struct server server;
    struct probe probe = { 0 };
    server_init(&server, NULL);
    server_begin(&server, tcp, (struct redis_options){ 0 });
    call(&server, &probe, "SET k 42");
    assert_string_equal(probe.text, "OK");
    call(&server, &probe, "GET k");
    assert_int_equal(probe.type, REDIS_TEXT);
    assert_int_equal(probe.number, 42);
    call(&server, &probe, "GET absent");
    assert_int_equal(probe.type, REDIS_NIL);
    assert_int_equal(probe.call.fault.code, OK);
    call(&server, &probe, "INCR k");
    assert_int_equal(probe.type, REDIS_INT);
    assert_int_equal(probe.number, 43);
    call(&server, &probe, "CLIENT GETNAME");
    assert_string_equal(probe.text, "sluice");
    call(&server, &probe, "LPUSH k x");
    assert_int_equal(probe.type, REDIS_ERROR);
    assert_int_equal(probe.call.fault.code, ERR_REDIS_REPLY);
    call(&server, &probe, "FCALL nothing 0");
    assert_int_equal(probe.call.fault.code, ERR_REDIS_LIBRARY);
    server_end(&server);
}

static void types_over_unix(void **state)
{
    (void)state;
    check_types(false);
}

static void types_over_tcp(void **state)
{
    (void)state;
    check_types(true);
}

static void names_and_values_are_binary(void **state)
{
    (void)state;
    struct server server;
    struct probe probe = { .call.done = probe_done };
    static const char value[] = "a\0\r\n$3\r\n\xff";
    const char *argv[] = { "SET", "key \r\n", value };
    server_init(&server, NULL);
    server_begin(&server, false, (struct redis_options){ 0 });
    redis_start(server.rig.redis, &probe.call, 3, argv, (size_t[]){ 3, 6, 9 });
    SPIN(&server.rig, probe.dones == 1);
    assert_string_equal(probe.text, "OK");
    argv[0] = "GET";
    redis_start(server.rig.redis, &probe.call, 2, argv, (size_t[]){ 3, 6 });
    SPIN(&server.rig, probe.dones == 2);
    assert_int_equal(probe.len, 9);
    assert_memory_equal(probe.text, value, 9);
    server_end(&server);
}

static void ten_thousand_calls_in_one_turn(void **state)
{
    (void)state;
    struct server server;
    static struct probe probe[CALLS];
    memset(probe, 0, sizeof probe);
    server_init(&server, NULL);
    server_begin(&server, false, (struct redis_options){ 0 });
    for (int i = 0; i < CALLS; i++)
        probe_start(&server.rig, &probe[i], "INCR counter");
    assert_int_equal(redis_pending(server.rig.redis), CALLS);
    SPIN(&server.rig, redis_pending(server.rig.redis) == 0);
    for (int i = 0; i < CALLS; i++) {
        assert_int_equal(probe[i].dones, 1);
        assert_int_equal(probe[i].number, i + 1);
    }
    server_end(&server);
}

static void survives_restarts(void **state)
{
    (void)state;
    struct server server;
    struct probe probe = { 0 };
    server_init(&server, NULL);
    server_begin(&server, true, (struct redis_options){ 0 });
    for (int round = 1; round <= 3; round++) {
        probe_start(&server.rig, &probe, "BLPOP nothing 0");
        rig_turn(&server.rig);
        server_kill(&server);
        SPIN(&server.rig, probe.dones == 2 * round - 1);
        assert_int_equal(probe.call.fault.code, ERR_REDIS_LOST);
        assert_false(redis_up(server.rig.redis));
        server_start(&server);
        SPIN(&server.rig, redis_up(server.rig.redis));
        assert_int_equal(server.rig.ups, 1 + round);
        call(&server, &probe, "PING");
        assert_string_equal(probe.text, "PONG");
    }
    server_end(&server);
}

static void frozen_server(void **state)
{
    (void)state;
    struct server server;
    struct probe probe = { 0 };
    server_init(&server, NULL);
    server_begin(&server, false,
                 (struct redis_options){ .reply_timeout_ms = 100, .connect_timeout_ms = 100 });
    kill(server.pid, SIGSTOP);
    int downs = server.rig.downs;
    call(&server, &probe, "PING");
    assert_int_equal(probe.call.fault.code, ERR_REDIS_LOST);
    SPIN(&server.rig, server.rig.downs >= downs + 3); /* the kernel still accepts for it */
    assert_int_equal(server.rig.down.code, ERR_CONNECT);
    kill(server.pid, SIGCONT);
    SPIN(&server.rig, redis_up(server.rig.redis));
    call(&server, &probe, "PING");
    assert_string_equal(probe.text, "PONG");
    server_end(&server);
}

static void password_may_change(void **state)
{
    (void)state;
    struct server server;
    struct probe probe = { 0 };
    struct secret password = { 0 };
    secret_set(&password, "wrong", 5);
    server_init(&server, "first");
    rig_open(&server.rig,
             (struct redis_options){ .url = server.unix_url, .password = &password });
    SPIN(&server.rig, server.rig.down.code == ERR_REDIS_DENIED);
    assert_non_null(strstr(server.rig.down.text, "WRONGPASS"));
    assert_int_equal(server.rig.ups, 0);
    secret_release(&password);
    secret_set(&password, "first", 5);
    SPIN(&server.rig, redis_up(server.rig.redis));
    call(&server, &probe, "PING");
    assert_string_equal(probe.text, "PONG");
    server_end(&server);
    secret_release(&password);
}

static void replica_is_left(void **state)
{
    (void)state;
    struct server server;
    struct probe probe = { 0 };
    server_init(&server, NULL);
    server_begin(&server, true, (struct redis_options){ 0 });
    int downs = server.rig.downs;
    call(&server, &probe, "REPLICAOF 127.0.0.1 1");
    call(&server, &probe, "SET k v");
    assert_int_equal(probe.call.fault.code, ERR_REDIS_ROLE);
    SPIN(&server.rig, redis_up(server.rig.redis));
    assert_int_equal(server.rig.downs, downs + 1);
    call(&server, &probe, "REPLICAOF NO ONE");
    call(&server, &probe, "SET k v");
    assert_int_equal(probe.call.fault.code, OK);
    server_end(&server);
}

static void database_is_selected(void **state)
{
    (void)state;
    struct server server;
    struct probe probe = { 0 };
    server_init(&server, NULL);
    snprintf(server.unix_url, sizeof server.unix_url, "unix://%s/r.sock?db=5", server.dir);
    server_begin(&server, false, (struct redis_options){ 0 });
    call(&server, &probe, "SET k v");
    call(&server, &probe, "SELECT 0");
    call(&server, &probe, "EXISTS k");
    assert_int_equal(probe.number, 0);
    call(&server, &probe, "SELECT 5");
    call(&server, &probe, "EXISTS k");
    assert_int_equal(probe.number, 1);
    server_end(&server);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_over_unix),
        cmocka_unit_test(types_over_tcp),
        cmocka_unit_test(names_and_values_are_binary),
        cmocka_unit_test(ten_thousand_calls_in_one_turn),
        cmocka_unit_test(survives_restarts),
        cmocka_unit_test(frozen_server),
        cmocka_unit_test(password_may_change),
        cmocka_unit_test(replica_is_left),
        cmocka_unit_test(database_is_selected),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
