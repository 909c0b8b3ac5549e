/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Binary min-heap of intrusive nodes, ordered by a 64-bit key. Used for the deadlines of a loop.
 * A node outside the heap has index 0.
 */
#ifndef SLUICE_BASE_HEAP_H
#define SLUICE_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    int64_t key;
    size_t index; /* place in the heap plus one; 0 = not in it */
};

struct heap {
    struct heap_node **node;
    size_t count, size;
};

void heap_release(struct heap *heap);
struct heap_node *heap_first(const struct heap *heap); /* NULL if empty */

/* Inserts the node, or moves it if it is in the heap already. */
void heap_set(struct heap *heap, struct heap_node *node, int64_t key);
void heap_remove(struct heap *heap, struct heap_node *node); /* no effect if it is outside */

static inline bool heap_contains(const struct heap_node *node)
{
    return node->index > 0;
}

#endif
