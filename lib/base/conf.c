/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Binds a YAML tree to the table of rows. The file itself is one scope, each element of a
 * sequence another one, with its own struct. Paths of rows and of nodes are compared as text.
 */
#include "lib/base/conf.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/conf_value.h"
#include "lib/base/conf_yaml.h"

#define GUESS_EDITS 2  /* between what was written and what we suggest */
#define NAME_MAX    40 /* bytes of the names that are compared for it */
#define VALUE_SHOWN 60 /* bytes of a value in a message */

struct load {
    const struct conf_table *table;
    struct conf_errors errors;
    void *settings;
    bool *seen;    /* per row; those of a sequence begin anew with each element */
    bool complete; /* the whole file could be read: what was not seen is missing */
};

struct guess {
    const char *wanted, *best;
    size_t best_len, edits;
};

static void read_section(struct load *load, const struct conf_node *section, const char *prefix,
                         void *base);
static void read_member(struct load *load, const struct conf_node *section,
                        const struct conf_node *node, const char *prefix, void *base);
static void read_value(struct load *load, const struct conf_node *node, size_t index,
                       void *base);
static void read_sequence(struct load *load, const struct conf_node *node,
                          const struct conf_sequence *sequence);

static void report_unknown(struct load *load, const struct conf_node *node, const char *prefix);
static void report_value(struct load *load, const struct conf_node *node,
                         const struct conf_row *row);
static void report_missing(struct load *load, const struct conf_node *scope,
                           const struct conf_sequence *sequence);

static const struct conf_sequence *sequence_of(const struct conf_table *table,
                                               const struct conf_row *row);
static const char *path_in_scope(const struct conf_row *row,
                                 const struct conf_sequence *sequence);
static void **items_of(const struct conf_sequence *sequence, void *settings);
static size_t *count_of(const struct conf_sequence *sequence, void *settings);
static void guess_offer(struct guess *guess, const char *name, size_t len);
static void guess_print(const struct guess *guess, struct buf *out);

/* --- load --- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

enum err conf_load(const struct conf_table *table, const char *file, void *settings,
                   struct buf *errors)
{
    AUTO_BUF text = BUF_INIT(CONF_BYTES_MAX);
    AUTO(close_fd) int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    char chunk[4096];
    ssize_t n = fd < 0 ? -1 : 0;
    while (fd >= 0 && !text.overflow && (n = read(fd, chunk, sizeof chunk)) > 0)
        buf_add(&text, chunk, (size_t)n);
    if (n < 0) {
        buf_print(errors, "%s: error: cannot be read: %s\n", file, strerrordesc_np(errno));
        return ERR_CONFIG;
    }
    if (text.overflow) {
        buf_print(errors, "%s: error: larger than %d KiB\n", file, CONF_BYTES_MAX / 1024);
        return ERR_CONFIG;
    }
    return conf_load_text(table, file, buf_text(&text), text.len, settings, errors);
}

static void set_defaults(const struct conf_table *table, const struct conf_sequence *sequence,
                         void *base)
{
    for (size_t i = 0; i < table->rows; i++) {
        const struct conf_row *row = &table->row[i];
        if (!row->fallback || sequence_of(table, row) != sequence)
            continue;
        enum err err = conf_value_read(row, row->fallback, base);
        assert(!err); /* a default that its own row refuses is a mistake in the table */
        (void)err;
    }
}

enum err conf_load_text(const struct conf_table *table, const char *file, const char *text,
                        size_t len, void *settings, struct buf *errors)
{
    struct load load = { .table = table, .settings = settings };
    struct conf_node root;
    load.seen = mem_alloc_array(table->rows, sizeof *load.seen);
    set_defaults(table, NULL, settings);
    load.complete = conf_yaml_read(text, len, &root, &load.errors);
    read_section(&load, &root, "", settings);
    report_missing(&load, &root, NULL);
    conf_errors_print(&load.errors, file, text, len, errors);
    enum err err = load.errors.count ? ERR_CONFIG : OK;
    conf_errors_release(&load.errors);
    conf_node_release(&root);
    mem_free(load.seen);
    return err;
}

static void read_section(struct load *load, const struct conf_node *section, const char *prefix,
                         void *base)
{
    struct conf_place place = section->name ? section->name_at : section->at;
    if (!section->name)
        place.width = 1; /* what stands there instead of keys is not to be shown */
    if (section->kind == CONF_SCALAR || section->kind == CONF_LIST)
        conf_error_add(&load->errors, place, true, "expected keys with values here");
    if (section->kind != CONF_MAPPING)
        return;
    for (size_t i = 0; i < section->children; i++)
        if (section->child[i].name)
            read_member(load, section, &section->child[i], prefix, base);
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

static void read_member(struct load *load, const struct conf_node *section,
                        const struct conf_node *node, const char *prefix, void *base)
{
    AUTO_TEXT char *path = mem_print("%s%s", prefix, node->name);
    AUTO_TEXT char *inner = mem_print("%s.", path);
    size_t index = find_row(load->table, path);
    const struct conf_sequence *sequence = find_sequence(load->table, path);
    bool known = index < load->table->rows || sequence || is_section(load->table, inner);
    /* A name must not pass for a path: neither "a.b" nor "datasets[]" is a key. */
    if (!known || strpbrk(node->name, ".[]")) {
        report_unknown(load, node, prefix);
        return;
    }
    const struct conf_node *first = conf_node_member(section, node->name, strlen(node->name));
    if (first != node)
        conf_error_add(&load->errors, node->name_at, true,
                       "duplicate key %s, first on line %zu", path, first->name_at.line);
    else if (index < load->table->rows)
        read_value(load, node, index, base);
    else if (sequence)
        read_sequence(load, node, sequence);
    else
        read_section(load, node, inner, base);
}

static void read_value(struct load *load, const struct conf_node *node, size_t index,
                       void *base)
{
    const struct conf_row *row = &load->table->row[index];
    load->seen[index] = true;
    if (node->kind == CONF_REFUSED)
        return;
    if (node->kind != CONF_SCALAR || conf_value_read(row, node->text, base))
        report_value(load, node, row);
}

static void read_sequence(struct load *load, const struct conf_node *node,
                          const struct conf_sequence *sequence)
{
    if (node->kind == CONF_REFUSED)
        return;
    if (node->kind != CONF_LIST && node->kind != CONF_EMPTY) {
        conf_error_add(&load->errors, node->name_at, false,
                       "%s is a list: each entry begins with \"- \"", sequence->name);
        return;
    }
    if (node->children < sequence->min_count || node->children > sequence->max_count)
        conf_error_add(&load->errors, node->name_at, false,
                       "%s has %zu entries: %zu to %zu are possible", sequence->name,
                       node->children, sequence->min_count, sequence->max_count);
    AUTO_TEXT char *prefix = mem_print("%s[].", sequence->name);
    char *items = mem_alloc_array(node->children, sequence->size);
    *items_of(sequence, load->settings) = items;
    *count_of(sequence, load->settings) = node->children;
    for (size_t i = 0; i < node->children; i++, items += sequence->size) {
        for (size_t row = 0; row < load->table->rows; row++)
            load->seen[row] &= sequence_of(load->table, &load->table->row[row]) != sequence;
        set_defaults(load->table, sequence, items);
        read_section(load, &node->child[i], prefix, items);
        report_missing(load, &node->child[i], sequence);
    }
}

/* --- reports --- */

static void report_unknown(struct load *load, const struct conf_node *node, const char *prefix)
{
    struct guess guess = { .wanted = node->name, .edits = GUESS_EDITS + 1 };
    AUTO_BUF hint = BUF_INIT(200);
    size_t skip = strlen(prefix);
    for (size_t i = 0; i < load->table->rows; i++) {
        const char *path = load->table->row[i].path;
        if (strncmp(path, prefix, skip) == 0)
            guess_offer(&guess, path + skip, strcspn(path + skip, ".["));
    }
    guess_print(&guess, &hint);
    conf_error_add(&load->errors, node->name_at, true, "unknown key %s%.*s%s", prefix,
                   VALUE_SHOWN, node->name, buf_text(&hint));
}

static void report_value(struct load *load, const struct conf_node *node,
                         const struct conf_row *row)
{
    AUTO_BUF expected = BUF_INIT(400);
    conf_value_describe(row, &expected);
    if (node->kind == CONF_EMPTY) {
        conf_error_add(&load->errors, node->name_at, true, "%s has no value: expected %s",
                       row->path, buf_text(&expected));
        return;
    }
    if (node->kind != CONF_SCALAR || row->flags & CONF_SECRET) {
        conf_error_add(&load->errors, node->name_at, true, "%s: expected %s", row->path,
                       buf_text(&expected));
        return;
    }
    struct guess guess = { .wanted = node->text, .edits = GUESS_EDITS + 1 };
    const char *choices = row->choices, *name;
    size_t len;
    while (conf_choice_next(&choices, &name, &len))
        guess_offer(&guess, name, len);
    guess_print(&guess, &expected);
    conf_error_add(&load->errors, node->at, false, "%s: \"%.*s\" is not %s", row->path,
                   VALUE_SHOWN, node->text, buf_text(&expected));
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

static void report_missing(struct load *load, const struct conf_node *scope,
                           const struct conf_sequence *sequence)
{
    const struct conf_table *table = load->table;
    if (!load->complete || (scope->kind != CONF_MAPPING && scope->kind != CONF_EMPTY))
        return;
    for (size_t i = 0; i < table->rows; i++) {
        const struct conf_row *row = &table->row[i];
        bool required = row->flags & CONF_REQUIRED && sequence_of(table, row) == sequence;
        if (required && !load->seen[i])
            conf_error_add(&load->errors, nearest_place(scope, path_in_scope(row, sequence)),
                           false, "%s is missing: %s", row->path, row->help);
    }
    for (size_t i = 0; !sequence && i < table->sequences; i++) {
        const char *name = table->sequence[i].name;
        if (table->sequence[i].min_count && !conf_node_member(scope, name, strlen(name)))
            conf_error_add(&load->errors, scope->at, false,
                           "%s is missing: a list of %zu to %zu", name,
                           table->sequence[i].min_count, table->sequence[i].max_count);
    }
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

/* --- the table --- */

/* The sequence whose elements the row fills; NULL = the settings themselves. */
static const struct conf_sequence *sequence_of(const struct conf_table *table,
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

static const char *path_in_scope(const struct conf_row *row,
                                 const struct conf_sequence *sequence)
{
    return sequence ? row->path + strlen(sequence->name) + strlen("[].") : row->path;
}

static void **items_of(const struct conf_sequence *sequence, void *settings)
{
    return (void **)(void *)((char *)settings + sequence->items_offset);
}

static size_t *count_of(const struct conf_sequence *sequence, void *settings)
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

static void print_row(const struct conf_row *row, const char *path, const void *base,
                      int indent, struct buf *out)
{
    const char *dot = strrchr(path, '.'), *name = dot ? dot + 1 : path;
    bool absent = conf_value_absent(row, base);
    buf_print(out, "%*s%s%s:", indent, "", absent ? "# " : "", name);
    if (!absent) {
        buf_add_char(out, ' ');
        conf_value_print(row, base, out);
    }
    buf_add_char(out, '\n');
}

static void print_scope(const struct conf_table *table, const struct conf_sequence *sequence,
                        const void *base, int indent, bool with_help, struct buf *out)
{
    const char *previous = "";
    for (size_t i = 0; i < table->rows; i++) {
        const struct conf_row *row = &table->row[i];
        if (sequence_of(table, row) != sequence)
            continue;
        const char *path = path_in_scope(row, sequence);
        int inner = print_headings(previous, path, indent, out);
        if (with_help)
            buf_print(out, "%*s# %s\n", inner, "", row->help);
        print_row(row, path, base, inner, out);
        previous = path;
    }
}

void conf_print(const struct conf_table *table, const void *settings, struct buf *out)
{
    print_scope(table, NULL, settings, 0, true, out);
    for (size_t i = 0; i < table->sequences; i++) {
        const struct conf_sequence *sequence = &table->sequence[i];
        const char *items = *(char *const *)((const char *)settings + sequence->items_offset);
        size_t count = *(const size_t *)((const char *)settings + sequence->count_offset);
        buf_print(out, "%s:%s\n", sequence->name, count ? "" : " []");
        for (size_t n = 0; n < count; n++) {
            buf_add_text(out, "  -\n");
            print_scope(table, sequence, items + n * sequence->size, 4, n == 0, out);
        }
    }
}

/* --- release --- */

static void release_scope(const struct conf_table *table, const struct conf_sequence *sequence,
                          void *base)
{
    for (size_t i = 0; i < table->rows; i++)
        if (sequence_of(table, &table->row[i]) == sequence)
            conf_value_release(&table->row[i], base);
}

void conf_release(const struct conf_table *table, void *settings)
{
    release_scope(table, NULL, settings);
    for (size_t i = 0; i < table->sequences; i++) {
        const struct conf_sequence *sequence = &table->sequence[i];
        char *items = *items_of(sequence, settings);
        for (size_t n = 0; n < *count_of(sequence, settings); n++)
            release_scope(table, sequence, items + n * sequence->size);
        mem_free(items);
        *items_of(sequence, settings) = NULL;
        *count_of(sequence, settings) = 0;
    }
}
