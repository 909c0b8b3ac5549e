/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration by table: one row per key drives load, check, print and docs. The only home of
 * libyaml. The file is one YAML mapping; sections nest; a section may be a sequence of mappings
 * (`datasets`). All errors are collected and sorted by place, each as
 *     file:line:column: error: unknown key s3.prefx (did you mean "prefix"?)
 *        14 |   prefx
 *           |   ^~~~~
 * with the whole line, except where it could hold a secret, as after an unknown key.
 * Refused: aliases, anchors, tags, second documents, duplicate and unknown keys, NUL, depth > 8,
 * files over 256 KiB.
 */
#ifndef SLUICE_BASE_CONF_H
#define SLUICE_BASE_CONF_H

#include "lib/base/buf.h"

enum conf_type {
    CONF_TEXT,     /* char *, owned by the struct; min..max = bytes; no control bytes */
    CONF_FLAG,     /* bool: true false */
    CONF_NUMBER,   /* int64_t, min..max */
    CONF_SIZE,     /* int64_t bytes: 64MiB, min..max */
    CONF_DURATION, /* int64_t ms: 30s, min..max */
    CONF_CHOICE,   /* int, index into `choices` ("a|b|c") */
    CONF_DATE,     /* int64_t ms since 1970; the choices text (e.g. "now") gives -1 */
};

#define CONF_REQUIRED 1u /* no default: must be given */
#define CONF_SECRET   2u /* prints as *** */

/* Rows of one section stand together. min = max = 0: no range. */
struct conf_row {
    const char *path; /* "redis.url"; rows of a sequence: "datasets[].id" */
    enum conf_type type;
    size_t offset;        /* in the settings struct, or in the element struct of the sequence */
    const char *fallback; /* default as text; NULL = none (0, NULL) */
    int64_t min, max;
    const char *choices;
    unsigned flags;
    const char *help; /* one line for the sample, the README and --print-config */
};

/*
 * A sequence of mappings at the top level of the file: rows whose path starts with "<name>[]."
 * fill elements of `size`.
 */
struct conf_sequence {
    const char *name;
    size_t size;
    size_t items_offset; /* void * in the settings struct: array allocated by conf_load */
    size_t count_offset; /* size_t */
    size_t min_count, max_count;
};

struct conf_table {
    const struct conf_row *row;
    size_t rows;
    const struct conf_sequence *sequence;
    size_t sequences;
};

/*
 * Fills `settings` (zeroed by the caller) with defaults and the file's values. Errors are
 * appended to `errors` in the form above; returns ERR_CONFIG if there is any. Text values and
 * arrays belong to the struct until conf_release, after an error too.
 */
enum err conf_load(const struct conf_table *table, const char *file, void *settings,
                   struct buf *errors) MUST_CHECK;

/* The same from memory; `file` is only the name in messages. */
enum err conf_load_text(const struct conf_table *table, const char *file, const char *text,
                        size_t len, void *settings, struct buf *errors) MUST_CHECK;

/* YAML of the effective settings; loading it again gives the same settings (secrets aside). */
void conf_print(const struct conf_table *table, const void *settings, struct buf *out);

void conf_release(const struct conf_table *table, void *settings);

#endif
