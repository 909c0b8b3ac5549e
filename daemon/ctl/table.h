/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a command that looks something up prints: named values, then lists of rows. For people as
 * "label  value" and tables with numbers to the right, for programs as one JSON document:
 *
 *   {"command":…,"id":…,"created":…,"errors":[{"code":…},…],…,"exit":0}
 *
 * Rows are printed as they come, in blocks of TABLE_BLOCK whose columns share their widths, so
 * that a list of any length takes the memory of one block. Foreign text may hold anything: what
 * a terminal would obey is replaced.
 */
#ifndef SLUICE_DAEMON_CTL_TABLE_H
#define SLUICE_DAEMON_CTL_TABLE_H

#include "daemon/ctl/ctl.h"
#include "lib/base/json.h"

#define TABLE_COLUMNS 10
#define TABLE_BLOCK   100

enum table_kind { TABLE_TEXT, TABLE_NUMBER, TABLE_TIME }; /* times are ms since 1970 */

struct table_column {
    const char *name, *head; /* in JSON; for people */
    enum table_kind kind;
};

/* One value: NULL, a negative number and the time 0 are "not said" ("-", null). */
struct table_cell {
    const char *text;
    int64_t number;
};

struct table {
    const char *command;
    bool json, opened;
    bool filled; /* JSON: the open list has a row already */
    const struct table_column *column;
    size_t columns, rows; /* rows in the block */
    size_t total;         /* rows of the list so far */
    bool headed;
    size_t width[TABLE_COLUMNS];
    char *cell[TABLE_BLOCK][TABLE_COLUMNS];
};
struct table *table_new(const struct ctl *ctl);

/* Named values, outside of lists. For people what is not said has no line. */
void table_text(struct table *table, const char *name, const char *label, const char *text);
void table_number(struct table *table, const char *name, const char *label, int64_t number);
void table_time(struct table *table, const char *name, const char *label, int64_t ms);
/* A sentence for people alone; JSON has it in the values. */
void table_note(struct table *table, const char *format, ...) PRINTF(2, 3);

/* A list. `title`: a line above it, for people; "" = an empty one, NULL = none. */
void table_list(struct table *table, const char *name, const char *title,
                const struct table_column *column, size_t columns);
void table_row(struct table *table, const struct table_cell *cell);
/* A row of a list without columns: the value as it is for JSON, `text` for people. */
void table_raw(struct table *table, const struct json_t *value, const char *text);
void table_list_end(struct table *table);

/* Ends the document, which has at least the command and "exit"; frees the table; returns `code`. */
int table_end(struct table *table, int code);

/* Text as a terminal may get it: control bytes and what is no UTF-8 become '?'. */
char *table_printable(const char *text);

#endif
