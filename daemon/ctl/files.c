/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl files: the physical files of a batch, page by page as Data Access lists them. Of a
 * batch that failed: its errors, the files that are kept of it, and the first rows that were
 * refused.
 */
#include <string.h>

#include "daemon/ctl/batches.h"
#include "lib/aep/access.h"
#include "lib/aep/diagnose.h"

#define DIRECTORIES_MAX 100000
#define DEPTH_MAX       4
#define SAMPLE_ROWS     5

/* Dataset files that have not been listed yet, in the order in which they were met. */
struct directory {
    struct list_node node;
    char *id;
    int depth;
};

struct files {
    struct ctl *ctl;
    struct ask ask;
    struct table *table;
    struct list waiting;
    struct access_list list;
    int depth; /* of what is being listed */
    size_t count, directories;
    int64_t bytes;
    bool over;
    char *sample; /* the first file of error rows */
};

static int files_run(struct ctl *ctl);

const struct ctl_command ctl_files = {
    .name = "files",
    .arguments = "BATCH",
    .words_min = 1,
    .words_max = 1,
    .run = files_run,
    .help = "      the files of a batch; of a failed one its errors and what is kept of it\n",
};

static const struct table_column file_column[] = {
    { "file_id", "FILE", TABLE_TEXT },
    { "length", "BYTES", TABLE_NUMBER },
    { "name", "NAME", TABLE_TEXT },
};
static const struct table_column error_column[] = {
    { "code", "CODE", TABLE_TEXT },
    { "records", "RECORDS", TABLE_NUMBER },
    { "text", "ERROR", TABLE_TEXT },
};
static const struct table_column kept_column[] = {
    { "kind", "KEPT", TABLE_TEXT },
    { "length", "BYTES", TABLE_NUMBER },
    { "path", "PATH", TABLE_TEXT },
};
static const struct table_column row_column[] = {
    { "code", "CODE", TABLE_TEXT },
    { "file", "FILE", TABLE_TEXT },
    { "text", "ROW ERROR", TABLE_TEXT },
};

/* ---- the listing of a readable batch */

static void on_page(struct access_list *list)
{
    struct files *run = container_of(list, struct files, list);
    for (size_t i = 0; i < list->count; i++) {
        struct access_file *file = &list->files[i];
        if (!file->name && run->directories < DIRECTORIES_MAX) {
            struct directory *directory = mem_alloc(sizeof *directory);
            directory->id = mem_copy_text(file->id);
            directory->depth = run->depth + 1;
            run->directories++;
            list_push(&run->waiting, &directory->node);
        } else if (file->name) {
            run->count++;
            run->bytes += file->length;
            table_row(run->table, (const struct table_cell[]){ { .text = file->id },
                                                               { .number = file->length },
                                                               { .text = file->name } });
        }
        mem_free(file->id); /* taken, so that pages do not add up */
        mem_free(file->name);
        *file = (struct access_file){ .id = NULL };
    }
}

static void on_listed(struct access_list *list)
{
    struct files *run = container_of(list, struct files, list);
    run->over = true;
    loop_stop(run->ctl->loop);
}

static enum err list_one(struct files *run, const char *batch, const char *file_id)
{
    run->list = (struct access_list){
        .batch = batch, .file_id = file_id, .page = on_page, .done = on_listed
    };
    run->over = false;
    access_list_start(run->ask.clients.aep, &run->list);
    while (!run->over)
        loop_run(run->ctl->loop);
    run->ask.fault = run->list.fault;
    access_list_release(&run->list);
    return run->ask.fault.code;
}

static enum err list_directories(struct files *run, const char *batch)
{
    enum err err = OK;
    struct list_node *node;
    while ((node = list_pop(&run->waiting))) {
        struct directory *directory = container_of(node, struct directory, node);
        run->depth = directory->depth;
        if (!err && directory->depth > DEPTH_MAX)
            err = fault_set(&run->ask.fault, ERR_BAD_RESPONSE,
                            "Data Access: dataset files nested deeper than %d", DEPTH_MAX);
        if (!err)
            err = list_one(run, batch, directory->id);
        mem_free(directory->id);
        mem_free(directory);
    }
    return err;
}

static int list_files(struct files *run, const char *batch)
{
    table_list(run->table, "files", "", file_column, 3);
    enum err err = list_one(run, batch, NULL);
    if (!err)
        err = list_directories(run, batch);
    table_list_end(run->table);
    table_number(run->table, "count", "files", (int64_t)run->count);
    table_number(run->table, "bytes", "bytes", run->bytes);
    table_number(run->table, "dataset_files", "dataset files", (int64_t)run->directories);
    return err ? ask_refuse(&run->ask, "the list is not complete") : EX_OK;
}

/* ---- a batch that failed */

static void show_errors(struct files *run, const struct json_t *object)
{
    size_t count = diagnose_error_count(object);
    table_list(run->table, "errors", count ? "" : NULL, error_column, 3);
    for (size_t i = 0; i < count; i++) {
        struct diagnose_error error;
        diagnose_read_error(object, i, &error);
        table_row(run->table, (const struct table_cell[]){ { .text = error.code },
                                                           { .number = error.records },
                                                           { .text = error.text } });
    }
    table_list_end(run->table);
}

static void show_kept(struct files *run, const char *kind, const struct diagnose_entry *entry)
{
    table_row(run->table, (const struct table_cell[]){ { .text = kind },
                                                       { .number = entry->length },
                                                       { .text = entry->path } });
}

static bool on_failed(void *owner, const struct diagnose_entry *entry)
{
    show_kept(owner, "failed", entry);
    return true;
}

static bool on_meta(void *owner, const struct diagnose_entry *entry)
{
    struct files *run = owner;
    show_kept(run, "meta", entry);
    if (!run->sample && entry->length != 0 && strncmp(entry->path, "row_errors", 10) == 0)
        run->sample = mem_copy_text(entry->path);
    return true;
}

static int list_kept(struct files *run, const char *batch)
{
    table_list(run->table, "kept", "", kept_column, 3);
    enum err failed = quarantine_walk(&run->ask, batch, "failed", run, on_failed);
    int code =
        failed && failed != ERR_NOT_FOUND ? ask_refuse(&run->ask, "failed files") : EX_OK;
    enum err meta = quarantine_walk(&run->ask, batch, "meta", run, on_meta);
    if (meta && meta != ERR_NOT_FOUND)
        code = ask_refuse(&run->ask, "diagnostics");
    table_list_end(run->table);
    if (failed == ERR_NOT_FOUND && meta == ERR_NOT_FOUND)
        table_note(run->table, "Data Access keeps nothing of it; diagnostics live for 30 days");
    return code;
}

/* One line of JSON each. */
static void show_lines(struct files *run, const char *text)
{
    for (int shown = 0; *text && shown < SAMPLE_ROWS;) {
        AUTO_JSON *row = NULL;
        struct fault ignored = { 0 };
        struct diagnose_error error;
        const char *file = NULL;
        size_t len = strcspn(text, "\n");
        if (json_parse(text, len, ASK_JSON_MAX, &row, &ignored) == OK &&
            diagnose_read_row(row, &error, &file)) {
            shown++;
            table_row(run->table, (const struct table_cell[]){ { .text = error.code },
                                                               { .text = file },
                                                               { .text = error.text } });
        }
        text += len + (text[len] == '\n');
    }
}

static int show_rows(struct files *run, const char *batch)
{
    AUTO_BUF body = BUF_INIT(0);
    if (!run->sample)
        return EX_OK;
    AUTO_TEXT char *path = quarantine_path(batch, "meta", run->sample);
    if (ask_bytes(&run->ask, path, &body))
        return ask_refuse(&run->ask, run->sample);
    table_list(run->table, "rows", "", row_column, 3);
    show_lines(run, buf_text(&body));
    table_list_end(run->table);
    return EX_OK;
}

/* ---- the command */

static void show_batch(struct files *run, const struct batch_info *info,
                       const struct diagnose_counts *counts)
{
    table_text(run->table, "batch", "batch", info->id);
    table_text(run->table, "status", "status", info->status);
    table_time(run->table, "created", "created", info->created);
    table_number(run->table, "records", "records", counts->records);
    table_number(run->table, "failed_records", "failed records", counts->failed);
}

static int look(struct files *run, const char *batch)
{
    AUTO_JSON *root = NULL;
    const struct json_t *object = NULL;
    struct batch_info info = { .created = 0 };
    struct diagnose_counts counts;
    int code = lookup_batch(&run->ask, batch, &info, &root, &object);
    if (code != EX_OK)
        return code;
    diagnose_read_counts(object, &counts);
    show_batch(run, &info, &counts);
    if (diagnose_error_count(object) > 0 || info.state == BATCH_FAILED)
        show_errors(run, object);
    if (info.state == BATCH_FAILED || counts.failed > 0) {
        int kept = list_kept(run, batch), rows = show_rows(run, batch);
        code = kept ? kept : rows;
    }
    if (info.state == BATCH_FAILED)
        return code;
    int listed = list_files(run, batch);
    return listed ? listed : code;
}

static int files_run(struct ctl *ctl)
{
    struct files run = { .ctl = ctl };
    const char *batch = ctl->word[0];
    if (!catalog_id_valid(batch))
        return ctl_refuse(ctl, EX_USAGE,
                          "that is no batch id; sluicectl batches DATASET lists "
                          "them");
    list_init(&run.waiting);
    run.table = table_new(ctl);
    int code = ask_init(&run.ask, ctl, false);
    if (code == EX_OK)
        code = look(&run, batch);
    ask_release(&run.ask);
    mem_free(run.sample);
    return table_end(run.table, code);
}
