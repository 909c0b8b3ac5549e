/* SPDX-License-Identifier: Apache-2.0 */
/* /status: all that the daemon knows about itself, as one JSON document. Names hold the unit. */
#include <inttypes.h>
#include <string.h>

#include "daemon/health.h"
#include "daemon/pool.h"
#include "daemon/process.h"
#include "daemon/scheduler.h"
#include "daemon/tail.h"
#include "daemon/transfers.h"
#include "lib/base/json.h"

#define TRANSFERS_SHOWN 10

static void write_text(struct buf *out, const char *name, const char *text)
{
    buf_print(out, "\"%s\":", name);
    json_write_text(out, text, strlen(text));
}

/* A point in time, null if it is none. */
static void write_time(struct buf *out, const char *name, int64_t ms)
{
    char text[WALL_TEXT_SIZE];
    if (ms > 0)
        buf_print(out, "\"%s\":\"%s\"", name, wall_text((struct wall){ ms }, text));
    else
        buf_print(out, "\"%s\":null", name);
}

/* Seconds; null if below 0: not known. */
static void write_seconds(struct buf *out, const char *name, int64_t ms)
{
    if (ms >= 0)
        buf_print(out, "\"%s\":%.3f", name, (double)ms / 1000);
    else
        buf_print(out, "\"%s\":null", name);
}

static void write_check(const struct health_view *view, size_t index, struct buf *out)
{
    const struct check *check = &view->checks->check[index];
    const struct breaker *breaker = checks_breaker(view->checks, index);
    const char *hint = check->fault ? check_hint(index, check->fault->code) : NULL;
    buf_print(out, "\"%s\":{", check_name(index));
    write_text(out, "state",
               check->fault                 ? err_name(check->fault->code)
               : check->state == CHECK_SLOW ? "slow"
                                            : "ok");
    buf_add_char(out, ',');
    write_time(out, "since", check->since.ms);
    buf_add_char(out, ',');
    write_time(out, "last_ok", check->passed_at.ms);
    buf_add_char(out, ',');
    write_text(out, "text", check->fault ? check->fault->text : check->detail);
    if (hint) {
        buf_add_char(out, ',');
        write_text(out, "hint", hint);
    }
    if (breaker)
        buf_print(out, ",\"breaker\":\"%s\"", breaker_state_name(breaker->state));
    buf_add_char(out, '}');
}

static void write_dataset(const struct health_view *view, size_t index, struct buf *out)
{
    const struct core *core = view->core;
    const struct dataset_settings *settings = &core->settings->dataset[index];
    const struct dataset_figures *figures = &core->figures->dataset[index];
    int64_t seen = figures->seen_to;
    buf_add_char(out, '{');
    write_text(out, "id", settings->id);
    buf_add_char(out, ',');
    write_text(out, "as", settings->as);
    buf_print(out, ",\"watermark_ms\":%" PRId64 ",", core->tail_memory[index]->watermark_ms);
    write_seconds(out, "watermark_age_s", seen > 0 ? view->now_aep.ms - seen : -1);
    buf_add_char(out, ',');
    write_seconds(out, "lag_s", figures_dataset_lag_ms(core, index, view->now_aep));
    buf_add_char(out, ',');
    write_time(out, "oldest_due", figures->oldest_due);
    buf_add_char(out, ',');
    write_time(out, "last_commit", figures->committed_at);
    buf_print(out,
              ",\"paused\":%s,\"queue\":{\"to_list\":%" PRId64 ",\"to_commit\":%" PRId64
              ",\"to_copy\":%" PRId64 ",\"running\":%" PRId64 ",\"copying\":%" PRId64
              ",\"open_files\":%" PRId64 ",\"uncommitted\":%" PRId64 "}}",
              figures->paused ? "true" : "false", figures->to_list, figures->to_commit,
              figures->to_copy, figures->running, figures->copying, figures->open_files,
              figures->uncommitted);
}

static void write_queue(const struct health_view *view, struct buf *out)
{
    const struct figures *figures = view->core->figures;
    struct mono now = loop_now(view->core->loop);
    int64_t age = figures->answered_at.us ? mono_ms_between(figures->answered_at, now) : -1;
    buf_add_text(out, "\"queue\":{");
    write_seconds(out, "age_s", age);
    buf_print(out,
              ",\"round_trip_us\":%" PRId64 ",\"delayed\":%" PRId64 ",\"dead\":%" PRId64
              ",\"inbox\":%" PRId64 ",\"rejected\":%" PRId64 "}",
              figures->round_trip_us, figures->queue.delayed, figures->queue.dead,
              figures->queue.inbox, figures->queue.rejected);
}

static void write_process(const struct health_view *view, struct buf *out)
{
    struct process_figures process;
    process_look(&process);
    buf_print(out,
              "\"process\":{\"resident_bytes\":%" PRId64 ",\"open_fds\":%" PRId64
              ",\"max_fds\":%" PRId64 ",\"cpu_s\":%.3f,\"loop_lag_ms\":%.3f}",
              process.resident_bytes, process.open_fds, process.max_fds, process.cpu_s,
              (double)view->loop_lag_us / 1000);
}

static void write_work(const struct health_view *view, struct buf *out)
{
    const struct core *core = view->core;
    struct scheduler_figures figures;
    scheduler_figures(core->scheduler, &figures);
    buf_print(out, "\"tasks\":{\"files\":%zu,\"control\":%zu},\"daemons\":%" PRId64 ",",
              figures.files, figures.control, figures.live_daemons);
    buf_print(out, "\"pool\":{\"size_bytes\":%zu,\"used_bytes\":%zu},", pool_size(core->pool),
              pool_used(core->pool));
    buf_print(out,
              "\"batches_committed\":%" PRId64 ",\"files_stored\":%" PRId64
              ",\"bytes_stored\":%" PRId64 ",\"dead_letters\":%" PRId64 ",",
              core->metrics.batches_committed, core->metrics.files_stored,
              core->metrics.bytes_stored, core->metrics.dead_letters);
}

static void write_transfers(const struct health_view *view, struct buf *out)
{
    struct transfer_view slow[TRANSFERS_SHOWN];
    size_t count = transfers_slowest(view->core, slow, TRANSFERS_SHOWN);
    buf_add_text(out, "\"transfers\":[");
    for (size_t i = 0; i < count; i++) {
        buf_add_text(out, i ? ",{" : "{");
        write_text(out, "task", slow[i].name);
        buf_print(out,
                  ",\"lanes\":%zu,\"done_bytes\":%" PRId64 ",\"length_bytes\":%" PRId64
                  ",\"bytes_per_s\":%.0f}",
                  slow[i].lanes, slow[i].stored, slow[i].length, slow[i].bytes_per_s);
    }
    buf_add_char(out, ']');
}

static void write_daemon(const struct health_view *view, struct buf *out)
{
    buf_print(out, "\"schema\":1,\"version\":\"%s\",\"ready\":%s,\"draining\":%s,",
              SLUICE_VERSION, view->ready ? "true" : "false",
              view->draining ? "true" : "false");
    buf_print(out, "\"uptime_s\":%" PRId64 ",", view->uptime_ms / 1000);
    write_time(out, "started", view->checks->started.ms);
    buf_add_char(out, ',');
    write_text(out, "config_file", view->core->config_file);
    buf_add_char(out, ',');
}

void health_print_status(const struct health_view *view, struct buf *out)
{
    buf_add_char(out, '{');
    write_daemon(view, out);
    buf_add_text(out, "\"checks\":{");
    for (size_t i = 0; i < CHECKS; i++) {
        buf_add_text(out, i ? "," : "");
        write_check(view, i, out);
    }
    buf_add_text(out, "},");
    write_work(view, out);
    write_queue(view, out);
    buf_add_char(out, ',');
    write_process(view, out);
    buf_add_char(out, ',');
    write_transfers(view, out);
    buf_add_text(out, ",\"datasets\":[");
    for (size_t i = 0; i < view->core->settings->datasets; i++) {
        buf_add_text(out, i ? "," : "");
        write_dataset(view, i, out);
    }
    buf_add_text(out, "]}\n");
}
