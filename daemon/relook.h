/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file whose last try met another source than the listing had promised: gone, or of another
 * length. Its next try begins here. Either the listing is void, and the batch is listed anew (or
 * ends, if it was withdrawn under us), or the copying is tried again as it is.
 */
#ifndef SLUICE_DAEMON_RELOOK_H
#define SLUICE_DAEMON_RELOOK_H

#include "daemon/task.h"

extern const struct task_kind relook_kind;

/* Whether this try has to look before it copies. */
bool relook_needed(const struct queue_task *task);

#endif
