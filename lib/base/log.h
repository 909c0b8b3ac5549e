/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event on standard error, or one entry of the journal: time, level, the object it is
 * about, what happened.
 *   error  a human must act             warn   something failed, we go on and say how
 *   info   life cycle of jobs, batches  debug  state changes
 * What happened begins with a few words that name the event, key=value follows. Control bytes are
 * replaced; a line is cut at 2 KiB.
 * May be called from every thread: a line is one write(2). Losing the log never stops the work:
 * a line that cannot be written at once is counted, and the next one that can says so.
 *
 * Warnings repeat while a neighbour is down: of those that name the same event (the same format)
 * about objects of the same kind ("b/…"), the first is written, the others are counted for ten
 * seconds and become one line, "repeated 37 times", with the last of them. Errors are folded only
 * if they are about the same object; info and debug never are.
 */
#ifndef SLUICE_BASE_LOG_H
#define SLUICE_BASE_LOG_H

#include "lib/base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
bool log_enabled(enum log_level level);

/*
 * log_event(LOG_INFO, task->id, "committed files=%zu bytes=%lld", …). `object` may be NULL for
 * events about the daemon itself.
 */
void log_event(enum log_level level, const char *object, const char *format, ...) PRINTF(3, 4);

/* Writes what was folded, if its ten seconds are over; `all`: in any case. To be called now and
 * then, and at the end. */
void log_flush(bool all);

/* Lines that could not be written since the start. */
uint64_t log_lost(void);

/*
 * Whether standard error is the journal's stream: `stream` is $JOURNAL_STREAM, "device:inode", or
 * NULL.
 */
bool log_is_journal(const char *stream);
/*
 * From now on entries with fields (PRIORITY, SLUICE_OBJECT, …) go to the journal's `socket`,
 * whatever the format; standard error gets what does not arrive there. NULL: no more. Before the
 * first thread.
 */
void log_set_journal(const char *socket);

/* What an object is about, beside its own name; empty texts are left out. */
struct log_subject {
    char dataset[168], batch[168], trace[17];
};
/* Asked for each line, from every thread, so that lines can be searched by these. */
void log_set_subject(void (*subject)(const char *object, struct log_subject *ret));

#endif
