/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/transfers.h"

#include "daemon/scheduler.h"
#include "daemon/task.h"

static const struct transfer *transfer_of(struct list_node *node)
{
    const struct task *task = container_of(node, struct task, node);
    return task->kind->transfer ? task->kind->transfer(task) : NULL;
}

static bool is_slower(const struct transfer_view *a, const struct transfer_view *b)
{
    return a->bytes_per_s > 0 && (b->bytes_per_s <= 0 || a->bytes_per_s < b->bytes_per_s);
}

/* Into its place among those that are sorted; the fastest of too many goes. */
static size_t insert(struct transfer_view *list, size_t count, size_t max,
                     const struct transfer_view *view)
{
    size_t at = count;
    while (at > 0 && is_slower(view, &list[at - 1])) {
        if (at < max)
            list[at] = list[at - 1];
        at--;
    }
    if (at < max)
        list[at] = *view;
    return count < max ? count + 1 : count;
}

size_t transfers_slowest(const struct core *core, struct transfer_view *ret, size_t max)
{
    size_t count = 0;
    list_each(scheduler_files(core->scheduler), node)
    {
        const struct transfer *transfer = transfer_of(node);
        struct transfer_view view;
        if (!transfer)
            continue;
        transfer_look(transfer, &view);
        count = insert(ret, count, max, &view);
    }
    return count;
}

size_t transfers_lanes(const struct core *core)
{
    size_t lanes = 0;
    list_each(scheduler_files(core->scheduler), node)
    {
        const struct transfer *transfer = transfer_of(node);
        lanes += transfer ? transfer->lanes.count : 0;
    }
    return lanes;
}
