/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server core of the benchmark's source and sink. A connection's life is one function,
 * conn_serve: read a head, read or drop the body, wait the delay, answer, again.
 */
#include "httpd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX   32768
#define SINK_BYTES (256 * 1024)

struct httpd_conn {
    int fd;
    SSL *ssl;
    const struct httpd_options *options;
    size_t have; /* bytes in `head`: the current head and what came behind it */
    char head[HEAD_MAX + 1];
    char body[HTTPD_BODY_MAX + 1];
    char sink[SINK_BYTES];
};

static SSL_CTX *tls;

static ssize_t conn_recv(struct httpd_conn *conn, void *data, size_t len)
{
    if (conn->ssl)
        return SSL_read(conn->ssl, data, (int)len);
    ssize_t got;
    do
        got = recv(conn->fd, data, len, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

static bool conn_send(struct httpd_conn *conn, const char *data, size_t len, int flags)
{
    if (conn->ssl)
        return len == 0 || SSL_write(conn->ssl, data, (int)len) > 0;
    while (len) {
        ssize_t sent = send(conn->fd, data, len, MSG_NOSIGNAL | flags);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        data += sent;
        len -= (size_t)sent;
    }
    return true;
}

bool httpd_send_file(struct httpd_conn *conn, int fd, const char *map, size_t offset,
                     size_t len)
{
    if (conn->ssl)
        return conn_send(conn, map + offset, len, 0);
    off_t at = (off_t)offset;
    while (len) {
        ssize_t sent = sendfile(conn->fd, fd, &at, len);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        len -= (size_t)sent;
    }
    return true;
}

static size_t print_head(char *text, size_t size, const char *status, const char *extra,
                         uint64_t len)
{
    int n = snprintf(text, size, "HTTP/1.1 %s\r\nContent-Length: %llu\r\n%s\r\n", status,
                     (unsigned long long)len, extra);
    return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

bool httpd_reply_head(struct httpd_conn *conn, const char *status, const char *extra,
                      uint64_t len, bool body_follows)
{
    char text[4096];
    size_t head = print_head(text, sizeof text, status, extra, len);
    return head && conn_send(conn, text, head, body_follows ? MSG_MORE : 0);
}

/* Head and body leave in one segment where they can: small answers are most of the load. */
bool httpd_reply(struct httpd_conn *conn, const char *status, const char *extra,
                 const char *body, size_t len)
{
    char text[HEAD_MAX];
    size_t head = print_head(text, sizeof text, status, extra, len);
    if (!head)
        return false;
    if (len > sizeof text - head)
        return conn_send(conn, text, head, MSG_MORE) && conn_send(conn, body, len, 0);
    memcpy(text + head, body, len);
    return conn_send(conn, text, head + len, 0);
}

bool httpd_reply_json(struct httpd_conn *conn, const char *text)
{
    return httpd_reply(conn, "200 OK", "Content-Type: application/json\r\n", text,
                       strlen(text));
}

const char *httpd_header(const struct httpd_req *req, const char *name)
{
    for (size_t i = 0; i < req->headers; i++)
        if (strcasecmp(req->header[i].name, name) == 0)
            return req->header[i].value;
    return NULL;
}

const char *httpd_param(const struct httpd_req *req, const char *name)
{
    size_t len = strlen(name);
    for (const char *p = req->query; *p; p += strcspn(p, "&"), p += *p == '&')
        if (strncmp(p, name, len) == 0 && strchr("=&", p[len]))
            return p[len] == '=' ? p + len + 1 : "";
    return NULL;
}

int64_t httpd_param_number(const struct httpd_req *req, const char *name, int64_t absent)
{
    const char *value = httpd_param(req, name);
    return value ? strtoll(value, NULL, 10) : absent;
}

int64_t httpd_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void httpd_sleep_until(int64_t at_us)
{
    struct timespec at = { .tv_sec = at_us / 1000000, .tv_nsec = at_us % 1000000 * 1000 };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        continue;
}

/* Cuts the text at `separator` and returns what follows it; NULL if there is none. */
static char *cut(char *text, const char *separator)
{
    char *end = strstr(text, separator);
    if (!end)
        return NULL;
    *end = '\0';
    return end + strlen(separator);
}

static bool parse_head(char *head, struct httpd_req *req)
{
    char *line = cut(head, "\r\n");
    req->method = head;
    req->path = cut(head, " ");
    if (!req->path || !cut(req->path, " "))
        return false;
    req->query = cut(req->path, "?");
    if (!req->query)
        req->query = req->path + strlen(req->path);
    for (req->headers = 0; line && *line && req->headers < HTTPD_HEADERS; req->headers++) {
        struct httpd_header *header = &req->header[req->headers];
        char *next = cut(line, "\r\n");
        header->name = line;
        header->value = cut(line, ":");
        if (!header->value)
            return false;
        header->value += strspn(header->value, " \t");
        line = next;
    }
    return !line || !*line;
}

/* Returns the head's length, 0 at the end of the connection or for a head that is too long. */
static size_t read_head(struct httpd_conn *conn)
{
    for (;;) {
        char *end = memmem(conn->head, conn->have, "\r\n\r\n", 4);
        if (end)
            return (size_t)(end - conn->head) + 4;
        if (conn->have == HEAD_MAX)
            return 0;
        ssize_t got = conn_recv(conn, conn->head + conn->have, HEAD_MAX - conn->have);
        if (got <= 0)
            return 0;
        conn->have += (size_t)got;
    }
}

/*
 * The body: first what arrived behind the head, then the rest from the socket, kept if it is
 * small. `behind` points at `have` bytes; the number of them that belonged to the body returns.
 */
static bool read_body(struct httpd_conn *conn, struct httpd_req *req, const char *behind,
                      size_t have, size_t *ret_used)
{
    bool keep = req->body_len <= HTTPD_BODY_MAX;
    size_t used = have < req->body_len ? have : (size_t)req->body_len;
    if (keep)
        memcpy(conn->body, behind, used);
    for (uint64_t done = used; done < req->body_len;) {
        uint64_t left = req->body_len - done;
        char *to = keep ? conn->body + done : conn->sink;
        ssize_t got = conn_recv(conn, to, left < SINK_BYTES ? left : SINK_BYTES);
        if (got <= 0)
            return false;
        done += (uint64_t)got;
    }
    req->body = keep ? conn->body : NULL;
    *ret_used = used;
    return true;
}

static bool serve_one(struct httpd_conn *conn)
{
    static const char GO_ON[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct httpd_req req = { 0 };
    size_t head = read_head(conn), used = 0;
    if (!head)
        return false;
    conn->head[head - 2] = '\0';
    if (!parse_head(conn->head, &req) || httpd_header(&req, "Transfer-Encoding"))
        return false;
    const char *len = httpd_header(&req, "Content-Length");
    req.body_len = len ? strtoull(len, NULL, 10) : 0;
    if (httpd_header(&req, "Expect") && !conn_send(conn, GO_ON, sizeof GO_ON - 1, 0))
        return false;
    if (!read_body(conn, &req, conn->head + head, conn->have - head, &used))
        return false;
    if (conn->options->delay_ms && strcmp(req.path, "/_stats") != 0)
        httpd_sleep_until(httpd_now_us() + conn->options->delay_ms * 1000LL);
    const char *after = httpd_header(&req, "Connection");
    bool keep_alive = !after || strcasecmp(after, "close") != 0;
    if (!conn->options->answer(conn, &req))
        return false;
    conn->have -= head + used;
    memmove(conn->head, conn->head + head + used, conn->have);
    return keep_alive;
}

static void *conn_serve(void *arg)
{
    struct httpd_conn *conn = arg;
    int one = 1;
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (tls) {
        conn->ssl = SSL_new(tls);
        SSL_set_fd(conn->ssl, conn->fd);
    }
    if (!conn->ssl || SSL_accept(conn->ssl) == 1)
        while (serve_one(conn))
            continue;
    SSL_free(conn->ssl);
    close(conn->fd);
    free(conn);
    return NULL;
}

static bool tls_open(const struct httpd_options *options)
{
    if (!options->certificate)
        return true;
    tls = SSL_CTX_new(TLS_server_method());
    return tls && SSL_CTX_use_certificate_chain_file(tls, options->certificate) == 1 &&
           SSL_CTX_use_PrivateKey_file(tls, options->key, SSL_FILETYPE_PEM) == 1;
}

static int listen_anywhere(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) || listen(fd, 4096) ||
        getsockname(fd, (struct sockaddr *)&at, &len))
        return -1;
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

int httpd_serve(const struct httpd_options *options)
{
    /* An aborted benchmark must not leave servers behind. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    int listener = tls_open(options) ? listen_anywhere() : -1;
    if (listener < 0) {
        fprintf(stderr, "cannot listen: %s\n", tls ? "TLS files?" : strerror(errno));
        return 1;
    }
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        struct httpd_conn *conn = calloc(1, sizeof *conn);
        pthread_t thread;
        if (conn) {
            conn->fd = fd;
            conn->options = options;
        }
        if (!conn || pthread_create(&thread, &small, conn_serve, conn)) {
            free(conn);
            close(fd);
        }
    }
}
