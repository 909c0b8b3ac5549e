/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of a listing as tasks: ids, order, fields, and whose memory they stand on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/discover.h"

static const char *field_of(const struct queue_child *child, const char *name)
{
    for (size_t i = 0; i < child->fields; i++)
        if (strcmp(child->field[i].name, name) == 0)
            return child->field[i].value;
    fail_msg("no field %s", name);
    return NULL;
}

static struct batch_info batch_of(const char *id, int64_t created, bool other_dataset)
{
    struct batch_info batch = { .created = created,
                                .updated = created + 5,
                                .status = "success",
                                .output_records = 17,
                                .output_files = 3,
                                .other_dataset = other_dataset };
    memcpy(batch.id, id, strlen(id) + 1);
    return batch;
}

static void a_batch_becomes_a_task(void **state)
{
    (void)state;
    struct batch_info batch = batch_of("01HX", 1700000000123, false);
    batch.class = BATCH_REPLACEMENT;
    batch.failed_records = 4;
    struct discovered found;
    discover_children(&batch, 1, "5c6f", QUEUE_BACKFILL, &found);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.child[0].kind, QUEUE_BATCH);
    assert_string_equal(found.child[0].id, "b/5c6f/01HX");
    assert_int_equal(found.child[0].lane, QUEUE_BACKFILL);
    assert_int_equal(found.child[0].order, 1700000000123);
    assert_string_equal(field_of(&found.child[0], "status_aep"), "success");
    assert_string_equal(field_of(&found.child[0], "class_aep"), "3");
    assert_string_equal(field_of(&found.child[0], "records"), "17");
    assert_string_equal(field_of(&found.child[0], "updated_aep"), "1700000000128");
    assert_string_equal(field_of(&found.child[0], "failed_records"), "4");
    assert_string_equal(field_of(&found.child[0], "output_files"), "3");
    discover_free(&found);
}

static void a_replay_has_ids_of_its_own(void **state)
{
    (void)state;
    struct batch_info batch = batch_of("01HX", 5, false);
    struct discovered found;
    discover_children(&batch, 1, "5c6f/1764534000000", QUEUE_BACKFILL, &found);
    assert_string_equal(found.child[0].id, "b/5c6f/1764534000000/01HX");
    discover_free(&found);
}

static void unknown_figures_stay_unknown(void **state)
{
    (void)state;
    struct batch_info batch = batch_of("x", INT64_MAX - 5, false);
    batch.output_records = -1;
    batch.status[0] = 0;
    struct discovered found;
    discover_children(&batch, 1, "d", QUEUE_LIVE, &found);
    assert_string_equal(field_of(&found.child[0], "records"), "-1");
    assert_string_equal(field_of(&found.child[0], "updated_aep"), "9223372036854775807");
    assert_string_equal(field_of(&found.child[0], "status_aep"), "");
    discover_free(&found);
}

static void other_datasets_are_left_out(void **state)
{
    (void)state;
    struct batch_info batch[] = { batch_of("a", 1, true), batch_of("b", 2, false),
                                  batch_of("c", 3, true), batch_of("d", 4, false) };
    struct discovered found;
    discover_children(batch, 4, "d", QUEUE_LIVE, &found);
    assert_int_equal(found.count, 2);
    assert_string_equal(found.child[0].id, "b/d/b");
    assert_string_equal(found.child[1].id, "b/d/d");
    assert_string_equal(field_of(&found.child[0], "updated_aep"), "7");
    assert_string_equal(field_of(&found.child[1], "updated_aep"), "9");
    discover_free(&found);
}

static void of_snapshots_the_newest_stays(void **state)
{
    (void)state;
    struct batch_info batch[] = { batch_of("a", 1, false), batch_of("b", 5, false),
                                  batch_of("c", 5, false), batch_of("d", 9, true),
                                  batch_of("e", 8, false), batch_of("f", 7, false) };
    for (size_t i = 0; i < 6; i++)
        batch[i].state = BATCH_READABLE;
    batch[4].class = BATCH_SUB;
    batch[5].state = BATCH_OPEN;
    const struct batch_info *found = discover_newest(batch, 6);
    assert_ptr_equal(found,
                     &batch[2]); /* of another dataset, a sub-batch, open: do not count */
    assert_null(discover_newest(batch + 3, 3));
    struct batch_info newest = *found;
    assert_true(discover_is_older(&batch[1], &newest));
    assert_false(discover_is_older(&newest, &newest));
    assert_int_equal(discover_drop_older(batch, 6, &newest), 4);
    assert_string_equal(batch[0].id, "c");
    assert_string_equal(batch[3].id,
                        "f"); /* it may become readable, and then is judged again */
    assert_int_equal(discover_drop_older(batch, 4, NULL), 4);
}

static void nothing_gives_no_children(void **state)
{
    (void)state;
    struct batch_info other = batch_of("a", 1, true);
    struct discovered found;
    discover_children(NULL, 0, "d", QUEUE_LIVE, &found);
    assert_int_equal(found.count, 0);
    discover_free(&found);
    discover_children(&other, 1, "d", QUEUE_LIVE, &found);
    assert_int_equal(found.count, 0);
    discover_free(&found);
    discover_free(&found); /* empty: as good as NULL */
}

static void longest_id_fits_and_is_a_copy(void **state)
{
    (void)state;
    char longest[CATALOG_ID_MAX + 1], expected[QUEUE_ID_MAX] = "b/set/";
    memset(longest, 'x', CATALOG_ID_MAX);
    longest[CATALOG_ID_MAX] = 0;
    strcat(expected, longest);
    struct batch_info batch = batch_of(longest, 1, false);
    struct discovered found;
    discover_children(&batch, 1, "set", QUEUE_LIVE, &found);
    memset(&batch, 'y', sizeof batch); /* the listing is freed before the queue has answered */
    assert_string_equal(found.child[0].id, expected);
    assert_string_equal(field_of(&found.child[0], "status_aep"), "success");
    discover_free(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_becomes_a_task),
        cmocka_unit_test(a_replay_has_ids_of_its_own),
        cmocka_unit_test(unknown_figures_stay_unknown),
        cmocka_unit_test(other_datasets_are_left_out),
        cmocka_unit_test(of_snapshots_the_newest_stays),
        cmocka_unit_test(nothing_gives_no_children),
        cmocka_unit_test(longest_id_fits_and_is_a_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
