/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl check: a plugin for Nagios, Icinga and all that take its form: one line, what is to be
 * drawn behind a bar, and the exit status 0 ok, 1 warning, 2 critical, 3 unknown. All from the
 * health socket.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/ctl/socket.h"
#include "daemon/ctl/terminal.h"
#include "lib/base/encode.h"

#define LINE_SIZE 8192

enum level { LEVEL_OK, LEVEL_WARNING, LEVEL_CRITICAL, LEVEL_UNKNOWN };

struct check {
    struct ctl *ctl;
    enum level level;
    int64_t warn_ms, crit_ms; /* 0 = none was given */
    struct buf text, data;    /* before and behind the bar */
};

static int check_run(struct ctl *ctl);

const struct ctl_command ctl_check = {
    .name = "check",
    .arguments = "[--warn-lag SPAN] [--crit-lag SPAN]",
    .flags = CTL_WARN_LAG | CTL_CRIT_LAG,
    .run = check_run,
    .bad_config = LEVEL_UNKNOWN,
    .help = "      for Nagios: one line with figures; 0 ok, 1 warning, 2 critical, 3 unknown\n",
};

/* The worst counts; that something is unknown is less than a warning. */
static void raise(struct check *check, enum level level)
{
    static const int weight[] = {
        [LEVEL_OK] = 0, [LEVEL_UNKNOWN] = 1, [LEVEL_WARNING] = 2, [LEVEL_CRITICAL] = 3
    };
    if (weight[level] > weight[check->level])
        check->level = level;
}

static void add(struct check *check, const char *what, const char *how)
{
    buf_print(&check->text, "%s%s%s%s", check->text.len ? "; " : "", what, how ? " " : "",
              how ? how : "");
}

/* ---- what is looked at */

static void look_at_ready(struct check *check, const struct json_t *status)
{
    if (socket_flag(status, "ready")) {
        add(check, "ready", NULL);
        return;
    }
    bool draining = socket_flag(status, "draining");
    raise(check, draining ? LEVEL_WARNING : LEVEL_CRITICAL);
    add(check, draining ? "draining" : "not ready", NULL);
    for (struct json_iter it = json_iter(json_member(status, "checks")); json_iter_next(&it);) {
        const char *state = json_member_text(it.value, "state");
        if (state && strcmp(state, "ok") != 0)
            add(check, it.name, state);
    }
}

static void put_limit(struct check *check, int64_t ms)
{
    buf_add_char(&check->data, ';');
    if (ms > 0)
        buf_print(&check->data, "%" PRId64, ms / 1000);
}

/* How late a dataset is. Where that is not told, nothing can be promised. */
static void look_at_lag(struct check *check, const struct json_t *dataset)
{
    char span[SPAN_SIZE];
    const char *name = json_member_text(dataset, "as");
    double lag_s = socket_number(dataset, "lag_s", -1);
    int64_t lag_ms = (int64_t)(lag_s * 1000);
    bool wanted = check->warn_ms || check->crit_ms;
    if (lag_s < 0) {
        if (wanted)
            raise(check, LEVEL_UNKNOWN);
        add(check, name ? name : "?", wanted ? "lag unknown" : NULL);
        return;
    }
    if (check->crit_ms && lag_ms > check->crit_ms)
        raise(check, LEVEL_CRITICAL);
    else if (check->warn_ms && lag_ms > check->warn_ms)
        raise(check, LEVEL_WARNING);
    add(check, name ? name : "?", terminal_span(lag_ms, span));
    buf_print(&check->data, " '%s_lag'=%" PRId64 "s", name ? name : "?", lag_ms / 1000);
    put_limit(check, check->warn_ms);
    put_limit(check, check->crit_ms);
}

/* In the queue now, where the daemon tells; an operator has to look at them. */
static void look_at_dead(struct check *check, const struct json_t *status)
{
    double dead = socket_number(json_member(status, "queue"), "dead", -1);
    if (dead > 0) {
        char count[32];
        snprintf(count, sizeof count, "%.0f", dead);
        raise(check, LEVEL_WARNING);
        add(check, count, "dead letters");
    }
    if (dead >= 0)
        buf_print(&check->data, " dead=%.0f;0", dead);
}

static void look_at_counts(struct check *check, const struct json_t *status)
{
    static const struct {
        const char *member, *name, *unit;
    } row[] = { { "batches_committed", "committed", "c" },
                { "files_stored", "files", "c" },
                { "bytes_stored", "bytes", "B" },
                { "dead_letters", "given_up", "c" },
                { "uptime_s", "uptime", "s" } };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        double number = socket_number(status, row[i].member, -1);
        if (number >= 0)
            buf_print(&check->data, " %s=%.0f%s", row[i].name, number, row[i].unit);
    }
}

/* ---- the line */

static int end(struct check *check)
{
    static const char *const name[] = { "OK", "WARNING", "CRITICAL", "UNKNOWN" };
    AUTO_BUF out = BUF_INIT(2 * LINE_SIZE);
    int code = (int)check->level;
    if (check->ctl->json) {
        buf_print(&out, "{\"command\":\"check\",\"level\":\"%s\",\"text\":", name[code]);
        json_write_text(&out, buf_text(&check->text), check->text.len);
        buf_add_text(&out, ",\"figures\":");
        json_write_text(&out, buf_text(&check->data), check->data.len);
        buf_print(&out, ",\"exit\":%d}", code);
    } else {
        buf_print(&out, "%s - %s", name[code], buf_text(&check->text));
        if (check->data.len)
            buf_print(&out, " |%s", buf_text(&check->data));
    }
    puts(buf_text(&out));
    buf_release(&check->text);
    buf_release(&check->data);
    return code;
}

static bool read_limit(struct check *check, const char *option, const char *text, int64_t *ret)
{
    if (!text || (parse_duration(text, ret) == OK && *ret > 0))
        return true;
    raise(check, LEVEL_UNKNOWN);
    add(check, option, "wants a span like 30m or 2h");
    return false;
}

static int check_run(struct ctl *ctl)
{
    struct check check = { .ctl = ctl,
                           .text = BUF_INIT(LINE_SIZE),
                           .data = BUF_INIT(LINE_SIZE) };
    AUTO_JSON *status = NULL;
    struct fault fault = { 0 };
    if (!read_limit(&check, "--warn-lag", ctl->warn_lag, &check.warn_ms) ||
        !read_limit(&check, "--crit-lag", ctl->crit_lag, &check.crit_ms))
        return end(&check);
    enum err err = socket_status(ctl, &status, &fault);
    if (err) {
        raise(&check, LEVEL_CRITICAL);
        add(&check, fault.text, NULL);
        return end(&check);
    }
    const struct json_t *datasets = json_member(status, "datasets");
    look_at_ready(&check, status);
    for (size_t i = 0; i < json_count(datasets); i++)
        look_at_lag(&check, json_element(datasets, i));
    look_at_dead(&check, status);
    look_at_counts(&check, status);
    return end(&check);
}
