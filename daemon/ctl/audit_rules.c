/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold in the queue, as one row per rule and one function per kind of item. Numbers of
 * invariants are those of the design: I5 and I6 children, I7 and I8 fan-in, I9 and I10 places,
 * I13 order, I16 open files. Pure.
 */
#include "daemon/ctl/audit_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/queue/queue_task.h"

#define BIT(n)         (1u << (n))
#define PLACES         (BIT(AUDIT_PLACES) - 1)
#define READY(c, lane) BIT(lane_is_live(lane) ? IN_READY_##c##_LIVE : IN_READY_##c##_BACKFILL)
#define PAGE           1000 /* children of one fan, by which a listing may overshoot */

/* What mends it. FIX: the queue derives the entry anew. It never removes one: ZREM, SREM. */
enum repair { FIX, FIX_PARENT, ZREM, SREM, EITHER_REM, UNLINK, RETRY, RECORD, STAT };

static const struct {
    const char *invariant, *text;
    enum repair repair;
} row[AUDIT_RULES] = {
    [RULE_NOWHERE] = { "I9", "is pending and in no index: nobody will claim it", FIX },
    [RULE_NO_LEASE] = { "I10", "is in progress without a lease: it will never lapse", FIX },
    [RULE_NOT_DEAD] = { "I9", "has failed and is not among the dead letters", FIX },
    [RULE_TWICE] = { "I9", "is in more than one place", ZREM },
    [RULE_MISPLACED] = { "I9", "is where a task of its state does not belong", ZREM },
    [RULE_ORDER] = { "I13", "is not committed and not in the order: others may overtake it",
                     FIX },
    [RULE_ORDER_EXTRA] = { "I13", "has ended and holds up the order", ZREM },
    [RULE_UNLISTED] = { "I13", "may still yield batches older than the order is told", FIX },
    [RULE_UNLISTED_EXTRA] = { "I13", "yields no more batches and holds up the order", ZREM },
    [RULE_FILE] = { "I16", "is open and not counted among the open files", FIX },
    [RULE_FILE_EXTRA] = { "I16", "is not open and counted among the open files", SREM },
    [RULE_OPEN] = { "I5", "is not among the open children of its parent", FIX },
    [RULE_DEAD] = { "I6", "has failed and is not among the dead children of its parent", FIX },
    [RULE_ORPHAN] = { "I5", "is a file whose batch has no record", RECORD },
    [RULE_WAITS] = { "I7", "waits for children and has none", FIX },
    [RULE_CHILDREN] = { "I8", "waits although all its open children have failed", FIX },
    [RULE_REVIVED] = { "I8", "has failed by its children, and not all of them have", RETRY },
    [RULE_LEFT_OPEN] = { "I7", "is completed and has open children", UNLINK },
    [RULE_STRANGER] = { "I5", "is named as an open child and has ended", SREM },
    [RULE_LINK] = { "I5", "is named as an open child and does not know this parent",
                    FIX_PARENT },
    [RULE_NOT_FAILED] = { "I6", "is named as a dead child and has not failed", SREM },
    [RULE_GHOST] = { "I9", "is named by an index and has no record", EITHER_REM },
    [RULE_ROOM] = { "I16", "has more open files than max_open_files and a page", STAT },
    [RULE_FORM] = { "I9", "has a record that makes no sense", RECORD },
};

/* Names end with ':' where the dataset follows. */
static const char *const index_name[AUDIT_INDEXES] = {
    [IN_READY_X_LIVE] = "ready:x:live:",
    [IN_READY_X_BACKFILL] = "ready:x:backfill:",
    [IN_READY_L_LIVE] = "ready:l:live:",
    [IN_READY_L_BACKFILL] = "ready:l:backfill:",
    [IN_READY_F_LIVE] = "ready:f:live:",
    [IN_READY_F_BACKFILL] = "ready:f:backfill:",
    [IN_DELAYED] = "delayed",
    [IN_LEASE_X] = "lease:x:",
    [IN_LEASE_F] = "lease:f:",
    [IN_SHUT] = "shut:",
    [IN_DEAD] = "dead",
    [IN_ORDER] = "order:",
    [IN_UNLISTED] = "unlisted:",
    [IN_OPEN_FILES] = "open-files:",
};

int audit_dataset(const char *id, const char **ret)
{
    const char *slash = strchr(id, '/');
    *ret = slash ? slash + 1 : "";
    return (int)strcspn(*ret, "/");
}

void audit_index_name(enum audit_index index, const char *id, char *text, size_t size)
{
    const char *name = index_name[index], *dataset;
    int len = audit_dataset(id, &dataset);
    bool of_dataset = name[strlen(name) - 1] == ':';
    snprintf(text, size, "%s%.*s", name, of_dataset ? len : 0, dataset);
}

/* ---- helpers */

static bool is(const struct audit_sight *sight, enum audit_field field, const char *text)
{
    return strcmp(sight->field[field], text) == 0;
}

static bool has_ended(const struct audit_sight *sight)
{
    return is(sight, FIELD_PHASE, "end");
}

static bool is_file(const struct audit_sight *sight)
{
    return is(sight, FIELD_KIND, "file");
}

static bool lane_is_live(const struct audit_sight *sight)
{
    return is(sight, FIELD_LANE, "live");
}

static void breaks(struct audit_verdict *verdict, enum audit_rule rule, const char *index)
{
    verdict->broken |= BIT(rule);
    snprintf(verdict->index[rule], sizeof verdict->index[rule], "%s", index);
}

static void breaks_at(struct audit_verdict *verdict, enum audit_rule rule, const char *id,
                      unsigned indexes)
{
    char text[512];
    unsigned at = 0;
    while (!(indexes & BIT(at)))
        at++;
    audit_index_name((enum audit_index)at, id, text, sizeof text);
    breaks(verdict, rule, text);
}

static bool one_of(const char *text, const char *words)
{
    const char *at = *text ? strstr(words, text) : NULL;
    size_t len = strlen(text);
    return at && (at == words || at[-1] == ' ') && (at[len] == ' ' || !at[len]);
}

static bool makes_sense(const struct audit_sight *sight)
{
    return one_of(sight->field[FIELD_KIND], "tail job window batch file") &&
           one_of(sight->field[FIELD_STATUS], "pending in-progress completed failed") &&
           one_of(sight->field[FIELD_PHASE], "fan wait fin run end") &&
           one_of(sight->field[FIELD_LANE], "live backfill");
}

/* ---- tasks */

static unsigned ready_place(const struct audit_sight *sight)
{
    if (is_file(sight))
        return READY(F, sight);
    if (is(sight, FIELD_KIND, "tail") || is(sight, FIELD_PHASE, "fin"))
        return READY(X, sight);
    return READY(L, sight);
}

/* Where a task of this state has to be: in exactly one of these, in none if there are none. */
static unsigned wanted_places(const struct audit_sight *sight, enum audit_rule *ret_if_nowhere)
{
    if (has_ended(sight))
        return 0;
    if (is(sight, FIELD_STATUS, "failed")) {
        *ret_if_nowhere = RULE_NOT_DEAD;
        return BIT(IN_DEAD);
    }
    if (is(sight, FIELD_STATUS, "pending")) {
        *ret_if_nowhere = RULE_NOWHERE;
        return ready_place(sight) | BIT(IN_DELAYED) | BIT(IN_SHUT);
    }
    *ret_if_nowhere = RULE_NO_LEASE;
    return is(sight, FIELD_PHASE, "wait") ? 0 : BIT(is_file(sight) ? IN_LEASE_F : IN_LEASE_X);
}

static void judge_place(const char *id, const struct audit_sight *sight,
                        struct audit_verdict *verdict)
{
    enum audit_rule if_nowhere = RULE_NOWHERE;
    unsigned wanted = wanted_places(sight, &if_nowhere), found = sight->in & PLACES;
    unsigned right = found & wanted;
    if (wanted && !right)
        breaks(verdict, if_nowhere, "");
    if (right & (right - 1)) /* more than one bit */
        breaks_at(verdict, RULE_TWICE, id, right & (right - 1));
    if (found & ~wanted)
        breaks_at(verdict, RULE_MISPLACED, id, found & ~wanted);
}

static void judge_register(const char *id, bool wanted, enum audit_index index,
                           enum audit_rule if_missing, const struct audit_sight *sight,
                           struct audit_verdict *verdict)
{
    bool there = sight->in & BIT(index);
    if (wanted && !there)
        breaks_at(verdict, if_missing, id, BIT(index));
    if (!wanted && there)
        breaks_at(verdict, if_missing + 1, id, BIT(index)); /* the rule for too much is next */
}

/* Everything older than a tail's watermark is listed; others begin with their order. */
static double lower_bound(const struct audit_sight *sight)
{
    bool tail = is(sight, FIELD_KIND, "tail");
    return strtod(sight->field[tail ? FIELD_OFFSET : FIELD_ORDER], NULL);
}

static void judge_registers(const char *id, const struct audit_sight *sight,
                            struct audit_verdict *verdict)
{
    bool live = !has_ended(sight), batch = is(sight, FIELD_KIND, "batch");
    bool ordered =
        live && !queue_id_is_replay(id); /* replays neither wait nor are waited for */
    bool lists = !batch && !is_file(sight) && ordered && is(sight, FIELD_PHASE, "fan");
    bool counts = is_file(sight) && live && !is(sight, FIELD_STATUS, "failed");
    judge_register(id, batch && ordered, IN_ORDER, RULE_ORDER, sight, verdict);
    judge_register(id, lists, IN_UNLISTED, RULE_UNLISTED, sight, verdict);
    judge_register(id, counts, IN_OPEN_FILES, RULE_FILE, sight, verdict);
    if (lists && sight->in & BIT(IN_UNLISTED) && sight->unlisted > lower_bound(sight))
        breaks_at(verdict, RULE_UNLISTED, id, BIT(IN_UNLISTED));
}

/* An ended parent no longer counts: what is left of it is being removed. */
static void judge_parents(const struct audit_sight *sight, struct audit_verdict *verdict)
{
    char index[512];
    for (size_t i = 0; i < sight->parents; i++) {
        const struct audit_parent *parent = &sight->parent[i];
        if (!parent->known && is_file(sight))
            breaks(verdict, RULE_ORPHAN, parent->id);
        if (!parent->known || parent->ended)
            continue;
        snprintf(index, sizeof index, "open:%s", parent->id);
        if (!parent->open)
            breaks(verdict, RULE_OPEN, index);
        snprintf(index, sizeof index, "dead:%s", parent->id);
        if (!parent->dead && is(sight, FIELD_STATUS, "failed"))
            breaks(verdict, RULE_DEAD, index);
    }
}

static void judge_children(const char *id, const struct audit_sight *sight,
                           struct audit_verdict *verdict)
{
    char index[512];
    bool failed = is(sight, FIELD_STATUS, "failed");
    snprintf(index, sizeof index, "open:%s", id);
    if (is(sight, FIELD_STATUS, "completed") && sight->open > 0)
        breaks(verdict, RULE_LEFT_OPEN, index);
    if (!is(sight, FIELD_PHASE, "wait"))
        return;
    if (sight->open == 0)
        breaks(verdict, RULE_WAITS, index);
    else if (failed != (sight->dead == sight->open))
        breaks(verdict, failed ? RULE_REVIVED : RULE_CHILDREN, index);
}

static void judge_task(const char *id, const char *index, const struct audit_sight *sight,
                       struct audit_verdict *verdict)
{
    (void)index;
    if (!sight->known)
        return; /* gone since it was listed */
    if (!makes_sense(sight)) {
        breaks(verdict, RULE_FORM, "");
        return;
    }
    judge_place(id, sight, verdict);
    judge_registers(id, sight, verdict);
    if (!has_ended(sight))
        judge_parents(sight, verdict);
    if (!is_file(sight))
        judge_children(id, sight, verdict);
}

/* ---- what indexes name */

static bool is_named(const struct audit_parent *parent, bool in_open)
{
    bool counts = parent->known && !parent->ended;
    return counts && (in_open ? parent->open : parent->dead);
}

static void judge_child(const char *id, const char *index, const struct audit_sight *sight,
                        struct audit_verdict *verdict)
{
    const struct audit_parent *parent = &sight->parent[0];
    bool in_open = strncmp(index, "open:", 5) == 0;
    (void)id;
    if (!is_named(parent, in_open))
        return;
    if (!sight->known)
        breaks(verdict, RULE_GHOST, index);
    else if (!in_open && (!parent->open || !is(sight, FIELD_STATUS, "failed")))
        breaks(verdict, RULE_NOT_FAILED, index);
    else if (in_open && has_ended(sight))
        breaks(verdict, RULE_STRANGER, index);
    else if (in_open && !sight->named)
        breaks(verdict, RULE_LINK, index);
}

static void judge_entry(const char *id, const char *index, const struct audit_sight *sight,
                        struct audit_verdict *verdict)
{
    (void)id;
    if (sight->named && !sight->known)
        breaks(verdict, RULE_GHOST, index);
}

static void judge_dataset(const char *id, const char *index, const struct audit_sight *sight,
                          struct audit_verdict *verdict)
{
    (void)id;
    if (sight->open > sight->dead + PAGE)
        breaks(verdict, RULE_ROOM, index);
}

void audit_judge(enum audit_kind kind, const char *id, const char *index,
                 const struct audit_sight *sight, struct audit_verdict *ret)
{
    static void (*const judge[])(const char *, const char *, const struct audit_sight *,
                                 struct audit_verdict *) = {
        [AUDIT_TASK] = judge_task,
        [AUDIT_CHILD] = judge_child,
        [AUDIT_ENTRY] = judge_entry,
        [AUDIT_DATASET] = judge_dataset,
    };
    ret->broken = 0;
    judge[kind](id, index, sight, ret);
}

/* ---- the line */

static bool is_set(const char *index)
{
    static const char *const name[] = { "open:", "dead:", "open-files:" };
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        if (strncmp(index, name[i], strlen(name[i])) == 0)
            return true;
    return false;
}

static void add_repair(struct buf *out, enum repair repair, const char *prefix, const char *id,
                       const char *index)
{
    const char *of = repair == FIX_PARENT ? strchr(index, ':') + 1 : id;
    if (repair == EITHER_REM)
        repair = strncmp(index, "up:", 3) == 0 ? UNLINK : is_set(index) ? SREM : ZREM;
    if (repair == FIX || repair == FIX_PARENT)
        buf_print(out, "FCALL sluice_fix 1 %s a %s, then the same with b", prefix, of);
    else if (repair == RETRY)
        buf_print(out, "FCALL sluice_retry 1 %s %s", prefix, id);
    else if (repair == RECORD)
        buf_print(out, "none known; look at HGETALL %st:%s", prefix, id);
    else if (repair == STAT)
        buf_print(out, "none known; look at FCALL_RO sluice_stat 1 %s", prefix);
    else if (repair == UNLINK)
        buf_print(out, "UNLINK %s%s", prefix, index);
    else
        buf_print(out, "%s %s%s %s", repair == ZREM ? "ZREM" : "SREM", prefix, index, id);
}

void audit_report(struct report *report, const char *prefix, enum audit_rule rule,
                  const char *id, const char *index)
{
    AUTO_BUF repair = BUF_INIT(4096);
    add_repair(&repair, row[rule].repair, prefix, id, index);
    report_problem(report, REPORT_VIOLATION, id, "%s%s%s%s (%s); repair: %s", row[rule].text,
                   *index ? " (" : "", index, *index ? ")" : "", row[rule].invariant,
                   buf_text(&repair));
}
