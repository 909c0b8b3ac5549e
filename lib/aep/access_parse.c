/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One page of a file listing, in any of the three shapes. A row that cannot be understood
 * refuses the page: a file left out silently would be a gap in the copy. Pure.
 */
#include "lib/aep/access.h"

#include <string.h>

#define PAGE_MAX (16 * 1024 * 1024)

static enum err parse_rows(const struct json_t *rows, const char *file_id,
                           struct access_file *files, struct fault *fault);
static void find_next(const struct json_t *root, struct buf *next);

enum err access_parse_page(const char *body, size_t len, const char *file_id,
                           struct access_file **ret_files, size_t *ret_count, struct buf *next,
                           struct fault *fault)
{
    AUTO_JSON *root = NULL;
    enum err err = json_parse(body, len, PAGE_MAX, &root, fault);
    if (err)
        return err;
    const struct json_t *rows = json_is_array(root) ? root : json_member(root, "data");
    if (!json_is_array(rows))
        return fault_set(fault, ERR_BAD_RESPONSE, "Data Access: listing without data");
    size_t count = json_count(rows);
    struct access_file *files = mem_alloc_array(count, sizeof *files);
    err = parse_rows(rows, file_id, files, fault);
    if (err) {
        access_files_free(files, count);
        return err;
    }
    find_next(root, next);
    *ret_files = files;
    *ret_count = count;
    return OK;
}

void access_files_free(struct access_file *files, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mem_free(files[i].id);
        mem_free(files[i].name);
    }
    mem_free(files);
}

static enum err parse_dataset_file(const struct json_t *row, struct access_file *file,
                                   struct fault *fault)
{
    const char *id = json_member_text(row, "dataSetFileId");
    if (!id || !catalog_id_valid(id))
        return fault_set(
            fault, ERR_BAD_RESPONSE,
            "Data Access: row with neither a file name nor a usable dataSetFileId");
    file->id = mem_copy_text(id);
    return OK;
}

static enum err parse_file(const struct json_t *row, const char *file_id, const char *name,
                           struct access_file *file, struct fault *fault)
{
    uint64_t length;
    if (name[0] == 0 || strlen(name) > ACCESS_NAME_MAX)
        return fault_set(fault, ERR_BAD_RESPONSE, "Data Access: file name of %zu bytes",
                         strlen(name));
    if (json_member_u64(row, "length", INT64_MAX, &length))
        return fault_set(fault, ERR_BAD_RESPONSE,
                         "Data Access: file %.80s has no usable length", name);
    file->id = mem_copy_text(file_id);
    file->name = mem_copy_text(name);
    file->length = (int64_t)length;
    return OK;
}

static enum err parse_rows(const struct json_t *rows, const char *file_id,
                           struct access_file *files, struct fault *fault)
{
    for (size_t i = 0; i < json_count(rows); i++) {
        const struct json_t *row = json_element(rows, i);
        const char *name = json_member_text(row, "name");
        enum err err = file_id && name ? parse_file(row, file_id, name, &files[i], fault)
                                       : parse_dataset_file(row, &files[i], fault);
        if (err)
            return err;
    }
    return OK;
}

/* Host and path of the link are not even looked at. */
static void find_next(const struct json_t *root, struct buf *next)
{
    const char *href =
        json_member_text(json_member(json_member(root, "_links"), "next"), "href");
    const char *query = href ? strchr(href, '?') : NULL;
    if (query)
        buf_add(next, query + 1, strcspn(query + 1, "#"));
}
