/* SPDX-License-Identifier: Apache-2.0 */
/* Operators' commands that were pushed into Redis: one at a time is looked at, then answered. */
#ifndef SLUICE_QUEUE_QUEUE_INBOX_H
#define SLUICE_QUEUE_QUEUE_INBOX_H

#include "lib/queue/queue.h"

/* Oldest inbox element (text empty: none), and the answer to it: */
void queue_inbox_peek(struct queue *queue, struct queue_op *op);
/* … accepted: the words are run as an operator's function … */
void queue_inbox_accept(struct queue *queue, struct queue_op *op, const char *raw,
                        size_t raw_len, const char *const *word, size_t words);
/* … or refused with a reason, kept in <prefix>inbox:rejected. */
void queue_inbox_reject(struct queue *queue, struct queue_op *op, const char *raw,
                        size_t raw_len, const char *reason);

#endif
