/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a file's task says: which bytes, from where, to which key. All of it is a function of what
 * the file is, never of when or in which order it was found. Pure.
 */
#ifndef SLUICE_DAEMON_FILE_PLAN_H
#define SLUICE_DAEMON_FILE_PLAN_H

#include "daemon/content.h"
#include "daemon/core.h"
#include "lib/base/digest.h"

struct file_plan {
    const char *file_id, *name; /* of the source; borrowed from the task */
    int64_t length, part_size;
    enum content_form form; /* what it must be */
    char *key;
    char source[2 * SHA256_SIZE + 1]; /* fingerprint: file id, name and length */
};

/* ERR_BUG for a task that makes no sense, ERR_MEMORY for a file too large for the pool. */
enum err file_plan_read(const struct core *core, const struct queue_task *task,
                        struct file_plan *ret, struct fault *fault) MUST_CHECK;
/* The row of the finished file in its batch's manifest. */
void file_plan_row(const struct core *core, const struct file_plan *plan, uint32_t crc32c,
                   struct buf *out);
/*
 * Bytes of the pool that a task needs: one part of a file, nothing for another. More lanes of a
 * huge file only take what nobody waits for.
 */
int64_t file_plan_memory(const struct core *core, const struct queue_task *task);
void file_plan_release(struct file_plan *plan);

#endif
