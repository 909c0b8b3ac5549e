/* SPDX-License-Identifier: Apache-2.0 */
/* The local socket, with raw clients that the test drives between turns of the loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "lib/net/unixsock.h"

#define MANY      100
#define BIG_BYTES (2u * 1024 * 1024)
#define WAIT_MS   15000

struct rig {
    struct loop *loop;
    struct unixsock *socket;
    struct timer tick;
    char dir[32], path[64];
    int handled;
};

static void on_tick(struct timer *timer)
{
    (void)timer;
}

static void turn(struct rig *rig, int count)
{
    for (; count > 0; count--) {
        timer_set_in(rig->loop, &rig->tick, 2);
        uv_run(loop_uv(rig->loop), UV_RUN_ONCE);
    }
}

/* Answers with what it was asked; some paths are special. */
static void handle(void *owner, const struct unixsock_request *request,
                   struct unixsock_answer *answer)
{
    struct rig *rig = owner;
    rig->handled++;
    if (strcmp(request->path, "/json") == 0)
        answer->content_type = "application/json";
    bool none = strcmp(request->path, "/none") == 0;
    answer->status = none ? 404 : answer->status;
    if (none || strcmp(request->path, "/empty") == 0)
        return;
    buf_print(&answer->body, "%s %s [%s]", request->http ? "http" : "words", request->path,
              request->query);
    if (strcmp(request->path, "/big") != 0 && strcmp(request->path, "/too-big") != 0)
        return;
    AUTO_TEXT char *block = mem_alloc(BIG_BYTES);
    for (int i = strcmp(request->path, "/big") == 0; i < 3; i += 2)
        buf_add(&answer->body, block, BIG_BYTES);
}

static enum err open_at(struct rig *rig, const char *path, struct fault *fault)
{
    struct unixsock_file file = { .path = path, .mode = 0660 };
    return unixsock_new(rig->loop, &file, rig, handle, &rig->socket, fault);
}

static int begin(void **state)
{
    struct rig *rig = mem_alloc(sizeof *rig);
    struct fault fault;
    *rig = (struct rig){ .dir = "/tmp/sluice-sock-XXXXXX", .tick.fire = on_tick };
    assert_non_null(mkdtemp(rig->dir));
    snprintf(rig->path, sizeof rig->path, "%s/s", rig->dir);
    rig->loop = loop_new();
    assert_int_equal(open_at(rig, rig->path, &fault), OK);
    *state = rig;
    return 0;
}

static int end(void **state)
{
    struct rig *rig = *state;
    unixsock_free(rig->socket);
    timer_clear(rig->loop, &rig->tick);
    loop_free(rig->loop);
    assert_int_equal(rmdir(rig->dir), 0); /* and so the socket file is gone */
    mem_free(rig);
    return 0;
}

/* ---- clients ---- */

static int client_open(const struct rig *rig)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", rig->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void client_send(int fd, const char *bytes, size_t len)
{
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

/* Everything up to the end of the connection; false if it does not end, or ends in a reset. */
static bool client_read(struct rig *rig, int fd, struct buf *got)
{
    struct mono limit = mono_after_ms(clock_mono(), WAIT_MS);
    char block[16 * 1024];
    while (!mono_due(limit, clock_mono())) {
        ssize_t len = recv(fd, block, sizeof block, 0);
        if (len == 0)
            return true;
        if (len < 0 && errno != EAGAIN)
            return false;
        if (len > 0)
            buf_add(got, block, (size_t)len);
        else
            turn(rig, 1);
    }
    return false;
}

static void ask_bytes(struct rig *rig, const char *bytes, size_t len, bool shut,
                      struct buf *got)
{
    int fd = client_open(rig);
    buf_clear(got);
    client_send(fd, bytes, len);
    if (shut)
        shutdown(fd, SHUT_WR);
    assert_true(client_read(rig, fd, got));
    close(fd);
    turn(rig, 1);
}

static void expect(struct rig *rig, const char *request, const char *start, const char *finish)
{
    AUTO_BUF got = BUF_INIT(8u << 20);
    ask_bytes(rig, request, strlen(request), false, &got);
    assert_int_equal(strncmp(buf_text(&got), start, strlen(start)), 0);
    assert_true(got.len >= strlen(finish));
    assert_string_equal(buf_text(&got) + got.len - strlen(finish), finish);
}

/* ---- requests ---- */

static void http_answers(void **state)
{
    expect(*state, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
           "Content-Length: 14\r\n",
           "Connection: close\r\n\r\nhttp /livez []");
    expect(*state, "GET /a?b=c?d HTTP/1.0\n\n", "HTTP/1.1 200 OK\r\n",
           "\r\n\r\nhttp /a [b=c?d]");
    expect(*state, "GET /json HTTP/1.1\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n", "[]");
    expect(*state, "GET /none HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found\r\n",
           "\r\n\r\nerror: Not Found\n");
    expect(*state, "GET /empty HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n", "\r\n\r\n");
    expect(*state, "GET /too-big HTTP/1.1\r\n\r\n", "HTTP/1.1 500 ",
           "\r\n\r\nerror: Internal Server Error\n");
}

static void head_has_length_but_no_body(void **state)
{
    AUTO_BUF got = BUF_INIT(1000);
    ask_bytes(*state, "HEAD /livez HTTP/1.1\r\n\r\n", 24, false, &got);
    assert_non_null(strstr(buf_text(&got), "\r\nContent-Length: 14\r\n"));
    assert_string_equal(strstr(buf_text(&got), "\r\n\r\n"), "\r\n\r\n");
}

static void only_get_and_head(void **state)
{
    struct rig *rig = *state;
    static const char *const method[] = { "POST", "PUT", "OPTIONS", "GETX", "G" };
    for (size_t i = 0; i < sizeof method / sizeof *method; i++) {
        char request[200];
        snprintf(request, sizeof request, "%s / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
                 method[i]);
        expect(rig, request, "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n",
               "\r\n\r\nerror: Method Not Allowed\n");
    }
    assert_int_equal(rig->handled, 0);
}

static void malformed_http(void **state)
{
    struct rig *rig = *state;
    static const char *const bad[] = {
        "GET\n",
        "GET /\r\n",
        "GET  / HTTP/1.1\r\n",
        "GET / HTTP/1.1 \r\n",
        "GET / HTTP/2\r\n",
        "GET / http/1.1\r\n",
        "GET x HTTP/1.1\r\n",
        "GET http://x/ HTTP/1.1\r\n",
        "GET /\xc3\xa4 HTTP/1.1\r\n",
        "GET /\x01",
        "Get / HTTP/1.1\r\n",
        "HEALTH\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect(rig, bad[i], "HTTP/1.1 400 Bad Request\r\n", "error: Bad Request\n");
    assert_int_equal(rig->handled, 0);
}

static void words(void **state)
{
    expect(*state, "health\n", "words health []\n", "words health []\n");
    expect(*state, " status  all \t\r\nmore", "words status  all []\n",
           "words status  all []\n");
    expect(*state, "\n", "words  []\n", "words  []\n");
    expect(*state, "/empty\n", "\n", "\n");
    expect(*state, "caf\xc3\xa9\n", "error: Bad Request\n", "error: Bad Request\n");
    expect(*state, "get / HTTP/1.1\r\n\r\n", "words get / HTTP/1.1 []\n", "\n");
}

static void end_of_input_ends_the_line(void **state)
{
    struct rig *rig = *state;
    AUTO_BUF got = BUF_INIT(1000);
    ask_bytes(rig, "health", 6, true, &got);
    assert_string_equal(buf_text(&got), "words health []\n");
    ask_bytes(rig, "", 0, true, &got);
    assert_string_equal(buf_text(&got), "");
    ask_bytes(rig, "GET / HTTP/1.1\r\nHost", 20, true, &got);
    assert_int_equal(strncmp(buf_text(&got), "HTTP/1.1 400 ", 13), 0);
    assert_int_equal(rig->handled, 1);
}

static void binary_garbage(void **state)
{
    struct rig *rig = *state;
    AUTO_BUF got = BUF_INIT(1000);
    ask_bytes(rig, "\0\0\0\0", 4, false, &got);
    assert_string_equal(buf_text(&got), "error: Bad Request\n");
    ask_bytes(rig, "\x16\x03\x01\x02\x00\x01", 6, false, &got);
    assert_string_equal(buf_text(&got), "error: Bad Request\n");
    ask_bytes(rig, "GET /\0 HTTP/1.1\r\n\r\n", 19, false, &got);
    assert_int_equal(strncmp(buf_text(&got), "HTTP/1.1 400 ", 13), 0);
    assert_int_equal(rig->handled, 0);
}

static void request_length_has_a_limit(void **state)
{
    struct rig *rig = *state;
    AUTO_BUF got = BUF_INIT(8000);
    char request[20000];
    memset(request, 'a', sizeof request);
    ask_bytes(rig, request, sizeof request, false, &got); /* a line of words without end */
    assert_string_equal(buf_text(&got), "error: Request Header Fields Too Large\n");
    memcpy(request, "GET / HTTP/1.1\r\nX: ", 19);
    ask_bytes(rig, request, sizeof request, false, &got);
    assert_int_equal(strncmp(buf_text(&got), "HTTP/1.1 431 ", 13), 0);
    memcpy(request + 4093, "\r\n\r\n", 4); /* one byte too long */
    ask_bytes(rig, request, 4097, false, &got);
    assert_int_equal(strncmp(buf_text(&got), "HTTP/1.1 431 ", 13), 0);
    assert_int_equal(rig->handled, 0);
    memcpy(request + 4092, "\r\n\r\n", 4); /* just fits */
    ask_bytes(rig, request, 4096, false, &got);
    assert_int_equal(strncmp(buf_text(&got), "HTTP/1.1 200 ", 13), 0);
}

static void byte_by_byte(void **state)
{
    struct rig *rig = *state;
    AUTO_BUF got = BUF_INIT(1000);
    int fd = client_open(rig);
    for (const char *at = "GET /x HTTP/1.1\r\n\r\n"; *at; at++) {
        assert_int_equal(rig->handled, 0);
        client_send(fd, at, 1);
        turn(rig, 1);
    }
    assert_true(client_read(rig, fd, &got));
    assert_non_null(strstr(buf_text(&got), "http /x []"));
    close(fd);
}

/* ---- clients that take their time ---- */

static void big_answer_to_a_slow_reader(void **state)
{
    struct rig *rig = *state;
    AUTO_BUF got = BUF_INIT(8u << 20);
    int fd = client_open(rig);
    client_send(fd, "GET /big HTTP/1.1\r\n\r\n", 21);
    turn(rig, 50);
    assert_true(client_read(rig, fd, &got));
    assert_true(got.len > BIG_BYTES);
    close(fd);
}

/* Neither a silent client nor one that does not read its answer stays longer than 5 s. */
static void idle_clients_are_closed(void **state)
{
    struct rig *rig = *state;
    AUTO_BUF got = BUF_INIT(8u << 20);
    struct mono begin = clock_mono();
    enum { SILENT, PARTIAL, DEAF };
    int fd[] = { client_open(rig), client_open(rig), client_open(rig) };
    client_send(fd[PARTIAL], "GET / HTTP/1.1\r\n", 16);
    client_send(fd[DEAF], "GET /big HTTP/1.1\r\n\r\n", 21);
    assert_true(client_read(rig, fd[SILENT], &got));
    assert_true(client_read(rig, fd[PARTIAL], &got));
    assert_int_equal(got.len, 0);
    assert_in_range(mono_ms_between(begin, clock_mono()), 4500, 8000);
    client_read(rig, fd[DEAF], &got); /* what the kernel had taken already */
    assert_true(got.len < BIG_BYTES);
    expect(rig, "health\n", "words", "\n");
    for (int i = 0; i < 3; i++)
        close(fd[i]);
}

/* The answer is there at once, and so is the end of the connection, though we never close. */
static void connection_ends_after_the_answer(void **state)
{
    struct rig *rig = *state;
    AUTO_BUF got = BUF_INIT(1000);
    struct mono begin = clock_mono();
    int fd = client_open(rig);
    client_send(fd, "health\n", 7);
    assert_true(client_read(rig, fd, &got));
    assert_true(mono_ms_between(begin, clock_mono()) < 900);
    client_send(fd, "more", 4); /* one that is still writing gets no error in its way … */
    bool gone = false;
    while (!gone && mono_ms_between(begin, clock_mono()) < 4000) {
        turn(rig, 1);
        gone = send(fd, "more", 4, MSG_NOSIGNAL) < 0 && errno == EPIPE;
    }
    assert_true(gone); /* … but not for long */
    assert_int_equal(rig->handled, 1);
    close(fd);
}

static void a_hundred_clients(void **state)
{
    struct rig *rig = *state;
    int fd[MANY];
    for (int i = 0; i < MANY; i++)
        fd[i] = client_open(rig);
    turn(rig, 20);
    for (int i = MANY - 1; i >= 0; i--) /* the last ones wait for the first ones */
        client_send(fd[i], "health\n", 7);
    for (int i = 0; i < MANY; i++) {
        AUTO_BUF got = BUF_INIT(1000);
        assert_true(client_read(rig, fd[i], &got));
        assert_string_equal(buf_text(&got), "words health []\n");
        close(fd[i]);
    }
    assert_int_equal(rig->handled, MANY);
}

static void the_65th_client_waits(void **state)
{
    struct rig *rig = *state;
    int fd[65];
    for (int i = 0; i < 65; i++)
        fd[i] = client_open(rig);
    client_send(fd[64], "health\n", 7);
    turn(rig, 200);
    assert_int_equal(rig->handled, 0);
    close(fd[7]);
    turn(rig, 20);
    assert_int_equal(rig->handled, 1);
    for (int i = 0; i < 65; i++)
        if (i != 7)
            close(fd[i]);
}

static void random_bytes_do_no_harm(void **state)
{
    struct rig *rig = *state;
    unsigned seed = 1;
    for (int round = 0; round < 200; round++) {
        char bytes[64];
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)((seed = seed * 1103515245u + 12345u) >> 16);
        if (round % 2)
            memcpy(bytes, "GET /", 5);
        AUTO_BUF got = BUF_INIT(1000);
        ask_bytes(rig, bytes, sizeof bytes, true, &got);
        assert_true(got.len > 0);
    }
}

/* ---- the socket file ---- */

static void mode_is_as_asked(void **state)
{
    struct rig *rig = *state;
    struct stat status;
    assert_int_equal(lstat(rig->path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0660);
    assert_int_equal(umask(022), 022); /* put back after the bind */
}

static void stale_file_is_replaced_but_nothing_else(void **state)
{
    struct rig *rig = *state;
    struct unixsock *first = rig->socket;
    struct fault fault;
    assert_int_equal(open_at(rig, rig->path, &fault), ERR_IO);
    assert_non_null(strstr(fault.text, "another process"));
    rig->socket = first;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s/t", rig->dir);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd); /* as a killed daemon leaves it */
    assert_int_equal(open_at(rig, address.sun_path, &fault), OK);
    unixsock_free(rig->socket);
    assert_int_equal(access(address.sun_path, F_OK), -1);
    fclose(fopen(address.sun_path, "w"));
    assert_int_equal(open_at(rig, address.sun_path, &fault), ERR_IO);
    assert_non_null(strstr(fault.text, "no socket"));
    assert_int_equal(unlink(address.sun_path), 0);
    rig->socket = first;
}

static void successors_file_is_kept(void **state)
{
    struct rig *rig = *state;
    struct unixsock *first = rig->socket;
    struct fault fault;
    assert_int_equal(unlink(rig->path), 0);
    assert_int_equal(open_at(rig, rig->path, &fault), OK);
    unixsock_free(first);
    expect(rig, "health\n", "words health", "\n");
}

static void bad_paths(void **state)
{
    struct rig *rig = *state;
    struct unixsock *first = rig->socket;
    struct fault fault;
    char path[200] = "/tmp/";
    memset(path + 5, 'a', 103); /* 108 bytes: one too many */
    assert_int_equal(open_at(rig, path, &fault), ERR_IO);
    assert_non_null(strstr(fault.text, "107"));
    assert_int_equal(open_at(rig, "", &fault), ERR_IO);
    assert_int_equal(open_at(rig, "/no-such-directory/s", &fault), ERR_IO);
    assert_non_null(strstr(fault.text, "No such file"));
    assert_ptr_equal(rig->socket, first);
}

static void free_with_clients_in_every_state(void **state)
{
    struct rig *rig = *state;
    static const char *const request[] = { "", "GET /big HTTP/1.1\r\n\r\n", "health\n" };
    int fd[4];
    for (int i = 0; i < 3; i++) {
        fd[i] = client_open(rig);
        client_send(fd[i], request[i], strlen(request[i]));
    }
    turn(rig, 20);
    fd[3] = client_open(rig); /* not accepted yet */
    for (int i = 0; i < 4; i++)
        close(fd[i]);
    assert_int_equal(rig->handled, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(http_answers),
        TEST(head_has_length_but_no_body),
        TEST(only_get_and_head),
        TEST(malformed_http),
        TEST(words),
        TEST(end_of_input_ends_the_line),
        TEST(binary_garbage),
        TEST(request_length_has_a_limit),
        TEST(byte_by_byte),
        TEST(big_answer_to_a_slow_reader),
        TEST(idle_clients_are_closed),
        TEST(connection_ends_after_the_answer),
        TEST(a_hundred_clients),
        TEST(the_65th_client_waits),
        TEST(random_bytes_do_no_harm),
        TEST(mode_is_as_asked),
        TEST(stale_file_is_replaced_but_nothing_else),
        TEST(successors_file_is_kept),
        TEST(bad_paths),
        TEST(free_with_clients_in_every_state),
    };
    signal(SIGPIPE, SIG_IGN);
    umask(022);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
