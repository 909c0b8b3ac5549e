/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch that AEP withdrew after its commit has a revocation, or a consolidation that stands for
 * it, or a change so young that no sweep was due. If it is none of these:
 *
 *   successor? ─▶ its manifest, that one's successor … ─▶ the daemon's own rule (revoke.h)
 *     ─▶ is there a revocation by now? ─▶ missing
 */
#include "daemon/ctl/verify_lineage.h"

#include <inttypes.h>
#include <string.h>

#include "daemon/ctl/verify.h"
#include "daemon/discover.h"
#include "daemon/newest.h"

#define DEADLINE_MS 20000
#define TRIES       4
#define HOPS_MAX    8
#define KEY_MAX     (4 * S3_KEY_MAX)

static void decide(struct verify_doubt *doubt);
static void finish(struct verify_doubt *doubt);

/* ---- what manifests and revocations say */

char *verify_revocation_key(const struct verify *verify, const char *batch, int64_t created)
{
    struct key_values values = verify->values;
    struct buf key = BUF_INIT(KEY_MAX);
    values.batch = batch;
    values.created.ms = created;
    values.generation = KEY_GENERATION_1;
    key_build(LOCATE_REVOCATION, &values, &key);
    return buf_take(&key);
}

void verify_lineage_revoked(struct verify *verify, const char *key)
{
    if (key_set_add(&verify->lineage.revoked, key))
        verify->count[VERIFY_REVOCATIONS]++;
}

static void owe(struct verify_lineage *lineage, const char *batch, const char *by)
{
    if (key_set_has(&lineage->stored, batch))
        return;
    lineage->owed = mem_grow(lineage->owed, lineage->owed_count + 1, sizeof *lineage->owed);
    lineage->owed[lineage->owed_count++] =
        (struct verify_owed){ mem_copy_text(batch), mem_copy_text(by) };
}

void verify_lineage_manifest(struct verify *verify, const struct verify_manifest *manifest,
                             const char *key, bool in_range)
{
    struct verify_lineage *lineage = &verify->lineage;
    AUTO_TEXT char *record = verify_revocation_key(verify, manifest->batch, manifest->created);
    bool counts = !key_set_has(&lineage->revoked, record);
    key_set_add(&lineage->stored, manifest->batch);
    if (!manifest->consolidates)
        return;
    if (manifest->entries > 0 && in_range)
        report_problem(&verify->report, REPORT_MISMATCH, key,
                       "the manifest names %zu objects of its own, though it stands for the "
                       "batches that it consolidates: their rows count twice",
                       manifest->entries);
    if (counts)
        key_set_add(&lineage->keepers, manifest->batch);
    for (size_t i = 0; i < json_count(manifest->consolidates); i++) {
        const char *batch = json_text(json_element(manifest->consolidates, i));
        if (batch && counts)
            key_set_add(&lineage->kept, batch);
        if (batch && in_range)
            owe(lineage, batch, key);
    }
}

/* Most manifests were read after the one that names them, or beside it. */
void verify_lineage_begin(struct verify *verify)
{
    struct verify_lineage *lineage = &verify->lineage;
    size_t left = 0;
    for (size_t i = 0; i < lineage->owed_count; i++) {
        struct verify_owed owed = lineage->owed[i];
        if (!key_set_has(&lineage->stored, owed.batch)) {
            key_set_add(&lineage->owed_set, owed.batch);
            lineage->owed[left++] = owed;
            continue;
        }
        mem_free(owed.batch);
        mem_free(owed.by);
    }
    lineage->owed_count = left;
}

bool verify_lineage_owes(const struct verify *verify, const char *batch)
{
    return key_set_has(&verify->lineage.owed_set, batch);
}

/* What a range by day did not list is not known to be absent, unless Catalog puts it there. */
static void settle(struct verify *verify, const struct verify_owed *owed)
{
    if (key_set_has(&verify->lineage.stored, owed->batch))
        return;
    if (verify->by_day && !key_set_has(&verify->seen, owed->batch))
        verify->count[VERIFY_ELSEWHERE]++;
    else
        report_problem(&verify->report, REPORT_MISSING, owed->batch,
                       "%s says that this batch holds its rows, but the batch has no usable "
                       "manifest",
                       owed->by);
}

void verify_lineage_end(struct verify *verify)
{
    struct verify_lineage *lineage = &verify->lineage;
    bool known = !verify->blind && verify->values.generation == KEY_GENERATION_1;
    for (size_t i = 0; i < lineage->owed_count && known; i++)
        settle(verify, &lineage->owed[i]);
}

void verify_lineage_release(struct verify *verify)
{
    struct verify_lineage *lineage = &verify->lineage;
    for (size_t i = 0; i < lineage->owed_count; i++) {
        mem_free(lineage->owed[i].batch);
        mem_free(lineage->owed[i].by);
    }
    mem_free(lineage->owed);
    key_set_release(&lineage->owed_set);
    key_set_release(&lineage->revoked);
    key_set_release(&lineage->stored);
    key_set_release(&lineage->keepers);
    key_set_release(&lineage->kept);
}

/* ---- questions to Catalog */

static void on_listed(struct catalog_list *list)
{
    struct verify_question *question = container_of(list, struct verify_question, list);
    const struct fault *fault = &list->fault;
    if (fault->code && fault->code != ERR_NOT_FOUND && verify_may_pass(fault) &&
        question->tries++ < TRIES)
        verify_again(question->verify, &question->again, question->tries, fault);
    else
        question->answer(question);
}

static void on_again(struct timer *timer)
{
    struct verify_question *question = container_of(timer, struct verify_question, again);
    catalog_release(&question->list);
    catalog_start(question->verify->clients.aep, &question->list);
}

static void ask(struct verify_question *question, struct verify *verify,
                struct catalog_list list, void (*answer)(struct verify_question *question))
{
    catalog_release(&question->list);
    *question = (struct verify_question){
        .verify = verify, .list = list, .again.fire = on_again, .answer = answer
    };
    question->list.dataset = verify->dataset->id;
    question->list.done = on_listed;
    catalog_start(verify->clients.aep, &question->list);
}

/* ---- rows of Catalog */

/* VERIFY_DOUBTS if there is none. */
static size_t free_doubt(const struct verify_lineage *lineage)
{
    size_t i = 0;
    while (i < VERIFY_DOUBTS && lineage->doubt[i].busy)
        i++;
    return i;
}

bool verify_lineage_room(const struct verify *verify)
{
    return free_doubt(&verify->lineage) < VERIFY_DOUBTS;
}

bool verify_lineage_busy(const struct verify *verify)
{
    bool busy = verify->lineage.asking;
    for (size_t i = 0; i < VERIFY_DOUBTS; i++)
        busy = busy || verify->lineage.doubt[i].busy;
    return busy;
}

static void doubt_row(struct verify *verify, const struct batch_info *row, int64_t age_ms,
                      int64_t grace_ms)
{
    struct verify_doubt *doubt = &verify->lineage.doubt[free_doubt(&verify->lineage)];
    bool named = row->successor && strcmp(row->successor, row->id) != 0;
    *doubt = (struct verify_doubt){ .question.verify = verify,
                                    .busy = true,
                                    .unsure = (verify->by_day || verify->blind) && !named,
                                    .created = row->created,
                                    .facts = { .stored = true,
                                               .age_ms = age_ms,
                                               .grace_ms = grace_ms,
                                               .named = named,
                                               .consolidates = true } };
    memcpy(doubt->batch, row->id, sizeof doubt->batch);
    memcpy(doubt->status, row->status, sizeof doubt->status);
    mem_set_text(&doubt->successor, named ? row->successor : NULL);
    decide(doubt);
}

void verify_lineage_row(struct verify *verify, const struct batch_info *row, bool good)
{
    const struct settings *settings = &verify->ctl->settings;
    const struct verify_lineage *lineage = &verify->lineage;
    AUTO_TEXT char *record = verify_revocation_key(verify, row->id, row->created);
    bool revoked = key_set_has(&lineage->revoked, record);
    int64_t age_ms = aep_now(verify->clients.aep).ms - row->updated;
    int64_t grace_ms = settings->aep.overlap_ms + settings->aep.sweep_ms;
    if (revoked && row->state == BATCH_READABLE)
        report_problem(
            &verify->report, REPORT_EXTRA, record,
            "Catalog lists batch %s as readable, but readers leave out what has this "
            "revocation; if AEP has brought the batch back: remove it, and replay the "
            "batch if its objects are gone",
            row->id);
    if (revoked || !good || row->state != BATCH_WITHDRAWN || row->class == BATCH_SUB)
        return;
    if (key_set_has(&lineage->kept, row->id))
        verify->count[VERIFY_KEPT]++;
    else if (age_ms < grace_ms)
        verify->count[VERIFY_UNDECIDED]++;
    else
        doubt_row(verify, row, age_ms, grace_ms);
}

/* ---- a doubt */

static void finish(struct verify_doubt *doubt)
{
    struct verify *verify = doubt->question.verify;
    catalog_release(&doubt->question.list);
    s3_call_release(&doubt->call);
    mem_free(doubt->successor);
    mem_free(doubt->key);
    *doubt = (struct verify_doubt){ 0 };
    verify_wake(verify);
}

static void count(struct verify_doubt *doubt, enum verify_count which)
{
    doubt->question.verify->count[which]++;
    finish(doubt);
}

static void give_up(struct verify_doubt *doubt, const struct fault *fault)
{
    verify_unchecked(doubt->question.verify, doubt->batch, fault);
    finish(doubt);
}

static void look(struct verify_doubt *doubt, enum s3_op op, char *key,
                 void (*done)(struct s3_call *call))
{
    s3_call_release(&doubt->call);
    mem_free(doubt->key);
    doubt->key = key;
    doubt->call =
        (struct s3_call){ .op = op, .key = key, .deadline_ms = DEADLINE_MS, .done = done };
    s3_start(doubt->question.verify->clients.s3, &doubt->call);
}

static void report_unrevoked(struct verify_doubt *doubt)
{
    struct report *report = &doubt->question.verify->report;
    if (doubt->unsure)
        report_problem(report, REPORT_UNCHECKED, doubt->batch,
                       "AEP has withdrawn this batch (%s), and there is no revocation %s; "
                       "whether a consolidation that was not read stands for it shows without "
                       "FROM and TO",
                       doubt->status, doubt->key);
    else
        report_problem(
            report, REPORT_MISSING, doubt->batch,
            "AEP has withdrawn this batch (%s), but its manifest counts, for there is "
            "no revocation %s; the daemon writes it at its next sweep or "
            "reconciliation",
            doubt->status, doubt->key);
}

/* The daemon may have written it since the listing. */
static void on_record(struct s3_call *call)
{
    struct verify_doubt *doubt = container_of(call, struct verify_doubt, call);
    struct verify *verify = doubt->question.verify;
    if (call->fault.code && call->fault.code != ERR_NOT_FOUND) {
        give_up(doubt, &call->fault);
        return;
    }
    verify->failures = 0;
    if (call->fault.code)
        report_unrevoked(doubt);
    else
        verify_lineage_revoked(verify, doubt->key);
    finish(doubt);
}

static void on_manifest(struct s3_call *call)
{
    struct verify_doubt *doubt = container_of(call, struct verify_doubt, call);
    struct verify_manifest manifest = { 0 };
    struct fault fault = call->fault;
    if (!fault.code)
        (void)!verify_manifest_read(buf_text(&call->content), call->content.len,
                                    doubt->question.verify->clients.options.bucket, &manifest,
                                    &fault);
    if (fault.code && fault.code != ERR_NOT_FOUND) {
        give_up(doubt, &fault);
        return;
    }
    doubt->facts.there = fault.code == OK;
    doubt->facts.keeps = manifest.consolidates != NULL;
    verify_manifest_release(&manifest);
    decide(doubt);
}

/* Of the last change, which may be that of the successor. */
static void take_age(struct revoke_facts *facts, int64_t age_ms)
{
    facts->age_ms = age_ms < facts->age_ms ? age_ms : facts->age_ms;
}

/* A readable successor without a manifest is on its way, or missing itself. */
static void learn(struct verify_doubt *doubt, const struct batch_info *row)
{
    struct revoke_facts *facts = &doubt->facts;
    facts->asked = true;
    facts->coming = row && (row->state == BATCH_OPEN || row->state == BATCH_STALLED ||
                            row->state == BATCH_READABLE);
    facts->gone = row && row->state == BATCH_WITHDRAWN;
    if (facts->gone)
        take_age(facts, aep_now(doubt->question.verify->clients.aep).ms - row->updated);
    facts->has_next = row && row->successor && strcmp(row->successor, row->id) != 0;
    facts->consolidates &= row && row->class == BATCH_CONSOLIDATION;
    doubt->unsure = doubt->unsure || (!row && doubt->question.verify->by_day);
    mem_set_text(&doubt->successor, facts->has_next ? row->successor : NULL);
}

static void on_successor(struct verify_question *question)
{
    struct verify_doubt *doubt = container_of(question, struct verify_doubt, question);
    const struct catalog_list *list = &question->list;
    if (list->fault.code && list->fault.code != ERR_NOT_FOUND) {
        give_up(doubt, &list->fault);
        return;
    }
    const struct batch_info *row = list->fault.code ? NULL : list->batches;
    learn(doubt, row);
    if (row)
        look(doubt, S3_GET, verify_manifest_key(question->verify, row->id, row->created),
             on_manifest);
    else
        decide(doubt);
}

static void ask_successor(struct verify_doubt *doubt)
{
    struct verify *verify = doubt->question.verify;
    const struct verify_lineage *lineage = &verify->lineage;
    if (key_set_has(&lineage->stored, doubt->successor)) {
        doubt->facts.asked = doubt->facts.there = true;
        doubt->facts.keeps = key_set_has(&lineage->keepers, doubt->successor);
        decide(doubt);
        return;
    }
    mem_set_text(&doubt->key, doubt->successor); /* the question borrows it */
    ask(&doubt->question, verify, (struct catalog_list){ .batch = doubt->key }, on_successor);
}

static void decide(struct verify_doubt *doubt)
{
    switch (revoke_decide(&doubt->facts)) {
    case REVOKE_NOTHING:
        count(doubt, VERIFY_KEPT);
        break;
    case REVOKE_LATER:
        count(doubt, VERIFY_UNDECIDED);
        break;
    case REVOKE_ASK:
        if (doubt->hops++ < HOPS_MAX)
            ask_successor(doubt);
        else
            count(doubt, VERIFY_KEPT);
        break;
    case REVOKE_RECORD:
        look(doubt, S3_HEAD,
             verify_revocation_key(doubt->question.verify, doubt->batch, doubt->created),
             on_record);
        break;
    }
}

/* ---- snapshots */

void verify_lineage_snapshot(struct verify *verify, const struct batch_info *row)
{
    struct batch_info *newest = &verify->lineage.newest;
    if (!newest->id[0] || discover_is_older(newest, row))
        *newest = *row;
}

/* A newer one may lie beyond the range; then nobody expects that of the range. */
static void on_newest(struct verify_question *question)
{
    struct verify *verify = question->verify;
    struct verify_lineage *lineage = &verify->lineage;
    const struct catalog_list *list = &question->list;
    const struct batch_info *own = &lineage->newest,
                            *newest = discover_newest(list->batches, list->count);
    AUTO_TEXT char *key = verify_manifest_key(verify, own->id, own->created);
    if (list->fault.code)
        verify_unchecked(verify, own->id, &list->fault);
    else if (!newest || !discover_is_older(own, newest))
        verify_job_start(verify, key, own->id, VERIFY_READABLE);
    lineage->asking = false;
    catalog_release(&question->list);
    verify_wake(verify);
}

bool verify_lineage_pull(struct verify *verify)
{
    struct verify_lineage *lineage = &verify->lineage;
    const struct batch_info *newest = &lineage->newest;
    if (lineage->asked || !newest->id[0])
        return !verify_lineage_busy(verify);
    lineage->asked = true;
    AUTO_TEXT char *key = verify_manifest_key(verify, newest->id, newest->created);
    if (key_set_has(&verify->named, key))
        return !verify_lineage_busy(verify);
    lineage->asking = true;
    ask(&lineage->newest_of_all, verify, newest_query(verify->dataset, 0), on_newest);
    return false;
}
