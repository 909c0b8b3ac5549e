/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file: from its task to an object in S3.
 *
 *   small   STREAM ──────────────────────────────────────────▶ REPORT
 *             └─ the object exists ─▶ VERIFY ─ same? ─▶ REPORT
 *   large   CREATE ─▶ KEEP ─▶ STREAM ─▶ ENDS ─▶ (LOOK) ─▶ COMPLETE ─▶ VERIFY ─▶ REPORT
 *   again   CHECK (is it there already?) ─▶ RESUME (ListParts ∩ our record) ─▶ as above
 *
 * The upload id is in Redis before the first part is sent, each part right after S3 has it: that
 * is all a successor needs. Whenever it is in doubt whether an object was made, VERIFY asks HEAD
 * and compares size, source fingerprint and CRC-32C. What is not as its name says never becomes an
 * object: the ends of the file are judged before the PUT or the Complete. An upload that is of no
 * more use goes by FORGET (Redis, and the proof that it is ours) ─▶ ABORT, and then the file ends.
 */
#include "daemon/file_steps.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/relook.h"
#include "lib/base/log.h"

static void step_file(struct deferred *work);

/* `after` sees what the work of the state brought and names the next state. */
static const struct {
    const char *name;
    void (*start)(struct file *file);
    enum file_state (*after)(struct file *file);
    bool writes; /* begins only while the lease is good for some time */
} row[FILE_STATES] = {
    [FILE_CHECK] = { "check", file_start_check, file_after_check, false },
    [FILE_RESUME] = { "resume", file_start_resume, file_after_resume, false },
    [FILE_CREATE] = { "create", file_start_create, file_after_create, true },
    [FILE_KEEP] = { "keep", file_start_keep, file_after_keep, false },
    [FILE_STREAM] = { "stream", file_start_stream, file_after_stream, false },
    [FILE_ENDS] = { "ends", file_start_ends, file_after_ends, false },
    [FILE_LOOK] = { "look", file_start_check, file_after_look, false },
    [FILE_COMPLETE] = { "complete", file_start_complete, file_after_complete, true },
    [FILE_VERIFY] = { "verify", file_start_check, file_after_verify, false },
    [FILE_FORGET] = { "forget", file_start_forget, file_after_forget, false },
    [FILE_ABORT] = { "abort", file_start_abort, file_after_abort, true },
    [FILE_REPORT] = { "report", file_start_report, NULL, false },
};

/* ---- life */

/*
 * A first try need not look whether the object is there: a PUT is create-only. But a task older
 * than our watch over Redis may only seem untried, if Redis went back in time. And where Complete
 * ignores the condition every large file looks first, and once more before it completes.
 */
static enum file_state first_state(struct file *file)
{
    const struct queue_task *lease = file->task.lease;
    const char *upload_id = queue_task_get(lease, "upload_id");
    parts_init(&file->parts, file->plan.length, file->plan.part_size);
    if (upload_id && strlen(upload_id) < sizeof file->upload_id)
        snprintf(file->upload_id, sizeof file->upload_id, "%s", upload_id);
    bool again = lease->attempts > 1 || lease->lost > 0 || upload_id ||
                 queue_task_get(lease, "error") ||
                 queue_task_int(lease, "created_at", 0) < file->task.core->watched_since;
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
    access_read_release(&file->read);
    s3_call_release(&file->upload.call);
    parts_release(&file->parts);
    file_plan_release(&file->plan);
    task_release(task);
    mem_free(file);
}

static void file_cancel(struct task *task)
{
    struct file *file = container_of(task, struct file, task);
    bool streams = file->entered && file->state == FILE_STREAM;
    if (streams && task->lost)
        transfer_abort(&file->transfer);
    else if (streams)
        transfer_cancel(&file->transfer);
    else if (file->entered && file->state == FILE_ENDS)
        access_read_cancel(&file->read);
    else if (task->lost)
        uploader_abort(&file->upload);
    loop_defer(task->core->loop, &file->step);
}

static void file_renewed(struct task *task)
{
    struct file *file = container_of(task, struct file, task);
    if (file->entered && file->state == FILE_STREAM)
        transfer_resume(&file->transfer);
    loop_defer(task->core->loop, &file->step);
}

const char *file_offset(struct task *task)
{
    struct file *file = container_of(task, struct file, task);
    int64_t offset = file->parts.state ? parts_offset(&file->parts) : 0;
    snprintf(file->offset, sizeof file->offset, "%" PRId64, offset);
    return file->offset;
}

static const struct transfer *file_transfer(const struct task *task)
{
    const struct file *file = container_of(task, struct file, task);
    return file->state == FILE_STREAM && file->entered ? &file->transfer : NULL;
}

const struct task_kind file_kind = {
    .start = file_start,
    .cancel = file_cancel,
    .free = file_free,
    .offset = file_offset,
    .renewed = file_renewed,
    .transfer = file_transfer,
};

/* ---- the driver */

static void enter(struct file *file, enum file_state state)
{
    if (log_enabled(LOG_DEBUG))
        log_event(LOG_DEBUG, file->task.lease->id, "%s -> %s", row[file->state].name,
                  row[state].name);
    file->state = state;
    file->entered = false;
}

/*
 * A file that changes although its listing was read for this very try does so for good. One that
 * is corrupt was read from the beginning once more; the class says what the last try failed of.
 */
static bool hopeless(const struct file *file)
{
    const struct queue_task *lease = file->task.lease;
    const char *class = queue_task_get(lease, "class");
    if (file->fault.code == ERR_CORRUPT)
        return class && strcmp(class, err_name(ERR_CORRUPT)) == 0;
    return file->fault.code == ERR_SOURCE_CHANGED &&
           queue_task_int(lease, "looked", 0) == lease->attempts;
}

static void fail(struct file *file)
{
    struct task *task = &file->task;
    task->core->metrics.files_corrupt += file->fault.code == ERR_CORRUPT;
    if (hopeless(file))
        task_give_up(task, &file->fault);
    else
        task_fail(task, &file->fault);
}

/* Ends the file with its fault; one that spoils the upload makes the next try begin anew. */
static void end_badly(struct file *file)
{
    enum err code = file->fault.code;
    bool spoilt = err_action(code) == ACT_RESTART || code == ERR_DIFFERS;
    if (!spoilt || !file->upload_id[0] || file->task.lost) {
        fail(file);
        return;
    }
    enter(file, FILE_FORGET);
    loop_defer(file->task.core->loop, &file->step);
}

static bool clears(const struct file *file)
{
    return file->state == FILE_FORGET || file->state == FILE_ABORT;
}

/* What is done also when we are stopping: a new upload must not be nobody's. */
static bool tidies_up(const struct file *file)
{
    return clears(file) || file->state == FILE_KEEP;
}

/* A file that ends may be freed at once: nothing follows after that. */
static void step_file(struct deferred *work)
{
    struct file *file = container_of(work, struct file, step);
    struct task *task = &file->task;
    if (task->ending || file->entered)
        return;
    if (file->fault.code && !clears(file)) {
        end_badly(file);
        return;
    }
    if (task->cancelled && (task->lost || !tidies_up(file)) && file->state != FILE_REPORT) {
        task_stop(task);
        return;
    }
    if (row[file->state].writes && !task_may_write(task))
        return; /* file_renewed comes back, or the loss */
    file->entered = true;
    row[file->state].start(file);
}

void file_advance(struct file *file)
{
    enter(file, row[file->state].after(file));
    loop_defer(file->task.core->loop, &file->step);
}
