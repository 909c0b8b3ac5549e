/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS Signature Version 4 for S3 ("Authenticating Requests: Using the Authorization Header"), as
 * a pure function in three named stages: canonical request, string to sign, authorization. The
 * same encoded path and query must go into the URL. S3 rules: the path is percent-encoded once
 * and never normalised.
 */
#ifndef SLUICE_S3_SIGV4_H
#define SLUICE_S3_SIGV4_H

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/digest.h"

#define SIGV4_UNSIGNED    "UNSIGNED-PAYLOAD"
#define SIGV4_HEADERS_MAX 32

struct sigv4_header {
    const char *name, *value; /* name in lower case, once per request */
};

struct sigv4_request {
    const char *method;
    const char *path;  /* encoded, starts with "/" */
    const char *query; /* canonical: encoded, sorted, "k=v&k2=" form; "" if none */
    const struct sigv4_header *header; /* all signed; any order; host, x-amz-* and more */
    size_t headers;
    const char *payload; /* hex SHA-256 of the body, or SIGV4_UNSIGNED */
};

/*
 * The derived signing key of one day, kept so that a signature costs one HMAC instead of five.
 * Zeroed = empty. Belongs to one secret key, region and service; wipe it with mem_wipe.
 */
struct sigv4_key {
    char day[9];
    uint8_t bytes[SHA256_SIZE];
};

struct sigv4_scope {
    const char *access_key, *secret_key, *region, *service;
    struct wall at;
    struct sigv4_key *cache; /* NULL = derive the key each time */
};

void sigv4_canonical_request(const struct sigv4_request *request, struct buf *out);
void sigv4_string_to_sign(const char *canonical_request, const struct sigv4_scope *scope,
                          struct buf *out);
void sigv4_signature(const char *string_to_sign, const struct sigv4_scope *scope, char hex[65]);

/* All three: appends the value of the Authorization header. */
void sigv4_authorization(const struct sigv4_request *request, const struct sigv4_scope *scope,
                         struct buf *out);

/* "20130524T000000Z" */
void sigv4_date(struct wall at, char text[17]);

#endif
