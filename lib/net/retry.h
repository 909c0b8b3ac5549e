/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long to wait before the next try. Pure arithmetic: the decision whether to retry at all
 * is the error row's (err.h), randomness is an argument.
 */
#ifndef SLUICE_NET_RETRY_H
#define SLUICE_NET_RETRY_H

#include "lib/base/clock.h"

/*
 * Exponential back-off with full jitter: uniform in [0, min(cap, base * 2^attempt)], but at
 * least `retry_after_ms`. `random` is any 64-bit random number.
 */
int64_t retry_delay_ms(int attempt, int64_t base_ms, int64_t cap_ms, int64_t retry_after_ms,
                       uint64_t random);

/*
 * What becomes of a task that failed.
 *   dead      no further try          count   the attempt counts against its limit
 *   delay_ms  until the next try (>= 0 unless dead)
 * `attempts` counts the tries that were the task's own fault, this one included; `waits` those
 * before this one that were not.
 */
struct retry_verdict {
    bool dead, count;
    int64_t delay_ms;
};
#define RETRY_ATTEMPTS_MAX 12
struct retry_verdict retry_task(const struct fault *fault, int attempts, int waits,
                                uint64_t random);

#endif
