/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From "configured" to "working": connect the queue and register the datasets, probe the store,
 * then let the scheduler begin. Each side is tried until it works; what stands in the way is
 * kept for the health check. Redis that would lose tasks, at the first look, ends the program.
 */
#ifndef SLUICE_DAEMON_STARTUP_H
#define SLUICE_DAEMON_STARTUP_H

#include "daemon/core.h"

struct startup;

/* Makes core->queue, ledger and repair. ERR_CONFIG with a sentence if its URL is of no use. */
enum err startup_new(struct core *core, const struct secret *password,
                     void (*refuse)(struct core *core, const struct fault *fault),
                     struct startup **ret, struct fault *fault) MUST_CHECK;
/* Stops what still runs; the queue itself is freed by main. */
void startup_free(struct startup *startup);

/* The scheduler's answer to a claim: what Redis refuses is told, and shown by the health check. */
void startup_claimed(struct core *core, const struct fault *fault);

/* The configuration was read again; `datasets`: they are others. Redis' password is read, too. */
void startup_reload(struct startup *startup, bool datasets);
/* Whether an answer is awaited that is about a dataset as it was configured. */
bool startup_asks(const struct startup *startup);

/* OK, or why not. */
const struct fault *startup_redis_fault(const struct startup *startup);
const struct fault *startup_store_fault(const struct startup *startup);

#endif
