/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to Redis over TCP or a unix socket.
 *
 *   RESOLVING ─▶ CONNECTING ─▶ OPEN ─▶ BROKEN ─▶ CLOSED
 *   (TCP only)    └ each address in turn
 *
 * Output collects in `output` during a turn of the loop and leaves at its end by one try_write;
 * what the socket does not take moves to `sending` until uv_write is through. A failure is kept
 * as BROKEN and told at the end of the turn, so that no event fires from inside a call.
 *
 * TLS belongs here: an SSL object over two memory BIOs, fed in on_read, drained in flush, its
 * handshake a state between CONNECTING and OPEN. Nothing above would notice.
 */
#include <netdb.h>
#include <stdio.h>
#include <uv.h>

#include "lib/net/redis_parts.h"

#define INPUT_SIZE      (64 * 1024)
#define KEPT_OUTPUT_MAX (256 * 1024) /* a buffer that grew larger is given back when empty */
#define KEEPALIVE_S     30

enum stream_state {
    STREAM_RESOLVING,
    STREAM_CONNECTING,
    STREAM_OPEN,
    STREAM_BROKEN,
    STREAM_CLOSED,
};

struct redis_stream {
    struct loop *loop;
    const struct redis_url *url;
    const struct redis_stream_events *events;
    void *owner;
    enum stream_state state;
    struct fault fault;   /* BROKEN: why */
    struct deferred work; /* end of the turn: flush, or tell what broke */

    bool resolving;                    /* libuv still owns `resolve` */
    struct addrinfo *addresses, *next; /* next: the one to try */
    union {                            /* type UV_UNKNOWN_HANDLE: libuv does not own it */
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    uv_getaddrinfo_t resolve;
    uv_connect_t connect;
    uv_write_t write;
    struct buf output, sending;
    char input[INPUT_SIZE];
};

static void start_resolve(struct redis_stream *stream);
static void start_connect_tcp(struct redis_stream *stream);
static void start_connect_pipe(struct redis_stream *stream);
static void run_work(struct deferred *work);
static void flush(struct redis_stream *stream);
static void fail(struct redis_stream *stream, enum err code, int status);
static void close_handle(struct redis_stream *stream);
static void free_if_idle(struct redis_stream *stream);

struct redis_stream *redis_stream_open(struct loop *loop, const struct redis_url *url,
                                       const struct redis_stream_events *events, void *owner)
{
    struct redis_stream *stream = mem_alloc(sizeof *stream);
    stream->loop = loop;
    stream->url = url;
    stream->events = events;
    stream->owner = owner;
    stream->work.run = run_work;
    buf_init(&stream->output, REDIS_OUTPUT_MAX);
    buf_init(&stream->sending, REDIS_OUTPUT_MAX);
    if (url->path)
        start_connect_pipe(stream);
    else
        start_resolve(stream);
    return stream;
}

struct buf *redis_stream_output(struct redis_stream *stream)
{
    loop_defer(stream->loop, &stream->work);
    return &stream->output;
}

void redis_stream_close(struct redis_stream *stream)
{
    if (!stream)
        return;
    stream->state = STREAM_CLOSED;
    loop_undefer(stream->loop, &stream->work);
    if (stream->resolving)
        uv_cancel((uv_req_t *)&stream->resolve);
    close_handle(stream);
    free_if_idle(stream);
}

/* ---- resolve and connect ---- */

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *addresses)
{
    struct redis_stream *stream = container_of(req, struct redis_stream, resolve);
    stream->resolving = false;
    stream->addresses = stream->next = addresses;
    if (stream->state == STREAM_CLOSED)
        free_if_idle(stream);
    else if (status)
        fail(stream, ERR_RESOLVE, status);
    else
        start_connect_tcp(stream);
}

static void start_resolve(struct redis_stream *stream)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    char port[8];
    snprintf(port, sizeof port, "%d", stream->url->port);
    stream->state = STREAM_RESOLVING;
    int status = uv_getaddrinfo(loop_uv(stream->loop), &stream->resolve, on_resolved,
                                stream->url->host, port, &hints);
    if (status)
        fail(stream, ERR_RESOLVE, status);
    else
        stream->resolving = true;
}

/* This address failed: the next one needs a new handle, so the old one goes first. */
static void connect_failed(struct redis_stream *stream, int status)
{
    if (stream->next)
        close_handle(stream);
    else
        fail(stream, ERR_CONNECT, status);
}

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
    (void)hint;
    struct redis_stream *stream = container_of(handle, struct redis_stream, uv.handle);
    *buf = uv_buf_init(stream->input, sizeof stream->input);
}

static void on_read(uv_stream_t *handle, ssize_t len, const uv_buf_t *buf)
{
    struct redis_stream *stream = container_of(handle, struct redis_stream, uv.stream);
    if (stream->state != STREAM_OPEN || len == 0)
        return;
    if (len < 0)
        fail(stream, ERR_REDIS_LOST, (int)len);
    else
        stream->events->on_bytes(stream->owner, buf->base, (size_t)len);
}

static void on_connect(uv_connect_t *req, int status)
{
    struct redis_stream *stream = container_of(req, struct redis_stream, connect);
    if (stream->state != STREAM_CONNECTING)
        return;
    if (!status)
        status = uv_read_start(&stream->uv.stream, on_alloc, on_read);
    if (status) {
        connect_failed(stream, status);
        return;
    }
    stream->state = STREAM_OPEN;
    stream->events->on_open(stream->owner);
}

static void start_connect_tcp(struct redis_stream *stream)
{
    const struct addrinfo *address = stream->next;
    uv_tcp_t *tcp = &stream->uv.tcp;
    stream->next = address->ai_next;
    stream->state = STREAM_CONNECTING;
    uv_tcp_init(loop_uv(stream->loop), tcp);
    int status = uv_tcp_connect(&stream->connect, tcp, address->ai_addr, on_connect);
    if (status) {
        connect_failed(stream, status);
        return;
    }
    uv_tcp_nodelay(tcp, 1);
    uv_tcp_keepalive(tcp, 1, KEEPALIVE_S);
}

static void start_connect_pipe(struct redis_stream *stream)
{
    stream->state = STREAM_CONNECTING;
    uv_pipe_init(loop_uv(stream->loop), &stream->uv.pipe, 0);
    uv_pipe_connect(&stream->connect, &stream->uv.pipe, stream->url->path, on_connect);
}

/* ---- the end of a turn ---- */

static void run_work(struct deferred *work)
{
    struct redis_stream *stream = container_of(work, struct redis_stream, work);
    if (stream->state == STREAM_BROKEN)
        stream->events->on_lost(stream->owner, &stream->fault);
    else
        flush(stream);
}

/* Commands may hold a password: what is sent is wiped. */
static void empty(struct buf *buf)
{
    mem_wipe(buf->data, buf->len);
    if (buf->size > KEPT_OUTPUT_MAX)
        buf_release(buf);
    else
        buf_clear(buf);
}

static void on_written(uv_write_t *req, int status)
{
    struct redis_stream *stream = container_of(req, struct redis_stream, write);
    if (stream->state != STREAM_OPEN)
        return;
    empty(&stream->sending);
    if (status)
        fail(stream, ERR_REDIS_LOST, status);
    else
        flush(stream);
}

static void flush(struct redis_stream *stream)
{
    struct buf *output = &stream->output, *sending = &stream->sending;
    if (stream->state != STREAM_OPEN || sending->len > 0 || output->len == 0)
        return;
    uv_buf_t bytes = uv_buf_init(output->data, (unsigned)output->len);
    int sent = uv_try_write(&stream->uv.stream, &bytes, 1);
    if (sent < 0 && sent != UV_EAGAIN) {
        fail(stream, ERR_REDIS_LOST, sent);
        return;
    }
    if (sent >= 0 && (size_t)sent == output->len) {
        empty(output);
        return;
    }
    struct buf spare = *sending;
    *sending = *output;
    *output = spare;
    size_t from = sent < 0 ? 0 : (size_t)sent;
    bytes = uv_buf_init(sending->data + from, (unsigned)(sending->len - from));
    int status = uv_write(&stream->write, &stream->uv.stream, &bytes, 1, on_written);
    if (status)
        fail(stream, ERR_REDIS_LOST, status);
}

/* ---- the end of the stream ---- */

static void fail(struct redis_stream *stream, enum err code, int status)
{
    if (stream->uv.handle.type != UV_UNKNOWN_HANDLE)
        uv_read_stop(&stream->uv.stream);
    stream->state = STREAM_BROKEN;
    fault_set(&stream->fault, code, "%s",
              status == UV_EOF ? "closed by the server" : uv_strerror(status));
    loop_defer(stream->loop, &stream->work);
}

static void on_closed(uv_handle_t *handle)
{
    struct redis_stream *stream = container_of(handle, struct redis_stream, uv.handle);
    stream->uv.handle.type = UV_UNKNOWN_HANDLE;
    if (stream->state == STREAM_CONNECTING)
        start_connect_tcp(stream);
    else
        free_if_idle(stream);
}

static void close_handle(struct redis_stream *stream)
{
    if (stream->uv.handle.type != UV_UNKNOWN_HANDLE && !uv_is_closing(&stream->uv.handle))
        uv_close(&stream->uv.handle, on_closed);
}

/* libuv owns parts of the stream until it called back; the last to leave frees it. */
static void free_if_idle(struct redis_stream *stream)
{
    if (stream->state != STREAM_CLOSED || stream->resolving ||
        stream->uv.handle.type != UV_UNKNOWN_HANDLE)
        return;
    uv_freeaddrinfo(stream->addresses);
    empty(&stream->output);
    empty(&stream->sending);
    buf_release(&stream->output);
    buf_release(&stream->sending);
    mem_free(stream);
}
