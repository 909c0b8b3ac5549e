/* SPDX-License-Identifier: Apache-2.0 */
/* The forms of a line of log. */
#include "lib/base/log_line.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int priority;
} level_row[] = {
    [LOG_DEBUG] = { "debug", 7 },
    [LOG_INFO] = { "info", 6 },
    [LOG_WARN] = { "warn", 4 },
    [LOG_ERROR] = { "error", 3 },
};

void log_event_name(const char *format, char name[LOG_EVENT_SIZE])
{
    size_t used = 0;
    while (*format && used < LOG_EVENT_SIZE - 1) {
        size_t len = strcspn(format, " ");
        if (memchr(format, '%', len) || memchr(format, '=', len) ||
            used + 1 + len >= LOG_EVENT_SIZE)
            break;
        if (used)
            name[used++] = ' ';
        memcpy(name + used, format, len);
        used += len;
        format += len + (format[len] == ' ');
    }
    while (used > 0 && strchr(",;:", name[used - 1]))
        used--;
    name[used] = 0;
}

/* A form under construction: full, it takes no more. */
struct form {
    char *out;
    size_t used, room;
};

static void add_char(struct form *form, char c)
{
    if (form->used < form->room)
        form->out[form->used++] = c;
}

static void add_text(struct form *form, const char *text)
{
    while (*text)
        add_char(form, *text++);
}

size_t log_form_text(const struct log_line *line, char out[LOG_FORM_SIZE])
{
    char at[WALL_TEXT_SIZE], trace[32] = "";
    if (line->subject.trace[0])
        snprintf(trace, sizeof trace, " trace=%s", line->subject.trace);
    struct form form = { out, 0, LOG_LINE_SIZE - 1 - strlen(trace) };
    const char *name = level_row[line->level].name;
    add_text(&form, wall_text(line->at, at));
    add_char(&form, ' ');
    add_text(&form, name);
    for (size_t len = strlen(name); len < 6; len++)
        add_char(&form, ' ');
    add_text(&form, line->object);
    add_char(&form, ' ');
    add_text(&form, line->message);
    form.room = LOG_LINE_SIZE;
    add_text(&form, trace);
    add_char(&form, '\n');
    return form.used;
}

static void add_quoted(struct form *form, const char *text)
{
    for (; *text && form->used + 2 < form->room; text++) {
        if (*text == '"' || *text == '\\')
            add_char(form, '\\');
        add_char(form, *text);
    }
}

static void add_member(struct form *form, const char *name, const char *text)
{
    if (!*text)
        return;
    add_text(form, form->used ? ",\"" : "{\"");
    add_text(form, name);
    add_text(form, "\":\"");
    add_quoted(form, text);
    add_char(form, '"');
}

size_t log_form_json(const struct log_line *line, char out[LOG_FORM_SIZE])
{
    char at[WALL_TEXT_SIZE];
    struct form form = { out, 0, LOG_FORM_SIZE - 4 };
    add_member(&form, "time", wall_text(line->at, at));
    add_member(&form, "level", level_row[line->level].name);
    add_member(&form, "object", line->object);
    add_member(&form, "event", line->event);
    add_member(&form, "dataset", line->subject.dataset);
    add_member(&form, "batch", line->subject.batch);
    add_member(&form, "trace", line->subject.trace);
    add_text(&form, ",\"message\":\"");
    add_quoted(&form, line->message);
    form.room = LOG_FORM_SIZE;
    add_text(&form, "\"}\n");
    return form.used;
}

static void add_field(struct form *form, const char *name, const char *text)
{
    if (!*text)
        return;
    add_text(form, name);
    add_char(form, '=');
    add_text(form, text);
    add_char(form, '\n');
}

size_t log_form_journal(const struct log_line *line, char out[LOG_FORM_SIZE])
{
    char priority[] = { (char)('0' + level_row[line->level].priority), 0 };
    struct form form = { out, 0, LOG_FORM_SIZE - 1 };
    add_field(&form, "PRIORITY", priority);
    add_field(&form, "SYSLOG_IDENTIFIER", "sluiced");
    add_field(&form, "SLUICE_OBJECT", line->object);
    add_field(&form, "SLUICE_EVENT", line->event);
    add_field(&form, "SLUICE_DATASET", line->subject.dataset);
    add_field(&form, "SLUICE_BATCH", line->subject.batch);
    add_field(&form, "SLUICE_TRACE", line->subject.trace);
    add_text(&form, "MESSAGE=");
    add_text(&form, line->object);
    add_char(&form, ' ');
    add_text(&form, line->message);
    form.room = LOG_FORM_SIZE;
    add_char(&form, '\n');
    return form.used;
}
