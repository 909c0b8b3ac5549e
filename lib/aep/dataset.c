/* SPDX-License-Identifier: Apache-2.0 */
/* Datasets and their last batches, as Catalog shows them. Pure. */
#include "lib/aep/dataset.h"

#include <string.h>

#define TIME_MAX 253402300799999 /* ms: the end of the year 9999 */

/* NULL for "" as well: Catalog says both where nothing is known. */
static const char *text_of(const struct json_t *object, const char *name)
{
    const char *text = json_member_text(object, name);
    return text && text[0] ? text : NULL;
}

static const char *either(const char *text, const char *otherwise)
{
    return text ? text : otherwise;
}

static int64_t number_or(const struct json_t *object, const char *name, int64_t otherwise)
{
    uint64_t value;
    return json_member_u64(object, name, INT64_MAX, &value) ? otherwise : (int64_t)value;
}

/* Times become texts: what no calendar can show is not said. */
static int64_t time_of(const struct json_t *object, const char *name)
{
    int64_t at = number_or(object, name, 0);
    return at <= TIME_MAX ? at : 0;
}

const char *dataset_tag(const struct json_t *tags, const char *name)
{
    const struct json_t *value = json_member(tags, name);
    return json_is_array(value) ? json_text(json_element(value, 0)) : json_text(value);
}

static void read_description(const struct json_t *object, struct dataset_info *ret)
{
    const struct json_t *file = json_member(object, "fileDescription");
    const struct json_t *schema = json_member(object, "schemaRef");
    const struct json_t *class = json_member(object, "classification");
    ret->format = either(text_of(file, "format"), text_of(file, "containerFormat"));
    ret->schema_id = text_of(schema, "id");
    ret->schema_type = text_of(schema, "contentType");
    ret->schema_link = text_of(object, "schema");
    ret->behaviour = text_of(class, "dataBehavior");
    ret->managed_by = text_of(class, "managedBy");
}

static void read_lake(const struct json_t *object, struct dataset_info *ret)
{
    const struct json_t *lake =
        json_member(json_member(object, "extensions"), "adobe_lakeHouse");
    const struct json_t *metrics = json_member(lake, "metrics");
    ret->row_expiration = text_of(json_member(lake, "rowExpiration"), "ttlValue");
    ret->rows = number_or(metrics, "rowCount", -1);
    ret->bytes = number_or(metrics, "storageSize", -1);
    ret->table = dataset_tag(ret->tags, "adobe/siphon/table/format");
    ret->sql_name = dataset_tag(ret->tags, "adobe/pqs/table");
}

bool dataset_read_last(const struct json_t *row, struct dataset_info *info)
{
    info->last_batch = text_of(row, "lastBatchId");
    info->last_status = text_of(row, "lastBatchStatus");
    info->last_success =
        either(text_of(row, "lastSuccessfulBatchId"), text_of(row, "lastSuccessfulBatch"));
    info->last_failed =
        either(text_of(row, "lastFailedBatchId"), text_of(row, "lastFailedBatch"));
    return info->last_batch || info->last_success || info->last_failed;
}

void dataset_read(const char *id, const struct json_t *object, struct dataset_info *ret)
{
    *ret = (struct dataset_info){
        .id = id,
        .name = text_of(object, "name"),
        .description = text_of(object, "description"),
        .state = text_of(object, "state"),
        .created = time_of(object, "created"),
        .updated = time_of(object, "updated"),
        .tags = json_member(object, "tags"),
    };
    read_description(object, ret);
    read_lake(object, ret);
    dataset_read_last(object, ret);
}

const struct json_t *dataset_of_answer(const struct json_t *root, const char *id)
{
    const struct json_t *member = json_member(root, id);
    if (json_is_object(member))
        return member;
    const char *inner = json_member_text(root, "id"); /* shown without the outer braces */
    return inner && strcmp(inner, id) == 0 ? root : NULL;
}
