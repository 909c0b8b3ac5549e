/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Internal to conf: YAML text as a tree whose nodes know their place. Only mappings, sequences
 * and scalars come out; everything else YAML can do is an error. Trees of several files can be
 * merged, and ${…} in their values is replaced afterwards.
 */
#ifndef SLUICE_BASE_CONF_YAML_H
#define SLUICE_BASE_CONF_YAML_H

#include "lib/base/conf_error.h"

#define CONF_BYTES_MAX (256 * 1024)
#define CONF_DEPTH_MAX 8

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
    /* The text as it was written, if ${…} was replaced in it; NULL = that is `text`. */
    char *written;
    bool quoted;  /* so that the text begins one character behind its place */
    bool private; /* the text came out of a file: it is not to be shown */
    struct conf_place name_at, at;
    struct conf_node *child; /* members or elements, in the order of the file */
    size_t children;
};

/*
 * What had to be refused is in `errors`; the rest can be used. False if the syntax is broken, so
 * that everything behind that place is unknown. The root is always left releasable.
 */
bool conf_yaml_read(const struct conf_source *source, struct conf_node *root,
                    struct conf_errors *errors) MUST_CHECK;
void conf_node_release(struct conf_node *node);

/* NULL if there is none. */
const struct conf_node *conf_node_member(const struct conf_node *node, const char *name,
                                         size_t len);

/*
 * Takes over what `from` has: members of mappings of the same name are merged, lists appended,
 * anything else stands there twice. Only mappings can be merged; false if `from` is none.
 */
bool conf_node_merge(struct conf_node *into, struct conf_node *from);

/* Replaces ${…} in all values below; what cannot be replaced is an error, and refused. */
void conf_node_expand(struct conf_node *node, struct conf_errors *errors);

#endif
