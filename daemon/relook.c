/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the source says now about a file that it did not deliver as listed.
 *
 *   LIST its dataset file ─ there, as it was ─▶ back to the queue at once
 *    └ not there, or of another length ─▶ RELIST ─▶ (ABORT its upload)
 *
 * RELIST: compaction has renamed or replaced files of the batch, or it was withdrawn. What its
 * listing said is void: the file leaves the queue, and the batch begins anew, with a look at
 * what has become of it.
 */
#include "daemon/relook.h"

#include <stdio.h>
#include <string.h>

#include "daemon/file_plan.h"
#include "daemon/uploader.h"
#include "lib/aep/access.h"
#include "lib/base/log.h"

struct relook {
    struct task task;
    const char *batch, *name; /* in the task */
    int64_t length;           /* as listed now; -1 = not found */
    struct access_list list;
    struct queue_op op;
    struct file_plan plan; /* for the key, if an upload has to be aborted */
    struct upload upload;
    struct deferred begin;
};

static void begin_relook(struct deferred *work);
static void on_page(struct access_list *list);
static void on_list(struct access_list *list);
static void relist(struct relook *relook);
static void on_relisted(struct queue_op *op);
static void on_aborted(struct upload *upload);

bool relook_needed(const struct queue_task *task)
{
    const char *class = queue_task_get(task, "class"); /* why the last try failed */
    bool wrong = class && (strcmp(class, err_name(ERR_SOURCE_CHANGED)) == 0 ||
                           strcmp(class, err_name(ERR_NOT_FOUND)) == 0);
    return wrong && queue_task_int(task, "looked", 0) != task->attempts;
}

/* ---- life */

static struct task *relook_start(struct core *core, struct queue_task *lease)
{
    struct relook *relook = mem_alloc(sizeof *relook);
    task_init(&relook->task, core, lease, &relook_kind);
    const char *slash = strrchr(lease->parent, '/');
    relook->batch = slash ? slash + 1 : "";
    relook->name = queue_task_get(lease, "name");
    relook->length = -1;
    relook->begin.run = begin_relook;
    loop_defer(core->loop, &relook->begin);
    return &relook->task;
}

static void relook_free(struct task *task)
{
    struct relook *relook = container_of(task, struct relook, task);
    loop_undefer(task->core->loop, &relook->begin);
    access_list_release(&relook->list);
    queue_cancel(&relook->op);
    queue_op_release(&relook->op);
    s3_call_release(&relook->upload.call);
    file_plan_release(&relook->plan);
    task_release(task);
    mem_free(relook);
}

static void relook_cancel(struct task *task)
{
    struct relook *relook = container_of(task, struct relook, task);
    access_list_cancel(&relook->list);
    if (task->lost)
        uploader_abort(&relook->upload);
}

const struct task_kind relook_kind = {
    .start = relook_start,
    .cancel = relook_cancel,
    .free = relook_free,
};

static void begin_relook(struct deferred *work)
{
    struct relook *relook = container_of(work, struct relook, begin);
    const char *file_id = queue_task_get(relook->task.lease, "file_id");
    struct fault fault = { 0 };
    if (relook->task.cancelled) {
        task_stop(&relook->task);
        return;
    }
    if (!file_id || !relook->name) {
        fault_set(&fault, ERR_BUG, "task lacks file_id or name");
        task_fail(&relook->task, &fault);
        return;
    }
    relook->list = (struct access_list){
        .batch = relook->batch, .file_id = file_id, .page = on_page, .done = on_list
    };
    access_list_start(relook->task.core->aep, &relook->list);
}

/* ---- the listing */

static void on_page(struct access_list *list)
{
    struct relook *relook = container_of(list, struct relook, list);
    for (size_t i = 0; i < list->count; i++)
        if (list->files[i].name && strcmp(list->files[i].name, relook->name) == 0)
            relook->length = list->files[i].length;
}

/* The copying is the next claim's, without another look. */
static void hand_on(struct relook *relook)
{
    char looked[16];
    snprintf(looked, sizeof looked, "%d", relook->task.lease->attempts);
    struct queue_field field[] = { { "looked", looked } };
    task_rest(&relook->task, 0, field, 1);
}

static void on_list(struct access_list *list)
{
    struct relook *relook = container_of(list, struct relook, list);
    enum err err = list->fault.code;
    if (relook->task.cancelled) {
        task_stop(&relook->task);
    } else if (err && err != ERR_NOT_FOUND) {
        task_fail(&relook->task, &list->fault);
    } else if (relook->length == queue_task_int(relook->task.lease, "length", -1)) {
        hand_on(relook);
    } else {
        relist(relook);
    }
}

/* ---- the batch is listed anew */

static void relist(struct relook *relook)
{
    relook->op.done = on_relisted;
    queue_relist(relook->task.core->queue, &relook->op, relook->task.lease);
}

/* The file has left the queue, so nobody else works on its upload. */
static bool abort_upload(struct relook *relook)
{
    const struct queue_task *lease = relook->task.lease;
    const char *upload_id = queue_task_get(lease, "upload_id");
    struct fault ignored = { 0 };
    if (!upload_id || !upload_id[0] ||
        file_plan_read(relook->task.core, lease, &relook->plan, &ignored))
        return false;
    relook->upload.done = on_aborted;
    relook->upload.call =
        (struct s3_call){ .op = S3_ABORT, .key = relook->plan.key, .upload_id = upload_id };
    uploader_start(relook->task.core->uploader, &relook->upload);
    return true;
}

static void on_relisted(struct queue_op *op)
{
    struct relook *relook = container_of(op, struct relook, op);
    struct task *task = &relook->task;
    struct fault fault = op->fault;
    bool worn = !fault.code && strcmp(buf_text(&op->text), "worn") == 0;
    if (worn) {
        fault_set(&fault, ERR_SOURCE_CHANGED,
                  "the files of its batch changed again after each of many listings; retry it "
                  "when the source is at rest");
        task_give_up(task, &fault);
        return;
    }
    if (fault.code) {
        task_fail(task, &fault);
        return;
    }
    log_event(LOG_WARN, task->lease->id,
              "not in the batch any more, which is listed anew: %.200s", relook->name);
    task->progress(task->core);
    if (!abort_upload(relook))
        task_sealed(task);
}

/* Whether it worked does not matter: what stays behind is the janitor's. */
static void on_aborted(struct upload *upload)
{
    task_sealed(&container_of(upload, struct relook, upload)->task);
}
