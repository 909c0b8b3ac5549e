/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to Redis, one after the other, for commands that do one thing: each call runs the loop
 * until its answer is there.
 */
#ifndef SLUICE_DAEMON_CTL_INQUIRY_H
#define SLUICE_DAEMON_CTL_INQUIRY_H

#include "daemon/ctl/ctl.h"
#include "lib/net/redis.h"

struct inquiry {
    struct ctl *ctl;
    struct redis *redis;
    struct secret password;
    struct redis_call call;
    struct timer patience;
    struct fault fault; /* of the connection */
    bool up;
    void *owner; /* of the running question */
    void (*read)(void *owner, const struct redisReply *reply);
};

/* Connects as the daemon would; a fault with a sentence if there is no answer within 5 s. */
enum err inquiry_init(struct inquiry *inquiry, struct ctl *ctl, struct fault *fault) MUST_CHECK;
void inquiry_release(struct inquiry *inquiry); /* also after inquiry_init failed */

/* `read` is given the reply, unless it is an error, which becomes the fault. */
enum err inquiry_ask(struct inquiry *inquiry, size_t words, const char *const *word,
                     void (*read)(void *owner, const struct redisReply *reply), void *owner,
                     struct fault *fault) MUST_CHECK;

/* The exit status for a fault of these. */
int inquiry_status(enum err err);

#endif
