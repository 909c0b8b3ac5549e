/* SPDX-License-Identifier: Apache-2.0 */
/* What a person in front of a terminal gets beyond the text: spans of time, colours, progress. */
#ifndef SLUICE_DAEMON_CTL_TERMINAL_H
#define SLUICE_DAEMON_CTL_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/clock.h"

/* "2m10s", "3h21m", "12d4h", "0s": the two largest units. Returns `text`. */
#define SPAN_SIZE 32
char *terminal_span(int64_t ms, char text[SPAN_SIZE]);
/* "1.5 GiB", "512 B". Returns `text`. */
#define BYTES_SIZE 32
char *terminal_bytes(double bytes, char text[BYTES_SIZE]);

/* Whether standard output is a terminal that shows colours, and nobody said NO_COLOR. */
bool terminal_colours(void);

/*
 * One line on standard error that is painted over, at most five times a second, and only where
 * that is a terminal. Zeroed before its first use. `total` 0: how much there is, is not known.
 */
struct progress {
    struct mono painted;
    bool shown;
};
void progress_show(struct progress *progress, const char *what, int64_t done, int64_t total);
/* Removes the line: before anything else is printed there. */
void progress_end(struct progress *progress);

#endif
