/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch that AEP has withdrawn (inactive, deleted …) after its commit gets a revocation beside
 * its manifest: what has one does not count any more. Its objects are deleted only where
 * `on_revoke: delete` is configured, and only then.
 *
 * Not every withdrawal is one for our readers: a consolidation makes its predecessors inactive,
 * but repeats their rows, and where our copies of the predecessors stay (lineage.c), so do their
 * rows; until the consolidation is withdrawn, for AEP brings no predecessor back. Only the
 * successor tells the difference, and it may be named later than the status changes: then the
 * batch is looked at again.
 */
#ifndef SLUICE_DAEMON_REVOKE_H
#define SLUICE_DAEMON_REVOKE_H

#include "daemon/discard.h"
#include "daemon/locate.h"

enum revoke_step {
    REVOKE_NOTHING, /* our readers are not concerned */
    REVOKE_LATER,   /* not clear yet */
    REVOKE_ASK,     /* the successor, or the successor of that */
    REVOKE_RECORD
};

struct revoke_facts {
    bool stored, open;  /* the batch itself */
    int64_t age_ms;     /* of its last change, or of its successor's withdrawal */
    int64_t grace_ms;   /* how much later a successor may be named or be there */
    bool named;         /* it has a successor */
    bool asked;         /* … of which the rest is known: */
    bool consolidates;  /* it repeats rows, and so do all on the way to it */
    bool there, coming; /* it has a manifest; it may get one */
    bool keeps;         /* that manifest has our copies count */
    bool gone;          /* AEP has withdrawn it, too */
    bool has_next;      /* it has a successor itself */
};
enum revoke_step revoke_decide(const struct revoke_facts *facts); /* pure */

struct revoke_note {
    const char *batch, *dataset, *reason, *status;
    const char *superseded_by; /* NULL = by none */
    int64_t created;
};
void revoke_write(const struct revoke_note *note, struct buf *out); /* the same bytes always */

/* One withdrawn batch. */
struct revoke {
    /* Set by the owner, kept until done. */
    struct core *core;
    const struct dataset_settings *dataset;
    const struct batch_info *row;
    const struct successors *successors; /* known from elsewhere than rows (withdrawn.h) */
    void (*done)(struct revoke *revoke);
    /* ---- */
    struct fault fault;
    enum revoke_step verdict; /* NOTHING, LATER, or RECORD: it is durable */
    /* private */
    struct revoke_facts facts;
    char *next; /* the successor that is asked */
    int hops;
    struct locate locate;
    char **below; /* batches whose copies hold its rows, and then itself */
    size_t count, at;
    bool last;
    char *key, *manifest_key;
    const char *noted; /* of whom the last record is */
    int64_t noted_created;
    struct buf record;
    struct upload put;
    struct discard discard;
};
void revoke_start(struct revoke *revoke);
void revoke_cancel(struct revoke *revoke); /* `done` follows */
void revoke_release(struct revoke *revoke);

#endif
