/* SPDX-License-Identifier: Apache-2.0 */
/* How what was found in a listing becomes a task. Pure. */
#include "daemon/discover.h"

#include <inttypes.h>
#include <string.h>

#include "lib/base/digest.h"
#include "lib/base/encode.h"

#define FIELDS      6
#define FILE_FIELDS 3

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
        field[4] = (struct queue_field){ "failed_records",
                                         keep(ret, mem_print("%" PRId64, b->failed_records)) };
        field[5] = (struct queue_field){ "output_files",
                                         keep(ret, mem_print("%" PRId64, b->output_files)) };
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

/* Made of what the file is: a file that is found again is the same task. */
static char *file_task_id(const char *batch, const struct access_file *file)
{
    uint8_t digest[SHA256_SIZE];
    char hex[25];
    AUTO_BUF text = BUF_INIT(1 << 16);
    buf_print(&text, "%s\n%s", file->id, file->name);
    digest_sha256(text.data, text.len, digest);
    encode_hex(digest, 12, hex);
    return mem_print("f/%s/%s", batch + strlen("b/"), hex);
}

void discover_files(const struct access_file *file, size_t count,
                    const struct queue_task *batch, struct discovered *ret)
{
    *ret = (struct discovered){ .count = count };
    ret->child = mem_alloc_array(count, sizeof *ret->child);
    ret->text = mem_alloc_array(count * 2, sizeof *ret->text);
    ret->field = mem_alloc_array(count * FILE_FIELDS, sizeof *ret->field);
    for (size_t i = 0; i < count; i++) {
        struct queue_field *field = &ret->field[i * FILE_FIELDS];
        field[0] = (struct queue_field){ "file_id", file[i].id };
        field[1] = (struct queue_field){ "name", file[i].name };
        field[2] =
            (struct queue_field){ "length", keep(ret, mem_print("%" PRId64, file[i].length)) };
        ret->child[i] = (struct queue_child){
            .kind = QUEUE_FILE,
            .id = keep(ret, file_task_id(batch->id, &file[i])),
            .lane = batch->lane,
            .order = batch->order,
            .field = field,
            .fields = FILE_FIELDS,
        };
    }
}

static bool counts(const struct batch_info *batch)
{
    return batch->state == BATCH_READABLE && batch->class != BATCH_SUB && !batch->other_dataset;
}

bool discover_is_older(const struct batch_info *batch, const struct batch_info *than)
{
    return batch->created < than->created ||
           (batch->created == than->created && strcmp(batch->id, than->id) < 0);
}

const struct batch_info *discover_newest(const struct batch_info *batch, size_t count)
{
    const struct batch_info *newest = NULL;
    for (size_t i = 0; i < count; i++)
        if (counts(&batch[i]) && (!newest || discover_is_older(newest, &batch[i])))
            newest = &batch[i];
    return newest;
}

size_t discover_drop_older(struct batch_info *batch, size_t count,
                           const struct batch_info *newest)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!newest || !counts(&batch[i]) || !discover_is_older(&batch[i], newest))
            batch[kept++] = batch[i];
    return kept;
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
