/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders to the queue: the functions that redis-cli calls, with the same answers. A dataset may be
 * named as in the configuration, a task by its batch alone.
 */
#ifndef SLUICE_DAEMON_CTL_ORDER_H
#define SLUICE_DAEMON_CTL_ORDER_H

#include "daemon/ctl/inquiry.h"

/* The id behind a dataset's name; a word that is none is taken for an id. */
const char *order_dataset(const struct ctl *ctl, const char *word);

/*
 * The id of the task that a word means: an id as it is, or that of a batch that the queue knows.
 * ERR_NOT_FOUND with a sentence.
 */
enum err order_task(struct inquiry *inquiry, const char *word, char **ret_id,
                    struct fault *fault) MUST_CHECK;

/* Calls sluice_<verb> with these words; its answer is the caller's to free. */
enum err order_send(struct inquiry *inquiry, const char *verb, size_t words,
                    const char *const *word, char **ret_answer, struct fault *fault) MUST_CHECK;

#endif
