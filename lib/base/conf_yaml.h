/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Internal to conf: YAML text as a tree whose nodes know their place, and the errors about it.
 * Only mappings, sequences and scalars come out; everything else YAML can do is an error.
 */
#ifndef SLUICE_BASE_CONF_YAML_H
#define SLUICE_BASE_CONF_YAML_H

#include "lib/base/buf.h"

#define CONF_BYTES_MAX (256 * 1024)
#define CONF_DEPTH_MAX 8

struct conf_place {
    size_t line, column; /* from 1, in characters */
    size_t width;        /* characters to underline */
};

struct conf_error {
    struct conf_place place;
    size_t order; /* errors of one place stay in the order in which they were found */
    bool hide;    /* what stands around the place may be a secret: only the place is shown */
    char *text;
};

struct conf_errors {
    struct conf_error *error;
    size_t count, size;
};

void conf_error_add(struct conf_errors *errors, struct conf_place place, bool hide,
                    const char *format, ...) PRINTF(4, 5);

/* Sorted by place, each with its line of the `text` and a caret. */
void conf_errors_print(struct conf_errors *errors, const char *file, const char *text,
                       size_t len, struct buf *out);
void conf_errors_release(struct conf_errors *errors);

enum conf_kind {
    CONF_EMPTY, /* no value written */
    CONF_SCALAR,
    CONF_MAPPING,
    CONF_LIST,
    CONF_REFUSED, /* an error about it exists already */
};

struct conf_node {
    enum conf_kind kind;
    char *name; /* of a member of a mapping; NULL for others and for a refused one */
    char *text; /* of a scalar, without NUL bytes */
    struct conf_place name_at, at;
    struct conf_node *child; /* members or elements, in the order of the file */
    size_t children;
};

/*
 * What had to be refused is in `errors`; the rest can be used. False if the syntax is broken, so
 * that everything behind that place is unknown. The root is always left releasable.
 */
bool conf_yaml_read(const char *text, size_t len, struct conf_node *root,
                    struct conf_errors *errors) MUST_CHECK;
void conf_node_release(struct conf_node *node);

/* NULL if there is none. */
const struct conf_node *conf_node_member(const struct conf_node *node, const char *name,
                                         size_t len);

#endif
