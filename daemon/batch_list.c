/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists the files of one batch, level by level: the batch itself, its dataset files, and
 * directories inside those.
 */
#include "daemon/batch_list.h"

#include <string.h>

#define LEVELS_AT_ONCE 32
#define ROWS_WAITING   1000 /* no new level is started while more rows wait */
#define DEPTH_MAX      4
#define LEVELS_MAX     200000

/* There may be very many of those that wait: they hold no more than they must. */
struct waiting {
    struct list_node node;
    char *file_id; /* NULL: the batch itself */
    int depth;
};

struct level {
    struct list_node node;
    struct batch_list *owner;
    char *file_id;
    int depth;
    struct access_list list;
};

static void step_list(struct deferred *work);
static void on_page(struct access_list *page);
static void on_level(struct access_list *level);

static void add_level(struct batch_list *list, const char *file_id, int depth)
{
    struct waiting *waiting = mem_alloc(sizeof *waiting);
    waiting->file_id = file_id ? mem_copy_text(file_id) : NULL;
    waiting->depth = depth;
    list_push(&list->waiting, &waiting->node);
}

static void free_level(struct level *level)
{
    access_list_release(&level->list);
    mem_free(level->file_id);
    mem_free(level);
}

void batch_list_start(struct batch_list *list)
{
    list_init(&list->waiting);
    list_init(&list->running);
    list->step.run = step_list;
    add_level(list, NULL, 0);
    loop_defer(list->core->loop, &list->step);
}

void batch_list_take(struct batch_list *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mem_free(list->files[i].id);
        mem_free(list->files[i].name);
    }
    list->count -= count;
    if (list->count)
        memmove(list->files, list->files + count, list->count * sizeof *list->files);
    loop_defer(list->core->loop, &list->step);
}

static void stop(struct batch_list *list, const struct fault *fault)
{
    if (!list->fault.code)
        list->fault = *fault;
    list->stopping = true;
    list_each(&list->running, node)
        access_list_cancel(&container_of(node, struct level, node)->list);
    loop_defer(list->core->loop, &list->step);
}

void batch_list_cancel(struct batch_list *list)
{
    struct fault fault = { 0 };
    fault_set(&fault, ERR_CANCELLED, "cancelled");
    if (list->step.run && !list->complete)
        stop(list, &fault);
}

void batch_list_release(struct batch_list *list)
{
    if (!list->step.run)
        return;
    assert(list->running.count == 0);
    loop_undefer(list->core->loop, &list->step);
    for (struct list_node *node; (node = list_pop(&list->waiting));) {
        struct waiting *waiting = container_of(node, struct waiting, node);
        mem_free(waiting->file_id);
        mem_free(waiting);
    }
    access_files_free(list->files, list->count);
    list->files = NULL;
    list->count = 0;
}

/* Takes over what was waiting. */
static void start_level(struct batch_list *list, struct waiting *waiting)
{
    struct level *level = mem_alloc(sizeof *level);
    level->owner = list;
    level->file_id = waiting->file_id;
    level->depth = waiting->depth;
    mem_free(waiting);
    list_push(&list->running, &level->node);
    list->levels++;
    level->list = (struct access_list){
        .batch = list->batch, .file_id = level->file_id, .page = on_page, .done = on_level
    };
    access_list_start(list->core->aep, &level->list);
}

static void step_list(struct deferred *work)
{
    struct batch_list *list = container_of(work, struct batch_list, step);
    while (!list->stopping && list->waiting.count && list->running.count < LEVELS_AT_ONCE &&
           list->count < ROWS_WAITING)
        start_level(list, container_of(list_pop(&list->waiting), struct waiting, node));
    list->complete = list->running.count == 0 && (list->stopping || list->waiting.count == 0);
    if (list->told)
        return;
    list->told = list->complete;
    if (list->complete || list->count)
        list->ready(list);
}

static void add_row(struct batch_list *list, struct access_file *file)
{
    if (list->count == list->size) {
        list->size = list->size ? list->size * 2 : 64;
        list->files = mem_grow(list->files, list->size, sizeof *list->files);
    }
    list->files[list->count++] = *file;
    *file = (struct access_file){ 0 };
}

static void on_page(struct access_list *page)
{
    struct level *level = container_of(page, struct level, list);
    struct batch_list *list = level->owner;
    struct fault fault = { 0 };
    for (size_t i = 0; i < page->count && !list->stopping; i++) {
        struct access_file *file = &page->files[i];
        if (file->name)
            add_row(list, file);
        else if (level->depth < DEPTH_MAX && list->levels < LEVELS_MAX)
            add_level(list, file->id, level->depth + 1);
        else
            fault_set(&fault, ERR_BAD_RESPONSE, "directories of %s are nested too deep",
                      list->batch);
    }
    if (fault.code)
        stop(list, &fault);
    loop_defer(list->core->loop, &list->step);
}

static void on_level(struct access_list *done)
{
    struct level *level = container_of(done, struct level, list);
    struct batch_list *list = level->owner;
    struct fault fault = done->fault;
    list_remove(&list->running, &level->node);
    free_level(level);
    if (fault.code && !list->stopping)
        stop(list, &fault);
    loop_defer(list->core->loop, &list->step);
}
