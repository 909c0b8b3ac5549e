/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to lib/s3: a client and a running call, shared by s3.c (the life of a call), request.c
 * (what is sent) and answer.c (what came back). The latter two start nothing and read no clock.
 */
#ifndef SLUICE_S3_CLIENT_H
#define SLUICE_S3_CLIENT_H

#include "lib/s3/s3.h"
#include "lib/s3/sigv4.h"

struct s3_endpoint {
    bool tls;
    char *origin; /* "https://bucket.host:port": how each URL begins */
    char *host;   /* value of the Host header, without a default port */
    char *path; /* between host and "/key": the endpoint's own path, the bucket in path style */
};

void s3_endpoint_init(struct s3_endpoint *endpoint, const struct s3_options *options);
void s3_endpoint_release(struct s3_endpoint *endpoint);

struct s3 {
    struct loop *loop;
    struct http *http;
    const struct s3_options *options;
    struct s3_endpoint endpoint;
    struct sigv4_key signing_key;
    const struct s3_credentials *signer; /* whose key that is */
    int64_t skew_ms;                     /* the store's clock minus ours, once it complained */
    struct list tries;
};

/* A call from s3_start to `done`, over all its requests. */
struct s3_try {
    struct s3 *s3; /* NULL: client and owner are gone, only the HTTP request has to end */
    struct s3_call *call;
    struct list_node node;
    struct http_req req;
    struct timer timer; /* set while it waits between two requests */
    struct mono deadline;
    struct buf document; /* COMPLETE: the list of parts */
    const void *body;    /* the call's, or the document */
    size_t body_len;
    char payload[65]; /* hash of the body, or SIGV4_UNSIGNED */
    int marker;       /* LIST_PARTS: last part of the pages so far */
    bool more;        /* LIST_PARTS: a page follows */
    int64_t skew_ms;  /* with which the request was dated */
    bool skew_done, cancelled;
};

/* One request as plain data; pointers lead into the call, the client and this struct. */
struct s3_request {
    const struct s3_credentials *credentials; /* the same for all of it */
    const char *method;
    struct buf path, query, url, authorization;
    struct sigv4_header header[SIGV4_HEADERS_MAX]; /* "host" first */
    size_t headers;
    char date[17], crc32c[9], crc32c_hex[9], size[21], range[48];
};

/* Fills attempt->document, body and payload: what stays the same for each repetition. */
void s3_request_prepare(struct s3_try *attempt);
void s3_request_build(const struct s3_try *attempt, struct wall at, struct s3_request *ret);
void s3_request_release(struct s3_request *request);

/*
 * Judges the answer in attempt->req and fills the call's results and fault. `now` is our clock.
 * The code is returned, too; OK with attempt->more asks for the next page.
 */
enum err s3_answer_read(struct s3_try *attempt, struct wall now);

/* The sentence that says what to do about an S3 error code; NULL if there is none. */
const char *s3_error_advice(const char *code);

#endif
