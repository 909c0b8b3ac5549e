/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation: what it gives, and how the process ends where it cannot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/mem.h"

/* What the sanitizers ask: too large a wish shall fail, as it does without them. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void sizes_of_zero_are_fine(void **state)
{
    (void)state;
    AUTO_TEXT char *one = mem_alloc(0), *two = mem_alloc_raw(0), *three = mem_grow(NULL, 0, 0);
    AUTO_TEXT char *four = mem_alloc_array(0, 8), *five = mem_copy_bytes(NULL, 0);
    assert_true(one && two && three && four);
    assert_string_equal(five, "");
}

static void memory_is_zeroed(void **state)
{
    (void)state;
    static const char zero[512];
    AUTO_TEXT char *bytes = mem_alloc(sizeof zero), *array = mem_alloc_array(64, 8);
    assert_memory_equal(bytes, zero, sizeof zero);
    assert_memory_equal(array, zero, sizeof zero);
}

static void a_slot_keeps_a_copy(void **state)
{
    (void)state;
    char *slot = NULL;
    mem_set_text(&slot, "first");
    assert_string_equal(slot, "first");
    mem_set_text(&slot, slot + 2); /* a part of what is freed */
    assert_string_equal(slot, "rst");
    mem_set_text(&slot, NULL);
    assert_null(slot);
}

static void want_too_much(void)
{
    mem_free(mem_alloc_array(SIZE_MAX / 2, 4)); /* overflows */
}

static void want_to_grow_too_much(void)
{
    mem_free(mem_grow(NULL, SIZE_MAX / 2, 4));
}

static void want_what_nobody_has(void)
{
    mem_exhausted("patience");
}

/* `act`, in a process of its own, says why and ends it in the defined way. */
static void assert_ends(void (*act)(void), const char *why)
{
    int end[2];
    char text[256] = { 0 };
    assert_int_equal(pipe(end), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(end[1], STDERR_FILENO);
        act();
        _exit(0);
    }
    close(end[1]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(read(end[0], text, sizeof text - 1) >= 0);
    close(end[0]);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EX_OSERR);
    assert_non_null(strstr(text, why));
}

static void the_end_is_orderly(void **state)
{
    (void)state;
    assert_ends(want_too_much, "error sluiced out of memory: ");
    assert_ends(want_to_grow_too_much, "error sluiced out of memory: ");
    assert_ends(want_what_nobody_has, "error sluiced out of patience: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_of_zero_are_fine),
        cmocka_unit_test(memory_is_zeroed),
        cmocka_unit_test(a_slot_keeps_a_copy),
        cmocka_unit_test(the_end_is_orderly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
