/* SPDX-License-Identifier: Apache-2.0 */
/*
 * S3's error codes and what they mean for us. The list is that of the Amazon S3 API reference
 * ("Error responses") as far as our operations can meet it, plus what Ceph and Swift say.
 * What depends on the request's parameters alone stays with its HTTP status. Pure.
 */
#include <string.h>

#include "lib/s3/client.h"

#define FIX_REGION "set s3.region and s3.endpoint to where the bucket lives"

static const struct {
    const char *code;
    enum err err;
    const char *advice;
} row[] = {
    { "AccessDenied", ERR_DENIED, NULL },
    { "AccountProblem", ERR_DENIED, "settle the account's state with the provider" },
    { "AllAccessDisabled", ERR_DENIED, "settle the account's state with the provider" },
    { "AuthorizationHeaderMalformed", ERR_REGION, FIX_REGION },
    { "BadDigest", ERR_DIGEST, NULL },
    { "BandwidthLimitExceeded", ERR_THROTTLED, NULL },
    { "ConditionalRequestConflict", ERR_CONFLICT, NULL },
    { "EntityTooSmall", ERR_BAD_PART, NULL },
    { "ExpiredToken", ERR_AUTH, "renew the session token" },
    { "IllegalLocationConstraintException", ERR_REGION, FIX_REGION },
    { "IncompleteBody", ERR_CUT, NULL },
    { "InternalError", ERR_SERVER, NULL },
    { "InvalidAccessKeyId", ERR_AUTH,
      "check the access key and that it belongs to this endpoint" },
    { "InvalidPart", ERR_BAD_PART, NULL },
    { "InvalidPartOrder", ERR_BAD_PART, NULL },
    { "InvalidToken", ERR_AUTH, "renew the session token" },
    { "NoSuchBucket", ERR_DENIED, "create the bucket or correct s3.bucket and s3.addressing" },
    { "NoSuchKey", ERR_NOT_FOUND, NULL },
    { "NoSuchUpload", ERR_NO_UPLOAD, NULL },
    { "NotImplemented", ERR_REQUEST, "this store lacks a function that was asked for" },
    { "OperationAborted", ERR_CONFLICT, NULL },
    { "PermanentRedirect", ERR_REGION, FIX_REGION },
    { "PreconditionFailed", ERR_EXISTS, NULL },
    { "QuotaExceeded", ERR_DENIED, "raise the quota at the store" },
    { "RequestExpired", ERR_SKEW, "correct this machine's clock" },
    { "RequestLimitExceeded", ERR_THROTTLED, NULL },
    { "RequestTimeTooSkewed", ERR_SKEW, "correct this machine's clock" },
    { "RequestTimeout", ERR_TIMEOUT, NULL },
    { "ServiceUnavailable", ERR_THROTTLED, NULL },
    { "SignatureDoesNotMatch", ERR_AUTH,
      "check the secret key (and proxies that alter headers)" },
    { "SlowDown", ERR_THROTTLED, NULL },
    { "TemporaryRedirect", ERR_REGION, FIX_REGION },
    { "Throttling", ERR_THROTTLED, NULL },
    { "ThrottlingException", ERR_THROTTLED, NULL },
    { "TokenRefreshRequired", ERR_AUTH, "renew the session token" },
    { "TooManyRequests", ERR_THROTTLED, NULL },
    { "UserSuspended", ERR_DENIED, "enable the user at the store" },
    { "XAmzContentChecksumMismatch", ERR_DIGEST, NULL },
    { "XAmzContentSHA256Mismatch", ERR_DIGEST, NULL },
};

static size_t find(const char *code)
{
    size_t at = 0;
    while (at < sizeof row / sizeof row[0] && strcmp(row[at].code, code) != 0)
        at++;
    return at;
}

enum err s3_error_row(const char *code, int status)
{
    size_t at = find(code);
    if (at < sizeof row / sizeof row[0])
        return row[at].err;
    if (status == 301 || status == 307)
        return ERR_REGION;
    if (status == 501)
        return ERR_REQUEST;
    /* An error inside a 200 that we do not know: it is the store's. */
    enum err err = http_status_err(status);
    return err ? err : ERR_SERVER;
}

const char *s3_error_advice(const char *code)
{
    size_t at = find(code);
    return at < sizeof row / sizeof row[0] ? row[at].advice : NULL;
}
