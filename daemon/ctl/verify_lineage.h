/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the command verify: batches that stand for others, that AEP withdrew, or that newer
 * snapshots outdate. What manifests and revocations say is learnt first; then each row of Catalog
 * is held against it. Rows that this does not explain are looked into, VERIFY_DOUBTS at a time.
 */
#ifndef SLUICE_DAEMON_CTL_VERIFY_LINEAGE_H
#define SLUICE_DAEMON_CTL_VERIFY_LINEAGE_H

#include "daemon/revoke.h"
#include "daemon/verify_keys.h"
#include "daemon/verify_manifest.h"

#define VERIFY_DOUBTS 4

struct verify;

/* One request to Catalog, repeated as long as there is hope. */
struct verify_question {
    struct verify *verify;
    struct catalog_list list;
    struct timer again;
    int tries;
    void (*answer)(struct verify_question *question);
};

/* A withdrawn batch that counts still, and nothing read so far says why. */
struct verify_doubt {
    struct verify_question question; /* about the successor */
    bool busy;
    bool unsure; /* manifests that were not listed may explain it */
    char batch[CATALOG_ID_MAX + 1], status[24];
    int64_t created;
    struct revoke_facts facts;
    char *successor;
    int hops;
    char *key;
    struct s3_call call;
};

/* `by`, a manifest, says that the rows of `batch` are in that one's objects. */
struct verify_owed {
    char *batch, *by;
};

struct verify_lineage {
    struct key_set revoked;   /* keys of revocations */
    struct key_set stored;    /* batches that have a manifest */
    struct key_set keepers;   /* of these, those that stand for others, and count */
    struct key_set kept;      /* batches for which these stand */
    struct verify_owed *owed; /* batches named before their manifest was seen */
    size_t owed_count;
    struct key_set owed_set;
    struct verify_doubt doubt[VERIFY_DOUBTS];
    struct batch_info newest; /* of the snapshots that the walk brought; id "" = none */
    struct verify_question newest_of_all;
    bool asking, asked;
};

/* The key of a batch's revocation; mem_free. */
char *verify_revocation_key(const struct verify *verify, const char *batch, int64_t created);

void verify_lineage_revoked(struct verify *verify,
                            const char *key); /* there is this revocation */
/* There is this manifest, at `key`; it is only proven if it is in the range. */
void verify_lineage_manifest(struct verify *verify, const struct verify_manifest *manifest,
                             const char *key, bool in_range);
/* All manifests are known. */
void verify_lineage_begin(struct verify *verify);
/* Catalog lists this batch; `good`: it has a manifest that is right. Wants room for a doubt. */
void verify_lineage_row(struct verify *verify, const struct batch_info *row, bool good);
bool verify_lineage_room(const struct verify *verify);
/* Whether some manifest stands for this batch, whose own was not seen. */
bool verify_lineage_owes(const struct verify *verify, const char *batch);
/* An expected snapshot; only the newest must have its manifest. */
void verify_lineage_snapshot(struct verify *verify, const struct batch_info *row);
/* Catalog has no more rows; true when nothing is left to be looked into. */
bool verify_lineage_pull(struct verify *verify);
/* … and what was looked into has its answers. */
void verify_lineage_end(struct verify *verify);
bool verify_lineage_busy(const struct verify *verify);
void verify_lineage_release(struct verify *verify);

#endif
