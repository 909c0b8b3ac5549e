/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every way in which something can go wrong is one row here: a name for logs, a text for
 * people and what to do about it. The decision to retry is data in this table; no other file
 * decides it. A foreign error (HTTP status, curl code, Redis reply, S3 code) is mapped to a row
 * once, in its home file, and the first who sees it writes one line of detail into the fault.
 */
#ifndef SLUICE_BASE_ERR_H
#define SLUICE_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_CHECK   __attribute__((warn_unused_result))
#define PRINTF(a, b) __attribute__((format(printf, a, b)))

/* What to do about an error. */
enum action {
    ACT_NONE,
    ACT_RETRY, /* the task's own trouble: try again later, the attempt counts */
    ACT_WAIT,  /* the upstream's trouble (down, throttling, denied): later, costs no attempt */
    ACT_TOKEN, /* ask for a new access token and repeat once */
    ACT_RESTART, /* throw away what was uploaded of this file, begin again, the attempt counts */
    ACT_GIVE_UP, /* no repetition can help: dead letter */
    ACT_DROP,    /* the work is no longer ours: stop touching it, report nothing */
    ACT_BUG,     /* our own mistake: dead letter, and somebody must look */
};

#define ERR_LIST(X)                                                                            \
    X(OK, "ok", NONE, "no error")                                                              \
    /* transport */                                                                            \
    X(ERR_RESOLVE, "resolve", WAIT, "host name could not be resolved")                         \
    X(ERR_CONNECT, "connect", WAIT, "connection could not be made")                            \
    X(ERR_TLS, "tls", WAIT, "TLS handshake or certificate check failed")                       \
    X(ERR_TIMEOUT, "timeout", RETRY, "no answer in time")                                      \
    X(ERR_CUT, "cut", RETRY, "connection ended before the answer was complete")                \
    /* HTTP answers of any upstream */                                                         \
    X(ERR_THROTTLED, "throttled", WAIT, "upstream asks to slow down")                          \
    X(ERR_SERVER, "server", WAIT, "upstream failed")                                           \
    X(ERR_AUTH, "auth", TOKEN, "access token or signature was refused")                        \
    X(ERR_DENIED, "denied", WAIT, "permission is missing")                                     \
    X(ERR_CREDENTIAL, "credential", WAIT, "Adobe refuses the credential or the organisation")  \
    X(ERR_NOT_FOUND, "not-found", RETRY, "object does not exist")                              \
    X(ERR_REQUEST, "request", GIVE_UP, "upstream rejects the request")                         \
    X(ERR_REDIRECT, "redirect", WAIT, "upstream redirects, which is never followed")           \
    X(ERR_BAD_RESPONSE, "bad-response", RETRY, "answer has a wrong shape, length or range")    \
    X(ERR_TOO_BIG, "too-big", RETRY, "answer is larger than the limit for it")                 \
    /* source */                                                                               \
    X(ERR_NOT_READY, "not-ready", WAIT, "batch is not readable yet")                           \
    X(ERR_SOURCE_CHANGED, "source-changed", RESTART, "file changed while it was read")         \
    X(ERR_CORRUPT, "corrupt", RESTART, "file is not what its name says")                       \
    /* sink */                                                                                 \
    X(ERR_EXISTS, "exists", RETRY, "object exists already")                                    \
    X(ERR_CONFLICT, "conflict", RETRY, "another write to the same key is in progress")         \
    X(ERR_DIFFERS, "differs", GIVE_UP, "object exists with other content")                     \
    X(ERR_NO_UPLOAD, "no-upload", RESTART, "multipart upload no longer exists")                \
    X(ERR_BAD_PART, "bad-part", RESTART, "store rejects the list of parts")                    \
    X(ERR_DIGEST, "digest", RETRY, "checksum does not match")                                  \
    X(ERR_SKEW, "skew", WAIT, "clock differs too much from the store's")                       \
    X(ERR_REGION, "region", WAIT, "bucket lives in another region")                            \
    /* queue */                                                                                \
    X(ERR_FENCED, "fenced", DROP, "lease was lost to another worker")                          \
    X(ERR_REDIS_LOST, "redis-lost", WAIT, "Redis connection lost, outcome unknown")            \
    X(ERR_REDIS_BUSY, "redis-busy", WAIT, "Redis cannot answer now")                           \
    X(ERR_REDIS_FULL, "redis-full", WAIT, "Redis is at maxmemory or its disk is full")         \
    X(ERR_REDIS_ROLE, "redis-role", WAIT, "Redis is not a writable master")                    \
    X(ERR_REDIS_DENIED, "redis-denied", WAIT, "Redis refuses the user or the command")         \
    X(ERR_REDIS_LIBRARY, "redis-library", WAIT, "queue library is missing in Redis")           \
    X(ERR_REDIS_REPLY, "redis-reply", RETRY, "Redis answered something unexpected")            \
    X(ERR_REDIS_UNFIT, "redis-unfit", GIVE_UP,                                                 \
      "Redis is configured so that it can lose tasks")                                         \
    /* ourselves */                                                                            \
    X(ERR_ARGUMENT, "argument", GIVE_UP, "invalid argument")                                   \
    X(ERR_CONFIG, "config", GIVE_UP, "invalid configuration")                                  \
    X(ERR_SECRET, "secret", WAIT, "secret file is missing, unsafe or empty")                   \
    X(ERR_IO, "io", WAIT, "local input or output failed")                                      \
    X(ERR_MEMORY, "memory", GIVE_UP, "does not fit into the configured memory budget")         \
    X(ERR_POISON, "poison", GIVE_UP, "task lost its lease too often")                          \
    X(ERR_CANCELLED, "cancelled", DROP, "cancelled")                                           \
    X(ERR_BUG, "bug", BUG, "internal error")

enum err {
#define X(code, name, action, text) code,
    ERR_LIST(X)
#undef X
        ERR_COUNT
};

/* Names are stable: they go to logs, metrics and the queue's `error` field. */
const char *err_name(enum err code);
const char *err_text(enum err code);
enum action err_action(enum err code);

/*
 * One failure with its detail: which row, which HTTP status (0 = none), how long upstream asked
 * us to wait (ms, 0 = it did not say) and one line of text, control bytes already replaced.
 */
struct fault {
    enum err code;
    int http_status;
    int64_t retry_after_ms;
    char text[488];
};

/* Fills the fault and returns `code`, so that `return fault_set(...)` ends a function. */
enum err fault_set(struct fault *fault, enum err code, const char *format, ...) PRINTF(3, 4);

/* Replaces bytes below 0x20 and 0x7f, and everything that is not ASCII, by '?'. In place. */
void text_sanitize(char *text);

#endif
