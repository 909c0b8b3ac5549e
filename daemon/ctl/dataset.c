/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl dataset: one dataset as Catalog describes it, with the part of its tags that says how
 * its files look, and its last batch.
 */
#include <inttypes.h>
#include <string.h>

#include "daemon/ctl/ask.h"
#include "daemon/ctl/lookup.h"
#include "daemon/ctl/table.h"

static int dataset_run(struct ctl *ctl);

const struct ctl_command ctl_dataset = {
    .name = "dataset",
    .arguments = "DATASET",
    .words_min = 1,
    .words_max = 1,
    .run = dataset_run,
    .help = "      format, schema, tags, expiration and last batch of a dataset\n",
};

/* Tags that say something about files, partitions or uses; the others are Adobe's own notes. */
static const char *const tag[] = {
    "adobe/siphon/table/format",
    "adobe/siphon/partition/definition",
    "aep/siphon/partitions",
    "adobe/pqs/table",
    "unifiedProfile",
    "unifiedIdentity",
    "acp_granular_plugin_validation_flags",
};

static const struct table_column column[] = {
    { "name", "TAG", TABLE_TEXT },
    { "value", "VALUE", TABLE_TEXT },
};

/* All values of a tag: an array of text, or the odd bare value. */
static void show_tag(struct table *table, const char *name, const struct json_t *value)
{
    AUTO_BUF text = BUF_INIT(4000);
    for (size_t i = 0; json_is_array(value) && i < json_count(value); i++) {
        const char *one = json_text(json_element(value, i));
        buf_print(&text, "%s%s", i ? ", " : "", one ? one : "?");
    }
    if (json_is_string(value))
        buf_add_text(&text, json_text(value));
    else if (!json_is_array(value))
        json_write(&text, value);
    table_row(table, (const struct table_cell[]){
                         { .text = name }, { .text = text.len ? buf_text(&text) : NULL } });
}

static void show_tags(struct table *table, const struct json_t *tags)
{
    bool headed = false;
    for (size_t i = 0; i < sizeof tag / sizeof *tag; i++) {
        const struct json_t *value = json_member(tags, tag[i]);
        if (!value)
            continue;
        if (!headed)
            table_list(table, "tags", "tags that matter to readers", column, 2);
        headed = true;
        show_tag(table, tag[i], value);
    }
    if (headed)
        table_list_end(table);
}

static void show_file_description(struct table *table, const struct json_t *object)
{
    const struct json_t *file = json_member(object, "fileDescription");
    AUTO_BUF text = BUF_INIT(64 * 1024);
    if (!file)
        return;
    json_write(&text, file);
    table_text(table, "file_description", "file description", buf_text(&text));
}

static void show(struct table *table, const struct dataset_info *info,
                 const struct json_t *object, const struct lookup_last *last)
{
    table_text(table, "id", "dataset", info->id);
    table_text(table, "name", "name", info->name);
    table_text(table, "description", "description", info->description);
    table_text(table, "state", "state", info->state);
    table_text(table, "format", "format", info->format);
    table_text(table, "table_format", "table format", info->table);
    show_file_description(table, object);
    table_text(table, "behaviour", "behaviour", info->behaviour);
    table_text(table, "managed_by", "managed by", info->managed_by);
    table_text(table, "sql_name", "SQL name", info->sql_name);
    table_text(table, "schema", "schema", info->schema_id);
    table_text(table, "schema_type", "schema type", info->schema_type);
    table_text(table, "schema_link", "schema (old)", info->schema_link);
    table_text(table, "row_expiration", "rows expire", info->row_expiration);
    table_number(table, "rows", "rows", info->rows);
    table_number(table, "bytes", "bytes", info->bytes);
    table_time(table, "created", "created", info->created);
    table_time(table, "updated", "updated", info->updated);
    table_text(table, "last_batch", "last batch", last->batch);
    table_text(table, "last_status", "its status", last->status);
    table_text(table, "last_success", "last successful", last->success);
    table_text(table, "last_failed", "last failed", last->failed);
    show_tags(table, info->tags);
}

static int dataset_run(struct ctl *ctl)
{
    struct ask ask;
    struct dataset_info info;
    struct lookup_last last = { 0 };
    AUTO_JSON *root = NULL;
    const char *id = ask_dataset(ctl, ctl->word[0]);
    if (!id)
        return ask_no_dataset(ctl, ctl->word[0]);
    struct table *table = table_new(ctl);
    int code = ask_init(&ask, ctl, false);
    const struct json_t *object = NULL;
    if (code == EX_OK)
        code = lookup_dataset(&ask, id, NULL, &root, &object);
    if (code == EX_OK)
        code = lookup_last(&ask, id, &last);
    if (code == EX_OK) {
        dataset_read(id, object, &info);
        show(table, &info, object, &last);
    }
    lookup_last_release(&last);
    ask_release(&ask);
    return table_end(table, code);
}
