/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to AEP and to the store, one after the other. */
#include "daemon/ctl/ask.h"

#include <string.h>

#include "lib/aep/catalog.h"
#include "lib/base/digest.h"
#include "lib/net/retry.h"

#define TRIES       3
#define TIMEOUT_MS  65000 /* the gateway gives up after 60 s */
#define STORE_MS    20000
#define BASE_MS     500
#define CAP_MS      5000
#define WAIT_MAX_MS 30000
#define PATH_LIMIT  8000
#define STORE_CALLS 4

/* What the loop is run for; `done` stops it. */
struct waiting {
    struct loop *loop;
    bool over;
    struct timer timer;
    struct aep_call call;
    struct s3_call store;
};

static void finish(struct waiting *waiting)
{
    waiting->over = true;
    loop_stop(waiting->loop);
}

static void on_answer(struct aep_call *call)
{
    finish(container_of(call, struct waiting, call));
}

static void on_stored(struct s3_call *call)
{
    finish(container_of(call, struct waiting, store));
}

static void on_timer(struct timer *timer)
{
    finish(container_of(timer, struct waiting, timer));
}

static void run(struct waiting *waiting)
{
    while (!waiting->over)
        loop_run(waiting->loop);
}

static void sleep_ms(struct loop *loop, int64_t ms)
{
    struct waiting waiting = { .loop = loop, .timer.fire = on_timer };
    timer_set_in(loop, &waiting.timer, ms);
    run(&waiting);
}

/* ---- start and end */

int ask_init(struct ask *ask, struct ctl *ctl, bool store)
{
    struct fault fault = { 0 };
    *ask = (struct ask){ .ctl = ctl };
    enum err err = store ? ctl_clients_init(&ask->clients, ctl, STORE_CALLS, &fault)
                         : ctl_clients_init_aep(&ask->clients, ctl, &fault);
    return err ? ctl_refuse(ctl, EX_CONFIG, "%s", fault.text) : EX_OK;
}

void ask_release(struct ask *ask)
{
    ctl_clients_release(&ask->clients);
}

/* ---- questions */

enum err ask_call(struct ask *ask, struct aep_call *call)
{
    struct waiting waiting = { .loop = ask->ctl->loop, .call = *call };
    waiting.call.done = on_answer;
    aep_start(ask->clients.aep, &waiting.call);
    run(&waiting);
    *call = waiting.call;
    ask->calls++;
    ask->fault = call->fault;
    if (call->fault.retry_after_ms > ask->told_to_wait_ms)
        ask->told_to_wait_ms = call->fault.retry_after_ms;
    return call->fault.code;
}

static bool may_pass(const struct fault *fault)
{
    enum action action = err_action(fault->code);
    return (action == ACT_WAIT || action == ACT_RETRY) && fault->code != ERR_DENIED &&
           fault->code != ERR_NOT_FOUND && fault->code != ERR_TOO_BIG &&
           fault->code != ERR_SECRET && fault->retry_after_ms <= WAIT_MAX_MS;
}

/* Asks until there is an answer, or no hope. The caller releases the call in any case. */
static enum err ask_again(struct ask *ask, struct aep_call *call, const char *path)
{
    const struct aep_call asked = *call;
    for (int i = 0;; i++) {
        uint64_t random;
        *call = asked;
        buf_init(&call->path, PATH_LIMIT);
        buf_add_text(&call->path, path);
        if (!ask_call(ask, call) || ask->once || i + 1 == TRIES || !may_pass(&ask->fault))
            return ask->fault.code;
        aep_call_release(call);
        digest_random(&random, sizeof random);
        sleep_ms(ask->ctl->loop,
                 retry_delay_ms(i, BASE_MS, CAP_MS, ask->fault.retry_after_ms, random));
    }
}

enum err ask_json(struct ask *ask, enum aep_service service, const char *accept,
                  const char *path, struct json_t **ret)
{
    struct aep_call call = {
        .service = service,
        .accept = accept,
        .range_last = -1,
        .http = { .method = "GET", .timeout_ms = TIMEOUT_MS, .max_body = ASK_JSON_MAX }
    };
    const struct buf *body = &call.http.content;
    if (!ask_again(ask, &call, path))
        ask->fault.code = json_parse(buf_text(body), body->len, ASK_JSON_MAX, ret, &ask->fault);
    aep_call_release(&call);
    return ask->fault.code;
}

enum err ask_bytes(struct ask *ask, const char *path, struct buf *ret)
{
    struct aep_call call = {
        .service = AEP_CONTENT,
        .range_last = -1,
        .http = { .method = "GET", .timeout_ms = TIMEOUT_MS, .max_body = ASK_BYTES_MAX }
    };
    if (!ask_again(ask, &call, path)) {
        *ret = call.http.content;
        call.http.content = (struct buf){ .max = 0 };
    }
    aep_call_release(&call);
    return ask->fault.code;
}

enum err ask_store(struct ask *ask, struct s3_call *call)
{
    struct waiting waiting = { .loop = ask->ctl->loop, .store = *call };
    waiting.store.done = on_stored;
    if (!waiting.store.deadline_ms)
        waiting.store.deadline_ms = STORE_MS;
    s3_start(ask->clients.s3, &waiting.store);
    run(&waiting);
    *call = waiting.store;
    ask->fault = call->fault;
    return call->fault.code;
}

/* ---- what to say */

int ask_exit(const struct fault *fault)
{
    switch (fault->code) {
    case OK:
        return EX_OK;
    case ERR_NOT_FOUND:
    case ERR_GONE:
        return EX_NOINPUT;
    case ERR_DENIED:
    case ERR_AUTH:
        return EX_NOPERM;
    case ERR_SECRET:
    case ERR_CONFIG:
        return EX_CONFIG;
    case ERR_ARGUMENT:
        return EX_USAGE;
    default:
        return EX_UNAVAILABLE;
    }
}

int ask_refuse(const struct ask *ask, const char *about)
{
    const struct fault *fault = &ask->fault;
    int code = ask_exit(fault);
    const char *advice = code == EX_UNAVAILABLE ? "; sluicectl doctor looks for the reason"
                         : code == EX_NOPERM    ? "; sluicectl doctor says what is granted"
                                                : "";
    return ctl_refuse(ask->ctl, code, "%s: %s%s", about,
                      fault->text[0] ? fault->text : err_text(fault->code), advice);
}

const char *ask_dataset(const struct ctl *ctl, const char *name)
{
    const struct settings *settings = &ctl->settings;
    for (size_t i = 0; i < settings->datasets; i++)
        if (strcmp(settings->dataset[i].as, name) == 0)
            return settings->dataset[i].id;
    return catalog_id_valid(name) ? name : NULL;
}

int ask_no_dataset(const struct ctl *ctl, const char *name)
{
    AUTO_TEXT char *plain = mem_copy_text(name);
    text_sanitize(plain);
    return ctl_refuse(ctl, EX_USAGE,
                      "\"%.80s\" is neither a dataset's id nor the name (as) of one in the "
                      "configuration; sluicectl datasets lists them",
                      plain);
}
