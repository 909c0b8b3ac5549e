/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file in which another program keeps a valid access token: the token alone, or with "Bearer "
 * before it. It is read again when it has changed, replaced or rewritten.
 */
#ifndef SLUICE_AEP_TOKEN_FILE_H
#define SLUICE_AEP_TOKEN_FILE_H

#include "lib/base/clock.h"
#include "lib/base/secret.h"

struct token_file {
    char *path; /* NULL: there is none */
    struct mono looked_at;
    int64_t stamp[4]; /* of the file that was read last */
};

/* Whether it has changed since it was read. Looks at most once a second; false in between. */
bool token_file_changed(struct token_file *file, struct mono now);

/*
 * The token, and how long it lives by its own words: a year if it does not say. ERR_SECRET if
 * the file is of no use, ERR_CREDENTIAL if the token is over; with a sentence.
 */
enum err token_file_read(struct token_file *file, struct wall now, struct secret *ret_token,
                         int64_t *ret_life_ms, struct fault *fault) MUST_CHECK;

#endif
