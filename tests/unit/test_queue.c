/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs of the queue against a real redis-server. What the functions behind them do is tested
 * in tests/flow/test_queue_*.py.
 */
#include <stdlib.h>
#include <unistd.h>

#include "lib/queue/queue_inbox.h"
#include "lib/queue/queue_look.h"
#include "queue_rig.h"

#define MANY_ROWS 2500

static const char *const dataset[] = { WORLD_DATASET };

static void finish(struct world *world, const struct queue_task *task,
                   const struct queue_field *field, size_t fields, enum err want)
{
    struct step step = { 0 };
    queue_done(world->queue, step_begin(&step), task, field, fields);
    step_await(world, &step, want);
    queue_op_release(&step.op);
}

/* ---- the life of a batch ---- */

static void list_files(struct world *world, const struct queue_task *batch)
{
    struct step step = { 0 };
    struct queue_field length = { "length", "100" };
    struct queue_child file[] = {
        { QUEUE_FILE, "f/" WORLD_DATASET "/B/1", QUEUE_LIVE, batch->order, &length, 1 },
        { QUEUE_FILE, "f/" WORLD_DATASET "/B/2", QUEUE_LIVE, batch->order, &length, 1 },
    };
    queue_fan(world->queue, step_begin(&step), batch, "0", "page", false, file, 1);
    step_await(world, &step, OK);
    assert_int_equal(step.op.number, 19999);
    queue_fan(world->queue, step_begin(&step), batch, "other", "end", true, file, 2);
    step_await(world, &step, ERR_FENCED);
    queue_fan(world->queue, step_begin(&step), batch, "page", "end", true, file, 2);
    step_await(world, &step, OK);
    assert_int_equal(step.op.number, 19998);
    queue_op_release(&step.op);
}

static void copy_files(struct world *world)
{
    struct step files = { 0 }, step = { 0 };
    assert_int_equal(world_claim(world, &files, QUEUE_FILES), 2);
    struct queue_task *first = files.op.task[0], *second = files.op.task[1];
    assert_int_equal(first->kind, QUEUE_FILE);
    assert_int_equal(queue_task_int(first, "length", -1), 100);
    struct queue_field part[] = { { "p1", "etag crc 50" }, { "offset", "50" } };
    queue_save(world->queue, step_begin(&step), first, part, 2);
    step_await(world, &step, OK);
    queue_release(world->queue, step_begin(&step), second, 0, NULL, 0);
    step_await(world, &step, OK);
    struct queue_beat beat[] = { { first, "60" }, { second, NULL } };
    queue_beat(world->queue, step_begin(&step), 60000, beat, 2);
    step_await(world, &step, OK);
    assert_true(step.op.held[0]);
    assert_false(step.op.held[1]);
    queue_op_release(&step.op);
    struct queue_field row[] = { { "row", "first row" }, { "offset", "100" } };
    finish(world, first, row, 2, OK);
    finish(world, first, row, 2, OK); /* as after a lost answer */
    finish(world, second, row, 2, ERR_FENCED);
    queue_op_release(&files.op);
    struct queue_task *again = world_claim_one(world, QUEUE_FILES);
    finish(world, again, row, 1, OK);
    queue_task_free(again);
}

static void test_life_of_a_batch(void **state)
{
    (void)state;
    struct world world;
    struct step step = { 0 };
    world_up(&world);
    world_submit(&world, "b/" WORLD_DATASET "/B");
    struct queue_task *batch = world_claim_one(&world, QUEUE_CONTROL);
    assert_string_equal(batch->id, "b/" WORLD_DATASET "/B");
    assert_string_equal(batch->phase, "fan");
    assert_string_equal(batch->dataset, WORLD_DATASET);
    assert_string_equal(batch->offset, "0");
    assert_int_equal(batch->kind, QUEUE_BATCH);
    assert_true(batch->order == 1700000000000 && batch->created_at > batch->order);
    assert_int_equal(batch->attempts, 1);
    assert_string_equal(queue_task_get(batch, "name"), "a value with spaces");
    assert_string_equal(queue_task_get(batch, "owner"), queue_owner_name(world.queue));
    assert_null(queue_task_get(batch, "nothing"));
    assert_int_equal(queue_task_int(batch, "name", 7), 7);
    list_files(&world, batch);
    queue_task_free(batch);
    copy_files(&world);
    batch = world_claim_one(&world, QUEUE_CONTROL);
    assert_string_equal(batch->phase, "fin");
    queue_rows(world.queue, step_begin(&step), batch);
    step_await(&world, &step, OK);
    assert_int_equal(step.op.rows, 2);
    assert_string_equal(step.op.row[0].name, "f/" WORLD_DATASET "/B/1");
    assert_string_equal(step.op.row[0].value, "first row");
    queue_op_release(&step.op);
    finish(&world, batch, NULL, 0, OK);
    queue_task_free(batch);
    assert_int_equal(queue_pending(world.queue), 0);
    world_end(&world);
}

static void test_a_failed_task_comes_back_after_its_delay(void **state)
{
    (void)state;
    struct world world;
    struct step step = { 0 };
    struct fault why = { .code = ERR_CUT, .text = "connection reset" };
    world_up(&world);
    world_submit(&world, "b/" WORLD_DATASET "/B");
    struct queue_task *batch = world_claim_one(&world, QUEUE_CONTROL);
    queue_fail(world.queue, step_begin(&step), batch, 1, true, &why);
    step_await(&world, &step, OK);
    queue_task_free(batch);
    usleep(5000);
    queue_tick(world.queue, step_begin(&step), &(struct queue_cost){ dataset[0], 0 }, 1,
               1000000);
    step_await(&world, &step, OK);
    assert_int_equal(step.op.number, 1);
    assert_int_equal(step.op.live_daemons, 1);
    assert_true(step.op.server_ms > 1700000000000);
    batch = world_claim_one(&world, QUEUE_CONTROL);
    assert_int_equal(batch->attempts, 2);
    assert_string_equal(queue_task_get(batch, "class"), "cut");
    queue_fail(world.queue, step_begin(&step), batch, -1, true, &why);
    step_await(&world, &step, OK);
    queue_task_free(batch);
    assert_int_equal(world_claim(&world, &step, QUEUE_CONTROL), 0);
    queue_op_release(&step.op);
    world_end(&world);
}

static void test_inbox(void **state)
{
    (void)state;
    struct world world;
    struct step step = { 0 };
    static const char *const words[] = { "pause", WORLD_DATASET, "1" };
    static const char *const wrong[] = { "pause", "unknown", "1" };
    world_up(&world);
    queue_dataset(world.queue, step_begin(&step), WORLD_DATASET,
                  &(struct queue_field){ "order", "commit" }, 1);
    step_await(&world, &step, OK);
    queue_inbox_peek(world.queue, step_begin(&step));
    step_await(&world, &step, OK);
    assert_int_equal(step.op.text.len, 0);
    world_command(&world, "LPUSH sluice:inbox first second third");
    queue_inbox_peek(world.queue, step_begin(&step));
    step_await(&world, &step, OK);
    assert_string_equal(buf_text(&step.op.text), "first");
    queue_inbox_accept(world.queue, step_begin(&step), "first", 5, words, 3);
    step_await(&world, &step, OK);
    assert_string_equal(buf_text(&step.op.text), "ok");
    queue_inbox_accept(world.queue, step_begin(&step), "first", 5, words, 3);
    step_await(&world, &step, OK);
    assert_string_equal(buf_text(&step.op.text), "gone");
    queue_inbox_accept(world.queue, step_begin(&step), "second", 6, wrong, 3);
    step_await(&world, &step, OK);
    assert_string_equal(buf_text(&step.op.text),
                        "rejected: BADARG dataset: want one of " WORLD_DATASET);
    queue_inbox_reject(world.queue, step_begin(&step), "third", 5, "no JSON");
    step_await(&world, &step, OK);
    assert_string_equal(buf_text(&step.op.text), "rejected: no JSON");
    queue_stat(world.queue, step_begin(&step));
    step_await(&world, &step, OK);
    assert_non_null(strstr(buf_text(&step.op.text), WORLD_DATASET " order=commit paused=1"));
    assert_non_null(strstr(buf_text(&step.op.text), "rejected=2"));
    queue_op_release(&step.op);
    world_end(&world);
}

static void test_rows_of_many_pages_come_once_each(void **state)
{
    (void)state;
    struct world world;
    struct step step = { 0 };
    struct queue_task batch = { .id = (char[]){ "b/" WORLD_DATASET "/B" } };
    AUTO_BUF line = BUF_INIT(1 << 20);
    world_up(&world);
    buf_add_text(&line, "HSET sluice:rows:b/" WORLD_DATASET "/B");
    for (int i = 0; i < MANY_ROWS; i++)
        buf_print(&line, " f/%05d row-%d", i, i);
    world_command(&world, buf_text(&line));
    queue_rows(world.queue, step_begin(&step), &batch);
    step_await(&world, &step, OK);
    assert_int_equal(step.op.rows, MANY_ROWS);
    for (int i = 0; i < MANY_ROWS; i++)
        assert_int_equal(strtol(step.op.row[i].value + strlen("row-"), NULL, 10), i);
    queue_op_release(&step.op);
    world_end(&world);
}

/* What a commit must never be built from. */
static void test_rows_that_are_missing_are_no_answer(void **state)
{
    (void)state;
    struct world world;
    struct step step = { 0 };
    char id[] = "b/" WORLD_DATASET "/B";
    struct queue_field listed = { "listed", "3" };
    struct queue_task batch = { .id = id, .field = &listed, .fields = 1 };
    world_up(&world);
    world_command(&world, "HSET sluice:rows:b/" WORLD_DATASET "/B f/1 r f/2 r");
    queue_rows(world.queue, step_begin(&step), &batch);
    step_await(&world, &step, ERR_REDIS_REPLY);
    assert_non_null(strstr(step.op.fault.text, "1 of 3"));
    world_command(&world, "HSET sluice:rows:b/" WORLD_DATASET "/B f/3 r");
    queue_rows(world.queue, step_begin(&step), &batch);
    step_await(&world, &step, OK);
    queue_op_release(&step.op);
    world_end(&world);
}

static size_t scan_all(struct world *world)
{
    struct step step = { 0 };
    size_t ids = 0;
    AUTO_TEXT char *cursor = mem_copy_text("0");
    do {
        queue_scan(world->queue, step_begin(&step), cursor, 10);
        step_await(world, &step, OK);
        ids += step.op.rows;
        for (size_t i = 0; i < step.op.rows; i++)
            assert_memory_equal(step.op.row[i].name, "b/" WORLD_DATASET "/", 11);
        mem_set_text(&cursor, buf_text(&step.op.text));
    } while (strcmp(cursor, "0") != 0);
    queue_op_release(&step.op);
    return ids;
}

static void test_looking_and_mending(void **state)
{
    (void)state;
    struct world world;
    struct step step = { 0 };
    char id[] = "b/" WORLD_DATASET "/?";
    world_up(&world);
    for (int i = 0; i < 26; i++) {
        id[sizeof id - 2] = (char)('A' + i);
        world_submit(&world, id);
    }
    assert_in_range(scan_all(&world), 26, 40); /* SCAN may name one twice */
    queue_field(world.queue, step_begin(&step), id, "name");
    step_await(&world, &step, OK);
    assert_true(step.op.found);
    assert_string_equal(buf_text(&step.op.text), "a value with spaces");
    queue_field(world.queue, step_begin(&step), "b/none", "name");
    step_await(&world, &step, OK);
    assert_false(step.op.found);
    world_command(&world, "DEL sluice:ready:l:live:" WORLD_DATASET);
    queue_fix(world.queue, step_begin(&step), QUEUE_PASS_LINK, id);
    step_await(&world, &step, OK);
    assert_int_equal(step.op.number, 1);
    queue_fix(world.queue, step_begin(&step), QUEUE_PASS_LINK, id);
    step_await(&world, &step, OK);
    assert_int_equal(step.op.number, 0);
    queue_fix(world.queue, step_begin(&step), QUEUE_PASS_SETTLE, id);
    step_await(&world, &step, OK);
    assert_int_equal(world_claim(&world, &step, QUEUE_CONTROL), 1);
    queue_op_release(&step.op);
    world_end(&world);
}

static void test_a_hash_that_is_no_task_is_not_handed_out(void **state)
{
    (void)state;
    struct world world;
    struct step step = { 0 };
    world_up(&world);
    world_submit(&world, "b/" WORLD_DATASET "/1");
    world_submit(&world, "b/" WORLD_DATASET "/2");
    world_command(&world, "HDEL sluice:t:b/" WORLD_DATASET "/1 offset");
    assert_int_equal(world_claim(&world, &step, QUEUE_CONTROL), 1);
    assert_string_equal(step.op.task[0]->id, "b/" WORLD_DATASET "/2");
    queue_op_release(&step.op);
    world_end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_of_a_batch),
        cmocka_unit_test(test_a_failed_task_comes_back_after_its_delay),
        cmocka_unit_test(test_inbox),
        cmocka_unit_test(test_rows_of_many_pages_come_once_each),
        cmocka_unit_test(test_rows_that_are_missing_are_no_answer),
        cmocka_unit_test(test_looking_and_mending),
        cmocka_unit_test(test_a_hash_that_is_no_task_is_not_handed_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
