/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request on its way:
 *
 *   http_set_header    prepared   belongs to no client yet
 *   http_start         running    HEADERS -> BODY <-> PAUSED, or REFUSED    in http->running
 *   settle()           ending     out of curl, result known                 in http->ending
 *   http_call_finish   gone       `done`, as the very last act
 *
 * What curl's callbacks decide is noted in the call and acted upon from the loop.
 */
#include "lib/net/http_parts.h"

#include <assert.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#define HEADERS_MAX    (64 * 1024)
#define ERROR_BODY_MAX (64 * 1024)
#define BODY_DEFAULT   (64 * 1024)

/* the loop calls these */
static void on_deadline(struct timer *timer);
static void on_stall(struct timer *timer);
static void on_resume(struct deferred *work);
static void on_finish(struct deferred *work);
/* ways to end */
static size_t refuse(struct http_call *call, enum err verdict);
static void settle(struct http_call *call, enum err result);
static enum err explain(struct http_call *call, enum err code, const char *text);

/* ---- preparing and starting */

static struct http_call *call_of(struct http_req *req)
{
    if (!req->call) {
        req->call = mem_alloc(sizeof *req->call);
        req->call->req = req;
        req->call->finish.run = on_finish;
        req->call->resume.run = on_resume;
        req->call->deadline.fire = on_deadline;
        req->call->stall.fire = on_stall;
        req->call->socket = CURL_SOCKET_BAD;
        req->call->unsent = -1;
    }
    return req->call;
}

static bool has_control_byte(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

static void add_header(struct http_call *call, const char *line)
{
    call->headers = http_must_have(curl_slist_append(call->headers, line));
}

void http_set_header(struct http_req *req, const char *name, const char *value)
{
    http_set_secret_header(req, name, "", value);
}

void http_set_secret_header(struct http_req *req, const char *name, const char *prefix,
                            const char *secret)
{
    struct http_call *call = call_of(req);
    assert(!call->http);
    if (has_control_byte(name) || has_control_byte(prefix) || has_control_byte(secret)) {
        call->verdict = fault_set(&req->fault, ERR_ARGUMENT, "control byte in header %s", name);
        return;
    }
    /* curl takes "Name:" as "leave it out" and "Name;" as "send it empty". */
    bool empty = !*prefix && !*secret;
    char *line = mem_print("%s%s%s%s", name, empty ? ";" : ": ", prefix, secret);
    add_header(call, line);
    mem_wipe(line, strlen(line));
    mem_free(line);
}

static void headers_free(struct http_call *call)
{
    for (struct curl_slist *at = call->headers; at; at = at->next)
        mem_wipe(at->data, strlen(at->data));
    curl_slist_free_all(call->headers);
    call->headers = NULL;
}

static void result_clear(struct http_req *req)
{
    buf_release(&req->content);
    buf_release(&req->headers);
    buf_init(&req->content, req->max_body > ERROR_BODY_MAX ? req->max_body : ERROR_BODY_MAX);
    buf_init(&req->headers, HEADERS_MAX);
    req->result = OK;
    req->status = 0;
    req->body_bytes = req->first_byte_us = req->total_us = 0;
    if (!req->call->verdict)
        req->fault = (struct fault){ 0 };
}

static bool url_allowed(const struct http *http, const char *url)
{
    return strncmp(url, "https://", 8) == 0 ||
           (http->plain_http && strncmp(url, "http://", 7) == 0);
}

void http_start(struct http *http, struct http_req *req)
{
    struct http_call *call = call_of(req);
    assert(!call->http && req->method && req->url && req->done);
    call->http = http;
    list_push(&http->running, &call->node);
    result_clear(req);
    if (call->verdict) {
        settle(call, call->verdict);
        return;
    }
    if (!url_allowed(http, req->url)) {
        settle(call, explain(call, ERR_ARGUMENT, "URL must begin with https://"));
        return;
    }
    add_header(call, "Expect:"); /* waiting for 100 Continue costs a round trip */
    call->easy = http->idle_count ? http->idle[--http->idle_count] : http_easy_new(http);
    http_easy_prepare(call->easy, call);
    call->moved_at = loop_now(http->loop);
    if (req->timeout_ms)
        timer_set_in(http->loop, &call->deadline, req->timeout_ms);
    if (req->stall_ms)
        timer_set_in(http->loop, &call->stall, req->stall_ms);
    http_must(curl_multi_add_handle(http->multi, call->easy));
}

bool http_running(const struct http_req *req)
{
    return req->call && req->call->http;
}

/* ---- bytes */

static void touch(struct http_call *call)
{
    call->moved_at = loop_now(call->http->loop);
}

/* Slowness is counted anew: an answer begins, or we had paused it. */
static void pace(struct http_call *call)
{
    call->paced_at = loop_now(call->http->loop);
    call->paced_bytes = call->req->body_bytes;
}

static bool answered_well(const struct http_call *call)
{
    return http_status_err(call->req->status) == OK;
}

static size_t final_headers(struct http_call *call, size_t len)
{
    struct http_req *req = call->req;
    call->phase = PHASE_BODY;
    pace(call);
    enum err code = req->on_headers ? req->on_headers(req) : OK;
    return code ? refuse(call, code) : len;
}

/* Sees every header block (100 Continue too) and the trailers; only the final block is kept. */
size_t http_call_header(char *line, size_t size, size_t count, void *user)
{
    struct http_call *call = user;
    struct http_req *req = call->req;
    size_t len = size * count;
    touch(call);
    if (call->phase != PHASE_HEADERS)
        return len;
    if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        buf_clear(&req->headers);
        return len;
    }
    if (line[0] == '\r' || line[0] == '\n') {
        long status = 0;
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
        req->status = (int)status;
        return status >= 200 ? final_headers(call, len) : len;
    }
    buf_add(&req->headers, line, len);
    if (req->headers.overflow)
        return refuse(call, explain(call, ERR_BAD_RESPONSE, "header block exceeds 64 KiB"));
    return len;
}

static size_t collect(struct http_call *call, const char *bytes, size_t len)
{
    struct http_req *req = call->req;
    size_t wanted = req->max_body ? req->max_body : BODY_DEFAULT;
    size_t room = (answered_well(call) ? wanted : ERROR_BODY_MAX) - req->content.len;
    req->body_bytes += (int64_t)len;
    buf_add(&req->content, bytes, len < room ? len : room);
    if (len <= room)
        return len;
    if (!answered_well(call))
        return refuse(call, OK); /* enough to know what is wrong */
    char text[64];
    snprintf(text, sizeof text, "body exceeds %zu bytes", wanted);
    return refuse(call, explain(call, ERR_TOO_BIG, text));
}

size_t http_call_body(char *bytes, size_t size, size_t count, void *user)
{
    struct http_call *call = user;
    struct http_req *req = call->req;
    size_t len = size * count;
    touch(call);
    if (!req->on_data || !answered_well(call))
        return collect(call, bytes, len);
    switch (req->on_data(req, bytes, len)) {
    case HTTP_TAKEN:
        req->body_bytes += (int64_t)len;
        return len;
    case HTTP_PAUSE:
        call->phase = PHASE_PAUSED;
        timer_clear(call->http->loop, &call->stall);
        return CURL_WRITEFUNC_PAUSE;
    case HTTP_ABORT:
        break;
    }
    return refuse(call, req->fault.code ? req->fault.code : ERR_CANCELLED);
}

size_t http_call_send(char *room, size_t size, size_t count, void *user)
{
    struct http_call *call = user;
    size_t left = call->req->body_len - call->sent;
    size_t len = size * count < left ? size * count : left;
    touch(call);
    if (len)
        memcpy(room, (const char *)call->req->body + call->sent, len);
    call->sent += len;
    return len;
}

/* curl begins again on a new connection when the one it reused turned out to be dead. */
int http_call_seek(void *user, curl_off_t offset, int origin)
{
    struct http_call *call = user;
    if (origin != SEEK_SET || offset < 0 || (size_t)offset > call->req->body_len)
        return CURL_SEEKFUNC_FAIL;
    call->sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

void http_resume(struct http_req *req)
{
    struct http_call *call = req->call;
    if (call && call->phase == PHASE_PAUSED && call->easy)
        loop_defer(call->http->loop, &call->resume);
}

/* curl hands over what it held back before curl_easy_pause() returns: it may pause again. */
static void on_resume(struct deferred *work)
{
    struct http_call *call = container_of(work, struct http_call, resume);
    call->phase = PHASE_BODY;
    touch(call);
    pace(call);
    if (call->req->stall_ms)
        timer_set_in(call->http->loop, &call->stall, call->req->stall_ms);
    CURLcode code = curl_easy_pause(call->easy, CURLPAUSE_CONT);
    if (code != CURLE_OK)
        http_call_complete(call, code);
}

/* ---- deadlines */

static void on_deadline(struct timer *timer)
{
    struct http_call *call = container_of(timer, struct http_call, deadline);
    char text[64];
    snprintf(text, sizeof text, "no complete answer within %lld ms",
             (long long)call->req->timeout_ms);
    settle(call, explain(call, ERR_TIMEOUT, text));
}

/*
 * The last megabytes of an upload sit in the kernel, where no callback sees them leave: their
 * going down is movement too. The first look can only note how many there are.
 */
static bool queue_moves(struct http_call *call)
{
    int before = call->unsent;
    call->unsent = 0;
    if (call->socket != CURL_SOCKET_BAD && ioctl(call->socket, SIOCOUTQ, &call->unsent) != 0)
        call->unsent = 0;
    return call->unsent > 0 && call->unsent != before;
}

/* A body that only trickles; judged at the end of each stall_ms. */
static bool trickles(struct http_call *call)
{
    struct mono now = loop_now(call->http->loop);
    const struct http_req *req = call->req;
    if (call->phase != PHASE_BODY ||
        !mono_due(mono_after_ms(call->paced_at, req->stall_ms), now))
        return false;
    int64_t moved = req->body_bytes - call->paced_bytes;
    pace(call);
    return moved < req->stall_bytes;
}

/* Bytes only note the time, which is cheaper than moving the timer for each of them. */
static void on_stall(struct timer *timer)
{
    struct http_call *call = container_of(timer, struct http_call, stall);
    struct loop *loop = call->http->loop;
    int64_t stall_ms = call->req->stall_ms;
    struct mono due = mono_after_ms(call->moved_at, stall_ms);
    char text[80];
    if (trickles(call)) {
        snprintf(text, sizeof text, "fewer than %lld bytes came within %lld ms",
                 (long long)call->req->stall_bytes, (long long)stall_ms);
        settle(call, explain(call, ERR_TIMEOUT, text));
        return;
    }
    if (!mono_due(due, loop_now(loop))) {
        bool paced = call->req->stall_bytes > 0 && call->phase == PHASE_BODY;
        timer_set(loop, timer,
                  paced ? mono_earlier(due, mono_after_ms(call->paced_at, stall_ms)) : due);
        return;
    }
    if (queue_moves(call)) {
        timer_set_in(loop, timer, stall_ms);
        return;
    }
    snprintf(text, sizeof text, "no byte moved for %lld ms", (long long)stall_ms);
    settle(call, explain(call, ERR_TIMEOUT, text));
}

/* ---- the end */

/* "host:port" within the URL; what is around it may be secret, or name people's data. */
static const char *host_of(const struct http_call *call, size_t *ret_len)
{
    const char *url = "", *host, *at;
    if (call->easy)
        curl_easy_getinfo(call->easy, CURLINFO_EFFECTIVE_URL, &url);
    host = strstr(url, "://");
    host = host ? host + 3 : "";
    size_t len = strcspn(host, "/?#");
    at = memrchr(host, '@', len);
    *ret_len = at ? len - (size_t)(at + 1 - host) : len;
    return at ? at + 1 : host;
}

static enum err explain(struct http_call *call, enum err code, const char *text)
{
    size_t len;
    const char *host = host_of(call, &len);
    return fault_set(&call->req->fault, code, "%s %.*s: %s", call->req->method, (int)len, host,
                     text);
}

/* The return value ends the transfer when it is returned to curl. */
static size_t refuse(struct http_call *call, enum err verdict)
{
    call->verdict = verdict;
    call->phase = PHASE_REFUSED;
    return 0;
}

/*
 * The peer closed a kept connection while we were beginning to use it again, and no byte came
 * back. curl itself repeats only if reading fails, but with a body it is sending that does.
 */
static bool was_dead(const struct http_call *call, CURLcode curl)
{
    long connects = 1;
    if (curl != CURLE_SEND_ERROR && curl != CURLE_RECV_ERROR)
        return false;
    curl_easy_getinfo(call->easy, CURLINFO_NUM_CONNECTS, &connects);
    return connects == 0 && call->phase == PHASE_HEADERS && call->req->headers.len == 0;
}

/* Once: a fresh connection is not one that was used before. */
static void replay(struct http_call *call)
{
    CURLM *multi = call->http->multi;
    call->sent = 0;
    call->error[0] = 0;
    curl_multi_remove_handle(multi, call->easy);
    SET(call->easy, CURLOPT_FRESH_CONNECT, 1L);
    http_must(curl_multi_add_handle(multi, call->easy));
}

void http_call_complete(struct http_call *call, CURLcode curl)
{
    if (call->phase == PHASE_REFUSED) {
        settle(call, call->verdict);
        return;
    }
    if (was_dead(call, curl)) {
        replay(call);
        return;
    }
    enum err code = http_easy_err(curl);
    if (code)
        explain(call, code, call->error[0] ? call->error : curl_easy_strerror(curl));
    else if (call->phase ==
             PHASE_HEADERS) /* curl takes an answer cut in its headers for HTTP/0.9 */
        explain(call, code = ERR_CUT, "the answer ended inside its headers");
    settle(call, code);
}

/* A handle whose transfer failed may keep that transfer's buffers, with their sizes. */
static void easy_drop(struct http *http, CURL *easy, bool reusable)
{
    http_easy_forget(easy);
    if (reusable && http->idle_count < http->max_connections)
        http->idle[http->idle_count++] = easy;
    else
        curl_easy_cleanup(easy);
}

static void leave_curl(struct http_call *call, bool reusable)
{
    struct http *http = call->http;
    curl_off_t first_us = 0, total_us = 0;
    curl_easy_getinfo(call->easy, CURLINFO_STARTTRANSFER_TIME_T, &first_us);
    curl_easy_getinfo(call->easy, CURLINFO_TOTAL_TIME_T, &total_us);
    call->req->first_byte_us = first_us;
    call->req->total_us = total_us;
    curl_multi_remove_handle(http->multi, call->easy);
    easy_drop(http, call->easy, reusable);
    call->easy = NULL;
}

/* The result is known: nothing of the transfer remains but the message to its owner. */
static void settle(struct http_call *call, enum err result)
{
    struct http *http = call->http;
    struct http_req *req = call->req;
    if (call->easy)
        leave_curl(call, result == OK);
    headers_free(call);
    timer_clear(http->loop, &call->deadline);
    timer_clear(http->loop, &call->stall);
    loop_undefer(http->loop, &call->resume);
    req->result = result;
    if (result) {
        if (req->fault.code != result)
            fault_set(&req->fault, result, "%s", err_text(result));
        req->fault.http_status = req->status;
    }
    list_remove(&http->running, &call->node);
    list_push(&http->ending, &call->node);
    loop_defer(http->loop, &call->finish);
}

static void on_finish(struct deferred *work)
{
    http_call_finish(container_of(work, struct http_call, finish));
}

void http_call_finish(struct http_call *call)
{
    struct http_req *req = call->req;
    loop_undefer(call->http->loop, &call->finish);
    list_remove(&call->http->ending, &call->node);
    req->call = NULL;
    mem_free(call);
    http_count(req);
    req->done(req);
}

void http_cancel(struct http_req *req)
{
    struct http_call *call = req->call;
    if (!http_running(req))
        return;
    enum err result = explain(call, ERR_CANCELLED, err_text(ERR_CANCELLED));
    if (call->easy)
        settle(call, result);
    else
        req->result = result;
}

void http_req_release(struct http_req *req)
{
    assert(!http_running(req));
    if (req->call)
        headers_free(req->call);
    mem_free(req->call);
    buf_release(&req->content);
    buf_release(&req->headers);
    *req = (struct http_req){ 0 };
}
