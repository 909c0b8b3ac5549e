/* SPDX-License-Identifier: Apache-2.0 */
/* Answers on the health socket; JSON and metrics have files of their own. */
#include "daemon/health.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/exporter.h"
#include "daemon/reload.h"
#include "daemon/scheduler.h"
#include "lib/net/unixsock.h"

#define WATCH_MS  1000
#define WINDOW_MS 30000 /* the worst lag is kept for one to two of them */

struct health {
    struct core *core;
    struct checks checks;
    struct unixsock *socket, *port;
    struct exporter *exporter;
    struct mono started;
    struct timer watch; /* keeps the checks' memory current, and sees how late it is itself */
    struct mono due, window_from;
    int64_t lag_us, lag_before_us; /* the worst of this window, and of the one before */
};

static void answer_live(struct health *health, struct unixsock_answer *answer, bool verbose);
static void answer_ready(struct health *health, struct unixsock_answer *answer, bool verbose);
static void answer_status(struct health *health, struct unixsock_answer *answer, bool verbose);
static void answer_metrics(struct health *health, struct unixsock_answer *answer, bool verbose);
static void answer_version(struct health *health, struct unixsock_answer *answer, bool verbose);
static void answer_lines(struct health *health, struct unixsock_answer *answer, bool verbose);
static void answer_agent(struct health *health, struct unixsock_answer *answer, bool verbose);
static void on_watch(struct timer *timer);

static const struct {
    const char *path, *word;
    void (*answer)(struct health *health, struct unixsock_answer *answer, bool verbose);
} row[] = {
    { "/livez", "live", answer_live },         { "/readyz", "health", answer_ready },
    { "/healthz", "ready", answer_ready },     { "/status", NULL, answer_status },
    { "/metrics", "metrics", answer_metrics }, { "/version", "version", answer_version },
    { NULL, "status", answer_lines },          { NULL, "agent", answer_agent },
};
#define ROWS (sizeof row / sizeof *row)

static void on_request(void *owner, const struct unixsock_request *request,
                       struct unixsock_answer *answer)
{
    struct health *health = owner;
    bool verbose =
        strcmp(request->query, "verbose") == 0 || strncmp(request->query, "verbose=", 8) == 0;
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

/* ---- life */

static enum err open_sockets(struct health *health, struct fault *fault)
{
    const struct settings *settings = health->core->settings;
    struct loop *loop = health->core->loop;
    enum err err = unixsock_new(loop,
                                &(struct unixsock_file){ .path = settings->health.socket,
                                                         .mode = settings->health.mode,
                                                         .group = settings->health.group },
                                health, on_request, &health->socket, fault);
    if (!err && settings->health.listen)
        err = unixsock_new_port(loop, settings->health.listen, health, on_request,
                                &health->port, fault);
    return err;
}

enum err health_new(struct core *core, struct startup *startup, struct health **ret,
                    struct fault *fault)
{
    struct health *health = mem_alloc(sizeof *health);
    health->core = core;
    core->figures = figures_new(core);
    checks_init(&health->checks, core, startup);
    health->started = health->window_from = loop_now(core->loop);
    health->exporter = exporter_new(health, core);
    health->watch.fire = on_watch;
    health->due = mono_after_ms(health->started, WATCH_MS);
    timer_set(core->loop, &health->watch, health->due);
    enum err err = open_sockets(health, fault);
    if (err)
        health_free(health);
    else
        *ret = health;
    return err;
}

void health_free(struct health *health)
{
    if (!health)
        return;
    timer_clear(health->core->loop, &health->watch);
    exporter_free(health->exporter);
    unixsock_free(health->port);
    unixsock_free(health->socket);
    figures_free(health->core->figures);
    health->core->figures = NULL;
    mem_free(health);
}

static void on_watch(struct timer *timer)
{
    struct health *health = container_of(timer, struct health, watch);
    struct mono now = loop_now(health->core->loop);
    int64_t late_us = now.us - health->due.us;
    if (mono_ms_between(health->window_from, now) >= WINDOW_MS) {
        health->window_from = now;
        health->lag_before_us = health->lag_us;
        health->lag_us = 0;
    }
    health->lag_us = late_us > health->lag_us ? late_us : health->lag_us;
    health->due = mono_after_ms(now, WATCH_MS);
    timer_set(health->core->loop, &health->watch, health->due);
    checks_look(&health->checks);
}

void health_look(struct health *health, struct health_view *ret)
{
    struct core *core = health->core;
    struct scheduler_figures figures;
    scheduler_figures(core->scheduler, &figures);
    checks_look(&health->checks);
    *ret = (struct health_view){
        .core = core,
        .checks = &health->checks,
        .now = loop_wall(core->loop),
        .now_aep = aep_now(core->aep),
        .uptime_ms = mono_ms_between(health->started, loop_now(core->loop)),
        .loop_lag_us =
            health->lag_us > health->lag_before_us ? health->lag_us : health->lag_before_us,
        .draining = figures.draining,
        .ready = !figures.draining && checks_pass(&health->checks),
    };
}

/* ---- answers */

static void answer_live(struct health *health, struct unixsock_answer *answer, bool verbose)
{
    (void)health, (void)verbose;
    buf_add_text(&answer->body, "ok\n");
}

#define INDENT "                  "

static void print_failure(const struct check *check, size_t index, struct buf *out)
{
    const struct fault *fault = check->fault;
    const char *hint = check_hint(index, fault->code);
    char since[WALL_TEXT_SIZE], passed[WALL_TEXT_SIZE];
    buf_print(out, "[-] %-7s fail  %s: %s\n", check_name(index), err_name(fault->code),
              fault->text);
    buf_print(out, INDENT "since %s, last ok %s\n", wall_text(check->since, since),
              check->passed_at.ms ? wall_text(check->passed_at, passed) : "never");
    if (hint)
        buf_print(out, INDENT "hint: %s\n", hint);
}

static void print_check(const struct check *check, size_t index, struct buf *out)
{
    if (check->state == CHECK_FAIL)
        print_failure(check, index, out);
    else
        buf_print(out, "[%c] %-7s %s%s%s\n", check->state == CHECK_OK ? '+' : '!',
                  check_name(index), check->state == CHECK_OK ? "ok" : "slow",
                  !check->detail[0]          ? ""
                  : check->state == CHECK_OK ? "    "
                                             : "  ",
                  check->detail);
}

static void answer_ready(struct health *health, struct unixsock_answer *answer, bool verbose)
{
    struct health_view view;
    health_look(health, &view);
    answer->status = view.ready ? 200 : 503;
    for (size_t i = 0; i < CHECKS && (verbose || !view.ready); i++)
        print_check(&health->checks.check[i], i, &answer->body);
    buf_add_text(&answer->body, view.ready      ? "ok\n"
                                : view.draining ? "not ready: draining\n"
                                                : "not ready\n");
}

static void answer_version(struct health *health, struct unixsock_answer *answer, bool verbose)
{
    (void)health, (void)verbose;
    buf_add_text(&answer->body, "sluiced " SLUICE_VERSION "\n");
}

static const char *first_failure(const struct checks *checks)
{
    for (size_t i = 0; i < CHECKS; i++)
        if (checks->check[i].state == CHECK_FAIL)
            return check_name(i);
    return "";
}

static void answer_agent(struct health *health, struct unixsock_answer *answer, bool verbose)
{
    struct health_view view;
    (void)verbose;
    health_look(health, &view);
    if (view.draining)
        buf_add_text(&answer->body, "drain\n");
    else if (view.ready)
        buf_add_text(&answer->body, "up ready\n");
    else
        buf_print(&answer->body, "down #%s\n", first_failure(&health->checks));
}

static void answer_status(struct health *health, struct unixsock_answer *answer, bool verbose)
{
    struct health_view view;
    (void)verbose;
    health_look(health, &view);
    answer->content_type = "application/json";
    health_print_status(&view, &answer->body);
}

static void answer_metrics(struct health *health, struct unixsock_answer *answer, bool verbose)
{
    struct health_view view;
    (void)verbose;
    health_look(health, &view);
    answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
    health_print_metrics(&view, &answer->body);
}

/* ---- lines for people */

/* "2m10s", "3h21m", "4d02h"; "?" if it is not known. */
static const char *span_text(int64_t ms, char *text, size_t size)
{
    int64_t s = ms / 1000;
    if (ms < 0)
        snprintf(text, size, "?");
    else if (s < 60)
        snprintf(text, size, "%" PRId64 "s", s);
    else if (s < 3600)
        snprintf(text, size, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(text, size, "%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
    else
        snprintf(text, size, "%" PRId64 "d%02" PRId64 "h", s / 86400, s / 3600 % 24);
    return text;
}

void health_line(struct health *health, char *text, size_t size)
{
    const struct core *core = health->core;
    struct scheduler_figures figures;
    struct health_view view;
    char lag[24];
    scheduler_figures(core->scheduler, &figures);
    health_look(health, &view);
    snprintf(text, size,
             "%s, %zu datasets, lag %s, %zu files and %zu control tasks running, %" PRId64
             " batches committed, %" PRId64 " given up",
             view.draining ? "draining"
             : view.ready  ? "ready"
                           : "not ready",
             core->settings->datasets,
             span_text(figures_worst_lag_ms(core, view.now_aep), lag, sizeof lag),
             figures.files, figures.control, core->metrics.batches_committed,
             core->metrics.dead_letters);
}

static void answer_lines(struct health *health, struct unixsock_answer *answer, bool verbose)
{
    const struct core *core = health->core;
    char text[256];
    (void)verbose;
    health_line(health, text, sizeof text);
    buf_print(&answer->body, "%s\n", text);
    reload_note(core->reload, &answer->body);
    if (reload_refused(core->reload))
        buf_add_char(&answer->body, '\n');
    for (size_t i = 0; i < core->settings->datasets; i++) {
        const struct dataset_figures *dataset = &core->figures->dataset[i];
        char lag[24], at[WALL_TEXT_SIZE];
        buf_print(
            &answer->body,
            "%s  lag %s  last commit %s  %" PRId64 " batches and %" PRId64 " files to go%s\n",
            core->settings->dataset[i].as,
            span_text(figures_dataset_lag_ms(core, i, aep_now(core->aep)), lag, sizeof lag),
            dataset->committed_at ? wall_text((struct wall){ dataset->committed_at }, at)
                                  : "never",
            dataset->uncommitted, dataset->open_files, dataset->paused ? "  paused" : "");
    }
}
