/* SPDX-License-Identifier: Apache-2.0 */
/* A call with its client and its first request, for tests of lib/s3 that need no server. */
#ifndef SLUICE_TESTS_S3_FIXTURE_H
#define SLUICE_TESTS_S3_FIXTURE_H

#include "lib/s3/client.h"

#define AT  ((struct wall){ 1700000000000 }) /* Tue, 14 Nov 2023 22:13:20 GMT */
#define XML "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"

static const struct s3_traits all = { true, true, true };
static const struct s3_credentials credentials = {
    .access_key = (char *)"AK",
    .secret_key = { (struct secret_bytes *)(char *)"SK", 2 },
};

/* A call with its client; the pieces a test wants to differ are set before begin(). */
struct fixture {
    struct s3_options options;
    struct s3 s3;
    struct s3_call call;
    struct s3_try attempt;
    struct s3_request request;
};

static inline struct fixture fixture_of(enum s3_op op)
{
    return (struct fixture){
        .options = { .endpoint = "http://127.0.0.1:7480",
                     .region = "us-east-1",
                     .bucket = "lake",
                     .path_style = true,
                     .payload = S3_PAYLOAD_AUTO,
                     .credentials = &credentials },
        .call = { .op = op, .key = "k", .body = "hello", .body_len = 5, .upload_id = "u/1 ~+" },
    };
}

static inline void begin(struct fixture *f)
{
    f->s3.options = &f->options;
    s3_endpoint_init(&f->s3.endpoint, &f->options);
    f->attempt.s3 = &f->s3;
    f->attempt.call = &f->call;
    s3_request_prepare(&f->attempt);
    s3_request_build(&f->attempt, AT, &f->request);
}

static inline void end(struct fixture *f)
{
    s3_request_release(&f->request);
    s3_endpoint_release(&f->s3.endpoint);
    s3_call_release(&f->call);
    buf_release(&f->attempt.document);
    buf_release(&f->attempt.req.headers);
    buf_release(&f->attempt.req.content);
}

#endif
