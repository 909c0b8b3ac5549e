/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the command purge: whether a generation is still worked on. */
#ifndef SLUICE_DAEMON_CTL_PURGE_TASKS_H
#define SLUICE_DAEMON_CTL_PURGE_TASKS_H

#include "daemon/ctl/ctl.h"

/*
 * OK if the queue knows the dataset and no task of the generation is open, or ended so lately that
 * a worker may not know it yet. ERR_NOT_READY with a sentence if one is; or why Redis could not be
 * asked.
 */
enum err purge_tasks_over(struct ctl *ctl, const char *dataset, int64_t generation,
                          struct fault *fault) MUST_CHECK;

#endif
