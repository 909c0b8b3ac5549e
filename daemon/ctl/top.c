/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl top: what the daemon does right now, painted anew each second from /status and
 * /metrics. Rates are differences between two looks. What a daemon does not tell has no line.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/ctl/socket.h"
#include "daemon/ctl/table.h"
#include "daemon/ctl/terminal.h"

#define REPAINT_MS 1000

static int top_run(struct ctl *ctl);

const struct ctl_command ctl_top = {
    .name = "top",
    .arguments = "[--once]",
    .flags = CTL_ONCE,
    .run = top_run,
    .help = "      rates, windows and transfers, each second; --once: a second's worth, then "
            "ends\n",
};

/* Counters whose rates are shown, each by its metric. */
enum rate { RATE_BATCHES, RATE_FILES, RATE_IN, RATE_OUT, RATE_RETRIES, RATES };
static const struct {
    const char *metric, *name, *label;
    bool bytes;
} rate_row[RATES] = {
    [RATE_BATCHES] = { "sluice_batches_committed_total", "batches_per_s", "batches", false },
    [RATE_FILES] = { "sluice_files_stored_total", "files_per_s", "files", false },
    [RATE_IN] = { "sluice_received_bytes_total", "received_per_s", "received", true },
    [RATE_OUT] = { "sluice_stored_bytes_total", "stored_per_s", "stored", true },
    [RATE_RETRIES] = { "sluice_retries_total", "retries_per_s", "retries", false },
};

/* Gauges as they are. */
static const struct {
    const char *metric, *name, *label;
} gauge_row[] = {
    { "sluice_files_running", "files", "files in work" },
    { "sluice_control_running", "control", "other tasks" },
    { "sluice_uploads_running", "uploads", "S3 calls" },
    { "sluice_lanes_running", "lanes", "lanes" },
    { "sluice_loop_lag_seconds", "loop_lag_s", "loop lag, s" },
    { "sluice_daemons", "daemons", "daemons" },
};

struct look {
    struct mono at;
    struct json_t *status;
    struct buf metrics;
    double counter[RATES]; /* -1 = not told */
};

static void release(struct look *look)
{
    json_release(&look->status);
    buf_release(&look->metrics);
    *look = (struct look){ .status = NULL };
}

static enum err look_at(struct ctl *ctl, struct look *look, struct fault *fault)
{
    int status;
    release(look);
    enum err err = socket_status(ctl, &look->status, fault);
    if (!err)
        err = socket_ask(ctl, "/metrics", &status, &look->metrics, fault);
    look->at = clock_mono();
    for (int i = 0; !err && i < RATES; i++)
        if (!socket_metric(buf_text(&look->metrics), rate_row[i].metric, NULL,
                           &look->counter[i]))
            look->counter[i] = -1;
    return err;
}

/* ---- a frame */

static void show_number(struct table *table, const char *name, const char *label, double value,
                        bool bytes)
{
    char text[64], size[BYTES_SIZE];
    if (bytes)
        snprintf(text, sizeof text, "%s", terminal_bytes(value, size));
    else
        snprintf(text, sizeof text, "%.4g", value);
    table_text(table, name, label, text);
}

static void show_rates(struct table *table, const struct look *before, const struct look *now)
{
    double seconds = (double)(now->at.us - before->at.us) / 1e6;
    for (int i = 0; i < RATES; i++) {
        double grown = now->counter[i] - before->counter[i];
        if (now->counter[i] < 0 || before->counter[i] < 0 || grown < 0 || seconds <= 0)
            continue; /* not told, or another daemon by now */
        AUTO_TEXT char *label = mem_print("%s/s", rate_row[i].label);
        show_number(table, rate_row[i].name, label, grown / seconds, rate_row[i].bytes);
    }
}

static void show_gauges(struct table *table, const char *metrics)
{
    double value;
    for (size_t i = 0; i < sizeof gauge_row / sizeof *gauge_row; i++)
        if (socket_metric(metrics, gauge_row[i].metric, NULL, &value))
            show_number(table, gauge_row[i].name, gauge_row[i].label, value, false);
}

/* One line for each service of Adobe that has an adaptive window. */
static void show_windows(struct table *table, const char *metrics)
{
    static const struct table_column column[] = { { "window", "WINDOW", TABLE_TEXT },
                                                  { "requests", "REQUESTS", TABLE_TEXT } };
    static const char name[] = "sluice_api_window";
    table_list(table, "windows", "", column, 2);
    for (const char *line = metrics; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        size_t name_len = strlen(name), len = strcspn(line, "\n");
        if (strncmp(line, name, name_len) != 0 || !strchr("{ ", line[name_len]))
            continue;
        AUTO_TEXT char *text = mem_copy_bytes(line, len);
        char *value = strrchr(text, ' ');
        *value++ = 0;
        struct table_cell cell[] = { { .text = text[name_len] ? text + name_len : "content" },
                                     { .text = value } };
        table_row(table, cell);
    }
    table_list_end(table);
}

/* The slowest first, as the daemon lists them. */
static void show_transfers(struct table *table, const struct json_t *status)
{
    static const struct table_column column[] = {
        { "task", "TRANSFER", TABLE_TEXT },     { "lanes", "LANES", TABLE_NUMBER },
        { "done", "BYTES DONE", TABLE_NUMBER }, { "length", "OF", TABLE_NUMBER },
        { "rate", "BYTES/S", TABLE_NUMBER },
    };
    const struct json_t *list = json_member(status, "transfers");
    table_list(table, "transfers", "", column, sizeof column / sizeof *column);
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json_t *transfer = json_element(list, i);
        const struct table_cell cell[] = {
            { .text = json_member_text(transfer, "task") },
            { .number = (int64_t)socket_number(transfer, "lanes", -1) },
            { .number = (int64_t)socket_number(transfer, "done_bytes", -1) },
            { .number = (int64_t)socket_number(transfer, "length_bytes", -1) },
            { .number = (int64_t)socket_number(transfer, "bytes_per_s", -1) },
        };
        table_row(table, cell);
    }
    table_list_end(table);
}

static void show_datasets(struct table *table, const struct json_t *status)
{
    static const struct table_column column[] = {
        { "as", "DATASET", TABLE_TEXT },        { "watermark", "WATERMARK", TABLE_TIME },
        { "lag", "LAG", TABLE_TEXT },           { "to_copy", "TO COPY", TABLE_NUMBER },
        { "copying", "COPYING", TABLE_NUMBER }, { "uncommitted", "UNCOMMITTED", TABLE_NUMBER },
    };
    const struct json_t *list = json_member(status, "datasets");
    table_list(table, "datasets", "", column, sizeof column / sizeof *column);
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json_t *dataset = json_element(list, i);
        const struct json_t *queue = json_member(dataset, "queue");
        double lag_s = socket_number(dataset, "lag_s", -1);
        char lag[SPAN_SIZE];
        const struct table_cell cell[] = {
            { .text = json_member_text(dataset, "as") },
            { .number = (int64_t)socket_number(dataset, "watermark_ms", 0) },
            { .text = lag_s < 0 ? NULL : terminal_span((int64_t)(lag_s * 1000), lag) },
            { .number = (int64_t)socket_number(queue, "to_copy", -1) },
            { .number = (int64_t)socket_number(queue, "copying", -1) },
            { .number = (int64_t)socket_number(queue, "uncommitted", -1) },
        };
        table_row(table, cell);
    }
    table_list_end(table);
}

static void show_pool(struct table *table, const struct json_t *status)
{
    const struct json_t *pool = json_member(status, "pool");
    double size = socket_number(pool, "size_bytes", socket_number(pool, "size", -1));
    double used = socket_number(pool, "used_bytes", socket_number(pool, "used", -1));
    if (size > 0 && used >= 0)
        show_number(table, "buffers_percent", "buffers, %", 100 * used / size, false);
}

static void paint(struct ctl *ctl, const struct look *before, const struct look *now)
{
    char up[SPAN_SIZE];
    const char *metrics = buf_text(&now->metrics);
    struct table *table = table_new(ctl);
    table_text(table, "version", "sluiced", json_member_text(now->status, "version"));
    table_text(table, "state", "state",
               socket_flag(now->status, "draining") ? "draining"
               : socket_flag(now->status, "ready")  ? "ready"
                                                    : "not ready");
    table_text(table, "up", "up",
               terminal_span((int64_t)(1000 * socket_number(now->status, "uptime_s", 0)), up));
    show_rates(table, before, now);
    show_pool(table, now->status);
    show_gauges(table, metrics);
    show_windows(table, metrics);
    show_datasets(table, now->status);
    show_transfers(table, now->status);
    (void)table_end(table, EX_OK);
    fflush(stdout);
}

/* ---- the command */

/* Until it is interrupted; a daemon that is away for a while is waited for. */
static void repaint(struct ctl *ctl, struct look *before, struct look *now)
{
    struct fault fault = { 0 };
    for (;; ctl_sleep(ctl->loop, REPAINT_MS)) {
        if (look_at(ctl, now, &fault)) {
            printf("\033[H\033[J%s\n", fault.text);
            fflush(stdout);
            continue;
        }
        if (before->status) {
            fputs("\033[H\033[J", stdout);
            paint(ctl, before, now);
        }
        struct look old = *before;
        *before = *now;
        *now = old;
    }
}

static int top_run(struct ctl *ctl)
{
    struct look before = { .status = NULL }, now = { .status = NULL };
    struct fault fault = { 0 };
    bool once = ctl->flags & CTL_ONCE || ctl->json || !isatty(STDOUT_FILENO);
    enum err err = look_at(ctl, &before, &fault);
    if (!err && !once)
        repaint(ctl, &before, &now);
    if (!err) {
        ctl_sleep(ctl->loop, REPAINT_MS);
        err = look_at(ctl, &now, &fault);
    }
    if (!err)
        paint(ctl, &before, &now);
    release(&before);
    release(&now);
    return err ? ctl_refuse(ctl, EX_UNAVAILABLE, "%s", fault.text) : EX_OK;
}
