/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Redis knows about the datasets of the queue, whether a daemon runs or not: sluice_stat,
 * and a few looks into indexes.
 */
#ifndef SLUICE_DAEMON_CTL_VIEW_H
#define SLUICE_DAEMON_CTL_VIEW_H

#include "daemon/ctl/inquiry.h"

struct view_dataset {
    char *id, *order, *tail; /* tail: status of its tail, or "none" */
    bool paused;
    int64_t watermark_ms;    /* creation time up to which all was found; 0 = not begun */
    int64_t queued, running; /* tasks */
    int64_t uncommitted,
        dead;          /* batches found and not committed; dead letters, -1 = too many */
    int64_t lag_ms;    /* as in figures.h; -1 = not known yet */
    int64_t commit_ms; /* when the last batch was; 0 = not among the last ended tasks */
    char *committed;   /* … and which; NULL */
};

struct view {
    struct view_dataset *dataset;
    size_t datasets;
    int64_t delayed, dead, daemons, inbox, rejected;
};
enum err view_read(struct inquiry *inquiry, struct view *ret, struct fault *fault) MUST_CHECK;
void view_release(struct view *view);

/* "paused", "tailing", "failed", … : one word for a state of the tail. */
const char *view_state(const struct view_dataset *dataset);

#endif
