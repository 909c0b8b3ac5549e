/* SPDX-License-Identifier: Apache-2.0 */
/* Values and rows, as text or as JSON. */
#include "daemon/ctl/table.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LABEL_WIDTH 16
#define PAD_MAX     100 /* one long cell does not push all others away */
#define VALUE_MAX   (4 * 1024 * 1024)

static void put_json_cell(const struct table_column *column, const struct table_cell *cell);
static void flush_block(struct table *table);

struct table *table_new(const struct ctl *ctl)
{
    struct table *table = mem_alloc(sizeof *table);
    table->command = ctl->command;
    table->json = ctl->json;
    return table;
}

/* ---- text */

/* U+0080..U+009F are control characters, too. */
char *table_printable(const char *text)
{
    AUTO_BUF out = BUF_INIT(VALUE_MAX);
    const uint8_t *bytes = (const uint8_t *)text;
    for (size_t left = strlen(text), step; left > 0; bytes += step, left -= step) {
        size_t valid = utf8_length(bytes, left);
        bool control = bytes[0] < 0x20 || bytes[0] == 0x7f ||
                       (bytes[0] == 0xc2 && valid == 2 && bytes[1] < 0xa0);
        step = valid ? valid : 1;
        if (valid && !control)
            buf_add(&out, bytes, valid);
        else
            buf_add_char(&out, '?');
    }
    return buf_take(&out);
}

/* Characters, not bytes. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static bool is_said(enum table_kind kind, const struct table_cell *cell)
{
    if (kind == TABLE_TEXT)
        return cell->text;
    return kind == TABLE_NUMBER ? cell->number >= 0 : cell->number > 0;
}

static char *shown(enum table_kind kind, const struct table_cell *cell)
{
    char time[WALL_TEXT_SIZE];
    if (!is_said(kind, cell))
        return mem_copy_text("-");
    if (kind == TABLE_TEXT)
        return table_printable(cell->text);
    if (kind == TABLE_NUMBER)
        return mem_print("%" PRId64, cell->number);
    return mem_copy_text(wall_text((struct wall){ cell->number }, time));
}

static void put_json_text(const char *text)
{
    AUTO_BUF out = BUF_INIT(VALUE_MAX);
    json_write_text(&out, text, strlen(text));
    fputs(out.overflow ? "null" : buf_text(&out), stdout);
}

/* ---- named values */

static void open_document(struct table *table)
{
    if (!table->opened && table->json)
        printf("{\"command\":\"%s\"", table->command);
    table->opened = true;
}

static void put_value(struct table *table, const char *name, const char *label,
                      enum table_kind kind, const struct table_cell *cell)
{
    open_document(table);
    if (table->json) {
        printf(",\n\"%s\":", name);
        put_json_cell(&(struct table_column){ name, label, kind }, cell);
        return;
    }
    if (!is_said(kind, cell))
        return;
    AUTO_TEXT char *text = shown(kind, cell);
    printf("%-*s  %s\n", LABEL_WIDTH, label, text);
}

void table_text(struct table *table, const char *name, const char *label, const char *text)
{
    put_value(table, name, label, TABLE_TEXT, &(struct table_cell){ .text = text });
}

void table_number(struct table *table, const char *name, const char *label, int64_t number)
{
    put_value(table, name, label, TABLE_NUMBER, &(struct table_cell){ .number = number });
}

void table_time(struct table *table, const char *name, const char *label, int64_t ms)
{
    put_value(table, name, label, TABLE_TIME, &(struct table_cell){ .number = ms });
}

void table_note(struct table *table, const char *format, ...)
{
    va_list args;
    if (table->json)
        return;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

/* ---- lists */

void table_list(struct table *table, const char *name, const char *title,
                const struct table_column *column, size_t columns)
{
    open_document(table);
    table->column = column;
    table->columns = columns;
    table->rows = table->total = 0;
    table->headed = table->filled = false;
    memset(table->width, 0, sizeof table->width);
    if (table->json)
        printf(",\n\"%s\":[", name);
    else if (title)
        printf("\n%s%s", title, title[0] ? "\n" : "");
}

static void put_json_cell(const struct table_column *column, const struct table_cell *cell)
{
    char time[WALL_TEXT_SIZE];
    if (!is_said(column->kind, cell))
        fputs("null", stdout);
    else if (column->kind == TABLE_TEXT)
        put_json_text(cell->text);
    else if (column->kind == TABLE_NUMBER)
        printf("%" PRId64, cell->number);
    else
        printf("\"%s\"", wall_text((struct wall){ cell->number }, time));
}

static void begin_json_row(struct table *table)
{
    fputs(table->filled ? ",\n" : "\n", stdout);
    table->filled = true;
    table->total++;
}

void table_row(struct table *table, const struct table_cell *cell)
{
    if (table->json) {
        begin_json_row(table);
        for (size_t i = 0; i < table->columns; i++) {
            printf("%s\"%s\":", i ? "," : "{", table->column[i].name);
            put_json_cell(&table->column[i], &cell[i]);
        }
        putchar('}');
        return;
    }
    for (size_t i = 0; i < table->columns; i++) {
        char *text = shown(table->column[i].kind, &cell[i]);
        size_t width = width_of(text);
        table->cell[table->rows][i] = text;
        if (width > table->width[i])
            table->width[i] = width > PAD_MAX ? PAD_MAX : width;
    }
    table->total++;
    if (++table->rows == TABLE_BLOCK)
        flush_block(table);
}

void table_raw(struct table *table, const struct json_t *value, const char *text)
{
    AUTO_BUF out = BUF_INIT(VALUE_MAX);
    if (!table->json) {
        AUTO_TEXT char *plain = table_printable(text);
        puts(plain);
        table->total++;
        return;
    }
    begin_json_row(table);
    json_write(&out, value);
    fputs(out.overflow ? "null" : buf_text(&out), stdout);
}

static void put_padded(const struct table *table, size_t column, const char *text)
{
    size_t width = width_of(text), want = table->width[column];
    int gap = want > width ? (int)(want - width) : 0;
    bool right = table->column[column].kind == TABLE_NUMBER;
    bool last = column + 1 == table->columns;
    printf("%*s%s%*s%s", right ? gap : 0, "", text, right || last ? 0 : gap, "",
           last ? "\n" : "  ");
}

static void put_head(struct table *table)
{
    for (size_t i = 0; i < table->columns; i++)
        if (width_of(table->column[i].head) > table->width[i])
            table->width[i] = width_of(table->column[i].head);
    for (size_t i = 0; i < table->columns; i++)
        put_padded(table, i, table->column[i].head);
    table->headed = true;
}

static void flush_block(struct table *table)
{
    if (table->rows > 0 && !table->headed)
        put_head(table);
    for (size_t row = 0; row < table->rows; row++)
        for (size_t i = 0; i < table->columns; i++) {
            put_padded(table, i, table->cell[row][i]);
            mem_free(table->cell[row][i]);
        }
    table->rows = 0;
    fflush(stdout);
}

void table_list_end(struct table *table)
{
    flush_block(table);
    if (table->json)
        putchar(']');
    table->columns = 0;
}

int table_end(struct table *table, int code)
{
    if (table->columns > 0)
        table_list_end(table);
    open_document(table);
    if (table->json)
        printf(",\n\"exit\":%d}\n", code);
    mem_free(table);
    return code;
}
