/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world for tests of the queue: a redis-server of its own, a queue on a loop, and a plain
 * client next to it. WAIT_UNTIL turns the loop; a guard makes a test that waits in vain fail.
 */
#ifndef SLUICE_TESTS_QUEUE_RIG_H
#define SLUICE_TESTS_QUEUE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/queue/queue_parts.h"

#define WORLD_DATASET    "5f1a2b3c"
#define WORLD_TIMEOUT_MS 20000

struct world {
    struct loop *loop;
    struct redis *client;
    struct queue *queue;
    int pid; /* of the server */
    char dir[32], url[64];
    bool forgetful;         /* no append-only file */
    int ups, downs, losses; /* of the queue */
    struct fault down;
    struct timer guard, tick;
    bool late;
};

void world_begin(struct world *world, bool forgetful); /* server and client, no queue */
void world_open(struct world *world, struct queue_options options);
void world_up(struct world *world); /* both, and waits for the queue */
void world_end(struct world *world);
void world_start_server(struct world *world);
void world_kill_server(struct world *world);
void world_command(struct world *world, const char *line); /* words separated by one space */

void world_wait_begin(struct world *world);
void world_turn(struct world *world);
#define WAIT_UNTIL(world, condition)                                                           \
    do {                                                                                       \
        world_wait_begin(world);                                                               \
        while (!(condition) && !(world)->late)                                                 \
            world_turn(world);                                                                 \
        assert_true(condition);                                                                \
    } while (0)

/* An operation and how often it ended. */
struct step {
    struct queue_op op;
    int dones;
};
struct queue_op *step_begin(struct step *step);
void step_await(struct world *world, struct step *step, enum err want);

void world_submit(struct world *world, const char *id); /* a batch */
size_t world_claim(struct world *world, struct step *step, enum queue_class class);
struct queue_task *world_claim_one(struct world *world, enum queue_class class);

#endif
