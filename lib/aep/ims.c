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
 */
#include "lib/aep/ims.h"

#include <string.h>

#include "lib/base/digest.h"
#include "lib/base/encode.h"
#include "lib/net/retry.h"

#define ANSWER_MAX     (64 * 1024)
#define TOKEN_MAX      (16 * 1024)
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
    char *url, *client_id, *secret_file, *scopes;
    struct secret token;
    struct mono asked_at, issued_at, refresh_at, expires_at, next_try_at;
    int failures, refusals; /* in a row */
    struct fault fault;
    struct list waiters;
    struct timer timer;
    struct http_req req;
    struct buf form;
    struct secret secret; /* what the form was made with */
    bool freed;           /* the owner has gone, the request has not yet */
};

static void wake(struct ims *ims);
static void on_timer(struct timer *timer);
static enum err send_request(struct ims *ims);
static void on_answer(struct http_req *req);
static enum err accept_answer(struct ims *ims);
static void answer_waiters(struct ims *ims);
static void back_off(struct ims *ims, int attempt);
static void destroy(struct ims *ims);

struct ims *ims_new(struct loop *loop, struct http *http, const struct aep_options *options)
{
    struct ims *ims = mem_alloc(sizeof *ims);
    size_t len = strlen(options->ims_endpoint);
    while (len > 0 && options->ims_endpoint[len - 1] == '/')
        len--;
    ims->loop = loop;
    ims->http = http;
    ims->url = mem_print("%.*s/ims/token/v3", (int)len, options->ims_endpoint);
    ims->client_id = mem_copy_text(options->client_id);
    ims->secret_file = mem_copy_text(options->client_secret_file);
    ims->scopes = mem_copy_text(options->scopes ? options->scopes : "");
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

static void forget_form(struct ims *ims)
{
    mem_wipe(ims->form.data, ims->form.size);
    buf_release(&ims->form);
    secret_release(&ims->secret);
}

static void destroy(struct ims *ims)
{
    http_req_release(&ims->req);
    forget_form(ims);
    mem_free(ims->url);
    mem_free(ims->client_id);
    mem_free(ims->secret_file);
    mem_free(ims->scopes);
    mem_free(ims);
}

/* ---- the cached token */

static bool alive(const struct ims *ims)
{
    return ims->token.text && !mono_due(ims->expires_at, loop_now(ims->loop));
}

const struct secret *ims_token(struct ims *ims, struct ims_waiter *waiter)
{
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
    if (!ims->token.text || strcmp(ims->token.text, token) != 0)
        return;
    int64_t age = mono_ms_between(ims->issued_at, loop_now(ims->loop));
    secret_release(&ims->token);
    ims->refusals = age < YOUNG_MS ? ims->refusals + 1 : 0;
    if (ims->refusals == 0)
        return;
    fault_set(&ims->fault, ERR_DENIED, "platform refuses an access token issued %lld s ago",
              (long long)age / 1000);
    /* The first may be a slip; those after it are a sign that no token will do. */
    if (ims->refusals > 1)
        back_off(ims, ims->refusals);
}

const struct fault *ims_fault(const struct ims *ims)
{
    return &ims->fault;
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
    if (wait_ms(ims) == 0 && send_request(ims) == OK)
        return;
    answer_waiters(ims);
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

static void write_form(struct ims *ims, const struct secret *secret)
{
    const struct {
        const char *name, *text;
    } field[] = {
        { "grant_type", "client_credentials" },
        { "client_id", ims->client_id },
        { "scope", ims->scopes },
        { "client_secret", secret->text },
    };
    /* Sized in advance: growing would leave copies of the secret behind. */
    size_t size = 128 + 3 * (strlen(ims->client_id) + strlen(ims->scopes) + secret->len);
    ims->form = (struct buf){ .data = mem_alloc(size), .size = size, .max = size - 1 };
    for (size_t i = 0; i < sizeof field / sizeof *field; i++) {
        buf_print(&ims->form, "%s%s=", i ? "&" : "", field[i].name);
        encode_percent(&ims->form, field[i].text, strlen(field[i].text), "");
    }
    assert(!ims->form.overflow);
}

static enum err send_request(struct ims *ims)
{
    struct fault fault = { 0 };
    ims->next_try_at = mono_after_ms(loop_now(ims->loop), REQUEST_GAP_MS);
    if (secret_read_file(ims->secret_file, &ims->secret, &fault)) {
        ims->fault = fault;
        back_off(ims, ims->failures++);
        return fault.code;
    }
    write_form(ims, &ims->secret);
    ims->asked_at = loop_now(ims->loop);
    ims->req = (struct http_req){
        .method = "POST",
        .url = ims->url,
        .body = ims->form.data,
        .body_len = ims->form.len,
        .timeout_ms = TIMEOUT_MS,
        .max_body = ANSWER_MAX,
        .done = on_answer,
    };
    http_set_header(&ims->req, "Content-Type", "application/x-www-form-urlencoded");
    http_set_header(&ims->req, "Accept", "application/json");
    http_start(ims->http, &ims->req);
    return OK;
}

static void on_answer(struct http_req *req)
{
    struct ims *ims = container_of(req, struct ims, req);
    if (ims->freed) {
        destroy(ims);
        return;
    }
    if (accept_answer(ims) == OK)
        ims->failures = 0;
    else
        back_off(ims, ims->failures++);
    mem_wipe(req->content.data, req->content.size);
    http_req_release(req);
    forget_form(ims);
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

static enum err read_answer(const struct http_req *req, struct wall now, struct secret *token,
                            int64_t *life_ms, struct fault *fault)
{
    char text[160];
    *fault = (struct fault){ .http_status = req->status };
    if (req->result != OK)
        return fault_set(fault, req->result, "IMS: %s",
                         req->fault.text[0] ? req->fault.text : err_text(req->result));
    if (http_status_err(req->status) == OK)
        return ims_parse(buf_text(&req->content), req->content.len, token, life_ms, fault);
    fault->retry_after_ms = http_retry_after(req, now);
    aep_error_text(buf_text(&req->content), req->content.len, text, sizeof text);
    return fault_set(fault, http_status_err(req->status), "IMS %d: %s", req->status,
                     text[0] ? text : "no message");
}

/* Some servers repeat in an error what they were told, as it was or as it was encoded. */
static void redact(const struct ims *ims, struct fault *fault)
{
    char *encoded = strrchr(buf_text(&ims->form), '=') + 1;
    secret_redact(&(struct secret){ encoded, strlen(encoded) }, fault->text);
    secret_redact(&ims->secret, fault->text);
}

static enum err accept_answer(struct ims *ims)
{
    AUTO(secret_release) struct secret token = { 0 };
    struct fault fault;
    int64_t life_ms = 0;
    int64_t took_ms = mono_ms_between(ims->asked_at, loop_now(ims->loop));
    if (!read_answer(&ims->req, loop_wall(ims->loop), &token, &life_ms, &fault) &&
        life_ms <= took_ms)
        fault_set(&fault, ERR_SERVER, "IMS: token expired before it arrived");
    redact(ims, &fault);
    ims->fault = fault;
    if (fault.code != OK)
        return blame_upstream(&ims->fault);
    int64_t early = life_ms / 20 < EARLY_MS ? life_ms / 20 : EARLY_MS;
    secret_set(&ims->token, token.text, token.len);
    ims->issued_at = ims->asked_at; /* when IMS began to count is not known better */
    ims->refresh_at = mono_after_ms(ims->asked_at, life_ms - early);
    ims->expires_at = mono_after_ms(ims->asked_at, life_ms);
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
    for (size_t left = ims->waiters.count; left > 0 && (node = list_pop(&ims->waiters));
         left--) {
        struct ims_waiter *waiter = container_of(node, struct ims_waiter, node);
        assert(token || fault.code != OK);
        waiter->ready(waiter, token, &fault);
    }
}

/* ---- the answer's text */

/* It becomes a header value: visible ASCII, nothing else. */
static bool token_valid(const char *text, size_t len)
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
    if (!token || !token_valid(token, strlen(token)))
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
