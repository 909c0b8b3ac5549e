/* SPDX-License-Identifier: Apache-2.0 */
/* Settings as YAML again, with what each key is for or where its value comes from. Pure. */
#include <string.h>

#include "lib/base/conf_table.h"
#include "lib/base/conf_value.h"
#include "lib/base/json.h"

/* --- the table --- */

/* The sequence whose elements the row fills; NULL = the settings themselves. */
const struct conf_sequence *conf_sequence_of(const struct conf_table *table,
                                             const struct conf_row *row)
{
    for (size_t i = 0; i < table->sequences; i++) {
        size_t len = strlen(table->sequence[i].name);
        if (strncmp(row->path, table->sequence[i].name, len) == 0 &&
            strncmp(row->path + len, "[].", 3) == 0)
            return &table->sequence[i];
    }
    return NULL;
}

const char *conf_path_in_scope(const struct conf_row *row, const struct conf_sequence *sequence)
{
    return sequence ? row->path + strlen(sequence->name) + strlen("[].") : row->path;
}

void **conf_items(const struct conf_sequence *sequence, void *settings)
{
    return (void **)(void *)((char *)settings + sequence->items_offset);
}

size_t *conf_count(const struct conf_sequence *sequence, void *settings)
{
    return (size_t *)(void *)((char *)settings + sequence->count_offset);
}
/* --- print --- */

/* Opens the sections of `path` in which `previous` does not lie; returns the leaf's indent. */
static int print_headings(const char *previous, const char *path, int indent, struct buf *out)
{
    bool open = true;
    for (const char *at = path, *dot; (dot = strchr(at, '.')); at = dot + 1, indent += 2) {
        open = open && strncmp(previous, path, (size_t)(dot + 1 - path)) == 0;
        if (!open)
            buf_print(out, "%*s%.*s:\n", indent, "", (int)(dot - at), at);
    }
    return indent;
}

/* What is shown of it, and how. */
struct view {
    const struct conf_table *table;
    const struct conf *conf; /* NULL: origins are not known */
    unsigned flags;
    struct buf *out;
};

void conf_origin(const struct conf *conf, const struct conf_row *row, const void *base,
                 size_t item, struct buf *out)
{
    const struct conf_node *node = conf_find(conf, row->path, item);
    AUTO_BUF value = BUF_INIT(SIZE_MAX), fallback = BUF_INIT(SIZE_MAX);
    if (node && node->kind != CONF_EMPTY) {
        buf_print(out, "%s:%zu", node->name_at.source->name, node->name_at.line);
        return;
    }
    if (!conf_value_absent(row, base))
        conf_value_print(row, base, &value);
    if (row->fallback && row->type == CONF_TEXT)
        conf_quote(row->fallback, &fallback);
    else if (row->fallback)
        buf_add_text(&fallback, row->fallback);
    bool same = strcmp(buf_text(&value), buf_text(&fallback)) == 0;
    buf_add_text(out, same ? "default" : "derived");
}

void conf_value_show(const struct conf *conf, const struct conf_row *row, const void *base,
                     size_t item, struct buf *out)
{
    const struct conf_node *node = conf ? conf_find(conf, row->path, item) : NULL;
    if (node && node->private)
        conf_quote(node->written, out);
    else
        conf_value_print(row, base, out);
}

static void print_row(const struct view *view, const struct conf_row *row, const char *path,
                      const void *base, size_t item, int indent)
{
    const char *dot = strrchr(path, '.'), *name = dot ? dot + 1 : path;
    bool absent = conf_value_absent(row, base);
    struct buf *out = view->out;
    if (view->flags & CONF_HELP)
        buf_print(out, "%*s# %s\n", indent, "", row->help);
    buf_print(out, "%*s%s%s:", indent, "", absent ? "# " : "", name);
    if (!absent) {
        buf_add_char(out, ' ');
        conf_value_show(view->conf, row, base, item, out);
    }
    if (view->flags & CONF_ORIGINS && view->conf) {
        buf_add_text(out, "  # ");
        conf_origin(view->conf, row, base, item, out);
    }
    buf_add_char(out, '\n');
}

static void print_scope(const struct view *view, const struct conf_sequence *sequence,
                        const void *base, size_t item, int indent)
{
    const char *previous = "";
    for (size_t i = 0; i < view->table->rows; i++) {
        const struct conf_row *row = &view->table->row[i];
        if (conf_sequence_of(view->table, row) != sequence)
            continue;
        if (view->flags & CONF_GIVEN && !conf_given(view->conf, row->path, item))
            continue;
        const char *path = conf_path_in_scope(row, sequence);
        int inner = print_headings(previous, path, indent, view->out);
        print_row(view, row, path, base, item, inner);
        previous = path;
    }
}

static void print_all(struct view *view, const void *settings)
{
    const struct conf_table *table = view->table;
    unsigned flags = view->flags;
    print_scope(view, NULL, settings, 0, 0);
    for (size_t i = 0; i < table->sequences; i++) {
        const struct conf_sequence *sequence = &table->sequence[i];
        const char *items = *(char *const *)((const char *)settings + sequence->items_offset);
        size_t count = *(const size_t *)((const char *)settings + sequence->count_offset);
        buf_print(view->out, "%s:%s\n", sequence->name, count ? "" : " []");
        for (size_t n = 0; n < count; n++) {
            buf_add_text(view->out, "  -\n");
            print_scope(view, sequence, items + n * sequence->size, n, 4);
            view->flags = flags & ~CONF_HELP;
        }
    }
}

void conf_print(const struct conf_table *table, const void *settings, struct buf *out)
{
    print_all(&(struct view){ table, NULL, CONF_HELP, out }, settings);
}

void conf_show(const struct conf *conf, unsigned flags, struct buf *out)
{
    print_all(&(struct view){ conf->table, conf, flags, out }, conf->settings);
}

/* --- as JSON --- */

static void print_member(struct buf *out, const char *name, const char *text)
{
    buf_print(out, "%s\"%s\":", out->data[out->len - 1] == '{' ? "" : ",", name);
    json_write_text(out, text, strlen(text));
}

static void print_record(const struct view *view, const struct conf_row *row, const void *base,
                         size_t item)
{
    AUTO_BUF value = BUF_INIT(SIZE_MAX), origin = BUF_INIT(SIZE_MAX), path = BUF_INIT(400);
    const struct conf_sequence *sequence = conf_sequence_of(view->table, row);
    if (view->flags & CONF_GIVEN && !conf_given(view->conf, row->path, item))
        return;
    if (sequence)
        buf_print(&path, "%s[%zu].%s", sequence->name, item, conf_path_in_scope(row, sequence));
    else
        buf_add_text(&path, row->path);
    if (!conf_value_absent(row, base))
        conf_value_show(view->conf, row, base, item, &value);
    buf_add_text(view->out, view->out->data[view->out->len - 1] == '[' ? "\n{" : ",\n{");
    print_member(view->out, "key", buf_text(&path));
    if (value.len)
        print_member(view->out, "value", buf_text(&value));
    conf_origin(view->conf, row, base, item, &origin);
    if (view->flags & CONF_ORIGINS)
        print_member(view->out, "origin", buf_text(&origin));
    buf_add_char(view->out, '}');
}

void conf_show_json(const struct conf *conf, unsigned flags, struct buf *out)
{
    const struct view view = { conf->table, conf, flags, out };
    buf_add_char(out, '[');
    for (size_t i = 0; i < conf->table->rows; i++)
        if (!conf_sequence_of(conf->table, &conf->table->row[i]))
            print_record(&view, &conf->table->row[i], conf->settings, 0);
    for (size_t s = 0; s < conf->table->sequences; s++) {
        const struct conf_sequence *sequence = &conf->table->sequence[s];
        const char *items = *conf_items(sequence, conf->settings);
        for (size_t n = 0; n < *conf_count(sequence, conf->settings); n++)
            for (size_t i = 0; i < conf->table->rows; i++)
                if (conf_sequence_of(conf->table, &conf->table->row[i]) == sequence)
                    print_record(&view, &conf->table->row[i], items + n * sequence->size, n);
    }
    buf_add_text(out, "\n]\n");
}

/* --- release --- */

static void release_scope(const struct conf_table *table, const struct conf_sequence *sequence,
                          void *base)
{
    for (size_t i = 0; i < table->rows; i++)
        if (conf_sequence_of(table, &table->row[i]) == sequence)
            conf_value_release(&table->row[i], base);
}

void conf_release(const struct conf_table *table, void *settings)
{
    release_scope(table, NULL, settings);
    for (size_t i = 0; i < table->sequences; i++) {
        const struct conf_sequence *sequence = &table->sequence[i];
        char *items = *conf_items(sequence, settings);
        for (size_t n = 0; n < *conf_count(sequence, settings); n++)
            release_scope(table, sequence, items + n * sequence->size);
        mem_free(items);
        *conf_items(sequence, settings) = NULL;
        *conf_count(sequence, settings) = 0;
    }
}
