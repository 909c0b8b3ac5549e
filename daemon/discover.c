/* SPDX-License-Identifier: Apache-2.0 */
/* How a batch found in a listing becomes a task. Pure. */
#include "daemon/discover.h"

#include <inttypes.h>

#define FIELDS 4

static char *keep(struct discovered *found, char *text)
{
    found->text[found->texts++] = text;
    return text;
}

void discover_children(const struct batch_info *batch, size_t count, const char *scope,
                       enum queue_lane lane, struct discovered *ret)
{
    *ret = (struct discovered){ 0 };
    ret->child = mem_alloc_array(count, sizeof *ret->child);
    ret->text = mem_alloc_array(count * (FIELDS + 1), sizeof *ret->text);
    ret->field = mem_alloc_array(count * FIELDS, sizeof *ret->field);
    for (size_t i = 0; i < count; i++) {
        const struct batch_info *b = &batch[i];
        if (b->other_dataset)
            continue;
        struct queue_field *field = &ret->field[ret->count * FIELDS];
        field[0] = (struct queue_field){ "status_aep", keep(ret, mem_copy_text(b->status)) };
        field[1] =
            (struct queue_field){ "class_aep", keep(ret, mem_print("%d", (int)b->class)) };
        field[2] = (struct queue_field){ "records",
                                         keep(ret, mem_print("%" PRId64, b->output_records)) };
        field[3] =
            (struct queue_field){ "updated_aep", keep(ret, mem_print("%" PRId64, b->updated)) };
        ret->child[ret->count++] = (struct queue_child){
            .kind = QUEUE_BATCH,
            .id = keep(ret, mem_print("b/%s/%s", scope, b->id)),
            .lane = lane,
            .order = b->created,
            .field = field,
            .fields = FIELDS,
        };
    }
}

void discover_free(struct discovered *discovered)
{
    for (size_t i = 0; i < discovered->texts; i++)
        mem_free(discovered->text[i]);
    mem_free(discovered->text);
    mem_free(discovered->field);
    mem_free(discovered->child);
    *discovered = (struct discovered){ 0 };
}
