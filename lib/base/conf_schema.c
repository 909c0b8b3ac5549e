/* SPDX-License-Identifier: Apache-2.0 */
/* The table as JSON Schema: editors complete keys and underline wrong values with it. Pure. */
#include <inttypes.h>
#include <string.h>

#include "lib/base/conf_table.h"
#include "lib/base/conf_value.h"
#include "lib/base/json.h"

/* Whatever the type, ${…} may stand for the value. */
#define REFERENCE "{\"type\":\"string\",\"pattern\":\"\\\\$\\\\{\"}"

static void write_object(const struct conf_table *table, const char *prefix, struct buf *out);

static void write_text(struct buf *out, const char *name, const char *text)
{
    buf_print(out, "\"%s\":", name);
    json_write_text(out, text, strlen(text));
}

static void write_choices(const struct conf_row *row, struct buf *out)
{
    const char *choices = row->choices, *name, *between = "";
    size_t len;
    buf_add_text(out, "{\"enum\":[");
    while (conf_choice_next(&choices, &name, &len)) {
        buf_add_text(out, between);
        json_write_text(out, name, len);
        between = ",";
    }
    buf_add_text(out, "]}");
}

/* What the type accepts; lists of alternatives are closed by the caller. */
static void write_type(const struct conf_row *row, struct buf *out)
{
    switch (row->type) {
    case CONF_TEXT:
        buf_print(out, "{\"type\":\"string\",\"minLength\":%" PRId64, row->min);
        if (row->max > 0)
            buf_print(out, ",\"maxLength\":%" PRId64, row->max);
        buf_add_char(out, '}');
        break;
    case CONF_FLAG:
        buf_add_text(out, "{\"type\":\"boolean\"}");
        break;
    case CONF_NUMBER:
        buf_print(out, "{\"type\":\"integer\",\"minimum\":%" PRId64, row->min);
        if (row->max > 0)
            buf_print(out, ",\"maximum\":%" PRId64, row->max);
        buf_add_char(out, '}');
        break;
    case CONF_SIZE:
        buf_add_text(out, "{\"type\":[\"string\",\"integer\"],"
                          "\"pattern\":\"^[0-9]+([KMGT]iB)?$\"}");
        break;
    case CONF_DURATION:
        buf_add_text(out, "{\"type\":\"string\",\"pattern\":\"^[0-9]+(ms|s|m|h|d)$\"}");
        break;
    case CONF_DATE:
        buf_add_text(out, "{\"type\":\"string\",\"pattern\":\"^[0-9]{4}-[0-9]{2}-[0-9]{2}\"}");
        if (row->choices) {
            buf_add_char(out, ',');
            write_choices(row, out);
        }
        break;
    case CONF_CHOICE:
        write_choices(row, out);
        break;
    }
}

static void write_row(const struct conf_row *row, struct buf *out)
{
    buf_add_char(out, '{');
    write_text(out, "description", row->help);
    if (row->fallback) {
        buf_add_char(out, ',');
        write_text(out, "default", row->fallback);
    }
    buf_print(out, ",\"x-reload\":%s,\"anyOf\":[", row->flags & CONF_RELOAD ? "true" : "false");
    write_type(row, out);
    buf_add_text(out, "," REFERENCE "]}");
}

/* A section, the elements of a sequence, or a key: `name` begins there. */
static void write_member(const struct conf_table *table, const struct conf_row *row,
                         const char *name, struct buf *out)
{
    size_t len = strcspn(name, ".[");
    AUTO_TEXT char *prefix = mem_print("%.*s%s", (int)(name + len - row->path), row->path,
                                       name[len] == '[' ? "[]." : ".");
    json_write_text(out, name, len);
    buf_add_char(out, ':');
    if (!name[len]) {
        write_row(row, out);
    } else if (name[len] == '[') {
        buf_add_text(out, "{\"type\":\"array\",\"items\":{");
        write_object(table, prefix, out);
        buf_add_text(out, "}}");
    } else {
        buf_add_char(out, '{');
        write_object(table, prefix, out);
        buf_add_char(out, '}');
    }
}

static void write_required(const struct conf_table *table, const char *prefix, struct buf *out)
{
    const char *between = "";
    size_t skip = strlen(prefix);
    buf_add_text(out, ",\"required\":[");
    for (size_t i = 0; i < table->rows; i++) {
        const char *path = table->row[i].path;
        if (strncmp(path, prefix, skip) != 0 || strpbrk(path + skip, ".[") ||
            !(table->row[i].flags & CONF_REQUIRED))
            continue;
        buf_add_text(out, between);
        json_write_text(out, path + skip, strlen(path + skip));
        between = ",";
    }
    buf_add_char(out, ']');
}

/* The members of an object's schema. Rows of one section stand together. */
static void write_object(const struct conf_table *table, const char *prefix, struct buf *out)
{
    const char *previous = NULL;
    size_t skip = strlen(prefix);
    buf_add_text(out, "\"type\":\"object\",\"additionalProperties\":false,\"properties\":{");
    for (size_t i = 0; i < table->rows; i++) {
        const char *name = table->row[i].path + skip;
        if (strncmp(table->row[i].path, prefix, skip) != 0)
            continue;
        size_t len = strcspn(name, ".[");
        if (previous && strcspn(previous, ".[") == len && strncmp(previous, name, len) == 0)
            continue;
        buf_add_text(out, previous ? ",\n" : "\n");
        write_member(table, &table->row[i], name, out);
        previous = name;
    }
    buf_add_char(out, '}');
    write_required(table, prefix, out);
}

void conf_schema(const struct conf_table *table, const char *title, struct buf *out)
{
    buf_add_text(out, "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",");
    write_text(out, "title", title);
    buf_add_char(out, ',');
    write_object(table, "", out);
    buf_add_text(out, "}\n");
}
