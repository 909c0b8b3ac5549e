/* SPDX-License-Identifier: Apache-2.0 */
/* Answers on the unix socket. */
#include "daemon/health.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/pool.h"
#include "daemon/reload.h"
#include "daemon/scheduler.h"
#include "daemon/tail.h"
#include "daemon/uploader.h"
#include "lib/base/json.h"
#include "lib/base/log.h"
#include "lib/net/unixsock.h"

struct health {
    struct core *core;
    struct startup *startup;
    struct unixsock *socket;
    struct mono started;
};

static void answer_live(struct health *health, struct unixsock_answer *answer, bool verbose);
static void answer_ready(struct health *health, struct unixsock_answer *answer, bool verbose);
static void answer_status(struct health *health, struct unixsock_answer *answer, bool verbose);
static void answer_metrics(struct health *health, struct unixsock_answer *answer, bool verbose);
static void answer_version(struct health *health, struct unixsock_answer *answer, bool verbose);
static void answer_line(struct health *health, struct unixsock_answer *answer, bool verbose);
static void answer_agent(struct health *health, struct unixsock_answer *answer, bool verbose);

static const struct {
    const char *path, *word;
    void (*answer)(struct health *health, struct unixsock_answer *answer, bool verbose);
} row[] = {
    { "/livez", "live", answer_live },         { "/readyz", "health", answer_ready },
    { "/healthz", "ready", answer_ready },     { "/status", NULL, answer_status },
    { "/metrics", "metrics", answer_metrics }, { "/version", "version", answer_version },
    { NULL, "status", answer_line },           { NULL, "agent", answer_agent },
};
#define ROWS (sizeof row / sizeof *row)

static void on_request(void *owner, const struct unixsock_request *request,
                       struct unixsock_answer *answer)
{
    struct health *health = owner;
    bool verbose =
        strcmp(request->query, "verbose") == 0 || strncmp(request->query, "verbose=", 8) == 0;
    buf_init(&answer->body, 1 << 20);
    answer->status = 200;
    for (size_t i = 0; i < ROWS; i++) {
        const char *name = request->http ? row[i].path : row[i].word;
        if (name && strcmp(name, request->path) == 0) {
            row[i].answer(health, answer, verbose);
            return;
        }
    }
    answer->status = 404;
    buf_add_text(&answer->body,
                 request->http ? "paths: /livez /readyz?verbose /status /metrics /version\n"
                               : "words: live health ready status agent metrics version\n");
}

enum err health_new(struct core *core, struct startup *startup, struct health **ret,
                    struct fault *fault)
{
    struct health *health = mem_alloc(sizeof *health);
    health->core = core;
    health->startup = startup;
    health->started = loop_now(core->loop);
    enum err err =
        unixsock_new(core->loop, core->settings->health.socket, core->settings->health.mode,
                     health, on_request, &health->socket, fault);
    if (err) {
        mem_free(health);
        return err;
    }
    *ret = health;
    return OK;
}

void health_free(struct health *health)
{
    if (!health)
        return;
    unixsock_free(health->socket);
    mem_free(health);
}

/* ---- checks: one row each */

static const struct fault *check_redis(const struct health *health)
{
    return startup_redis_fault(health->startup);
}

static const struct fault *check_store(const struct health *health)
{
    return startup_store_fault(health->startup);
}

static const struct fault *check_token(const struct health *health)
{
    return aep_auth_fault(health->core->aep);
}

/* What is wrong with it at all, and what its breaker knows from the tasks' calls. */
static const struct {
    const char *name;
    const struct fault *(*check)(const struct health *health);
    int upstream; /* enum upstream; -1 = none */
} check[] = {
    { "redis", check_redis, -1 },         { "s3", check_store, UPSTREAM_S3 },
    { "ims", check_token, UPSTREAM_IMS }, { "catalog", NULL, UPSTREAM_CATALOG },
    { "access", NULL, UPSTREAM_ACCESS },
};
#define CHECKS (sizeof check / sizeof *check)

static const struct breaker *breaker_of(const struct health *health, size_t at)
{
    int upstream = check[at].upstream;
    return upstream < 0 ? NULL : &health->core->upstreams.breaker[upstream];
}

static const struct fault *fault_of(const struct health *health, size_t at)
{
    static const struct fault none = { .code = OK };
    const struct fault *fault = check[at].check ? check[at].check(health) : &none;
    const struct breaker *breaker = breaker_of(health, at);
    return fault->code || !breaker ? fault : &breaker->fault;
}

static bool is_ready(const struct health *health)
{
    struct scheduler_figures figures;
    scheduler_figures(health->core->scheduler, &figures);
    bool ready = !figures.draining;
    for (size_t i = 0; i < CHECKS; i++)
        ready = ready && fault_of(health, i)->code == OK;
    return ready;
}

/* ---- answers */

static void answer_live(struct health *health, struct unixsock_answer *answer, bool verbose)
{
    (void)health, (void)verbose;
    buf_add_text(&answer->body, "ok\n");
}

static void answer_ready(struct health *health, struct unixsock_answer *answer, bool verbose)
{
    bool ready = is_ready(health);
    answer->status = ready ? 200 : 503;
    for (size_t i = 0; i < CHECKS && (verbose || !ready); i++) {
        const struct fault *fault = fault_of(health, i);
        if (fault->code)
            buf_print(&answer->body, "[-] %-7s fail  %s: %s\n", check[i].name,
                      err_name(fault->code), fault->text);
        else
            buf_print(&answer->body, "[+] %-7s ok\n", check[i].name);
    }
    buf_add_text(&answer->body, ready ? "ok\n" : "not ready\n");
}

static void answer_version(struct health *health, struct unixsock_answer *answer, bool verbose)
{
    (void)health, (void)verbose;
    buf_add_text(&answer->body, "sluiced " SLUICE_VERSION "\n");
}

static void answer_agent(struct health *health, struct unixsock_answer *answer, bool verbose)
{
    struct scheduler_figures figures;
    (void)verbose;
    scheduler_figures(health->core->scheduler, &figures);
    buf_add_text(&answer->body, figures.draining   ? "drain\n"
                                : is_ready(health) ? "up ready\n"
                                                   : "down #not ready\n");
}

void health_line(const struct health *health, char *text, size_t size)
{
    const struct core *core = health->core;
    struct scheduler_figures figures;
    scheduler_figures(core->scheduler, &figures);
    snprintf(text, size,
             "%s, %zu datasets, %zu files and %zu control tasks running, %" PRId64
             " batches committed, %" PRId64 " given up",
             figures.draining   ? "draining"
             : is_ready(health) ? "ready"
                                : "not ready",
             core->settings->datasets, figures.files, figures.control,
             core->metrics.batches_committed, core->metrics.dead_letters);
}

static void answer_line(struct health *health, struct unixsock_answer *answer, bool verbose)
{
    char text[256];
    (void)verbose;
    health_line(health, text, sizeof text);
    buf_print(&answer->body, "%s\n", text);
    reload_note(health->core->reload, &answer->body);
    if (answer->body.data[answer->body.len - 1] != '\n')
        buf_add_char(&answer->body, '\n');
}

static void write_member(struct buf *out, const char *name, const char *text)
{
    buf_print(out, "\"%s\":", name);
    json_write_text(out, text, strlen(text));
}

static void write_checks(const struct health *health, struct buf *out)
{
    buf_add_text(out, "\"checks\":{");
    for (size_t i = 0; i < CHECKS; i++) {
        const struct fault *fault = fault_of(health, i);
        buf_print(out, "%s\"%s\":{", i ? "," : "", check[i].name);
        write_member(out, "state", fault->code ? err_name(fault->code) : "ok");
        if (fault->code) {
            buf_add_char(out, ',');
            write_member(out, "text", fault->text);
        }
        const struct breaker *breaker = breaker_of(health, i);
        if (breaker)
            buf_print(out, ",\"breaker\":\"%s\"", breaker_state_name(breaker->state));
        buf_add_char(out, '}');
    }
    buf_add_text(out, "}");
}

static void write_datasets(const struct health *health, struct buf *out)
{
    const struct core *core = health->core;
    buf_add_text(out, "\"datasets\":[");
    for (size_t i = 0; i < core->settings->datasets; i++) {
        const struct tail_memory *memory = core->tail_memory[i];
        buf_add_text(out, i ? ",{" : "{");
        write_member(out, "id", core->settings->dataset[i].id);
        buf_add_char(out, ',');
        write_member(out, "as", core->settings->dataset[i].as);
        buf_print(out, ",\"watermark_ms\":%" PRId64 "}", memory->watermark_ms);
    }
    buf_add_char(out, ']');
}

static void answer_status(struct health *health, struct unixsock_answer *answer, bool verbose)
{
    const struct core *core = health->core;
    struct buf *out = &answer->body;
    struct scheduler_figures figures;
    (void)verbose;
    scheduler_figures(core->scheduler, &figures);
    answer->content_type = "application/json";
    buf_print(out, "{\"schema\":1,\"version\":\"%s\",\"ready\":%s,\"draining\":%s,",
              SLUICE_VERSION, is_ready(health) ? "true" : "false",
              figures.draining ? "true" : "false");
    buf_print(out, "\"uptime_s\":%" PRId64 ",",
              mono_ms_between(health->started, loop_now(core->loop)) / 1000);
    write_checks(health, out);
    buf_print(out, ",\"tasks\":{\"files\":%zu,\"control\":%zu},\"daemons\":%" PRId64 ",",
              figures.files, figures.control, figures.live_daemons);
    buf_print(out, "\"pool\":{\"size\":%zu,\"used\":%zu},", pool_size(core->pool),
              pool_used(core->pool));
    buf_print(out,
              "\"batches_committed\":%" PRId64 ",\"files_stored\":%" PRId64
              ",\"bytes_stored\":%" PRId64 ",\"dead_letters\":%" PRId64 ",",
              core->metrics.batches_committed, core->metrics.files_stored,
              core->metrics.bytes_stored, core->metrics.dead_letters);
    write_datasets(health, out);
    buf_add_text(out, "}\n");
}

static void print_breakers(const struct core *core, struct buf *out)
{
    static const char name[] = "sluice_breaker_open";
    buf_print(out,
              "# HELP %s 1 if tasks that need it wait, 0.5 if one tries\n# TYPE %s gauge\n",
              name, name);
    for (int i = 0; i < UPSTREAMS; i++) {
        enum breaker_state state = core->upstreams.breaker[i].state;
        buf_print(out, "%s{upstream=\"%s\"} %s\n", name, upstream_name((enum upstream)i),
                  state == BREAKER_CLOSED ? "0"
                  : state == BREAKER_OPEN ? "1"
                                          : "0.5");
    }
}

static void answer_metrics(struct health *health, struct unixsock_answer *answer, bool verbose)
{
    struct core *core = health->core;
    struct buf *out = &answer->body;
    struct scheduler_figures figures;
    (void)verbose;
    scheduler_figures(core->scheduler, &figures);
    answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_print(&core->metrics, out);
    reload_print(core->reload, out);
    print_breakers(core, out);
    metrics_print_gauge(out, "sluice_ready", "1 if all checks pass", is_ready(health));
    metrics_print_gauge(out, "sluice_files_running", "file tasks in work",
                        (double)figures.files);
    metrics_print_gauge(out, "sluice_control_running", "other tasks in work",
                        (double)figures.control);
    metrics_print_gauge(out, "sluice_daemons", "daemons on the queue",
                        (double)figures.live_daemons);
    metrics_print_gauge(out, "sluice_pool_used_bytes", "part buffers in use",
                        (double)pool_used(core->pool));
    metrics_print_gauge(out, "sluice_uploads_running", "S3 calls under way",
                        (double)uploader_running(core->uploader));
    metrics_print_gauge(out, "sluice_api_window", "adaptive window of content requests",
                        aep_limit(core->aep, AEP_CONTENT)->window);
    metrics_print_gauge(out, "sluice_log_lines_lost", "could not be written since the start",
                        (double)log_lost());
    metrics_print_gauge(out, "sluice_client_secret_in_use", "1 or 2; 0 = none has worked yet",
                        aep_secret_in_use(core->aep));
    metrics_print_gauge(out, "sluice_token_expires_seconds", "until the access token ends",
                        (double)aep_token_expires_in_ms(core->aep) / 1000);
}
