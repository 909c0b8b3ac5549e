/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A breaker: what an upstream that fails for everybody costs nobody. Pure.
 *
 *   CLOSED ──five systemic faults in a row──▶ OPEN ──wait over, one try──▶ HALF_OPEN
 *     ▲                                        ▲ └──success──┐             │    │
 *     └────────────────────────────────────────┼─────────────┴──success────┘    │
 *                                              └──fault: a longer wait──────────┘
 *
 * Systemic is what says nothing about the task that met it: no connection, no answer, 5xx,
 * refused credentials. A 429 is none: the rate limit sees to that. Success is every answer that
 * only a working upstream can give, "not found" included.
 */
#ifndef SLUICE_DAEMON_BREAKER_H
#define SLUICE_DAEMON_BREAKER_H

#include "lib/base/clock.h"

#define BREAKER_FAULTS  5
#define BREAKER_HINTS   5
#define BREAKER_BASE_MS 1000
#define BREAKER_CAP_MS  60000

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };
const char *breaker_state_name(enum breaker_state state); /* "closed" "open" "half-open" */

struct breaker {
    enum breaker_state state;
    /* A missing permission may concern one dataset: it is shown, and stops nobody. */
    bool denied_is_local;
    int faults;         /* systemic ones in a row */
    int rounds;         /* waits since the last success */
    int hints;          /* since the last fault */
    struct mono try_at; /* OPEN: when one may try */
    struct fault fault; /* OK, or the trouble that is believed; for health checks */
};

/* A call to the upstream ended. True if the breaker opened (from CLOSED) or closed. */
bool breaker_note(struct breaker *breaker, const struct fault *fault, struct mono now,
                  uint64_t random);

/* A call succeeded that proves little; so many of them while somebody tries prove enough. */
bool breaker_hint(struct breaker *breaker);

/* How many tasks may start now: INT_MAX, or 1 to try, or 0. */
int breaker_room(const struct breaker *breaker, struct mono now);

/* One was let through although the breaker is open. */
void breaker_try(struct breaker *breaker);
/* It ended; if nothing was learnt from it, another one may try. */
void breaker_tried(struct breaker *breaker, struct mono now);

#endif
