/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Object keys from templates and foreign names. Pure.
 *
 * Template: text with {prefix} {dataset} {dataset_id} {batch} {file_id} {name} and
 * {created:FORMAT} (the batch's creation time in UTC; conversions %Y %m %d %H %M %S %j %F %G %V
 * of strftime). Values from the source are encoded injectively: [A-Za-z0-9._=-] stay (a leading
 * dot does not), everything else becomes %XX, nothing becomes %00; two different names never
 * meet. A value that would make the key longer than 1024 bytes becomes "sha256-<hex>" of itself
 * (a name that looks like that is encoded). Time is always the batch's, never the clock's.
 *
 * Generation: 1 is the ordinary extraction, each replay has a number of its own and all its keys
 * in folders of their own, named _generation=<number>. That segment stands behind the folder of
 * the dataset, i.e. behind the first "/" that follows {dataset} or {dataset_id} where all before
 * it is the same for the whole dataset; in a template without such a folder, behind {prefix}, or
 * in front of all:
 *
 *   {prefix}{dataset}/dt={created:%F}/{name}…   p/web/_generation=17…/dt=2024-02-01/a…
 *   {prefix}raw/{dataset}-x/{name}…             p/raw/web-x/_generation=17…/a…
 *   {prefix}{created:%F}/{dataset}/{name}…      p/_generation=17…/2024-02-01/web/a…
 *
 * Readers like Hive and Athena skip folders that begin with "_".
 */
#ifndef SLUICE_S3_KEY_H
#define SLUICE_S3_KEY_H

#include "lib/base/buf.h"
#include "lib/base/clock.h"

#define S3_KEY_MAX       1024 /* bytes */
#define KEY_GENERATION_1 1    /* the ordinary extraction; it has no folder of its own */

struct key_values {
    const char *prefix;  /* configured, used as it is */
    const char *dataset; /* configured name, used as it is */
    const char *dataset_id;
    const char *batch;
    const char *file_id;
    const char *name;
    struct wall created;
    int64_t generation; /* up to 1: ordinary */
};

/*
 * ERR_CONFIG with a sentence: unknown field, ':' or '//' in the result, leading or final "/", a
 * segment that looks like that of a generation.
 * `for_data`: the template names files and needs {name} and {file_id} or {batch}; else it names
 * manifests, needs {batch} and knows no file.
 */
enum err key_check(const char *template, bool for_data, struct fault *fault) MUST_CHECK;

/* Appends the key. The template must have passed key_check. */
void key_build(const char *template, const struct key_values *values, struct buf *out);

/* The injective encoding of one segment. */
void key_encode(struct buf *out, const char *text);

/* Length of the part of a template that is the same for all keys of a dataset. */
size_t key_head_len(const char *template);

/* The generation in whose folder a key lies: 1 if in none. */
int64_t key_generation(const char *key);

#endif
