/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Binds YAML trees to the table of rows. The files together are one scope, each element of a
 * sequence another one, with its own struct. Paths of rows and of nodes are compared as text.
 *
 *   add a file … ─▶ one tree ─▶ bind (${…} replaced, values into the struct) ─▶ complain … ─▶ end
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/conf_table.h"
#include "lib/base/conf_value.h"

#define GUESS_EDITS 2  /* between what was written and what we suggest */
#define NAME_MAX    40 /* bytes of the names that are compared for it */
#define VALUE_SHOWN 60 /* bytes of a value in a message */

struct guess {
    const char *wanted, *best;
    size_t best_len, edits;
};

static void read_section(struct conf *conf, const struct conf_node *section, const char *prefix,
                         void *base);
static void read_member(struct conf *conf, const struct conf_node *section,
                        const struct conf_node *node, const char *prefix, void *base);
static void read_value(struct conf *conf, const struct conf_node *node, size_t index,
                       void *base);
static void read_sequence(struct conf *conf, const struct conf_node *node,
                          const struct conf_sequence *sequence);

static void report_twice(struct conf *conf, const struct conf_node *node,
                         const struct conf_node *first, const char *path);
static void report_unknown(struct conf *conf, const struct conf_node *node, const char *prefix);
static void report_value(struct conf *conf, const struct conf_node *node,
                         const struct conf_row *row);
static void report_missing(struct conf *conf, const struct conf_node *scope,
                           const struct conf_sequence *sequence);
static void guess_offer(struct guess *guess, const char *name, size_t len);
static void guess_print(const struct guess *guess, struct buf *out);

/* --- life --- */

struct conf *conf_new(const struct conf_table *table, void *settings)
{
    struct conf *conf = mem_alloc(sizeof *conf);
    conf->table = table;
    conf->settings = settings;
    conf->complete = true;
    conf->seen = mem_alloc_array(table->rows, sizeof *conf->seen);
    return conf;
}

/* The tree and the names of the files stay: they say where each value comes from. */
enum err conf_end(struct conf *conf, struct buf *errors)
{
    conf_errors_print(&conf->errors, errors);
    enum err err = conf->errors.count ? ERR_CONFIG : OK;
    conf_errors_release(&conf->errors);
    for (size_t i = 0; i < conf->sources; i++) {
        mem_free(conf->source[i]->text);
        conf->source[i]->text = NULL;
        conf->source[i]->len = 0;
    }
    return err;
}

void conf_free(struct conf *conf)
{
    if (!conf)
        return;
    for (size_t i = 0; i < conf->sources; i++) {
        mem_free(conf->source[i]->name);
        mem_free(conf->source[i]->text);
        mem_free(conf->source[i]);
    }
    mem_free(conf->source);
    conf_errors_release(&conf->errors);
    conf_node_release(&conf->root);
    mem_free(conf->seen);
    mem_free(conf);
}

/* --- bind --- */

static void set_defaults(const struct conf_table *table, const struct conf_sequence *sequence,
                         void *base)
{
    for (size_t i = 0; i < table->rows; i++) {
        const struct conf_row *row = &table->row[i];
        if (!row->fallback || conf_sequence_of(table, row) != sequence)
            continue;
        enum err err = conf_value_read(row, row->fallback, base);
        assert(!err); /* a default that its own row refuses is a mistake in the table */
        (void)err;
    }
}

void conf_bind(struct conf *conf)
{
    set_defaults(conf->table, NULL, conf->settings);
    conf_node_expand(&conf->root, &conf->errors);
    read_section(conf, &conf->root, "", conf->settings);
    report_missing(conf, &conf->root, NULL);
}

static void read_section(struct conf *conf, const struct conf_node *section, const char *prefix,
                         void *base)
{
    struct conf_place place = section->name ? section->name_at : section->at;
    if (!section->name)
        place.width = 1; /* what stands there instead of keys is not to be shown */
    if (section->kind == CONF_SCALAR || section->kind == CONF_LIST)
        conf_error_add(&conf->errors, place, true, "expected keys with values here");
    if (section->kind != CONF_MAPPING)
        return;
    for (size_t i = 0; i < section->children; i++)
        if (section->child[i].name)
            read_member(conf, section, &section->child[i], prefix, base);
}

static size_t find_row(const struct conf_table *table, const char *path)
{
    size_t i = 0;
    while (i < table->rows && strcmp(table->row[i].path, path) != 0)
        i++;
    return i;
}

static const struct conf_sequence *find_sequence(const struct conf_table *table,
                                                 const char *path)
{
    for (size_t i = 0; i < table->sequences; i++)
        if (strcmp(table->sequence[i].name, path) == 0)
            return &table->sequence[i];
    return NULL;
}

/* A section exists because a row lies in it. */
static bool is_section(const struct conf_table *table, const char *prefix)
{
    for (size_t i = 0; i < table->rows; i++)
        if (strncmp(table->row[i].path, prefix, strlen(prefix)) == 0)
            return true;
    return false;
}

static void read_member(struct conf *conf, const struct conf_node *section,
                        const struct conf_node *node, const char *prefix, void *base)
{
    AUTO_TEXT char *path = mem_print("%s%s", prefix, node->name);
    AUTO_TEXT char *inner = mem_print("%s.", path);
    size_t index = find_row(conf->table, path);
    const struct conf_sequence *sequence = find_sequence(conf->table, path);
    bool known = index < conf->table->rows || sequence || is_section(conf->table, inner);
    /* A name must not pass for a path: neither "a.b" nor "datasets[]" is a key. */
    if (!known || strpbrk(node->name, ".[]")) {
        report_unknown(conf, node, prefix);
        return;
    }
    const struct conf_node *first = conf_node_member(section, node->name, strlen(node->name));
    if (first != node)
        report_twice(conf, node, first, path);
    else if (index < conf->table->rows)
        read_value(conf, node, index, base);
    else if (sequence)
        read_sequence(conf, node, sequence);
    else
        read_section(conf, node, inner, base);
}

static void read_value(struct conf *conf, const struct conf_node *node, size_t index,
                       void *base)
{
    const struct conf_row *row = &conf->table->row[index];
    conf->seen[index] = true;
    if (node->kind == CONF_REFUSED)
        return;
    if (node->kind != CONF_SCALAR || conf_value_read(row, node->text, base))
        report_value(conf, node, row);
}

static void read_sequence(struct conf *conf, const struct conf_node *node,
                          const struct conf_sequence *sequence)
{
    if (node->kind == CONF_REFUSED)
        return;
    if (node->kind != CONF_LIST && node->kind != CONF_EMPTY) {
        conf_error_add(&conf->errors, node->name_at, false,
                       "%s is a list: each entry begins with \"- \"", sequence->name);
        return;
    }
    if (node->children < sequence->min_count || node->children > sequence->max_count)
        conf_error_add(&conf->errors, node->name_at, false,
                       "%s has %zu entries: %zu to %zu are possible", sequence->name,
                       node->children, sequence->min_count, sequence->max_count);
    AUTO_TEXT char *prefix = mem_print("%s[].", sequence->name);
    char *items = mem_alloc_array(node->children, sequence->size);
    *conf_items(sequence, conf->settings) = items;
    *conf_count(sequence, conf->settings) = node->children;
    for (size_t i = 0; i < node->children; i++, items += sequence->size) {
        for (size_t row = 0; row < conf->table->rows; row++)
            conf->seen[row] &=
                conf_sequence_of(conf->table, &conf->table->row[row]) != sequence;
        set_defaults(conf->table, sequence, items);
        read_section(conf, &node->child[i], prefix, items);
        report_missing(conf, &node->child[i], sequence);
    }
}

/* --- reports --- */

static void report_twice(struct conf *conf, const struct conf_node *node,
                         const struct conf_node *first, const char *path)
{
    const struct conf_place there = first->name_at;
    bool same_file = there.source == node->name_at.source;
    conf_error_add(&conf->errors, node->name_at, true, "duplicate key %s, first %s%s%s%zu",
                   path, same_file ? "on line " : "in ", same_file ? "" : there.source->name,
                   same_file ? "" : ":", there.line);
}

/* What may stand in a section: each name once. */
static void list_keys(const struct conf_table *table, const char *prefix, struct buf *out)
{
    size_t skip = strlen(prefix);
    const char *previous = "";
    for (size_t i = 0; i < table->rows; i++) {
        const char *name = table->row[i].path + skip;
        if (strncmp(table->row[i].path, prefix, skip) != 0)
            continue;
        size_t len = strcspn(name, ".[");
        if (strncmp(previous, name, len) != 0 || strcspn(previous, ".[") != len)
            buf_print(out, "%s%.*s", *previous ? ", " : "", (int)len, name);
        previous = name;
    }
}

/* A key of that very name, but of another section. */
static const char *find_elsewhere(const struct conf_table *table, const char *name)
{
    for (size_t i = 0; i < table->rows; i++) {
        const char *path = table->row[i].path, *dot = strrchr(path, '.');
        if (dot && strcmp(dot + 1, name) == 0)
            return path;
    }
    return NULL;
}

static void report_unknown(struct conf *conf, const struct conf_node *node, const char *prefix)
{
    struct guess guess = { .wanted = node->name, .edits = GUESS_EDITS + 1 };
    AUTO_BUF hint = BUF_INIT(400);
    size_t skip = strlen(prefix);
    for (size_t i = 0; i < conf->table->rows; i++) {
        const char *path = conf->table->row[i].path;
        if (strncmp(path, prefix, skip) == 0)
            guess_offer(&guess, path + skip, strcspn(path + skip, ".["));
    }
    const char *elsewhere = find_elsewhere(conf->table, node->name);
    if (!guess.best && elsewhere)
        buf_print(&hint, " (did you mean \"%s\"?)", elsewhere);
    else if (!guess.best)
        buf_add_text(&hint, ": there are "), list_keys(conf->table, prefix, &hint);
    guess_print(&guess, &hint);
    conf_error_add(&conf->errors, node->name_at, true, "unknown key %s%.*s%s", prefix,
                   VALUE_SHOWN, node->name, buf_text(&hint));
}

static void report_value(struct conf *conf, const struct conf_node *node,
                         const struct conf_row *row)
{
    AUTO_BUF expected = BUF_INIT(400);
    conf_value_describe(row, &expected);
    if (node->kind == CONF_EMPTY) {
        conf_error_add(&conf->errors, node->name_at, true, "%s has no value: expected %s",
                       row->path, buf_text(&expected));
        return;
    }
    if (node->kind != CONF_SCALAR || row->flags & CONF_SECRET) {
        conf_error_add(&conf->errors, node->name_at, true, "%s: expected %s", row->path,
                       buf_text(&expected));
        return;
    }
    struct guess guess = { .wanted = node->text, .edits = GUESS_EDITS + 1 };
    const char *choices = row->choices, *name;
    size_t len;
    while (conf_choice_next(&choices, &name, &len))
        guess_offer(&guess, name, len);
    guess_print(&guess, &expected);
    const char *shown = node->private ? node->written : node->text;
    conf_error_add(&conf->errors, node->at, false, "%s: \"%.*s\"%s is not %s", row->path,
                   VALUE_SHOWN, shown, node->private ? ", which is not shown," : "",
                   buf_text(&expected));
}

/* The innermost section on the way to `path` that the file does have. */
static struct conf_place nearest_place(const struct conf_node *scope, const char *path)
{
    for (size_t len = strcspn(path, "."); path[len]; len = strcspn(path, ".")) {
        const struct conf_node *inner = conf_node_member(scope, path, len);
        if (!inner)
            break;
        scope = inner;
        path += len + 1;
    }
    return scope->name ? scope->name_at : scope->at;
}

static void report_missing(struct conf *conf, const struct conf_node *scope,
                           const struct conf_sequence *sequence)
{
    const struct conf_table *table = conf->table;
    if (!conf->complete || (scope->kind != CONF_MAPPING && scope->kind != CONF_EMPTY))
        return;
    for (size_t i = 0; i < table->rows; i++) {
        const struct conf_row *row = &table->row[i];
        bool required = row->flags & CONF_REQUIRED && conf_sequence_of(table, row) == sequence;
        if (required && !conf->seen[i])
            conf_error_add(&conf->errors,
                           nearest_place(scope, conf_path_in_scope(row, sequence)), false,
                           "%s is missing: %s", row->path, row->help);
    }
    for (size_t i = 0; !sequence && i < table->sequences; i++) {
        const char *name = table->sequence[i].name;
        if (table->sequence[i].min_count && !conf_node_member(scope, name, strlen(name)))
            conf_error_add(&conf->errors, scope->at, false,
                           "%s is missing: a list of %zu to %zu", name,
                           table->sequence[i].min_count, table->sequence[i].max_count);
    }
}

static const struct conf_node *scope_of(const struct conf *conf, const char *path, size_t item,
                                        const char **ret_rest)
{
    const struct conf_node *list;
    size_t len = strcspn(path, "[");
    *ret_rest = path;
    if (!path[len])
        return &conf->root;
    *ret_rest = path + len + strlen("[].");
    list = conf_node_member(&conf->root, path, len);
    return list && item < list->children ? &list->child[item] : NULL;
}

const struct conf_node *conf_find(const struct conf *conf, const char *path, size_t item)
{
    const char *rest;
    const struct conf_node *node = scope_of(conf, path, item, &rest);
    while (node && *rest) {
        size_t len = strcspn(rest, ".");
        node = conf_node_member(node, rest, len);
        rest += len + (rest[len] != 0);
    }
    return node;
}

bool conf_given(const struct conf *conf, const char *path, size_t item)
{
    const struct conf_node *node = conf_find(conf, path, item);
    return node && node->kind != CONF_EMPTY && (node->kind != CONF_LIST || node->children > 0);
}

bool conf_complete(const struct conf *conf)
{
    return conf->complete;
}

void conf_complain(struct conf *conf, const char *path, size_t item, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *rest;
    const struct conf_node *node = conf_find(conf, path, item);
    const struct conf_node *scope = scope_of(conf, path, item, &rest);
    struct conf_place place = node && node->kind == CONF_SCALAR ? node->at
                              : node                            ? node->name_at
                                     : nearest_place(scope ? scope : &conf->root, rest);
    conf_error_add(&conf->errors, place, false, "%s: %s", path, text);
}

/* Levenshtein distance; names longer than NAME_MAX are not compared. */
static size_t edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t row[NAME_MAX + 1];
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t replace = diagonal + (a[i - 1] != b[j - 1]);
            size_t insert = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replace < insert ? replace : insert;
        }
    }
    return row[b_len];
}

static void guess_offer(struct guess *guess, const char *name, size_t len)
{
    size_t wanted_len = strlen(guess->wanted);
    if (wanted_len > NAME_MAX || len > NAME_MAX)
        return;
    size_t edits = edit_distance(guess->wanted, wanted_len, name, len);
    /* Two edits turn any short name into any other: at least half must be right. */
    if (edits >= guess->edits || edits * 2 > len)
        return;
    guess->best = name;
    guess->best_len = len;
    guess->edits = edits;
}

static void guess_print(const struct guess *guess, struct buf *out)
{
    if (guess->best)
        buf_print(out, " (did you mean \"%.*s\"?)", (int)guess->best_len, guess->best);
}
