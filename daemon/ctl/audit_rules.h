/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the audit sees of the queue, and the rules that must hold for it. Pure.
 */
#ifndef SLUICE_DAEMON_CTL_AUDIT_RULES_H
#define SLUICE_DAEMON_CTL_AUDIT_RULES_H

#include "daemon/ctl/report.h"

/* What the items are about. */
enum audit_kind {
    AUDIT_TASK,   /* a task, by its record */
    AUDIT_CHILD,  /* a task named by the index "open:<parent>" or "dead:<parent>" */
    AUDIT_ENTRY,  /* a task named by any other index */
    AUDIT_DATASET /* limits of a dataset */
};

/* The indexes that a task can be in. The first are places: exactly one, or none. */
enum audit_index {
    IN_READY_X_LIVE,
    IN_READY_X_BACKFILL,
    IN_READY_L_LIVE,
    IN_READY_L_BACKFILL,
    IN_READY_F_LIVE,
    IN_READY_F_BACKFILL,
    IN_DELAYED,
    IN_LEASE_X,
    IN_LEASE_F,
    IN_SHUT,
    IN_DEAD,
    AUDIT_PLACES,
    IN_ORDER = AUDIT_PLACES,
    IN_UNLISTED,
    IN_OPEN_FILES,
    AUDIT_INDEXES
};

enum audit_field {
    FIELD_KIND,
    FIELD_STATUS,
    FIELD_PHASE,
    FIELD_LANE,
    FIELD_ORDER,
    FIELD_PARENT,
    FIELD_OFFSET,
    AUDIT_FIELDS
};

struct audit_parent {
    char *id;
    bool open, dead; /* the task is in open:<id>, in dead:<id> */
    bool known, ended;
};

/* What was seen of one item. Of CHILD: the task, and its one parent. */
struct audit_sight {
    char *field[AUDIT_FIELDS]; /* "" if absent */
    bool known;                /* there is a record */
    unsigned in;               /* bit per index */
    double unlisted;           /* score there */
    int64_t open, dead;        /* children; DATASET: open files, and how many there may be */
    struct audit_parent *parent;
    size_t parents;
    bool
        named; /* CHILD: the parent is among those of the task; ENTRY: it is still in the index */
};

enum audit_rule {
    RULE_NOWHERE,
    RULE_NO_LEASE,
    RULE_NOT_DEAD,
    RULE_TWICE,
    RULE_MISPLACED,
    RULE_ORDER,
    RULE_ORDER_EXTRA,
    RULE_UNLISTED,
    RULE_UNLISTED_EXTRA,
    RULE_FILE,
    RULE_FILE_EXTRA,
    RULE_OPEN,
    RULE_DEAD,
    RULE_ORPHAN,
    RULE_WAITS,
    RULE_CHILDREN,
    RULE_REVIVED,
    RULE_LEFT_OPEN,
    RULE_STRANGER,
    RULE_LINK,
    RULE_NOT_FAILED,
    RULE_GHOST,
    RULE_ROOM,
    RULE_FORM,
    AUDIT_RULES
};

/* Rules that do not hold, a bit each; for each the index concerned, without the prefix. */
struct audit_verdict {
    uint32_t broken;
    char index[AUDIT_RULES][512];
};
void audit_judge(enum audit_kind kind, const char *id, const char *index,
                 const struct audit_sight *sight, struct audit_verdict *ret);
/* Of an index for the tasks of a dataset, without the prefix. */
void audit_index_name(enum audit_index index, const char *id, char *text, size_t size);
/* The dataset in a task's id. */
int audit_dataset(const char *id, const char **ret);

/* One line, with the command that mends it. */
void audit_report(struct report *report, const char *prefix, enum audit_rule rule,
                  const char *id, const char *index);

#endif
