/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signature Version 4 for one kind of request: a PUT of a plain key with an unsigned payload.
 * The relay has its own so that the floor does not move when the project's signer does.
 */
#ifndef SLUICE_BENCH_SIGN_H
#define SLUICE_BENCH_SIGN_H

#include <stddef.h>

#define SIGN_REGION "us-east-1"

/* The signing key is derived at the first call of a day; date gets "20130524T000000Z". */
void sign_put(const char *host, const char *path, const char *access_key,
              const char *secret_key, char date[17], char *authorization, size_t size);

#endif
