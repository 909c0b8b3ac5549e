/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Internal to conf: what its files share. A configuration is a tree made of all files (conf_read.c
 * reads them), bound to a table (conf.c), and printed again (conf_print.c, conf_schema.c).
 */
#ifndef SLUICE_BASE_CONF_TABLE_H
#define SLUICE_BASE_CONF_TABLE_H

#include "lib/base/conf.h"
#include "lib/base/conf_yaml.h"

struct conf {
    const struct conf_table *table;
    void *settings;
    struct conf_source **source; /* in the order of reading */
    size_t sources;
    struct conf_node root;
    struct conf_errors errors;
    bool *seen;    /* per row; those of a sequence begin anew with each element */
    bool complete; /* all files could be read: what was not seen is missing */
};

/* The node of a key; `item` counts where the path is in a sequence. NULL if there is none. */
const struct conf_node *conf_find(const struct conf *conf, const char *path, size_t item);

/* "file:line", "default" or "derived" from other keys. */
void conf_origin(const struct conf *conf, const struct conf_row *row, const void *base,
                 size_t item, struct buf *out);
/* As conf_value_print, but what came out of a file as it was written. `conf` may be NULL. */
void conf_value_show(const struct conf *conf, const struct conf_row *row, const void *base,
                     size_t item, struct buf *out);

/* The sequence whose elements the row fills; NULL = the settings themselves. */
const struct conf_sequence *conf_sequence_of(const struct conf_table *table,
                                             const struct conf_row *row);
const char *conf_path_in_scope(const struct conf_row *row,
                               const struct conf_sequence *sequence);
void **conf_items(const struct conf_sequence *sequence, void *settings);
size_t *conf_count(const struct conf_sequence *sequence, void *settings);

#endif
