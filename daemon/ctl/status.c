/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl status: the daemon in a line, its datasets in a table. The daemon says how it is, Redis
 * what the queue holds; with either of them away the other still answers, and it is said which.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/ctl/socket.h"
#include "daemon/ctl/table.h"
#include "daemon/ctl/terminal.h"
#include "daemon/ctl/view.h"

static int status_run(struct ctl *ctl);

const struct ctl_command ctl_status = {
    .name = "status",
    .arguments = "",
    .run = status_run,
    .help =
        "      the daemon, and its datasets: state, lag, tasks, last commit; 1 = not ready\n",
};

static const struct table_column column[] = {
    { "as", "DATASET", TABLE_TEXT },
    { "state", "STATE", TABLE_TEXT },
    { "order", "ORDER", TABLE_TEXT },
    { "watermark", "WATERMARK", TABLE_TIME },
    { "lag", "LAG", TABLE_TEXT },
    { "queued", "QUEUED", TABLE_NUMBER },
    { "running", "RUNNING", TABLE_NUMBER },
    { "dead", "DEAD", TABLE_NUMBER },
    { "last_commit", "LAST COMMIT", TABLE_TIME },
    { "last_batch", "LAST BATCH", TABLE_TEXT },
};
#define COLUMNS (sizeof column / sizeof *column)

static const char *name_of(const struct ctl *ctl, const char *id)
{
    const struct dataset_settings *dataset = settings_dataset(&ctl->settings, id);
    return dataset ? dataset->as : id;
}

/* ---- the daemon */

static void show_check(struct table *table, const struct json_iter *check)
{
    const char *state = json_member_text(check->value, "state");
    const char *text = json_member_text(check->value, "text");
    if (state && strcmp(state, "ok") != 0)
        table_note(table, "  %s: %s%s%s", check->name, state, text ? ": " : "",
                   text ? text : "");
}

/* EX_OK, 1 = not ready, 69 = it does not answer. */
static int show_daemon(struct ctl *ctl, struct table *table)
{
    AUTO_JSON *status = NULL;
    struct fault fault = { 0 };
    char uptime[SPAN_SIZE];
    if (socket_status(ctl, &status, &fault)) {
        table_text(table, "daemon", "sluiced", "does not answer");
        table_text(table, "why", "why", fault.text);
        table_note(table, "What follows is from Redis alone; sluicectl doctor looks further.");
        return EX_UNAVAILABLE;
    }
    bool ready = socket_flag(status, "ready"), draining = socket_flag(status, "draining");
    table_text(table, "daemon", "sluiced",
               draining ? "draining"
               : ready  ? "ready"
                        : "not ready");
    table_text(table, "version", "version", json_member_text(status, "version"));
    table_text(table, "uptime", "up since",
               terminal_span((int64_t)(1000 * socket_number(status, "uptime_s", 0)), uptime));
    for (struct json_iter it = json_iter(json_member(status, "checks")); json_iter_next(&it);)
        show_check(table, &it);
    return ready ? EX_OK : 1;
}

/* ---- the queue */

static void show_row(const struct ctl *ctl, struct table *table,
                     const struct view_dataset *dataset)
{
    char lag[SPAN_SIZE];
    const struct table_cell cell[COLUMNS] = {
        { .text = name_of(ctl, dataset->id) },
        { .text = view_state(dataset) },
        { .text = dataset->order },
        { .number = dataset->watermark_ms },
        { .text = dataset->lag_ms < 0 ? NULL : terminal_span(dataset->lag_ms, lag) },
        { .number = dataset->queued },
        { .number = dataset->running },
        { .number = dataset->dead },
        { .number = dataset->commit_ms },
        { .text = dataset->committed },
    };
    table_row(table, cell);
}

static void show_queue(const struct ctl *ctl, struct table *table, const struct view *view)
{
    table_number(table, "daemons", "daemons", view->daemons);
    table_number(table, "delayed", "tasks waiting", view->delayed);
    table_number(table, "dead", "dead letters", view->dead);
    table_number(table, "inbox", "inbox", view->inbox);
    table_number(table, "rejected", "inbox refused", view->rejected);
    table_list(table, "datasets", "", column, COLUMNS);
    for (size_t i = 0; i < view->datasets; i++)
        show_row(ctl, table, &view->dataset[i]);
    table_list_end(table);
    if (view->dead > 0)
        table_note(
            table,
            "\nnext step: sluicectl jobs; redis-cli ZRANGE %sdead 0 9 REV names the dead, "
            "sluicectl trace says why",
            ctl->settings.redis.prefix);
}

static int status_run(struct ctl *ctl)
{
    struct inquiry inquiry;
    struct view view = { 0 };
    struct fault fault = { 0 };
    struct table *table = table_new(ctl);
    int code = show_daemon(ctl, table);
    enum err err = inquiry_init(&inquiry, ctl, &fault);
    if (!err)
        err = view_read(&inquiry, &view, &fault);
    inquiry_release(&inquiry);
    if (err)
        code = inquiry_refuse(ctl, &fault);
    else
        show_queue(ctl, table, &view);
    view_release(&view);
    return table_end(table, code);
}
