/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP/1.1 server for benchmarks: one blocking thread per connection, keep-alive,
 * bodies with a Content-Length, optional TLS and a fixed delay before each answer. Threads,
 * because a delay is then a sleep and the code reads in the order things happen.
 */
#ifndef SLUICE_BENCH_HTTPD_H
#define SLUICE_BENCH_HTTPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTPD_HEADERS  48
#define HTTPD_BODY_MAX 32768 /* bodies up to this size are kept, larger ones are dropped */

struct httpd_conn;

struct httpd_header {
    char *name, *value;
};

/* Valid while it is answered. */
struct httpd_req {
    char *method, *path, *query; /* as they came, still encoded; query "" if none */
    struct httpd_header header[HTTPD_HEADERS];
    size_t headers;
    uint64_t body_len;
    const char *body; /* NULL if it was dropped */
};

struct httpd_options {
    const char *certificate, *key; /* PEM files; NULL = plain HTTP */
    unsigned delay_ms;             /* before each answer but those to /_stats */
    /* Called in the connection's thread with the whole body read; false = close. */
    bool (*answer)(struct httpd_conn *conn, const struct httpd_req *req);
};

/* Listens on a free port of 127.0.0.1, prints it on a line, serves until killed. */
int httpd_serve(const struct httpd_options *options);

/* NULL if absent. */
const char *httpd_header(const struct httpd_req *req, const char *name);

/* A query parameter: where its value begins ("" for one without '='); NULL if absent. */
const char *httpd_param(const struct httpd_req *req, const char *name);
int64_t httpd_param_number(const struct httpd_req *req, const char *name, int64_t absent);

/* Status line, Content-Length and `extra` header lines (each ends with \r\n), then the body. */
bool httpd_reply(struct httpd_conn *conn, const char *status, const char *extra,
                 const char *body, size_t len);
/* The head only: the caller sends `len` bytes itself if they follow, or none (HEAD). */
bool httpd_reply_head(struct httpd_conn *conn, const char *status, const char *extra,
                      uint64_t len, bool body_follows);
bool httpd_reply_json(struct httpd_conn *conn, const char *text);

/* Sends a piece of `fd`, which is also mapped at `map`, since TLS cannot sendfile. */
bool httpd_send_file(struct httpd_conn *conn, int fd, const char *map, size_t offset,
                     size_t len);

void httpd_sleep_until(int64_t at_us);
int64_t httpd_now_us(void); /* CLOCK_MONOTONIC: comparable between processes */

#endif
