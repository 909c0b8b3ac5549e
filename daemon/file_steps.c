/* SPDX-License-Identifier: Apache-2.0 */
/* What the states of a file do, in the order of the drawing in file.c. */
#include "daemon/file_steps.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/resume.h"
#include "lib/base/log.h"

#define COMPLETE_MS   (10 * 60 * 1000) /* stores put the parts together before they answer */
#define ENDS_STALL_MS 20000

static void on_upload(struct upload *upload)
{
    file_advance(container_of(upload, struct file, upload));
}

static void call_s3(struct file *file, struct s3_call call)
{
    s3_call_release(&file->upload.call);
    file->upload.call = call;
    file->upload.call.key = file->plan.key;
    file->upload.done = on_upload;
    uploader_start(file->task.core->uploader, &file->upload);
}

static void on_keep(struct queue_op *op)
{
    file_advance(container_of(op, struct file, keep));
}

static void save(struct file *file, const struct queue_field *field, size_t fields)
{
    queue_op_release(&file->keep);
    file->keep.done = on_keep;
    queue_save(file->task.core->queue, &file->keep, file->task.lease, field, fields);
}

/* Takes the result of the S3 call; the fault stays if it is one. */
static enum err s3_result(struct file *file)
{
    file->fault = file->upload.call.fault;
    return file->fault.code;
}

/* ---- is it there already? */

void file_start_check(struct file *file)
{
    call_s3(file, (struct s3_call){ .op = S3_HEAD });
}

static enum file_state to_transfer(const struct file *file)
{
    if (file->parts.count == 1)
        return FILE_STREAM;
    return file->upload_id[0] ? FILE_RESUME : FILE_CREATE;
}

enum file_state file_after_check(struct file *file)
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
        return file->upload_id[0] ? FILE_FORGET : FILE_REPORT;
    }
    fault_set(&file->fault, ERR_DIFFERS, "%s exists with %" PRId64 " bytes of another source",
              file->plan.key, head->got_size);
    return FILE_CHECK;
}

/* ---- an upload that was begun before */

/* Should the record be missing, the ends are read again when all parts are stored. */
static void recall_ends(struct file *file)
{
    const char *text = queue_task_get(file->task.lease, "ends");
    if (text && content_read(text, &file->ends))
        file->ends = (struct content_ends){ .head_seen = 0 };
}

void file_start_resume(struct file *file)
{
    call_s3(file, (struct s3_call){ .op = S3_LIST_PARTS, .upload_id = file->upload_id });
}

enum file_state file_after_resume(struct file *file)
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
    recall_ends(file);
    log_event(LOG_INFO, file->task.lease->id,
              "resumes at %" PRId64 " of %" PRId64 " bytes, %d of %d parts stored",
              parts_offset(&file->parts), file->parts.length, file->parts.stored,
              file->parts.count);
    return file->parts.stored == file->parts.count ? FILE_ENDS : FILE_STREAM;
}

/* ---- a new upload */

void file_start_create(struct file *file)
{
    call_s3(file, (struct s3_call){ .op = S3_CREATE, .source = file->plan.source });
}

enum file_state file_after_create(struct file *file)
{
    if (s3_result(file))
        return FILE_CREATE;
    memcpy(file->upload_id, file->upload.call.new_upload_id, sizeof file->upload_id);
    return FILE_KEEP;
}

void file_start_keep(struct file *file)
{
    char size[24];
    snprintf(size, sizeof size, "%" PRId64, file->parts.size);
    struct queue_field field[] = { { "upload_id", file->upload_id }, { "part_size", size } };
    save(file, field, 2);
}

enum file_state file_after_keep(struct file *file)
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
    AUTO_BUF ends = BUF_INIT(1024);
    parts_write(&file->parts.part[part], &text);
    content_write(&file->ends, &ends);
    struct queue_field field[] = { { name, buf_text(&text) },
                                   { "offset", file_offset(&file->task) },
                                   { "ends", buf_text(&ends) } };
    struct queue_op *save =
        mem_alloc(sizeof *save); /* its own: the file does not wait for it */
    save->done = on_part_saved;
    queue_save(file->task.core->queue, save, file->task.lease, field, 3);
}

static enum err judge(struct file *file, struct fault *fault)
{
    return content_judge(&file->ends, file->plan.form, file->plan.name, file->parts.length,
                         fault);
}

static enum err on_part_passes(struct transfer *transfer, int part, const void *bytes,
                               struct fault *fault)
{
    struct file *file = container_of(transfer, struct file, transfer);
    const struct parts *parts = &file->parts;
    content_note(&file->ends, parts->length, parts_start(parts, part), bytes,
                 (size_t)parts_length(parts, part));
    return judge(file, fault);
}

static bool may_store(const struct transfer *transfer)
{
    return task_may_write(&container_of(transfer, struct file, transfer)->task);
}

static void on_transfer(struct transfer *transfer)
{
    file_advance(container_of(transfer, struct file, transfer));
}

void file_start_stream(struct file *file)
{
    const struct queue_task *lease = file->task.lease;
    const struct dataset_settings *dataset =
        settings_dataset(file->task.core->settings, lease->dataset);
    file->transfer = (struct transfer){
        .core = file->task.core,
        .name = file->task.lease->id,
        .file_id = file->plan.file_id,
        .path = file->plan.name,
        .key = file->plan.key,
        .source = file->plan.source,
        .upload_id = file->parts.count > 1 ? file->upload_id : NULL,
        .parts = &file->parts,
        .exported_bytes =
            metrics_exported(&file->task.core->metrics, dataset ? dataset->as : lease->dataset),
        .passes = on_part_passes,
        .may_store = may_store,
        .stored = on_part_stored,
        .done = on_transfer,
    };
    transfer_start(&file->transfer);
}

/* What a write brought may be wrong: the object itself decides. */
static enum file_state doubt(struct file *file)
{
    file->doubt = file->fault;
    file->fault.code = OK;
    return FILE_VERIFY;
}

enum file_state file_after_stream(struct file *file)
{
    struct transfer *transfer = &file->transfer;
    file->fault = transfer->fault;
    if (file->parts.count > 1)
        return FILE_ENDS;
    if (transfer->refused && resume_doubts(file->fault.code)) {
        /* The bytes just read tell if what is there is the same. */
        file->crc32c = transfer->crc32c;
        file->task.core->metrics.strays_avoided += file->fault.code == ERR_EXISTS;
        return doubt(file);
    }
    file->crc32c = parts_crc32c(&file->parts);
    return FILE_REPORT;
}

/* ---- is it what its name says? */

static enum http_data on_end_bytes(struct access_read *read, const void *bytes, size_t len)
{
    struct file *file = container_of(read, struct file, read);
    content_note(&file->ends, read->length, read->first + read->received, bytes, len);
    return HTTP_TAKEN;
}

static void on_end_read(struct access_read *read)
{
    struct file *file = container_of(read, struct file, read);
    file->fault = read->fault;
    file_advance(file);
}

/* Ends that no life of the file has noted are read again, a dozen bytes in two GETs at most. */
void file_start_ends(struct file *file)
{
    struct access_read *read = &file->read;
    int64_t first, last;
    if (!content_missing(&file->ends, file->plan.form, file->parts.length, &first, &last)) {
        file_advance(file);
        return;
    }
    access_read_release(read);
    *read = (struct access_read){ .file_id = file->plan.file_id,
                                  .name = file->plan.name,
                                  .first = first,
                                  .last = last,
                                  .length = file->parts.length,
                                  .stall_ms = ENDS_STALL_MS,
                                  .data = on_end_bytes,
                                  .done = on_end_read };
    file->task.core->metrics.ends_read++;
    access_read_start(file->task.core->aep, read);
}

/* Where Complete replaces what is there, it is looked for first. */
enum file_state file_after_ends(struct file *file)
{
    int64_t first, last;
    if (file->fault.code || judge(file, &file->fault) ||
        content_missing(&file->ends, file->plan.form, file->parts.length, &first, &last))
        return FILE_ENDS;
    return file->task.core->s3.traits.conditional_complete ? FILE_COMPLETE : FILE_LOOK;
}

/* ---- the end of a multipart upload */

enum file_state file_after_look(struct file *file)
{
    file->crc32c = parts_crc32c(&file->parts);
    if (s3_result(file) != ERR_NOT_FOUND)
        return file_after_verify(file);
    file->fault.code = OK;
    return FILE_COMPLETE;
}

void file_start_complete(struct file *file)
{
    file->crc32c = parts_crc32c(&file->parts);
    call_s3(file, (struct s3_call){ .op = S3_COMPLETE,
                                    .upload_id = file->upload_id,
                                    .parts = file->parts.part,
                                    .part_count = (size_t)file->parts.count,
                                    .size = file->parts.length,
                                    .crc32c = file->crc32c,
                                    .source = file->plan.source,
                                    .create_only = true,
                                    .deadline_ms = COMPLETE_MS });
}

enum file_state file_after_complete(struct file *file)
{
    enum err err = s3_result(file);
    return err && !resume_doubts(err) ? FILE_COMPLETE : doubt(file);
}

static bool same_content(const struct file *file)
{
    const struct s3_call *head = &file->upload.call;
    return resume_same(head, &file->parts, file->plan.source) &&
           (!head->has_crc32c || head->got_crc32c == file->crc32c);
}

enum file_state file_after_verify(struct file *file)
{
    enum err err = s3_result(file);
    if (err == ERR_NOT_FOUND)
        resume_absent(&file->doubt, file->parts.count > 1, file->plan.key, &file->fault);
    else if (!err && !same_content(file))
        fault_set(&file->fault, ERR_DIFFERS,
                  "%s has %" PRId64 " bytes, or another source or checksum", file->plan.key,
                  file->upload.call.got_size);
    if (file->fault.code)
        return FILE_VERIFY;
    /* Made by another upload than ours, perhaps: then that is still there. */
    bool ours = file->state == FILE_VERIFY && !file->doubt.code;
    return !ours && file->upload_id[0] ? FILE_FORGET : FILE_REPORT;
}

/* ---- an upload that is of no more use */

void file_start_forget(struct file *file)
{
    struct queue_field field[] = { { "upload_id", "" } };
    save(file, field, 1);
}

/* Only a lease that is ours lets the save pass: nobody else works on the upload. */
enum file_state file_after_forget(struct file *file)
{
    if (file->keep.fault.code == OK)
        return FILE_ABORT;
    file->upload_id[0] = 0;
    file->fault = file->keep.fault;
    return FILE_REPORT;
}

void file_start_abort(struct file *file)
{
    call_s3(file, (struct s3_call){ .op = S3_ABORT, .upload_id = file->upload_id });
}

/* Whether it worked does not matter: what stays behind is the janitor's. */
enum file_state file_after_abort(struct file *file)
{
    file->upload_id[0] = 0;
    return FILE_REPORT;
}

/* ---- done */

void file_start_report(struct file *file)
{
    char crc[16], offset[24];
    snprintf(crc, sizeof crc, "%08" PRIx32, file->crc32c);
    snprintf(offset, sizeof offset, "%" PRId64, file->parts.length);
    AUTO_BUF text = BUF_INIT(1 << 16);
    file_plan_row(file->task.core, &file->plan, file->crc32c, &text);
    struct queue_field field[] = { { "row", buf_text(&text) },
                                   { "offset", offset },
                                   { "crc32c", crc },
                                   { "key", file->plan.key } };
    file->task.core->metrics.files_stored++;
    task_complete(&file->task, field, 4);
}
