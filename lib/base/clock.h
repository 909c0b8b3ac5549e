/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time. Monotonic time (deadlines, rates) and wall time (dates, signatures) are two types that
 * cannot be mixed. Code that decides by time takes `now` as an argument; only the loop and main
 * read a clock, once per turn.
 */
#ifndef SLUICE_BASE_CLOCK_H
#define SLUICE_BASE_CLOCK_H

#include <stdint.h>

#include "lib/base/err.h"

struct mono {
    int64_t us; /* since some point before the process started; never 0 for a real time */
};

struct wall {
    int64_t ms; /* since 1970-01-01T00:00:00Z */
};

#define MONO_NEVER ((struct mono){ INT64_MAX })

struct mono clock_mono(void);
struct wall clock_wall(void);

static inline struct mono mono_after_ms(struct mono from, int64_t ms)
{
    return (struct mono){ from.us + ms * 1000 };
}

static inline int64_t mono_ms_between(struct mono from, struct mono to)
{
    return (to.us - from.us) / 1000;
}

static inline bool mono_due(struct mono at, struct mono now)
{
    return at.us <= now.us;
}

static inline struct mono mono_earlier(struct mono a, struct mono b)
{
    return a.us < b.us ? a : b;
}

#define WALL_TEXT_SIZE 32

/* "2026-11-21T02:00:04.120Z"; returns `text`. */
char *wall_text(struct wall at, char text[WALL_TEXT_SIZE]);

/* strftime of the UTC time; the result is cut at `size`. */
void wall_format(struct wall at, const char *format, char *text, size_t size);

/* "2024-02-01", "2024-02-01T10:30Z", "…T10:30:00Z", "…T10:30:00.123Z" or ms since 1970. Strict. */
enum err wall_parse(const char *text, struct wall *ret) MUST_CHECK;

/* HTTP date (RFC 9110 §5.6.7, IMF-fixdate only). */
enum err wall_parse_http(const char *text, struct wall *ret) MUST_CHECK;

#endif
