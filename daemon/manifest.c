/* SPDX-License-Identifier: Apache-2.0 */
/* The commit record of a batch. */
#include "daemon/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/json.h"

#define MANIFEST_VERSION 1

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
    buf_add_text(out, rows ? "\n],\"sluice\":{\"batch\":" : "],\"sluice\":{\"batch\":");
    write_text(out, head->batch);
    buf_print(out, ",\"bytes\":%" PRId64 ",\"created\":%" PRId64 ",\"dataset\":", bytes,
              head->created);
    write_text(out, head->dataset);
    buf_print(out, ",\"files\":%zu,\"generation\":%" PRId64 ",\"sandbox\":", rows,
              head->generation > 1 ? head->generation : 1);
    write_text(out, head->sandbox);
    buf_print(out, ",\"version\":%d}}\n", MANIFEST_VERSION);
    *ret_bytes = bytes;
    return OK;
}
