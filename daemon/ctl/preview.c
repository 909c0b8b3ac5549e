/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl preview: the first rows of a dataset. Data Access' own preview does it for CSV and
 * Parquet; where it does not, the head of the first file of the last readable batch is read:
 * whole lines of text are shown, of Parquet what its two ends say.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/ctl/lookup.h"
#include "daemon/ctl/preview.h"
#include "daemon/ctl/table.h"

#define ROWS     10
#define ROWS_MAX 100 /* more Data Access does not give */

static int preview_run(struct ctl *ctl);

const struct ctl_command ctl_preview = {
    .name = "preview",
    .arguments = "DATASET [--limit N]",
    .words_min = 1,
    .words_max = 1,
    .flags = CTL_LIMIT,
    .run = preview_run,
    .help = "      the first rows of a dataset (10, at most 100)\n",
};

/* ---- rows of Data Access */

static void write_value(struct buf *out, const struct json_t *value)
{
    if (json_is_string(value))
        buf_add_text(out, json_text(value));
    else
        json_write(out, value);
}

/* A column per line: values may be whole documents, and rows may have hundreds of them. */
static void show_row(struct table *table, const struct json_t *row, size_t number)
{
    AUTO_BUF text = BUF_INIT(1 << 20);
    if (table->json) {
        table_raw(table, row, "");
        return;
    }
    buf_print(&text, "row %zu", number);
    table_raw(table, row, buf_text(&text));
    for (struct json_iter it = json_iter(row); json_iter_next(&it);) {
        buf_clear(&text);
        buf_print(&text, "  %s: ", it.name);
        write_value(&text, it.value);
        table_raw(table, it.value, buf_text(&text));
    }
}

static int show_rows(struct table *table, const struct json_t *rows, uint64_t limit)
{
    table_text(table, "source", "source", "Data Access preview");
    table_list(table, "rows", NULL, NULL, 0);
    for (size_t i = 0; i < json_count(rows) && i < limit; i++)
        show_row(table, json_element(rows, i), i + 1);
    table_list_end(table);
    return EX_OK;
}

/* ---- the command */

/* Whether reading a file instead makes sense. */
static bool has_no_preview(const struct fault *fault)
{
    return fault->code == ERR_NOT_FOUND || fault->code == ERR_SERVER ||
           fault->code == ERR_BAD_RESPONSE || fault->code == ERR_REQUEST ||
           fault->http_status >= 500;
}

static int look(struct ask *ask, struct table *table, const char *id, uint64_t limit)
{
    AUTO_JSON *root = NULL, *dataset = NULL;
    const struct json_t *object;
    AUTO_TEXT char *path = mem_print("/data/foundation/export/datasets/%s/preview", id);
    int code = lookup_dataset(ask, id, "name,fileDescription", &dataset, &object);
    if (code != EX_OK)
        return code;
    ask->once = true;
    enum err err = ask_json(ask, AEP_LISTING, NULL, path, &root);
    ask->once = false;
    const struct json_t *rows = json_member(root, "data");
    if (!err && json_is_array(rows))
        return show_rows(table, rows, limit);
    if (err && !has_no_preview(&ask->fault))
        return ask_refuse(ask, "preview");
    AUTO_TEXT char *why = mem_copy_text(err ? ask->fault.text : "the answer has no data");
    return preview_file(ask, table, id, why, limit);
}

static int preview_run(struct ctl *ctl)
{
    struct ask ask;
    uint64_t limit = ROWS;
    const char *id = ask_dataset(ctl, ctl->word[0]);
    if (!id)
        return ask_no_dataset(ctl, ctl->word[0]);
    int code = lookup_number(ctl, "--limit", ctl->limit, ROWS_MAX, &limit);
    if (code != EX_OK)
        return code;
    struct table *table = table_new(ctl);
    code = ask_init(&ask, ctl, false);
    if (code == EX_OK)
        code = look(&ask, table, id, limit);
    ask_release(&ask);
    return table_end(table, code);
}
