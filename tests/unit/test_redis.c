/* SPDX-License-Identifier: Apache-2.0 */
/* Redis calls, against a peer that answers wrongly, partly, late, too much or not at all. */
#include <signal.h>

#include "redis_peer.h"

#define MIB ((size_t)1024 * 1024)

/* ---- replies ---- */

static void one_byte_at_a_time(void **state)
{
    (void)state;
    static const char replies[] = "$5\r\nhello\r\n:12\r\n*2\r\n+a\r\n$-1\r\n";
    struct peer peer;
    struct probe probe[3] = { 0 };
    peer_begin(&peer);
    for (int i = 0; i < 3; i++)
        probe_start(&peer.rig, &probe[i], "PING");
    peer_expect(&peer, PING_CALL PING_CALL PING_CALL);
    for (const char *at = replies; *at; at++) {
        peer_send(&peer, (char[]){ *at, 0 });
        rig_turn(&peer.rig);
    }
    SPIN(&peer.rig, probe[2].dones == 1);
    assert_string_equal(probe[0].text, "hello");
    assert_int_equal(probe[1].number, 12);
    assert_int_equal(probe[2].type, REDIS_ARRAY);
    for (int i = 0; i < 3; i++)
        assert_int_equal(probe[i].dones, 1);
    assert_int_equal(redis_pending(peer.rig.redis), 0);
    peer_end(&peer);
}

/* The peer sends `reply` and perhaps hangs up; two calls of three must end as lost. */
static void expect_loss(const char *reply, bool hang_up, enum err code)
{
    struct peer peer;
    struct probe probe[3] = { 0 };
    peer_begin(&peer);
    for (int i = 0; i < 3; i++)
        probe_start(&peer.rig, &probe[i], "PING");
    peer_expect(&peer, PING_CALL PING_CALL PING_CALL);
    peer_send(&peer, reply);
    if (hang_up)
        peer_hang_up(&peer);
    SPIN(&peer.rig, peer.rig.downs == 1);
    assert_int_equal(peer.rig.down.code, code);
    assert_false(redis_up(peer.rig.redis));
    assert_int_equal(redis_pending(peer.rig.redis), 0);
    assert_true(probe[0].replied);
    for (int i = 0; i < 3; i++)
        assert_int_equal(probe[i].dones, 1);
    for (int i = 1; i < 3; i++) {
        assert_false(probe[i].replied);
        assert_int_equal(probe[i].call.fault.code, ERR_REDIS_LOST);
    }
    peer_greet(&peer); /* comes back by itself */
    assert_int_equal(peer.rig.downs, 1);
    peer_end(&peer);
}

static void connection_lost_between_replies(void **state)
{
    (void)state;
    expect_loss("+PONG\r\n", true, ERR_REDIS_LOST);
}

static void connection_lost_in_a_reply(void **state)
{
    (void)state;
    expect_loss("+PONG\r\n*3\r\n$5\r\nhel", true, ERR_REDIS_LOST);
}

static void garbage(void **state)
{
    (void)state;
    expect_loss("+PONG\r\nHTTP/1.1 400 Bad Request\r\n", false, ERR_REDIS_REPLY);
}

static void demoted_master(void **state)
{
    (void)state;
    expect_loss("-READONLY You can't write against a read only replica.\r\n", false,
                ERR_REDIS_ROLE);
}

static void reply_without_a_command(void **state)
{
    (void)state;
    struct peer peer;
    peer_begin(&peer);
    peer_send(&peer, "+OK\r\n");
    SPIN(&peer.rig, peer.rig.downs == 1);
    assert_int_equal(peer.rig.down.code, ERR_REDIS_REPLY);
    peer_greet(&peer);
    peer_end(&peer);
}

static void error_reply_has_fault_and_text(void **state)
{
    (void)state;
    struct peer peer;
    struct probe probe = { 0 };
    peer_begin(&peer);
    probe_start(&peer.rig, &probe, "PING");
    peer_send(&peer, "-FENCED by \x01other\r\n");
    SPIN(&peer.rig, probe.dones == 1);
    assert_int_equal(probe.type, REDIS_ERROR);
    assert_int_equal(probe.call.fault.code, ERR_FENCED);
    assert_string_equal(probe.call.fault.text, "FENCED by ?other");
    assert_true(redis_up(peer.rig.redis));
    probe_start(&peer.rig, &probe,
                "PING"); /* a call can be used again, without its old fault */
    peer_send(&peer, "+PONG\r\n");
    SPIN(&peer.rig, probe.dones == 2);
    assert_int_equal(probe.call.fault.code, OK);
    assert_string_equal(probe.call.fault.text, "");
    peer_end(&peer);
}

static void silence_past_the_deadline(void **state)
{
    (void)state;
    struct peer peer;
    struct probe probe[2] = { 0 };
    peer_listen(&peer);
    peer_open(&peer, (struct redis_options){ .reply_timeout_ms = 60 });
    peer_greet(&peer);
    probe_start(&peer.rig, &probe[0], "PING");
    peer_send(&peer, "+PONG\r\n");
    SPIN(&peer.rig, probe[0].dones == 1);
    usleep(40 * 1000);
    rig_turn(&peer.rig);
    struct mono begin = clock_mono();
    probe_start(&peer.rig, &probe[1], "PING"); /* the timer of the first call is still set */
    SPIN(&peer.rig, peer.rig.downs == 1);
    assert_true(mono_ms_between(begin, clock_mono()) >= 59);
    assert_int_equal(probe[1].dones, 1);
    assert_int_equal(probe[1].call.fault.code, ERR_REDIS_LOST);
    assert_int_equal(peer.rig.down.code, ERR_REDIS_LOST);
    peer_greet(&peer);
    peer_end(&peer);
}

static void huge_bulk_closes_before_it_is_read(void **state)
{
    (void)state;
    struct peer peer;
    struct probe probe = { 0 };
    static char block[32 * 1024];
    size_t sent = 0;
    peer_begin(&peer);
    probe_start(&peer.rig, &probe, "PING");
    peer_send(&peer, "$536870912\r\n");
    while (peer.rig.downs == 0 && sent < 64 * MIB) {
        ssize_t n = send(peer.fd, block, sizeof block, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        rig_turn(&peer.rig);
    }
    assert_in_range(sent, 16 * MIB, 24 * MIB);
    assert_int_equal(peer.rig.down.code, ERR_REDIS_REPLY);
    assert_int_equal(probe.dones, 1);
    assert_int_equal(probe.call.fault.code, ERR_REDIS_LOST);
    peer_end(&peer);
}

/* ---- sending ---- */

/* Reads `len` bytes and counts those that are `mark`. */
static size_t peer_drain(struct peer *peer, size_t len, char mark)
{
    static char block[256 * 1024];
    size_t marks = 0;
    while (len > 0) {
        SPIN(&peer->rig, readable(peer->fd));
        ssize_t n = read(peer->fd, block, sizeof block < len ? sizeof block : len);
        assert_true(n > 0);
        len -= (size_t)n;
        for (ssize_t i = 0; i < n; i++)
            marks += block[i] == mark;
    }
    return marks;
}

static void start_block(struct peer *peer, struct probe *probe, const char *block, size_t len)
{
    probe->call.done = probe_done;
    redis_start(peer->rig.redis, &probe->call, 1, &block, &len);
}

static void more_than_the_socket_takes(void **state)
{
    (void)state;
    struct peer peer;
    struct probe probe[2] = { 0 };
    size_t len = 12 * MIB, framing = strlen("*1\r\n$12582912\r\n\r\n");
    AUTO_TEXT char *block = mem_alloc(len);
    memset(block, 'x', len);
    peer_begin(&peer);
    start_block(&peer, &probe[0], block, len);
    for (int i = 0; i < 5; i++)
        rig_turn(&peer.rig);
    memset(block, 'y', len);                   /* copied, so no concern of the client */
    start_block(&peer, &probe[1], block, len); /* while the first is on its way */
    assert_int_equal(peer_drain(&peer, len + framing, 'x'), len);
    assert_int_equal(peer_drain(&peer, len + framing, 'y'), len);
    peer_send(&peer, ":1\r\n:2\r\n");
    SPIN(&peer.rig, probe[1].dones == 1);
    assert_int_equal(probe[0].number, 1);
    assert_int_equal(probe[1].number, 2);
    peer_end(&peer);
}

static void output_is_bounded(void **state)
{
    (void)state;
    struct peer peer;
    struct probe probe[9] = { 0 };
    size_t len = 8 * MIB;
    AUTO_TEXT char *block = mem_alloc(len);
    peer_begin(&peer);
    for (int i = 0; i < 9; i++)
        start_block(&peer, &probe[i], block, len);
    SPIN(&peer.rig, probe[8].dones == 1);
    assert_int_equal(probe[8].call.fault.code, ERR_REDIS_LOST);
    assert_int_equal(probe[0].dones, 0);
    assert_true(redis_up(peer.rig.redis));
    peer_end(&peer);
    assert_int_equal(probe[0].call.fault.code, ERR_CANCELLED);
}

static void too_large_arguments_are_refused(void **state)
{
    (void)state;
    struct peer peer;
    struct probe probe = { .call.done = probe_done };
    struct redis_args args;
    AUTO_TEXT char *block = mem_alloc(16 * MIB);
    peer_begin(&peer);
    redis_args_init(&args);
    redis_args_add(&args, "SET");
    redis_args_add_bytes(&args, block, 16 * MIB);
    redis_start_args(peer.rig.redis, &probe.call, &args);
    redis_args_release(&args);
    assert_int_equal(probe.dones, 0);
    SPIN(&peer.rig, probe.dones == 1);
    assert_int_equal(probe.call.fault.code, ERR_ARGUMENT);
    assert_true(redis_up(peer.rig.redis));
    peer_end(&peer);
}

/* ---- cancelling, starting again, closing ---- */

static void cancelled_call_keeps_its_place(void **state)
{
    (void)state;
    struct peer peer;
    struct probe probe[3] = { 0 };
    peer_begin(&peer);
    for (int i = 0; i < 3; i++)
        probe_start(&peer.rig, &probe[i], "PING");
    redis_cancel(&probe[1].call);
    redis_cancel(&probe[1].call);              /* twice is fine */
    probe_start(&peer.rig, &probe[1], "PING"); /* as is using it for something else */
    peer_send(&peer, ":1\r\n:2\r\n:3\r\n:4\r\n");
    SPIN(&peer.rig, probe[1].dones == 1);
    assert_int_equal(probe[0].number, 1);
    assert_int_equal(probe[1].number, 4);
    assert_int_equal(probe[2].number, 3);
    redis_cancel(&probe[0].call); /* after its end: nothing happens */
    peer_end(&peer);
    for (int i = 0; i < 3; i++)
        assert_int_equal(probe[i].dones, 1);
}

static void cancelled_calls_are_never_heard_of(void **state)
{
    (void)state;
    struct peer peer;
    struct probe probe[2] = { 0 };
    peer_begin(&peer);
    probe_start(&peer.rig, &probe[0], "PING");
    redis_cancel(&probe[0].call);
    peer_hang_up(&peer);
    SPIN(&peer.rig, peer.rig.downs == 1);
    probe_start(&peer.rig, &probe[1], "PING"); /* refused, but not told yet */
    redis_cancel(&probe[1].call);
    rig_turn(&peer.rig);
    peer_end(&peer);
    assert_int_equal(probe[0].dones + probe[1].dones, 0);
}

static void done_may_start_again(void **state)
{
    (void)state;
    struct peer peer;
    struct probe probe = { .again = &peer.rig };
    peer_begin(&peer);
    probe_start(&peer.rig, &probe, "PING");
    peer_send(&peer, "+a\r\n");
    SPIN(&peer.rig, probe.dones == 1);
    peer_send(&peer, "+b\r\n");
    SPIN(&peer.rig, probe.dones == 2);
    assert_string_equal(probe.text, "b");
    probe.again = &peer.rig;
    probe_start(&peer.rig, &probe, "PING");
    peer_hang_up(&peer); /* lost, and the repetition is refused: one `done` each */
    SPIN(&peer.rig, probe.dones == 4);
    assert_int_equal(probe.call.fault.code, ERR_REDIS_LOST);
    peer_end(&peer);
    assert_int_equal(probe.dones, 4);
}

static struct probe first_call;

static void start_first_call(struct rig *rig)
{
    probe_start(rig, &first_call, "PING");
}

static void calls_from_on_up_go_first(void **state)
{
    (void)state;
    struct peer peer;
    peer_listen(&peer);
    peer.rig.also_on_up = start_first_call;
    peer_open(&peer, (struct redis_options){ 0 });
    peer_greet(&peer);
    peer_expect(&peer, PING_CALL);
    peer_send(&peer, "+PONG\r\n");
    SPIN(&peer.rig, first_call.dones == 1);
    peer.rig.also_on_up = NULL;
    peer.rig.also_on_down = start_first_call;
    peer_hang_up(&peer);
    SPIN(&peer.rig, first_call.dones == 2);
    assert_int_equal(first_call.call.fault.code, ERR_REDIS_LOST);
    peer_end(&peer);
}

static void free_cancels_what_is_pending(void **state)
{
    (void)state;
    struct peer peer;
    struct probe sent[2] = { 0 };
    struct probe dropped = { 0 };
    peer_begin(&peer);
    sent[1].again = &peer.rig;
    probe_start(&peer.rig, &sent[0], "PING");
    probe_start(&peer.rig, &sent[1], "PING");
    probe_start(&peer.rig, &dropped, "PING");
    redis_cancel(&dropped.call);
    assert_int_equal(redis_pending(peer.rig.redis), 3);
    peer_end(&peer);
    assert_int_equal(sent[0].dones, 1);
    assert_int_equal(sent[0].call.fault.code, ERR_CANCELLED);
    assert_int_equal(sent[1].dones, 2); /* the second start was refused with the same code */
    assert_int_equal(sent[1].call.fault.code, ERR_CANCELLED);
    assert_int_equal(dropped.dones, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_byte_at_a_time),
        cmocka_unit_test(connection_lost_between_replies),
        cmocka_unit_test(connection_lost_in_a_reply),
        cmocka_unit_test(garbage),
        cmocka_unit_test(demoted_master),
        cmocka_unit_test(reply_without_a_command),
        cmocka_unit_test(error_reply_has_fault_and_text),
        cmocka_unit_test(silence_past_the_deadline),
        cmocka_unit_test(huge_bulk_closes_before_it_is_read),
        cmocka_unit_test(more_than_the_socket_takes),
        cmocka_unit_test(output_is_bounded),
        cmocka_unit_test(too_large_arguments_are_refused),
        cmocka_unit_test(cancelled_call_keeps_its_place),
        cmocka_unit_test(cancelled_calls_are_never_heard_of),
        cmocka_unit_test(done_may_start_again),
        cmocka_unit_test(calls_from_on_up_go_first),
        cmocka_unit_test(free_cancels_what_is_pending),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
