/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON Web Tokens as far as IMS needs them: the signed assertion that the legacy exchange takes
 * (POST /ims/exchange/jwt), and when an access token ends, which is such a token itself. Pure.
 */
#ifndef SLUICE_AEP_JWT_H
#define SLUICE_AEP_JWT_H

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/secret.h"

#define JWT_TOKEN_MAX (16 * 1024)

struct jwt_claims {
    const char *org;               /* iss */
    const char *technical_account; /* sub */
    const char *ims_endpoint;      /* aud = …/c/<client id>, the metascope = …/s/<name> */
    const char *client_id, *metascope;
    struct wall expires; /* exp */
};

/* Appends header.claims.signature, signed by RS256. ERR_SECRET if the key is of no use. */
enum err jwt_sign(const struct jwt_claims *claims, const struct secret *key, struct buf *out,
                  struct fault *fault) MUST_CHECK;

/*
 * When a token ends by its own words: `exp` in seconds, or IMS' `created_at` + `expires_in` in
 * milliseconds. False if it does not say, which is no reason not to use it.
 */
bool jwt_expiry(const char *token, struct wall *ret);

#endif
