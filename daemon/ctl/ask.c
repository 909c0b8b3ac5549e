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

static void on_answer(struct aep_call *call)
{
    struct ask_call *asked = container_of(call, struct ask_call, call);
    asked->over = true;
    loop_stop(asked->loop);
}

/* What else the loop is run for. */
struct waiting {
    struct loop *loop;
    bool over;
    struct timer timer;
    struct s3_call store;
};

static void finish(struct waiting *waiting)
{
    waiting->over = true;
    loop_stop(waiting->loop);
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

void ctl_sleep(struct loop *loop, int64_t ms)
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

enum err ask_call(struct ask *ask, struct ask_call *call)
{
    const struct fault *fault = &call->call.fault;
    call->loop = ask->ctl->loop;
    call->over = false;
    call->call.done = on_answer;
    aep_start(ask->clients.aep, &call->call);
    while (!call->over)
        loop_run(call->loop);
    ask->calls++;
    ask->fault = *fault;
    if (fault->retry_after_ms > ask->told_to_wait_ms)
        ask->told_to_wait_ms = fault->retry_after_ms;
    return fault->code;
}

static bool may_pass(const struct fault *fault)
{
    enum action action = err_action(fault->code);
    return (action == ACT_WAIT || action == ACT_RETRY) && fault->code != ERR_DENIED &&
           fault->code != ERR_CREDENTIAL && fault->code != ERR_NOT_FOUND &&
           fault->code != ERR_TOO_BIG && fault->code != ERR_SECRET &&
           fault->retry_after_ms <= WAIT_MAX_MS;
}

static void prepare(struct ask_call *call, enum aep_service service, const char *accept,
                    const char *path, size_t max_body)
{
    *call = (struct ask_call){
        .call = { .service = service,
                  .accept = accept,
                  .range_last = -1,
                  .path = BUF_INIT(PATH_LIMIT),
                  .http = { .method = "GET", .timeout_ms = TIMEOUT_MS, .max_body = max_body } }
    };
    buf_add_text(&call->call.path, path);
}

/* Asks until there is an answer, or no hope. The caller releases the call in any case. */
static enum err ask_again(struct ask *ask, enum aep_service service, const char *accept,
                          const char *path, size_t max_body, struct ask_call *call)
{
    for (int i = 0;; i++) {
        uint64_t random;
        prepare(call, service, accept, path, max_body);
        if (!ask_call(ask, call) || ask->once || i + 1 == TRIES || !may_pass(&ask->fault))
            return ask->fault.code;
        aep_call_release(&call->call);
        digest_random(&random, sizeof random);
        ctl_sleep(ask->ctl->loop,
                  retry_delay_ms(i, BASE_MS, CAP_MS, ask->fault.retry_after_ms, random));
    }
}

enum err ask_json(struct ask *ask, enum aep_service service, const char *accept,
                  const char *path, struct json_t **ret)
{
    struct ask_call call;
    const struct buf *body = &call.call.http.content;
    if (!ask_again(ask, service, accept, path, ASK_JSON_MAX, &call))
        ask->fault.code = json_parse(buf_text(body), body->len, ASK_JSON_MAX, ret, &ask->fault);
    aep_call_release(&call.call);
    return ask->fault.code;
}

enum err ask_bytes(struct ask *ask, const char *path, struct buf *ret)
{
    struct ask_call call;
    if (!ask_again(ask, AEP_CONTENT, NULL, path, ASK_BYTES_MAX, &call)) {
        *ret = call.call.http.content;
        call.call.http.content = (struct buf){ .max = 0 };
    }
    aep_call_release(&call.call);
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
        return EX_NOINPUT;
    case ERR_DENIED:
    case ERR_CREDENTIAL:
    case ERR_AUTH:
    case ERR_REDIS_DENIED:
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
    bool advised = strstr(fault->text, "; ") != NULL; /* by who knew the answer */
    const char *advice = advised                  ? ""
                         : code == EX_UNAVAILABLE ? "; sluicectl doctor looks for the reason"
                         : code == EX_NOPERM      ? "; sluicectl doctor says what is granted"
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
