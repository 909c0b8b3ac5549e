/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access tokens from Adobe IMS: OAuth server-to-server (POST /ims/token/v3), the legacy exchange
 * of a signed assertion (POST /ims/exchange/jwt), or a file that somebody else keeps fresh: that
 * one is read again when it changes and when its token is refused or over. One token is cached and shared; the request for a new one is
 * single-flight: the first who needs it starts it, all waiters get the answer. Refreshed early
 * (10 min or 5 % of its life before the end, whichever is later in life); an old token that
 * still lives is used while refreshing fails. At most one token request per second, with
 * back-off.
 *
 * `expires_in` is seconds; values over 10 000 000 are read as milliseconds (legacy exchange).
 */
#ifndef SLUICE_AEP_IMS_H
#define SLUICE_AEP_IMS_H

#include "lib/aep/aep.h"

struct ims;

struct ims *ims_new(struct loop *loop, struct http *http, const struct aep_options *options);
void ims_free(struct ims *ims); /* waiters end with ERR_CANCELLED first */

struct ims_waiter {
    struct list_node node;
    /* `token` is NULL on failure, with the fault; borrowed during the call. From the loop. */
    void (*ready)(struct ims_waiter *waiter, const struct secret *token,
                  const struct fault *fault);
};

/* The cached token, or NULL: then the waiter is queued and `ready` follows. */
const struct secret *ims_token(struct ims *ims, struct ims_waiter *waiter);
void ims_forget(struct ims *ims, struct ims_waiter *waiter);

/*
 * The platform refused `token`: drop it if it is still the cached one (a newer one is kept).
 */
void ims_reject(struct ims *ims, const char *token);

const struct fault *ims_fault(const struct ims *ims); /* of the last request */
int64_t ims_expires_in_ms(const struct ims *ims);
int ims_secret(const struct ims *ims); /* which client secret worked, from 1; 0 = none yet */

/* Whether it can be a header's value: visible ASCII, nothing else. Pure. */
bool ims_token_valid(const char *text, size_t len);

/* Parses a token answer. Pure. */
enum err ims_parse(const char *body, size_t len, struct secret *ret_token, int64_t *ret_life_ms,
                   struct fault *fault) MUST_CHECK;

#endif
