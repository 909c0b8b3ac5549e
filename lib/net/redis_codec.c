/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RESP2 both ways: commands to bytes, bytes to replies, error replies to rows. Pure. hiredis
 * parses, but knows no limit on sizes. The limits are here: a peer that announces a huge reply
 * loses its connection before the memory is used.
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/net/redis_parts.h"

#define ARGS_BYTES_MAX (16u * 1024 * 1024)

/* ---- error replies ---- */

/* Redis' own words and those of the queue library. Whole words: BUSY is not BUSYGROUP. */
static const struct error_row {
    const char *prefix;
    enum err code;
    bool reconnects;
} error_row[] = {
    { "FENCED", ERR_FENCED, false },
    { "GONE", ERR_FENCED, false }, /* somebody else was faster */
    { "BADARG", ERR_ARGUMENT, false },
    { "NOTFAILED", ERR_ARGUMENT, false }, /* to an operator: there is nothing to retry */
    { "BADPHASE", ERR_BUG, false },
    { "PAUSED", ERR_REDIS_BUSY, false },
    { "ERR Function not found", ERR_REDIS_LIBRARY, false },
    { "LOADING", ERR_REDIS_BUSY, false },
    { "BUSY", ERR_REDIS_BUSY, false },
    { "TRYAGAIN", ERR_REDIS_BUSY, false },
    { "CLUSTERDOWN", ERR_REDIS_BUSY, false },
    { "ERR max number of clients reached", ERR_REDIS_BUSY, true },
    { "OOM", ERR_REDIS_FULL, false },
    { "MISCONF", ERR_REDIS_FULL, false },
    { "NOREPLICAS", ERR_REDIS_BUSY, false },
    { "ASK", ERR_REDIS_BUSY, false }, /* the slot is on its way to another node */
    { "MOVED", ERR_REDIS_ROLE, true },
    /* The name may point to another server by now. */
    { "READONLY", ERR_REDIS_ROLE, true },
    { "MASTERDOWN", ERR_REDIS_ROLE, true },
    { "NOPERM", ERR_REDIS_DENIED, false },
    /* The password may be another one by now; it is read again for the new connection. */
    { "NOAUTH", ERR_REDIS_DENIED, true },
    { "WRONGPASS", ERR_REDIS_DENIED, true },
    { "DENIED", ERR_REDIS_DENIED, true },
    { "ERR AUTH", ERR_REDIS_DENIED, true },
};

static const struct error_row *find_error(const char *text)
{
    for (size_t i = 0; i < sizeof error_row / sizeof *error_row; i++) {
        size_t len = strlen(error_row[i].prefix);
        if (strncmp(text, error_row[i].prefix, len) == 0 && (!text[len] || text[len] == ' '))
            return &error_row[i];
    }
    return NULL;
}

enum err redis_error_row(const char *text)
{
    const struct error_row *row = find_error(text);
    return row ? row->code : ERR_REDIS_REPLY;
}

bool redis_error_reconnects(const char *text)
{
    const struct error_row *row = find_error(text);
    return row && row->reconnects;
}

/* ---- bytes to replies ---- */

struct redis_reader {
    redisReader *hiredis;
    size_t unfinished; /* bytes received for the reply that is being read */
#if HIREDIS_MAJOR < 1
    redisReplyObjectFunctions limited; /* hiredis' own, but for createArray */
    void *(*create_array)(const redisReadTask *task, int elements);
#endif
};

#if HIREDIS_MAJOR < 1
/* Arrays are allocated as announced, before any element arrived: look at the number first. */
static void *on_create_array(const redisReadTask *task, int elements)
{
    struct redis_reader *reader = task->privdata;
    if (elements > REDIS_REPLY_ELEMENTS_MAX)
        return NULL; /* hiredis makes an error of it */
    return reader->create_array(task, elements);
}

static void limit_elements(struct redis_reader *reader)
{
    reader->limited = *reader->hiredis->fn;
    reader->create_array = reader->limited.createArray;
    reader->limited.createArray = on_create_array;
    reader->hiredis->fn = &reader->limited;
    reader->hiredis->privdata = reader;
}
#else
static void limit_elements(struct redis_reader *reader)
{
    reader->hiredis->maxelements = REDIS_REPLY_ELEMENTS_MAX;
}
#endif

struct redis_reader *redis_reader_new(void)
{
    struct redis_reader *reader = mem_alloc(sizeof *reader);
    reader->hiredis = redisReaderCreate();
    if (!reader->hiredis)
        abort(); /* small allocations never fail, see mem.h */
    limit_elements(reader);
    return reader;
}

void redis_reader_free(struct redis_reader *reader)
{
    if (!reader)
        return;
    redisReaderFree(reader->hiredis);
    mem_free(reader);
}

static enum err reader_error(const struct redis_reader *reader, struct fault *fault)
{
    return fault_set(fault, ERR_REDIS_REPLY, "protocol error: %s", reader->hiredis->errstr);
}

enum err redis_reader_feed(struct redis_reader *reader, const char *bytes, size_t len,
                           struct fault *fault)
{
    reader->unfinished += len;
    if (redisReaderFeed(reader->hiredis, bytes, len) != REDIS_OK)
        return reader_error(reader, fault);
    return OK;
}

enum err redis_reader_next(struct redis_reader *reader, struct redisReply **ret,
                           struct fault *fault)
{
    void *reply = NULL;
    if (redisReaderGetReply(reader->hiredis, &reply) != REDIS_OK)
        return reader_error(reader, fault);
    if (reply)
        reader->unfinished = reader->hiredis->len - reader->hiredis->pos;
    else if (reader->unfinished > REDIS_REPLY_BYTES_MAX)
        return fault_set(fault, ERR_REDIS_REPLY, "protocol error: reply of more than %u MiB",
                         REDIS_REPLY_BYTES_MAX >> 20);
    *ret = reply;
    return OK;
}

void redis_reply_free(struct redisReply *reply)
{
    freeReplyObject(reply);
}

/* ---- reading replies ---- */

enum redis_type redis_reply_type(const struct redisReply *reply)
{
    static const enum redis_type type[] = {
        [REDIS_REPLY_STRING] = REDIS_TEXT, [REDIS_REPLY_ARRAY] = REDIS_ARRAY,
        [REDIS_REPLY_INTEGER] = REDIS_INT, [REDIS_REPLY_NIL] = REDIS_NIL,
        [REDIS_REPLY_STATUS] = REDIS_TEXT, [REDIS_REPLY_ERROR] = REDIS_ERROR,
    };
    if (!reply || reply->type < 0 || (size_t)reply->type >= sizeof type / sizeof *type)
        return REDIS_NIL;
    return type[reply->type];
}

static bool has_text(const struct redisReply *reply)
{
    enum redis_type type = redis_reply_type(reply);
    return type == REDIS_TEXT || type == REDIS_ERROR;
}

const char *redis_reply_text(const struct redisReply *reply)
{
    return has_text(reply) ? reply->str : "";
}

size_t redis_reply_len(const struct redisReply *reply)
{
    return has_text(reply) ? reply->len : 0;
}

int64_t redis_reply_int(const struct redisReply *reply)
{
    if (redis_reply_type(reply) == REDIS_INT)
        return reply->integer;
    if (redis_reply_type(reply) != REDIS_TEXT ||
        strspn(reply->str, "-0123456789") != reply->len)
        return 0;
    char *end;
    errno = 0;
    long long value = strtoll(reply->str, &end, 10);
    return errno || *end ? 0 : value;
}

size_t redis_reply_count(const struct redisReply *reply)
{
    return redis_reply_type(reply) == REDIS_ARRAY ? reply->elements : 0;
}

const struct redisReply *redis_reply_at(const struct redisReply *reply, size_t index)
{
    return index < redis_reply_count(reply) ? reply->element[index] : NULL;
}

/* ---- commands to bytes ---- */

static void write_count(struct buf *out, char mark, size_t count)
{
    char line[24];
    int len = snprintf(line, sizeof line, "%c%zu\r\n", mark, count);
    buf_add(out, line, (size_t)len);
}

bool redis_command_write(struct buf *out, size_t argc, const char *const *argv,
                         const size_t *len)
{
    size_t before = out->len;
    write_count(out, '*', argc);
    for (size_t i = 0; i < argc; i++) {
        write_count(out, '$', len[i]);
        buf_add(out, argv[i], len[i]);
        buf_add(out, "\r\n", 2);
    }
    if (!out->overflow)
        return true;
    out->len = before;
    out->overflow = false;
    if (out->data)
        out->data[before] = 0;
    return false;
}

void redis_args_init(struct redis_args *args)
{
    *args = (struct redis_args){ .bytes = BUF_INIT(ARGS_BYTES_MAX) };
}

void redis_args_release(struct redis_args *args)
{
    buf_release(&args->bytes);
    mem_free(args->len);
    args->len = NULL;
    args->count = args->size = 0;
}

void redis_args_add_bytes(struct redis_args *args, const void *bytes, size_t len)
{
    if (args->count == args->size) {
        args->size = args->size ? args->size * 2 : 16;
        args->len = mem_grow(args->len, args->size, sizeof *args->len);
    }
    args->len[args->count++] = len;
    buf_add(&args->bytes, bytes, len);
}

void redis_args_add(struct redis_args *args, const char *text)
{
    redis_args_add_bytes(args, text, strlen(text));
}

void redis_args_add_int(struct redis_args *args, int64_t value)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRId64, value);
    redis_args_add_bytes(args, text, (size_t)len);
}
