/* SPDX-License-Identifier: Apache-2.0 */
/* The commit record of a batch. */
#include "daemon/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MANIFEST_VERSION 1
#define HEAD             "],\"sluice\":" /* stands in no text: quotes are escaped there */
#define HEAD_MAX         (8 << 20)

static void write_text(struct buf *out, const char *text)
{
    json_write_text(out, text, strlen(text));
}

void manifest_row(const struct manifest_file *file, struct buf *out)
{
    buf_print(out, "%s\t%" PRId64 "\t", file->key, file->size);
    buf_print(out, "{\"mandatory\":true,\"meta\":{\"content_length\":%" PRId64 "},",
              file->size);
    buf_print(out, "\"sluice\":{\"crc32c\":\"%08" PRIx32 "\",\"file_id\":", file->crc32c);
    write_text(out, file->file_id);
    buf_add_text(out, ",\"name\":");
    write_text(out, file->name);
    buf_add_text(out, "},\"url\":");
    char *url = mem_print("s3://%s/%s", file->bucket, file->key);
    write_text(out, url);
    mem_free(url);
    buf_add_char(out, '}');
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Splits a row; NULL if it is malformed. */
static const char *row_entry(const char *row, int64_t *ret_size)
{
    const char *size = strchr(row, '\t'), *entry = size ? strchr(size + 1, '\t') : NULL;
    if (!entry || entry[1] != '{' || sscanf(size + 1, "%" SCNd64, ret_size) != 1)
        return NULL;
    return entry + 1;
}

static void write_list(struct buf *out, const char *name, const char *json)
{
    if (json && *json)
        buf_print(out, ",\"%s\":%s", name, json);
}

static void write_head(const struct manifest_head *head, size_t files, int64_t bytes,
                       struct buf *out)
{
    buf_add_text(out, "\"batch\":");
    write_text(out, head->batch);
    buf_print(out, ",\"bytes\":%" PRId64, bytes);
    write_list(out, "consolidates", head->consolidates);
    buf_print(out, ",\"created\":%" PRId64 ",\"dataset\":", head->created);
    write_text(out, head->dataset);
    if (head->failed_records > 0)
        buf_print(out, ",\"failed_records\":%" PRId64, head->failed_records);
    buf_print(out, ",\"files\":%zu,\"generation\":1", files);
    if (head->records >= 0)
        buf_print(out, ",\"records\":%" PRId64, head->records);
    write_list(out, "replaces", head->replaces);
    write_list(out, "replaces_external", head->replaces_external);
    if (head->replay_reason && *head->replay_reason) {
        buf_add_text(out, ",\"replay_reason\":");
        write_text(out, head->replay_reason);
    }
    buf_add_text(out, ",\"sandbox\":");
    write_text(out, head->sandbox);
    if (head->snapshot)
        buf_add_text(out, ",\"snapshot\":true");
    buf_print(out, ",\"version\":%d", MANIFEST_VERSION);
}

enum err manifest_build(const struct manifest_head *head, const char **row, size_t rows,
                        struct buf *out, int64_t *ret_bytes)
{
    int64_t bytes = 0, size = 0;
    if (rows)
        qsort(row, rows, sizeof *row, by_text);
    buf_add_text(out, "{\"entries\":[");
    for (size_t i = 0; i < rows; i++) {
        const char *entry = row_entry(row[i], &size);
        if (!entry)
            return ERR_BUG;
        buf_add_text(out, i ? ",\n" : "\n");
        buf_add_text(out, entry);
        bytes += size;
    }
    buf_add_text(out, rows ? "\n" HEAD "{" : HEAD "{");
    write_head(head, rows, bytes, out);
    buf_add_text(out, "}}\n");
    *ret_bytes = bytes;
    return OK;
}

char *manifest_names(const char **name, size_t count)
{
    struct buf out = BUF_INIT(HEAD_MAX);
    if (count)
        qsort(name, count, sizeof *name, by_text);
    buf_add_char(&out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && strcmp(name[i - 1], name[i]) == 0)
            continue;
        buf_add_text(&out, i ? "," : "");
        write_text(&out, name[i]);
    }
    buf_add_char(&out, ']');
    return buf_take(&out);
}

/* ---- read back */

enum err manifest_read_head(const char *end, size_t len, struct json_t **ret,
                            struct fault *fault)
{
    const char *at = memmem(end, len, HEAD, strlen(HEAD));
    const char *close = len ? memrchr(end, '}', len) : NULL; /* of the whole document */
    if (!at || !close)
        return fault_set(fault, ERR_TOO_BIG, "its head begins before these %zu bytes", len);
    at += strlen(HEAD);
    return json_parse(at, (size_t)(close - at), HEAD_MAX, ret, fault);
}

bool manifest_lists(const struct json_t *head, const char *list, const char *text)
{
    const struct json_t *names = json_member(head, list);
    for (size_t i = 0; i < json_count(names); i++) {
        const char *name = json_text(json_element(names, i));
        if (name && strcmp(name, text) == 0)
            return true;
    }
    return false;
}
