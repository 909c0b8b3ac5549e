/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Internal to conf: the files that were read, places in them, and the errors about them. Places
 * borrow their source.
 */
#ifndef SLUICE_BASE_CONF_ERROR_H
#define SLUICE_BASE_CONF_ERROR_H

#include "lib/base/buf.h"

struct conf_source {
    char *name, *text; /* what it is called in messages; what it says */
    size_t len, order; /* files are reported in the order in which they were read */
};

struct conf_place {
    const struct conf_source *source;
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

/* Sorted by place, each with its line and a caret. */
void conf_errors_print(struct conf_errors *errors, struct buf *out);
void conf_errors_release(struct conf_errors *errors);

#endif
