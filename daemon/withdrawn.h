/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks after the withdrawn batches of one page of a listing, some at a time. Who successors are
 * may also be known from consolidations that were listed: their predecessors are kept in mind, up
 * to a limit, because the tag that names a successor is written late. Where the latest snapshot is
 * wanted, a page with withdrawn ones ends with a look at what that is now (newest.c).
 */
#ifndef SLUICE_DAEMON_WITHDRAWN_H
#define SLUICE_DAEMON_WITHDRAWN_H

#include "daemon/newest.h"
#include "daemon/revoke.h"

#define WITHDRAWN_SLOTS 16

/* Predecessors (hashed) of consolidations and replacements; the oldest are forgotten first. */
struct successors {
    struct successor {
        uint64_t predecessor;
        char *batch;
    } * known;
    size_t count, next;
};
void successors_release(struct successors *successors);
void successors_learn(struct successors *successors, const struct batch_info *row);
const char *successors_of(const struct successors *successors, const char *batch);

/* Is it withdrawn, and one that we may have stored? */
bool withdrawn_concerns(const struct batch_info *row);

struct withdrawn {
    /* Set by the owner, kept until done. */
    struct core *core;
    const struct dataset_settings *dataset;
    struct successors *successors;
    int64_t since; /* the tail's start */
    const struct batch_info *row;
    size_t count;
    /* Called for each withdrawn row that needs nothing more; NULL = nobody wants to know. */
    void (*settled)(struct withdrawn *withdrawn, const struct batch_info *row);
    void (*done)(struct withdrawn *withdrawn); /* once, from the loop, the last act */
    /* ---- */
    struct fault fault;
    int64_t oldest; /* change of what must be looked at again; INT64_MAX = nothing */
    /* private */
    size_t next, running;
    bool started, cancelled;
    bool outdated; /* which snapshot is the newest must be asked */
    struct newest newest;
    struct withdrawn_slot {
        struct withdrawn *owner;
        struct revoke revoke;
    } * slot; /* WITHDRAWN_SLOTS, from the first withdrawn row on */
    struct deferred step;
};
void withdrawn_start(struct withdrawn *withdrawn);
void withdrawn_cancel(struct withdrawn *withdrawn); /* `done` follows if it is running */
void withdrawn_release(struct withdrawn *withdrawn);

#endif
