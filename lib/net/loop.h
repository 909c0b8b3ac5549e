/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One event loop of one thread: a uv loop, one timer heap behind a single uv timer, work
 * deferred to the end of the turn, signals, and mailboxes through which other threads hand over
 * messages. Everything except mailbox_post() belongs to the loop's thread. The clock is read
 * once per turn, by the first who asks after the loop woke up.
 */
#ifndef SLUICE_NET_LOOP_H
#define SLUICE_NET_LOOP_H

#include <pthread.h>

#include "lib/base/clock.h"
#include "lib/base/heap.h"
#include "lib/base/list.h"

struct loop;
struct uv_loop_s;

struct loop *loop_new(void);
/* All handles of modules on the loop must have been released before. */
void loop_free(struct loop *loop);
void loop_run(struct loop *loop);             /* returns after loop_stop() */
void loop_stop(struct loop *loop);            /* from the loop's thread */
struct uv_loop_s *loop_uv(struct loop *loop); /* for lib/net only */

struct mono loop_now(struct loop *loop);
struct wall loop_wall(struct loop *loop);

/*
 * A deadline. Embedded in its owner; `fire` runs from the loop, never from inside timer_set.
 * Setting again moves it, MONO_NEVER clears it. A zeroed struct with `fire` set is ready.
 */
struct timer {
    struct heap_node node;
    void (*fire)(struct timer *timer);
};
void timer_set(struct loop *loop, struct timer *timer, struct mono at);
void timer_set_in(struct loop *loop, struct timer *timer, int64_t ms); /* from loop_now */
void timer_clear(struct loop *loop, struct timer *timer);              /* idempotent */

/*
 * Work for the end of this turn, before the loop sleeps: breaks recursion ("start never calls
 * done before it returned", un-pausing transfers). Runs once per loop_defer(); deferring again
 * from inside `run` means the next turn, which follows at once.
 */
struct deferred {
    struct list_node node;
    void (*run)(struct deferred *work);
};
void loop_defer(struct loop *loop, struct deferred *work); /* no effect if it is queued */
void loop_undefer(struct loop *loop, struct deferred *work);

/*
 * Messages from other threads, in order of posting. Ownership of the message passes with the
 * call; `receive` runs in the loop's thread. Release with mailbox_free after the last post;
 * messages not received by then are handed to `receive` first.
 */
struct mail {
    struct list_node node;
};
struct mailbox;
struct mailbox *mailbox_new(struct loop *loop, void *owner,
                            void (*receive)(void *owner, struct mail *mail));
void mailbox_post(struct mailbox *box, struct mail *mail); /* any thread */
void mailbox_free(struct mailbox *box);

/* Calls `on_signal` from the loop for each of the (0-terminated) signals until loop_free. */
void loop_signals(struct loop *loop, const int *signals, void *owner,
                  void (*on_signal)(void *owner, int signal));

#endif
