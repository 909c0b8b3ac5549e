/* SPDX-License-Identifier: Apache-2.0 */
/* The heap against a plain search for the minimum, over a long fixed sequence of operations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lib/base/heap.h"

#define NODES 200

static void order_comes_out(void **state)
{
    (void)state;
    struct heap heap = { 0 };
    struct heap_node node[5] = { 0 };
    static const int64_t key[] = { 5, INT64_MAX, -3, 5, INT64_MIN };
    static const int64_t sorted[] = { INT64_MIN, -3, 5, 5, INT64_MAX };
    for (size_t i = 0; i < 5; i++)
        heap_set(&heap, &node[i], key[i]);
    for (size_t i = 0; i < 5; i++) {
        assert_true(heap_first(&heap)->key == sorted[i]);
        heap_remove(&heap, heap_first(&heap));
    }
    assert_null(heap_first(&heap));
    heap_release(&heap);
}

static void outsiders_are_ignored(void **state)
{
    (void)state;
    struct heap heap = { 0 };
    struct heap_node in = { 0 }, out = { 0 };
    assert_null(heap_first(&heap));
    heap_remove(&heap, &out);
    heap_set(&heap, &in, 1);
    heap_remove(&heap, &out);
    assert_int_equal(heap.count, 1);
    assert_true(heap_contains(&in) && !heap_contains(&out));
    heap_remove(&heap, &in);
    heap_remove(&heap, &in);
    assert_int_equal(heap.count, 0);
    heap_release(&heap);
    heap_release(&heap);
}

/* Every node knows its place, no child is smaller, and the first one is the minimum. */
static void assert_sane(const struct heap *heap, const struct heap_node *node)
{
    size_t inside = 0;
    for (size_t i = 0; i < NODES; i++) {
        if (!heap_contains(&node[i]))
            continue;
        inside++;
        assert_ptr_equal(heap->node[node[i].index - 1], &node[i]);
        assert_true(heap_first(heap)->key <= node[i].key);
    }
    assert_int_equal(inside, heap->count);
    for (size_t i = 1; i < heap->count; i++)
        assert_true(heap->node[(i - 1) / 2]->key <= heap->node[i]->key);
}

static void many_operations_keep_it_sane(void **state)
{
    (void)state;
    struct heap heap = { 0 };
    struct heap_node node[NODES] = { 0 };
    uint64_t seed = 12345;
    for (size_t i = 0; i < 5000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        struct heap_node *at = &node[(seed >> 33) % NODES];
        if (seed >> 62 == 0)
            heap_remove(&heap, at);
        else
            heap_set(&heap, at, (int64_t)(seed >> 40) % 1000);
        assert_sane(&heap, node);
    }
    assert_true(heap.count > NODES / 2);
    heap_release(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_comes_out),
        cmocka_unit_test(outsiders_are_ignored),
        cmocka_unit_test(many_operations_keep_it_sane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
