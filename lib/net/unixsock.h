/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A local stream socket, a file or a loopback port, that answers one short request per connection: an HTTP GET/HEAD or one
 * line of words. Limits: request 4 KiB, 5 s per client, 64 clients; more wait in the backlog.
 * The handler answers at once, from memory. HTTP and words are told apart by the first byte:
 * methods are upper case, words must not be. The process must ignore SIGPIPE.
 */
#ifndef SLUICE_NET_UNIXSOCK_H
#define SLUICE_NET_UNIXSOCK_H

#include "lib/base/buf.h"
#include "lib/net/loop.h"

struct unixsock;

struct unixsock_request {
    bool http;
    bool head;         /* HEAD: the body is not sent */
    const char *path;  /* HTTP: path without query; words: the line, trimmed */
    const char *query; /* HTTP: after '?', "" if none */
};

/* Preset: 200, text/plain, an empty body of at most UNIXSOCK_BODY_MAX (more becomes a 500). */
#define UNIXSOCK_BODY_MAX (4u * 1024 * 1024)
struct unixsock_answer {
    int status;               /* HTTP status; ignored for words */
    const char *content_type; /* static text */
    struct buf body;          /* released by the socket */
};

typedef void unixsock_handler(void *owner, const struct unixsock_request *request,
                              struct unixsock_answer *answer);

struct unixsock_file {
    const char *path;
    unsigned mode;     /* umask is set around bind */
    const char *group; /* that the file is given to; NULL = as it comes */
};

/*
 * Binds the path; a stale socket file is removed only after a connect to it was refused. ERR_IO
 * or ERR_CONFIG with a sentence on failure. Freeing it unlinks the path, if that is still the
 * same file.
 */
enum err unixsock_new(struct loop *loop, const struct unixsock_file *file, void *owner,
                      unixsock_handler *handle, struct unixsock **ret,
                      struct fault *fault) MUST_CHECK;
/* The same service on a TCP port of the loopback interface, and of no other: 127.0.0.1:9464. */
enum err unixsock_new_port(struct loop *loop, const char *address, void *owner,
                           unixsock_handler *handle, struct unixsock **ret,
                           struct fault *fault) MUST_CHECK;
enum err unixsock_check_port(const char *address, struct fault *fault) MUST_CHECK; /* pure */
void unixsock_free(struct unixsock *socket);

#endif
