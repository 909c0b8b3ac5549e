/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a file is what its name promises, judged by its first and last bytes alone. They are
 * noted as the parts pass, in any order, and are kept with the file's task across restarts, so
 * that nothing is read twice.
 *
 *   .parquet        "PAR1" at both ends; the footer whose length stands before the last one fits
 *   .json, .csv     the last byte ends a line
 *
 * Everything else, compressed text too, and a file without a byte may be anything. Pure.
 */
#ifndef SLUICE_DAEMON_CONTENT_H
#define SLUICE_DAEMON_CONTENT_H

#include "lib/base/buf.h"

/* How closely a dataset's files are looked at: in the order of the setting's choices. */
enum content_check { CONTENT_FULL, CONTENT_MAGIC, CONTENT_OFF };

enum content_form { FORM_ANY, FORM_PARQUET, FORM_LINES };
/* MAGIC leaves lines out, OFF everything. */
enum content_form content_form(const char *name, int64_t length, enum content_check check);

#define CONTENT_HEAD 4
#define CONTENT_TAIL 8

/* The ends of a file, as far as they were seen. */
struct content_ends {
    uint8_t head[CONTENT_HEAD], tail[CONTENT_TAIL]; /* the last byte of the file ends `tail` */
    uint8_t head_seen, tail_seen;                   /* a bit for each byte */
};
/* Bytes of a file of `length` that begin at `offset`. True if they said anything new. */
bool content_note(struct content_ends *ends, int64_t length, int64_t offset, const void *bytes,
                  size_t len);

/* The next run of bytes that the verdict needs and nobody saw; false if there is none. */
bool content_missing(const struct content_ends *ends, enum content_form form, int64_t length,
                     int64_t *ret_first, int64_t *ret_last);

/* ERR_CORRUPT, with what is wrong, if a byte that was seen shows it. */
enum err content_judge(const struct content_ends *ends, enum content_form form,
                       const char *name, int64_t length, struct fault *fault) MUST_CHECK;

/* The queue's text form: the twelve bytes in hex, "--" for one that was not seen. */
void content_write(const struct content_ends *ends, struct buf *out);
enum err content_read(const char *text, struct content_ends *ret) MUST_CHECK;

#endif
