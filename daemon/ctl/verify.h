/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the command verify: verify.c finds manifests, batches and objects, verify_check.c
 * proves a manifest and what it names, verify_lineage.c knows who stands for whom. Work is pulled: a listing gives its next key only when
 * there is room for it, so memory does not grow with the dataset, except for the sets of keys.
 */
#ifndef SLUICE_DAEMON_CTL_VERIFY_H
#define SLUICE_DAEMON_CTL_VERIFY_H

#include "daemon/ctl/ctl.h"
#include "daemon/ctl/report.h"
#include "daemon/ctl/verify_check.h"
#include "daemon/ctl/verify_lineage.h"
#include "daemon/walk.h"

#define VERIFY_JOBS 16 /* manifests in work at a time */

enum verify_count {
    VERIFY_MANIFESTS,
    VERIFY_ENTRIES,
    VERIFY_BY_STORE,
    VERIFY_BY_READING,
    VERIFY_BY_SIZE,
    VERIFY_BATCHES,
    VERIFY_GONE,
    VERIFY_OBJECTS,
    VERIFY_NEWER,
    VERIFY_OTHERS,
    VERIFY_REVOCATIONS,
    VERIFY_KEPT,
    VERIFY_UNDECIDED,
    VERIFY_ELSEWHERE,
    VERIFY_DELETED,
    VERIFY_UNDELETED,
    VERIFY_COUNTS
};

struct verify_listing {
    struct verify_prefixes prefixes;
    size_t prefix, object; /* next ones */
    struct s3_call call;
    bool running, ended, failed;
};

enum verify_phase {
    VERIFY_PHASE_REVOCATIONS,
    VERIFY_PHASE_MANIFESTS,
    VERIFY_PHASE_BATCHES,
    VERIFY_PHASE_OBJECTS
};

struct verify {
    struct ctl *ctl;
    const struct dataset_settings *dataset;
    struct key_values values; /* what all keys of the dataset have in common */
    int64_t from, to, started_ms;
    int64_t due_from; /* batches created before it may be without a manifest */
    bool deep, by_day;
    bool blind; /* manifests could not all be read, so nothing can be called a stray */
    struct report report;
    struct progress progress;
    int64_t count[VERIFY_COUNTS];
    struct ctl_clients clients;
    struct key_set named; /* keys of manifests, and what they name */
    struct key_set good;  /* keys of manifests in range that are what they should be */
    struct key_set seen;  /* batches that Catalog listed */
    enum verify_phase phase;
    struct verify_listing listing;
    struct core core; /* for walk.h: loop and aep */
    struct walk walk;
    int64_t walk_from; /* where it begins anew after a failure */
    struct timer walk_again;
    int walk_tries;
    size_t batch; /* next one of the walk's page */
    bool page_here, walked;
    struct verify_lineage lineage;
    struct list jobs;
    struct verify_slot slot[VERIFY_SLOTS];
    int failures; /* looks in a row that failed */
    struct deferred step;
};

/* Something moved: what can be started is started, before the loop sleeps. */
void verify_wake(struct verify *verify);

/* Notes that something could not be looked at. */
void verify_unchecked(struct verify *verify, const char *subject, const struct fault *fault);
/* So many times in a row that going on has no sense. */
bool verify_gave_up(const struct verify *verify);

/* Catalog may answer later; and sets the timer for that. */
bool verify_may_pass(const struct fault *fault);
void verify_again(struct verify *verify, struct timer *timer, int tries,
                  const struct fault *fault);

/* The manifest's key of a batch; mem_free. */
char *verify_manifest_key(const struct verify *verify, const char *batch, int64_t created);

#endif
