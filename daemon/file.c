/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file: from its task to an object in S3.
 *
 *   small   STREAM ──────────────────────────────────────────▶ REPORT
 *             └─ the object exists ─▶ VERIFY ─ same? ─▶ REPORT
 *   large   CREATE ─▶ KEEP ─▶ STREAM ─▶ COMPLETE ─▶ VERIFY ─▶ REPORT
 *   again   CHECK (is it there already?) ─▶ RESUME (ListParts ∩ our record) ─▶ as above
 *
 * The upload id is in Redis before the first part is sent, each part right after S3 has it: that
 * is all a successor needs. Whenever it is in doubt whether an object was made, VERIFY asks HEAD
 * and compares size, source fingerprint and CRC-32C.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/file_plan.h"
#include "daemon/manifest.h"
#include "daemon/relook.h"
#include "daemon/resume.h"
#include "daemon/task.h"
#include "daemon/transfer.h"
#include "daemon/uploader.h"
#include "lib/base/log.h"

enum file_state {
    FILE_CHECK,
    FILE_RESUME,
    FILE_CREATE,
    FILE_KEEP,
    FILE_STREAM,
    FILE_COMPLETE,
    FILE_VERIFY,
    FILE_CLEAR, /* forget a broken upload before failing */
    FILE_REPORT,
    FILE_STATES
};

struct file {
    struct task task;
    enum file_state state;
    bool entered; /* the state's work was started; it comes back through a callback */
    struct parts parts;
    struct file_plan plan; /* where from, where to; from the task */
    char upload_id[S3_UPLOAD_MAX + 1];
    char offset[24];
    uint32_t crc32c;
    struct transfer transfer;
    struct upload upload;
    struct queue_op keep;
    struct fault fault;
    struct deferred step;
};

static void step_file(struct deferred *work);
static void start_check(struct file *file);
static void start_resume(struct file *file);
static void start_create(struct file *file);
static void start_keep(struct file *file);
static void start_stream(struct file *file);
static void start_complete(struct file *file);
static void start_clear(struct file *file);
static void start_report(struct file *file);
static enum file_state after_check(struct file *file);
static enum file_state after_resume(struct file *file);
static enum file_state after_create(struct file *file);
static enum file_state after_keep(struct file *file);
static enum file_state after_stream(struct file *file);
static enum file_state after_complete(struct file *file);
static enum file_state after_verify(struct file *file);

/* `after` sees what the work of the state brought and names the next state. */
static const struct {
    const char *name;
    void (*start)(struct file *file);
    enum file_state (*after)(struct file *file);
} row[FILE_STATES] = {
    [FILE_CHECK] = { "check", start_check, after_check },
    [FILE_RESUME] = { "resume", start_resume, after_resume },
    [FILE_CREATE] = { "create", start_create, after_create },
    [FILE_KEEP] = { "keep", start_keep, after_keep },
    [FILE_STREAM] = { "stream", start_stream, after_stream },
    [FILE_COMPLETE] = { "complete", start_complete, after_complete },
    [FILE_VERIFY] = { "verify", start_check, after_verify },
    [FILE_CLEAR] = { "clear", start_clear, NULL },
    [FILE_REPORT] = { "report", start_report, NULL },
};

/* ---- life */

/*
 * A first try need not look whether the object is there: a PUT is create-only. Not so Complete on
 * stores that ignore the condition; there every large file looks first.
 */
static enum file_state first_state(struct file *file)
{
    const struct queue_task *lease = file->task.lease;
    const char *upload_id = queue_task_get(lease, "upload_id");
    parts_init(&file->parts, file->plan.length, file->plan.part_size);
    if (upload_id && strlen(upload_id) < sizeof file->upload_id)
        snprintf(file->upload_id, sizeof file->upload_id, "%s", upload_id);
    bool again =
        lease->attempts > 1 || lease->lost > 0 || upload_id || queue_task_get(lease, "error");
    if (file->parts.count == 1)
        return again ? FILE_CHECK : FILE_STREAM;
    return again || !file->task.core->s3.traits.conditional_complete ? FILE_CHECK : FILE_CREATE;
}

static struct task *file_start(struct core *core, struct queue_task *lease)
{
    if (relook_needed(lease))
        return relook_kind.start(core, lease);
    struct file *file = mem_alloc(sizeof *file);
    task_init(&file->task, core, lease, &file_kind);
    file->step.run = step_file;
    if (file_plan_read(core, lease, &file->plan, &file->fault) == OK)
        file->state = first_state(file);
    loop_defer(core->loop, &file->step);
    return &file->task;
}

static void file_free(struct task *task)
{
    struct file *file = container_of(task, struct file, task);
    loop_undefer(task->core->loop, &file->step);
    queue_cancel(&file->keep);
    queue_op_release(&file->keep);
    s3_call_release(&file->upload.call);
    parts_release(&file->parts);
    file_plan_release(&file->plan);
    task_release(task);
    mem_free(file);
}

static void file_cancel(struct task *task)
{
    struct file *file = container_of(task, struct file, task);
    if (file->entered && file->state == FILE_STREAM)
        transfer_cancel(&file->transfer);
    loop_defer(task->core->loop, &file->step);
}

static const char *file_offset(struct task *task)
{
    struct file *file = container_of(task, struct file, task);
    int64_t offset = file->parts.state ? parts_offset(&file->parts) : 0;
    snprintf(file->offset, sizeof file->offset, "%" PRId64, offset);
    return file->offset;
}

const struct task_kind file_kind = { file_start, file_cancel, file_free, file_offset };

/* ---- the driver */

static void enter(struct file *file, enum file_state state)
{
    if (log_enabled(LOG_DEBUG))
        log_event(LOG_DEBUG, file->task.lease->id, "%s -> %s", row[file->state].name,
                  row[state].name);
    file->state = state;
    file->entered = false;
}

/* Ends the file with its fault; a fault that spoils the upload makes the next try begin anew. */
static void end_badly(struct file *file)
{
    bool spoilt = err_action(file->fault.code) == ACT_RESTART && file->upload_id[0];
    if (!spoilt || file->task.lost) {
        task_fail(&file->task, &file->fault);
        return;
    }
    enter(file, FILE_CLEAR);
    loop_defer(file->task.core->loop, &file->step);
}

/* A file that ends may be freed at once: nothing follows after that. */
static void step_file(struct deferred *work)
{
    struct file *file = container_of(work, struct file, step);
    struct task *task = &file->task;
    if (task->ending || file->entered)
        return;
    if (file->fault.code && file->state != FILE_CLEAR) {
        end_badly(file);
        return;
    }
    if (task->cancelled && file->state != FILE_REPORT) {
        task_stop(task);
        return;
    }
    file->entered = true;
    row[file->state].start(file);
}

static void advance(struct file *file)
{
    enter(file, row[file->state].after(file));
    loop_defer(file->task.core->loop, &file->step);
}

static void on_upload(struct upload *upload)
{
    advance(container_of(upload, struct file, upload));
}

static void call_s3_then(struct file *file, struct s3_call call,
                         void (*done)(struct upload *upload))
{
    s3_call_release(&file->upload.call);
    file->upload.call = call;
    file->upload.call.key = file->plan.key;
    file->upload.done = done;
    uploader_start(file->task.core->uploader, &file->upload);
}

static void call_s3(struct file *file, struct s3_call call)
{
    call_s3_then(file, call, on_upload);
}

/* Takes the result of the S3 call; the fault stays if it is one. */
static enum err s3_result(struct file *file)
{
    file->fault = file->upload.call.fault;
    return file->fault.code;
}

/* ---- is it there already? */

static void start_check(struct file *file)
{
    call_s3(file, (struct s3_call){ .op = S3_HEAD });
}

static enum file_state to_transfer(const struct file *file)
{
    if (file->parts.count == 1)
        return FILE_STREAM;
    return file->upload_id[0] ? FILE_RESUME : FILE_CREATE;
}

static enum file_state after_check(struct file *file)
{
    struct s3_call *head = &file->upload.call;
    enum err err = s3_result(file);
    if (err == ERR_NOT_FOUND) {
        file->fault.code = OK;
        return to_transfer(file);
    }
    if (err)
        return FILE_CHECK;
    if (resume_same(&file->upload.call, &file->parts, file->plan.source)) {
        /* A manifest states checksums: if neither store nor record has it, read and send again. */
        if (head->has_crc32c)
            file->crc32c = head->got_crc32c;
        else if (!resume_crc32c(&file->parts, file->task.lease, &file->crc32c))
            return to_transfer(file);
        file->task.core->metrics.files_known++;
        return FILE_REPORT;
    }
    fault_set(&file->fault, ERR_DIFFERS, "%s exists with %" PRId64 " bytes of another source",
              file->plan.key, head->got_size);
    return FILE_CHECK;
}

/* ---- an upload that was begun before */

static void start_resume(struct file *file)
{
    call_s3(file, (struct s3_call){ .op = S3_LIST_PARTS, .upload_id = file->upload_id });
}

static enum file_state after_resume(struct file *file)
{
    enum err err = s3_result(file);
    if (err == ERR_NO_UPLOAD) {
        file->fault.code = OK;
        return FILE_CREATE;
    }
    if (err)
        return FILE_RESUME;
    for (size_t i = 0; i < file->upload.call.listed_count; i++)
        if (resume_part(&file->parts, file->task.lease, &file->upload.call.listed[i]))
            file->task.core->metrics.parts_resumed++;
    log_event(LOG_INFO, file->task.lease->id,
              "resumes at %" PRId64 " of %" PRId64 " bytes, %d of %d parts stored",
              parts_offset(&file->parts), file->parts.length, file->parts.stored,
              file->parts.count);
    return file->parts.stored == file->parts.count ? FILE_COMPLETE : FILE_STREAM;
}

/* ---- a new upload */

static void start_create(struct file *file)
{
    call_s3(file, (struct s3_call){ .op = S3_CREATE, .source = file->plan.source });
}

static enum file_state after_create(struct file *file)
{
    if (s3_result(file))
        return FILE_CREATE;
    memcpy(file->upload_id, file->upload.call.new_upload_id, sizeof file->upload_id);
    return FILE_KEEP;
}

static void on_keep(struct queue_op *op)
{
    advance(container_of(op, struct file, keep));
}

static void start_keep(struct file *file)
{
    char size[24];
    snprintf(size, sizeof size, "%" PRId64, file->parts.size);
    struct queue_field field[] = { { "upload_id", file->upload_id }, { "part_size", size } };
    file->keep.done = on_keep;
    queue_save(file->task.core->queue, &file->keep, file->task.lease, field, 2);
}

static enum file_state after_keep(struct file *file)
{
    file->fault = file->keep.fault;
    return FILE_STREAM;
}

/* ---- the bytes */

static void on_part_saved(struct queue_op *op)
{
    /* A fenced save needs no reaction here: the next beat or the end of the task says so too. */
    queue_op_release(op);
    mem_free(op);
}

static void on_part_stored(struct transfer *transfer, int part)
{
    struct file *file = container_of(transfer, struct file, transfer);
    if (file->parts.count == 1)
        return;
    char name[16];
    snprintf(name, sizeof name, "p%d", part + 1);
    AUTO_BUF text = BUF_INIT(1024);
    parts_write(&file->parts.part[part], &text);
    struct queue_field field[] = { { name, buf_text(&text) },
                                   { "offset", file_offset(&file->task) } };
    struct queue_op *save =
        mem_alloc(sizeof *save); /* its own: the file does not wait for it */
    save->done = on_part_saved;
    queue_save(file->task.core->queue, save, file->task.lease, field, 2);
}

static void on_transfer(struct transfer *transfer)
{
    advance(container_of(transfer, struct file, transfer));
}

static void start_stream(struct file *file)
{
    file->transfer = (struct transfer){
        .core = file->task.core,
        .name = file->task.lease->id,
        .file_id = file->plan.file_id,
        .path = file->plan.name,
        .key = file->plan.key,
        .source = file->plan.source,
        .upload_id = file->parts.count > 1 ? file->upload_id : NULL,
        .parts = &file->parts,
        .stored = on_part_stored,
        .done = on_transfer,
    };
    transfer_start(&file->transfer);
}

static enum file_state after_stream(struct file *file)
{
    struct transfer *transfer = &file->transfer;
    file->fault = transfer->fault;
    if (file->parts.count > 1)
        return FILE_COMPLETE;
    if (file->fault.code == ERR_EXISTS) {
        /* An earlier try made it, or another worker: the bytes just read tell if it is the same. */
        file->fault.code = OK;
        file->crc32c = transfer->crc32c;
        file->task.core->metrics.strays_avoided++;
        return FILE_VERIFY;
    }
    file->crc32c = parts_crc32c(&file->parts);
    return FILE_REPORT;
}

/* ---- the end of a multipart upload */

static void start_complete(struct file *file)
{
    file->crc32c = parts_crc32c(&file->parts);
    call_s3(file, (struct s3_call){ .op = S3_COMPLETE,
                                    .upload_id = file->upload_id,
                                    .parts = file->parts.part,
                                    .part_count = (size_t)file->parts.count,
                                    .size = file->parts.length,
                                    .crc32c = file->crc32c,
                                    .source = file->plan.source,
                                    .create_only = true });
}

static enum file_state after_complete(struct file *file)
{
    enum err err = s3_result(file);
    /* Whether it was us or somebody before us, or nobody: the object itself decides. */
    if (err == ERR_EXISTS || err == ERR_NO_UPLOAD)
        file->fault.code = OK;
    return err && file->fault.code ? FILE_COMPLETE : FILE_VERIFY;
}

static bool same_content(const struct file *file)
{
    const struct s3_call *head = &file->upload.call;
    return resume_same(head, &file->parts, file->plan.source) &&
           (!head->has_crc32c || head->got_crc32c == file->crc32c);
}

static enum file_state after_verify(struct file *file)
{
    enum err err = s3_result(file);
    if (err == ERR_NOT_FOUND && file->parts.count > 1)
        fault_set(&file->fault, ERR_NO_UPLOAD, "neither upload nor object of %s exist",
                  file->plan.key);
    else if (!err && !same_content(file))
        fault_set(&file->fault, ERR_DIFFERS,
                  "%s has %" PRId64 " bytes, or another source or checksum", file->plan.key,
                  file->upload.call.got_size);
    return file->fault.code ? FILE_VERIFY : FILE_REPORT;
}

/* ---- forget a broken upload; then the failure is reported as usual */

static void on_cleared(struct queue_op *op)
{
    struct file *file = container_of(op, struct file, keep);
    if (op->fault.code)
        file->fault = op->fault;
    task_fail(&file->task, &file->fault);
}

/* Whether the abort worked does not matter: the next try begins a new upload in any case. */
static void on_aborted(struct upload *upload)
{
    struct file *file = container_of(upload, struct file, upload);
    struct queue_field field[] = { { "upload_id", "" } };
    queue_op_release(&file->keep);
    file->keep.done = on_cleared;
    queue_save(file->task.core->queue, &file->keep, file->task.lease, field, 1);
}

static void start_clear(struct file *file)
{
    call_s3_then(file, (struct s3_call){ .op = S3_ABORT, .upload_id = file->upload_id },
                 on_aborted);
}

/* ---- done */

static void start_report(struct file *file)
{
    char crc[16], offset[24];
    snprintf(crc, sizeof crc, "%08" PRIx32, file->crc32c);
    snprintf(offset, sizeof offset, "%" PRId64, file->parts.length);
    AUTO_BUF text = BUF_INIT(1 << 16);
    manifest_row(&(struct manifest_file){ .bucket = file->task.core->settings->s3.bucket,
                                          .key = file->plan.key,
                                          .file_id = file->plan.file_id,
                                          .name = file->plan.name,
                                          .size = file->parts.length,
                                          .crc32c = file->crc32c },
                 &text);
    struct queue_field field[] = { { "row", buf_text(&text) },
                                   { "offset", offset },
                                   { "crc32c", crc },
                                   { "key", file->plan.key } };
    file->task.core->metrics.files_stored++;
    task_complete(&file->task, field, 4);
}
