/* SPDX-License-Identifier: Apache-2.0 */
/* What a file's task says. */
#include "daemon/file_plan.h"

#include <inttypes.h>
#include <string.h>

#include "daemon/manifest.h"
#include "daemon/parts.h"
#include "daemon/pool.h"
#include "lib/base/encode.h"
#include "lib/s3/key.h"

static void make_source(struct file_plan *plan)
{
    uint8_t digest[SHA256_SIZE];
    AUTO_BUF text = BUF_INIT(1 << 20);
    buf_print(&text, "%s\n%s\n%" PRId64, plan->file_id, plan->name, plan->length);
    digest_sha256(text.data, text.len, digest);
    encode_hex(digest, sizeof digest, plan->source);
}

static void make_key(const struct core *core, const struct dataset_settings *dataset,
                     const struct queue_task *task, struct file_plan *plan)
{
    struct buf key = BUF_INIT(S3_KEY_MAX * 4);
    const char *slash = task->parent ? strrchr(task->parent, '/') : NULL;
    key_build(dataset->key,
              &(struct key_values){ .prefix = core->settings->s3.prefix,
                                    .dataset = dataset->as,
                                    .dataset_id = dataset->id,
                                    .batch = slash ? slash + 1 : "",
                                    .file_id = plan->file_id,
                                    .name = plan->name,
                                    .created = { task->order },
                                    .generation = queue_id_generation(task->id) },
              &key);
    plan->key = buf_take(&key);
}

enum err file_plan_read(const struct core *core, const struct queue_task *task,
                        struct file_plan *ret, struct fault *fault)
{
    const struct settings *settings = core->settings;
    const struct dataset_settings *dataset = settings_dataset(settings, task->dataset);
    struct file_plan plan = { .file_id = queue_task_get(task, "file_id"),
                              .name = queue_task_get(task, "name"),
                              .length = queue_task_int(task, "length", -1) };
    if (!dataset) /* a reload took it away: it is put back for others */
        return fault_set(fault, ERR_CANCELLED, "dataset %s is not configured here",
                         task->dataset);
    if (!plan.file_id || !plan.name || plan.length < 0)
        return fault_set(fault, ERR_BUG, "task lacks file_id, name or length");
    /* An upload that was begun keeps its part size, whatever the settings are now. */
    int64_t wanted = queue_task_int(task, "part_size", settings->transfer.part_bytes);
    if (parts_size(plan.length, wanted, settings->transfer.memory_bytes / 2, &plan.part_size))
        return fault_set(fault, ERR_MEMORY,
                         "%" PRId64 " bytes need larger parts: raise transfer.memory",
                         plan.length);
    plan.form = content_form(plan.name, plan.length, (enum content_check)dataset->check);
    make_source(&plan);
    make_key(core, dataset, task, &plan);
    *ret = plan;
    return OK;
}

void file_plan_row(const struct core *core, const struct file_plan *plan, uint32_t crc32c,
                   struct buf *out)
{
    manifest_row(&(struct manifest_file){ .bucket = core->settings->s3.bucket,
                                          .key = plan->key,
                                          .file_id = plan->file_id,
                                          .name = plan->name,
                                          .size = plan->length,
                                          .crc32c = crc32c },
                 out);
}

void file_plan_release(struct file_plan *plan)
{
    mem_free(plan->key);
    plan->key = NULL;
}

int64_t file_plan_memory(const struct core *core, const struct queue_task *task)
{
    int64_t part = core->settings->transfer.part_bytes;
    int64_t length = queue_task_int(task, "length", 0);
    if (task->kind != QUEUE_FILE || length < 0)
        return 0;
    return (int64_t)pool_cost((size_t)(length < part ? length : part));
}
