/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes Redis know what it has to know before work begins: each configured dataset with its
 * options, its tail, and after a loss what the ledger and a second look into the past can bring
 * back. Runs after each connection; where nothing was lost it changes nothing.
 */
#ifndef SLUICE_DAEMON_ENROLL_H
#define SLUICE_DAEMON_ENROLL_H

#include "daemon/core.h"

struct enroll_events {
    void (*finished)(struct core *core);
    /* It is tried again; `store`: S3 stands in the way, else Redis. */
    void (*failed)(struct core *core, const struct fault *fault, bool store);
};

struct enroll;
struct enroll *enroll_new(struct core *core, const struct enroll_events *events);
void enroll_free(struct enroll *enroll); /* no call of the ledger may be running */

/* From the beginning. `lost`: Redis has forgotten writes; kept in mind until it is finished. */
void enroll_start(struct enroll *enroll, bool lost);
/* The configured datasets are others: from the beginning, now or once Redis is there. */
void enroll_reload(struct enroll *enroll);
bool enroll_asks(const struct enroll *enroll); /* an answer about a dataset is awaited */
/* The store was probed: the ledger can be used. Until then only options are set. */
void enroll_store_ready(struct enroll *enroll);

#endif
