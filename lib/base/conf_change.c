/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between two configurations, and taking over what may change at run time. Pure. */
#include "lib/base/conf_change.h"

#include <string.h>

#include "lib/base/conf_table.h"
#include "lib/base/conf_value.h"

struct taking {
    struct conf *conf, *fresh;
    void *owner;
    conf_changed *changed;
};

static void tell(const struct taking *taking, const struct conf_row *row, const char *item,
                 const char *before, const char *after, bool applied)
{
    const struct conf_change change = { row, item, before, after, applied };
    taking->changed(taking->owner, &change);
}

/* In force and in the file; what came out of a file is compared, but not shown. */
struct pair {
    const struct conf_row *row;
    void *before, *after;
    size_t before_at, after_at; /* elements of the sequence */
    const char *item;
};

static void show(const struct conf *conf, const struct conf_row *row, const void *base,
                 size_t at, struct buf *out)
{
    if (!conf_value_absent(row, base))
        conf_value_show(conf, row, base, at, out);
}

static bool same(const struct pair *pair)
{
    AUTO_BUF before = BUF_INIT(SIZE_MAX), after = BUF_INIT(SIZE_MAX);
    show(NULL, pair->row, pair->before, 0, &before);
    show(NULL, pair->row, pair->after, 0, &after);
    return before.len == after.len && strcmp(buf_text(&before), buf_text(&after)) == 0;
}

static bool differs(const struct taking *taking, const struct pair *pair)
{
    if (same(pair))
        return false;
    AUTO_BUF before = BUF_INIT(SIZE_MAX), after = BUF_INIT(SIZE_MAX);
    show(taking->conf, pair->row, pair->before, pair->before_at, &before);
    show(taking->fresh, pair->row, pair->after, pair->after_at, &after);
    tell(taking, pair->row, pair->item, buf_text(&before), buf_text(&after),
         pair->row->flags & CONF_RELOAD);
    return true;
}

static const char *name_of(const struct conf_row *identity, const void *element)
{
    return *(char *const *)(const void *)((const char *)element + identity->offset);
}

static const struct conf_row *identity_of(const struct conf_table *table,
                                          const struct conf_sequence *sequence)
{
    size_t i = 0;
    while (conf_sequence_of(table, &table->row[i]) != sequence)
        i++;
    return &table->row[i];
}

/* The index of the element of that name; `count` if there is none. */
static size_t find(const struct conf_row *identity, const char *items, size_t size,
                   size_t count, const char *name)
{
    size_t at = 0;
    while (at < count && strcmp(name_of(identity, items + at * size), name) != 0)
        at++;
    return at;
}

/*
 * An element that stays: the array of `fresh` will be in force, with the old values of what only
 * a restart can change. The old array stays as it is: it is still read.
 */
static bool compare_element(const struct taking *taking, const struct conf_sequence *sequence,
                            struct pair *pair)
{
    const struct conf_table *table = taking->conf->table;
    bool changed = false;
    for (size_t i = 0; i < table->rows; i++) {
        pair->row = &table->row[i];
        if (conf_sequence_of(table, pair->row) != sequence || !differs(taking, pair))
            continue;
        changed = true;
        if (!(pair->row->flags & CONF_RELOAD))
            conf_value_copy(pair->row, pair->before, pair->after);
    }
    return changed;
}

static void take_sequence(const struct taking *taking, const struct conf_sequence *sequence)
{
    const struct conf_row *identity = identity_of(taking->conf->table, sequence);
    void **old = conf_items(sequence, taking->conf->settings);
    void **new = conf_items(sequence, taking->fresh->settings);
    size_t *old_count = conf_count(sequence, taking->conf->settings);
    size_t *new_count = conf_count(sequence, taking->fresh->settings);
    bool changed = *new_count != *old_count;
    for (size_t i = 0; i < *new_count; i++) {
        char *element = (char *)*new + i * sequence->size;
        const char *name = name_of(identity, element);
        size_t at = find(identity, *old, sequence->size, *old_count, name);
        struct pair pair = { .before = (char *)*old + at * sequence->size,
                             .after = element,
                             .before_at = at,
                             .after_at = i,
                             .item = name };
        changed = changed || at != i;
        if (at < *old_count)
            changed = compare_element(taking, sequence, &pair) || changed;
        else
            tell(taking, NULL, name, NULL, name, true);
    }
    for (size_t i = 0; i < *old_count; i++) {
        const char *name = name_of(identity, (char *)*old + i * sequence->size);
        if (find(identity, *new, sequence->size, *new_count, name) == *new_count)
            tell(taking, NULL, name, name, NULL, true);
    }
    if (!changed) /* the array in force stays */
        return;
    void *items = *old;
    size_t count = *old_count;
    *old = *new;
    *old_count = *new_count;
    *new = items;
    *new_count = count;
}

/* Trees and files go with the values: origins are those of the newest files. */
static void swap_trees(struct conf *a, struct conf *b)
{
    struct conf kept = *a;
    void *settings = b->settings;
    *a = *b;
    a->settings = kept.settings;
    *b = kept;
    b->settings = settings;
}

void conf_take(struct conf *conf, struct conf *fresh, void *owner, conf_changed *changed)
{
    const struct taking taking = { conf, fresh, owner, changed };
    const struct conf_table *table = conf->table;
    for (size_t i = 0; i < table->rows; i++) {
        struct pair pair = { .row = &table->row[i],
                             .before = conf->settings,
                             .after = fresh->settings };
        if (!conf_sequence_of(table, pair.row) && differs(&taking, &pair) &&
            pair.row->flags & CONF_RELOAD)
            conf_value_swap(pair.row, conf->settings, fresh->settings);
    }
    for (size_t i = 0; i < table->sequences; i++)
        take_sequence(&taking, &table->sequence[i]);
    swap_trees(conf, fresh);
}
