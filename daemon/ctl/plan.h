/* SPDX-License-Identifier: Apache-2.0 */
/* backfill --plan: what a backfill would take. Asks Catalog and the store, orders nothing. */
#ifndef SLUICE_DAEMON_CTL_PLAN_H
#define SLUICE_DAEMON_CTL_PLAN_H

#include "daemon/ctl/ctl.h"

int plan_run(struct ctl *ctl);

/*
 * The calls that a batch of so many files costs, by the formula of README "What it costs in calls".
 * How its files are spread over dataset files shows only when it is listed, so there are two
 * bounds: all in one dataset file, and each in one of its own. Pure.
 */
struct plan_calls {
    int64_t listing_least, listing_most, content;
};
struct plan_calls plan_count(int64_t files);

#endif
