/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/patience.h"

#define LOOK_MIN_MS    1000LL
#define LOOK_MAX_MS    600000LL
#define STALLED_MIN_MS 600000LL
#define SHIFT_MAX      20
#define MISSING_MAX    3
#define SHORTS_MIN     2

static int64_t min_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t patience_look_ms(enum batch_state state, int64_t age_ms, int64_t looks)
{
    int64_t by_looks = LOOK_MIN_MS << min_of(looks, SHIFT_MAX);
    int64_t least = state == BATCH_STALLED ? STALLED_MIN_MS : LOOK_MIN_MS;
    int64_t delay = min_of(min_of(age_ms / 10, by_looks), LOOK_MAX_MS);
    return delay < least ? least : delay;
}

int64_t patience_missing_ms(int64_t times)
{
    return times >= MISSING_MAX ? -1 : LOOK_MIN_MS << times;
}

bool patience_is_short(const struct listing_facts *facts)
{
    return facts->doubt_ms > 0 && facts->files < facts->expected;
}

bool patience_doubts(const struct listing_facts *facts)
{
    bool few = patience_is_short(facts);
    if (facts->files == 0 && (few || facts->records > 0 || facts->listed > 0))
        return true;
    return few && (facts->shorts < SHORTS_MIN || facts->quiet_ms < facts->doubt_ms);
}
