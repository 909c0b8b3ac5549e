/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deletes the data objects of a batch that was revoked, for datasets with `on_revoke: delete`. What
 * they are is read from the batch's manifest, which stays: it says what was there. To be started
 * when the revocation itself is on record; may be repeated at any time, an object that is gone
 * already is as good as deleted.
 */
#ifndef SLUICE_DAEMON_DISCARD_H
#define SLUICE_DAEMON_DISCARD_H

#include "daemon/core.h"
#include "daemon/uploader.h"
#include "daemon/verify_manifest.h"

#define DISCARD_SLOTS 8 /* objects at a time */

struct discard;

struct discard_slot {
    struct discard *discard;
    struct upload upload;
    bool busy;
};

/* Zeroed by the owner, who sets the upper half and keeps all of it until `done`. */
struct discard {
    struct core *core;
    const struct dataset_settings *dataset;
    const char *batch;                     /* AEP's id */
    const char *manifest_key;              /* of any generation */
    void (*done)(struct discard *discard); /* once, from the loop, the last act */
    /* ---- result */
    struct fault fault; /* OK: none of the objects is left */
    int64_t deleted;
    /* private */
    struct upload read;
    struct verify_manifest manifest;
    struct discard_slot slot[DISCARD_SLOTS];
    size_t next, busy; /* first entry not begun; entries on their way */
    bool running, cancelled;
};

/*
 * ERR_DIFFERS: what lies at manifest_key is no manifest of this batch, dataset and store; then
 * nothing is deleted.
 */
void discard_start(struct discard *discard);
/* `done` follows with ERR_CANCELLED when all that is on its way is back; none running: no. */
void discard_cancel(struct discard *discard);
void discard_release(struct discard *discard); /* in or after `done` */

#endif
