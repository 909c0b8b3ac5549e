/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Aborts multipart uploads that nobody will finish: a crash between Create and the record of the
 * upload leaves one behind, and so does the loss of Redis. Each hour, and soon after the start.
 * Only what is old by the store's own clock, and what no task names, so that it is safe beside
 * any number of daemons; aborting cannot hurt an object that is complete.
 */
#ifndef SLUICE_DAEMON_JANITOR_H
#define SLUICE_DAEMON_JANITOR_H

#include "daemon/core.h"

struct janitor;

struct janitor *janitor_new(struct core *core); /* begins by itself */
void janitor_free(struct janitor *janitor);

/* An upload that a task may name; the strings are its own. */
struct candidate {
    char *key, *id;
};

/*
 * Takes the uploads out of a page that were begun at least `age_ms` before the page was made; none
 * if that is not known. Returns how many; mem_free them, and the strings in them. Pure.
 */
size_t janitor_pick(struct s3_uploads *page, int64_t age_ms, struct candidate **ret);
/* Strikes out the candidate that a task names; the order of the rest stays. Returns how many. */
size_t janitor_strike(struct candidate *candidate, size_t count, const char *upload_id);

#endif
