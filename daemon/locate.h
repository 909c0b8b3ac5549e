/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of one batch of a dataset, asked in an order in which nothing can slip through
 * between the answers: first its task in the queue, then its manifest in S3. Where its creation
 * time is not known (keys need it), the queue's record tells it, else Catalog, else the manifests
 * are searched for it.
 */
#ifndef SLUICE_DAEMON_LOCATE_H
#define SLUICE_DAEMON_LOCATE_H

#include "daemon/core.h"
#include "daemon/uploader.h"
#include "lib/aep/catalog.h"
#include "lib/base/json.h"
#include "lib/queue/queue_look.h"

/* Where it is written down that a batch was withdrawn after its commit. */
#define LOCATE_REVOCATION                                                                      \
    "{prefix}{dataset}/_sluice/revocations/dt={created:%Y-%m-%d}/{batch}.json"

enum locate_look { LOCATE_NO_LOOK, LOCATE_LOOK_ABSENT, LOCATE_LOOK }; /* at Catalog, too */

struct locate {
    /* Set by the owner, kept until done. */
    struct core *core;
    const struct dataset_settings *dataset;
    const char *batch;
    int64_t created; /* ms; -1 = to be found out; -1 at the end: nobody knows it */
    enum locate_look look;
    bool details; /* read the head of its manifest, and whether it was revoked */
    void (*done)(struct locate *locate); /* once, from the loop, the last act */
    /* ---- */
    struct fault fault;
    bool open;                    /* its task has not ended; dead letters have */
    bool stored, revoked;         /* there is a manifest; and a revocation */
    const struct batch_info *row; /* of Catalog; NULL = not asked, or not known there */
    struct json_t *head;          /* of the manifest; NULL = not read */
    /* private */
    int state;
    bool running, cancelled, looked, searching, listed;
    char *key;
    int64_t size, tail; /* of the manifest; bytes of it that are read */
    char *token;
    size_t object; /* of the page */
    int pages;
    struct s3_page page;
    struct queue_op op;
    struct catalog_list catalog;
    struct upload upload;
    struct deferred step;
};
void locate_start(struct locate *locate);
void locate_cancel(struct locate *locate); /* `done` follows, ERR_CANCELLED; none running: no */
void locate_release(struct locate *locate); /* zeroes; not while it is running */

#endif
