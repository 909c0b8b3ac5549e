/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loop with one Redis client, and counters of what it was told. Shared by test_redis.c (fake
 * peer) and test_redis_server.c (real server). SPIN turns the loop until something is true; the
 * guard makes a test that waits in vain fail instead of hanging.
 */
#ifndef SLUICE_TESTS_REDIS_RIG_H
#define SLUICE_TESTS_REDIS_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include <cmocka.h>

#include "lib/net/redis.h"

#define GUARD_MS 20000

struct rig {
    struct loop *loop;
    struct redis *redis;
    struct timer guard, tick;
    bool late;
    int ups, downs;
    struct fault down; /* the last one */
    void (*also_on_up)(struct rig *rig);
    void (*also_on_down)(struct rig *rig);
};

static inline void rig_on_up(void *owner)
{
    struct rig *rig = owner;
    rig->ups++;
    if (rig->also_on_up)
        rig->also_on_up(rig);
}

static inline void rig_on_down(void *owner, const struct fault *reason)
{
    struct rig *rig = owner;
    rig->downs++;
    rig->down = *reason;
    if (rig->also_on_down)
        rig->also_on_down(rig);
}

static inline void rig_on_guard(struct timer *guard)
{
    container_of(guard, struct rig, guard)->late = true;
}

static inline void rig_on_tick(struct timer *tick)
{
    (void)tick;
}

/* The tick: what a condition waits for may happen outside the loop, where nothing wakes us. */
static inline void rig_turn(struct rig *rig)
{
    rig->tick.fire = rig_on_tick;
    timer_set_in(rig->loop, &rig->tick, 5);
    uv_run(loop_uv(rig->loop), UV_RUN_ONCE);
}

#define SPIN(rig, condition)                                                                   \
    do {                                                                                       \
        (rig)->late = false;                                                                   \
        timer_set_in((rig)->loop, &(rig)->guard, GUARD_MS);                                    \
        while (!(condition) && !(rig)->late)                                                   \
            rig_turn(rig);                                                                     \
        assert_true(condition);                                                                \
        timer_clear((rig)->loop, &(rig)->guard);                                               \
    } while (0)

/* Zero timeouts become generous ones. */
static inline void rig_open(struct rig *rig, struct redis_options options)
{
    struct fault fault = { 0 };
    if (!rig->loop)
        rig->loop = loop_new();
    rig->guard.fire = rig_on_guard;
    options.owner = rig;
    options.on_up = rig_on_up;
    options.on_down = rig_on_down;
    if (!options.connect_timeout_ms)
        options.connect_timeout_ms = GUARD_MS / 2;
    if (!options.reply_timeout_ms)
        options.reply_timeout_ms = GUARD_MS / 2;
    assert_int_equal(redis_new(rig->loop, &options, &rig->redis, &fault), OK);
}

static inline void rig_close(struct rig *rig)
{
    timer_clear(rig->loop, &rig->guard);
    timer_clear(rig->loop, &rig->tick);
    redis_free(rig->redis);
    loop_free(rig->loop);
}

#endif
