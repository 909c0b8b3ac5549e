/* SPDX-License-Identifier: Apache-2.0 */
/* Clock reading and strict date parsing. */
#include "lib/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define LAST_MS 253402300799999 /* the end of the year 9999: what can be written as a date */

static enum err broken_down(struct tm tm, int64_t ms, struct wall *ret);

struct mono clock_mono(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (struct mono){ (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000 };
}

struct wall clock_wall(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (struct wall){ (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 };
}

static struct tm utc(struct wall at)
{
    /* Floor, so that times before 1970 format properly too. */
    time_t seconds = (time_t)(at.ms / 1000 - (at.ms % 1000 < 0));
    struct tm tm = { 0 };
    gmtime_r(&seconds, &tm);
    return tm;
}

char *wall_text(struct wall at, char text[WALL_TEXT_SIZE])
{
    struct tm tm = utc(at);
    /* strftime prints the year 24 with two digits. */
    size_t n = (size_t)snprintf(text, WALL_TEXT_SIZE, "%04d", tm.tm_year + 1900);
    n += strftime(text + n, WALL_TEXT_SIZE - n, "-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, WALL_TEXT_SIZE - n, ".%03dZ", (int)((at.ms % 1000 + 1000) % 1000));
    return text;
}

/* The format is the operator's (key templates), so no compiler can check it. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
void wall_format(struct wall at, const char *format, char *text, size_t size)
{
    struct tm tm = utc(at);
    if (size && !strftime(text, size, format, &tm))
        text[0] = 0;
}
#pragma GCC diagnostic pop

static bool all_digits(const char *text)
{
    return text[0] && strspn(text, "0123456789") == strlen(text);
}

/* ".123Z" or "Z"; returns the milliseconds, -1 if malformed. */
static int64_t fraction(const char *rest)
{
    if (strcmp(rest, "Z") == 0)
        return 0;
    size_t digits = strspn(rest + (rest[0] == '.'), "0123456789");
    if (rest[0] != '.' || digits < 1 || digits > 9 || strcmp(rest + 1 + digits, "Z") != 0)
        return -1;
    int64_t ms = 0;
    for (size_t i = 1; i <= 3; i++)
        ms = ms * 10 + (i <= digits ? rest[i] - '0' : 0);
    return ms;
}

/*
 * Reads the front of `text` by a strptime format, if it has the shape: 0 stands for a digit, A
 * for a letter. Returns what follows; NULL if it is something else. strptime alone takes blanks
 * and short numbers too, and stops in the middle of "60".
 */
static const char *read_shape(const char *text, const char *shape, const char *format,
                              struct tm *tm)
{
    const char *at = text;
    for (; *shape; at++, shape++) {
        bool letter = (*at >= 'A' && *at <= 'Z') || (*at >= 'a' && *at <= 'z');
        bool digit = *at >= '0' && *at <= '9';
        if (*shape == '0' ? !digit : *shape == 'A' ? !letter : *at != *shape)
            return NULL;
    }
    return strptime(text, format, tm) == at ? at : NULL;
}

enum err wall_parse(const char *text, struct wall *ret)
{
    struct tm tm = { 0 };
    long long ms;
    if (all_digits(text)) {
        if (strlen(text) > 15 || sscanf(text, "%lld", &ms) != 1 || ms > LAST_MS)
            return ERR_ARGUMENT;
        *ret = (struct wall){ ms };
        return OK;
    }
    const char *rest = read_shape(text, "0000-00-00T00:00:00", "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest)
        return broken_down(tm, fraction(rest), ret);
    rest = read_shape(text, "0000-00-00T00:00Z", "%Y-%m-%dT%H:%MZ", &tm);
    if (!rest)
        rest = read_shape(text, "0000-00-00", "%Y-%m-%d", &tm);
    return rest && !*rest ? broken_down(tm, 0, ret) : ERR_ARGUMENT;
}

static enum err broken_down(struct tm tm, int64_t ms, struct wall *ret)
{
    struct tm check = tm;
    time_t seconds = timegm(&check);
    /* timegm turns 02-30 into 03-01 and 10:30:60 into 10:31: what changes is no date. */
    if (ms < 0 || check.tm_mday != tm.tm_mday || check.tm_mon != tm.tm_mon ||
        check.tm_sec != tm.tm_sec)
        return ERR_ARGUMENT;
    *ret = (struct wall){ (int64_t)seconds * 1000 + ms };
    return OK;
}

enum err wall_parse_http(const char *text, struct wall *ret)
{
    struct tm tm = { 0 };
    const char *rest =
        read_shape(text, "AAA, 00 AAA 0000 00:00:00 GMT", "%a, %d %b %Y %H:%M:%S GMT", &tm);
    return rest && !*rest ? broken_down(tm, 0, ret) : ERR_ARGUMENT;
}
