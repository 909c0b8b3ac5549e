/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the test programs of the HTTP client, one translation unit each: http_peer.py as a
 * child process, a loop with a client for each test, and requests under observation.
 */
#ifndef SLUICE_UNIT_HTTP_PROBE_H
#define SLUICE_UNIT_HTTP_PROBE_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/net/http.h"

#define MIB         (1024 * 1024)
#define PERIOD      65521 /* of the pattern that http_peer.py sends */
#define CONNECTIONS 64
#define URL_SIZE    96

static struct loop *loop;
static struct http *http;
static int peer_port, peer_tls_port, peer_pid, peer_input, descriptors;
static char peer_certificate[URL_SIZE];

static int start_peer(void **state)
{
    int in[2], out[2];
    (void)state;
    http_init();
    loop_free(loop_new()); /* libuv opens descriptors once per process */
    if (pipe(in) || pipe(out) || (peer_pid = fork()) < 0)
        return -1;
    if (peer_pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        close(in[1]);
        execl("/usr/bin/python3", "python3", "tests/unit/http_peer.py", (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    peer_input = in[1];
    FILE *output = fdopen(out[0], "r");
    bool known =
        fscanf(output, "%d %d %95s", &peer_port, &peer_tls_port, peer_certificate) == 3;
    fclose(output);
    return known ? 0 : -1;
}

static int stop_peer(void **state)
{
    (void)state;
    close(peer_input);
    waitpid(peer_pid, NULL, 0);
    http_cleanup();
    return 0;
}

static int count_descriptors(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static struct http *client_new(struct loop *on)
{
    struct http_options options = { .plain_http = true,
                                    .max_connections = CONNECTIONS,
                                    .connect_timeout_ms = 500 };
    return http_new(on, &options);
}

static int set_up(void **state)
{
    (void)state;
    descriptors = count_descriptors();
    loop = loop_new();
    http = client_new(loop);
    alarm(60); /* a test that hangs dies */
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    alarm(0);
    http_free(http);
    loop_free(loop);
    assert_int_equal(count_descriptors(), descriptors);
    return 0;
}

static inline const char *peer_url(char url[URL_SIZE], const char *path)
{
    snprintf(url, URL_SIZE, "http://127.0.0.1:%d%s", peer_port, path);
    return url;
}

/* The byte of the peer's pattern at an offset. */
static unsigned char pattern(size_t at)
{
    uint64_t i = at % PERIOD;
    return (unsigned char)(i * i + (i >> 3));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

#endif
