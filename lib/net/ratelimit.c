/* SPDX-License-Identifier: Apache-2.0 */
/* Token bucket and adaptive window towards one upstream. Pure. */
#include "lib/net/ratelimit.h"

#include <assert.h>

#define PAUSE_MS 1000 /* after "no" without a Retry-After */
#define ROUNDING 1e-9 /* 0.1 * 10 is a whole token */

static double clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

void ratelimit_init(struct ratelimit *limit, double per_second, double burst, int window_start,
                    int window_max, struct mono now)
{
    *limit = (struct ratelimit){
        .per_second = per_second,
        .burst = burst < 1 ? 1 : burst, /* less than one token could never start anything */
        .filled_at = now,
        .window_max = window_max < 1 ? 1 : window_max,
        .slow_start = true,
    };
    limit->tokens = limit->burst;
    limit->window = clamp(window_start, 1, limit->window_max);
}

void ratelimit_set_rate(struct ratelimit *limit, double per_second)
{
    limit->per_second = per_second;
}

static double tokens_at(const struct ratelimit *limit, struct mono now)
{
    double seconds = (double)(now.us - limit->filled_at.us) / 1e6;
    return clamp(limit->tokens + seconds * limit->per_second, 0, limit->burst);
}

int ratelimit_room(struct ratelimit *limit, struct mono now)
{
    int room = (int)limit->window - limit->in_flight;
    if (room <= 0 || !mono_due(limit->closed_until, now))
        return 0;
    if (limit->per_second <= 0)
        return room;
    double tokens = tokens_at(limit, now) + ROUNDING;
    return tokens < room ? (int)tokens : room;
}

void ratelimit_take(struct ratelimit *limit, struct mono now)
{
    limit->tokens = clamp(tokens_at(limit, now) - 1, 0, limit->burst);
    limit->filled_at = now;
    limit->in_flight++;
}

struct mono ratelimit_next(const struct ratelimit *limit, struct mono now)
{
    if (limit->in_flight >= (int)limit->window)
        return MONO_NEVER;
    struct mono next = mono_due(limit->closed_until, now) ? now : limit->closed_until;
    double missing = 1 - ROUNDING - tokens_at(limit, now);
    if (limit->per_second <= 0 || missing <= 0)
        return next;
    struct mono token = { now.us + (int64_t)(missing / limit->per_second * 1e6) + 1 };
    return mono_earlier(next, token).us == next.us ? token : next;
}

static void grow(struct ratelimit *limit)
{
    double step = limit->slow_start ? 1 : 1 / limit->window;
    limit->window = clamp(limit->window + step, 1, limit->window_max);
}

void ratelimit_close(struct ratelimit *limit, struct mono until)
{
    if (limit->closed_until.us < until.us)
        limit->closed_until = until;
}

/* Requests that were on their way when the window was halved say nothing about the new one. */
static void shrink(struct ratelimit *limit, struct mono started, struct mono now)
{
    limit->slow_start = false;
    if (started.us < limit->halved_at.us)
        return;
    limit->window = clamp(limit->window / 2, 1, limit->window_max);
    limit->halved_at = now;
    ratelimit_close(limit, mono_after_ms(now, PAUSE_MS));
}

void ratelimit_done(struct ratelimit *limit, enum ratelimit_verdict verdict,
                    int64_t retry_after_ms, struct mono started, struct mono now)
{
    assert(limit->in_flight > 0);
    limit->in_flight--;
    if (verdict == RATELIMIT_GOOD)
        grow(limit);
    if (verdict != RATELIMIT_THROTTLED)
        return;
    limit->throttled++;
    shrink(limit, started, now);
    if (retry_after_ms > 0)
        ratelimit_close(limit, mono_after_ms(now, retry_after_ms));
}
