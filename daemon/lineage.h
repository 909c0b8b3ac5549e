/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a batch that has predecessors means for those that we have stored.
 *
 * A consolidation repeats the rows of its predecessors. If all of them are stored and count, it
 * is KEEP: nothing is copied, its manifest names no files but the batches that hold its rows. If
 * one never was, it is COPY, and its manifest says that it replaces them all, so that no row
 * counts twice; the one PUT of it is the switch. A replacement always is COPY.
 *
 * What is replaced are all predecessors, stored or not (one may still come), those of
 * predecessors that were never stored, and those whose copies hold the rows of a predecessor.
 */
#ifndef SLUICE_DAEMON_LINEAGE_H
#define SLUICE_DAEMON_LINEAGE_H

#include "daemon/locate.h"

#define LINEAGE_SLOTS 8
#define LINEAGE_MAX   10000 /* batches */

enum lineage_verdict {
    LINEAGE_COPY,
    LINEAGE_KEEP,
    LINEAGE_WAIT /* for a predecessor whose task is open */
};

/* What was found out about one batch. */
struct lineage_facts {
    bool open, older; /* than the batch that asks: it waits for no other */
    bool stored, revoked;
    bool known;                   /* Catalog knows it, and says: */
    bool consolidation, has_more; /* what it is; it has predecessors itself */
};
enum lineage_step {
    LINEAGE_STORED,
    LINEAGE_MISSING,
    LINEAGE_EXPAND, /* not stored, but it only repeats rows: its predecessors are asked */
    LINEAGE_HOLD
};
enum lineage_step lineage_decide(const struct lineage_facts *facts, bool patient); /* pure */

struct lineage {
    /* Set by the owner, kept until done. */
    struct core *core;
    const struct dataset_settings *dataset;
    const struct batch_info *row;
    bool patient;                          /* WAIT may be the answer */
    void (*done)(struct lineage *lineage); /* once, from the loop, the last act */
    /* ---- */
    struct fault fault;
    enum lineage_verdict verdict;
    char *consolidates, *replaces; /* JSON lists for the manifest; NULL = none */
    /* private */
    struct lineage_entry *entry;
    size_t count, next, running;
    bool started, copies, waits, cancelled;
    struct lineage_slot {
        struct lineage *owner;
        size_t entry;
        struct locate locate;
    } * slot;
    struct deferred step;
};
void lineage_start(struct lineage *lineage);
void lineage_cancel(struct lineage *lineage); /* `done` follows if it is running */
void lineage_release(struct lineage *lineage);

#endif
