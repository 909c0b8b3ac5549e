/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests read back: members, then the whole written again and compared. */
#include "daemon/verify_manifest.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/manifest.h"

#define ROW_MAX 65536

static enum err read_members(struct verify_manifest *manifest, const char *bucket,
                             struct fault *fault);
static enum err read_entry(const struct json_t *json, const char *bucket,
                           struct verify_entry *ret, struct fault *fault);
static enum err compare(const struct verify_manifest *manifest, const char *bytes, size_t len,
                        const char *bucket, struct fault *fault);

enum err verify_manifest_read(const char *bytes, size_t len, const char *bucket,
                              struct verify_manifest *ret, struct fault *fault)
{
    struct verify_manifest manifest = { 0 };
    enum err err = json_parse(bytes, len, VERIFY_MANIFEST_MAX, &manifest.json, fault);
    if (err)
        fault->code = err = ERR_DIFFERS;
    else
        err = read_members(&manifest, bucket, fault);
    if (!err)
        err = compare(&manifest, bytes, len, bucket, fault);
    if (err)
        verify_manifest_release(&manifest);
    else
        *ret = manifest;
    return err;
}

void verify_manifest_release(struct verify_manifest *manifest)
{
    mem_free(manifest->entry);
    json_release(&manifest->json);
    *manifest = (struct verify_manifest){ 0 };
}

static enum err lacks(struct fault *fault, const char *what)
{
    return fault_set(fault, ERR_DIFFERS, "has no usable %s", what);
}

static enum err read_members(struct verify_manifest *manifest, const char *bucket,
                             struct fault *fault)
{
    const struct json_t *head = json_member(manifest->json, "sluice");
    const struct json_t *entries = json_member(manifest->json, "entries");
    uint64_t created;
    manifest->batch = json_member_text(head, "batch");
    manifest->dataset = json_member_text(head, "dataset");
    manifest->sandbox = json_member_text(head, "sandbox");
    if (!manifest->batch || !manifest->dataset || !manifest->sandbox)
        return lacks(fault, "batch, dataset or sandbox");
    if (json_member_u64(head, "created", INT64_MAX, &created))
        return lacks(fault, "created");
    if (!json_is_array(entries))
        return lacks(fault, "entries");
    manifest->created = (int64_t)created;
    manifest->entries = json_count(entries);
    manifest->entry = mem_alloc_array(manifest->entries, sizeof *manifest->entry);
    for (size_t i = 0; i < manifest->entries; i++) {
        struct verify_entry *entry = &manifest->entry[i];
        enum err err = read_entry(json_element(entries, i), bucket, entry, fault);
        if (err)
            return err;
        if (i > 0 && strcmp(entry[-1].key, entry->key) == 0)
            return fault_set(fault, ERR_DIFFERS, "names %s twice", entry->key);
    }
    return OK;
}

/* The key behind "s3://<bucket>/"; NULL if the URL leads elsewhere. */
static const char *key_of(const char *url, const char *bucket)
{
    static const char scheme[] = "s3://";
    size_t len = strlen(bucket);
    if (!url || strncmp(url, scheme, strlen(scheme)) != 0)
        return NULL;
    const char *rest = url + strlen(scheme);
    bool ours = strncmp(rest, bucket, len) == 0 && rest[len] == '/' && rest[len + 1];
    return ours ? rest + len + 1 : NULL;
}

static enum err read_entry(const struct json_t *json, const char *bucket,
                           struct verify_entry *ret, struct fault *fault)
{
    const struct json_t *info = json_member(json, "sluice");
    const char *crc = json_member_text(info, "crc32c");
    uint64_t size;
    *ret = (struct verify_entry){ .key = key_of(json_member_text(json, "url"), bucket),
                                  .file_id = json_member_text(info, "file_id"),
                                  .name = json_member_text(info, "name") };
    if (!ret->key)
        return fault_set(fault, ERR_DIFFERS, "names something outside of bucket %s", bucket);
    if (!ret->file_id || !ret->name)
        return lacks(fault, "file_id or name of an entry");
    if (json_member_u64(json_member(json, "meta"), "content_length", INT64_MAX, &size))
        return lacks(fault, "content_length of an entry");
    if (!crc || strspn(crc, "0123456789abcdef") != 8 || crc[8])
        return lacks(fault, "crc32c of an entry");
    ret->size = (int64_t)size;
    ret->crc32c = (uint32_t)strtoul(crc, NULL, 16);
    return OK;
}

static char *row_of(const struct verify_entry *entry, const char *bucket)
{
    struct buf row = BUF_INIT(ROW_MAX);
    manifest_row(&(struct manifest_file){ .bucket = bucket,
                                          .key = entry->key,
                                          .file_id = entry->file_id,
                                          .name = entry->name,
                                          .size = entry->size,
                                          .crc32c = entry->crc32c },
                 &row);
    return buf_take(&row);
}

/* Lists of the head in their own order. */
static char *list_of(const struct json_t *head, const char *member)
{
    const struct json_t *list = json_member(head, member);
    struct buf out = BUF_INIT(VERIFY_MANIFEST_MAX);
    buf_add_text(&out, list ? "[" : "");
    for (size_t i = 0; i < json_count(list); i++) {
        const char *text = json_text(json_element(list, i));
        buf_add_text(&out, i ? "," : "");
        json_write_text(&out, text ? text : "", text ? strlen(text) : 0);
    }
    buf_add_text(&out, list ? "]" : "");
    return buf_take(&out);
}

static int64_t number_of(const struct json_t *head, const char *member)
{
    uint64_t number;
    return json_member_u64(head, member, INT64_MAX, &number) ? -1 : (int64_t)number;
}

static enum err compare(const struct verify_manifest *manifest, const char *bytes, size_t len,
                        const char *bucket, struct fault *fault)
{
    const struct json_t *json = json_member(manifest->json, "sluice");
    AUTO_TEXT char *consolidates = list_of(json, "consolidates");
    AUTO_TEXT char *replaces = list_of(json, "replaces");
    AUTO_TEXT char *external = list_of(json, "replaces_external");
    struct manifest_head head = { .batch = manifest->batch,
                                  .dataset = manifest->dataset,
                                  .sandbox = manifest->sandbox,
                                  .created = manifest->created,
                                  .records = number_of(json, "records"),
                                  .failed_records = number_of(json, "failed_records"),
                                  .consolidates = consolidates,
                                  .replaces = replaces,
                                  .replaces_external = external,
                                  .replay_reason = json_member_text(json, "replay_reason"),
                                  .snapshot = json_member(json, "snapshot") != NULL };
    AUTO_BUF again = BUF_INIT(VERIFY_MANIFEST_MAX);
    int64_t sum;
    char **row = mem_alloc_array(manifest->entries, sizeof *row);
    for (size_t i = 0; i < manifest->entries; i++)
        row[i] = row_of(&manifest->entry[i], bucket);
    enum err err = manifest_build(&head, (const char **)row, manifest->entries, &again, &sum);
    bool same = !err && again.len == len && memcmp(again.data, bytes, len) == 0;
    for (size_t i = 0; i < manifest->entries; i++)
        mem_free(row[i]);
    mem_free(row);
    return same ? OK
                : fault_set(fault, ERR_DIFFERS,
                            "is not in the form in which it was written: it was changed");
}
