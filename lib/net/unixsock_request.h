/* SPDX-License-Identifier: Apache-2.0 */
/* Private to unixsock*.c: the text of one request and of its answer (pure); where it listens. */
#ifndef SLUICE_NET_UNIXSOCK_REQUEST_H
#define SLUICE_NET_UNIXSOCK_REQUEST_H

#include "lib/net/unixsock.h"

#define UNIXSOCK_REQUEST_MAX 4096

struct unixsock_parsed {
    int status;                      /* 200: ask the handler; else the answer */
    struct unixsock_request request; /* points into `line` */
    char line[UNIXSOCK_REQUEST_MAX + 1];
};

/*
 * Looks at all bytes received so far (at most UNIXSOCK_REQUEST_MAX); `ended`: no more come.
 * False: more are needed, or none came at all. Nonsense is recognised as early as possible.
 */
bool unixsock_request_parse(const char *bytes, size_t len, bool ended,
                            struct unixsock_parsed *ret);

/* Appends the whole answer; an empty body of an error becomes the status in words. */
void unixsock_answer_write(struct buf *out, const struct unixsock_request *request,
                           const struct unixsock_answer *answer);

/* Bound, not listening yet; the caller closes it. ERR_CONFIG, ERR_IO with a sentence. */
enum err unixsock_open_file(const struct unixsock_file *file, int *ret_fd,
                            struct fault *fault) MUST_CHECK;
enum err unixsock_open_port(const char *address, int *ret_fd, struct fault *fault) MUST_CHECK;

#endif
