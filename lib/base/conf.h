/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration by table: one row per key drives load, check, print, reload, schema and docs. The
 * only home of libyaml. A file is one YAML mapping; sections nest; a section may be a sequence of
 * mappings (`datasets`). More files are merged into the first: sections by their keys, sequences
 * by appending; a key that stands in two of them is an error. In values, ${NAME} and
 * ${NAME:-default} are replaced by the environment, ${file:PATH} by a secret file of one line, $$
 * by $. All errors are collected and sorted by place, each as
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
#define CONF_RELOAD   4u /* conf_take may change it in a running program */

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
 * fill elements of `size`. The first of these rows is a text that tells elements apart.
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
 * One configuration: its files, and where each value comes from. Files are added, then bound to
 * `settings` (zeroed by the caller), then the caller may complain about what no single row can
 * know; conf_end says what is wrong. Text values and arrays belong to the settings until
 * conf_release, after an error too.
 */
struct conf;
struct conf *conf_new(const struct conf_table *table, void *settings);
void conf_free(struct conf *conf);
void conf_add_text(struct conf *conf, const char *name, const char *text, size_t len);
void conf_add_file(struct conf *conf, const char *path);
void conf_add_folder(struct conf *conf,
                     const char *path); /* its *.yaml, sorted; none is fine */
void conf_bind(struct conf *conf);
/*
 * An error about the key `path` (of element `item`, if it is in a sequence): where its value
 * stands, or else where it would have to.
 */
void conf_complain(struct conf *conf, const char *path, size_t item, const char *format, ...)
    PRINTF(4, 5);
bool conf_given(const struct conf *conf, const char *path, size_t item); /* not a default */
bool conf_complete(const struct conf *conf); /* all files could be read, to their ends */
/* Appends all errors in the form above; ERR_CONFIG if there is any. Origins are kept. */
enum err conf_end(struct conf *conf, struct buf *errors) MUST_CHECK;

/* All of that for one file, or one text with a name for messages. */
enum err conf_load(const struct conf_table *table, const char *file, void *settings,
                   struct buf *errors) MUST_CHECK;
enum err conf_load_text(const struct conf_table *table, const char *name, const char *text,
                        size_t len, void *settings, struct buf *errors) MUST_CHECK;

/* YAML of the effective settings; loading it again gives the same settings (secrets aside). */
void conf_print(const struct conf_table *table, const void *settings, struct buf *out);

#define CONF_HELP    1u /* above each key what it is for */
#define CONF_ORIGINS 2u /* behind each value "file:line", "default", or "derived" from others */
#define CONF_GIVEN   4u /* only what the files say */
/* The same by choice of these. Values out of files (${file:}) appear as they were written. */
void conf_show(const struct conf *conf, unsigned flags, struct buf *out);
/* JSON: [{"key":…,"value":…,"origin":…}, …], with the same flags but CONF_HELP. */
void conf_show_json(const struct conf *conf, unsigned flags, struct buf *out);

/* A JSON Schema (draft 2020-12) of the file, for editors. */
void conf_schema(const struct conf_table *table, const char *title, struct buf *out);

void conf_release(const struct conf_table *table, void *settings);

#endif
