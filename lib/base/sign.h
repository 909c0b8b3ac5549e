/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures with a private key from a PEM text. Beside digest.c the only home of OpenSSL here. */
#ifndef SLUICE_BASE_SIGN_H
#define SLUICE_BASE_SIGN_H

#include "lib/base/buf.h"
#include "lib/base/secret.h"

/*
 * RS256 (RFC 7518 §3.3): RSASSA-PKCS1-v1_5 with SHA-256, appended to `signature` as bytes. The
 * key is PKCS#1 or PKCS#8 in PEM, without a passphrase. ERR_SECRET with a sentence that says
 * what is wrong with it; the caller adds where it came from.
 */
enum err sign_rs256(const struct secret *pem, const void *bytes, size_t len,
                    struct buf *signature, struct fault *fault) MUST_CHECK;

#endif
