/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue when Redis restarts, stands still, forgets its library, may not be trusted or refuses
 * us.
 */
#include <signal.h>

#include "lib/queue/queue_look.h"
#include "queue_rig.h"

static const char *const dataset[] = { WORLD_DATASET };

static void test_a_restart_of_redis_delays_reports_and_fails_questions(void **state)
{
    (void)state;
    struct world world;
    struct step report = { 0 }, question = { 0 };
    world_up(&world);
    world_submit(&world, "b/" WORLD_DATASET "/B");
    struct queue_task *batch = world_claim_one(&world, QUEUE_CONTROL);
    world_kill_server(&world);
    queue_fan(world.queue, step_begin(&report), batch, "0", "end", true, NULL, 0);
    WAIT_UNTIL(&world, world.downs == 1);
    assert_false(queue_up(world.queue));
    queue_tick(world.queue, step_begin(&question), &(struct queue_cost){ dataset[0], 0 }, 1,
               1000);
    step_await(&world, &question, world.down.code);
    assert_int_equal(report.dones, 0);
    assert_int_equal(queue_pending(world.queue), 1);
    world_start_server(&world);
    step_await(&world, &report, OK);
    assert_int_equal(world.ups, 2);
    queue_task_free(batch);
    batch = world_claim_one(&world, QUEUE_CONTROL);
    assert_string_equal(batch->phase, "fin");
    queue_task_free(batch);
    queue_op_release(&report.op);
    world_end(&world);
}

/* Redis executes what it was sent before it stood still; the answer finds nobody. */
static void test_a_lost_answer_is_asked_for_again(void **state)
{
    (void)state;
    struct world world;
    struct step step = { 0 };
    world_begin(&world, false);
    world_open(&world, (struct queue_options){ .redis.reply_timeout_ms = 200 });
    WAIT_UNTIL(&world, queue_up(world.queue));
    world_submit(&world, "b/" WORLD_DATASET "/B");
    struct queue_task *batch = world_claim_one(&world, QUEUE_CONTROL);
    kill(world.pid, SIGSTOP);
    queue_fan(world.queue, step_begin(&step), batch, "0", "end", true, NULL, 0);
    WAIT_UNTIL(&world, world.downs == 1);
    kill(world.pid, SIGCONT);
    step_await(&world, &step, OK);
    queue_task_free(batch);
    batch = world_claim_one(&world, QUEUE_CONTROL);
    kill(world.pid, SIGSTOP);
    queue_done(world.queue, step_begin(&step), batch, NULL, 0);
    WAIT_UNTIL(&world, world.downs == 2);
    kill(world.pid, SIGCONT);
    step_await(&world, &step, OK);
    queue_task_free(batch);
    world_end(&world);
}

static void test_a_library_that_vanished_is_loaded_again(void **state)
{
    (void)state;
    struct world world;
    world_up(&world);
    world_command(&world, "FUNCTION DELETE sluice1");
    world_submit(&world, "b/" WORLD_DATASET "/B");
    assert_int_equal(world.ups, 2);
    assert_int_equal(world.downs, 0);
    world_end(&world);
}

static void hold_batch(struct world *world, struct queue_task **ret)
{
    world_up(world);
    world_submit(world, "b/" WORLD_DATASET "/A");
    world_submit(world, "b/" WORLD_DATASET "/B");
    struct step step = { 0 };
    assert_int_equal(world_claim(world, &step, QUEUE_CONTROL), 2);
    *ret = step.op.task[0];
    step.op.task[0] = NULL;
    queue_op_release(&step.op);
}

/* The same batch, claimed again with the same fence: the old hold is worth nothing. */
static void test_lost_writes_fence_what_was_held(void **state)
{
    (void)state;
    struct world world;
    struct step step = { 0 };
    struct queue_task *old, *batch;
    hold_batch(&world, &old);
    AUTO_TEXT char *name = mem_copy_text(queue_owner_name(world.queue));
    world_command(&world, "FLUSHALL");
    queue_tick(world.queue, step_begin(&step), &(struct queue_cost){ dataset[0], 0 }, 1, 1000);
    step_await(&world, &step, OK);
    WAIT_UNTIL(&world, world.losses == 1);
    assert_string_not_equal(queue_owner_name(world.queue), name);
    world_submit(&world, old->id);
    batch = world_claim_one(&world, QUEUE_CONTROL);
    assert_string_equal(batch->id, old->id);
    assert_string_not_equal(batch->fence, old->fence);
    queue_save(world.queue, step_begin(&step), old, NULL, 0);
    step_await(&world, &step, ERR_FENCED);
    struct queue_beat beat[] = { { old, NULL }, { batch, NULL } };
    queue_beat(world.queue, step_begin(&step), 60000, beat, 2);
    step_await(&world, &step, OK);
    assert_false(step.op.held[0]);
    assert_true(step.op.held[1]);
    queue_op_release(&step.op);
    queue_save(world.queue, step_begin(&step), batch, NULL, 0);
    step_await(&world, &step, OK);
    assert_int_equal(world.losses, 1);
    queue_task_free(batch);
    queue_task_free(old);
    world_end(&world);
}

static void test_lost_writes_are_noticed_at_the_next_connection(void **state)
{
    (void)state;
    struct world world;
    struct step report = { 0 };
    struct queue_task *old;
    hold_batch(&world, &old);
    AUTO_TEXT char *server = mem_copy_text(queue_server(world.queue));
    world_command(&world, "SET sluice:seq 1");
    world_kill_server(&world);
    queue_fan(world.queue, step_begin(&report), old, "0", "end", true, NULL, 0);
    WAIT_UNTIL(&world, world.downs == 1);
    world_start_server(&world);
    WAIT_UNTIL(&world, world.losses == 1);
    assert_int_equal(world.ups, 2);
    assert_string_not_equal(queue_server(world.queue), server);
    step_await(&world, &report, OK); /* Redis still has that lease: the report is right */
    queue_task_free(old);
    world_end(&world);
}

static void test_a_restart_loses_nothing(void **state)
{
    (void)state;
    struct world world;
    struct queue_task *old;
    struct step step = { 0 };
    hold_batch(&world, &old);
    world_kill_server(&world);
    WAIT_UNTIL(&world, world.downs == 1);
    world_start_server(&world);
    WAIT_UNTIL(&world, world.ups == 2);
    queue_save(world.queue, step_begin(&step), old, NULL, 0);
    step_await(&world, &step, OK);
    assert_int_equal(world.losses, 0);
    queue_task_free(old);
    world_end(&world);
}

static void test_a_redis_that_forgets_is_refused_until_mended(void **state)
{
    (void)state;
    struct world world;
    struct step step = { 0 };
    world_begin(&world, true);
    world_open(&world, (struct queue_options){ 0 });
    WAIT_UNTIL(&world, world.downs == 1);
    assert_int_equal(world.down.code, ERR_REDIS_UNFIT);
    assert_non_null(strstr(world.down.text, "CONFIG SET appendonly yes"));
    queue_stat(world.queue, step_begin(&step));
    step_await(&world, &step, ERR_REDIS_UNFIT);
    world_command(&world, "CONFIG SET appendonly yes");
    WAIT_UNTIL(&world, queue_up(world.queue));
    assert_int_equal(world.downs, 1);
    world_end(&world);
}

static void test_a_redis_that_forgets_is_taken_if_allowed(void **state)
{
    (void)state;
    struct world world;
    world_begin(&world, true);
    world_open(&world, (struct queue_options){ .allow_volatile = true });
    WAIT_UNTIL(&world, queue_up(world.queue));
    assert_int_equal(world.downs, 0);
    world_end(&world);
}

static void test_a_user_that_may_not_load_is_told_whom_to_ask(void **state)
{
    (void)state;
    struct world world;
    struct secret password = { 0 };
    secret_set(&password, "pw", 2);
    world_begin(&world, false);
    world_command(&world,
                  "ACL SETUSER worker on >pw ~sluice:* -@all +info +fcall +client|setname");
    world_open(&world,
               (struct queue_options){ .redis = { .user = "worker", .password = &password } });
    WAIT_UNTIL(&world, world.downs == 1);
    assert_int_equal(world.down.code, ERR_REDIS_LIBRARY);
    assert_non_null(strstr(world.down.text, "FUNCTION LOAD REPLACE"));
    world_end(&world);
    secret_release(&password);
}

static void test_cancel_and_free(void **state)
{
    (void)state;
    struct world world;
    struct step cancelled = { 0 }, ended = { 0 };
    struct queue_child child = { .kind = QUEUE_BATCH, .id = "b/" WORLD_DATASET "/B" };
    world_up(&world);
    queue_submit(world.queue, step_begin(&cancelled), &child, WORLD_DATASET, "");
    queue_cancel(&cancelled.op);
    queue_cancel(&cancelled.op);
    world_kill_server(&world);
    WAIT_UNTIL(&world, world.downs == 1);
    queue_submit(world.queue, step_begin(&cancelled), &child, WORLD_DATASET, "");
    queue_submit(world.queue, step_begin(&ended), &child, WORLD_DATASET, "");
    queue_cancel(&cancelled.op);
    queue_free(world.queue);
    world.queue = NULL;
    assert_int_equal(cancelled.dones, 0);
    assert_int_equal(ended.dones, 1);
    assert_int_equal(ended.op.fault.code, ERR_CANCELLED);
    world_start_server(&world);
    world_end(&world);
}

static void test_refused_arguments_end_an_operation(void **state)
{
    (void)state;
    struct world world;
    struct step step = { 0 };
    struct queue_child child = { .kind = QUEUE_BATCH, .id = "b/other/B" };
    world_up(&world);
    queue_submit(world.queue, step_begin(&step), &child, WORLD_DATASET, "");
    WAIT_UNTIL(&world, step.dones == 1);
    assert_int_not_equal(step.op.fault.code, OK);
    assert_non_null(strstr(step.op.fault.text, "BADARG id"));
    world_end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_restart_of_redis_delays_reports_and_fails_questions),
        cmocka_unit_test(test_a_lost_answer_is_asked_for_again),
        cmocka_unit_test(test_a_library_that_vanished_is_loaded_again),
        cmocka_unit_test(test_lost_writes_fence_what_was_held),
        cmocka_unit_test(test_lost_writes_are_noticed_at_the_next_connection),
        cmocka_unit_test(test_a_restart_loses_nothing),
        cmocka_unit_test(test_a_redis_that_forgets_is_refused_until_mended),
        cmocka_unit_test(test_a_redis_that_forgets_is_taken_if_allowed),
        cmocka_unit_test(test_a_user_that_may_not_load_is_told_whom_to_ask),
        cmocka_unit_test(test_cancel_and_free),
        cmocka_unit_test(test_refused_arguments_end_an_operation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
