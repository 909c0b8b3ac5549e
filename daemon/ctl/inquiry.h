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

/* The same, with the reply as texts: one, or those of an array; what lies deeper, too, in order.
 * A nil is "". `ret` holds nothing after a fault. */
struct inquiry_texts {
    char **text;
    size_t count;
};
enum err inquiry_texts(struct inquiry *inquiry, size_t words, const char *const *word,
                       struct inquiry_texts *ret, struct fault *fault) MUST_CHECK;
void inquiry_texts_release(struct inquiry_texts *texts);
#define AUTO_TEXTS AUTO(inquiry_texts_release) struct inquiry_texts
/* The text at `index`, "" behind the end; a number there, 0 if it is none. */
const char *inquiry_text_at(const struct inquiry_texts *texts, size_t index);
int64_t inquiry_number_at(const struct inquiry_texts *texts, size_t index);
/* In a flat list of names and values: the value of `name`, "" if there is none. */
const char *inquiry_field(const struct inquiry_texts *texts, const char *name);

/* The exit status for a fault of these; and the fault as a person is told it. */
int inquiry_status(enum err err);
int inquiry_refuse(const struct ctl *ctl, const struct fault *fault);

#endif
