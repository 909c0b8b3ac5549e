/* SPDX-License-Identifier: Apache-2.0 */
/* The second half of a batch's life: all files are in S3, the manifest is written. */
#ifndef SLUICE_DAEMON_COMMIT_H
#define SLUICE_DAEMON_COMMIT_H

#include "daemon/task.h"

extern const struct task_kind commit_kind;

/* Key of the manifest of the batch that the task is about; mem_free it. */
char *commit_key(const struct core *core, const struct dataset_settings *dataset,
                 const struct queue_task *lease);
/* The key that a template gives for something about this batch; mem_free it. */
char *commit_key_of(const struct settings *settings, const struct dataset_settings *dataset,
                    const char *template, const char *batch, int64_t created,
                    int64_t generation);

#endif
