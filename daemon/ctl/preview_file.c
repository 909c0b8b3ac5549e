/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of a file, by ranged reads: 256 KiB from the front; of Parquet the last 8 bytes, too,
 * which say how long the footer is. Its rows and columns are compressed Thrift, which nobody
 * should take apart for a look.
 */
#include "daemon/ctl/preview.h"

#include <string.h>

#include "lib/aep/access.h"

#define HEAD_MAX  (256 * 1024)
#define STALL_MS  30000
#define DEPTH_MAX 4
#define MAGIC     "PAR1"

struct reading {
    struct ctl *ctl;
    struct ask *ask;
    struct access_list list;
    struct access_read read;
    struct buf bytes;
    char *id, *name; /* the first file with bytes, or a dataset file to look into (no name) */
    int64_t length;
    bool over;
};

/* ---- the first file */

static void take_file(struct reading *reading, const struct access_file *file)
{
    bool better = !reading->id || (file->name && !reading->name);
    if (!better || (file->name && file->length == 0))
        return;
    mem_set_text(&reading->id, file->id);
    mem_set_text(&reading->name, file->name);
    reading->length = file->length;
}

static void on_page(struct access_list *list)
{
    struct reading *reading = container_of(list, struct reading, list);
    for (size_t i = 0; i < list->count; i++)
        take_file(reading, &list->files[i]);
    if (reading->id)
        access_list_cancel(list);
}

static void on_listed(struct access_list *list)
{
    struct reading *reading = container_of(list, struct reading, list);
    reading->over = true;
    loop_stop(reading->ctl->loop);
}

static void wait(struct reading *reading)
{
    while (!reading->over)
        loop_run(reading->ctl->loop);
    reading->over = false;
}

static enum err list(struct reading *reading, const char *batch, const char *file_id)
{
    reading->list = (struct access_list){
        .batch = batch, .file_id = file_id, .page = on_page, .done = on_listed
    };
    access_list_start(reading->ask->clients.aep, &reading->list);
    wait(reading);
    reading->ask->fault = reading->list.fault;
    if (reading->ask->fault.code == ERR_CANCELLED)
        reading->ask->fault.code = OK; /* by ourselves: enough was seen */
    access_list_release(&reading->list);
    return reading->ask->fault.code;
}

/* OK without a name: the batch holds no bytes. */
static enum err find_file(struct reading *reading, const char *batch)
{
    enum err err = list(reading, batch, NULL);
    for (int depth = 0; !err && reading->id && !reading->name && depth < DEPTH_MAX; depth++) {
        AUTO_TEXT char *directory = reading->id;
        reading->id = NULL;
        err = list(reading, batch, directory);
    }
    return err;
}

/* ---- bytes */

static enum http_data on_bytes(struct access_read *read, const void *bytes, size_t len)
{
    struct reading *reading = container_of(read, struct reading, read);
    buf_add(&reading->bytes, bytes, len);
    return HTTP_TAKEN;
}

static void on_read(struct access_read *read)
{
    struct reading *reading = container_of(read, struct reading, read);
    reading->over = true;
    loop_stop(reading->ctl->loop);
}

static enum err read_bytes(struct reading *reading, int64_t first, int64_t last)
{
    buf_release(&reading->bytes);
    buf_init(&reading->bytes, HEAD_MAX);
    reading->read = (struct access_read){ .file_id = reading->id,
                                          .name = reading->name,
                                          .first = first,
                                          .last = last,
                                          .length = reading->length,
                                          .stall_ms = STALL_MS,
                                          .data = on_bytes,
                                          .done = on_read };
    access_read_start(reading->ask->clients.aep, &reading->read);
    wait(reading);
    reading->ask->fault = reading->read.fault;
    access_read_release(&reading->read);
    return reading->ask->fault.code;
}

/* ---- what they say */

/* Whole lines only; the last one is whole if the file ends there. */
static void show_lines(struct table *table, const struct reading *reading, uint64_t limit)
{
    const char *text = buf_text(&reading->bytes);
    bool complete = (int64_t)reading->bytes.len == reading->length;
    static const struct table_column column[] = { { "line", "LINE", TABLE_TEXT } };
    table_list(table, "lines", NULL, column, 1);
    for (uint64_t shown = 0; *text && shown < limit; shown++) {
        size_t len = strcspn(text, "\r\n");
        if (!text[len] && !complete)
            break;
        AUTO_TEXT char *line = mem_copy_bytes(text, len);
        table_row(table, &(struct table_cell){ .text = line });
        text += len;
        text += *text == '\r';
        text += *text == '\n';
    }
    table_list_end(table);
}

static bool is_text(const struct buf *bytes)
{
    return memchr(buf_text(bytes), 0, bytes->len) == NULL;
}

static int show_parquet(struct table *table, struct reading *reading)
{
    if (read_bytes(reading, reading->length - 8, reading->length - 1))
        return ask_refuse(reading->ask, reading->name);
    const uint8_t *end = (const uint8_t *)reading->bytes.data;
    bool sound = reading->bytes.len == 8 && memcmp(end + 4, MAGIC, 4) == 0;
    uint32_t footer =
        sound ? end[0] | (uint32_t)end[1] << 8 | (uint32_t)end[2] << 16 | (uint32_t)end[3] << 24
              : 0;
    sound = sound && (int64_t)footer + 12 <= reading->length;
    table_text(table, "format", "format",
               sound ? "Parquet" : "begins like Parquet, but its end is not one");
    table_number(table, "footer_bytes", "footer", sound ? (int64_t)footer : -1);
    table_note(table, "rows are not shown: they are compressed columns, and Data Access has no "
                      "preview of them");
    return sound ? EX_OK : 1;
}

static int show(struct table *table, struct reading *reading, const char *batch,
                const char *why, uint64_t limit)
{
    int64_t last = reading->length < HEAD_MAX ? reading->length - 1 : HEAD_MAX - 1;
    if (read_bytes(reading, 0, last))
        return ask_refuse(reading->ask, reading->name);
    table_text(table, "source", "source", "the first file of the last batch");
    table_text(table, "preview", "no preview", why);
    table_text(table, "batch", "batch", batch);
    table_text(table, "file_id", "file", reading->id);
    table_text(table, "name", "name", reading->name);
    table_number(table, "length", "bytes", reading->length);
    const struct buf *bytes = &reading->bytes;
    if (reading->length >= 12 && bytes->len > 4 && memcmp(bytes->data, MAGIC, 4) == 0)
        return show_parquet(table, reading);
    if (is_text(bytes))
        show_lines(table, reading, limit);
    else
        table_text(table, "format", "format", "neither text nor Parquet: rows are not shown");
    return EX_OK;
}

/* ---- which file */

/* The newest batch that may be read; its id is the caller's. */
static char *last_readable(struct ask *ask, const char *dataset)
{
    AUTO_JSON *root = NULL;
    AUTO_TEXT char *path = mem_print("/data/foundation/catalog/batches?dataSet=%s"
                                     "&status=success,active&orderBy=desc:created&limit=20",
                                     dataset);
    AUTO_BUF text = BUF_INIT(ASK_JSON_MAX);
    struct batch_info *batches = NULL;
    size_t count = 0;
    char *id = NULL;
    if (ask_json(ask, AEP_CATALOG, NULL, path, &root))
        return NULL;
    json_write(&text, root);
    if (catalog_parse_batches(buf_text(&text), text.len, dataset, &batches, &count,
                              &ask->fault))
        return NULL;
    for (size_t i = count; i-- > 0 && !id;)
        if (batches[i].state == BATCH_READABLE && batches[i].class != BATCH_SUB &&
            batches[i].output_files != 0)
            id = mem_copy_text(batches[i].id);
    mem_free(batches);
    if (!id)
        fault_set(&ask->fault, ERR_NOT_FOUND, "no batch with files among the last 20");
    return id;
}

int preview_file(struct ask *ask, struct table *table, const char *dataset, const char *why,
                 uint64_t limit)
{
    struct reading reading = { .ctl = ask->ctl, .ask = ask };
    AUTO_TEXT char *batch = last_readable(ask, dataset);
    if (!batch)
        return ask_refuse(ask, "there is no preview, and no file to read");
    int code;
    if (find_file(&reading, batch))
        code = ask_refuse(ask, batch);
    else if (!reading.name)
        code = ctl_refuse(ask->ctl, EX_NOINPUT, "batch %s, the last one, has no bytes", batch);
    else
        code = show(table, &reading, batch, why, limit);
    buf_release(&reading.bytes);
    mem_free(reading.id);
    mem_free(reading.name);
    return code;
}
