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
 */
#ifndef SLUICE_S3_KEY_H
#define SLUICE_S3_KEY_H

#include "lib/base/buf.h"
#include "lib/base/clock.h"

#define S3_KEY_MAX 1024 /* bytes */

struct key_values {
    const char *prefix;  /* configured, used as it is */
    const char *dataset; /* configured name, used as it is */
    const char *dataset_id;
    const char *batch;
    const char *file_id;
    const char *name;
    struct wall created;
};

/*
 * ERR_CONFIG with a sentence: unknown field, ':' or '//' in the result, leading or final "/".
 * `for_data`: the template names files and needs {name} and {file_id} or {batch}; else it names
 * manifests, needs {batch} and knows no file.
 */
enum err key_check(const char *template, bool for_data, struct fault *fault) MUST_CHECK;

/* Appends the key. The template must have passed key_check. */
void key_build(const char *template, const struct key_values *values, struct buf *out);

/* The injective encoding of one segment. */
void key_encode(struct buf *out, const char *text);

#endif
