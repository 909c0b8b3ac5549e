/* SPDX-License-Identifier: Apache-2.0 */
/* Binary min-heap of intrusive nodes. */
#include "lib/base/heap.h"

#include "lib/base/mem.h"

static void place(struct heap *heap, struct heap_node *node, size_t at)
{
    heap->node[at] = node;
    node->index = at + 1;
}

static void sift_up(struct heap *heap, size_t at)
{
    struct heap_node *node = heap->node[at];
    while (at > 0 && heap->node[(at - 1) / 2]->key > node->key) {
        place(heap, heap->node[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    place(heap, node, at);
}

static void sift_down(struct heap *heap, size_t at)
{
    struct heap_node *node = heap->node[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && heap->node[child + 1]->key < heap->node[child]->key)
            child++;
        if (heap->node[child]->key >= node->key)
            break;
        place(heap, heap->node[child], at);
        at = child;
    }
    place(heap, node, at);
}

void heap_release(struct heap *heap)
{
    mem_free(heap->node);
    *heap = (struct heap){ 0 };
}

struct heap_node *heap_first(const struct heap *heap)
{
    return heap->count ? heap->node[0] : NULL;
}

void heap_set(struct heap *heap, struct heap_node *node, int64_t key)
{
    if (!heap_contains(node)) {
        if (heap->count == heap->size) {
            heap->size = heap->size ? heap->size * 2 : 32;
            heap->node = mem_grow(heap->node, heap->size, sizeof *heap->node);
        }
        place(heap, node, heap->count++);
    }
    node->key = key;
    sift_up(heap, node->index - 1);
    sift_down(heap, node->index - 1);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    if (!heap_contains(node))
        return;
    size_t at = node->index - 1;
    node->index = 0;
    struct heap_node *last = heap->node[--heap->count];
    if (at == heap->count)
        return;
    place(heap, last, at);
    sift_up(heap, at);
    sift_down(heap, last->index - 1);
}
