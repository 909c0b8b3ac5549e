/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers on the unix socket, from memory and at once:
 *   /livez     200 while the loop turns (an answer is the proof)
 *   /readyz    200 if Redis, store and IMS work, else 503; ?verbose tells each check with a hint
 *   /status    JSON         /metrics  Prometheus text         /version
 *   words      health, ready, status, agent (HAProxy), version
 * AEP or S3 down = not ready, never not alive.
 */
#ifndef SLUICE_DAEMON_HEALTH_H
#define SLUICE_DAEMON_HEALTH_H

#include "daemon/core.h"
#include "daemon/startup.h"

#define SLUICE_VERSION "0.1.0"

struct health;

enum err health_new(struct core *core, struct startup *startup, struct health **ret,
                    struct fault *fault) MUST_CHECK;
void health_free(struct health *health);

/* One line for systemctl status. */
void health_line(const struct health *health, char *text, size_t size);

#endif
