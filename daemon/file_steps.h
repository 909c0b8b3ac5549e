/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to file.c and file_steps.c: a file on its way, and what its states do. `file_start_…` begins
 * the work of a state, `file_after_…` sees what it brought and names the next one; between the two lies
 * a callback, which calls file_advance.
 */
#ifndef SLUICE_DAEMON_FILE_STEPS_H
#define SLUICE_DAEMON_FILE_STEPS_H

#include "daemon/file_plan.h"
#include "daemon/task.h"
#include "daemon/transfer.h"
#include "daemon/uploader.h"
#include "lib/aep/access.h"

enum file_state {
    FILE_CHECK,
    FILE_RESUME,
    FILE_CREATE,
    FILE_KEEP,
    FILE_STREAM,
    FILE_ENDS, /* is it what its name says? */
    FILE_LOOK, /* has another worker made the object meanwhile? */
    FILE_COMPLETE,
    FILE_VERIFY,
    FILE_FORGET,
    FILE_ABORT,
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
    struct content_ends ends;
    struct access_read read; /* of ends that passed in an earlier life, and are on no record */
    struct transfer transfer;
    struct upload upload;
    struct queue_op keep;
    struct fault fault; /* how the file ends, if it is one */
    struct fault doubt; /* of a write that may have happened all the same */
    struct deferred step;
};

void file_advance(struct file *file); /* from a callback: the state's work is over */
const char *file_offset(struct task *task);

void file_start_check(struct file *file);
void file_start_resume(struct file *file);
void file_start_create(struct file *file);
void file_start_keep(struct file *file);
void file_start_stream(struct file *file);
void file_start_ends(struct file *file);
void file_start_complete(struct file *file);
void file_start_forget(struct file *file);
void file_start_abort(struct file *file);
void file_start_report(struct file *file);
enum file_state file_after_check(struct file *file);
enum file_state file_after_resume(struct file *file);
enum file_state file_after_create(struct file *file);
enum file_state file_after_keep(struct file *file);
enum file_state file_after_stream(struct file *file);
enum file_state file_after_ends(struct file *file);
enum file_state file_after_look(struct file *file);
enum file_state file_after_complete(struct file *file);
enum file_state file_after_verify(struct file *file);
enum file_state file_after_forget(struct file *file);
enum file_state file_after_abort(struct file *file);

#endif
