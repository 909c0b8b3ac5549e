/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a batch that cannot be copied yet is waited for, and how long what Adobe's indexes say
 * about it is doubted. Pure.
 */
#ifndef SLUICE_DAEMON_PATIENCE_H
#define SLUICE_DAEMON_PATIENCE_H

#include "lib/aep/catalog.h"

/*
 * The pause before the next look at a batch that is not complete. Short while it is young, or was
 * looked at a few times only; in the end ten minutes, for as long as it takes. A stalled one always
 * waits so long.
 */
int64_t patience_look_ms(enum batch_state state, int64_t age_ms, int64_t looks);

/*
 * The pause after the `times`th "not found" in a row; -1 = believe it. One may be a replica that
 * lags; a few, with time between them, are the truth.
 */
int64_t patience_missing_ms(int64_t times);

/* A complete listing of the files of a readable batch. */
struct listing_facts {
    int64_t files;
    int64_t expected; /* files by Catalog (outputFileCount); < 0 = not said */
    int64_t records;  /* rows by Catalog */
    int64_t listed;   /* files of an earlier listing */
    int64_t quiet_ms; /* since the batch changed last */
    int64_t shorts;   /* doubted listings in a row before this one, with as many files */
    int64_t doubt_ms; /* aep.short_listing; 0 = too few files are no reason for doubt */
};
/* Are there too few files, and does that matter? */
bool patience_is_short(const struct listing_facts *facts);
/*
 * Should it be listed again later? Without any file, though there should be one: always. With too
 * few: as long as the index may lag, and a few times in any case; what has been merged at the
 * source has fewer files for ever.
 */
bool patience_doubts(const struct listing_facts *facts);

#endif
