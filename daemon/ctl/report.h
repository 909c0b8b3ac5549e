/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a check found: one line per problem as soon as it is known, counts at the end, and the
 * exit status that follows from them. For people, or as one JSON document.
 */
#ifndef SLUICE_DAEMON_CTL_REPORT_H
#define SLUICE_DAEMON_CTL_REPORT_H

#include "daemon/ctl/terminal.h"
#include "lib/base/err.h"

enum report_kind {
    REPORT_MISMATCH,  /* is there, but not as it was promised */
    REPORT_MISSING,   /* should be there */
    REPORT_EXTRA,     /* is there, and nobody knows why */
    REPORT_VIOLATION, /* of an invariant of the queue */
    REPORT_UNCHECKED, /* could not be looked at: neither right nor wrong */
    REPORT_KINDS
};

struct report {
    const char *command;
    bool json;
    int64_t problems[REPORT_KINDS];
    struct progress *progress; /* NULL = none; its line makes way for a problem's */
};
/* `subject`: what is checked. */
void report_begin(struct report *report, const char *command, bool json, const char *subject);
void report_problem(struct report *report, enum report_kind kind, const char *subject,
                    const char *format, ...) PRINTF(4, 5);

struct report_count {
    const char *name, *text;
    int64_t value;
};
/* Prints the counts and returns the exit status. */
int report_end(struct report *report, const struct report_count *count, size_t counts);

#endif
