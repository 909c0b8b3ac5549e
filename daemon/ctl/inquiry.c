/* SPDX-License-Identifier: Apache-2.0 */
/* One question, one answer: the loop turns only while an answer is awaited. */
#include "daemon/ctl/inquiry.h"

#include <inttypes.h>
#include <stdlib.h>
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

static void add_texts(struct inquiry_texts *texts, const struct redisReply *reply)
{
    if (redis_reply_type(reply) == REDIS_ARRAY) {
        for (size_t i = 0; i < redis_reply_count(reply); i++)
            add_texts(texts, redis_reply_at(reply, i));
        return;
    }
    texts->text = mem_grow(texts->text, texts->count + 1, sizeof *texts->text);
    texts->text[texts->count++] =
        redis_reply_type(reply) == REDIS_INT
            ? mem_print("%" PRId64, redis_reply_int(reply))
            : mem_copy_bytes(redis_reply_text(reply), redis_reply_len(reply));
}

static void on_texts(void *owner, const struct redisReply *reply)
{
    add_texts(owner, reply);
}

enum err inquiry_texts(struct inquiry *inquiry, size_t words, const char *const *word,
                       struct inquiry_texts *ret, struct fault *fault)
{
    *ret = (struct inquiry_texts){ 0 };
    return inquiry_ask(inquiry, words, word, on_texts, ret, fault);
}

void inquiry_texts_release(struct inquiry_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        mem_free(texts->text[i]);
    mem_free(texts->text);
    *texts = (struct inquiry_texts){ 0 };
}

const char *inquiry_text_at(const struct inquiry_texts *texts, size_t index)
{
    return index < texts->count ? texts->text[index] : "";
}

int64_t inquiry_number_at(const struct inquiry_texts *texts, size_t index)
{
    return strtoll(inquiry_text_at(texts, index), NULL, 10);
}

const char *inquiry_field(const struct inquiry_texts *texts, const char *name)
{
    for (size_t i = 0; i + 1 < texts->count; i += 2)
        if (strcmp(texts->text[i], name) == 0)
            return texts->text[i + 1];
    return "";
}

int inquiry_refuse(const struct ctl *ctl, const struct fault *fault)
{
    static const char *const code[] = { "BADARG ", "NOTFAILED " }; /* of queue.lua */
    const char *text = fault->text;
    for (size_t i = 0; i < sizeof code / sizeof *code; i++)
        if (strncmp(text, code[i], strlen(code[i])) == 0)
            text += strlen(code[i]);
    return ctl_refuse(ctl, inquiry_status(fault->code), "%s", text);
}

int inquiry_status(enum err err)
{
    if (err == ERR_ARGUMENT)
        return EX_USAGE;
    if (err == ERR_NOT_FOUND)
        return EX_NOINPUT;
    return err == ERR_CONFIG || err == ERR_SECRET ? EX_CONFIG : EX_UNAVAILABLE;
}
