/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a call:
 *
 *     start ──▶ send ──▶ answer ──┬──▶ finish (done)
 *                ▲                │
 *                ├── next page ───┤
 *                └── back-off ────┘   while it is safe to repeat and before the deadline
 *
 * Each request is signed anew: the date is part of the signature. If the store says that our
 * clock is wrong, its Date header corrects it, once per call.
 */
#include "lib/s3/s3.h"

#include <stdlib.h>

#include "lib/net/retry.h"
#include "lib/s3/client.h"

#define DEADLINE_MS      60000
#define STALL_MS         20000
#define BACKOFF_MS       200
#define BACKOFF_CAP_MS   10000
#define GET_MAX          (64 * 1024 * 1024)
#define BIG_BODY         (1024 * 1024)
#define BIG_SEND_BUFFER  (256 * 1024)
#define ANSWER_MAX       (1024 * 1024)
#define COMPLETE_TRIES   3
#define CLOCK_TRUSTED_MS 60000 /* below this our clock is not the reason */

/*
 * Safe to repeat: the store did nothing, or doing it again gives the same object. A second
 * Create leaves an upload behind that the bucket's lifecycle rule removes.
 */
static const bool repeats[ERR_COUNT] = {
    [ERR_RESOLVE] = true, [ERR_CONNECT] = true,   [ERR_TIMEOUT] = true,
    [ERR_CUT] = true,     [ERR_THROTTLED] = true, [ERR_SERVER] = true,
};

static void send_request(struct s3_try *attempt);
static void on_answer(struct http_req *req);
static void on_timer(struct timer *timer);
static bool correct_clock(struct s3_try *attempt);
static bool back_off(struct s3_try *attempt, enum err err);
static void finish(struct s3_try *attempt, enum err err);
static void try_free(struct s3_try *attempt);

struct s3 *s3_new(struct loop *loop, struct http *http, const struct s3_options *options)
{
    struct s3 *s3 = mem_alloc(sizeof *s3);
    s3->loop = loop;
    s3->http = http;
    s3->options = options;
    s3_endpoint_init(&s3->endpoint, options);
    list_init(&s3->tries);
    return s3;
}

/* HTTP requests that still run lose their owner here and end later, from the loop. */
void s3_free(struct s3 *s3)
{
    if (!s3)
        return;
    struct list_node *node;
    while ((node = list_first(&s3->tries))) {
        struct s3_try *attempt = container_of(node, struct s3_try, node);
        bool running = http_running(&attempt->req);
        if (running)
            http_cancel(&attempt->req);
        list_remove(&s3->tries, node);
        timer_clear(s3->loop, &attempt->timer);
        struct s3_call *call = attempt->call;
        attempt->s3 = NULL;
        if (!running)
            try_free(attempt);
        call->attempt = NULL;
        fault_set(&call->fault, ERR_CANCELLED, "the client was closed");
        call->done(call);
    }
    s3_endpoint_release(&s3->endpoint);
    mem_wipe(&s3->signing_key, sizeof s3->signing_key);
    mem_free(s3);
}

/* Lists and content stay until they are replaced: the owner may feed them to the next call. */
static void clear_result(struct s3_call *call)
{
    if (call->op == S3_LIST_PARTS)
        call->listed_count = 0;
    call->fault = (struct fault){ 0 };
    call->etag[0] = call->new_upload_id[0] = call->got_source[0] = 0;
    call->got_size = 0;
    call->got_crc32c = 0;
    call->has_crc32c = call->noted_crc32c = false;
    call->tries = 0;
}

void s3_start(struct s3 *s3, struct s3_call *call)
{
    int64_t limit_ms = call->deadline_ms > 0 ? call->deadline_ms : DEADLINE_MS;
    struct s3_try *attempt = mem_alloc(sizeof *attempt);
    attempt->s3 = s3;
    attempt->call = call;
    attempt->timer.fire = on_timer;
    attempt->deadline = mono_after_ms(loop_now(s3->loop), limit_ms);
    clear_result(call);
    call->attempt = attempt;
    list_push(&s3->tries, &attempt->node);
    send_request(attempt);
}

void s3_cancel(struct s3_call *call)
{
    struct s3_try *attempt = call->attempt;
    if (!attempt)
        return;
    attempt->cancelled = true;
    if (http_running(&attempt->req))
        http_cancel(&attempt->req);
    else
        timer_set_in(attempt->s3->loop, &attempt->timer, 0);
}

void s3_call_release(struct s3_call *call)
{
    mem_free(call->listed);
    call->listed = NULL;
    call->listed_count = 0;
    s3_page_release(&call->page);
    s3_uploads_release(&call->uploads);
    buf_release(&call->content);
}

static size_t answer_max(enum s3_op op)
{
    return op == S3_GET ? GET_MAX : ANSWER_MAX;
}

static void send_request(struct s3_try *attempt)
{
    struct s3 *s3 = attempt->s3;
    struct http_req *req = &attempt->req;
    int64_t left_ms = mono_ms_between(loop_now(s3->loop), attempt->deadline);
    struct s3_request request;

    attempt->skew_ms = s3->skew_ms;
    struct wall at = { loop_wall(s3->loop).ms + attempt->skew_ms };
    if (!attempt->payload[0])
        s3_request_prepare(attempt);
    s3_request_build(attempt, at, &request);
    req->method = request.method;
    req->url = buf_text(&request.url);
    req->body = attempt->body;
    req->body_len = attempt->body_len;
    req->timeout_ms = left_ms > 0 ? left_ms : 1;
    req->stall_ms = STALL_MS;
    req->send_buffer = attempt->body_len >= BIG_BODY ? BIG_SEND_BUFFER : 0;
    req->max_body = answer_max(attempt->call->op);
    req->done = on_answer;
    /* The first header is Host, which HTTP writes itself. */
    for (size_t i = 1; i < request.headers; i++)
        http_set_header(req, request.header[i].name, request.header[i].value);
    http_set_header(req, "Authorization", buf_text(&request.authorization));
    attempt->call->tries++;
    http_start(s3->http, req);
    s3_request_release(&request);
}

static void on_answer(struct http_req *req)
{
    struct s3_try *attempt = container_of(req, struct s3_try, req);
    if (!attempt->s3) {
        try_free(attempt);
        return;
    }
    enum err err = attempt->cancelled ? ERR_CANCELLED
                                      : s3_answer_read(attempt, loop_wall(attempt->s3->loop));
    if (err == ERR_SKEW && correct_clock(attempt))
        timer_set_in(attempt->s3->loop, &attempt->timer, 0);
    else if (err && !back_off(attempt, err))
        finish(attempt, err);
    else if (!err && !attempt->more)
        finish(attempt, OK);
    else if (!err)
        timer_set_in(attempt->s3->loop, &attempt->timer, 0);
}

static void on_timer(struct timer *timer)
{
    struct s3_try *attempt = container_of(timer, struct s3_try, timer);
    http_req_release(&attempt->req);
    if (attempt->cancelled)
        finish(attempt, ERR_CANCELLED);
    else
        send_request(attempt);
}

/*
 * True if the store's Date explains the refusal of this very request and the call has not used
 * that yet. Another call may have corrected the clock while this request was on its way.
 */
static bool correct_clock(struct s3_try *attempt)
{
    struct s3 *s3 = attempt->s3;
    char text[64];
    struct wall theirs;
    if (attempt->skew_done || !http_header(&attempt->req, "Date", text, sizeof text) ||
        wall_parse_http(text, &theirs))
        return false;
    int64_t skew_ms = theirs.ms - loop_wall(s3->loop).ms;
    if (llabs(skew_ms - attempt->skew_ms) < CLOCK_TRUSTED_MS)
        return false;
    s3->skew_ms = skew_ms;
    attempt->skew_done = true;
    return true;
}

/* Ceph answers 500 to the Complete of an upload that is gone: the owner must look, not wait. */
static bool stays_broken(const struct s3_call *call, enum err err)
{
    return call->op == S3_COMPLETE && err == ERR_SERVER && call->tries >= COMPLETE_TRIES;
}

/* True if the request will be repeated. */
static bool back_off(struct s3_try *attempt, enum err err)
{
    struct s3_call *call = attempt->call;
    struct mono now = loop_now(attempt->s3->loop);
    uint64_t random;
    if (call->once || attempt->cancelled || !repeats[err] || stays_broken(call, err))
        return false;
    digest_random(&random, sizeof random);
    int64_t delay_ms = retry_delay_ms(call->tries - 1, BACKOFF_MS, BACKOFF_CAP_MS,
                                      call->fault.retry_after_ms, random);
    struct mono at = mono_after_ms(now, delay_ms);
    if (!mono_due(at, attempt->deadline))
        return false;
    timer_set(attempt->s3->loop, &attempt->timer, at);
    return true;
}

static void finish(struct s3_try *attempt, enum err err)
{
    struct s3_call *call = attempt->call;
    timer_clear(attempt->s3->loop, &attempt->timer);
    list_remove(&attempt->s3->tries, &attempt->node);
    try_free(attempt);
    call->attempt = NULL;
    if (err == ERR_CANCELLED)
        fault_set(&call->fault, err, "cancelled");
    call->done(call);
}

static void try_free(struct s3_try *attempt)
{
    http_req_release(&attempt->req);
    buf_release(&attempt->document);
    mem_free(attempt);
}
