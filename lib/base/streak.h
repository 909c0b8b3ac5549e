/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trouble that lasts: for health checks. A fault of an upstream is believed after three in a row
 * and forgotten with the first success; what is the task's own trouble counts for nothing.
 */
#ifndef SLUICE_BASE_STREAK_H
#define SLUICE_BASE_STREAK_H

#include "lib/base/err.h"

#define STREAK_BELIEVED 3

struct streak {
    int length;
    struct fault fault; /* OK, or the trouble that is believed */
};

static inline void streak_note(struct streak *streak, const struct fault *fault)
{
    enum action action = err_action(fault->code);
    if (fault->code == OK) {
        streak->length = 0;
        streak->fault.code = OK;
    } else if (action == ACT_WAIT || action == ACT_TOKEN || fault->code == ERR_TIMEOUT) {
        if (++streak->length >= STREAK_BELIEVED)
            streak->fault = *fault;
    }
}

#endif
