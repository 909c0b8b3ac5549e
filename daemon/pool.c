/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buddy allocator over one mapping, in blocks of 64 KiB.
 *
 *   order[b] says what starts at block b:   FREE | k   a free run of 2^k blocks
 *                                           k          a taken run of 2^k blocks
 *                                           INSIDE     not the start of a run
 *
 * Free runs of one order hang in one list. The nodes live beside the memory, one per block, so
 * that a free run costs no resident page.
 */
#include "daemon/pool.h"

#include <string.h>
#include <sys/mman.h>

#define ORDERS 24
#define FREE   0x80u
#define INSIDE 0x7fu

struct pool {
    struct loop *loop;
    char *base;
    size_t blocks, used_blocks;
    uint8_t *order;
    struct list_node *node;
    struct list free[ORDERS];
    struct list waiters;
    struct deferred serve;
};

static void serve_waiters(struct deferred *work);
static void free_run(struct pool *pool, size_t block, unsigned order);

static unsigned order_for(size_t bytes)
{
    unsigned order = 0;
    while (((size_t)POOL_BLOCK << order) < bytes)
        order++;
    return order;
}

size_t pool_cost(size_t bytes)
{
    return (size_t)POOL_BLOCK << order_for(bytes);
}

struct pool *pool_new(struct loop *loop, size_t bytes)
{
    size_t blocks = bytes / POOL_BLOCK;
    void *base = mmap(NULL, blocks * POOL_BLOCK, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    madvise(base, blocks * POOL_BLOCK, MADV_DONTDUMP);
    struct pool *pool = mem_alloc(sizeof *pool);
    *pool = (struct pool){ .loop = loop, .base = base, .blocks = blocks };
    pool->serve.run = serve_waiters;
    pool->order = mem_alloc(blocks);
    memset(pool->order, INSIDE, blocks);
    pool->node = mem_alloc_array(blocks, sizeof *pool->node);
    list_init(&pool->waiters);
    for (unsigned i = 0; i < ORDERS; i++)
        list_init(&pool->free[i]);
    /* Any size: cut into the largest aligned runs. */
    for (size_t at = 0; at < blocks;) {
        unsigned order = ORDERS - 1;
        while (at % ((size_t)1 << order) || at + ((size_t)1 << order) > blocks)
            order--;
        pool->order[at] = (uint8_t)(FREE | order);
        list_push(&pool->free[order], &pool->node[at]);
        at += (size_t)1 << order;
    }
    return pool;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    assert(pool->used_blocks == 0 && pool->waiters.count == 0);
    loop_undefer(pool->loop, &pool->serve);
    munmap(pool->base, pool->blocks * POOL_BLOCK);
    mem_free(pool->order);
    mem_free(pool->node);
    mem_free(pool);
}

size_t pool_size(const struct pool *pool)
{
    return pool->blocks * POOL_BLOCK;
}

size_t pool_used(const struct pool *pool)
{
    return pool->used_blocks * POOL_BLOCK;
}

size_t pool_room(const struct pool *pool)
{
    return pool->waiters.count ? 0 : (pool->blocks - pool->used_blocks) * POOL_BLOCK;
}

/* Takes the smallest free run that fits and gives its upper halves back. */
static void *take_run(struct pool *pool, unsigned order)
{
    unsigned from = order;
    while (from < ORDERS && pool->free[from].count == 0)
        from++;
    if (from >= ORDERS)
        return NULL;
    struct list_node *node = list_pop(&pool->free[from]);
    size_t block = (size_t)(node - pool->node);
    while (from > order) {
        from--;
        size_t buddy = block + ((size_t)1 << from);
        pool->order[buddy] = (uint8_t)(FREE | from);
        list_push(&pool->free[from], &pool->node[buddy]);
    }
    pool->order[block] = (uint8_t)order;
    pool->used_blocks += (size_t)1 << order;
    return pool->base + block * POOL_BLOCK;
}

void *pool_take(struct pool *pool, size_t bytes)
{
    return pool->waiters.count ? NULL : take_run(pool, order_for(bytes));
}

void pool_give(struct pool *pool, void *buffer, size_t bytes)
{
    size_t block = (size_t)((char *)buffer - pool->base) / POOL_BLOCK;
    unsigned order = order_for(bytes);
    assert(block < pool->blocks && pool->order[block] == order);
    pool->used_blocks -= (size_t)1 << order;
    free_run(pool, block, order);
    if (pool->waiters.count)
        loop_defer(pool->loop, &pool->serve);
}

/* Merges the run with its buddy as long as that is free as a whole. */
static void free_run(struct pool *pool, size_t block, unsigned order)
{
    for (; order + 1 < ORDERS; order++) {
        size_t buddy = block ^ ((size_t)1 << order);
        if (buddy >= pool->blocks || pool->order[buddy] != (FREE | order))
            break;
        list_remove(&pool->free[order], &pool->node[buddy]);
        pool->order[buddy] = pool->order[block] = INSIDE;
        block = block < buddy ? block : buddy;
    }
    pool->order[block] = (uint8_t)(FREE | order);
    list_push(&pool->free[order], &pool->node[block]);
}

void pool_wait(struct pool *pool, struct pool_waiter *waiter)
{
    list_push(&pool->waiters, &waiter->node);
    loop_defer(pool->loop, &pool->serve);
}

void pool_forget(struct pool *pool, struct pool_waiter *waiter)
{
    if (list_linked(&waiter->node))
        list_remove(&pool->waiters, &waiter->node);
}

/* Strictly in order: a large part must not starve behind many small files. */
static void serve_waiters(struct deferred *work)
{
    struct pool *pool = container_of(work, struct pool, serve);
    while (pool->waiters.count) {
        struct pool_waiter *waiter =
            container_of(list_first(&pool->waiters), struct pool_waiter, node);
        void *buffer = take_run(pool, order_for(waiter->bytes));
        if (!buffer)
            return;
        list_remove(&pool->waiters, &waiter->node);
        waiter->ready(waiter, buffer);
    }
}
