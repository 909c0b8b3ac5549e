/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop. What libuv does in one turn, and what hangs on it here:
 *
 *   prepare   forget the time of the last turn, aim the alarm at the first deadline
 *   poll      sleep; I/O, mailboxes and signals call back
 *   check     deferred work
 *   timers    the alarm: all deadlines that have passed
 *
 * The check handle is always active, therefore the loop runs until loop_stop() even if nothing
 * else is going on.
 */
#include "lib/net/loop.h"

#include <assert.h>
#include <stdio.h>
#include <uv.h>

struct loop {
    uv_loop_t uv;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t awake; /* active while work is deferred: keeps poll from sleeping */
    uv_timer_t alarm;
    struct heap timers;
    struct list deferred;
    struct list_node turn_end; /* in `deferred`: what lies behind it is for the next turn */
    struct list signals;
    struct mono now; /* 0 = not yet read in this turn */
    struct wall wall;
};

struct mailbox {
    uv_async_t bell;
    struct list arrived; /* the loop's thread only */
    void *owner;
    void (*receive)(void *owner, struct mail *mail);
    pthread_mutex_t lock;
    struct list posted; /* under the lock */
};

struct watch {
    uv_signal_t handle;
    struct list_node node;
    void *owner;
    void (*on_signal)(void *owner, int signal);
};

static void on_prepare(uv_prepare_t *handle);
static void on_check(uv_check_t *handle);
static void on_awake(uv_idle_t *handle);
static void on_alarm(uv_timer_t *handle);
static void on_bell(uv_async_t *handle);
static void on_uv_signal(uv_signal_t *handle, int number);

/* ---- life */

/* Handles fail only for want of descriptors or memory, before any work was accepted. */
static void must(int status)
{
    if (status >= 0)
        return;
    char what[80];
    snprintf(what, sizeof what, "resources of the event loop (%s)", uv_strerror(status));
    mem_exhausted(what);
}

static void *resize(void *old, size_t size)
{
    return mem_grow(old, size, 1);
}

/* libuv itself aborts where it has no memory. */
__attribute__((constructor)) static void use_memory_that_never_fails(void)
{
    uv_replace_allocator(mem_alloc_raw, resize, mem_alloc_array, mem_free);
}

struct loop *loop_new(void)
{
    struct loop *loop = mem_alloc(sizeof *loop);
    list_init(&loop->deferred);
    list_init(&loop->signals);
    must(uv_loop_init(&loop->uv));
    loop->uv.data = loop;
    must(uv_prepare_init(&loop->uv, &loop->prepare));
    must(uv_prepare_start(&loop->prepare, on_prepare));
    must(uv_check_init(&loop->uv, &loop->check));
    must(uv_check_start(&loop->check, on_check));
    must(uv_idle_init(&loop->uv, &loop->awake));
    must(uv_timer_init(&loop->uv, &loop->alarm));
    return loop;
}

static void on_watch_closed(uv_handle_t *handle)
{
    mem_free(container_of(handle, struct watch, handle));
}

static void check_closing(uv_handle_t *handle, void *unused)
{
    (void)unused;
    assert(uv_is_closing(handle)); /* else a module has left a handle behind */
    (void)handle;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    list_each(&loop->signals, node)
    {
        struct watch *watch = container_of(node, struct watch, node);
        list_remove(&loop->signals, node);
        uv_close((uv_handle_t *)&watch->handle, on_watch_closed);
    }
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->awake, NULL);
    uv_close((uv_handle_t *)&loop->alarm, NULL);
    uv_walk(&loop->uv, check_closing, NULL);
    while (uv_loop_alive(&loop->uv))
        uv_run(&loop->uv, UV_RUN_DEFAULT);
    must(uv_loop_close(&loop->uv));
    heap_release(&loop->timers);
    mem_free(loop);
}

void loop_run(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

struct uv_loop_s *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

/* ---- time and deadlines */

/*
 * Read late rather than at the start of the turn: libuv has no callback between the end of the
 * sleep and the first event, and a time read before the sleep would be old by its whole length.
 */
struct mono loop_now(struct loop *loop)
{
    if (!loop->now.us)
        loop->now = clock_mono();
    return loop->now;
}

struct wall loop_wall(struct loop *loop)
{
    if (!loop->wall.ms)
        loop->wall = clock_wall();
    return loop->wall;
}

void timer_set(struct loop *loop, struct timer *timer, struct mono at)
{
    if (at.us == MONO_NEVER.us)
        heap_remove(&loop->timers, &timer->node);
    else
        heap_set(&loop->timers, &timer->node, at.us);
}

void timer_set_in(struct loop *loop, struct timer *timer, int64_t ms)
{
    timer_set(loop, timer, mono_after_ms(loop_now(loop), ms));
}

void timer_clear(struct loop *loop, struct timer *timer)
{
    heap_remove(&loop->timers, &timer->node);
}

/*
 * Deadlines move often and the loop sleeps once per turn, so the uv timer is set only here. A
 * deadline already due gives 0: safe, because libuv looks at its timers after the poll, not
 * now.
 */
static void on_prepare(uv_prepare_t *handle)
{
    struct loop *loop = handle->loop->data;
    struct heap_node *first = heap_first(&loop->timers);
    loop->now.us = 0;
    loop->wall.ms = 0;
    if (!first) {
        uv_timer_stop(&loop->alarm);
        return;
    }
    int64_t wait_us = first->key - clock_mono().us;
    uv_update_time(&loop->uv);
    uv_timer_start(&loop->alarm, on_alarm, wait_us > 0 ? (uint64_t)(wait_us + 999) / 1000 : 0,
                   0);
}

/* Bounded, so that a timer which sets itself again to "now" does not starve the sockets. */
static void on_alarm(uv_timer_t *handle)
{
    struct loop *loop = handle->loop->data;
    for (size_t left = loop->timers.count; left > 0; left--) {
        struct heap_node *first = heap_first(&loop->timers);
        if (!first || first->key > loop_now(loop).us)
            return;
        heap_remove(&loop->timers, first);
        struct timer *timer = container_of(first, struct timer, node);
        timer->fire(timer);
    }
}

/* ---- deferred work */

void loop_defer(struct loop *loop, struct deferred *work)
{
    if (list_linked(&work->node))
        return;
    list_push(&loop->deferred, &work->node);
    uv_idle_start(&loop->awake, on_awake);
}

void loop_undefer(struct loop *loop, struct deferred *work)
{
    if (list_linked(&work->node))
        list_remove(&loop->deferred, &work->node);
}

static void on_check(uv_check_t *handle)
{
    struct loop *loop = handle->loop->data;
    struct list_node *node;
    list_push(&loop->deferred, &loop->turn_end);
    while ((node = list_pop(&loop->deferred)) != &loop->turn_end) {
        struct deferred *work = container_of(node, struct deferred, node);
        work->run(work);
    }
    if (loop->deferred.count == 0)
        uv_idle_stop(&loop->awake);
}

static void on_awake(uv_idle_t *handle)
{
    (void)handle;
}

/* ---- mailboxes */

struct mailbox *mailbox_new(struct loop *loop, void *owner,
                            void (*receive)(void *owner, struct mail *mail))
{
    struct mailbox *box = mem_alloc(sizeof *box);
    box->owner = owner;
    box->receive = receive;
    list_init(&box->arrived);
    list_init(&box->posted);
    pthread_mutex_init(&box->lock, NULL);
    must(uv_async_init(&loop->uv, &box->bell, on_bell));
    return box;
}

void mailbox_post(struct mailbox *box, struct mail *mail)
{
    pthread_mutex_lock(&box->lock);
    list_push(&box->posted, &mail->node);
    /* Inside the lock: once it is given back, the receiver may free the mailbox. */
    uv_async_send(&box->bell);
    pthread_mutex_unlock(&box->lock);
}

static void collect(struct mailbox *box)
{
    struct list_node *node;
    pthread_mutex_lock(&box->lock);
    while ((node = list_pop(&box->posted)))
        list_push(&box->arrived, node);
    pthread_mutex_unlock(&box->lock);
}

/* `receive` may free the mailbox: that empties `arrived`, and the memory outlives this call. */
static void deliver(struct mailbox *box)
{
    struct list_node *node;
    while ((node = list_pop(&box->arrived)))
        box->receive(box->owner, container_of(node, struct mail, node));
}

static void on_bell(uv_async_t *handle)
{
    struct mailbox *box = container_of(handle, struct mailbox, bell);
    collect(box);
    deliver(box);
}

static void on_box_closed(uv_handle_t *handle)
{
    struct mailbox *box = container_of(handle, struct mailbox, bell);
    pthread_mutex_destroy(&box->lock);
    mem_free(box);
}

void mailbox_free(struct mailbox *box)
{
    if (!box)
        return;
    collect(box);
    deliver(box);
    uv_close((uv_handle_t *)&box->bell, on_box_closed);
}

/* ---- signals */

void loop_signals(struct loop *loop, const int *signals, void *owner,
                  void (*on_signal)(void *owner, int signal))
{
    for (; *signals; signals++) {
        struct watch *watch = mem_alloc(sizeof *watch);
        watch->owner = owner;
        watch->on_signal = on_signal;
        must(uv_signal_init(&loop->uv, &watch->handle));
        must(uv_signal_start(&watch->handle, on_uv_signal, *signals));
        list_push(&loop->signals, &watch->node);
    }
}

static void on_uv_signal(uv_signal_t *handle, int number)
{
    struct watch *watch = container_of(handle, struct watch, handle);
    watch->on_signal(watch->owner, number);
}
