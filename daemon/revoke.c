/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   the batch: stored? ─▶ its successor, and that one's … ─▶ decide
 *     ─▶ what it consolidates ─▶ a record for each of those, the last for itself
 */
#include "daemon/revoke.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "daemon/commit.h"
#include "daemon/withdrawn.h"
#include "lib/base/digest.h"
#include "lib/base/log.h"

#define HOPS_MAX   8 /* from successor to successor */
#define BELOW_MAX  10000
#define RECORD_MAX 65536

static void on_own(struct locate *locate);
static void on_successor(struct locate *locate);
static void on_below(struct locate *locate);
static void on_put(struct upload *upload);
static void discard(struct revoke *revoke, const char *batch, int64_t created);
static void decide(struct revoke *revoke);
static void next_record(struct revoke *revoke);

/* ---- pure */

/* There is a successor, and what can be known of it is known. */
static enum revoke_step decide_by_successor(const struct revoke_facts *facts)
{
    if (facts->there && facts->keeps)
        return REVOKE_NOTHING;
    if (facts->there)
        return REVOKE_RECORD;
    if (facts->coming || facts->age_ms < facts->grace_ms)
        return REVOKE_LATER;
    if (facts->has_next)
        return REVOKE_ASK;
    /*
     * Nothing of ours took its place: rows that AEP only moved are still ours to show, those that
     * were withdrawn with the batch that had them are not.
     */
    return facts->consolidates && !facts->gone ? REVOKE_NOTHING : REVOKE_RECORD;
}

enum revoke_step revoke_decide(const struct revoke_facts *facts)
{
    if (!facts->stored)
        return facts->open ? REVOKE_LATER : REVOKE_NOTHING;
    if (!facts->named)
        return facts->age_ms < facts->grace_ms ? REVOKE_LATER : REVOKE_RECORD;
    return facts->asked ? decide_by_successor(facts) : REVOKE_ASK;
}

static void write_member(struct buf *out, const char *name, const char *text)
{
    buf_print(out, "\"%s\":", name);
    json_write_text(out, text, strlen(text));
    buf_add_char(out, ',');
}

void revoke_write(const struct revoke_note *note, struct buf *out)
{
    buf_add_char(out, '{');
    write_member(out, "batch", note->batch);
    buf_print(out, "\"created\":%" PRId64 ",", note->created);
    write_member(out, "dataset", note->dataset);
    write_member(out, "reason", note->reason);
    write_member(out, "status", note->status);
    if (note->superseded_by)
        write_member(out, "superseded_by", note->superseded_by);
    buf_add_text(out, "\"version\":1}\n");
}

/* ---- life */

static void locate(struct revoke *revoke, struct locate what,
                   void (*done)(struct locate *locate))
{
    locate_release(&revoke->locate);
    revoke->locate = what;
    revoke->locate.core = revoke->core;
    revoke->locate.dataset = revoke->dataset;
    revoke->locate.done = done;
    locate_start(&revoke->locate);
}

/* NULL = none is known. The tag that names it is written late. */
static const char *successor_of(const struct revoke *revoke, const struct batch_info *row)
{
    const char *named =
        row->successor ? row->successor : successors_of(revoke->successors, row->id);
    return named && strcmp(named, row->id) != 0 ? named : NULL;
}

void revoke_start(struct revoke *revoke)
{
    const char *named = successor_of(revoke, revoke->row);
    revoke->facts = (struct revoke_facts){
        .age_ms = aep_now(revoke->core->aep).ms - revoke->row->updated,
        .grace_ms = revoke->core->settings->aep.overlap_ms,
        .named = named != NULL,
        .consolidates = true,
    };
    mem_set_text(&revoke->next, named);
    buf_init(&revoke->record, RECORD_MAX);
    locate(revoke,
           (struct locate){
               .batch = revoke->row->id, .created = revoke->row->created, .details = true },
           on_own);
}

void revoke_cancel(struct revoke *revoke)
{
    locate_cancel(&revoke->locate);
    uploader_abort(&revoke->put);
    discard_cancel(&revoke->discard);
}

void revoke_release(struct revoke *revoke)
{
    locate_release(&revoke->locate);
    s3_call_release(&revoke->put.call);
    discard_release(&revoke->discard);
    buf_release(&revoke->record);
    for (size_t i = 0; i < revoke->count; i++)
        mem_free(revoke->below[i]);
    mem_free(revoke->below);
    mem_free(revoke->next);
    mem_free(revoke->key);
    mem_free(revoke->manifest_key);
    *revoke = (struct revoke){ 0 };
}

static void finish(struct revoke *revoke, enum revoke_step verdict, const struct fault *fault)
{
    revoke->verdict = verdict;
    if (fault)
        revoke->fault = *fault;
    revoke->done(revoke);
}

/* ---- the decision */

static void add_below(struct revoke *revoke, const char *id)
{
    for (size_t i = 0; i < revoke->count; i++)
        if (strcmp(revoke->below[i], id) == 0)
            return;
    revoke->below = mem_grow(revoke->below, revoke->count + 1, sizeof *revoke->below);
    revoke->below[revoke->count++] = mem_copy_text(id);
}

/* Its rows are in the copies of those that it consolidates. */
static bool add_all_below(struct revoke *revoke)
{
    const struct json_t *list = json_member(revoke->locate.head, "consolidates");
    for (size_t i = 0; i < json_count(list) && revoke->count < BELOW_MAX; i++) {
        const char *id = json_text(json_element(list, i));
        if (id && catalog_id_valid(id) && strcmp(id, revoke->row->id) != 0)
            add_below(revoke, id);
    }
    return revoke->count < BELOW_MAX;
}

static void on_own(struct locate *located)
{
    struct revoke *revoke = container_of(located, struct revoke, locate);
    struct fault fault = located->fault;
    if (!fault.code && !add_all_below(revoke))
        fault_set(&fault, ERR_TOO_BIG, "%s consolidates too many batches", revoke->row->id);
    if (fault.code) {
        finish(revoke, REVOKE_LATER, &fault);
        return;
    }
    revoke->facts.stored = located->stored;
    revoke->facts.open = located->open;
    if (!located->revoked) {
        decide(revoke);
        return;
    }
    revoke->last = true; /* whether what followed the record was done is not known */
    discard(revoke, revoke->row->id, revoke->row->created);
}

static void decide(struct revoke *revoke)
{
    enum revoke_step step = revoke_decide(&revoke->facts);
    if (step == REVOKE_RECORD)
        next_record(revoke);
    else if (step == REVOKE_ASK && revoke->hops++ < HOPS_MAX)
        locate(revoke,
               (struct locate){
                   .batch = revoke->next, .created = -1, .look = LOCATE_LOOK, .details = true },
               on_successor);
    else
        finish(revoke, step == REVOKE_ASK ? REVOKE_NOTHING : step, NULL);
}

static void learn_successor(struct revoke *revoke)
{
    const struct locate *located = &revoke->locate;
    const struct batch_info *row = located->row;
    struct revoke_facts *facts = &revoke->facts;
    bool empty = json_member(located->head, "consolidates") != NULL;
    int64_t now_ms = aep_now(revoke->core->aep).ms;
    facts->asked = true;
    facts->there = located->stored;
    facts->keeps = empty;
    facts->coming = located->open;
    facts->gone = row && row->state == BATCH_WITHDRAWN;
    if (facts->gone && now_ms - row->updated < facts->age_ms)
        facts->age_ms = now_ms - row->updated;
    facts->has_next = row && successor_of(revoke, row);
    if (row) {
        facts->consolidates = facts->consolidates && row->class == BATCH_CONSOLIDATION;
        facts->coming =
            facts->coming || row->state == BATCH_OPEN || row->state == BATCH_STALLED;
    } else if (!empty) {
        facts->consolidates = false;
    }
}

static void on_successor(struct locate *located)
{
    struct revoke *revoke = container_of(located, struct revoke, locate);
    if (located->fault.code) {
        finish(revoke, REVOKE_LATER, &located->fault);
        return;
    }
    learn_successor(revoke);
    if (revoke_decide(&revoke->facts) == REVOKE_ASK)
        mem_set_text(&revoke->next, successor_of(revoke, located->row));
    decide(revoke);
}

/* ---- the records */

static const char *reason_of(const struct revoke *revoke)
{
    if (revoke->facts.named && revoke->facts.asked &&
        (revoke->facts.there || !revoke->facts.gone))
        return revoke->facts.consolidates ? "consolidated-into" : "replaced";
    return strcasecmp(revoke->row->status, "deleted") == 0 ? "deleted" : "inactive";
}

static void put_record(struct revoke *revoke, const char *batch, int64_t created)
{
    struct buf *record = &revoke->record;
    revoke->noted = batch;
    revoke->noted_created = created;
    buf_clear(record);
    revoke_write(&(struct revoke_note){ .batch = batch,
                                        .dataset = revoke->dataset->id,
                                        .reason = reason_of(revoke),
                                        .status = revoke->row->status,
                                        .superseded_by = revoke->next,
                                        .created = created },
                 record);
    mem_free(revoke->key);
    revoke->key = commit_key_of(revoke->core->settings, revoke->dataset, LOCATE_REVOCATION,
                                batch, created, 1);
    s3_call_release(&revoke->put.call);
    revoke->put.call =
        (struct s3_call){ .op = S3_PUT,
                          .key = revoke->key,
                          .body = record->data,
                          .body_len = record->len,
                          .body_crc32c = digest_crc32c(0, record->data, record->len),
                          .content_type = "application/json",
                          .create_only = true };
    revoke->put.done = on_put;
    uploader_start(revoke->core->uploader, &revoke->put);
}

/* The batch itself is the last, so that its record says that all are there. */
static void next_record(struct revoke *revoke)
{
    revoke->last = revoke->at >= revoke->count;
    if (revoke->last)
        put_record(revoke, revoke->row->id, revoke->row->created);
    else
        locate(revoke,
               (struct locate){
                   .batch = revoke->below[revoke->at], .created = -1, .details = true },
               on_below);
}

static void on_below(struct locate *located)
{
    struct revoke *revoke = container_of(located, struct revoke, locate);
    if (located->fault.code) {
        finish(revoke, REVOKE_LATER, &located->fault);
        return;
    }
    const char *batch = revoke->below[revoke->at++];
    (void)add_all_below(revoke);
    if (located->stored && !located->revoked)
        put_record(revoke, batch, located->created);
    else
        next_record(revoke);
}

/* From here on the batch does not count any more. */
static void tell(struct revoke *revoke)
{
    revoke->core->metrics.revocations++;
    log_event(LOG_WARN, revoke->dataset->id,
              "withdrawn after its commit batch=%s reason=%s "
              "status=%s superseded_by=%s record=%s",
              revoke->row->id, reason_of(revoke), revoke->row->status,
              revoke->next ? revoke->next : "-", revoke->key);
}

static void on_put(struct upload *upload)
{
    struct revoke *revoke = container_of(upload, struct revoke, put);
    enum err err = upload->call.fault.code;
    if (err && err != ERR_EXISTS) {
        finish(revoke, REVOKE_LATER, &upload->call.fault);
        return;
    }
    if (revoke->last && !err)
        tell(revoke);
    discard(revoke, revoke->noted, revoke->noted_created);
}

/* ---- its objects: they stay, unless `on_revoke: delete` says otherwise */

static void go_on(struct revoke *revoke)
{
    if (revoke->last)
        finish(revoke, REVOKE_RECORD, NULL);
    else
        next_record(revoke);
}

static void on_discarded(struct discard *discard)
{
    struct revoke *revoke = container_of(discard, struct revoke, discard);
    if (discard->fault.code && discard->fault.code != ERR_NOT_FOUND) {
        finish(revoke, REVOKE_LATER, &discard->fault);
        return;
    }
    if (discard->deleted)
        log_event(LOG_INFO, revoke->dataset->id, "objects deleted batch=%s objects=%" PRId64,
                  discard->batch, discard->deleted);
    go_on(revoke);
}

static void discard(struct revoke *revoke, const char *batch, int64_t created)
{
    if (revoke->dataset->on_revoke != REVOKE_DELETE) {
        go_on(revoke);
        return;
    }
    discard_release(&revoke->discard);
    mem_free(revoke->manifest_key);
    revoke->manifest_key =
        commit_key_of(revoke->core->settings, revoke->dataset,
                      revoke->core->settings->s3.manifest, batch, created, 1);
    revoke->discard = (struct discard){ .core = revoke->core,
                                        .dataset = revoke->dataset,
                                        .batch = batch,
                                        .manifest_key = revoke->manifest_key,
                                        .done = on_discarded };
    discard_start(&revoke->discard);
}
