/* SPDX-License-Identifier: Apache-2.0 */
/* Back-off arithmetic, and the verdict on a failed task by its error's row. Pure. */
#include "lib/net/retry.h"

#define TASK_BASE_MS 1000
#define TASK_CAP_MS  (5 * 60 * 1000)
#define WAIT_MIN_MS  250
#define WAIT_BASE_MS 500
#define WAIT_CAP_MS  (60 * 1000)

int64_t retry_delay_ms(int attempt, int64_t base_ms, int64_t cap_ms, int64_t retry_after_ms,
                       uint64_t random)
{
    int64_t limit = base_ms < cap_ms ? base_ms : cap_ms;
    for (int i = 0; i < attempt && limit < cap_ms; i++)
        limit = limit > cap_ms / 2 ? cap_ms : limit * 2;
    int64_t delay = limit > 0 ? (int64_t)(random % ((uint64_t)limit + 1)) : 0;
    return delay > retry_after_ms ? delay : retry_after_ms;
}

/* The task's own trouble: exponential, and not for ever. `attempts` includes the failed one. */
static struct retry_verdict count_attempt(const struct fault *fault, int attempts,
                                          uint64_t random)
{
    return (struct retry_verdict){
        .dead = attempts >= RETRY_ATTEMPTS_MAX,
        .count = true,
        .delay_ms =
            retry_delay_ms(attempts, TASK_BASE_MS, TASK_CAP_MS, fault->retry_after_ms, random),
    };
}

/*
 * Trouble that is not the task's: never the end, soon again at first. Never at once either: a
 * queue full of such tasks would spin.
 */
static struct retry_verdict wait_outside(const struct fault *fault, int waits, uint64_t random)
{
    return (struct retry_verdict){
        .delay_ms = WAIT_MIN_MS + retry_delay_ms(waits, WAIT_BASE_MS, WAIT_CAP_MS,
                                                 fault->retry_after_ms, random),
    };
}

struct retry_verdict retry_task(const struct fault *fault, int attempts, int waits,
                                uint64_t random)
{
    switch (err_action(fault->code)) {
    case ACT_RETRY:
    case ACT_RESTART:
        return count_attempt(fault, attempts, random);
    case ACT_WAIT:
    case ACT_TOKEN: /* a fresh token was refused too: somebody must repair the credentials */
        return wait_outside(fault, waits, random);
    case ACT_GIVE_UP:
    case ACT_BUG:
        return (struct retry_verdict){ .dead = true, .count = true };
    case ACT_NONE:
    case ACT_DROP:
        break;
    }
    return (struct retry_verdict){ 0 };
}
