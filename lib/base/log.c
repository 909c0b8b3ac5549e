/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines on standard error. */
#include "lib/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"

static const char *const level_name[] = {
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARN] = "warn",
    [LOG_ERROR] = "error",
};

static atomic_int threshold = LOG_INFO;

void log_set_level(enum log_level level)
{
    atomic_store(&threshold, (int)level);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&threshold, memory_order_relaxed);
}

void log_event(enum log_level level, const char *object, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    char line[2048], at[WALL_TEXT_SIZE];
    size_t room = sizeof line - 1;
    int n = snprintf(line, room, "%s %-5s %s ", wall_text(clock_wall(), at), level_name[level],
                     object ? object : "sluiced");
    size_t used = n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
    va_list args;
    va_start(args, format);
    vsnprintf(line + used, room - used, format, args);
    va_end(args);
    text_sanitize(line);
    used = strlen(line);
    line[used++] = '\n';
    if (write(STDERR_FILENO, line, used) < 0)
        return; /* a full disk or a closed pipe must not stop the work */
}
