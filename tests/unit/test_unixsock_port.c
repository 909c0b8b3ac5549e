/* SPDX-License-Identifier: Apache-2.0 */
/* The loopback port, and the group of the socket's file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "lib/net/unixsock.h"

static void handle(void *owner, const struct unixsock_request *request,
                   struct unixsock_answer *answer)
{
    (void)owner;
    buf_print(&answer->body, "%s %s", request->http ? "http" : "words", request->path);
}

static void only_loopback_is_taken(void **state)
{
    (void)state;
    static const char *const good[] = { "127.0.0.1:9464", "127.1.2.3:1", "[::1]:65535" };
    static const char *const bad[] = {
        "0.0.0.0:9464",    "10.0.0.1:9464",  "[::]:9464", "[::ffff:127.0.0.1]:9464",
        "localhost:9464",  "127.0.0.1",      "9464",      "127.0.0.1:0",
        "127.0.0.1:65536", "127.0.0.1:94x4", ":9464",     "127.0.0.1:",
        "::1:9464",        "127.0.0.1:-1",   "",          "128.0.0.1:9464",
    };
    struct fault fault;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(unixsock_check_port(good[i], &fault), OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(unixsock_check_port(bad[i], &fault), ERR_CONFIG);
        assert_non_null(strstr(fault.text, "want a loopback address"));
    }
}

/* A port that nobody has, as "127.0.0.1:12345". */
static void free_address(char *text, size_t size, struct sockaddr_in *address)
{
    socklen_t len = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    *address = (struct sockaddr_in){ .sin_family = AF_INET,
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    assert_int_equal(bind(fd, (struct sockaddr *)address, sizeof *address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)address, &len), 0);
    close(fd);
    snprintf(text, size, "127.0.0.1:%d", ntohs(address->sin_port));
}

static void answer_through(struct loop *loop, const struct sockaddr_in *address,
                           const char *request, const char *expected)
{
    char got[400];
    size_t len = 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval patience = { .tv_usec = 1000 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (const struct sockaddr *)address, sizeof *address), 0);
    assert_int_equal(send(fd, request, strlen(request), 0), (ssize_t)strlen(request));
    ssize_t count = -1;
    for (int turns = 0; count != 0 && turns < 5000; turns++) {
        uv_run(loop_uv(loop), UV_RUN_NOWAIT);
        count = recv(fd, got + len, sizeof got - 1 - len, 0);
        len += count > 0 ? (size_t)count : 0;
    }
    got[len] = 0;
    assert_int_equal(count, 0);
    assert_non_null(strstr(got, expected));
    close(fd);
    uv_run(loop_uv(loop), UV_RUN_NOWAIT);
}

static void port_speaks_both_languages(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct unixsock *port = NULL, *second = NULL;
    struct sockaddr_in address;
    struct fault fault = { 0 };
    char text[32];
    free_address(text, sizeof text, &address);
    assert_int_equal(unixsock_new_port(loop, text, NULL, handle, &port, &fault), OK);
    answer_through(loop, &address, "GET /metrics HTTP/1.1\r\n\r\n", "http /metrics");
    answer_through(loop, &address, "agent\n", "words agent");
    assert_int_equal(unixsock_new_port(loop, text, NULL, handle, &second, &fault), ERR_IO);
    assert_non_null(strstr(fault.text, "Address already in use"));
    assert_int_equal(unixsock_new_port(loop, "0.0.0.0:1", NULL, handle, &second, &fault),
                     ERR_CONFIG);
    assert_null(second);
    unixsock_free(port);
    loop_free(loop);
}

static void file_gets_its_group(void **state)
{
    (void)state;
    char dir[] = "/tmp/unixsockXXXXXX";
    assert_non_null(mkdtemp(dir));
    AUTO_TEXT char *path = mem_print("%s/s", dir);
    struct loop *loop = loop_new();
    struct unixsock *socket = NULL;
    struct fault fault = { 0 };
    struct unixsock_file file = { .path = path, .mode = 0660, .group = "no-such-group-here" };
    assert_int_equal(unixsock_new(loop, &file, NULL, handle, &socket, &fault), ERR_CONFIG);
    assert_non_null(strstr(fault.text, "no group no-such-group-here"));
    const struct group *other = getgrnam("daemon"), *own = getgrgid(getegid());
    struct stat status;
    file.group = getuid() == 0 && other ? "daemon" : own->gr_name;
    gid_t expected = getuid() == 0 && other ? other->gr_gid : getegid();
    assert_int_equal(unixsock_new(loop, &file, NULL, handle, &socket, &fault), OK);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_gid, expected);
    assert_int_equal(status.st_mode & 0777, 0660);
    unixsock_free(socket);
    loop_free(loop);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_loopback_is_taken),
        cmocka_unit_test(port_speaks_both_languages),
        cmocka_unit_test(file_gets_its_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
