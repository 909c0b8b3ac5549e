/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 client of one loop: libcurl's multi interface over libuv, and the only home of
 * libcurl. No redirects, no environment proxies, no cookies, no .netrc, TLS verified.
 * http_init() once in main before threads start; it also makes SIGPIPE harmless.
 *
 * A request is a struct that its owner embeds and keeps until `done`, which fires exactly once
 * (success, failure or cancel), never from inside http_start or http_cancel, and as the very
 * last act: the owner may free the request in it, or start it again. Data callbacks move bytes
 * or pause; they must not start, cancel, resume or free requests.
 */
#ifndef SLUICE_NET_HTTP_H
#define SLUICE_NET_HTTP_H

#include "lib/base/buf.h"
#include "lib/net/loop.h"

struct http;

struct http_options {
    const char *ca_file;     /* NULL = the system's bundle */
    const char *proxy;       /* NULL = none; the environment is never consulted */
    const char *unix_socket; /* NULL = none; else all requests go there, whatever their host */
    bool plain_http;         /* allow http:// besides https:// */
    size_t max_connections;  /* size of the keep-alive cache */
    /* What the kernel may take in for us while we pause; 0 = its own choice, some MiB. */
    size_t socket_buffer;
    int64_t
        connect_timeout_ms; /* name lookup to end of TLS handshake; 0 = curl's five minutes */
};

void http_init(void);
void http_cleanup(void);
struct http *http_new(struct loop *loop, const struct http_options *options);
void http_free(struct http *http); /* cancels what still runs; their `done` fires first */

enum http_data { HTTP_TAKEN, HTTP_PAUSE, HTTP_ABORT };

struct http_req {
    /* Set by the owner before http_start; everything else zero. */
    const char *method; /* GET HEAD PUT POST DELETE PATCH; static text */
    const char *url;    /* copied by http_start */
    const void *body;   /* borrowed until done; replayed if the connection was stale */
    size_t body_len;    /* PUT and POST always send Content-Length */
    int64_t timeout_ms; /* whole request; 0 = none */
    int64_t
        stall_ms; /* give up after so long without a byte moving (pauses excluded); 0 = none */
    int64_t stall_bytes; /* of the body, wanted in each stall_ms; fewer are as good as none */
    size_t max_body;     /* cap of the collected body, ERR_TOO_BIG beyond; 0 = 64 KiB */
    size_t recv_buffer;  /* 0 = 16 KiB; 256 KiB pays for big bodies without TLS */
    size_t send_buffer;  /* 0 = 64 KiB; 256 KiB saves wake-ups on big uploads */
    struct traffic *traffic; /* counts it, unless it is cancelled; NULL = nobody does */
    void (*done)(struct http_req *req);
    /*
     * Optional: called once when the final header block is complete, before data. `status` and
     * http_header() are valid. A code other than OK ends the request with it (fault is the
     * owner's to fill).
     */
    enum err (*on_headers)(struct http_req *req);
    /*
     * Optional: takes the body instead of collecting it. HTTP_PAUSE = nothing was taken; the
     * same bytes come again after http_resume. HTTP_ABORT ends the request (owner fills the
     * fault).
     * Only bodies of 2xx answers go here. An error body is collected and cut at 64 KiB, with or
     * without on_data: its status is the answer.
     */
    enum http_data (*on_data)(struct http_req *req, const void *bytes, size_t len);

    /* Result, valid in `done`: */
    enum err result;    /* OK = an answer arrived completely, whatever its status */
    struct fault fault; /* filled when result != OK */
    int status;
    struct buf content; /* collected body; released by http_req_release */
    struct buf headers; /* raw header block of the final answer, "Name: value\r\n" lines */
    int64_t body_bytes; /* received, before any cap */
    int64_t first_byte_us, total_us;

    struct http_call *call; /* private */
};

/*
 * Adds "Name: value" for the next http_start, and only for that one. Copied. A value with
 * control bytes ends the request with ERR_ARGUMENT.
 */
void http_set_header(struct http_req *req, const char *name, const char *value);
/* The same for a secret value: the copy is wiped after the request. */
void http_set_secret_header(struct http_req *req, const char *name, const char *prefix,
                            const char *secret);

void http_start(struct http *http, struct http_req *req);
void http_cancel(struct http_req *req); /* `done` with ERR_CANCELLED follows from the loop */
void http_resume(struct http_req *req); /* after HTTP_PAUSE; takes effect from the loop */
bool http_running(const struct http_req *req);
void http_req_release(struct http_req *req); /* in or after done; makes it reusable (zeroed) */

/* Value of a response header, trimmed, copied into `value`; false if absent or longer. */
bool http_header(const struct http_req *req, const char *name, char *value, size_t size);

/*
 * Content-Range: bytes a-b/total (RFC 9110 §14.4); total may be "*" (-1). ERR_NOT_FOUND if the
 * header is absent, ERR_BAD_RESPONSE if malformed.
 */
struct http_range {
    int64_t first, last, total;
};
enum err http_content_range(const struct http_req *req, struct http_range *ret) MUST_CHECK;

/*
 * The error row of an HTTP status: 2xx OK, 401 AUTH, 403 DENIED, 404/410 NOT_FOUND, 409 CONFLICT,
 * 412 EXISTS, 416 BAD_RESPONSE, 429/503 THROTTLED, 408 TIMEOUT, other 5xx SERVER, 3xx REDIRECT,
 * other 4xx REQUEST.
 */
enum err http_status_err(int status);

/* Milliseconds of Retry-After, 0 if absent or senseless, at most five minutes. A date counts from
 * the answer's own Date; from `now` if it has none. */
int64_t http_retry_after(const struct http_req *req, struct wall now);

#endif
