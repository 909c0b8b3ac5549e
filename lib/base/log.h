/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event on standard error: time, level, the object it is about, what happened.
 *   error  a human must act             warn   something failed, we go on and say how
 *   info   life cycle of jobs, batches  debug  state changes
 * Lines are key=value after the object. Control bytes are replaced; a line is cut at 2 KiB.
 * May be called from every thread: a line is one write(2). Losing the log never stops the work:
 * a line that cannot be written at once is counted, and the next one that can says so.
 */
#ifndef SLUICE_BASE_LOG_H
#define SLUICE_BASE_LOG_H

#include "lib/base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/*
 * log_event(LOG_INFO, task->id, "committed files=%zu bytes=%lld", …). `object` may be NULL for
 * events about the daemon itself.
 */
void log_event(enum log_level level, const char *object, const char *format, ...) PRINTF(3, 4);

/* Lines that could not be written since the start. */
uint64_t log_lost(void);

#endif
