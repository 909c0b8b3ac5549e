/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP client of a loop: curl tells which sockets and which timeout to watch, the loop
 * tells curl when something happened, and what has ended goes to http_call.c. curl forbids its
 * own functions inside its callbacks, therefore "at once" means the end of the turn.
 */
#include "lib/net/http_parts.h"

#include <signal.h>
#include <stdio.h>
#include <uv.h>

struct watch {
    uv_poll_t poll;
    struct http *http;
    curl_socket_t fd;
};

/* curl calls these */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *http, void *watch);
static int on_timeout_wanted(CURLM *multi, long ms, void *http);
/* the loop calls these */
static void on_poll(uv_poll_t *poll, int status, int events);
static void on_timer(struct timer *timer);
static void on_kick(struct deferred *work);

/* ---- life */

static void *resize(void *old, size_t size)
{
    return mem_grow(old, size, 1);
}

void http_init(void)
{
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to sockets without MSG_NOSIGNAL */
    http_must((int)curl_global_init_mem(CURL_GLOBAL_DEFAULT, mem_alloc_raw, mem_free, resize,
                                        mem_copy_text, mem_alloc_array));
}

void http_cleanup(void)
{
    curl_global_cleanup();
}

void http_must(int code)
{
    if (code == 0)
        return;
    char what[80];
    snprintf(what, sizeof what, "resources of libcurl or libuv (%d)", code);
    mem_exhausted(what);
}

void *http_must_have(void *handle)
{
    http_must(handle ? 0 : CURLE_OUT_OF_MEMORY);
    return handle;
}

struct http *http_new(struct loop *loop, const struct http_options *options)
{
    struct http *http = mem_alloc(sizeof *http);
    http->loop = loop;
    mem_set_text(&http->ca_file, options->ca_file);
    mem_set_text(&http->proxy, options->proxy);
    mem_set_text(&http->unix_socket, options->unix_socket);
    http->plain_http = options->plain_http;
    http->max_connections = options->max_connections;
    http->socket_buffer = (int)options->socket_buffer;
    http->connect_timeout_ms = options->connect_timeout_ms;
    http->timer.fire = on_timer;
    http->kick.run = on_kick;
    list_init(&http->running);
    list_init(&http->ending);
    http->idle = mem_alloc_array(http->max_connections, sizeof *http->idle);

    http->share = http_must_have(curl_share_init());
    http_must((int)curl_share_setopt(http->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION));
    http->multi = http_must_have(curl_multi_init());
    CURLM *multi = http->multi;
    http_must(curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket));
    http_must(curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, http));
    http_must(curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted));
    http_must(curl_multi_setopt(multi, CURLMOPT_TIMERDATA, http));
    http_must(curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)http->max_connections));
    return http;
}

void http_free(struct http *http)
{
    struct list_node *node;
    if (!http)
        return;
    while ((node = list_first(&http->running)) || (node = list_first(&http->ending))) {
        struct http_call *call = container_of(node, struct http_call, node);
        if (call->easy)
            http_cancel(call->req);
        http_call_finish(call);
    }
    while (http->idle_count > 0)
        curl_easy_cleanup(http->idle[--http->idle_count]);
    curl_multi_cleanup(http->multi);
    curl_share_cleanup(http->share);
    timer_clear(http->loop, &http->timer);
    loop_undefer(http->loop, &http->kick);
    mem_free(http->idle);
    mem_free(http->ca_file);
    mem_free(http->proxy);
    mem_free(http->unix_socket);
    mem_free(http);
}

void http_count(const struct http_req *req)
{
    if (req->traffic && req->result != ERR_CANCELLED)
        traffic_note(req->traffic, req->result == OK ? req->status : 0,
                     (double)req->total_us / 1e6);
}

/* ---- curl and the loop */

/* Lets curl work on one socket, or on its timeouts, then takes what has ended. */
static void act(struct http *http, curl_socket_t fd, int events)
{
    int running, left;
    CURLMsg *message;
    curl_multi_socket_action(http->multi, fd, events, &running);
    while ((message = curl_multi_info_read(http->multi, &left))) {
        /* Removing the handle from curl frees the message. */
        CURLcode code = message->data.result;
        struct http_call *call = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        http_call_complete(call, code);
    }
}

static void on_watch_closed(uv_handle_t *handle)
{
    mem_free(container_of(handle, struct watch, poll));
}

static struct watch *watch_new(struct http *http, curl_socket_t fd)
{
    struct watch *watch = mem_alloc(sizeof *watch);
    watch->http = http;
    watch->fd = fd;
    http_must(uv_poll_init_socket(loop_uv(http->loop), &watch->poll, fd));
    curl_multi_assign(http->multi, fd, watch);
    return watch;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *http, void *known)
{
    static const int events[] = { [CURL_POLL_IN] = UV_READABLE,
                                  [CURL_POLL_OUT] = UV_WRITABLE,
                                  [CURL_POLL_INOUT] = UV_READABLE | UV_WRITABLE };
    struct watch *watch = known;
    struct http_call *call = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &call);
    if (call)
        call->socket = what == CURL_POLL_REMOVE ? CURL_SOCKET_BAD : fd;
    if (what != CURL_POLL_REMOVE) {
        watch = watch ? watch : watch_new(http, fd);
        uv_poll_start(&watch->poll, events[what], on_poll);
    } else if (watch) {
        /* curl closes fd next and its number may come back at once: let go of it now. */
        uv_poll_stop(&watch->poll);
        curl_multi_assign(watch->http->multi, fd, NULL);
        uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
    }
    return 0;
}

/* A negative status is how libuv reports EPOLLERR, such as a refused connection. */
static void on_poll(uv_poll_t *poll, int status, int events)
{
    const struct watch *watch = container_of(poll, struct watch, poll);
    int what = status < 0 ? CURL_CSELECT_ERR : 0;
    if (events & UV_READABLE)
        what |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        what |= CURL_CSELECT_OUT;
    act(watch->http, watch->fd, what);
}

static int on_timeout_wanted(CURLM *multi, long ms, void *user)
{
    struct http *http = user;
    (void)multi;
    timer_clear(http->loop, &http->timer);
    loop_undefer(http->loop, &http->kick);
    if (ms > 0)
        timer_set_in(http->loop, &http->timer, ms);
    else if (ms == 0)
        loop_defer(http->loop, &http->kick);
    return 0;
}

static void on_timer(struct timer *timer)
{
    act(container_of(timer, struct http, timer), CURL_SOCKET_TIMEOUT, 0);
}

static void on_kick(struct deferred *work)
{
    act(container_of(work, struct http, kick), CURL_SOCKET_TIMEOUT, 0);
}
