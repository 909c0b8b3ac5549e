/* SPDX-License-Identifier: Apache-2.0 */
/* When changes are looked for, how far that reached, and what a process remembers of polls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/sweep.h"

static void it_is_due_now_and_then(void **state)
{
    (void)state;
    assert_true(sweep_due(0, 5, 100)); /* it never was */
    assert_false(sweep_due(1000, 1099, 100));
    assert_true(sweep_due(1000, 1100, 100));
    assert_true(sweep_due(1000, 899, 100)); /* a clock that was wrong */
    assert_false(sweep_due(1000, 901, 100));
    assert_false(sweep_due(0, 5, 0)); /* never */
    assert_false(sweep_due(1000, 5000, 0));
}

static void what_is_unclear_holds_the_bound(void **state)
{
    (void)state;
    const int64_t overlap = 900, began = 10000;
    assert_int_equal(sweep_reached(began, INT64_MAX, overlap), began);
    for (int64_t oldest = 100; oldest <= began + 100; oldest += 50) {
        int64_t reached = sweep_reached(began, oldest, overlap);
        assert_true(reached <= began);
        assert_true(reached - overlap <= oldest); /* the next sweep sees it again */
        assert_true(oldest < began - overlap || reached == began);
    }
}

static struct tail_seen *seen_of(size_t count, int64_t created)
{
    struct tail_seen *seen = mem_alloc_array(count, sizeof *seen);
    for (size_t i = 0; i < count; i++)
        seen[i] = (struct tail_seen){ (uint64_t)created + i, created + (int64_t)i };
    return seen;
}

static void polls_begin_at_the_last_known_batches(void **state)
{
    (void)state;
    struct tail_memory *memory = tail_memory_new(1);
    tail_memory_learn(memory, seen_of(10, 500), 10, 600, false);
    assert_int_equal(memory->tip, 0); /* few: all of the overlap is listed */
    assert_true(tail_memory_knows(memory, 509) && !tail_memory_knows(memory, 510));
    tail_memory_learn(memory, seen_of(130, 500), 130, 700, false);
    assert_int_equal(memory->tip, 580); /* the last fifty */
    tail_memory_learn(memory, seen_of(20, 580), 20, 800, true);
    assert_int_equal(memory->tip, 580); /* never back while it goes on from there */
    tail_memory_learn(memory, seen_of(20, 580), 20, 800, false);
    assert_int_equal(memory->tip, 0);
    assert_int_equal(memory->cursor, 800);
    tail_memory_free(memory, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_due_now_and_then),
        cmocka_unit_test(what_is_unclear_holds_the_bound),
        cmocka_unit_test(polls_begin_at_the_last_known_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
