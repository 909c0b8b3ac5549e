/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the command verify: verify.c finds manifests, batches and objects, verify_check.c
 * proves a manifest and what it names. Work is pulled: a listing gives its next key only when
 * there is room for it, so memory does not grow with the dataset, except for the sets of keys.
 */
#ifndef SLUICE_DAEMON_CTL_VERIFY_H
#define SLUICE_DAEMON_CTL_VERIFY_H

#include "daemon/ctl/ctl.h"
#include "daemon/ctl/report.h"
#include "daemon/verify_keys.h"
#include "daemon/verify_manifest.h"
#include "daemon/walk.h"

#define VERIFY_SLOTS      32 /* objects looked at at a time */
#define VERIFY_SLOTS_DEEP 8  /* … and read */
#define VERIFY_JOBS       16 /* manifests in work at a time */

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
    VERIFY_COUNTS
};

/* One manifest: being read, then until all that it names has been looked at. */
struct verify_job {
    struct list_node node;
    struct verify *verify;
    char *key;
    char *
        batch; /* not found by listing, but asked for because Catalog has this batch; or NULL */
    struct s3_call call;
    bool read;
    struct verify_manifest manifest;
    size_t next, open; /* first entry not begun; entries begun and not ended */
};

/* One entry: HEAD, and with --deep its bytes. */
struct verify_slot {
    struct verify *verify;
    struct verify_job *job; /* NULL = idle */
    const struct verify_entry *entry;
    struct s3_call call;
    int64_t at; /* bytes read so far, and their checksum */
    uint32_t crc32c;
};

struct verify_listing {
    struct verify_prefixes prefixes;
    size_t prefix, object; /* next ones */
    struct s3_call call;
    bool running, ended, failed;
};

enum verify_phase { VERIFY_PHASE_MANIFESTS, VERIFY_PHASE_BATCHES, VERIFY_PHASE_OBJECTS };

struct verify {
    struct ctl *ctl;
    const struct dataset_settings *dataset;
    struct key_values values; /* what all keys of the dataset have in common */
    int64_t from, to, started_ms;
    int64_t due_from; /* batches created before it may be without a manifest */
    bool deep, by_day;
    bool blind; /* manifests could not all be read, so nothing can be called a stray */
    struct report report;
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
    struct list jobs;
    struct verify_slot slot[VERIFY_SLOTS];
    int failures; /* looks in a row that failed */
    struct deferred step;
};

/* Something moved: what can be started is started, before the loop sleeps. */
void verify_wake(struct verify *verify);

/* Reads the manifest at `key` and proves it and what it names; `batch` as above. */
void verify_job_start(struct verify *verify, const char *key, const char *batch);
/* Puts idle slots to work. */
void verify_slots_fill(struct verify *verify);
/* What has not begun will not; jobs end with their last slot. */
void verify_jobs_drop(struct verify *verify);
/* Notes that something could not be looked at. */
void verify_unchecked(struct verify *verify, const char *subject, const struct fault *fault);
/* So many times in a row that going on has no sense. */
bool verify_gave_up(const struct verify *verify);

/* The manifest's key of a batch; mem_free. */
char *verify_manifest_key(const struct verify *verify, const char *batch, int64_t created);

#endif
