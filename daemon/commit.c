/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commits a batch whose files are all in S3.
 *
 *   ROWS ──▶ still ours? ──▶ PUT manifest, create-only ──▶ done
 *                               └ exists, or in doubt ──▶ COMPARE ─ same bytes? ──▶ done
 *
 * Rows vanish when a batch ends. If it was still ours after they were read, they were all of them.
 *
 * A batch that had nothing to copy is only reported.
 */
#include "daemon/commit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/manifest.h"
#include "daemon/resume.h"
#include "daemon/uploader.h"
#include "lib/base/digest.h"
#include "lib/base/log.h"
#include "lib/s3/key.h"

#define MANIFEST_MAX (64 << 20)

struct commit {
    struct task task;
    const struct dataset_settings *dataset;
    char *manifest_key;
    struct queue_op op, save;
    struct upload upload;
    struct buf manifest;
    bool held_back;     /* the PUT waits until the lease is renewed */
    struct fault doubt; /* of the PUT */
    size_t files;
    int64_t bytes;
    struct deferred begin;
};

static void begin_commit(struct deferred *work);
static void start_rows(struct commit *commit);
static void start_save(struct commit *commit);
static void start_put(struct commit *commit);
static void start_compare(struct commit *commit);

static const char *batch_id(const struct queue_task *lease)
{
    return strrchr(lease->id, '/') + 1;
}

char *commit_key_of(const struct settings *settings, const struct dataset_settings *dataset,
                    const char *template, const char *batch, int64_t created,
                    int64_t generation)
{
    struct buf key = BUF_INIT(S3_KEY_MAX * 4);
    key_build(template,
              &(struct key_values){ .prefix = settings->s3.prefix,
                                    .dataset = dataset->as,
                                    .dataset_id = dataset->id,
                                    .batch = batch,
                                    .created = { created },
                                    .generation = generation },
              &key);
    return buf_take(&key);
}

char *commit_key(const struct core *core, const struct dataset_settings *dataset,
                 const struct queue_task *lease)
{
    return commit_key_of(core->settings, dataset, core->settings->s3.manifest, batch_id(lease),
                         lease->order, queue_id_generation(lease->id));
}

static struct task *commit_start(struct core *core, struct queue_task *lease)
{
    struct commit *commit = mem_alloc(sizeof *commit);
    task_init(&commit->task, core, lease, &commit_kind);
    buf_init(&commit->manifest, MANIFEST_MAX);
    commit->begin.run = begin_commit;
    commit->dataset = settings_dataset(core->settings, lease->dataset);
    if (commit->dataset)
        commit->manifest_key = commit_key(core, commit->dataset, lease);
    loop_defer(core->loop, &commit->begin);
    return &commit->task;
}

static void commit_free(struct task *task)
{
    struct commit *commit = container_of(task, struct commit, task);
    loop_undefer(task->core->loop, &commit->begin);
    queue_cancel(&commit->op);
    queue_op_release(&commit->op);
    queue_cancel(&commit->save);
    queue_op_release(&commit->save);
    s3_call_release(&commit->upload.call);
    buf_release(&commit->manifest);
    mem_free(commit->manifest_key);
    task_release(task);
    mem_free(commit);
}

/* Seconds from its end: better done than given back, if it is still ours. */
static void commit_cancel(struct task *task)
{
    struct commit *commit = container_of(task, struct commit, task);
    if (commit->held_back) {
        commit->held_back = false;
        task_stop(task);
    } else if (task->lost) {
        uploader_abort(&commit->upload);
    }
}

static void commit_renewed(struct task *task)
{
    struct commit *commit = container_of(task, struct commit, task);
    if (commit->held_back)
        start_put(commit);
}

const struct task_kind commit_kind = {
    .start = commit_start,
    .cancel = commit_cancel,
    .free = commit_free,
    .renewed = commit_renewed,
};

static void begin_commit(struct deferred *work)
{
    struct commit *commit = container_of(work, struct commit, begin);
    if (commit->dataset)
        start_rows(commit);
    else
        task_not_ours(&commit->task);
}

static void call_s3(struct commit *commit, struct s3_call call,
                    void (*done)(struct upload *upload))
{
    s3_call_release(&commit->upload.call);
    commit->upload.call = call;
    commit->upload.call.key = commit->manifest_key;
    commit->upload.done = done;
    uploader_start(commit->task.core->uploader, &commit->upload);
}

/* How fresh the bucket is: only of what the tail brings, history is as old as it is. */
static void count_delay(struct commit *commit)
{
    struct core *core = commit->task.core;
    const struct queue_task *lease = commit->task.lease;
    if (lease->lane == QUEUE_LIVE)
        histogram_add(&core->metrics.batch_delay,
                      (double)(aep_now(core->aep).ms - lease->order) / 1000);
}

/* Since discovery; our clock may differ a little from Redis', which noted that. */
static double seconds_of(const struct commit *commit)
{
    int64_t now = clock_wall().ms;
    int64_t began = queue_task_int(commit->task.lease, "created_at", now);
    return began < now ? (double)(now - began) / 1000 : 0;
}

/* The one line of a batch that is finished. */
static void complete(struct commit *commit)
{
    char files[24], bytes[24], failed[48] = "";
    int64_t lost = queue_task_int(commit->task.lease, "failed_records", 0);
    snprintf(files, sizeof files, "%zu", commit->files);
    snprintf(bytes, sizeof bytes, "%" PRId64, commit->bytes);
    if (lost > 0)
        snprintf(failed, sizeof failed, " failed_records=%" PRId64, lost);
    struct queue_field field[] = { { "files", files },
                                   { "bytes", bytes },
                                   { "manifest", commit->manifest_key } };
    commit->task.core->metrics.batches_committed++;
    count_delay(commit);
    commit->task.core->metrics.failed_records += lost > 0 ? lost : 0;
    log_event(LOG_INFO, commit->task.lease->id,
              "committed files=%s bytes=%s%s duration=%.1fs attempts=%d dataset=%s manifest=%s",
              files, bytes, failed, seconds_of(commit), commit->task.lease->attempts,
              commit->dataset->as, commit->manifest_key);
    task_complete(&commit->task, field, 3);
}

static void complete_skipped(struct commit *commit, const char *why)
{
    struct queue_field field[] = { { "files", "0" }, { "result", why } };
    if (strcmp(why, "manifest") == 0)
        commit->task.core->metrics.batches_known++;
    else
        commit->task.core->metrics.batches_skipped++;
    log_event(LOG_INFO, commit->task.lease->id, "nothing to copy reason=%s", why);
    task_complete(&commit->task, field, 2);
}

/* What batch.c noted before it sealed the batch: the same at each try. */
static struct manifest_head head_of(const struct commit *commit)
{
    const struct queue_task *lease = commit->task.lease;
    return (struct manifest_head){
        .batch = batch_id(lease),
        .dataset = commit->dataset->id,
        .sandbox = commit->task.core->settings->aep.sandbox,
        .created = lease->order,
        .generation = queue_id_generation(lease->id),
        .records = queue_task_int(lease, "records", -1),
        .failed_records = queue_task_int(lease, "failed_records", -1),
        .consolidates = queue_task_get(lease, "consolidates"),
        .replaces = queue_task_get(lease, "replaces"),
        .replaces_external = queue_task_get(lease, "replaces_external"),
        .replay_reason = queue_task_get(lease, "replay_reason"),
        .snapshot = commit->dataset->semantics != SEMANTICS_INCREMENTAL,
    };
}

static void on_rows(struct queue_op *op)
{
    struct commit *commit = container_of(op, struct commit, op);
    struct fault fault = op->fault;
    if (fault.code) {
        task_fail(&commit->task, &fault);
        return;
    }
    const char **text = mem_alloc_array(op->rows, sizeof *text);
    for (size_t i = 0; i < op->rows; i++)
        text[i] = op->row[i].value;
    struct manifest_head head = head_of(commit);
    commit->files = op->rows;
    enum err err = manifest_build(&head, text, op->rows, &commit->manifest, &commit->bytes);
    mem_free(text);
    if (commit->manifest.overflow)
        err = fault_set(&fault, ERR_MEMORY, "manifest of %zu files is too large", op->rows);
    else if (err)
        fault_set(&fault, err, "a row of the batch's results is malformed");
    if (err)
        task_fail(&commit->task, &fault);
    else
        start_save(commit);
}

static void on_saved(struct queue_op *op)
{
    struct commit *commit = container_of(op, struct commit, save);
    if (op->fault.code)
        task_fail(&commit->task, &op->fault);
    else
        start_put(commit);
}

static void start_save(struct commit *commit)
{
    char files[24];
    snprintf(files, sizeof files, "%zu", commit->files);
    struct queue_field field[] = { { "files", files } };
    commit->save.done = on_saved;
    queue_save(commit->task.core->queue, &commit->save, commit->task.lease, field, 1);
}

static void start_rows(struct commit *commit)
{
    const char *why = strchr(commit->task.lease->offset, '/'); /* see start_skip in batch.c */
    if (why) {
        complete_skipped(commit, why + 1);
        return;
    }
    commit->op.done = on_rows;
    queue_rows(commit->task.core->queue, &commit->op, commit->task.lease);
}

static void on_put(struct upload *upload)
{
    struct commit *commit = container_of(upload, struct commit, upload);
    commit->doubt = upload->call.fault;
    if (resume_doubts(commit->doubt.code))
        start_compare(commit);
    else if (upload->call.fault.code)
        task_fail(&commit->task, &upload->call.fault);
    else
        complete(commit);
}

static void start_put(struct commit *commit)
{
    bool waits = !task_may_write(&commit->task);
    commit->held_back = waits && !commit->task.cancelled;
    if (waits && commit->task.cancelled)
        task_stop(&commit->task);
    if (waits)
        return;
    call_s3(commit,
            (struct s3_call){ .op = S3_PUT,
                              .body = commit->manifest.data,
                              .body_len = commit->manifest.len,
                              .body_crc32c =
                                  digest_crc32c(0, commit->manifest.data, commit->manifest.len),
                              .content_type = "application/json",
                              .create_only = true },
            on_put);
}

/* Perhaps somebody was here before: another worker, or ourselves before the answer was lost. */
static void on_compare(struct upload *upload)
{
    struct commit *commit = container_of(upload, struct commit, upload);
    const struct buf *there = &upload->call.content;
    struct fault fault = upload->call.fault;
    if (fault.code == ERR_NOT_FOUND)
        resume_absent(&commit->doubt, false, commit->manifest_key, &fault);
    bool same = there->len == commit->manifest.len &&
                memcmp(there->data, commit->manifest.data, there->len) == 0;
    if (!fault.code && !same)
        fault_set(&fault, ERR_DIFFERS, "%s exists with other content", commit->manifest_key);
    if (fault.code)
        task_fail(&commit->task, &fault);
    else
        complete(commit);
}

static void start_compare(struct commit *commit)
{
    call_s3(commit, (struct s3_call){ .op = S3_GET }, on_compare);
}
