/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an error answer of Adobe's means: its text in one line, the row of err.h, and for known
 * codes a sentence that says what to do. Pure.
 *
 * Sources: Adobe "Platform FAQ and troubleshooting guide" (gateway codes), RFC 6749 §5.2 (IMS).
 */
#ifndef SLUICE_AEP_AEP_ERROR_H
#define SLUICE_AEP_AEP_ERROR_H

#include "lib/base/err.h"

struct aep_error {
    enum err err;       /* by the code if it is known, else by the status */
    char code[24];      /* "401013", "invalid_client"; "" if the body has none */
    char text[160];     /* of the body; "" if it says nothing */
    const char *advice; /* what to do; "" if there is nothing to say */
};

void aep_error_read(struct aep_error *error, int status, const char *body, size_t len);

/* The same as a fault of `who`: "who status: text, request id; advice". `id` may be NULL. */
enum err aep_error_fault(struct fault *fault, const struct aep_error *error, const char *who,
                         int status, const char *id);

/*
 * The text of an error body in any of its shapes (gateway error_code/message, problem+json
 * title/detail, IMS error/error_description, errorMessage, plain text), cut, one line.
 */
void aep_error_text(const char *body, size_t len, char *text, size_t size);

#endif
