/* SPDX-License-Identifier: Apache-2.0 */
/* What a task's id says to those who search the log: its dataset, its batch, the batch's trace. */
#ifndef SLUICE_DAEMON_SUBJECT_H
#define SLUICE_DAEMON_SUBJECT_H

#include "lib/base/log.h"

/* For log_set_subject: the names of the queue are known here, not there. Pure. */
void subject_read(const char *object, struct log_subject *ret);

/*
 * The same for each look at a batch, in every daemon and after every restart: made of dataset,
 * batch and generation (1 = the first copy) alone. 16 hexadecimal digits.
 */
void subject_trace(const char *dataset, const char *batch, int64_t generation, char ret[17]);

#endif
