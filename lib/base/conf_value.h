/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Internal to conf: the types of values. Each can be read from text, printed so that reading
 * gives the same value again, and described for the one who wrote something else.
 */
#ifndef SLUICE_BASE_CONF_VALUE_H
#define SLUICE_BASE_CONF_VALUE_H

#include "lib/base/conf.h"

/*
 * Reads `text` into the member at row->offset of `base`; an old text is freed. ERR_ARGUMENT if
 * it is not what conf_value_describe() says; the member is untouched then.
 */
enum err conf_value_read(const struct conf_row *row, const char *text, void *base) MUST_CHECK;

/* "a whole number from 1 to 64" */
void conf_value_describe(const struct conf_row *row, struct buf *out);

/* Exchanges the members of two structs. */
void conf_value_swap(const struct conf_row *row, void *a, void *b);
void conf_value_copy(const struct conf_row *row, const void *from, void *to);

/* A text as a YAML scalar. */
void conf_quote(const char *text, struct buf *out);

/* As a YAML scalar. */
void conf_value_print(const struct conf_row *row, const void *base, struct buf *out);

/* Whether the member still has no value and the row has no default: it is left out then. */
bool conf_value_absent(const struct conf_row *row, const void *base);

/* Frees what the member owns. */
void conf_value_release(const struct conf_row *row, void *base);

/* Walks "a|b|c": false at the end, else `*choices` moves on and *ret, *ret_len are the next. */
bool conf_choice_next(const char **choices, const char **ret, size_t *ret_len);

#endif
