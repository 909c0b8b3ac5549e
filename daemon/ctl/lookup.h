/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions that several commands ask: one dataset, one batch, the last batch of a dataset. Each
 * returns EX_OK, or an exit status after a sentence with the next step.
 */
#ifndef SLUICE_DAEMON_CTL_LOOKUP_H
#define SLUICE_DAEMON_CTL_LOOKUP_H

#include "daemon/ctl/ask.h"
#include "lib/aep/dataset.h"

/* `properties`: those wanted, NULL = all. `ret_object` points into `ret_root`, the caller's. */
int lookup_dataset(struct ask *ask, const char *id, const char *properties,
                   struct json_t **ret_root, const struct json_t **ret_object) MUST_CHECK;

/* The batch of a valid id; `ret_info` beside its object. */
int lookup_batch(struct ask *ask, const char *id, struct batch_info *ret_info,
                 struct json_t **ret_root, const struct json_t **ret_object) MUST_CHECK;

/*
 * The last batch of a dataset, by /lastBatches; where that knows nothing, the newest in the list
 * of batches. NULL members are not known; all NULL: the dataset has no batch. Owned.
 */
struct lookup_last {
    char *batch, *status, *success, *failed;
    const char *source; /* which of the two answered */
};
int lookup_last(struct ask *ask, const char *dataset, struct lookup_last *ret) MUST_CHECK;
void lookup_last_release(struct lookup_last *last);

/* FROM, TO, --limit, …: the sentence says what is expected. `text` NULL leaves *ret as it is. */
int lookup_time(const struct ctl *ctl, const char *option, const char *text,
                struct wall *ret) MUST_CHECK;
int lookup_number(const struct ctl *ctl, const char *option, const char *text, uint64_t max,
                  uint64_t *ret) MUST_CHECK;

#endif
