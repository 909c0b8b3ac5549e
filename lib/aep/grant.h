/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a token is asked for with: a client secret, for the legacy exchange also an assertion
 * signed with a private key. All of it is read from its files for each request, so that what was
 * rotated counts from the next one on, and is wiped after it.
 */
#ifndef SLUICE_AEP_GRANT_H
#define SLUICE_AEP_GRANT_H

#include "lib/aep/aep.h"
#include "lib/aep/credential.h"

struct grant {
    enum aep_auth auth;
    char *url; /* of the token service */
    char *ims_endpoint, *org, *client_id, *scopes, *technical_account, *metascope;
    char *secret_file, *credential_file, *key_file;
    /* Of the request that is under way. */
    struct secret secret[CREDENTIAL_SECRETS], key, assertion;
    size_t secrets, which;
    struct buf form;
};

void grant_init(struct grant *grant, const struct aep_options *options);
void grant_release(struct grant *grant);

/*
 * Reads the files and writes the form with the secret of this number; the first if there are not
 * so many. ERR_SECRET or ERR_CONFIG with a sentence.
 */
enum err grant_make(struct grant *grant, size_t which, struct wall now,
                    struct fault *fault) MUST_CHECK;
/* Stars in place of what the form holds, raw or encoded, where a foreign text repeats it. */
void grant_redact(const struct grant *grant, char *text);
void grant_forget(struct grant *grant); /* wipes what grant_make has made */

/* Reads a credential file; the sentence names it. */
enum err grant_read_credential(const char *file, struct credential *ret,
                               struct fault *fault) MUST_CHECK;

#endif
