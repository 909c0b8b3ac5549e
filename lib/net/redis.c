/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls and connections.
 *
 *             ┌────────── back-off ◀──────────┐ drop(): every failure ends there
 *             ▼                               │
 *   WAITING ─▶ CONNECTING ─▶ GREETING ─▶ UP ──┘
 *
 * Redis answers in order, so `sent` is a FIFO: the next reply is for its first call. Deadlines
 * grow along it, one timer watches the first. A cancelled call leaves a stand-in behind, else
 * all later replies would go to the wrong calls.
 */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "lib/net/redis_parts.h"
#include "lib/net/retry.h"

#define RECONNECT_BASE_MS 50
#define RECONNECT_CAP_MS  5000
#define ATTEMPTS_MAX      20 /* far beyond the cap already */
#define REDIS_MAGIC       0x72656469u
#define CLIENT_NAME       "sluice"
#define GREETING_ARGC_MAX 3

enum redis_state { REDIS_WAITING, REDIS_CONNECTING, REDIS_GREETING, REDIS_UP, REDIS_FREED };
enum greeting { GREET_AUTH, GREET_SELECT, GREET_NAME, GREETINGS };

struct redis {
    unsigned magic;
    struct loop *loop;
    struct redis_options options;
    struct redis_url url, moved;  /* as configured; where MOVED led */
    const struct redis_url *peer; /* one of them */
    bool follow;                  /* the next connection goes to `moved` */
    char *user;
    enum redis_state state;
    int attempt;     /* failed connections since the last good reply */
    int in_callback; /* redis_free would pull the ground away */
    struct timer
        timer; /* WAITING: reconnect; CONNECTING, GREETING: limit; UP: first deadline */
    struct fault reason;         /* why the last connection ended */
    struct redis_stream *stream; /* these two: CONNECTING to UP */
    struct redis_reader *reader;
    struct list sent;
    struct list refused; /* wait for the end of the turn to be told so */
    struct deferred refuse_work;
    struct redis_call greeting[GREETINGS];
};

static void on_timer(struct timer *timer);
static void on_open(void *owner);
static void on_bytes(void *owner, const char *bytes, size_t len);
static void on_lost(void *owner, const struct fault *reason);

static void run_refusals(struct deferred *work);
static void connect_now(struct redis *redis);
static void greet(struct redis *redis);
static void drop(struct redis *redis, const struct fault *why);
static void drop_because(struct redis *redis, enum err code, const char *text);
static void finish(struct redis *redis, struct redis_call *call,
                   const struct redisReply *reply);

static const struct redis_stream_events stream_events = { on_open, on_bytes, on_lost };

static struct redis *checked(void *owner)
{
    struct redis *redis = owner;
    assert(redis && redis->magic == REDIS_MAGIC);
    return redis;
}

/* ---- life ---- */

enum err redis_new(struct loop *loop, const struct redis_options *options, struct redis **ret,
                   struct fault *fault)
{
    struct redis_url url;
    enum err err = redis_url_parse(options->url, &url, fault);
    if (err)
        return err;
    struct redis *redis = mem_alloc(sizeof *redis);
    redis->magic = REDIS_MAGIC;
    redis->loop = loop;
    redis->options = *options;
    redis->options.url = redis->options.user = NULL; /* borrowed for this call only */
    redis->url = url;
    redis->peer = &redis->url;
    mem_set_text(&redis->user, options->user);
    redis->timer.fire = on_timer;
    redis->refuse_work.run = run_refusals;
    list_init(&redis->sent);
    list_init(&redis->refused);
    fault_set(&redis->reason, ERR_REDIS_LOST, "%s: not yet connected", url.name);
    connect_now(redis);
    *ret = redis;
    return OK;
}

static void cancel_all(struct redis *redis, struct list *list)
{
    struct list_node *node;
    while ((node = list_pop(list))) {
        struct redis_call *call = container_of(node, struct redis_call, node);
        fault_set(&call->fault, ERR_CANCELLED, "Redis client is closing");
        finish(redis, call, NULL);
    }
}

static void disconnect(struct redis *redis)
{
    redis_stream_close(redis->stream);
    redis_reader_free(redis->reader);
    redis->stream = NULL;
    redis->reader = NULL;
}

void redis_free(struct redis *redis)
{
    if (!redis)
        return;
    assert(redis->in_callback == 0);
    redis->state = REDIS_FREED;
    disconnect(redis);
    timer_clear(redis->loop, &redis->timer);
    cancel_all(redis, &redis->sent);
    cancel_all(redis, &redis->refused);
    loop_undefer(redis->loop, &redis->refuse_work);
    redis_url_release(&redis->url);
    redis_url_release(&redis->moved);
    mem_free(redis->user);
    redis->magic = 0;
    mem_free(redis);
}

bool redis_up(const struct redis *redis)
{
    return redis->state == REDIS_UP;
}

size_t redis_pending(const struct redis *redis)
{
    return redis->sent.count + redis->refused.count;
}

/* ---- calls ---- */

static void refuse(struct redis *redis, struct redis_call *call)
{
    call->list = &redis->refused;
    list_push(call->list, &call->node);
    loop_defer(redis->loop, &redis->refuse_work);
}

static void begin(struct redis *redis, struct redis_call *call)
{
    assert(!list_linked(&call->node));
    call->redis = redis;
    call->fault = (struct fault){ 0 };
}

/* The call waits for its reply, or is refused because the output is full. */
static void send_call(struct redis *redis, struct redis_call *call, size_t argc,
                      const char *const *argv, const size_t *len)
{
    if (!redis_command_write(redis_stream_output(redis->stream), argc, argv, len)) {
        fault_set(&call->fault, ERR_REDIS_LOST, "%s: too many commands wait to be sent",
                  redis->peer->name);
        refuse(redis, call);
        return;
    }
    call->deadline = mono_after_ms(loop_now(redis->loop), redis->options.reply_timeout_ms);
    call->list = &redis->sent;
    list_push(call->list, &call->node);
}

void redis_start(struct redis *redis, struct redis_call *call, size_t argc,
                 const char *const *argv, const size_t *len)
{
    begin(redis, call);
    if (redis->state != REDIS_UP) {
        fault_set(&call->fault, ERR_REDIS_LOST, "no connection: %s", redis->reason.text);
        refuse(redis, call);
        return;
    }
    send_call(redis, call, argc, argv, len);
    if (!heap_contains(&redis->timer.node))
        timer_set(redis->loop, &redis->timer, call->deadline);
}

void redis_start_args(struct redis *redis, struct redis_call *call,
                      const struct redis_args *args)
{
    if (args->bytes.overflow) {
        begin(redis, call);
        fault_set(&call->fault, ERR_ARGUMENT, "Redis command is larger than %zu bytes",
                  args->bytes.max);
        refuse(redis, call);
        return;
    }
    const char **argv = mem_alloc_array(args->count, sizeof *argv);
    const char *at = buf_text(&args->bytes);
    for (size_t i = 0; i < args->count; at += args->len[i++])
        argv[i] = at;
    redis_start(redis, call, args->count, argv, args->len);
    mem_free(argv);
}

/* Only those that were refused before this turn's end: who tries again at once waits a turn. */
static void run_refusals(struct deferred *work)
{
    struct redis *redis = container_of(work, struct redis, refuse_work);
    struct list_node *node;
    for (size_t left = redis->refused.count; left > 0 && (node = list_pop(&redis->refused));
         left--)
        finish(redis, container_of(node, struct redis_call, node), NULL);
    if (redis->refused.count > 0)
        loop_defer(redis->loop, work);
}

static void free_stand_in(struct redis_call *call, const struct redisReply *reply)
{
    (void)reply;
    mem_free(call);
}

void redis_cancel(struct redis_call *call)
{
    if (!list_linked(&call->node))
        return;
    if (call->list == &call->redis->refused) {
        list_remove(call->list, &call->node);
        return;
    }
    struct redis_call *stand_in = mem_alloc(sizeof *stand_in);
    *stand_in = *call;
    stand_in->done = free_stand_in;
    stand_in->node.prev->next = stand_in->node.next->prev = &stand_in->node;
    call->node = (struct list_node){ 0 };
}

/* The last act of every call: `done` may free it. */
static void finish(struct redis *redis, struct redis_call *call, const struct redisReply *reply)
{
    redis->in_callback++;
    call->done(call, reply);
    redis->in_callback--;
}

/* ---- connecting ---- */

static void connect_now(struct redis *redis)
{
    redis->state = REDIS_CONNECTING;
    redis->peer = redis->follow ? &redis->moved : &redis->url;
    redis->follow = false;
    redis->reader = redis_reader_new();
    redis->stream = redis_stream_open(redis->loop, redis->peer, &stream_events, redis);
    timer_set_in(redis->loop, &redis->timer, redis->options.connect_timeout_ms);
}

static void on_open(void *owner)
{
    struct redis *redis = checked(owner);
    redis->state = REDIS_GREETING;
    greet(redis);
}

static void become_up(struct redis *redis)
{
    redis->state = REDIS_UP;
    timer_clear(redis->loop, &redis->timer);
    redis->in_callback++;
    if (redis->options.on_up)
        redis->options.on_up(redis->options.owner);
    redis->in_callback--;
}

/* A user without the right to set a name works as well; everything else must succeed. */
static bool greeting_failed(const struct redis *redis, const struct redis_call *call)
{
    if (!call->fault.code)
        return false;
    return call != &redis->greeting[GREET_NAME] || strncmp(call->fault.text, "NOPERM", 6) != 0;
}

static void on_greeting(struct redis_call *call, const struct redisReply *reply)
{
    struct redis *redis = call->redis;
    if (!reply || redis->state != REDIS_GREETING)
        return;
    if (greeting_failed(redis, call))
        drop(redis, &call->fault);
    else if (redis->sent.count == 0)
        become_up(redis);
}

static void send_greeting(struct redis *redis, enum greeting which, size_t argc,
                          const char *const *argv)
{
    struct redis_call *call = &redis->greeting[which];
    size_t len[GREETING_ARGC_MAX];
    for (size_t i = 0; i < argc; i++)
        len[i] = strlen(argv[i]);
    call->done = on_greeting;
    begin(redis, call);
    send_call(redis, call, argc, argv, len);
}

static void greet(struct redis *redis)
{
    const struct secret *password = redis->options.password;
    char db[16];
    snprintf(db, sizeof db, "%d", redis->url.db);
    if (password && password->len > 0 && redis->user)
        send_greeting(redis, GREET_AUTH, 3,
                      (const char *const[]){ "AUTH", redis->user, secret_reveal(password) });
    else if (password && password->len > 0)
        send_greeting(redis, GREET_AUTH, 2,
                      (const char *const[]){ "AUTH", secret_reveal(password) });
    if (redis->url.db > 0)
        send_greeting(redis, GREET_SELECT, 2, (const char *const[]){ "SELECT", db });
    send_greeting(redis, GREET_NAME, 3,
                  (const char *const[]){ "CLIENT", "SETNAME", CLIENT_NAME });
}

/* ---- replies ---- */

/* Fills the call's fault from an error reply; true if the connection must go. */
static bool note_error(struct redis_call *call, const struct redisReply *reply)
{
    if (redis_reply_type(reply) != REDIS_ERROR)
        return false;
    const char *text = redis_reply_text(reply);
    fault_set(&call->fault, redis_error_row(text), "%s", text);
    return redis_error_reconnects(text);
}

static void deliver(struct redis *redis, struct redisReply *reply)
{
    struct list_node *node = list_pop(&redis->sent);
    if (!node) {
        redis_reply_free(reply);
        drop_because(redis, ERR_REDIS_REPLY, "protocol error: reply without a command");
        return;
    }
    struct redis_call *call = container_of(node, struct redis_call, node);
    bool useless = note_error(call, reply);
    struct fault fault = call->fault;
    /* Not earlier: a server that accepts connections and no more deserves no hurry. */
    if (redis->state == REDIS_UP && !fault.code)
        redis->attempt = 0;
    finish(redis, call, reply);
    redis_reply_free(reply);
    if (useless && redis->stream)
        drop(redis, &fault);
}

static void on_bytes(void *owner, const char *bytes, size_t len)
{
    struct redis *redis = checked(owner);
    struct fault fault = { 0 };
    enum err err = redis_reader_feed(redis->reader, bytes, len, &fault);
    while (!err && redis->stream) { /* delivering may end the connection */
        struct redisReply *reply;
        err = redis_reader_next(redis->reader, &reply, &fault);
        if (!err && !reply)
            return;
        if (!err)
            deliver(redis, reply);
    }
    if (err)
        drop(redis, &fault);
}

/* ---- failing ---- */

static void on_lost(void *owner, const struct fault *reason)
{
    drop(checked(owner), reason);
}

static void check_deadline(struct redis *redis)
{
    struct list_node *node = list_first(&redis->sent);
    if (!node)
        return;
    struct redis_call *call = container_of(node, struct redis_call, node);
    if (mono_due(call->deadline, loop_now(redis->loop)))
        drop_because(redis, ERR_REDIS_LOST, "no reply in time");
    else
        timer_set(redis->loop, &redis->timer, call->deadline);
}

static void on_timer(struct timer *timer)
{
    struct redis *redis = container_of(timer, struct redis, timer);
    if (redis->state == REDIS_WAITING)
        connect_now(redis);
    else if (redis->state == REDIS_UP)
        check_deadline(redis);
    else
        drop_because(redis, ERR_CONNECT, "no connection in time");
}

static uint64_t random_bits(void)
{
    uint64_t bits;
    if (getrandom(&bits, sizeof bits, GRND_NONBLOCK) != sizeof bits)
        bits = (uint64_t)clock_mono().us * 0x9e3779b97f4a7c15u; /* early boot: good enough */
    return bits;
}

static void drop_because(struct redis *redis, enum err code, const char *text)
{
    struct fault fault = { 0 };
    fault_set(&fault, code, "%s", text);
    drop(redis, &fault);
}

/* Only from the configured server: two that name each other must not lead us in circles. */
static void find_moved(struct redis *redis, const struct fault *why)
{
    struct redis_url moved;
    if (redis->peer != &redis->url || !redis_url_moved(why->text, &redis->url, &moved))
        return;
    redis_url_release(&redis->moved);
    redis->moved = moved;
    redis->follow = true;
}

void redis_reconnect(struct redis *redis, const struct fault *why)
{
    if (redis->stream)
        drop(redis, why);
}

/*
 * Ends the connection and with it every call that was sent: nobody knows which were executed.
 * The state changes first, so that calls started from their `done` are refused.
 */
static void drop(struct redis *redis, const struct fault *why)
{
    struct list_node *node;
    fault_set(&redis->reason, why->code, "%s: %s", redis->peer->name, why->text);
    redis->state = REDIS_WAITING;
    find_moved(redis, why);
    disconnect(redis); /* `why` may belong to the stream */
    timer_set_in(
        redis->loop, &redis->timer,
        retry_delay_ms(redis->attempt, RECONNECT_BASE_MS, RECONNECT_CAP_MS, 0, random_bits()));
    if (redis->attempt < ATTEMPTS_MAX)
        redis->attempt++;
    while ((node = list_pop(&redis->sent))) {
        struct redis_call *call = container_of(node, struct redis_call, node);
        fault_set(&call->fault, ERR_REDIS_LOST, "%s", redis->reason.text);
        finish(redis, call, NULL);
    }
    redis->in_callback++;
    if (redis->options.on_down)
        redis->options.on_down(redis->options.owner, &redis->reason);
    redis->in_callback--;
}
