/* SPDX-License-Identifier: Apache-2.0 */
/* LIST the newest snapshots ─▶ SUBMIT the first of them ─▶ done */
#include "daemon/newest.h"

#include <string.h>

#include "daemon/discover.h"
#include "lib/base/log.h"

#define ROWS 20 /* the first may be sub-batches */

static void on_list(struct catalog_list *list);
static void on_submitted(struct queue_op *op);

struct catalog_list newest_query(const struct dataset_settings *dataset, int64_t since)
{
    return (struct catalog_list){ .dataset = dataset->id,
                                  .query = CATALOG_NEWEST,
                                  .from = since,
                                  .to = dataset->end_ms >= 0 ? dataset->end_ms : 0,
                                  .limit = ROWS };
}

void newest_start(struct newest *newest)
{
    newest->fault = (struct fault){ 0 };
    catalog_release(&newest->list);
    newest->list = newest_query(newest->dataset, newest->since);
    newest->list.done = on_list;
    catalog_start(newest->core->aep, &newest->list);
}

void newest_cancel(struct newest *newest)
{
    catalog_cancel(&newest->list); /* the queue answers soon, and the end follows */
}

void newest_release(struct newest *newest)
{
    if (!newest->core)
        return;
    catalog_release(&newest->list);
    queue_cancel(&newest->submit);
    queue_op_release(&newest->submit);
}

static void finish(struct newest *newest, const struct fault *fault)
{
    newest->fault = *fault;
    newest->done(newest);
}

static void on_list(struct catalog_list *list)
{
    struct newest *newest = container_of(list, struct newest, list);
    const struct batch_info *first = discover_newest(list->batches, list->count);
    struct discovered found;
    if (list->fault.code) {
        finish(newest, &list->fault);
        return;
    }
    if (!first) {
        log_event(LOG_WARN, newest->dataset->id,
                  "no readable snapshot is left: readers have none until the next one");
        finish(newest, &list->fault);
        return;
    }
    AUTO_TEXT char *tail = mem_print("tail/%s", newest->dataset->id);
    discover_children(first, 1, newest->dataset->id, QUEUE_LIVE, &found);
    queue_op_release(&newest->submit);
    newest->submit.done = on_submitted;
    queue_submit(newest->core->queue, &newest->submit, found.child, newest->dataset->id, tail);
    discover_free(&found);
}

static void on_submitted(struct queue_op *op)
{
    struct newest *newest = container_of(op, struct newest, submit);
    const struct batch_info *first = discover_newest(newest->list.batches, newest->list.count);
    if (!op->fault.code && strcmp(buf_text(&op->text), "revived") == 0)
        log_event(LOG_INFO, newest->dataset->id,
                  "the newest snapshot is an older one now, which was skipped batch=%s",
                  first->id);
    finish(newest, &op->fault);
}
