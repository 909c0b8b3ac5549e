/* SPDX-License-Identifier: Apache-2.0 */
/* The buffer pool: bounds, merging, waiting in line, and a random walk against a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/pool.h"

#define KIB 1024

static struct loop *loop;

static int set_up(void **state)
{
    (void)state;
    loop = loop_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

static void test_cost_is_a_power_of_two(void **state)
{
    (void)state;
    assert_int_equal(pool_cost(0), 64 * KIB);
    assert_int_equal(pool_cost(64 * KIB), 64 * KIB);
    assert_int_equal(pool_cost(64 * KIB + 1), 128 * KIB);
    assert_int_equal(pool_cost(5 * 1024 * KIB), 8 * 1024 * KIB);
}

static void test_all_of_it_and_back(void **state)
{
    (void)state;
    struct pool *pool = pool_new(loop, 1024 * KIB);
    void *half[2] = { pool_take(pool, 512 * KIB), pool_take(pool, 512 * KIB) };
    assert_non_null(half[0]);
    assert_non_null(half[1]);
    assert_null(pool_take(pool, 1));
    assert_int_equal(pool_room(pool), 0);
    memset(half[0], 1, 512 * KIB);
    memset(half[1], 2, 512 * KIB);
    pool_give(pool, half[0], 512 * KIB);
    pool_give(pool, half[1], 512 * KIB);
    void *whole = pool_take(pool, 1024 * KIB); /* the halves have merged */
    assert_non_null(whole);
    pool_give(pool, whole, 1024 * KIB);
    pool_free(pool);
}

static void test_size_that_is_no_power_of_two(void **state)
{
    (void)state;
    struct pool *pool = pool_new(loop, 13 * 64 * KIB);
    void *all[13];
    for (int i = 0; i < 13; i++)
        assert_non_null(all[i] = pool_take(pool, 1));
    assert_null(pool_take(pool, 1));
    for (int i = 0; i < 13; i++)
        pool_give(pool, all[i], 1);
    void *big = pool_take(pool, 8 * 64 * KIB);
    assert_non_null(big);
    pool_give(pool, big, 8 * 64 * KIB);
    pool_free(pool);
}

struct guest {
    struct pool_waiter waiter;
    void *buffer;
};

static void on_ready(struct pool_waiter *waiter, void *buffer)
{
    struct guest *guest = container_of(waiter, struct guest, waiter);
    guest->buffer = buffer;
    loop_stop(loop);
}

static void test_waiters_are_served_in_order(void **state)
{
    (void)state;
    struct pool *pool = pool_new(loop, 256 * KIB);
    struct guest large = { .waiter = { .bytes = 256 * KIB, .ready = on_ready } };
    struct guest small = { .waiter = { .bytes = 1, .ready = on_ready } };
    struct guest gone = { .waiter = { .bytes = 1, .ready = on_ready } };
    void *first = pool_take(pool, 64 * KIB);
    pool_wait(pool, &large.waiter);
    pool_wait(pool, &gone.waiter);
    pool_wait(pool, &small.waiter);
    pool_forget(pool, &gone.waiter);
    pool_forget(pool, &gone.waiter);
    assert_null(pool_take(pool, 1)); /* nobody overtakes a waiter */
    assert_int_equal(pool_room(pool), 0);
    pool_give(pool, first, 64 * KIB);
    loop_run(loop); /* ends when somebody was served */
    assert_non_null(large.buffer);
    assert_null(small.buffer);
    pool_give(pool, large.buffer, 256 * KIB);
    loop_run(loop);
    assert_non_null(small.buffer);
    assert_null(gone.buffer);
    pool_give(pool, small.buffer, 1);
    pool_free(pool);
}

/* Every buffer is filled with its own byte and must still hold it when it is given back. */
static void test_random_walk(void **state)
{
    enum { SLOTS = 40 };
    static const size_t size[] = { 1, 64 * KIB, 100 * KIB, 512 * KIB, 2048 * KIB };
    struct {
        unsigned char *buffer;
        size_t bytes;
    } slot[SLOTS] = { 0 };
    (void)state;
    struct pool *pool = pool_new(loop, 8192 * KIB);
    uint64_t seed = 42;
    for (int i = 0; i < 20000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        unsigned at = (unsigned)(seed >> 33) % SLOTS;
        size_t bytes = size[(seed >> 40) % 5];
        if (slot[at].buffer) {
            assert_int_equal(slot[at].buffer[0], at);
            assert_int_equal(slot[at].buffer[slot[at].bytes - 1], at);
            pool_give(pool, slot[at].buffer, slot[at].bytes);
            slot[at].buffer = NULL;
        } else if ((slot[at].buffer = pool_take(pool, bytes))) {
            slot[at].bytes = bytes;
            slot[at].buffer[0] = slot[at].buffer[bytes - 1] = (unsigned char)at;
        }
    }
    size_t used = 0;
    for (int i = 0; i < SLOTS; i++)
        if (slot[i].buffer)
            used += pool_cost(slot[i].bytes);
    assert_int_equal(pool_used(pool), used);
    for (int i = 0; i < SLOTS; i++)
        if (slot[i].buffer)
            pool_give(pool, slot[i].buffer, slot[i].bytes);
    void *all = pool_take(pool, 8192 * KIB); /* no fragment is left */
    assert_non_null(all);
    pool_give(pool, all, 8192 * KIB);
    pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cost_is_a_power_of_two),
        cmocka_unit_test_setup_teardown(test_all_of_it_and_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_size_that_is_no_power_of_two, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_waiters_are_served_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_random_walk, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
