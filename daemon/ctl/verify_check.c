/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One manifest, and each object that it names:
 *
 *   GET manifest ──▶ form, place, dataset ──▶ per entry, in a slot:
 *                    HEAD ──▶ size, the store's CRC-32C ──(--deep)──▶ ranged GETs ──▶ CRC-32C
 *                      └ absent, on_revoke: delete ──▶ HEAD of the batch's revocation
 */
#include <inttypes.h>
#include <string.h>

#include "daemon/ctl/verify.h"
#include "lib/base/digest.h"

#define DEADLINE_MS  20000 /* of one request with its repetitions */
#define RANGE        (8 << 20)
#define FAILURES_MAX 100

static void on_manifest(struct s3_call *call);
static enum err read_manifest(struct verify_job *job, struct fault *fault);
static void name_entries(struct verify_job *job);
static void finish_job(struct verify_job *job);
static void on_head(struct s3_call *call);
static void read_on(struct verify_slot *slot);
static void on_range(struct s3_call *call);
static void finish_slot(struct verify_slot *slot);

/* ---- manifests */

void verify_job_start(struct verify *verify, const char *key, const char *batch,
                      enum verify_why why)
{
    struct verify_job *job = mem_alloc(sizeof *job);
    job->verify = verify;
    job->why = why;
    job->key = mem_copy_text(key);
    mem_set_text(&job->batch, batch);
    job->call = (struct s3_call){
        .op = S3_GET, .key = job->key, .deadline_ms = DEADLINE_MS, .done = on_manifest
    };
    key_set_add(&verify->named, key);
    list_push(&verify->jobs, &job->node);
    s3_start(verify->clients.s3, &job->call);
}

static void report_absent(struct verify_job *job)
{
    struct report *report = &job->verify->report;
    const char *dataset = job->verify->dataset->id;
    if (job->why == VERIFY_READABLE)
        report_problem(report, REPORT_MISSING, job->batch,
                       "Catalog lists this batch as readable, but there is no manifest %s; "
                       "why: FCALL_RO sluice_show 1 sluice: b/%s/%s",
                       job->key, dataset, job->batch);
    else if (job->why == VERIFY_LISTED)
        report_problem(report, REPORT_MISSING, job->key,
                       "this manifest was listed and is gone");
}

/* A manifest that is not what it should be names nothing. */
static void report_differing(struct verify_job *job, const struct fault *fault)
{
    job->next = job->manifest.entries;
    report_problem(&job->verify->report, REPORT_MISMATCH, job->key, "the manifest %s",
                   fault->text);
}

static void miss_manifest(struct verify_job *job, const struct fault *fault)
{
    job->verify->blind = true;
    verify_unchecked(job->verify, job->key, fault);
}

static void on_manifest(struct s3_call *call)
{
    struct verify_job *job = container_of(call, struct verify_job, call);
    struct verify *verify = job->verify;
    struct fault fault = call->fault;
    job->read = true;
    if (fault.code == ERR_NOT_FOUND)
        report_absent(job);
    else if (fault.code)
        miss_manifest(job, &fault);
    else if (read_manifest(job, &fault))
        report_differing(job, &fault);
    else
        name_entries(job);
    if (!fault.code || fault.code == ERR_NOT_FOUND || fault.code == ERR_DIFFERS)
        verify->failures = 0;
    s3_call_release(call);
    finish_job(job);
    verify_wake(verify);
}

static bool is_foreign(const struct verify_job *job)
{
    return strcmp(job->manifest.dataset, job->verify->dataset->id) != 0;
}

/* Is it a manifest, and is it the one that belongs at this key? */
static enum err read_manifest(struct verify_job *job, struct fault *fault)
{
    const struct verify *verify = job->verify;
    const struct buf *content = &job->call.content;
    const struct verify_manifest *manifest = &job->manifest;
    enum err err = verify_manifest_read(buf_text(content), content->len,
                                        verify->clients.options.bucket, &job->manifest, fault);
    if (err)
        return err;
    if (is_foreign(job) && verify_own_folder(verify->ctl->settings.s3.manifest))
        return fault_set(fault, ERR_DIFFERS, "is of dataset %s", manifest->dataset);
    if (is_foreign(job))
        return OK;
    if (strcmp(manifest->sandbox, verify->ctl->settings.aep.sandbox) != 0)
        return fault_set(fault, ERR_DIFFERS, "is of sandbox %s", manifest->sandbox);
    if (manifest->generation != verify->values.generation)
        return fault_set(fault, ERR_DIFFERS, "is of generation %" PRId64, manifest->generation);
    AUTO_TEXT char *key = verify_manifest_key(verify, manifest->batch, manifest->created);
    if (strcmp(key, job->key) != 0)
        return fault_set(fault, ERR_DIFFERS, "belongs at %s", key);
    return OK;
}

static bool in_range(const struct verify *verify, int64_t created)
{
    return created >= verify->from && created < verify->to;
}

/* Whether objects of the dataset vanish with their batch. */
static bool deletes(const struct verify *verify)
{
    return verify->dataset->on_revoke == REVOKE_DELETE &&
           verify->values.generation == KEY_GENERATION_1;
}

static char *revocation_of(const struct verify_job *job)
{
    return verify_revocation_key(job->verify, job->manifest.batch, job->manifest.created);
}

static void learn_revocation(struct verify_job *job)
{
    AUTO_TEXT char *record = revocation_of(job);
    job->revoked = deletes(job->verify) && key_set_has(&job->verify->lineage.revoked, record);
}

/* What a manifest outside of the range names is no stray, and not ours to prove. */
static void name_entries(struct verify_job *job)
{
    struct verify *verify = job->verify;
    const struct verify_manifest *manifest = &job->manifest;
    for (size_t i = 0; i < manifest->entries; i++)
        if (!key_set_add(&verify->named, manifest->entry[i].key))
            report_problem(&verify->report, REPORT_MISMATCH, manifest->entry[i].key,
                           "is named by %s and by another manifest", job->key);
    if (!is_foreign(job))
        verify_lineage_manifest(verify, manifest, job->key,
                                in_range(verify, manifest->created));
    if (is_foreign(job) || !in_range(verify, manifest->created)) {
        job->next = manifest->entries;
        return;
    }
    learn_revocation(job);
    key_set_add(&verify->good, job->key);
    verify->count[VERIFY_MANIFESTS]++;
    verify->count[VERIFY_ENTRIES] += (int64_t)manifest->entries;
}

static void finish_job(struct verify_job *job)
{
    if (!job->read || job->open > 0 || job->next < job->manifest.entries)
        return;
    list_remove(&job->verify->jobs, &job->node);
    verify_manifest_release(&job->manifest);
    mem_free(job->batch);
    mem_free(job->key);
    mem_free(job);
}

void verify_jobs_drop(struct verify *verify)
{
    list_each(&verify->jobs, node)
    {
        struct verify_job *job = container_of(node, struct verify_job, node);
        job->next = job->manifest.entries;
        finish_job(job);
    }
}

/* ---- objects */

static struct verify_job *job_with_work(const struct verify *verify)
{
    list_each(&verify->jobs, node)
    {
        struct verify_job *job = container_of(node, struct verify_job, node);
        if (job->next < job->manifest.entries)
            return job;
    }
    return NULL;
}

static void start_slot(struct verify_slot *slot, struct verify_job *job)
{
    slot->job = job;
    slot->entry = &job->manifest.entry[job->next++];
    slot->at = slot->crc32c = 0;
    job->open++;
    slot->call = (struct s3_call){
        .op = S3_HEAD, .key = slot->entry->key, .deadline_ms = DEADLINE_MS, .done = on_head
    };
    s3_start(job->verify->clients.s3, &slot->call);
}

void verify_slots_fill(struct verify *verify)
{
    size_t slots = verify->deep ? VERIFY_SLOTS_DEEP : VERIFY_SLOTS;
    struct verify_job *job;
    for (size_t i = 0; i < slots && (job = job_with_work(verify)); i++)
        if (!verify->slot[i].job)
            start_slot(&verify->slot[i], job);
}

static void report_lost(struct verify_slot *slot)
{
    report_problem(&slot->verify->report, REPORT_MISSING, slot->entry->key,
                   "the manifest of batch %s names this object, but it is not there; "
                   "restore it from a copy or a version of the bucket",
                   slot->job->manifest.batch);
}

/* The batch may have been revoked since revocations were listed. */
static void on_revocation(struct s3_call *call)
{
    struct verify_slot *slot = container_of(call, struct verify_slot, call);
    struct verify *verify = slot->verify;
    slot->job->revoked = slot->job->revoked || call->fault.code == OK;
    if (!call->fault.code)
        verify->count[VERIFY_DELETED]++;
    else if (call->fault.code == ERR_NOT_FOUND)
        report_lost(slot);
    else
        verify_unchecked(verify, slot->entry->key, &call->fault);
    finish_slot(slot);
}

static void lose(struct verify_slot *slot)
{
    struct verify *verify = slot->verify;
    if (deletes(verify) && !slot->job->revoked) {
        s3_call_release(&slot->call);
        slot->key = revocation_of(slot->job);
        slot->call = (struct s3_call){
            .op = S3_HEAD, .key = slot->key, .deadline_ms = DEADLINE_MS, .done = on_revocation
        };
        s3_start(verify->clients.s3, &slot->call);
        return;
    }
    if (slot->job->revoked)
        verify->count[VERIFY_DELETED]++;
    else
        report_lost(slot);
    finish_slot(slot);
}

/* True if there is an answer about the object; else the slot goes its own way. */
static bool answered(struct verify_slot *slot)
{
    struct verify *verify = slot->verify;
    const struct fault *fault = &slot->call.fault;
    enum err err = fault->code;
    if (err && err != ERR_NOT_FOUND) {
        verify_unchecked(verify, slot->entry->key, fault);
        finish_slot(slot);
        return false;
    }
    verify->failures = 0;
    if (err)
        lose(slot);
    return err == OK;
}

static bool crc32c_is(struct verify_slot *slot, uint32_t got, const char *where)
{
    if (got == slot->entry->crc32c)
        return true;
    report_problem(&slot->verify->report, REPORT_MISMATCH, slot->entry->key,
                   "CRC-32C %08" PRIx32 " %s, its manifest (batch %s) says %08" PRIx32, got,
                   where, slot->job->manifest.batch, slot->entry->crc32c);
    return false;
}

static bool head_fits(struct verify_slot *slot)
{
    const struct s3_call *call = &slot->call;
    const struct verify_entry *entry = slot->entry;
    if (call->got_size != entry->size) {
        report_problem(&slot->verify->report, REPORT_MISMATCH, entry->key,
                       "%" PRId64 " bytes, its manifest (batch %s) says %" PRId64,
                       call->got_size, slot->job->manifest.batch, entry->size);
        return false;
    }
    return !call->has_crc32c ||
           crc32c_is(slot, call->got_crc32c,
                     call->noted_crc32c ? "noted when it was sent" : "of the store");
}

/* Our own note of the PUT only proves that this is the upload we believe in, not its bytes. */
static void on_head(struct s3_call *call)
{
    struct verify_slot *slot = container_of(call, struct verify_slot, call);
    struct verify *verify = slot->verify;
    if (!answered(slot))
        return;
    verify->count[VERIFY_UNDELETED] += slot->job->revoked;
    if (!head_fits(slot)) {
        finish_slot(slot);
    } else if (verify->deep) {
        read_on(slot);
    } else {
        bool proven = call->has_crc32c && !call->noted_crc32c;
        verify->count[proven ? VERIFY_BY_STORE : VERIFY_BY_SIZE]++;
        finish_slot(slot);
    }
}

static void read_on(struct verify_slot *slot)
{
    const struct verify_entry *entry = slot->entry;
    struct verify *verify = slot->verify;
    int64_t left = entry->size - slot->at;
    if (left == 0) {
        if (crc32c_is(slot, slot->crc32c, "of its bytes"))
            verify->count[VERIFY_BY_READING]++;
        finish_slot(slot);
        return;
    }
    slot->call.op = S3_GET;
    slot->call.range_at = slot->at;
    slot->call.range_len = left < RANGE ? left : RANGE;
    slot->call.done = on_range;
    s3_start(verify->clients.s3, &slot->call);
}

static void on_range(struct s3_call *call)
{
    struct verify_slot *slot = container_of(call, struct verify_slot, call);
    if (!answered(slot))
        return;
    slot->crc32c = digest_crc32c(slot->crc32c, call->content.data, call->content.len);
    slot->at += (int64_t)call->content.len;
    read_on(slot);
}

static void finish_slot(struct verify_slot *slot)
{
    struct verify_job *job = slot->job;
    s3_call_release(&slot->call);
    mem_free(slot->key);
    slot->key = NULL;
    slot->job = NULL;
    job->open--;
    verify_wake(slot->verify);
    finish_job(job);
}

/* ---- what cannot be looked at */

void verify_unchecked(struct verify *verify, const char *subject, const struct fault *fault)
{
    verify->failures++;
    report_problem(&verify->report, REPORT_UNCHECKED, subject, "%s", fault->text);
}

bool verify_gave_up(const struct verify *verify)
{
    return verify->failures >= FAILURES_MAX;
}
