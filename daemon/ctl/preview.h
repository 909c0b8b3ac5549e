/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the command preview: what a file says where Data Access has no preview. */
#ifndef SLUICE_DAEMON_CTL_PREVIEW_H
#define SLUICE_DAEMON_CTL_PREVIEW_H

#include "daemon/ctl/ask.h"
#include "daemon/ctl/table.h"

/* `why`: what the preview answered. Returns the exit status. */
int preview_file(struct ask *ask, struct table *table, const char *dataset, const char *why,
                 uint64_t limit) MUST_CHECK;

#endif
