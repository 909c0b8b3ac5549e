/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Part buffers from one fixed budget, mapped once: the memory bound of the whole program. Sizes
 * are powers of two from 64 KiB up (a buddy allocator), so that hundreds of small files and a few
 * large parts share the same bytes. Who finds no buffer waits in order; a waiter holds nothing
 * else, and whoever holds a buffer can always finish without another one.
 */
#ifndef SLUICE_DAEMON_POOL_H
#define SLUICE_DAEMON_POOL_H

#include "lib/net/loop.h"

#define POOL_BLOCK (64 * 1024)

struct pool;

struct pool *pool_new(struct loop *loop, size_t bytes); /* NULL if it cannot be mapped */
void pool_free(struct pool *pool);

size_t pool_cost(size_t bytes);            /* what a buffer for so many bytes takes */
size_t pool_room(const struct pool *pool); /* free bytes; 0 while somebody waits */
size_t pool_used(const struct pool *pool);
size_t pool_size(const struct pool *pool);

/* NULL if there is no room now, or if others wait already. */
void *pool_take(struct pool *pool, size_t bytes);
void pool_give(struct pool *pool, void *buffer, size_t bytes); /* `bytes` as in pool_take */

/* `ready` gets the buffer, from the loop. */
struct pool_waiter {
    struct list_node node;
    size_t bytes;
    void (*ready)(struct pool_waiter *waiter, void *buffer);
};
void pool_wait(struct pool *pool, struct pool_waiter *waiter);
void pool_forget(struct pool *pool, struct pool_waiter *waiter); /* idempotent */

#endif
