/* SPDX-License-Identifier: Apache-2.0 */
/* What Redis remembers of a batch: its task, its files, its lines in the log of events. */
#include "daemon/ctl/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES_MAX   1000 /* shown */
#define EVENTS_PAGE "1000"
#define EVENTS_MAX  200 /* shown */

static const char *prefix_of(const struct trace *trace)
{
    return trace->ctl->settings.redis.prefix;
}

char *trace_field(const struct trace *trace, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = trace->shown; *line; line += *line == '\n') {
        size_t line_len = strcspn(line, "\n");
        if (strncmp(line, name, len) == 0 && line[len] == ' ')
            return mem_copy_bytes(line + len + 1, line_len - len - 1);
        line += line_len;
    }
    return mem_copy_text("");
}

int64_t trace_number(const struct trace *trace, const char *name)
{
    AUTO_TEXT char *text = trace_field(trace, name);
    return strtoll(text, NULL, 10);
}

/* ---- the task */

void trace_show_task(struct trace *trace)
{
    static const struct {
        const char *field, *name, *label; /* in Redis; in JSON; for people */
        bool time;
    } row[] = {
        { "dataset", "dataset", "dataset", false },
        { "status", "status", "status", false },
        { "phase", "phase", "phase", false },
        { "lane", "lane", "lane", false },
        { "place", "place", "place", false },
        { "order", "created", "created", true },
        { "created_at", "found", "found", true },
        { "updated_at", "changed", "last change", true },
        { "attempts", "attempts", "attempts", false },
        { "owner", "owner", "owner", false },
        { "status_aep", "status_aep", "status in AEP", false },
        { "error", "error", "error", false },
        { "class", "class", "class", false },
        { "result", "result", "result", false },
        { "files", "files_committed", "files committed", false },
        { "up", "wanted_by", "wanted by", false },
    };
    table_text(trace->table, "task", "task", trace->id);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        AUTO_TEXT char *text = trace_field(trace, row[i].field);
        if (row[i].time)
            table_time(trace->table, row[i].name, row[i].label, strtoll(text, NULL, 10));
        else
            table_text(trace->table, row[i].name, row[i].label, *text ? text : NULL);
    }
}

/* ---- its files */

static enum err show_file(struct trace *trace, const char *id, struct fault *fault)
{
    enum { NAME, STATUS, OFFSET, LENGTH, ATTEMPTS, OWNER, WHY };
    AUTO_TEXTS field = { 0 };
    AUTO_TEXT char *key = mem_print("%st:%s", prefix_of(trace), id);
    const char *word[] = { "HMGET",  key,        "name",  "status", "offset",
                           "length", "attempts", "owner", "error" };
    enum err err = inquiry_texts(&trace->inquiry, 9, word, &field, fault);
    const char *name = inquiry_text_at(&field, NAME), *why = inquiry_text_at(&field, WHY);
    const char *owner = inquiry_text_at(&field, OWNER);
    bool counted = *inquiry_text_at(&field, ATTEMPTS);
    const struct table_cell cell[] = {
        { .text = *name ? name : id },
        { .text = inquiry_text_at(&field, STATUS) },
        { .number = inquiry_number_at(&field, OFFSET) },
        { .number = inquiry_number_at(&field, LENGTH) },
        { .number = counted ? inquiry_number_at(&field, ATTEMPTS) : -1 },
        { .text = *why     ? why
                  : *owner ? owner
                           : NULL },
    };
    if (!err)
        table_row(trace->table, cell);
    return err;
}

static enum err show_members(struct trace *trace, const char *command, const char *index,
                             size_t *shown, struct fault *fault)
{
    AUTO_TEXTS member = { 0 };
    AUTO_TEXT char *key = mem_print("%s%s:%s", prefix_of(trace), index, trace->id);
    enum err err = inquiry_texts(&trace->inquiry, 2, (const char *const[]){ command, key },
                                 &member, fault);
    for (size_t i = 0; !err && i < member.count && *shown < FILES_MAX; i++, (*shown)++)
        err = show_file(trace, member.text[i], fault);
    if (!err && *shown == FILES_MAX)
        ctl_refuse(trace->ctl, EX_OK, "only the first %d files are shown", FILES_MAX);
    return err;
}

enum err trace_show_files(struct trace *trace, struct fault *fault)
{
    static const struct table_column column[] = {
        { "name", "FILE", TABLE_TEXT },        { "status", "STATUS", TABLE_TEXT },
        { "offset", "OFFSET", TABLE_NUMBER },  { "length", "LENGTH", TABLE_NUMBER },
        { "attempts", "TRIES", TABLE_NUMBER }, { "note", "ERROR OR OWNER", TABLE_TEXT },
    };
    size_t shown = 0;
    table_list(trace->table, "files", "", column, sizeof column / sizeof *column);
    enum err err = show_members(trace, "SMEMBERS", "open", &shown, fault);
    if (!err)
        err = show_members(trace, "HKEYS", "rows", &shown, fault);
    table_list_end(trace->table);
    return err;
}

/* ---- its events: entries of the stream come as id, "t", task, "e", event, "w", who */

#define ENTRY 7

struct event {
    char *at, *task, *event, *who;
};

struct events {
    struct event event[EVENTS_MAX]; /* the newest first */
    size_t count;
};

/* Of the batch, or of one of its files: f/<dataset>/[<generation>/]<batch>/… */
static bool is_ours(const struct trace *trace, const char *task)
{
    size_t len = strlen(trace->id);
    if (strcmp(task, trace->id) == 0)
        return true;
    return trace->id[0] == 'b' && task[0] == 'f' &&
           strncmp(task + 1, trace->id + 1, len - 1) == 0 && task[len] == '/';
}

static void keep(const struct trace *trace, const struct inquiry_texts *page,
                 struct events *events)
{
    for (size_t i = 0; i + ENTRY <= page->count && events->count < EVENTS_MAX; i += ENTRY)
        if (is_ours(trace, page->text[i + 2]))
            events->event[events->count++] =
                (struct event){ mem_copy_text(page->text[i]), mem_copy_text(page->text[i + 2]),
                                mem_copy_text(page->text[i + 4]),
                                mem_copy_text(page->text[i + 6]) };
}

static enum err find_events(struct trace *trace, struct events *events, struct fault *fault)
{
    AUTO_TEXT char *key = mem_print("%sevents", prefix_of(trace));
    AUTO_TEXT char *from = mem_copy_text("+");
    for (size_t got = ENTRY; got >= ENTRY && events->count < EVENTS_MAX;) {
        AUTO_TEXTS page = { 0 };
        const char *word[] = { "XREVRANGE", key, from, "-", "COUNT", EVENTS_PAGE };
        enum err err = inquiry_texts(&trace->inquiry, 6, word, &page, fault);
        if (err)
            return err;
        keep(trace, &page, events);
        got = page.count;
        mem_free(from);
        from = mem_print("(%s", got >= ENTRY ? page.text[got - ENTRY] : "0-1");
    }
    return OK;
}

enum err trace_show_events(struct trace *trace, struct fault *fault)
{
    static const struct table_column column[] = { { "at", "AT", TABLE_TIME },
                                                  { "event", "EVENT", TABLE_TEXT },
                                                  { "task", "TASK", TABLE_TEXT },
                                                  { "who", "BY, OR WHY", TABLE_TEXT } };
    struct events *events = mem_alloc(sizeof *events);
    enum err err = find_events(trace, events, fault);
    table_list(trace->table, "events", "", column, sizeof column / sizeof *column);
    for (size_t i = events->count; i-- > 0;) {
        struct event *event = &events->event[i];
        const struct table_cell cell[] = { { .number = strtoll(event->at, NULL, 10) },
                                           { .text = event->event },
                                           { .text = event->task },
                                           { .text = *event->who ? event->who : NULL } };
        table_row(trace->table, cell);
        mem_free(event->at);
        mem_free(event->task);
        mem_free(event->event);
        mem_free(event->who);
    }
    table_list_end(trace->table);
    mem_free(events);
    return err;
}
