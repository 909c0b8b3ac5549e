/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From "configured" to "working".
 *
 *   Redis   up ─▶ enroll (datasets, tails, what was lost) ─▶ scheduler_begin
 *   store   probe ─▶ probed (traits known) ─┘ before the tails
 *                └ fault: told once, tried again with back-off
 */
#include "daemon/startup.h"

#include <string.h>

#include "daemon/enroll.h"
#include "daemon/ledger.h"
#include "daemon/repair.h"
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
    bool was_up, claims_refused;
    struct secret password; /* of Redis, as it was when it was last refused */
    char *server;           /* which Redis process was registered last */
    struct enroll *enroll;
    struct http *http; /* for the probe only; data moves in the uploader's threads */
    struct s3 *s3;
    struct s3_probe probe;
    struct timer probe_again;
    int probes;
    struct fault redis, store;
};

static void on_up(void *owner);
static void on_down(void *owner, const struct fault *fault);
static void on_lost_writes(void *owner, const char *how);
static void on_enrolled(struct core *core);
static void on_enroll_failed(struct core *core, const struct fault *fault, bool store);
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
    if (password)
        secret_set(&startup->password, secret_reveal(password), password->len);
    fault_set(&startup->redis, ERR_REDIS_LOST, "not connected yet");
    fault_set(&startup->store, ERR_CONNECT, "not probed yet");
    struct queue_options options = {
        .redis = { .url = settings->redis.url,
                   .user = settings->redis.user,
                   .password = password ? &startup->password : NULL,
                   .connect_timeout_ms = 5000,
                   .reply_timeout_ms = 10000 },
        .prefix = settings->redis.prefix,
        .allow_volatile = settings->redis.allow_volatile,
        .owner = startup,
        .on_up = on_up,
        .on_down = on_down,
        .on_lost_writes = on_lost_writes,
    };
    enum err err = queue_new(core->loop, &options, &core->queue, fault);
    if (err) {
        secret_release(&startup->password);
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
    core->ledger = ledger_new(startup->s3, settings);
    core->repair = repair_new(core);
    startup->enroll = enroll_new(
        core, &(struct enroll_events){ .finished = on_enrolled, .failed = on_enroll_failed });
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
    repair_free(startup->core->repair);
    s3_free(startup->s3);
    http_free(startup->http);
    enroll_free(startup->enroll);
    ledger_free(startup->core->ledger);
    s3_probe_release(&startup->probe);
    secret_release(&startup->password);
    mem_free(startup->server);
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

static void set_well(struct fault *fault)
{
    fault->code = OK;
    fault->text[0] = 0;
}

/* ---- queue */

static void on_up(void *owner)
{
    struct startup *startup = owner;
    const char *server = queue_server(startup->core->queue);
    log_event(LOG_INFO, "redis", "connected as %s", queue_owner_name(startup->core->queue));
    startup->was_up = true;
    if (!startup->server || strcmp(startup->server, server) != 0)
        repair_start(startup->core->repair);
    mem_set_text(&startup->server, server);
    scheduler_tick(startup->core->scheduler);
    enroll_start(startup->enroll, false);
}

/*
 * A failover, a restored backup or FLUSHALL took tasks away. What we hold is fenced already, and
 * dropped at once; what we know of the queue is forgotten; tails, jobs and the recent past are
 * enrolled anew.
 */
static void on_lost_writes(void *owner, const char *how)
{
    struct startup *startup = owner;
    struct core *core = startup->core;
    core->metrics.redis_lost_writes++;
    log_event(LOG_ERROR, "redis",
              "acknowledged writes are lost: %s; all leases dropped, now %s", how,
              queue_owner_name(core->queue));
    scheduler_pause(core->scheduler);
    scheduler_forget(core->scheduler);
    tail_forget(core);
    repair_start(core->repair);
    /* Before the enrolment: what a tick writes tells, should Redis go back once more meanwhile. */
    scheduler_tick(core->scheduler);
    enroll_start(startup->enroll, true);
}

/* A refused password may have been changed meanwhile: the next connection presents the new one. */
static void renew_password(struct startup *startup)
{
    const char *file = startup->core->settings->redis.password_file;
    struct secret password = { 0 };
    struct fault fault = { 0 };
    if (!file)
        return;
    if (secret_read_file(file, &password, &fault)) {
        log_event(LOG_DEBUG, "redis", "error=%s: %s", err_name(fault.code), fault.text);
        return;
    }
    secret_release(&startup->password);
    startup->password = password;
}

void startup_reload(struct startup *startup, bool datasets)
{
    renew_password(startup);
    if (datasets)
        enroll_reload(startup->enroll);
}

bool startup_asks(const struct startup *startup)
{
    return enroll_asks(startup->enroll);
}

static void on_down(void *owner, const struct fault *fault)
{
    struct startup *startup = owner;
    bool news = strcmp(fault->text, startup->redis.text) != 0;
    startup->redis = *fault;
    scheduler_pause(startup->core->scheduler);
    if (fault->code == ERR_REDIS_DENIED)
        renew_password(startup);
    if (fault->code == ERR_REDIS_UNFIT && !startup->was_up)
        startup->refuse(startup->core, fault);
    else if (news)
        log_event(LOG_ERROR, "redis", "error=%s: %s", err_name(fault->code), fault->text);
}

static void on_enrolled(struct core *core)
{
    struct startup *startup = core->startup;
    set_well(&startup->redis);
    set_well(&startup->store);
    startup->claims_refused = false;
    scheduler_begin(core->scheduler);
}

static void on_enroll_failed(struct core *core, const struct fault *fault, bool store)
{
    struct fault *kept = store ? &core->startup->store : &core->startup->redis;
    if (strcmp(kept->text, fault->text) != 0)
        log_event(LOG_ERROR, store ? "s3" : "redis", "datasets not registered error=%s: %s",
                  err_name(fault->code), fault->text);
    *kept = *fault;
}

void startup_claimed(struct core *core, const struct fault *fault)
{
    struct startup *startup = core->startup;
    if (!queue_up(core->queue)) /* on_down has told */
        return;
    if (fault->code && strcmp(fault->text, startup->redis.text) != 0)
        log_event(LOG_ERROR, "redis", "claims are refused error=%s: %s", err_name(fault->code),
                  fault->text);
    if (fault->code)
        startup->redis = *fault;
    else if (startup->claims_refused)
        set_well(&startup->redis);
    if (!fault->code && startup->claims_refused)
        log_event(LOG_INFO, "redis", "claims are accepted again");
    startup->claims_refused = fault->code != OK;
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
    set_well(&startup->store);
    enroll_store_ready(startup->enroll);
}
