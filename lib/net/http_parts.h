/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to http*.c, which together are the only home of libcurl:
 *
 *   http          the client: curl's sockets and timeouts on our loop
 *   http_call     one request, from its first header to `done`
 *   http_easy     curl's settings and curl's errors
 *   http_answer   what an answer says (pure, knows no curl)
 */
#ifndef SLUICE_NET_HTTP_PARTS_H
#define SLUICE_NET_HTTP_PARTS_H

#include <curl/curl.h>

#include "lib/net/http.h"
#include "lib/net/traffic.h"

struct http {
    struct loop *loop;
    CURLM *multi;
    CURLSH *share; /* TLS sessions, so that a new connection resumes */
    char *ca_file, *proxy, *unix_socket;
    bool plain_http;
    size_t max_connections;
    int socket_buffer;
    int64_t connect_timeout_ms;
    struct timer timer;   /* the timeout curl asked for */
    struct deferred kick; /* the same with timeout 0 */
    struct list running, ending;
    CURL **idle; /* handles for the next requests, at most max_connections */
    size_t idle_count;
};

/* How far the answer is. REFUSED: a callback of ours ended the transfer. */
enum phase { PHASE_HEADERS, PHASE_BODY, PHASE_PAUSED, PHASE_REFUSED };

struct http_call {
    struct http_req *req;
    struct http *http; /* NULL until http_start */
    struct list_node node;
    enum phase phase;
    enum err verdict; /* the result, if it is refused */
    CURL *easy;       /* NULL once the result is known */
    struct curl_slist *headers;
    struct deferred resume, finish;
    struct timer deadline, stall;
    struct mono moved_at; /* when a byte was last seen to move */
    struct mono paced_at; /* since then stall_bytes are counted … */
    int64_t paced_bytes;  /* … from here on */
    size_t sent;          /* of the body, given to curl */
    curl_socket_t socket; /* CURL_SOCKET_BAD = none known */
    int unsent;           /* in the kernel's queue when the stall timer last looked */
    char error[CURL_ERROR_SIZE];
};

/* Ends the process on what fails only for want of memory, or because curl lacks the option. */
void http_must(int curl_code);
void *http_must_have(void *handle);
#define SET(easy, option, value) http_must((int)curl_easy_setopt(easy, option, value))

/* The request has ended: its owner's counters learn of it. */
void http_count(const struct http_req *req);

/* A handle with all that is the same for every request of the client. */
CURL *http_easy_new(const struct http *http);
void http_easy_prepare(CURL *easy, struct http_call *call);
void http_easy_forget(CURL *easy); /* no pointer into the call remains */
enum err http_easy_err(CURLcode code);

/* curl's callbacks; the last argument is the call. */
size_t http_call_header(char *line, size_t size, size_t count, void *call);
size_t http_call_body(char *bytes, size_t size, size_t count, void *call);
size_t http_call_send(char *room, size_t size, size_t count, void *call);
int http_call_seek(void *call, curl_off_t offset, int origin);

void http_call_complete(struct http_call *call, CURLcode code); /* curl is through with it */
void http_call_finish(struct http_call *call);                  /* the last act: `done` */

#endif
