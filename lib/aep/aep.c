/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls to one tenant. The list a call is in says where it stands:
 *
 *     start ──▶ waiting ──room──▶ tokenless ──token──▶ running ──▶ done
 *                  ▲                  │                   │
 *                  └──── first 401 ───┼───────────────────┘
 *                                     └─ no token, cancelled ──▶ ending ──▶ done
 *
 * A call that was let in has taken room and gives it back exactly once, in leave_room().
 */
#include "lib/aep/aep.h"

#include <stdio.h>
#include <string.h>

#include "lib/aep/ims.h"

#define URL_MAX (16 * 1024)

struct service {
    struct aep *aep;
    struct http *http;
    struct ratelimit limit;
    struct list waiting, running;
    struct timer timer; /* when a waiting call may go */
};

struct aep {
    struct loop *loop;
    struct ims *ims;
    char *endpoint, *org, *client_id, *sandbox;
    struct traffic *traffic;
    struct service service[AEP_SERVICES];
    struct list tokenless, ending;
    struct ims_waiter waiter; /* for all tokenless calls */
    struct wall server_time;
    struct mono server_time_at; /* 0: no Date seen yet */
    bool refuses;               /* the last token that was tried was no good */
    void *owner;
    aep_note *note;
};

static const struct fault good = { .code = OK };

/* In the order of enum aep_service. */
static const char *const service_name[AEP_SERVICES] = { "Catalog", "Data Access", "Data Access",
                                                        "Schema Registry" };

static void admit(struct service *service);
static void on_room(struct timer *timer);
static void authorize(struct aep_call *call);
static void on_token(struct ims_waiter *waiter, const struct secret *token,
                     const struct fault *fault);
static void dispatch(struct aep_call *call, const struct secret *token);
static void on_http_done(struct http_req *req);
static void judge(struct aep_call *call);
static enum ratelimit_verdict verdict(const struct http_req *req);
static void repeat(struct aep_call *call);
static void leave_room(struct aep_call *call, enum ratelimit_verdict verdict);
static void end(struct aep_call *call);
static void end_later(struct aep_call *call);
static void learn_time(struct aep *aep, const struct http_req *req);

/* ---- the tenant */

static char *copy_endpoint(const char *endpoint)
{
    size_t len = strlen(endpoint);
    while (len > 0 && endpoint[len - 1] == '/')
        len--;
    return mem_copy_bytes(endpoint, len);
}

static void service_init(struct service *service, struct aep *aep, struct http *http,
                         const struct aep_options *options)
{
    double rate = options->requests_per_second;
    service->aep = aep;
    service->http = http;
    service->timer.fire = on_room;
    list_init(&service->waiting);
    list_init(&service->running);
    ratelimit_init(&service->limit, rate, rate > 1 ? rate : 1, options->window_start,
                   options->window_max, loop_now(aep->loop));
}

struct aep *aep_new(struct loop *loop, struct http *api, struct http *data,
                    const struct aep_options *options)
{
    struct aep *aep = mem_alloc(sizeof *aep);
    aep->loop = loop;
    aep->ims = ims_new(loop, api, options);
    aep->endpoint = copy_endpoint(options->endpoint);
    mem_set_text(&aep->org, options->org);
    mem_set_text(&aep->client_id, options->client_id);
    mem_set_text(&aep->sandbox, options->sandbox);
    aep->traffic = options->traffic;
    for (int i = 0; i < AEP_SERVICES; i++)
        service_init(&aep->service[i], aep, i == AEP_CONTENT ? data : api, options);
    list_init(&aep->tokenless);
    list_init(&aep->ending);
    aep->waiter.ready = on_token;
    return aep;
}

static struct aep_call *first_call(const struct list *list)
{
    struct list_node *node = list_first(list);
    return node ? container_of(node, struct aep_call, node) : NULL;
}

static void move(struct aep_call *call, struct list *list)
{
    if (call->list)
        list_remove(call->list, &call->node);
    if (list)
        list_push(list, &call->node);
    call->list = list;
}

static struct service *service_of(const struct aep_call *call)
{
    return &call->aep->service[call->service];
}

static void cancelled(struct aep_call *call)
{
    fault_set(&call->fault, ERR_CANCELLED, "%s call cancelled", service_name[call->service]);
}

static void end_all(struct list *list)
{
    struct aep_call *call;
    while ((call = first_call(list))) {
        if (call->fault.code == OK)
            cancelled(call);
        end(call);
    }
}

/* Requests on the wire outlive the tenant: on_http_done finds them without one. */
static void detach_running(struct service *service)
{
    struct aep_call *call;
    while ((call = first_call(&service->running))) {
        move(call, NULL);
        call->aep = NULL;
        http_cancel(&call->http);
    }
}

void aep_free(struct aep *aep)
{
    if (!aep)
        return;
    ims_forget(aep->ims, &aep->waiter);
    for (int i = 0; i < AEP_SERVICES; i++)
        detach_running(&aep->service[i]);
    /* Nobody waits for room when the first call ends: what ends must not let others in. */
    for (int i = 0; i < AEP_SERVICES; i++) {
        struct aep_call *call;
        while ((call = first_call(&aep->service[i].waiting)))
            move(call, &aep->ending);
        timer_clear(aep->loop, &aep->service[i].timer);
    }
    end_all(&aep->tokenless);
    end_all(&aep->ending);
    ims_free(aep->ims);
    mem_free(aep->endpoint);
    mem_free(aep->org);
    mem_free(aep->client_id);
    mem_free(aep->sandbox);
    mem_free(aep);
}

struct ratelimit *aep_limit(struct aep *aep, enum aep_service service)
{
    return &aep->service[service].limit;
}

void aep_set_rate(struct aep *aep, double per_second, int live_daemons)
{
    double share = per_second / (live_daemons > 1 ? live_daemons : 1);
    for (int i = 0; i < AEP_SERVICES; i++) {
        ratelimit_set_rate(&aep->service[i].limit, share);
        admit(&aep->service[i]);
    }
}

struct wall aep_now(const struct aep *aep)
{
    if (!aep->server_time_at.us)
        return loop_wall(aep->loop);
    int64_t since = mono_ms_between(aep->server_time_at, loop_now(aep->loop));
    return (struct wall){ aep->server_time.ms + since };
}

static void learn_time(struct aep *aep, const struct http_req *req)
{
    char date[64];
    struct wall at;
    if (!http_header(req, "Date", date, sizeof date) || wall_parse_http(date, &at))
        return;
    aep->server_time = at;
    aep->server_time_at = loop_now(aep->loop);
}

void aep_watch(struct aep *aep, void *owner, aep_note *note)
{
    aep->owner = owner;
    aep->note = note;
}

static void tell(const struct aep *aep, enum aep_upstream upstream, const struct fault *fault)
{
    if (aep->note)
        aep->note(aep->owner, upstream, fault);
}

/* A token that is refused right after it was issued is no better than none. */
static void tell_result(const struct aep_call *call)
{
    struct aep *aep = call->aep;
    enum aep_upstream upstream = call->service == AEP_CATALOG ? AEP_OF_CATALOG : AEP_OF_ACCESS;
    bool refused = call->fault.code == ERR_AUTH, let_in = call->http.status / 100 == 2;
    if (refused && !call->repeated)
        return;
    if (refused || (let_in && aep->refuses)) {
        aep->refuses = refused;
        tell(aep, AEP_OF_IMS, refused ? &call->fault : &good);
    }
    if (!refused && call->service != AEP_SCHEMA)
        tell(aep, upstream, &call->fault);
}

const struct fault *aep_auth_fault(const struct aep *aep)
{
    static const struct fault none = { .code = OK };
    return ims_expires_in_ms(aep->ims) > 0 ? &none : ims_fault(aep->ims);
}

int aep_secret_in_use(const struct aep *aep)
{
    return ims_secret(aep->ims);
}

int64_t aep_token_expires_in_ms(const struct aep *aep)
{
    return ims_expires_in_ms(aep->ims);
}

/* ---- a call: room, token, request */

void aep_start(struct aep *aep, struct aep_call *call)
{
    assert(!call->list && call->done);
    call->aep = aep;
    call->fault = (struct fault){ .code = OK };
    call->repeated = false;
    if (call->path.overflow) {
        fault_set(&call->fault, ERR_ARGUMENT, "%s call: the path is too long",
                  service_name[call->service]);
        end_later(call);
        return;
    }
    move(call, &service_of(call)->waiting);
    admit(service_of(call));
}

static void admit(struct service *service)
{
    struct mono now = loop_now(service->aep->loop);
    struct aep_call *call;
    while ((call = first_call(&service->waiting)) && ratelimit_room(&service->limit, now) > 0) {
        ratelimit_take(&service->limit, now);
        call->took_room = true;
        call->started = now;
        authorize(call);
    }
    struct mono next = call ? ratelimit_next(&service->limit, now) : MONO_NEVER;
    if (next.us == MONO_NEVER.us)
        timer_clear(service->aep->loop, &service->timer);
    else
        timer_set(service->aep->loop, &service->timer, next);
}

static void on_room(struct timer *timer)
{
    admit(container_of(timer, struct service, timer));
}

static void authorize(struct aep_call *call)
{
    const struct secret *token = ims_token(call->aep->ims, &call->aep->waiter);
    if (token)
        dispatch(call, token);
    else
        move(call, &call->aep->tokenless);
}

static void on_token(struct ims_waiter *waiter, const struct secret *token,
                     const struct fault *fault)
{
    struct aep *aep = container_of(waiter, struct aep, waiter);
    struct aep_call *call;
    if (!token || !aep->refuses)
        tell(aep, AEP_OF_IMS, token ? &good : fault);
    while ((call = first_call(&aep->tokenless))) {
        if (token) {
            dispatch(call, token);
            continue;
        }
        call->fault = *fault;
        end_later(call);
    }
}

static void set_headers(struct aep_call *call)
{
    struct http_req *req = &call->http;
    const struct aep *aep = call->aep;
    http_set_secret_header(req, "Authorization", "Bearer ", secret_reveal(&call->token));
    http_set_header(req, "x-api-key", aep->client_id);
    http_set_header(req, "x-gw-ims-org-id", aep->org);
    if (aep->sandbox)
        http_set_header(req, "x-sandbox-name", aep->sandbox);
    if (call->accept || call->service != AEP_CONTENT)
        http_set_header(req, "Accept", call->accept ? call->accept : "application/json");
    if (call->service != AEP_CONTENT)
        return;
    char range[64];
    snprintf(range, sizeof range, "bytes=%lld-%lld", (long long)call->range_first,
             (long long)call->range_last);
    if (call->range_last >= 0)
        http_set_header(req, "Range", range);
}

static void dispatch(struct aep_call *call, const struct secret *token)
{
    struct service *service = service_of(call);
    AUTO_BUF url = BUF_INIT(URL_MAX);
    buf_add_text(&url, call->aep->endpoint);
    buf_add(&url, call->path.data, call->path.len);
    assert(!url.overflow);
    secret_set(&call->token, secret_reveal(token), token->len);
    set_headers(call);
    call->http.url = buf_text(&url);
    call->http.done = on_http_done;
    call->http.traffic = call->aep->traffic ? &call->aep->traffic[call->service] : NULL;
    call->started = loop_now(call->aep->loop);
    move(call, &service->running);
    http_start(service->http, &call->http);
    call->http.url = NULL;
}

/* ---- the answer */

static void on_http_done(struct http_req *req)
{
    struct aep_call *call = container_of(req, struct aep_call, http);
    if (!call->aep) { /* the tenant is gone */
        cancelled(call);
        call->done(call);
        return;
    }
    learn_time(call->aep, req);
    judge(call);
    tell_result(call);
    leave_room(call, verdict(req));
    if (call->fault.code == ERR_AUTH)
        ims_reject(call->aep->ims, secret_reveal(&call->token));
    if (call->fault.code == ERR_AUTH && !call->repeated)
        repeat(call);
    else
        end(call);
}

static void judge(struct aep_call *call)
{
    const struct http_req *req = &call->http;
    struct aep_error error;
    char id[48];
    if (req->result != OK) {
        call->fault = req->fault;
        call->fault.code = req->result;
    } else if (http_status_err(req->status) != OK) {
        aep_error_read(&error, req->status, buf_text(&req->content), req->content.len);
        bool known = http_header(req, "x-request-id", id, sizeof id);
        aep_error_fault(&call->fault, &error, service_name[call->service], req->status,
                        known ? id : NULL);
        secret_redact(&call->token, call->fault.text);
        call->fault.retry_after_ms = http_retry_after(req, aep_now(call->aep));
    }
    call->fault.http_status = req->status;
}

/*
 * Throttling shows as 429 and 503, but also as 500, as a gateway's 504, or as silence. An
 * answer that broke off in the middle says nothing about load.
 */
static enum ratelimit_verdict verdict(const struct http_req *req)
{
    if (req->status == 0 && (req->result == ERR_TIMEOUT || req->result == ERR_CUT))
        return RATELIMIT_THROTTLED;
    if (req->result != OK)
        return RATELIMIT_NEUTRAL;
    if (req->status == 429 || req->status >= 500)
        return RATELIMIT_THROTTLED;
    return req->status / 100 == 2 ? RATELIMIT_GOOD : RATELIMIT_NEUTRAL;
}

/* The same request again: what the owner set stays, what we and the answer added goes. */
static void repeat(struct aep_call *call)
{
    struct http_req kept = call->http;
    http_req_release(&call->http);
    call->http = (struct http_req){
        .method = kept.method,
        .body = kept.body,
        .body_len = kept.body_len,
        .timeout_ms = kept.timeout_ms,
        .stall_ms = kept.stall_ms,
        .stall_bytes = kept.stall_bytes,
        .max_body = kept.max_body,
        .recv_buffer = kept.recv_buffer,
        .send_buffer = kept.send_buffer,
        .on_headers = kept.on_headers,
        .on_data = kept.on_data,
    };
    call->repeated = true;
    call->fault = (struct fault){ .code = OK };
    move(call, &service_of(call)->waiting);
    admit(service_of(call));
}

/* Listings and contents of Data Access have windows of their own, but are one service. */
static void close_doors(struct aep_call *call, struct mono until)
{
    if (call->service == AEP_CATALOG)
        return;
    ratelimit_close(&call->aep->service[AEP_LISTING].limit, until);
    ratelimit_close(&call->aep->service[AEP_CONTENT].limit, until);
}

static void leave_room(struct aep_call *call, enum ratelimit_verdict verdict)
{
    struct mono now = loop_now(call->aep->loop);
    int64_t wait_ms = call->fault.retry_after_ms;
    if (!call->took_room)
        return;
    call->took_room = false;
    ratelimit_done(&service_of(call)->limit, verdict, wait_ms, call->started, now);
    if (verdict == RATELIMIT_THROTTLED && wait_ms > 0)
        close_doors(call, mono_after_ms(now, wait_ms));
}

static void end(struct aep_call *call)
{
    leave_room(call, RATELIMIT_NEUTRAL);
    loop_undefer(call->aep->loop, &call->finish);
    move(call, NULL);
    admit(service_of(call));
    call->done(call);
}

static void run_end(struct deferred *work)
{
    end(container_of(work, struct aep_call, finish));
}

static void end_later(struct aep_call *call)
{
    call->finish.run = run_end;
    move(call, &call->aep->ending);
    loop_defer(call->aep->loop, &call->finish);
}

void aep_cancel(struct aep_call *call)
{
    if (!call->list || call->list == &call->aep->ending)
        return;
    if (call->list == &service_of(call)->running) {
        http_cancel(&call->http);
        return;
    }
    cancelled(call);
    end_later(call);
}

void aep_call_release(struct aep_call *call)
{
    assert(!call->list);
    http_req_release(&call->http);
    buf_release(&call->path);
    secret_release(&call->token);
    *call = (struct aep_call){ .done = NULL };
}
