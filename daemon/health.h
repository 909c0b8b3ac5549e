/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers on the unix socket, and on a loopback port if one is configured; from memory, at once:
 *   /livez     200 while the loop turns (an answer is the proof)
 *   /readyz    200 if all checks pass, else 503; ?verbose tells each, since when, with a hint
 *   /status    JSON         /metrics  Prometheus text         /version
 *   words      live, health, ready, status, agent (HAProxy), metrics, version
 * AEP or S3 down = not ready, never not alive.
 */
#ifndef SLUICE_DAEMON_HEALTH_H
#define SLUICE_DAEMON_HEALTH_H

#include "daemon/checks.h"
#include "daemon/figures.h"

#define SLUICE_VERSION "0.1.0"

struct health;

/* Makes core->figures. */
enum err health_new(struct core *core, struct startup *startup, struct health **ret,
                    struct fault *fault) MUST_CHECK;
void health_free(struct health *health);

/* One line for systemctl status. */
void health_line(struct health *health, char *text, size_t size);

/* What an answer is made of: the checks are up to date. */
struct health_view {
    const struct core *core;
    const struct checks *checks;
    struct wall now;     /* by this machine */
    struct wall now_aep; /* by AEP */
    int64_t uptime_ms;
    int64_t loop_lag_us; /* the worst in the last minute */
    bool draining, ready;
};
void health_look(struct health *health, struct health_view *ret);

void health_print_status(const struct health_view *view, struct buf *out);  /* JSON */
void health_print_metrics(const struct health_view *view, struct buf *out); /* Prometheus */

#endif
