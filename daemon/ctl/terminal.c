/* SPDX-License-Identifier: Apache-2.0 */
/* Spans, sizes, colours and progress for people. */
#include "daemon/ctl/terminal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPAINT_MS 200
#define BAR        30

char *terminal_span(int64_t ms, char text[SPAN_SIZE])
{
    static const struct {
        int64_t seconds;
        const char *name;
    } unit[] = { { 86400, "d" }, { 3600, "h" }, { 60, "m" }, { 1, "s" } };
    const size_t last = sizeof unit / sizeof *unit - 1;
    int64_t seconds = ms > 0 ? ms / 1000 : 0;
    size_t at = 0;
    while (at < last && seconds < unit[at].seconds)
        at++;
    int64_t rest = seconds % unit[at].seconds;
    int64_t second = at < last ? rest / unit[at + 1].seconds : 0;
    size_t len = (size_t)snprintf(text, SPAN_SIZE, "%" PRId64 "%s", seconds / unit[at].seconds,
                                  unit[at].name);
    if (second > 0)
        snprintf(text + len, SPAN_SIZE - len, "%" PRId64 "%s", second, unit[at + 1].name);
    return text;
}

char *terminal_bytes(double bytes, char text[BYTES_SIZE])
{
    static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
    size_t at = 0;
    for (; bytes >= 1024 && at + 1 < sizeof unit / sizeof *unit; at++)
        bytes /= 1024;
    snprintf(text, BYTES_SIZE, at ? "%.1f %s" : "%.0f %s", bytes, unit[at]);
    return text;
}

static bool can_paint(int fd)
{
    const char *term = getenv("TERM");
    return isatty(fd) && term && strcmp(term, "dumb") != 0;
}

bool terminal_colours(void)
{
    const char *no = getenv("NO_COLOR");
    return can_paint(STDOUT_FILENO) && !(no && *no);
}

void progress_show(struct progress *progress, const char *what, int64_t done, int64_t total)
{
    struct mono now = clock_mono();
    if (progress->painted.us && mono_ms_between(progress->painted, now) < REPAINT_MS)
        return;
    progress->painted = now;
    if (!can_paint(STDERR_FILENO))
        return;
    progress->shown = true;
    if (total <= 0) {
        fprintf(stderr, "\r\033[K%s %" PRId64, what, done);
        return;
    }
    int full = (int)(done < total ? done * BAR / total : BAR);
    fprintf(stderr, "\r\033[K%s [%.*s%*s] %" PRId64 " of %" PRId64, what, full,
            "##############################", BAR - full, "", done, total);
}

void progress_end(struct progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
    progress->shown = false;
}
