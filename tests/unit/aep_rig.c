/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted server, the tenant and the damage of aep_rig.h. */
#include "tests/unit/aep_rig.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <uv.h>

#include "lib/base/digest.h"

#define ROWS_MAX    32
#define BODY_MAX    (1 << 20)
#define RECORD_MAX  (4 << 20)
#define REQUEST_MAX 16384
#define GUARD_MS    20000

struct row {
    const char *match;
    int uses;
    char *answer;
    void *owner;
    void (*write)(void *owner, const char *request, struct buf *body); /* NULL: `answer` */
};

struct server {
    int fd;
    uint16_t port;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    struct row row[ROWS_MAX];
    int rows;
    struct buf record; /* all requests, one after the other */
};

/* ---- the server */

static bool request_complete(const char *text)
{
    const char *end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
    if (!end)
        return false;
    size_t body = length && length < end ? strtoul(length + 16, NULL, 10) : 0;
    return strlen(end + 4) >= body;
}

static char *compose(const char *status, const char *headers, const char *body)
{
    return mem_print("HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n%s",
                     status, strlen(body), headers, body);
}

static char *row_answer(const struct row *row, const char *request)
{
    if (!row->write)
        return row->answer ? mem_copy_text(row->answer) : NULL;
    AUTO_BUF body = BUF_INIT(BODY_MAX);
    row->write(row->owner, request, &body);
    return compose("200 OK", "", buf_text(&body));
}

/* Takes one use from the row that answers the request. */
static char *server_choose(struct server *server, const char *request)
{
    char *answer = NULL;
    pthread_mutex_lock(&server->lock);
    buf_add_text(&server->record, request);
    buf_add_text(&server->record, "\n====\n");
    for (int i = 0; i < server->rows; i++) {
        struct row *row = &server->row[i];
        if (row->uses == 0 || !strstr(request, row->match))
            continue;
        row->uses--;
        answer = row_answer(row, request);
        break;
    }
    pthread_mutex_unlock(&server->lock);
    return answer;
}

static void send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        bytes += n;
        len -= (size_t)n;
    }
}

static void server_talk(struct server *server, int fd)
{
    char request[REQUEST_MAX] = "";
    size_t used = 0;
    for (ssize_t n; !request_complete(request); used += (size_t)n) {
        n = recv(fd, request + used, sizeof request - 1 - used, 0);
        if (n <= 0)
            return;
        request[used + (size_t)n] = 0;
    }
    AUTO_TEXT char *answer = server_choose(server, request);
    if (!answer)
        return;
    if (strcmp(answer, HANG) != 0) {
        send_all(fd, answer, strlen(answer));
        return;
    }
    while (recv(fd, request, sizeof request, 0) > 0)
        continue;
}

static void *server_run(void *argument)
{
    struct server *server = argument;
    for (int fd; (fd = accept(server->fd, NULL, NULL)) >= 0;) {
        struct timeval limit = { .tv_sec = 10 };
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        server_talk(server, fd);
        close(fd);
    }
    return NULL;
}

static struct server *server_start(void)
{
    struct server *server = mem_alloc(sizeof *server);
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    server->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(server->fd, 64), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&at, &len), 0);
    server->port = ntohs(at.sin_port);
    buf_init(&server->record, RECORD_MAX);
    pthread_mutex_init(&server->lock, NULL);
    assert_int_equal(pthread_create(&server->thread, NULL, server_run, server), 0);
    return server;
}

static void server_stop(struct server *server)
{
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->fd);
    for (int i = 0; i < server->rows; i++)
        mem_free(server->row[i].answer);
    buf_release(&server->record);
    pthread_mutex_destroy(&server->lock);
    mem_free(server);
}

/* ---- the script */

static void add_row(struct rig *rig, struct row row)
{
    struct server *server = rig->server;
    pthread_mutex_lock(&server->lock);
    assert_true(server->rows < ROWS_MAX);
    server->row[server->rows++] = row;
    pthread_mutex_unlock(&server->lock);
}

void rig_script(struct rig *rig, const char *match, int uses, const char *answer)
{
    add_row(rig, (struct row){ .match = match,
                               .uses = uses,
                               .answer = answer ? mem_copy_text(answer) : NULL });
}

void rig_answer(struct rig *rig, const char *match, int uses, const char *status,
                const char *headers, const char *body)
{
    add_row(rig, (struct row){
                     .match = match, .uses = uses, .answer = compose(status, headers, body) });
}

void rig_token(struct rig *rig, int uses, const char *token, const char *life)
{
    AUTO_TEXT char *body = mem_print("{\"access_token\":\"%s\",\"token_type\":\"bearer\","
                                     "\"expires_in\":%s}",
                                     token, life);
    rig_answer(rig, TOKEN_ROW, uses, "200 OK", "", body);
}

void rig_compute(struct rig *rig, const char *match, void *owner,
                 void (*write)(void *owner, const char *request, struct buf *body))
{
    add_row(rig,
            (struct row){ .match = match, .uses = ALWAYS, .owner = owner, .write = write });
}

int rig_count(struct rig *rig, const char *text)
{
    int count = 0;
    pthread_mutex_lock(&rig->server->lock);
    for (const char *at = buf_text(&rig->server->record); (at = strstr(at, text)); at++)
        count++;
    pthread_mutex_unlock(&rig->server->lock);
    return count;
}

/* ---- the tenant */

int rig_setup_libraries(void **state)
{
    (void)state;
    digest_init();
    http_init();
    return 0;
}

int rig_release_libraries(void **state)
{
    (void)state;
    http_cleanup();
    digest_release();
    return 0;
}

static void on_guard(struct timer *guard)
{
    container_of(guard, struct rig, guard)->late = true;
}

void rig_write_secret(struct rig *rig, const char *secret)
{
    FILE *file = fopen(rig->secret_file, "w");
    assert_non_null(file);
    fputs(secret, file);
    fclose(file);
}

void rig_start(struct rig *rig)
{
    *rig = (struct rig){ .guard.fire = on_guard };
    rig->server = server_start();
    snprintf(rig->url, sizeof rig->url, "http://127.0.0.1:%d", rig->server->port);
    snprintf(rig->secret_file, sizeof rig->secret_file, "/tmp/sluice-test-XXXXXX");
    close(mkstemp(rig->secret_file));
    rig_write_secret(rig, "s3cr+t&=\n");
    rig->options = (struct aep_options){ .endpoint = rig->url,
                                         .ims_endpoint = rig->url,
                                         .org = "ORG@AdobeOrg",
                                         .client_id = "client id",
                                         .client_secret_file = rig->secret_file,
                                         .scopes = "openid,session",
                                         .sandbox = "prod",
                                         .requests_per_second = 1000,
                                         .window_start = 8,
                                         .window_max = 16 };
    struct http_options http = { .plain_http = true, .max_connections = 8 };
    rig->loop = loop_new();
    rig->http = http_new(rig->loop, &http);
    rig->aep = aep_new(rig->loop, rig->http, rig->http, &rig->options);
    timer_set_in(rig->loop, &rig->guard, GUARD_MS);
}

void rig_renew_tenant(struct rig *rig)
{
    aep_free(rig->aep);
    rig->aep = aep_new(rig->loop, rig->http, rig->http, &rig->options);
}

void rig_stop(struct rig *rig)
{
    aep_free(rig->aep);
    http_free(rig->http);
    timer_clear(rig->loop, &rig->guard);
    rig_turn_for(rig, 2);
    loop_free(rig->loop);
    server_stop(rig->server);
    unlink(rig->secret_file);
}

void rig_turn(struct rig *rig)
{
    uv_run(loop_uv(rig->loop), UV_RUN_ONCE);
}

void rig_turn_for(struct rig *rig, int64_t ms)
{
    struct mono end = mono_after_ms(clock_mono(), ms);
    while (!mono_due(end, clock_mono())) {
        uv_run(loop_uv(rig->loop), UV_RUN_NOWAIT);
        usleep(1000);
    }
}

/* ---- damage */

/* Always the same numbers (Knuth's MMIX), so that a failure comes again. */
static size_t draw(uint64_t *seed, size_t below)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(*seed >> 33) % below;
}

/* One to four of: another byte, a cut tail, a repeated piece. */
static void damage(struct buf *text, uint64_t *seed)
{
    char piece[200];
    static const char bytes[] = "\"{}[]:,\\0-19eE.u \n\xff\x80";
    for (size_t n = 1 + draw(seed, 4); n > 0 && text->len > 1; n--) {
        size_t at = draw(seed, text->len);
        size_t len = 1 + draw(seed, text->len - at);
        switch (draw(seed, 4)) {
        case 0:
            len = len < sizeof piece ? len : sizeof piece;
            memcpy(piece, text->data + at, len);
            buf_add(text, piece, len);
            break;
        case 1:
            text->len = at;
            break;
        default:
            text->data[at] = bytes[draw(seed, sizeof bytes)];
        }
    }
}

void damage_each(const char *text, int rounds, void (*parse)(const char *body, size_t len))
{
    uint64_t seed = 20260601;
    for (int i = 0; i < rounds; i++) {
        AUTO_BUF variant = BUF_INIT(1 << 20);
        buf_add_text(&variant, text);
        buf_add(&variant, text, i % 7 == 0 ? strlen(text) / 2 : 0);
        damage(&variant, &seed);
        char *exact = malloc(variant.len ? variant.len : 1);
        assert_non_null(exact);
        memcpy(exact, buf_text(&variant), variant.len);
        parse(exact, variant.len);
        free(exact);
    }
}
