/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of a walk: enough to know its last batches again, however long it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/tail.h"

#define TIP 50 /* as in tail_memory.c */

/* A walk of pages of 100 over `total` batches, `same` of each instant, trimmed or not. */
static size_t walk(struct tail_seen **seen, size_t total, size_t same, bool trims)
{
    size_t count = 0, most = 0;
    *seen = NULL;
    for (size_t i = 0; i < total; i++) {
        *seen = mem_grow(*seen, count + 1, sizeof **seen);
        (*seen)[count++] = (struct tail_seen){ 1000 + i, (int64_t)(1 + i / same) };
        if (trims && (i + 1) % 100 == 0)
            count = tail_seen_trim(*seen, count);
        most = count > most ? count : most;
    }
    if (trims)
        assert_in_range(most, 1, 100 + TIP + 1 + same);
    return count;
}

static void learn(struct tail_memory *memory, size_t total, size_t same, bool trims)
{
    struct tail_seen *seen;
    size_t count = walk(&seen, total, same, trims);
    tail_memory_learn(memory, seen, count, 7, false);
}

/* A trimmed walk is as good as one that kept all: the same tip, and all behind it known. */
static void same_memory(size_t total, size_t same)
{
    struct tail_memory *whole = tail_memory_new(1), *trimmed = tail_memory_new(1);
    learn(whole, total, same, false);
    learn(trimmed, total, same, true);
    assert_int_equal(trimmed->tip, whole->tip);
    for (size_t i = 0; i < whole->count; i++)
        if (whole->known[i].created >= whole->tip)
            assert_true(tail_memory_knows(trimmed, whole->known[i].hash));
    assert_int_equal(trimmed->known[trimmed->count - 1].hash, 1000 + total - 1);
    tail_memory_free(whole, 1);
    tail_memory_free(trimmed, 1);
}

static void a_long_walk_keeps_its_end(void **state)
{
    (void)state;
    same_memory(100000, 1);
    same_memory(10000, 7);
    same_memory(10000, 300);
    same_memory(10000, 100);
}

static void a_short_walk_keeps_all(void **state)
{
    (void)state;
    for (size_t total = 1; total <= 260; total++)
        same_memory(total, 1);
}

/* All that is older than the tip could be dropped: it must still be seen that there is a tip. */
static void a_trimmed_walk_has_a_tip(void **state)
{
    (void)state;
    struct tail_memory *memory = tail_memory_new(1);
    learn(memory, 1000, 1, true);
    assert_int_equal(memory->tip, 951);
    assert_false(tail_memory_knows(memory, 1000));
    tail_memory_free(memory, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_walk_keeps_its_end),
        cmocka_unit_test(a_short_walk_keeps_all),
        cmocka_unit_test(a_trimmed_walk_has_a_tip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
