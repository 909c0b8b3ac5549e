/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to redis*.c: the three parts below the client. From the wire upwards:
 *
 *   redis_stream   bytes to and from one peer: resolve, connect, read, write, close
 *   redis_reader   bytes to replies, within limits (the only use of hiredis besides replies)
 *   redis (redis.h) replies to calls, deadlines, reconnect
 */
#ifndef SLUICE_NET_REDIS_PARTS_H
#define SLUICE_NET_REDIS_PARTS_H

#include "lib/net/redis.h"

#define REDIS_REPLY_BYTES_MAX    (16u * 1024 * 1024) /* one reply on the wire */
#define REDIS_REPLY_ELEMENTS_MAX (1024 * 1024)       /* one array */
#define REDIS_OUTPUT_MAX         (64u * 1024 * 1024) /* commands not sent yet */

/* Where the server is. Exactly one of `host` and `path` is set. */
struct redis_url {
    char *host, *path;
    int port, db;
    char *name; /* for messages: "host:port" or the path */
};
enum err redis_url_parse(const char *text, struct redis_url *ret,
                         struct fault *fault) MUST_CHECK;
void redis_url_release(struct redis_url *url);
/* Where "MOVED <slot> <host>:<port>", said by the server at `from`, leads; false: nowhere. */
bool redis_url_moved(const char *text, const struct redis_url *from, struct redis_url *ret);

/*
 * One connection, from name to end; a reconnect makes a new one. Events come from the loop,
 * never from inside a call. `on_lost` comes at most once and is the last event; the owner still
 * has to close. After redis_stream_close nothing more is heard of it.
 */
struct redis_stream;
struct redis_stream_events {
    void (*on_open)(void *owner);
    void (*on_bytes)(void *owner, const char *bytes, size_t len);
    void (*on_lost)(void *owner, const struct fault *reason);
};
/* `url` must outlive the stream. */
struct redis_stream *redis_stream_open(struct loop *loop, const struct redis_url *url,
                                       const struct redis_stream_events *events, void *owner);
/* What is appended here before the end of the turn leaves in one write. */
struct buf *redis_stream_output(struct redis_stream *stream);
void redis_stream_close(struct redis_stream *stream); /* NULL is fine */

/* Replies out of bytes. After an error the reader, and with it the connection, is useless. */
struct redis_reader;
struct redis_reader *redis_reader_new(void);
void redis_reader_free(struct redis_reader *reader);
enum err redis_reader_feed(struct redis_reader *reader, const char *bytes, size_t len,
                           struct fault *fault) MUST_CHECK;
/* The next whole reply, NULL if more bytes are needed; freed with redis_reply_free. */
enum err redis_reader_next(struct redis_reader *reader, struct redisReply **ret,
                           struct fault *fault) MUST_CHECK;
void redis_reply_free(struct redisReply *reply);

/* Appends one command; false, and nothing appended, if it does not fit. */
bool redis_command_write(struct buf *out, size_t argc, const char *const *argv,
                         const size_t *len);

/* Whether an error reply makes this connection useless (server demoted, password changed). */
bool redis_error_reconnects(const char *text);

#endif
