/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an earlier try left behind, and whether it can be trusted: our record in the queue (fields
 * p<number> of the file's task) against what the store says. Pure.
 */
#ifndef SLUICE_DAEMON_RESUME_H
#define SLUICE_DAEMON_RESUME_H

#include "daemon/parts.h"
#include "lib/queue/queue.h"

/* HEAD found an object of the same length, made from the same source. */
bool resume_same(const struct s3_call *head, const struct parts *parts, const char *source);

/* Takes a listed part over if our record agrees in size, ETag and CRC; false if it does not. */
bool resume_part(struct parts *parts, const struct queue_task *task,
                 const struct s3_part *listed);

/* The whole file's checksum from our record, if that has every part. */
bool resume_crc32c(const struct parts *parts, const struct queue_task *task,
                   uint32_t *ret_crc32c);

/* A write that ended like this may have happened all the same: what is there decides. */
bool resume_doubts(enum err err);
/* What such a write comes to if nothing is there. An upload that was refused is begun anew. */
void resume_absent(const struct fault *doubt, bool upload, const char *key, struct fault *ret);

#endif
