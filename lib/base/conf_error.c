/* SPDX-License-Identifier: Apache-2.0 */
/* Errors about places in configuration files, and how they are shown. Pure. */
#include "lib/base/conf_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX  200 /* characters of a source line in a message */
#define ERRORS_MAX 50  /* messages: who made more mistakes is helped by the first ones too */

static void print_source(struct conf_place place, bool hide, struct buf *out);

void conf_error_add(struct conf_errors *errors, struct conf_place place, bool hide,
                    const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    text_sanitize(text);
    if (errors->count == errors->size) {
        errors->size = errors->size ? errors->size * 2 : 8;
        errors->error = mem_grow(errors->error, errors->size, sizeof *errors->error);
    }
    errors->error[errors->count] = (struct conf_error){
        .place = place, .order = errors->count, .hide = hide, .text = mem_copy_text(text)
    };
    errors->count++;
}

void conf_errors_release(struct conf_errors *errors)
{
    for (size_t i = 0; i < errors->count; i++)
        mem_free(errors->error[i].text);
    mem_free(errors->error);
    *errors = (struct conf_errors){ 0 };
}

static int compare(size_t a, size_t b)
{
    return (a > b) - (a < b);
}

static int by_place(const void *left, const void *right)
{
    const struct conf_error *a = left, *b = right;
    if (a->place.source != b->place.source)
        return compare(a->place.source->order, b->place.source->order);
    if (a->place.line != b->place.line)
        return compare(a->place.line, b->place.line);
    if (a->place.column != b->place.column)
        return compare(a->place.column, b->place.column);
    return compare(a->order, b->order);
}

/* One error with a secret near by hides the line for its other errors too. */
static bool hides_line(const struct conf_errors *errors, struct conf_place place)
{
    for (size_t i = 0; i < errors->count; i++)
        if (errors->error[i].hide && errors->error[i].place.source == place.source &&
            errors->error[i].place.line == place.line)
            return true;
    return false;
}

void conf_errors_print(struct conf_errors *errors, struct buf *out)
{
    if (errors->count)
        qsort(errors->error, errors->count, sizeof *errors->error, by_place);
    for (size_t i = 0; i < errors->count && i < ERRORS_MAX; i++) {
        const struct conf_error *error = &errors->error[i];
        const struct conf_place place = error->place;
        if (place.line > 0)
            buf_print(out, "%s:%zu:%zu: error: %s\n", place.source->name, place.line,
                      place.column, error->text);
        else
            buf_print(out, "%s: error: %s\n", place.source->name, error->text);
        print_source(place, hides_line(errors, place), out);
    }
    if (errors->count > ERRORS_MAX)
        buf_print(out, "%s: error: %zu more errors\n", errors->error[0].place.source->name,
                  errors->count - ERRORS_MAX);
}

static const char *find_line(const char *text, const char *end, size_t line)
{
    for (; line > 1 && text; line--) {
        text = memchr(text, '\n', (size_t)(end - text));
        text = text ? text + 1 : NULL;
    }
    return text;
}

/*
 * One character of output for each character of the line, so that the caret stands right; those
 * outside first..last become blanks. Returns how many there are.
 */
static size_t print_line(const char *at, const char *end, size_t first, size_t last,
                         struct buf *out)
{
    size_t column = 0;
    for (; at < end && *at != '\n' && *at != '\r' && column < last; at++) {
        unsigned char c = (unsigned char)*at;
        if ((c & 0xc0) == 0x80)
            continue; /* the rest of a UTF-8 character */
        bool blank = ++column < first || c == '\t';
        buf_add_char(out, blank ? ' ' : c < 0x20 || c >= 0x7f ? '?' : (char)c);
    }
    return column;
}

static void print_source(struct conf_place place, bool hide, struct buf *out)
{
    const char *text = place.source->text, *end = text + place.source->len;
    const char *line = place.line ? find_line(text, end, place.line) : NULL;
    if (!line || line == end || place.column > SHOWN_MAX)
        return;
    size_t first = hide ? place.column : 1;
    size_t last = hide ? place.column + place.width - 1 : SHOWN_MAX;
    buf_print(out, "%5zu | ", place.line);
    size_t shown = print_line(line, end, first, last, out);
    buf_print(out, "\n      | %*s^", (int)place.column - 1, "");
    for (size_t i = 1; i < place.width && place.column + i <= shown; i++)
        buf_add_char(out, '~');
    buf_add_char(out, '\n');
}
