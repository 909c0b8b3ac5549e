/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The services that tasks depend on, each with its breaker. While one of them fails for
 * everybody, tasks that need it are left in the queue and lose no attempt by it; now and then
 * one task may try. Redis is not among them: without it there are no tasks.
 */
#ifndef SLUICE_DAEMON_UPSTREAM_H
#define SLUICE_DAEMON_UPSTREAM_H

#include "daemon/breaker.h"

struct core;
struct queue_task;
struct task_kind;

enum upstream { UPSTREAM_IMS, UPSTREAM_CATALOG, UPSTREAM_ACCESS, UPSTREAM_S3, UPSTREAMS };
const char *upstream_name(enum upstream upstream); /* "ims" "catalog" "access" "s3" */

struct upstreams {
    struct breaker breaker[UPSTREAMS];
};
void upstream_init(struct upstreams *upstreams);

/* A call ended; logs when a breaker opens or closes. */
void upstream_note(struct core *core, enum upstream upstream, const struct fault *fault);

/* A question was answered; that is no proof that the upstream does what it is there for. */
void upstream_hint(struct core *core, enum upstream upstream);

/* Upstreams as bits. */
#define UPSTREAM_BIT(upstream) (1u << (upstream))
#define UPSTREAM_FILES                                                                         \
    (UPSTREAM_BIT(UPSTREAM_IMS) | UPSTREAM_BIT(UPSTREAM_ACCESS) | UPSTREAM_BIT(UPSTREAM_S3))
unsigned upstream_needs(const struct queue_task *task);

/* How many tasks that need all of these may start: INT_MAX, or 1 to try, or 0. */
int upstream_room(const struct core *core, unsigned needs);
/* One starts; returns those of them whose breaker it tries. Hand them back when it ended. */
unsigned upstream_try(struct core *core, unsigned needs);
void upstream_tried(struct core *core, unsigned tries);

/* Whether a breaker of these is not closed. */
bool upstream_fails(const struct core *core, unsigned needs);
/* Until room may come; 0 if there is. */
int64_t upstream_wait_ms(const struct core *core, unsigned needs);

/* The kind of a claimed task that has to wait: it goes back to the queue until then. */
extern const struct task_kind waiting_kind;

#endif
