/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Redis server played by the test itself, step by step, on blocking sockets between turns of
 * the loop: every order of events can be written down.
 */
#ifndef SLUICE_TESTS_REDIS_PEER_H
#define SLUICE_TESTS_REDIS_PEER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "redis_probe.h"

#define NAME_CALL "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$6\r\nsluice\r\n"
#define PING_CALL "*1\r\n$4\r\nPING\r\n"

struct peer {
    struct rig rig;
    int listener, fd;
    int port;
};

static inline bool readable(int fd)
{
    struct pollfd waiting = { .fd = fd, .events = POLLIN };
    return poll(&waiting, 1, 0) > 0;
}

static inline void peer_listen(struct peer *peer)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *peer = (struct peer){ .fd = -1, .listener = socket(AF_INET, SOCK_STREAM, 0) };
    assert_int_equal(bind(peer->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(peer->listener, 16), 0);
    assert_int_equal(getsockname(peer->listener, (struct sockaddr *)&address, &len), 0);
    peer->port = ntohs(address.sin_port);
}

static inline void peer_hang_up(struct peer *peer)
{
    if (peer->fd >= 0)
        close(peer->fd);
    peer->fd = -1;
}

static inline void peer_accept(struct peer *peer)
{
    peer_hang_up(peer);
    SPIN(&peer->rig, readable(peer->listener));
    peer->fd = accept(peer->listener, NULL, NULL);
    assert_true(peer->fd >= 0);
}

/* The next bytes from the client must be these. */
static inline void peer_expect(struct peer *peer, const char *bytes)
{
    char got[512] = "";
    size_t len = strlen(bytes);
    assert_true(len < sizeof got);
    for (size_t at = 0; at < len;) {
        SPIN(&peer->rig, readable(peer->fd));
        ssize_t n = read(peer->fd, got + at, len - at);
        assert_true(n > 0);
        at += (size_t)n;
    }
    assert_string_equal(got, bytes);
}

static inline void peer_send(struct peer *peer, const char *text)
{
    assert_int_equal(send(peer->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static inline void peer_greet(struct peer *peer)
{
    int before = peer->rig.ups;
    peer_accept(peer);
    peer_expect(peer, NAME_CALL);
    peer_send(peer, "+OK\r\n");
    SPIN(&peer->rig, peer->rig.ups == before + 1);
}

static inline void peer_open(struct peer *peer, struct redis_options options)
{
    char url[64];
    snprintf(url, sizeof url, "redis://127.0.0.1:%d", peer->port);
    options.url = options.url ? options.url : url;
    rig_open(&peer->rig, options);
}

static inline void peer_begin(struct peer *peer)
{
    peer_listen(peer);
    peer_open(peer, (struct redis_options){ 0 });
    peer_greet(peer);
}

static inline void peer_end(struct peer *peer)
{
    peer_hang_up(peer);
    close(peer->listener);
    rig_close(&peer->rig);
}

#endif
