/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the command audit. From the keys to the verdict:
 *
 *   audit.c         walks all keys of the queue and makes items of them
 *   audit_item.c    one item: asks Redis all that concerns it, again if that looked wrong
 *   audit_rules.c   the rules: what must hold for what was seen (pure)
 *
 * Nothing is written, and everything is read with plain commands: an audit that trusted the
 * queue's own functions would repeat their mistakes.
 */
#ifndef SLUICE_DAEMON_CTL_AUDIT_H
#define SLUICE_DAEMON_CTL_AUDIT_H

#include "daemon/ctl/audit_rules.h"
#include "daemon/ctl/ctl.h"
#include "daemon/verify_keys.h"
#include "lib/net/redis.h"

struct audit {
    struct ctl *ctl;
    const char *prefix;
    struct report report;
    struct redis *redis;
    struct timer patience; /* until the connection is there */
    bool up, stop;         /* stop: nothing more can be asked */
    struct key_set reported;
    struct list asking, parked; /* items: being asked about; to be asked about again */
    int64_t count[AUDIT_DATASET + 1], moved;
    struct deferred step;
    /* the walk over the keys, and over the members of the one that it is at */
    struct audit_scan {
        struct redis_call call;
        char *cursor; /* "0" after the last page */
        char **text;
        size_t count, next;
        bool running, begun;
    } keys, members;
    char *index; /* of `members` */
    enum audit_kind members_kind;
    bool members_scored; /* ZSCAN gives member and score */
};

void audit_wake(struct audit *audit);
/* What cannot be asked ends the audit. */
void audit_give_up(struct audit *audit, const struct fault *fault);
void audit_item_start(struct audit *audit, enum audit_kind kind, const char *id,
                      const char *index);
/* Forgets the parked ones. */
void audit_items_drop(struct audit *audit);

#endif
