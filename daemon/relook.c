/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the source says now about a file that it did not deliver as listed.
 *
 *   LIST its dataset file ─ there ─▶ back to the queue at once, with the length of today
 *    └ not there ─▶ LOOK at the batch ─ readable ─▶ back to the queue as it is
 *                    └ withdrawn, unknown ─▶ given up
 */
#include "daemon/relook.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/aep/access.h"
#include "lib/aep/catalog.h"

struct relook {
    struct task task;
    const char *batch, *name; /* in the task */
    int64_t length;           /* as listed now; -1 = not found */
    struct access_list list;
    struct catalog_list look;
    struct deferred begin;
};

static void begin_relook(struct deferred *work);
static void on_page(struct access_list *list);
static void on_list(struct access_list *list);
static void on_look(struct catalog_list *look);

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
    catalog_release(&relook->look);
    task_release(task);
    mem_free(relook);
}

static void relook_cancel(struct task *task)
{
    struct relook *relook = container_of(task, struct relook, task);
    access_list_cancel(&relook->list);
    catalog_cancel(&relook->look);
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

/*
 * The copying is the next claim's, without another look. Everything hangs on the length, so what
 * was uploaded for another one is worthless.
 */
static void hand_on(struct relook *relook)
{
    const struct queue_task *lease = relook->task.lease;
    char looked[16], length[24];
    snprintf(looked, sizeof looked, "%d", lease->attempts);
    snprintf(length, sizeof length, "%" PRId64, relook->length);
    struct queue_field field[] = { { "looked", looked },
                                   { "length", length },
                                   { "upload_id", "" } };
    bool same = relook->length < 0 || relook->length == queue_task_int(lease, "length", -1);
    task_rest(&relook->task, 0, field, same ? 1 : 3);
}

static void on_list(struct access_list *list)
{
    struct relook *relook = container_of(list, struct relook, list);
    enum err err = list->fault.code;
    if (relook->task.cancelled) {
        task_stop(&relook->task);
    } else if (err && err != ERR_NOT_FOUND) {
        task_fail(&relook->task, &list->fault);
    } else if (relook->length >= 0) {
        hand_on(relook);
    } else {
        relook->look = (struct catalog_list){ .batch = relook->batch, .done = on_look };
        catalog_start(relook->task.core->aep, &relook->look);
    }
}

/* ---- the batch */

static void on_look(struct catalog_list *look)
{
    struct relook *relook = container_of(look, struct relook, look);
    struct fault fault = look->fault;
    if (fault.code == ERR_NOT_FOUND)
        fault_set(&fault, ERR_GONE, "batch %s does not exist any more", relook->batch);
    else if (!fault.code && look->batches->state == BATCH_WITHDRAWN)
        fault_set(&fault, ERR_GONE, "batch %s is %s now", relook->batch, look->batches->status);
    if (fault.code)
        task_fail(&relook->task, &fault);
    else
        hand_on(relook);
}
