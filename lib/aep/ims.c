/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One token for all calls of a tenant.
 *
 *     issued                          refresh_at          expires_at
 *       ├──────── used as it is ──────────┼─ used, renewed ──┤ waiters queue
 *
 * All work starts from one timer. Callers who would have to wait longer than PATIENCE_MS for
 * the next try get the last fault at once, with the time left: their tasks wait in the queue,
 * not in memory. No task is to blame for a missing token, so only rows with ACT_WAIT leave this
 * file.
 *
 * Of two client secrets the one that worked last is tried first; if IMS does not know it, the
 * other one follows at once, as part of the same try.
 */
#include "lib/aep/ims.h"

#include <string.h>

#include "lib/aep/grant.h"
#include "lib/aep/token_file.h"
#include "lib/base/digest.h"
#include "lib/net/retry.h"

#define ANSWER_MAX     (64 * 1024)
#define TOKEN_MAX      (16 * 1024)
#define BAD_SECRET     "invalid_client"
#define TIMEOUT_MS     30000
#define REQUEST_GAP_MS 1000
#define BACKOFF_CAP_MS 60000
#define PATIENCE_MS    5000
#define YOUNG_MS       60000 /* a token refused earlier than this was never any good */
#define EARLY_MS       (10 * 60 * 1000)
#define LIFE_MAX_MS    (24 * 60 * 60 * 1000)
#define MS_FROM        10000000 /* larger values of expires_in are milliseconds */

struct ims {
    struct loop *loop;
    struct http *http;
    struct grant grant;
    struct traffic *traffic; /* counts the requests; may be NULL */
    struct token_file file;  /* its path is NULL where tokens are asked for */
    struct secret token;
    struct mono asked_at, issued_at, refresh_at, expires_at, next_try_at;
    int failures, refusals; /* in a row */
    struct fault fault;
    struct list waiters;
    struct timer timer;
    struct http_req req;
    size_t secret; /* which one worked last, from 0 */
    bool proven;   /* one has worked */
    bool unknown_secret,
        second; /* of the request under way: IMS said so; it is the other one */
    bool freed; /* the owner has gone, the request has not yet */
};

static void wake(struct ims *ims);
static void on_timer(struct timer *timer);
static bool begin(struct ims *ims);
static void read_file(struct ims *ims);
static enum err send_request(struct ims *ims, size_t secret);
static void on_answer(struct http_req *req);
static enum err accept_answer(struct ims *ims);
static void answer_waiters(struct ims *ims);
static void back_off(struct ims *ims, int attempt);
static void destroy(struct ims *ims);

struct ims *ims_new(struct loop *loop, struct http *http, const struct aep_options *options)
{
    struct ims *ims = mem_alloc(sizeof *ims);
    ims->loop = loop;
    ims->http = http;
    grant_init(&ims->grant, options);
    ims->traffic = options->traffic ? &options->traffic[AEP_SERVICES] : NULL;
    if (options->auth == AEP_TOKEN)
        ims->file.path = mem_copy_text(options->token_file);
    ims->timer.fire = on_timer;
    list_init(&ims->waiters);
    return ims;
}

void ims_free(struct ims *ims)
{
    if (!ims)
        return;
    timer_clear(ims->loop, &ims->timer);
    secret_release(&ims->token);
    fault_set(&ims->fault, ERR_CANCELLED, "no access token: shutting down");
    answer_waiters(ims);
    ims->freed = true;
    if (http_running(&ims->req))
        http_cancel(&ims->req);
    else
        destroy(ims);
}

static void destroy(struct ims *ims)
{
    http_req_release(&ims->req);
    grant_release(&ims->grant);
    mem_free(ims->file.path);
    mem_free(ims);
}

/* ---- the cached token */

static bool alive(const struct ims *ims)
{
    return ims->token.bytes && !mono_due(ims->expires_at, loop_now(ims->loop));
}

const struct secret *ims_token(struct ims *ims, struct ims_waiter *waiter)
{
    if (token_file_changed(&ims->file, loop_now(ims->loop))) {
        ims->refusals = 0;
        read_file(ims);
    }
    bool usable = alive(ims);
    if (usable && !mono_due(ims->refresh_at, loop_now(ims->loop)))
        return &ims->token;
    if (!usable && !list_linked(&waiter->node))
        list_push(&ims->waiters, &waiter->node);
    wake(ims);
    return usable ? &ims->token : NULL;
}

void ims_forget(struct ims *ims, struct ims_waiter *waiter)
{
    if (list_linked(&waiter->node))
        list_remove(&ims->waiters, &waiter->node);
}

void ims_reject(struct ims *ims, const char *token)
{
    if (!ims->token.bytes || strcmp(secret_reveal(&ims->token), token) != 0)
        return;
    int64_t age = mono_ms_between(ims->issued_at, loop_now(ims->loop));
    secret_release(&ims->token);
    ims->refusals = age < YOUNG_MS ? ims->refusals + 1 : 0;
    if (ims->refusals == 0)
        return;
    if (ims->file.path)
        fault_set(&ims->fault, ERR_CREDENTIAL,
                  "platform refuses the token in %s: write a new one", ims->file.path);
    else
        fault_set(&ims->fault, ERR_CREDENTIAL,
                  "platform refuses an access token issued %lld s ago: check aep.org",
                  (long long)age / 1000);
    /* The first may be a slip; those after it are a sign that no token will do. */
    if (ims->refusals > 1)
        back_off(ims, ims->refusals);
}

const struct fault *ims_fault(const struct ims *ims)
{
    return &ims->fault;
}

int ims_secret(const struct ims *ims)
{
    return ims->proven ? (int)ims->secret + 1 : 0;
}

int64_t ims_expires_in_ms(const struct ims *ims)
{
    return alive(ims) ? mono_ms_between(loop_now(ims->loop), ims->expires_at) : 0;
}

/* ---- asking for a new one */

static int64_t wait_ms(const struct ims *ims)
{
    int64_t ms = mono_ms_between(loop_now(ims->loop), ims->next_try_at);
    return ms > 0 ? ms : 0;
}

static void wake(struct ims *ims)
{
    if (http_running(&ims->req))
        return;
    int64_t ms = wait_ms(ims);
    timer_set_in(ims->loop, &ims->timer, ims->waiters.count && ms > PATIENCE_MS ? 0 : ms);
}

static void on_timer(struct timer *timer)
{
    struct ims *ims = container_of(timer, struct ims, timer);
    if (http_running(&ims->req))
        return;
    if (wait_ms(ims) > 0 || !begin(ims))
        answer_waiters(ims);
}

/* True if an answer will come. */
static bool begin(struct ims *ims)
{
    if (!ims->file.path)
        return send_request(ims, ims->secret) == OK;
    read_file(ims);
    return false;
}

static void keep_token(struct ims *ims, const struct secret *token, struct mono issued_at,
                       int64_t life_ms, int64_t early_ms)
{
    secret_set(&ims->token, secret_reveal(token), token->len);
    ims->issued_at = issued_at;
    ims->refresh_at = mono_after_ms(issued_at, life_ms - early_ms);
    ims->expires_at = mono_after_ms(issued_at, life_ms);
}

/* A token that still lives is better than a file that cannot be read. */
static void read_file(struct ims *ims)
{
    AUTO(secret_release) struct secret token = { 0 };
    struct fault fault = { 0 };
    int64_t life_ms = 0;
    struct mono now = loop_now(ims->loop);
    ims->next_try_at = mono_after_ms(now, REQUEST_GAP_MS);
    if (!token_file_read(&ims->file, loop_wall(ims->loop), &token, &life_ms, &fault))
        keep_token(ims, &token, now, life_ms, 0);
    ims->fault = fault;
}

static void back_off(struct ims *ims, int attempt)
{
    uint64_t random;
    digest_random(&random, sizeof random);
    int64_t ms = retry_delay_ms(attempt, REQUEST_GAP_MS, BACKOFF_CAP_MS,
                                ims->fault.retry_after_ms, random);
    if (ms < REQUEST_GAP_MS)
        ms = REQUEST_GAP_MS;
    ims->next_try_at = mono_after_ms(loop_now(ims->loop), ms);
}

static enum err send_request(struct ims *ims, size_t secret)
{
    struct fault fault = { 0 };
    ims->next_try_at = mono_after_ms(loop_now(ims->loop), REQUEST_GAP_MS);
    if (grant_make(&ims->grant, secret, loop_wall(ims->loop), &fault)) {
        grant_forget(&ims->grant);
        ims->fault = fault;
        back_off(ims, ims->failures++);
        return fault.code;
    }
    ims->asked_at = loop_now(ims->loop);
    ims->req = (struct http_req){
        .method = "POST",
        .url = ims->grant.url,
        .body = ims->grant.form.data,
        .body_len = ims->grant.form.len,
        .timeout_ms = TIMEOUT_MS,
        .max_body = ANSWER_MAX,
        .traffic = ims->traffic,
        .done = on_answer,
    };
    http_set_header(&ims->req, "Content-Type", "application/x-www-form-urlencoded");
    http_set_header(&ims->req, "Accept", "application/json");
    http_start(ims->http, &ims->req);
    return OK;
}

static void forget_request(struct ims *ims)
{
    mem_wipe(ims->req.content.data, ims->req.content.size);
    http_req_release(&ims->req);
    grant_forget(&ims->grant);
}

static void on_answer(struct http_req *req)
{
    struct ims *ims = container_of(req, struct ims, req);
    if (ims->freed) {
        destroy(ims);
        return;
    }
    size_t secret = ims->grant.which;
    bool failed = accept_answer(ims) != OK;
    bool other = failed && ims->unknown_secret && !ims->second && ims->grant.secrets > 1;
    forget_request(ims);
    ims->second = other;
    if (other && send_request(ims, 1 - secret) == OK)
        return;
    ims->second = false;
    if (!failed) {
        ims->failures = 0;
        ims->secret = secret;
        ims->proven = true;
        /* A refusal of the token before this one, while it was asked for, is out of date. */
        ims->next_try_at = mono_after_ms(ims->asked_at, REQUEST_GAP_MS);
    } else if (!other) {
        back_off(ims, ims->failures++);
    }
    answer_waiters(ims);
}

/* Nothing about a token is the fault of the task that needs it: all rows become ACT_WAIT. */
static enum err blame_upstream(struct fault *fault)
{
    bool refused = fault->http_status >= 400 && fault->http_status < 500;
    if (err_action(fault->code) != ACT_WAIT)
        fault->code = refused ? ERR_DENIED : ERR_SERVER;
    return fault->code;
}

static enum err read_answer(struct ims *ims, struct secret *token, int64_t *life_ms,
                            struct fault *fault)
{
    const struct http_req *req = &ims->req;
    struct aep_error error;
    ims->unknown_secret = false;
    *fault = (struct fault){ .http_status = req->status };
    if (req->result != OK)
        return fault_set(fault, req->result, "IMS: %s",
                         req->fault.text[0] ? req->fault.text : err_text(req->result));
    if (http_status_err(req->status) == OK)
        return ims_parse(buf_text(&req->content), req->content.len, token, life_ms, fault);
    fault->retry_after_ms = http_retry_after(req, loop_wall(ims->loop));
    aep_error_read(&error, req->status, buf_text(&req->content), req->content.len);
    ims->unknown_secret = strcmp(error.code, BAD_SECRET) == 0;
    return aep_error_fault(fault, &error, "IMS", req->status, NULL);
}

static enum err accept_answer(struct ims *ims)
{
    AUTO(secret_release) struct secret token = { 0 };
    struct fault fault;
    int64_t life_ms = 0;
    int64_t took_ms = mono_ms_between(ims->asked_at, loop_now(ims->loop));
    if (!read_answer(ims, &token, &life_ms, &fault) && life_ms <= took_ms)
        fault_set(&fault, ERR_SERVER, "IMS: token expired before it arrived");
    /* Some servers repeat in an error what they were told, as it was or as it was encoded. */
    grant_redact(&ims->grant, fault.text);
    ims->fault = fault;
    if (fault.code != OK)
        return blame_upstream(&ims->fault);
    int64_t early = life_ms / 20 < EARLY_MS ? life_ms / 20 : EARLY_MS;
    /* When IMS began to count is not known better. */
    keep_token(ims, &token, ims->asked_at, life_ms, early);
    return OK;
}

/* Those who queue again while they are told are answered the next time. */
static void answer_waiters(struct ims *ims)
{
    struct fault fault = ims->fault;
    if (fault.retry_after_ms < wait_ms(ims))
        fault.retry_after_ms = wait_ms(ims);
    const struct secret *token = alive(ims) ? &ims->token : NULL;
    struct list_node *node;
    if (!token && fault.code == OK)
        fault_set(&fault, ERR_SERVER, "IMS: the token has expired, and it is too early to ask");
    for (size_t left = ims->waiters.count; left > 0 && (node = list_pop(&ims->waiters));
         left--) {
        struct ims_waiter *waiter = container_of(node, struct ims_waiter, node);
        waiter->ready(waiter, token, &fault);
    }
}

/* ---- the answer's text */

bool ims_token_valid(const char *text, size_t len)
{
    if (len == 0 || len > TOKEN_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return true;
}

enum err ims_parse(const char *body, size_t len, struct secret *ret_token, int64_t *ret_life_ms,
                   struct fault *fault)
{
    AUTO_JSON *root = NULL;
    struct fault detail = { 0 };
    uint64_t life = 0;
    /* The parser's own message can quote the text, and with it the token. */
    if (json_parse(body, len, ANSWER_MAX, &root, &detail))
        return fault_set(fault, detail.code, "IMS: token answer is not JSON");
    const char *token = json_member_text(root, "access_token");
    if (!token || !ims_token_valid(token, strlen(token)))
        return fault_set(fault, ERR_BAD_RESPONSE, "IMS: no usable access_token");
    if (json_member_u64(root, "expires_in", INT64_MAX, &life) || life == 0)
        return fault_set(fault, ERR_BAD_RESPONSE, "IMS: expires_in is no positive number");
    uint64_t max = LIFE_MAX_MS;
    if (life <= MS_FROM)
        life *= 1000;
    secret_set(ret_token, token, strlen(token));
    *ret_life_ms = (int64_t)(life < max ? life : max);
    return OK;
}
