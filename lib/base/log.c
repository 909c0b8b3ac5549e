/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines on standard error. */
#include "lib/base/log.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"

#define LINE_SIZE 2048

static const char *const level_name[] = {
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARN] = "warn",
    [LOG_ERROR] = "error",
};

static atomic_int threshold = LOG_INFO;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint64_t lost;
static uint64_t lost_told; /* under the lock */

void log_set_level(enum log_level level)
{
    atomic_store(&threshold, (int)level);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&threshold, memory_order_relaxed);
}

/*
 * The time, the level and the object, then the event: printable, with a newline. Returns the
 * length.
 */
static size_t format_line(char line[LINE_SIZE], enum log_level level, const char *object,
                          const char *format, va_list args)
    __attribute__((format(printf, 4, 0)));

static size_t format_line(char line[LINE_SIZE], enum log_level level, const char *object,
                          const char *format, va_list args)
{
    char at[WALL_TEXT_SIZE];
    size_t room = LINE_SIZE - 1;
    int n = snprintf(line, room, "%s %-5s %s ", wall_text(clock_wall(), at), level_name[level],
                     object ? object : "sluiced");
    size_t used = n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
    vsnprintf(line + used, room - used, format, args);
    text_sanitize(line);
    used = strlen(line);
    line[used++] = '\n';
    return used;
}

/*
 * A full disk, a closed pipe, a reader that has stopped: the line is lost and the work goes on.
 * Asked first, because a write to a full pipe would wait for its reader; a line is shorter than
 * what poll promises room for (PIPE_BUF), and the lock keeps other threads out of it.
 */
static bool write_line(const char *line, size_t len)
{
    struct pollfd standard_error = { .fd = STDERR_FILENO, .events = POLLOUT };
    return poll(&standard_error, 1, 0) == 1 && (standard_error.revents & POLLOUT) &&
           write(STDERR_FILENO, line, len) == (ssize_t)len;
}

PRINTF(3, 4)
static bool write_event(enum log_level level, const char *object, const char *format, ...)
{
    char line[LINE_SIZE];
    va_list args;
    va_start(args, format);
    size_t len = format_line(line, level, object, format, args);
    va_end(args);
    return write_line(line, len);
}

/* The first line that finds its way again says how many did not. */
static void tell_lost(void)
{
    uint64_t news = atomic_load(&lost) - lost_told;
    if (news > 0 && write_event(LOG_WARN, NULL, "log_lines_lost=%" PRIu64, news))
        lost_told += news;
}

void log_event(enum log_level level, const char *object, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    char line[LINE_SIZE];
    va_list args;
    va_start(args, format);
    size_t len = format_line(line, level, object, format, args);
    va_end(args);
    pthread_mutex_lock(&lock);
    tell_lost();
    if (!write_line(line, len))
        atomic_fetch_add(&lost, 1);
    pthread_mutex_unlock(&lock);
}

uint64_t log_lost(void)
{
    return atomic_load(&lost);
}
