/* SPDX-License-Identifier: Apache-2.0 */
/* Static S3 credentials. */
#ifndef SLUICE_S3_CREDS_H
#define SLUICE_S3_CREDS_H

#include "lib/base/secret.h"

/* The access key is a name: it may appear in logs. */
struct s3_credentials {
    char *access_key;
    struct secret secret_key, session_token;
};

/*
 * Environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN) or, if `file` is not
 * NULL, the profile (NULL = "default") of an AWS shared credentials file (checked like every
 * secret file). ERR_SECRET with a sentence that names the fix.
 */
enum err s3_credentials_load(const char *file, const char *profile, struct s3_credentials *ret,
                             struct fault *fault) MUST_CHECK;
void s3_credentials_release(struct s3_credentials *credentials);

#endif
