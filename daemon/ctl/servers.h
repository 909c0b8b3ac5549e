/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue and a daemon of one's own, for as long as a command runs: redis-server and sluiced in a
 * directory that only we may read, and that goes with them. They die if this process does.
 */
#ifndef SLUICE_DAEMON_CTL_SERVERS_H
#define SLUICE_DAEMON_CTL_SERVERS_H

#include <sys/types.h>

#include "lib/base/buf.h"

struct servers {
    char *directory; /* config.yaml, redis.sock, sluiced.sock, sluiced.log */
    pid_t redis, daemon;
};

/* Makes the directory. Paths into it are the caller's to free. */
enum err servers_init(struct servers *servers, struct fault *fault) MUST_CHECK;
char *servers_path(const struct servers *servers, const char *name);
enum err servers_write(const struct servers *servers, const char *name, const struct buf *text,
                       struct fault *fault) MUST_CHECK;

/* redis-server, then sluiced with config.yaml. */
enum err servers_start(struct servers *servers, struct fault *fault) MUST_CHECK;
/* OK, or which of them has ended, with the last line of the daemon's log. */
enum err servers_check(struct servers *servers, struct fault *fault) MUST_CHECK;
/* Ends the daemon, then the queue, then removes the directory. Also after a failure. */
void servers_release(struct servers *servers);

#endif
