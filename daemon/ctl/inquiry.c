/* SPDX-License-Identifier: Apache-2.0 */
/* One question, one answer: the loop turns only while an answer is awaited. */
#include "daemon/ctl/inquiry.h"

#include <string.h>

#define PATIENCE_MS 5000
#define REPLY_MS    10000
#define WORDS_MAX   16

static void on_up(void *owner)
{
    struct inquiry *inquiry = owner;
    inquiry->up = true;
    loop_stop(inquiry->ctl->loop);
}

/* The client tries again by itself; what a wrong password says will not change. */
static void on_down(void *owner, const struct fault *reason)
{
    struct inquiry *inquiry = owner;
    inquiry->fault = *reason;
    if (reason->code == ERR_REDIS_DENIED)
        loop_stop(inquiry->ctl->loop);
}

static void on_patience(struct timer *timer)
{
    loop_stop(container_of(timer, struct inquiry, patience)->ctl->loop);
}

static void on_reply(struct redis_call *call, const struct redisReply *reply)
{
    struct inquiry *inquiry = container_of(call, struct inquiry, call);
    if (!call->fault.code)
        inquiry->read(inquiry->owner, reply);
    loop_stop(inquiry->ctl->loop);
}

static enum err connect(struct inquiry *inquiry, struct fault *fault)
{
    const struct settings *settings = &inquiry->ctl->settings;
    const char *file = settings->redis.password_file;
    enum err err = file ? secret_read_file(file, &inquiry->password, fault) : OK;
    if (err)
        return err;
    struct redis_options options = { .url = settings->redis.url,
                                     .user = settings->redis.user,
                                     .password = file ? &inquiry->password : NULL,
                                     .connect_timeout_ms = PATIENCE_MS,
                                     .reply_timeout_ms = REPLY_MS,
                                     .owner = inquiry,
                                     .on_up = on_up,
                                     .on_down = on_down };
    err = redis_new(inquiry->ctl->loop, &options, &inquiry->redis, fault);
    if (err)
        return err;
    timer_set_in(inquiry->ctl->loop, &inquiry->patience, PATIENCE_MS);
    loop_run(inquiry->ctl->loop);
    timer_clear(inquiry->ctl->loop, &inquiry->patience);
    if (inquiry->up)
        return OK;
    enum err why = inquiry->fault.code ? inquiry->fault.code : ERR_CONNECT;
    return fault_set(fault, why, "no connection to %s: %s; check redis.url",
                     settings->redis.url,
                     inquiry->fault.code ? inquiry->fault.text : "no answer");
}

enum err inquiry_init(struct inquiry *inquiry, struct ctl *ctl, struct fault *fault)
{
    *inquiry =
        (struct inquiry){ .ctl = ctl, .call.done = on_reply, .patience.fire = on_patience };
    return connect(inquiry, fault);
}

void inquiry_release(struct inquiry *inquiry)
{
    redis_free(inquiry->redis);
    secret_release(&inquiry->password);
    *inquiry = (struct inquiry){ 0 };
}

enum err inquiry_ask(struct inquiry *inquiry, size_t words, const char *const *word,
                     void (*read)(void *owner, const struct redisReply *reply), void *owner,
                     struct fault *fault)
{
    size_t len[WORDS_MAX];
    for (size_t i = 0; i < words && i < WORDS_MAX; i++)
        len[i] = strlen(word[i]);
    inquiry->read = read;
    inquiry->owner = owner;
    redis_start(inquiry->redis, &inquiry->call, words < WORDS_MAX ? words : WORDS_MAX, word,
                len);
    loop_run(inquiry->ctl->loop);
    *fault = inquiry->call.fault;
    if (fault->code == ERR_REDIS_LIBRARY)
        fault_set(
            fault, ERR_REDIS_LIBRARY,
            "the queue's functions are missing in Redis, or older than this command: start "
            "sluiced of this version, or load lib/queue/queue.lua");
    return fault->code;
}

int inquiry_status(enum err err)
{
    if (err == ERR_ARGUMENT)
        return EX_USAGE;
    return err == ERR_CONFIG || err == ERR_SECRET ? EX_CONFIG : EX_UNAVAILABLE;
}
