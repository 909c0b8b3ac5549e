/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection of the queue, and what is on its way over it.
 *
 *   DOWN ──up──▶ INFO ──fit──▶ VERSION ──current──▶ COUNT ──▶ UP
 *    ▲             │              └──missing, old──▶ LOAD ──▶ COUNT
 *    │lost         └──not fit, or trouble──▶ UNFIT ──2 s──▶ INFO
 *
 * A run is one verb. It is sent at once while the queue is UP; if its verb may be repeated it
 * waits for that otherwise, and comes back after a back-off when Redis could not answer.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/net/retry.h"
#include "lib/queue/queue_parts.h"
#include "queue_lua.h"

#define RECHECK_MS     2000
#define AGAIN_LEAST_MS 100
#define AGAIN_MOST_MS  5000
#define TRIES_MOST     20 /* more would not make the back-off longer */
#define QUEUE_MAGIC    0x71756575u

enum queue_state {
    QUEUE_DOWN,
    QUEUE_INFO,
    QUEUE_VERSION,
    QUEUE_LOAD,
    QUEUE_COUNT,
    QUEUE_UNFIT,
    QUEUE_UP,
    QUEUE_STATES
};

struct queue {
    unsigned magic;
    struct loop *loop;
    struct redis *redis;
    char *prefix, *owner_name;
    bool allow_volatile;
    void *owner;
    void (*on_up)(void *owner);
    void (*on_down)(void *owner, const struct fault *fault);
    void (*on_lost_writes)(void *owner, const char *how);
    struct queue_history history;
    const char *lost_how;
    struct deferred lost;
    enum queue_state state;
    struct fault why; /* not UP: the reason, as last told to the owner */
    struct redis_call check;
    struct timer recheck;
    struct list runs;
};

static void on_connected(void *owner);
static void on_lost(void *owner, const struct fault *reason);
static void on_checked(struct redis_call *call, const struct redisReply *reply);
static void on_recheck(struct timer *timer);
static void on_lost_writes(struct deferred *work);

static void start_info(struct queue *queue);
static void start_version(struct queue *queue);
static void start_load(struct queue *queue);
static void start_count(struct queue *queue);
static void start_unfit(struct queue *queue);
static void start_up(struct queue *queue);
static enum queue_state read_info(struct queue *queue, const struct redisReply *reply);
static enum queue_state read_version(struct queue *queue, const struct redisReply *reply);
static enum queue_state read_load(struct queue *queue, const struct redisReply *reply);
static enum queue_state read_count(struct queue *queue, const struct redisReply *reply);

static void on_reply(struct redis_call *call, const struct redisReply *reply);
static void on_again(struct timer *timer);
static void send_run(struct queue_run *run);
static void finish(struct queue_run *run);

/* `start` begins a state, `read` takes the answer to what it sent and names the next one. */
static const struct {
    void (*start)(struct queue *queue);
    enum queue_state (*read)(struct queue *queue, const struct redisReply *reply);
} row[QUEUE_STATES] = {
    [QUEUE_INFO] = { start_info, read_info }, [QUEUE_VERSION] = { start_version, read_version },
    [QUEUE_LOAD] = { start_load, read_load }, [QUEUE_COUNT] = { start_count, read_count },
    [QUEUE_UNFIT] = { start_unfit, NULL },    [QUEUE_UP] = { start_up, NULL },
};

static struct queue *checked(void *owner)
{
    struct queue *queue = owner;
    assert(queue && queue->magic == QUEUE_MAGIC);
    return queue;
}

/* ---- life ---- */

enum err queue_new(struct loop *loop, const struct queue_options *options, struct queue **ret,
                   struct fault *fault)
{
    struct redis_options redis = options->redis;
    enum err err = queue_name_check_prefix(options->prefix, fault);
    if (err)
        return err;
    struct queue *queue = mem_alloc(sizeof *queue);
    *queue = (struct queue){ .magic = QUEUE_MAGIC,
                             .loop = loop,
                             .prefix = mem_copy_text(options->prefix),
                             .owner_name = queue_name_make(),
                             .allow_volatile = options->allow_volatile,
                             .owner = options->owner,
                             .on_up = options->on_up,
                             .on_down = options->on_down,
                             .on_lost_writes = options->on_lost_writes,
                             .lost.run = on_lost_writes,
                             .check.done = on_checked,
                             .recheck.fire = on_recheck };
    list_init(&queue->runs);
    fault_set(&queue->why, ERR_REDIS_LOST, "not yet connected to Redis");
    redis.owner = queue;
    redis.on_up = on_connected;
    redis.on_down = on_lost;
    err = redis_new(loop, &redis, &queue->redis, fault);
    if (err) {
        queue_free(queue);
        return err;
    }
    *ret = queue;
    return OK;
}

void queue_free(struct queue *queue)
{
    if (!queue)
        return;
    queue->state = QUEUE_DOWN;
    timer_clear(queue->loop, &queue->recheck);
    loop_undefer(queue->loop, &queue->lost);
    redis_cancel(&queue->check);
    for (struct list_node *node; (node = list_first(&queue->runs));) {
        struct queue_run *run = container_of(node, struct queue_run, node);
        fault_set(&run->op->fault, ERR_CANCELLED, "the queue is closing");
        finish(run);
    }
    redis_free(queue->redis);
    mem_free(queue->prefix);
    mem_free(queue->owner_name);
    queue->magic = 0;
    mem_free(queue);
}

bool queue_up(const struct queue *queue)
{
    return queue->state == QUEUE_UP;
}

size_t queue_pending(const struct queue *queue)
{
    return queue->runs.count;
}

const char *queue_owner_name(const struct queue *queue)
{
    return queue->owner_name;
}

const char *queue_server(const struct queue *queue)
{
    return queue->history.server.run_id;
}

const char *queue_prefix(const struct queue *queue)
{
    return queue->prefix;
}

/* ---- from connected to up ---- */

static void enter(struct queue *queue, enum queue_state state)
{
    timer_clear(queue->loop, &queue->recheck);
    queue->state = state;
    if (row[state].start)
        row[state].start(queue);
}

/* Tells the owner why there is no queue, once per reason; a refused password each time. */
static void report(struct queue *queue, const struct fault *fault)
{
    bool known = queue->why.code == fault->code && strcmp(queue->why.text, fault->text) == 0;
    queue->why = *fault;
    if ((!known || fault->code == ERR_REDIS_DENIED) && queue->on_down)
        queue->on_down(queue->owner, fault);
}

static void on_connected(void *owner)
{
    enter(checked(owner), QUEUE_INFO);
}

static void on_lost(void *owner, const struct fault *reason)
{
    struct queue *queue = checked(owner);
    redis_cancel(&queue->check);
    enter(queue, QUEUE_DOWN);
    if (reason->code != ERR_REDIS_ROLE || !strstr(reason->text, queue->why.text))
        report(queue, reason); /* else it is on_recheck's own */
}

static void on_checked(struct redis_call *call, const struct redisReply *reply)
{
    struct queue *queue = container_of(call, struct queue, check);
    if (!reply) { /* the connection is gone, on_lost follows */
        enter(queue, QUEUE_DOWN);
        return;
    }
    enter(queue, row[queue->state].read(queue, reply));
}

static void ask(struct queue *queue, size_t argc, const char *const *argv)
{
    size_t len[4];
    for (size_t i = 0; i < argc; i++)
        len[i] = strlen(argv[i]);
    redis_start(queue->redis, &queue->check, argc, argv, len);
}

static enum queue_state unfit(struct queue *queue, const struct fault *fault)
{
    report(queue, fault);
    return QUEUE_UNFIT;
}

static void start_info(struct queue *queue)
{
    ask(queue, 1, (const char *const[]){ "INFO" });
}

/* ---- going back in time ---- */

/*
 * A name that no stored lease bears: what was held under the old one is fenced, also where the
 * same fence number is given out a second time.
 */
static void lose_writes(struct queue *queue, const char *how)
{
    if (!how)
        return;
    mem_free(queue->owner_name);
    queue->owner_name = queue_name_make();
    queue->history.alive_until = 0;
    queue->history.strange = 0;
    queue->lost_how = how;
    loop_defer(queue->loop, &queue->lost); /* not from inside somebody's answer */
}

static void on_lost_writes(struct deferred *work)
{
    struct queue *queue = container_of(work, struct queue, lost);
    if (queue->on_lost_writes)
        queue->on_lost_writes(queue->owner, queue->lost_how);
}

void queue_run_tick(struct queue_run *run, const char *owner, int64_t found, int64_t until,
                    int64_t now, int64_t unknown)
{
    struct queue *queue = run->queue;
    if (strcmp(owner, queue->owner_name) == 0) { /* not sent under the name before a loss */
        lose_writes(queue, queue_history_tick(&queue->history, found, until, now));
        lose_writes(queue, queue_history_datasets(&queue->history, unknown));
    }
}

void queue_run_seq(struct queue_run *run, const struct redisReply *seq)
{
    run->op->seq = redis_reply_int(seq);
    lose_writes(run->queue, queue_history_seq(&run->queue->history, run->op->seq));
}

static enum queue_state read_info(struct queue *queue, const struct redisReply *reply)
{
    struct fault fault = queue->check.fault;
    const char *info = redis_reply_text(reply);
    if (fault.code || queue_check_info(info, queue->prefix, queue->allow_volatile, &fault))
        return unfit(queue, &fault);
    lose_writes(queue, queue_history_server(&queue->history, info));
    return QUEUE_VERSION;
}

static void start_version(struct queue *queue)
{
    ask(queue, 4, (const char *const[]){ "FCALL", "sluice_version", "1", queue->prefix });
}

int64_t queue_library_ours(void)
{
    return queue_library_version(queue_lua);
}

const char *queue_library_text(void)
{
    return queue_lua;
}

static enum queue_state read_version(struct queue *queue, const struct redisReply *reply)
{
    if (queue->check.fault.code == ERR_REDIS_LIBRARY)
        return QUEUE_LOAD;
    if (queue->check.fault.code)
        return unfit(queue, &queue->check.fault);
    bool old = redis_reply_int(reply) < queue_library_ours();
    return old ? QUEUE_LOAD : QUEUE_COUNT;
}

static void start_load(struct queue *queue)
{
    ask(queue, 4, (const char *const[]){ "FUNCTION", "LOAD", "REPLACE", queue_lua });
}

static enum queue_state read_load(struct queue *queue, const struct redisReply *reply)
{
    (void)reply;
    struct fault fault = { 0 };
    if (!queue->check.fault.code)
        return QUEUE_COUNT;
    (void)queue_library_fault(&queue->check.fault, &fault);
    return unfit(queue, &fault);
}

static void start_count(struct queue *queue)
{
    AUTO_TEXT char *key = mem_print("%sseq", queue->prefix);
    ask(queue, 2, (const char *const[]){ "GET", key });
}

/* Before anything that waits is sent: it must not be accepted by another history. */
static enum queue_state read_count(struct queue *queue, const struct redisReply *reply)
{
    if (queue->check.fault.code)
        return unfit(queue, &queue->check.fault);
    lose_writes(queue, queue_history_seq(&queue->history, redis_reply_int(reply)));
    return QUEUE_UP;
}

static void start_unfit(struct queue *queue)
{
    timer_set_in(queue->loop, &queue->recheck, RECHECK_MS);
}

/* A replica stays one; its address may lead to the new master by now. */
static void on_recheck(struct timer *timer)
{
    struct queue *queue = container_of(timer, struct queue, recheck);
    if (queue->why.code == ERR_REDIS_ROLE)
        redis_reconnect(queue->redis, &queue->why);
    else
        enter(queue, QUEUE_INFO);
}

static void start_up(struct queue *queue)
{
    queue->why = (struct fault){ 0 };
    list_each(&queue->runs, node)
    {
        struct queue_run *run = container_of(node, struct queue_run, node);
        if (!run->sent && !heap_contains(&run->again.node))
            send_run(run);
    }
    if (queue->on_up)
        queue->on_up(queue->owner);
}

/* ---- runs ---- */

void queue_run_args(struct queue_run *run)
{
    redis_args_release(&run->args);
    redis_args_init(&run->args);
    redis_args_add(&run->args, run->verb->command);
    if (!run->verb->function)
        return;
    redis_args_add(&run->args, run->verb->function);
    redis_args_add(&run->args, "1");
    redis_args_add(&run->args, run->queue->prefix);
}

struct queue_run *queue_run_new(struct queue *queue, struct queue_op *op,
                                const struct queue_verb *verb)
{
    assert(!op->run);
    struct queue_run *run = mem_alloc(sizeof *run);
    run->queue = queue;
    run->op = op;
    run->verb = verb;
    run->call.done = on_reply;
    run->again.fire = on_again;
    redis_args_init(&run->args);
    queue_run_args(run);
    return run;
}

void queue_run_start(struct queue_run *run)
{
    struct queue *queue = run->queue;
    queue_op_release(run->op); /* only now: the arguments may have been its results */
    run->op->fault = (struct fault){ 0 };
    run->op->run = run;
    list_push(&queue->runs, &run->node);
    if (queue->state == QUEUE_UP)
        send_run(run);
    else if (!run->verb->repeats)
        timer_set_in(queue->loop, &run->again, 0); /* fails, but not from in here */
}

static void send_run(struct queue_run *run)
{
    run->sent = true;
    redis_start_args(run->queue->redis, &run->call, &run->args);
}

static void free_run(struct queue_run *run)
{
    timer_clear(run->queue->loop, &run->again);
    redis_cancel(&run->call);
    list_remove(&run->queue->runs, &run->node);
    redis_args_release(&run->args);
    mem_free(run->subject);
    mem_free(run);
}

/* The last act: `done` may start the operation again or free what embeds it. */
static void finish(struct queue_run *run)
{
    struct queue_op *op = run->op;
    op->run = NULL;
    free_run(run);
    op->done(op);
}

void queue_cancel(struct queue_op *op)
{
    if (!op->run)
        return;
    free_run(op->run);
    op->run = NULL;
}

static void try_later(struct queue_run *run)
{
    int64_t ms =
        AGAIN_LEAST_MS + retry_delay_ms(run->tries, AGAIN_LEAST_MS,
                                        AGAIN_MOST_MS - AGAIN_LEAST_MS, 0, queue_random());
    if (run->tries < TRIES_MOST)
        run->tries++;
    timer_set_in(run->queue->loop, &run->again, ms);
}

/* Not up: what may be repeated waits for start_up, the rest has failed. */
static void on_again(struct timer *timer)
{
    struct queue_run *run = container_of(timer, struct queue_run, again);
    if (run->queue->state == QUEUE_UP) {
        send_run(run);
    } else if (!run->verb->repeats) {
        run->op->fault = run->queue->why;
        finish(run);
    }
}

/* Another Redis than the one we checked: the library is gone, or it became a replica. */
static void suspect(struct queue *queue, const struct fault *fault)
{
    if (queue->state != QUEUE_UP ||
        (fault->code != ERR_REDIS_LIBRARY && fault->code != ERR_REDIS_ROLE))
        return;
    queue->why = *fault; /* what is asked until we know more fails with it */
    enter(queue, QUEUE_INFO);
}

static void on_reply(struct redis_call *call, const struct redisReply *reply)
{
    struct queue_run *run = container_of(call, struct queue_run, call);
    enum err code = call->fault.code;
    run->sent = false;
    run->op->fault = call->fault;
    suspect(run->queue, &call->fault);
    if (code && run->verb->repeats && err_action(code) == ACT_WAIT) {
        try_later(run);
        return;
    }
    if (!code)
        code = run->verb->read(run, reply);
    if (!code && run->more) {
        run->more = false;
        send_run(run);
        return;
    }
    finish(run);
}
