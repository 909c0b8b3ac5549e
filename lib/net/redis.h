/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis client of one loop: own transport over libuv (TCP and unix sockets), hiredis as RESP2
 * codec only. Commands are pipelined: all that is started in one turn leaves in one write.
 *
 * Each call gets exactly one `done`: with a reply, or with a fault. A lost connection or a
 * passed deadline fails every pending call with ERR_REDIS_LOST ("outcome unknown": commands
 * must be safe to repeat), closes and reconnects with jittered back-off. Calls started while
 * there is no connection fail at once (from the loop) with ERR_REDIS_LOST.
 *
 * After each connect AUTH/SELECT/CLIENT SETNAME are sent, then `on_up` runs; calls started in
 * it go first. A server that answers READONLY or NOAUTH loses its connection: the next one may
 * reach the new master, and presents the password as it is then. MOVED is followed for one
 * connection; after that the configured server is asked again.
 *
 * Place for TLS: redis_stream.c, between uv stream and codec.
 */
#ifndef SLUICE_NET_REDIS_H
#define SLUICE_NET_REDIS_H

#include "lib/base/buf.h"
#include "lib/base/secret.h"
#include "lib/net/loop.h"

struct redis;
struct redisReply;

struct redis_options {
    const char *url;               /* redis://host:port/db, unix:///path?db=0 */
    const char *user;              /* NULL = default */
    const struct secret *password; /* NULL = none; borrowed for the life of the client */
    int64_t connect_timeout_ms, reply_timeout_ms;
    void *owner;
    /* Connected and authenticated; each failed or lost connection. */
    void (*on_up)(void *owner);
    void (*on_down)(void *owner, const struct fault *reason);
};

/* ERR_CONFIG with a sentence if the URL cannot be used (also rediss://, until TLS exists). */
enum err redis_new(struct loop *loop, const struct redis_options *options, struct redis **ret,
                   struct fault *fault) MUST_CHECK;
/* Pending calls end with ERR_CANCELLED first. Not from inside `done`, `on_up` or `on_down`. */
void redis_free(struct redis *redis);
bool redis_up(const struct redis *redis);
/* Drops the connection, as if it had been lost for this reason, and makes another one. */
void redis_reconnect(struct redis *redis, const struct fault *why);
size_t redis_pending(const struct redis *redis); /* cancelled ones count until their reply */

/* Zeroed, with `done` set, before the first use. */
struct redis_call {
    void (*done)(struct redis_call *call, const struct redisReply *reply); /* NULL: see fault */
    struct fault fault; /* code OK, or why; an error reply fills it and passes reply too */
    /* private */
    struct list_node node;
    struct list *list;
    struct redis *redis;
    struct mono deadline;
};

/* Binary-safe argv; copied. `done` never fires from inside. */
void redis_start(struct redis *redis, struct redis_call *call, size_t argc,
                 const char *const *argv, const size_t *len);
/* Builds argv piece by piece for long commands. */
struct redis_args {
    struct buf bytes;
    size_t *len;
    size_t count, size;
};
void redis_args_init(struct redis_args *args);
void redis_args_release(struct redis_args *args);
void redis_args_add(struct redis_args *args, const char *text);
void redis_args_add_bytes(struct redis_args *args, const void *bytes, size_t len);
void redis_args_add_int(struct redis_args *args, int64_t value);
void redis_start_args(struct redis *redis, struct redis_call *call,
                      const struct redis_args *args);

/* Forgets the owner: `done` will not fire any more. The reply, if it comes, is dropped. */
void redis_cancel(struct redis_call *call);

/* Replies. Borrowed during `done`. */
enum redis_type { REDIS_NIL, REDIS_TEXT, REDIS_INT, REDIS_ARRAY, REDIS_ERROR };
enum redis_type redis_reply_type(const struct redisReply *reply);
const char *redis_reply_text(const struct redisReply *reply); /* "" if no text; 0-terminated */
size_t redis_reply_len(const struct redisReply *reply);
int64_t redis_reply_int(const struct redisReply *reply); /* also of decimal text; else 0 */
size_t redis_reply_count(const struct redisReply *reply);
const struct redisReply *redis_reply_at(const struct redisReply *reply, size_t index);

/* The row for an error reply ("FENCED …", "LOADING …", "OOM …", "NOAUTH …", …). Pure. */
enum err redis_error_row(const char *text);

#endif
