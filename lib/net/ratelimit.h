/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Politeness towards one upstream: a token bucket (requests per second) and an adaptive window
 * (requests in flight). Pure: time is an argument.
 *
 * Window: starts at `window_start`, doubles per window of successes until the first throttle
 * answer, then grows by one per window; a throttle halves it (at most once per round trip) and
 * closes the door until Retry-After is over, or for a second. 1 <= window <= window_max always.
 */
#ifndef SLUICE_NET_RATELIMIT_H
#define SLUICE_NET_RATELIMIT_H

#include "lib/base/clock.h"

struct ratelimit {
    double per_second, burst, tokens; /* per_second 0 = no limit */
    struct mono filled_at;
    int window_max, in_flight;
    double window;
    bool slow_start;
    struct mono closed_until; /* Retry-After or our own pause */
    struct mono halved_at;
    int64_t throttled; /* how often upstream said no; metric */
};

void ratelimit_init(struct ratelimit *limit, double per_second, double burst, int window_start,
                    int window_max, struct mono now);

/* The share of the fleet's rate that is ours: limit divided by live daemons. */
void ratelimit_set_rate(struct ratelimit *limit, double per_second);

/* How many requests could start now. */
int ratelimit_room(struct ratelimit *limit, struct mono now);

/* Takes one; call only if there is room. */
void ratelimit_take(struct ratelimit *limit, struct mono now);

/* When there may be room again; MONO_NEVER if only the end of a request can make room. */
struct mono ratelimit_next(const struct ratelimit *limit, struct mono now);

/* Lets nothing in until then. What asks to wait longer wins; a shorter wish changes nothing. */
void ratelimit_close(struct ratelimit *limit, struct mono until);

enum ratelimit_verdict { RATELIMIT_GOOD, RATELIMIT_THROTTLED, RATELIMIT_NEUTRAL };

/* The request ended. NEUTRAL: neither praise nor blame (404, cancel). */
void ratelimit_done(struct ratelimit *limit, enum ratelimit_verdict verdict,
                    int64_t retry_after_ms, struct mono started, struct mono now);

#endif
