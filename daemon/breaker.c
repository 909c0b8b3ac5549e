/* SPDX-License-Identifier: Apache-2.0 */
/* A breaker's arithmetic. Pure. */
#include "daemon/breaker.h"

#include <limits.h>

#define AGAIN_MS 1000 /* after a try that taught nothing */
#define THROTTLE 429

enum verdict { NEUTRAL, GOOD, BAD };

const char *breaker_state_name(enum breaker_state state)
{
    static const char *const name[] = { "closed", "open", "half-open" };
    return name[state];
}

/* Answers about one object: whoever gives them works, and knows us. */
static const bool answers[ERR_COUNT] = {
    [OK] = true,           [ERR_NOT_FOUND] = true,      [ERR_EXISTS] = true,
    [ERR_CONFLICT] = true, [ERR_SOURCE_CHANGED] = true, [ERR_NO_UPLOAD] = true,
    [ERR_BAD_PART] = true,
};

/* A connection that ends after the first bytes of an answer is one answer's trouble. */
static bool is_systemic(const struct fault *fault)
{
    if (fault->http_status == THROTTLE)
        return false;
    if (fault->code == ERR_TIMEOUT || fault->code == ERR_CUT)
        return fault->http_status == 0;
    enum action action = err_action(fault->code);
    return action == ACT_WAIT || action == ACT_TOKEN;
}

static enum verdict judge(const struct fault *fault)
{
    if (answers[fault->code])
        return GOOD;
    return is_systemic(fault) ? BAD : NEUTRAL;
}

/* At least half of the round's wait: everybody's next try must not come at once. */
static int64_t wait_ms(const struct breaker *breaker, uint64_t random)
{
    int64_t most = BREAKER_BASE_MS, asked = breaker->fault.retry_after_ms;
    for (int i = 0; i < breaker->rounds && most < BREAKER_CAP_MS; i++)
        most *= 2;
    if (most > BREAKER_CAP_MS)
        most = BREAKER_CAP_MS;
    int64_t wait = most / 2 + (int64_t)(random % (uint64_t)(most / 2 + 1));
    return wait < asked ? asked : wait;
}

static void open_breaker(struct breaker *breaker, struct mono now, uint64_t random)
{
    breaker->state = BREAKER_OPEN;
    breaker->try_at = mono_after_ms(now, wait_ms(breaker, random));
    breaker->rounds++;
}

static bool close_breaker(struct breaker *breaker)
{
    bool was_open = breaker->state != BREAKER_CLOSED;
    breaker->state = BREAKER_CLOSED;
    breaker->faults = breaker->rounds = breaker->hints = 0;
    breaker->fault.code = OK;
    return was_open;
}

bool breaker_note(struct breaker *breaker, const struct fault *fault, struct mono now,
                  uint64_t random)
{
    enum verdict verdict = judge(fault);
    if (verdict == GOOD)
        return close_breaker(breaker);
    if (verdict == NEUTRAL)
        return false;
    /* Of a refused credential one case is enough: it is the same for every task. */
    bool believed = ++breaker->faults >= BREAKER_FAULTS || fault->code == ERR_CREDENTIAL;
    breaker->hints = 0;
    bool was_closed = breaker->state == BREAKER_CLOSED;
    if (believed || !was_closed)
        breaker->fault = *fault;
    if (fault->code == ERR_DENIED && breaker->denied_is_local) {
        breaker->state = BREAKER_CLOSED;
        breaker->rounds = 0;
        return !was_closed;
    }
    if (breaker->state == BREAKER_OPEN || !believed)
        return false;
    open_breaker(breaker, now, random);
    return was_closed;
}

bool breaker_hint(struct breaker *breaker)
{
    breaker->hints += breaker->state == BREAKER_HALF_OPEN;
    return breaker->hints >= BREAKER_HINTS && close_breaker(breaker);
}

int breaker_room(const struct breaker *breaker, struct mono now)
{
    if (breaker->state == BREAKER_CLOSED)
        return INT_MAX;
    return breaker->state == BREAKER_OPEN && mono_due(breaker->try_at, now);
}

void breaker_try(struct breaker *breaker)
{
    if (breaker->state == BREAKER_OPEN)
        breaker->state = BREAKER_HALF_OPEN;
}

void breaker_tried(struct breaker *breaker, struct mono now)
{
    if (breaker->state != BREAKER_HALF_OPEN)
        return;
    breaker->state = BREAKER_OPEN;
    breaker->try_at = mono_after_ms(now, AGAIN_MS);
}
