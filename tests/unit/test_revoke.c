/* SPDX-License-Identifier: Apache-2.0 */
/* Which withdrawals concern our readers, and the record of one; whose successors are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/revoke.h"
#include "daemon/withdrawn.h"

static void decisions_follow_the_table(void **state)
{
    (void)state;
    static const struct {
        struct revoke_facts facts;
        enum revoke_step expected;
    } row[] = {
        /* not stored: a manifest may still come, or never */
        { { .open = true }, REVOKE_LATER },
        { { .age_ms = 99 }, REVOKE_NOTHING },
        { { .named = true, .asked = true, .there = true }, REVOKE_NOTHING },
        /* no successor: one may still be named */
        { { .stored = true, .age_ms = 9, .grace_ms = 10 }, REVOKE_LATER },
        { { .stored = true, .age_ms = -5, .grace_ms = 10 }, REVOKE_LATER },
        { { .stored = true, .age_ms = 10, .grace_ms = 10 }, REVOKE_RECORD },
        { { .stored = true, .open = true, .age_ms = 10 }, REVOKE_RECORD },
        /* a successor: what is it to us? */
        { { .stored = true, .named = true }, REVOKE_ASK },
        { { .stored = true, .named = true, .asked = true, .there = true }, REVOKE_RECORD },
        { { .stored = true,
            .named = true,
            .asked = true,
            .there = true,
            .keeps = true,
            .consolidates = true },
          REVOKE_NOTHING },
        { { .stored = true, .named = true, .asked = true, .there = true, .consolidates = true },
          REVOKE_RECORD },
        { { .stored = true, .named = true, .asked = true, .coming = true, .age_ms = 99 },
          REVOKE_LATER },
        { { .stored = true, .named = true, .asked = true, .age_ms = 5, .grace_ms = 10 },
          REVOKE_LATER },
        { { .stored = true, .named = true, .asked = true, .age_ms = 10, .grace_ms = 10 },
          REVOKE_RECORD },
        { { .stored = true,
            .named = true,
            .asked = true,
            .consolidates = true,
            .age_ms = 10,
            .grace_ms = 10 },
          REVOKE_NOTHING },
        { { .stored = true,
            .named = true,
            .asked = true,
            .consolidates = true,
            .gone = true,
            .age_ms = 9,
            .grace_ms = 10 },
          REVOKE_LATER },
        { { .stored = true,
            .named = true,
            .asked = true,
            .consolidates = true,
            .gone = true,
            .age_ms = 10,
            .grace_ms = 10 },
          REVOKE_RECORD },
        { { .stored = true,
            .named = true,
            .asked = true,
            .has_next = true,
            .age_ms = 10,
            .grace_ms = 10 },
          REVOKE_ASK },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (revoke_decide(&row[i].facts) != row[i].expected)
            fail_msg("row %zu: %d", i, (int)revoke_decide(&row[i].facts));
}

static void records_are_the_same_bytes_always(void **state)
{
    (void)state;
    struct revoke_note note = { .batch = "01J",
                                .dataset = "d1",
                                .reason = "replaced",
                                .status = "inactive",
                                .superseded_by = "01K",
                                .created = 1700000000000 };
    AUTO_BUF one = BUF_INIT(1000);
    AUTO_BUF other = BUF_INIT(1000);
    revoke_write(&note, &one);
    assert_string_equal(buf_text(&one),
                        "{\"batch\":\"01J\",\"created\":1700000000000,\"dataset\":\"d1\","
                        "\"reason\":\"replaced\",\"status\":\"inactive\","
                        "\"superseded_by\":\"01K\",\"version\":1}\n");
    note.superseded_by = NULL;
    note.status = "od\"d";
    revoke_write(&note, &other);
    assert_string_equal(buf_text(&other),
                        "{\"batch\":\"01J\",\"created\":1700000000000,\"dataset\":\"d1\","
                        "\"reason\":\"replaced\",\"status\":\"od\\\"d\",\"version\":1}\n");
}

static struct batch_info consolidation(const char *id, const char *names, size_t count)
{
    struct batch_info row = { .state = BATCH_READABLE,
                              .class = BATCH_CONSOLIDATION,
                              .predecessors = { names, count } };
    memcpy(row.id, id, strlen(id) + 1);
    return row;
}

static void successors_are_kept_in_mind(void **state)
{
    (void)state;
    struct successors successors = { 0 };
    struct batch_info one = consolidation("S1", "a\0b", 2), open = one;
    assert_null(successors_of(&successors, "a"));
    open.state = BATCH_OPEN;
    successors_learn(&successors, &open);
    assert_null(successors_of(&successors, "a"));
    successors_learn(&successors, &one);
    successors_learn(&successors, &one);
    assert_int_equal(successors.count, 2);
    assert_string_equal(successors_of(&successors, "a"), "S1");
    assert_string_equal(successors_of(&successors, "b"), "S1");
    assert_null(successors_of(&successors, "c"));
    struct batch_info two = consolidation("S2", "b", 1);
    successors_learn(&successors, &two);
    assert_string_equal(successors_of(&successors, "b"), "S2"); /* the newest */
    for (int i = 0; i < 10000; i++) {
        char name[20];
        snprintf(name, sizeof name, "n%d", i);
        struct batch_info many = consolidation("S3", name, 1);
        successors_learn(&successors, &many);
    }
    assert_null(successors_of(&successors, "a")); /* forgotten: there is a limit */
    assert_true(successors.count < 5000);
    assert_string_equal(successors_of(&successors, "n9999"), "S3");
    successors_release(&successors);
}

static void only_lake_batches_of_the_dataset_concern(void **state)
{
    (void)state;
    struct batch_info row = { .state = BATCH_WITHDRAWN };
    assert_true(withdrawn_concerns(&row));
    row.class = BATCH_SUB;
    assert_false(withdrawn_concerns(&row));
    row.class = BATCH_LAKE;
    row.other_dataset = true;
    assert_false(withdrawn_concerns(&row));
    row = (struct batch_info){ .state = BATCH_READABLE };
    assert_false(withdrawn_concerns(&row));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decisions_follow_the_table),
        cmocka_unit_test(records_are_the_same_bytes_always),
        cmocka_unit_test(successors_are_kept_in_mind),
        cmocka_unit_test(only_lake_batches_of_the_dataset_concern),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
