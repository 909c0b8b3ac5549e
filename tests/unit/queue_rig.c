/* SPDX-License-Identifier: Apache-2.0 */
/* The world of the queue's tests; see queue_rig.h. */
#include "queue_rig.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

/* ---- turning the loop ---- */

static void on_guard(struct timer *guard)
{
    container_of(guard, struct world, guard)->late = true;
}

static void on_tick(struct timer *tick)
{
    (void)tick;
}

void world_wait_begin(struct world *world)
{
    world->late = false;
    world->guard.fire = on_guard;
    timer_set_in(world->loop, &world->guard, WORLD_TIMEOUT_MS);
}

/* The tick: what a test waits for may happen in the server, where nothing wakes us. */
void world_turn(struct world *world)
{
    world->tick.fire = on_tick;
    timer_set_in(world->loop, &world->tick, 5);
    uv_run(loop_uv(world->loop), UV_RUN_ONCE);
}

/* ---- the server ---- */

void world_start_server(struct world *world)
{
    const char *aof = world->forgetful ? "no" : "yes";
    world->pid = fork();
    assert_true(world->pid >= 0);
    if (world->pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves no server behind */
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", "r.sock", "--dir",
           world->dir, "--logfile", "log", "--save", "", "--appendonly", aof, "--appendfsync",
           "always", (char *)NULL); /* or a busy disk may cost two seconds */
    _exit(127);
}

void world_kill_server(struct world *world)
{
    kill(world->pid, SIGKILL);
    waitpid(world->pid, NULL, 0);
}

/* ---- the plain client ---- */

struct command {
    struct redis_call call;
    bool done, failed;
};

static void on_answer(struct redis_call *call, const struct redisReply *reply)
{
    struct command *command = container_of(call, struct command, call);
    command->done = true;
    command->failed = !reply || call->fault.code;
}

void world_command(struct world *world, const char *line)
{
    struct command command = { .call.done = on_answer };
    struct redis_args args;
    redis_args_init(&args);
    while (*line) {
        size_t len = strcspn(line, " ");
        redis_args_add_bytes(&args, line, len);
        line += len + (line[len] == ' ');
    }
    redis_start_args(world->client, &command.call, &args);
    redis_args_release(&args);
    WAIT_UNTIL(world, command.done);
    assert_false(command.failed);
}

/* ---- the world ---- */

static void on_up(void *owner)
{
    ((struct world *)owner)->ups++;
}

static void on_down(void *owner, const struct fault *fault)
{
    struct world *world = owner;
    world->downs++;
    world->down = *fault;
}

static void on_lost_writes(void *owner, const char *how)
{
    assert_non_null(how);
    ((struct world *)owner)->losses++;
}

static struct redis_options redis_options(const struct world *world)
{
    return (struct redis_options){ .url = world->url,
                                   .connect_timeout_ms = WORLD_TIMEOUT_MS / 2,
                                   .reply_timeout_ms = WORLD_TIMEOUT_MS / 2 };
}

void world_begin(struct world *world, bool forgetful)
{
    struct fault fault = { 0 };
    *world = (struct world){ .dir = "/tmp/sluice-queue-XXXXXX", .forgetful = forgetful };
    assert_non_null(mkdtemp(world->dir));
    snprintf(world->url, sizeof world->url, "unix://%s/r.sock", world->dir);
    world_start_server(world);
    world->loop = loop_new();
    struct redis_options options = redis_options(world);
    assert_int_equal(redis_new(world->loop, &options, &world->client, &fault), OK);
    WAIT_UNTIL(world, redis_up(world->client));
}

void world_open(struct world *world, struct queue_options options)
{
    struct fault fault = { 0 };
    struct redis_options given = options.redis;
    options.redis = redis_options(world);
    options.redis.user = given.user;
    options.redis.password = given.password;
    if (given.reply_timeout_ms)
        options.redis.reply_timeout_ms = given.reply_timeout_ms;
    options.prefix = "sluice:";
    options.owner = world;
    options.on_up = on_up;
    options.on_down = on_down;
    options.on_lost_writes = on_lost_writes;
    assert_int_equal(queue_new(world->loop, &options, &world->queue, &fault), OK);
}

void world_up(struct world *world)
{
    world_begin(world, false);
    world_open(world, (struct queue_options){ 0 });
    WAIT_UNTIL(world, queue_up(world->queue));
}

void world_end(struct world *world)
{
    AUTO_TEXT char *remove = mem_print("rm -r %s", world->dir);
    queue_free(world->queue);
    redis_free(world->client);
    timer_clear(world->loop, &world->guard);
    timer_clear(world->loop, &world->tick);
    loop_free(world->loop);
    world_kill_server(world);
    assert_int_equal(system(remove), 0);
}

/* ---- operations ---- */

static void on_done(struct queue_op *op)
{
    container_of(op, struct step, op)->dones++;
}

struct queue_op *step_begin(struct step *step)
{
    step->op.done = on_done;
    step->dones = 0;
    return &step->op;
}

void step_await(struct world *world, struct step *step, enum err want)
{
    assert_int_equal(step->dones, 0); /* never from inside */
    WAIT_UNTIL(world, step->dones > 0);
    assert_int_equal(step->dones, 1);
    if (step->op.fault.code != want)
        print_error("fault: %s\n", step->op.fault.text);
    assert_int_equal(step->op.fault.code, want);
}

void world_submit(struct world *world, const char *id)
{
    struct step step = { 0 };
    struct queue_field field = { "name", "a value with spaces" };
    struct queue_child child = {
        .kind = QUEUE_BATCH, .id = id, .order = 1700000000000, .field = &field, .fields = 1
    };
    world_command(world,
                  "SADD sluice:datasets " WORLD_DATASET); /* or nothing is claimed of it */
    queue_submit(world->queue, step_begin(&step), &child, WORLD_DATASET, "");
    step_await(world, &step, OK);
    assert_string_equal(buf_text(&step.op.text), "new");
    assert_true(step.op.seq > 0);
    queue_op_release(&step.op);
}

size_t world_claim(struct world *world, struct step *step, enum queue_class class)
{
    static const char *const dataset[] = { WORLD_DATASET };
    struct queue_claim claim = { .class = class,
                                 .max = 10,
                                 .lease_ms = 60000,
                                 .bytes = 1 << 30,
                                 .part = 8 << 20,
                                 .dataset = dataset,
                                 .datasets = 1 };
    queue_claim(world->queue, step_begin(step), &claim);
    step_await(world, step, OK);
    return step->op.tasks;
}

struct queue_task *world_claim_one(struct world *world, enum queue_class class)
{
    struct step step = { 0 };
    assert_int_equal(world_claim(world, &step, class), 1);
    struct queue_task *task = step.op.task[0];
    step.op.task[0] = NULL;
    queue_op_release(&step.op);
    return task;
}
