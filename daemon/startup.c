/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From "configured" to "working".
 *
 *   Redis   up ─▶ register each dataset and its tail ─▶ registered
 *   store   probe ─▶ probed (traits known)      both ─▶ scheduler_begin
 *                └ fault: told once, tried again with back-off
 */
#include "daemon/startup.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/scheduler.h"
#include "daemon/tail.h"
#include "lib/base/log.h"
#include "lib/net/retry.h"
#include "lib/s3/probe.h"

#define PROBE_BASE_MS 1000
#define PROBE_CAP_MS  60000

struct startup {
    struct core *core;
    void (*refuse)(struct core *core, const struct fault *fault);
    bool was_up, registered, probed;
    size_t dataset; /* being registered */
    bool tail_next; /* its options are set, the tail follows */
    struct queue_op op;
    struct http *http; /* for the probe only; data moves in the uploader's threads */
    struct s3 *s3;
    struct s3_probe probe;
    struct timer probe_again;
    int probes;
    struct fault redis, store;
};

static void on_up(void *owner);
static void on_down(void *owner, const struct fault *fault);
static void register_all(struct startup *startup);
static void register_next(struct startup *startup);
static void on_lost_writes(struct core *core);
static void on_registered(struct queue_op *op);
static void start_probe(struct timer *timer);
static void on_probed(struct s3_probe *probe);

enum err startup_new(struct core *core, const struct secret *password,
                     void (*refuse)(struct core *core, const struct fault *fault),
                     struct startup **ret, struct fault *fault)
{
    const struct settings *settings = core->settings;
    struct startup *startup = mem_alloc(sizeof *startup);
    startup->core = core;
    startup->refuse = refuse;
    core->startup = startup;
    core->lost_writes = on_lost_writes;
    fault_set(&startup->redis, ERR_REDIS_LOST, "not connected yet");
    fault_set(&startup->store, ERR_CONNECT, "not probed yet");
    struct queue_options options = {
        .redis = { .url = settings->redis.url,
                   .user = settings->redis.user,
                   .password = password,
                   .connect_timeout_ms = 5000,
                   .reply_timeout_ms = 10000 },
        .prefix = settings->redis.prefix,
        .allow_volatile = settings->redis.allow_volatile,
        .owner = startup,
        .on_up = on_up,
        .on_down = on_down,
    };
    enum err err = queue_new(core->loop, &options, &core->queue, fault);
    if (err) {
        mem_free(startup);
        return err;
    }
    startup->http =
        http_new(core->loop, &(struct http_options){ .ca_file = settings->s3.ca_file,
                                                     .proxy = settings->s3.proxy,
                                                     .plain_http = true,
                                                     .max_connections = 2,
                                                     .connect_timeout_ms = 5000 });
    startup->s3 = s3_new(core->loop, startup->http, &core->s3);
    startup->probe_again.fire = start_probe;
    timer_set_in(core->loop, &startup->probe_again, 0);
    *ret = startup;
    return OK;
}

void startup_free(struct startup *startup)
{
    if (!startup)
        return;
    timer_clear(startup->core->loop, &startup->probe_again);
    queue_cancel(&startup->op);
    queue_op_release(&startup->op);
    s3_free(startup->s3);
    http_free(startup->http);
    s3_probe_release(&startup->probe);
    mem_free(startup);
}

const struct fault *startup_redis_fault(const struct startup *startup)
{
    return &startup->redis;
}

const struct fault *startup_store_fault(const struct startup *startup)
{
    return &startup->store;
}

static void begin_if_ready(struct startup *startup)
{
    if (startup->registered && startup->probed)
        scheduler_begin(startup->core->scheduler);
}

/* ---- queue */

static void on_up(void *owner)
{
    struct startup *startup = owner;
    log_event(LOG_INFO, "redis", "connected as %s", queue_owner_name(startup->core->queue));
    startup->was_up = true;
    register_all(startup);
}

/*
 * The queue's counter went down: a failover, a restored backup or FLUSHALL took tasks away. What
 * we hold is fenced at the next beat; the tails are made anew and find again what is missing.
 */
static void on_lost_writes(struct core *core)
{
    log_event(LOG_ERROR, "redis", "acknowledged writes are gone; datasets are registered anew");
    register_all(core->startup);
}

static void on_down(void *owner, const struct fault *fault)
{
    struct startup *startup = owner;
    bool news = strcmp(fault->text, startup->redis.text) != 0;
    startup->redis = *fault;
    if (startup->core->scheduler)
        scheduler_pause(startup->core->scheduler);
    if (fault->code == ERR_REDIS_UNFIT && !startup->was_up)
        startup->refuse(startup->core, fault);
    else if (news)
        log_event(LOG_ERROR, "redis", "error=%s: %s", err_name(fault->code), fault->text);
}

static void register_all(struct startup *startup)
{
    startup->dataset = 0;
    startup->tail_next = false;
    queue_cancel(&startup->op);
    register_next(startup);
}

static void register_next(struct startup *startup)
{
    static const char *const order[] = { "concurrent", "commit", "sequential" };
    struct core *core = startup->core;
    queue_op_release(&startup->op);
    startup->op.done = on_registered;
    if (startup->tail_next) {
        tail_submit(core, &startup->op, startup->dataset);
        return;
    }
    const struct dataset_settings *dataset = &core->settings->dataset[startup->dataset];
    char most[24];
    snprintf(most, sizeof most, "%" PRId64, core->settings->queue.max_open_files);
    struct queue_field field[] = { { "order", order[dataset->order] },
                                   { "max_open_files", most } };
    queue_dataset(core->queue, &startup->op, dataset->id, field, 2);
}

static void on_registered(struct queue_op *op)
{
    struct startup *startup = container_of(op, struct startup, op);
    if (op->fault.code) {
        startup->redis = op->fault;
        log_event(LOG_ERROR, "redis", "dataset not registered error=%s: %s",
                  err_name(op->fault.code), op->fault.text);
        return; /* the next connection registers again */
    }
    if (startup->tail_next)
        startup->dataset++;
    startup->tail_next = !startup->tail_next;
    if (startup->dataset < startup->core->settings->datasets) {
        register_next(startup);
        return;
    }
    startup->redis.code = OK;
    startup->redis.text[0] = 0;
    startup->registered = true;
    begin_if_ready(startup);
}

/* ---- store */

static void start_probe(struct timer *timer)
{
    struct startup *startup = container_of(timer, struct startup, probe_again);
    s3_probe_release(&startup->probe);
    startup->probe =
        (struct s3_probe){ .prefix = startup->core->settings->s3.prefix, .done = on_probed };
    s3_probe_start(startup->s3, &startup->probe);
}

static void probe_failed(struct startup *startup, const struct fault *fault)
{
    struct fault named = *fault;
    if (fault->code == ERR_CANCELLED)
        return;
    fault_set(&named, fault->code, "bucket %s: %s", startup->core->settings->s3.bucket,
              fault->text);
    if (strcmp(named.text, startup->store.text) != 0)
        log_event(LOG_ERROR, "s3", "store cannot be used error=%s status=%d: %s",
                  err_name(named.code), named.http_status, named.text);
    startup->store = named;
    timer_set_in(startup->core->loop, &startup->probe_again,
                 PROBE_BASE_MS + retry_delay_ms(startup->probes++, PROBE_BASE_MS, PROBE_CAP_MS,
                                                0, core_random()));
}

static void on_probed(struct s3_probe *probe)
{
    struct startup *startup = container_of(probe, struct startup, probe);
    struct core *core = startup->core;
    struct fault fault = probe->fault;
    if (!fault.code && core->settings->s3.conditional == CONDITIONAL_REQUIRE &&
        !probe->traits.conditional_put)
        fault_set(&fault, ERR_CONFIG,
                  "store ignores If-None-Match on PUT: two daemons could overwrite each other; "
                  "set s3.conditional: auto to accept that");
    if (fault.code) {
        probe_failed(startup, &fault);
        return;
    }
    /* No upload has started yet: the scheduler begins below. */
    core->s3.traits = probe->traits;
    log_event(LOG_INFO, "s3",
              "bucket=%s conditional_put=%d conditional_complete=%d checks_crc32c=%d",
              core->settings->s3.bucket, probe->traits.conditional_put,
              probe->traits.conditional_complete, probe->traits.checks_crc32c);
    startup->store.code = OK;
    startup->store.text[0] = 0;
    startup->probed = true;
    begin_if_ready(startup);
}
