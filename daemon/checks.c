/* SPDX-License-Identifier: Apache-2.0 */
/* The health checks, one row each, and their memory. */
#include "daemon/checks.h"

#include <inttypes.h>
#include <stdio.h>

#include "daemon/figures.h"
#include "daemon/reload.h"

#define SLOW_MS 1000 /* for one answer of Redis */

static enum check_state look_config(struct checks *checks, struct check *check);
static enum check_state look_redis(struct checks *checks, struct check *check);
static enum check_state look_store(struct checks *checks, struct check *check);
static enum check_state look_token(struct checks *checks, struct check *check);
static enum check_state look_catalog(struct checks *checks, struct check *check);
static enum check_state look_access(struct checks *checks, struct check *check);

/* What is wrong with it at all (fault, or a state that it names), and what its breaker knows. */
static const struct {
    const char *name;
    enum check_state (*look)(struct checks *checks, struct check *check);
    int upstream; /* enum upstream; -1 = none */
} row[CHECKS] = {
    [CHECK_CONFIG] = { "config", look_config, -1 },
    [CHECK_REDIS] = { "redis", look_redis, -1 },
    [CHECK_S3] = { "s3", look_store, UPSTREAM_S3 },
    [CHECK_IMS] = { "ims", look_token, UPSTREAM_IMS },
    [CHECK_CATALOG] = { "catalog", look_catalog, UPSTREAM_CATALOG },
    [CHECK_ACCESS] = { "access", look_access, UPSTREAM_ACCESS },
};

void checks_init(struct checks *checks, struct core *core, struct startup *startup)
{
    *checks = (struct checks){ .core = core, .startup = startup };
    checks->started = loop_wall(core->loop);
    for (size_t i = 0; i < CHECKS; i++)
        checks->check[i].since = checks->started;
}

const char *check_name(size_t check)
{
    return row[check].name;
}

const struct breaker *checks_breaker(const struct checks *checks, size_t check)
{
    int upstream = row[check].upstream;
    return upstream < 0 ? NULL : &checks->core->upstreams.breaker[upstream];
}

void checks_look(struct checks *checks)
{
    struct wall now = loop_wall(checks->core->loop);
    for (size_t i = 0; i < CHECKS; i++) {
        struct check *check = &checks->check[i];
        const struct breaker *breaker = checks_breaker(checks, i);
        check->fault = NULL;
        check->detail[0] = 0;
        enum check_state state = row[i].look(checks, check);
        if (!check->fault && breaker && breaker->fault.code)
            check->fault = &breaker->fault;
        if (check->fault)
            state = CHECK_FAIL;
        if (state != check->state)
            check->since = now;
        check->state = state;
        if (state != CHECK_FAIL)
            check->passed_at = now;
    }
}

bool checks_pass(const struct checks *checks)
{
    for (size_t i = 0; i < CHECKS; i++)
        if (checks->check[i].state == CHECK_FAIL)
            return false;
    return true;
}

/* ---- looks */

static enum check_state look_config(struct checks *checks, struct check *check)
{
    const struct reload *reload = checks->core->reload;
    AUTO_BUF note = BUF_INIT(1024);
    char text[WALL_TEXT_SIZE];
    reload_note(reload, &note);
    if (reload_refused(reload))
        snprintf(check->detail, sizeof check->detail, "%s", buf_text(&note));
    else
        snprintf(check->detail, sizeof check->detail, "%s, read %s", checks->core->config_file,
                 wall_text(reload_loaded_at(reload), text));
    return reload_refused(reload) ? CHECK_SLOW : CHECK_OK;
}

static enum check_state fail_if(struct check *check, const struct fault *fault)
{
    if (fault->code)
        check->fault = fault;
    return fault->code ? CHECK_FAIL : CHECK_OK;
}

static enum check_state look_redis(struct checks *checks, struct check *check)
{
    const struct core *core = checks->core;
    if (fail_if(check, startup_redis_fault(checks->startup)))
        return CHECK_FAIL;
    int64_t wait_ms = figures_wait_ms(core->figures, loop_now(core->loop));
    if (wait_ms > SLOW_MS)
        snprintf(check->detail, sizeof check->detail, "no answer for %.1f s",
                 (double)wait_ms / 1000);
    else if (core->figures->round_trip_us)
        snprintf(check->detail, sizeof check->detail, "%.1f ms",
                 (double)core->figures->round_trip_us / 1000);
    return wait_ms > SLOW_MS ? CHECK_SLOW : CHECK_OK;
}

static enum check_state look_store(struct checks *checks, struct check *check)
{
    snprintf(check->detail, sizeof check->detail, "bucket %s",
             checks->core->settings->s3.bucket);
    return fail_if(check, startup_store_fault(checks->startup));
}

static enum check_state look_token(struct checks *checks, struct check *check)
{
    int64_t minutes = aep_token_expires_in_ms(checks->core->aep) / 60000;
    if (minutes > 0)
        snprintf(check->detail, sizeof check->detail,
                 "token expires in %" PRId64 "h%02" PRId64 "m", minutes / 60, minutes % 60);
    return fail_if(check, aep_auth_fault(checks->core->aep));
}

/* Throttling is no failure: the rate limit sees to it, and here is why it is slow. */
static enum check_state look_limit(const struct core *core, struct check *check,
                                   enum aep_service service)
{
    const struct ratelimit *limit = aep_limit(core->aep, service);
    struct mono now = loop_now(core->loop);
    bool closed = !mono_due(limit->closed_until, now);
    int at = snprintf(check->detail, sizeof check->detail, "window %.0f of %d", limit->window,
                      limit->window_max);
    if (closed)
        snprintf(check->detail + at, sizeof check->detail - (size_t)at,
                 ", asked to wait %.0f s more",
                 (double)mono_ms_between(now, limit->closed_until) / 1000);
    return closed ? CHECK_SLOW : CHECK_OK;
}

static enum check_state look_catalog(struct checks *checks, struct check *check)
{
    return look_limit(checks->core, check, AEP_CATALOG);
}

static enum check_state look_access(struct checks *checks, struct check *check)
{
    return look_limit(checks->core, check, AEP_CONTENT);
}
