/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local socket: accept, read one request, answer, close.
 *
 *   READING ─▶ WRITING ─▶ LINGERING ─▶ closed
 *      └──────────┴────────────┴─ deadline, error: closed at once
 *
 * Lingering: after the answer our side is shut down and what the client still sends is dropped
 * until it closes too; closing with unread input would take the answer away from it.
 */
#include "lib/net/unixsock.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "lib/net/unixsock_request.h"

#define CLIENTS_MAX 64
#define CLIENT_MS   5000
#define LINGER_MS   1000
#define BACKLOG     128

union stream {
    uv_handle_t handle;
    uv_stream_t any;
    uv_pipe_t pipe;
    uv_tcp_t tcp;
};

struct unixsock {
    struct loop *loop;
    void *owner;
    unixsock_handler *handle;
    char *path;   /* or the address */
    dev_t device; /* these two: the file we made, so that we unlink no other */
    ino_t inode;
    bool port; /* TCP, not a file */
    union stream listener;
    bool waiting; /* libuv holds an accepted connection that found no room */
    struct list clients;
};

enum client_state { CLIENT_READING, CLIENT_WRITING, CLIENT_LINGERING };

struct client {
    struct list_node node;
    struct unixsock *server;
    enum client_state state;
    bool ended; /* the client sends no more */
    union stream stream;
    struct timer deadline;
    char request[UNIXSOCK_REQUEST_MAX];
    size_t len;
    struct buf answer;
    uv_write_t write;
    uv_shutdown_t shutdown;
};

static void on_connection(uv_stream_t *listener, int status);
static void on_listener_closed(uv_handle_t *handle);
static void accept_client(struct unixsock *server);
static void close_client(struct client *client);

/* ---- life ---- */

static enum err listen_at(struct unixsock *server, int fd, struct fault *fault)
{
    uv_loop_t *uv = loop_uv(server->loop);
    int status = server->port ? uv_tcp_init(uv, &server->listener.tcp)
                              : uv_pipe_init(uv, &server->listener.pipe, 0);
    if (!status)
        status = server->port ? uv_tcp_open(&server->listener.tcp, fd)
                              : uv_pipe_open(&server->listener.pipe, fd);
    if (!status)
        status = uv_listen(&server->listener.any, BACKLOG, on_connection);
    if (!status)
        return OK;
    return fault_set(fault, ERR_IO, "%s: cannot listen: %s", server->path, uv_strerror(status));
}

static enum err start(struct loop *loop, const char *path, int fd, bool port, void *owner,
                      unixsock_handler *handle, struct unixsock **ret, struct fault *fault)
{
    struct unixsock *server = mem_alloc(sizeof *server);
    struct stat file = { 0 };
    server->loop = loop;
    server->owner = owner;
    server->handle = handle;
    server->port = port;
    server->path = mem_copy_text(path);
    list_init(&server->clients);
    if (!port && lstat(path, &file) == 0) {
        server->device = file.st_dev;
        server->inode = file.st_ino;
    }
    enum err err = listen_at(server, fd, fault);
    if (err)
        unixsock_free(server);
    else
        *ret = server;
    return err;
}

enum err unixsock_new(struct loop *loop, const struct unixsock_file *file, void *owner,
                      unixsock_handler *handle, struct unixsock **ret, struct fault *fault)
{
    int fd = -1;
    enum err err = unixsock_open_file(file, &fd, fault);
    return err ? err : start(loop, file->path, fd, false, owner, handle, ret, fault);
}

enum err unixsock_new_port(struct loop *loop, const char *address, void *owner,
                           unixsock_handler *handle, struct unixsock **ret, struct fault *fault)
{
    int fd = -1;
    enum err err = unixsock_open_port(address, &fd, fault);
    return err ? err : start(loop, address, fd, true, owner, handle, ret, fault);
}

void unixsock_free(struct unixsock *socket)
{
    if (!socket)
        return;
    struct stat file;
    if (!socket->port && lstat(socket->path, &file) == 0 && file.st_dev == socket->device &&
        file.st_ino == socket->inode)
        unlink(socket->path);
    socket->waiting = false;
    list_each(&socket->clients, node)
    {
        close_client(container_of(node, struct client, node));
    }
    uv_close(&socket->listener.handle, on_listener_closed);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct unixsock *server = container_of(handle, struct unixsock, listener.handle);
    mem_free(server->path);
    mem_free(server);
}

/* ---- answering ---- */

static void on_shutdown(uv_shutdown_t *req, int status)
{
    (void)req, (void)status; /* the deadline or the client's end closes */
}

static void on_written(uv_write_t *req, int status)
{
    struct client *client = container_of(req, struct client, write);
    if (uv_is_closing((uv_handle_t *)req->handle))
        return;
    if (status || client->ended || uv_shutdown(&client->shutdown, req->handle, on_shutdown)) {
        close_client(client);
        return;
    }
    client->state = CLIENT_LINGERING;
    timer_set_in(client->server->loop, &client->deadline, LINGER_MS);
}

static void write_answer(struct client *client)
{
    client->state = CLIENT_WRITING;
    uv_buf_t bytes = uv_buf_init(client->answer.data, (unsigned)client->answer.len);
    if (uv_write(&client->write, &client->stream.any, &bytes, 1, on_written))
        close_client(client);
}

/* Asks the handler, unless the request itself is already an error. */
static void answer_request(struct client *client, struct unixsock_parsed *parsed)
{
    struct unixsock_answer answer = {
        .status = parsed->status,
        .content_type = "text/plain; charset=utf-8",
        .body = BUF_INIT(UNIXSOCK_BODY_MAX),
    };
    if (parsed->status == 200)
        client->server->handle(client->server->owner, &parsed->request, &answer);
    unixsock_answer_write(&client->answer, &parsed->request, &answer);
    buf_release(&answer.body);
    write_answer(client);
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
    (void)hint;
    struct client *client = container_of(handle, struct client, stream.handle);
    static char dropped[1024];
    if (client->state == CLIENT_READING)
        *buf = uv_buf_init(client->request + client->len,
                           (unsigned)(sizeof client->request - client->len));
    else
        *buf = uv_buf_init(dropped, sizeof dropped);
}

static void take_input(struct client *client)
{
    struct unixsock_parsed parsed;
    if (unixsock_request_parse(client->request, client->len, client->ended, &parsed))
        answer_request(client, &parsed);
    else if (client->ended)
        close_client(client); /* came and went without a word */
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    (void)buf;
    struct client *client = container_of(stream, struct client, stream.any);
    if (len == 0)
        return;
    if (len < 0 && (len != UV_EOF || client->state == CLIENT_LINGERING)) {
        close_client(client);
        return;
    }
    client->ended = len < 0;
    if (client->ended)
        uv_read_stop(stream);
    else if (client->state == CLIENT_READING)
        client->len += (size_t)len;
    if (client->state == CLIENT_READING)
        take_input(client);
}

/* ---- clients ---- */

static void on_connection(uv_stream_t *listener, int status)
{
    struct unixsock *server = container_of(listener, struct unixsock, listener.any);
    if (status)
        return;
    /* Not accepting stops libuv from polling the listener: the others stay in the backlog. */
    if (server->clients.count >= CLIENTS_MAX)
        server->waiting = true;
    else
        accept_client(server);
}

static void on_deadline(struct timer *timer)
{
    close_client(container_of(timer, struct client, deadline));
}

static void accept_client(struct unixsock *server)
{
    struct client *client = mem_alloc(sizeof *client);
    client->server = server;
    client->deadline.fire = on_deadline;
    buf_init(&client->answer, UNIXSOCK_BODY_MAX + UNIXSOCK_REQUEST_MAX);
    list_push(&server->clients, &client->node);
    timer_set_in(server->loop, &client->deadline, CLIENT_MS);
    if (server->port)
        uv_tcp_init(loop_uv(server->loop), &client->stream.tcp);
    else
        uv_pipe_init(loop_uv(server->loop), &client->stream.pipe, 0);
    if (uv_accept(&server->listener.any, &client->stream.any) ||
        uv_read_start(&client->stream.any, on_alloc, on_read))
        close_client(client);
}

static void on_client_closed(uv_handle_t *handle)
{
    struct client *client = container_of(handle, struct client, stream.handle);
    buf_release(&client->answer);
    mem_free(client);
}

/* The server may be gone before libuv gives the client back, so it leaves the list first. */
static void close_client(struct client *client)
{
    struct unixsock *server = client->server;
    timer_clear(server->loop, &client->deadline);
    list_remove(&server->clients, &client->node);
    uv_close(&client->stream.handle, on_client_closed);
    if (!server->waiting)
        return;
    server->waiting = false;
    accept_client(server);
}
