/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets come from files only and never reach a log, a metric or an error text. The memory is
 * wiped when it is released.
 */
#ifndef SLUICE_BASE_SECRET_H
#define SLUICE_BASE_SECRET_H

#include "lib/base/err.h"

#define SECRET_FILE_MAX (64 * 1024)

/* The bytes have a type that neither printf nor a function for texts takes. */
struct secret_bytes;
struct secret {
    struct secret_bytes *bytes; /* NULL = empty */
    size_t len;
};

/*
 * The text, 0-terminated; NULL if it is empty. For those who send it where it belongs, or compare it:
 * never in a call that prints (`make lint` looks).
 */
static inline const char *secret_reveal(const struct secret *secret)
{
    return (const char *)secret->bytes;
}

void secret_set(struct secret *secret, const char *text, size_t len); /* copies */
void secret_release(struct secret *secret);

/*
 * Its lines, without blanks at their ends; empty ones do not count. Fills the first `max` of
 * `line` and returns how many there are.
 */
size_t secret_lines(const struct secret *secret, struct secret *line, size_t max);

/*
 * Replaces the secret by stars where a foreign text repeats it: all of it, or eight bytes and
 * more of its beginning (texts are cut).
 */
void secret_redact(const struct secret *secret, char *text);

/*
 * Reads a whole file. It must be a regular file (no symbolic link in the last component), owned
 * by us or root, not writable by group or others, not readable by others, 1 byte to 64 KiB.
 * One trailing newline is cut. ERR_SECRET with a sentence that names the file and the fix.
 */
enum err secret_read_file(const char *path, struct secret *ret, struct fault *fault) MUST_CHECK;

#endif
