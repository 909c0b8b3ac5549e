/* SPDX-License-Identifier: Apache-2.0 */
/* Keyset paging over batches by creation time. */
#include "daemon/walk.h"

#include <string.h>

#define PAGES_MAX 100000

static void on_list(struct catalog_list *list);
static void on_next(struct deferred *work);

void walk_start(struct walk *walk)
{
    walk->at = walk->from;
    walk->offset = -1;
    walk->next.run = on_next;
    walk->list.done = on_list;
    loop_defer(walk->core->loop, &walk->next);
}

void walk_next(struct walk *walk)
{
    mem_free(walk->batches);
    walk->batches = NULL;
    walk->count = 0;
    loop_defer(walk->core->loop, &walk->next);
}

void walk_cancel(struct walk *walk)
{
    if (walk->finished || walk->batches || !walk->next.run)
        return;
    if (walk->listing) {
        catalog_cancel(&walk->list);
        return;
    }
    fault_set(&walk->fault, ERR_CANCELLED, "cancelled");
    loop_defer(walk->core->loop, &walk->next);
}

static void clear_edge(struct walk *walk)
{
    for (size_t i = 0; i < walk->edges; i++)
        mem_free(walk->edge[i]);
    walk->edges = 0;
}

void walk_release(struct walk *walk)
{
    loop_undefer(walk->core->loop, &walk->next);
    catalog_release(&walk->list);
    clear_edge(walk);
    mem_free(walk->edge);
    mem_free(walk->batches);
    walk->edge = NULL;
    walk->batches = NULL;
}

static void on_next(struct deferred *work)
{
    struct walk *walk = container_of(work, struct walk, next);
    if (!walk->fault.code && walk->pages++ >= PAGES_MAX)
        fault_set(&walk->fault, ERR_BAD_RESPONSE, "no end after %d pages", PAGES_MAX);
    if (walk->fault.code || walk->at >= walk->to) {
        walk->finished = true;
        walk->done(walk);
        return;
    }
    bool instant = walk->offset >= 0;
    catalog_release(&walk->list);
    walk->list = (struct catalog_list){ .dataset = walk->dataset,
                                        .from = walk->at,
                                        .to = instant ? walk->at + 1 : walk->to,
                                        .start = instant ? walk->offset : 0,
                                        .limit = walk->limit,
                                        .done = on_list };
    walk->listing = true;
    catalog_start(walk->core->aep, &walk->list);
}

static size_t page_of(const struct walk *walk)
{
    return walk->limit > 0 ? (size_t)walk->limit : CATALOG_PAGE;
}

static bool at_edge(const struct walk *walk, const char *id)
{
    for (size_t i = 0; i < walk->edges; i++)
        if (strcmp(walk->edge[i], id) == 0)
            return true;
    return false;
}

/* Drops what was seen already; keeps the order. */
static void drop_known(struct walk *walk)
{
    size_t kept = 0;
    for (size_t i = 0; i < walk->count; i++)
        if (walk->batches[i].created != walk->at || !at_edge(walk, walk->batches[i].id))
            walk->batches[kept++] = walk->batches[i];
    walk->count = kept;
}

static void remember_edge(struct walk *walk, int64_t instant)
{
    if (instant != walk->at)
        clear_edge(walk);
    walk->at = instant;
    for (size_t i = 0; i < walk->count; i++) {
        if (walk->batches[i].created != instant)
            continue;
        walk->edge = mem_grow(walk->edge, walk->edges + 1, sizeof *walk->edge);
        walk->edge[walk->edges++] = mem_copy_text(walk->batches[i].id);
    }
}

/*
 * One instant is listed by offset, pass after pass, until a whole pass brings nothing new: among
 * batches of the same instant the order may differ from request to request. If they fill more
 * than a page, two quiet passes are wanted.
 */
static void move_on_instant(struct walk *walk, size_t rows)
{
    remember_edge(walk, walk->at);
    walk->offset += (int)rows;
    walk->fresh = walk->fresh || walk->count > 0;
    if (rows > 0)
        return;
    walk->quiet = walk->fresh ? 0 : walk->quiet + 1;
    walk->fresh = false;
    walk->offset = 0;
    if (walk->quiet < (walk->edges > page_of(walk) ? 2 : 1))
        return;
    clear_edge(walk);
    walk->at++;
    walk->offset = -1;
}

/* Where the next page begins, given a page of `rows` rows that ends at `last`. */
static void move_on(struct walk *walk, size_t rows, int64_t last)
{
    if (walk->offset >= 0) {
        move_on_instant(walk, rows);
    } else if (rows == 0) {
        walk->at = walk->to; /* nothing behind `at`: the end */
    } else if (last > walk->at) {
        remember_edge(walk, last);
    } else {
        /* All at one instant: there may be more of it than fits a page. */
        remember_edge(walk, last);
        walk->offset = walk->quiet = 0;
        walk->fresh = false;
    }
}

static void on_list(struct catalog_list *list)
{
    struct walk *walk = container_of(list, struct walk, list);
    walk->listing = false;
    walk->fault = list->fault;
    walk->batches = list->batches;
    size_t rows = walk->count = list->count;
    list->batches = NULL;
    list->count = 0;
    if (walk->fault.code) {
        walk_next(walk);
        return;
    }
    walk->full = rows >= page_of(walk);
    int64_t last = rows ? walk->batches[rows - 1].created : walk->at;
    drop_known(walk);
    move_on(walk, rows, last);
    if (walk->count)
        walk->page(walk);
    else
        walk_next(walk);
}
