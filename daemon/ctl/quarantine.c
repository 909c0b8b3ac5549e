/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnostics of failed batches, listed and copied. Objects are written once (If-None-Match) and
 * compared by size and checksum when they are there already, so that a repetition copies what is
 * missing and nothing else.
 */
#include <string.h>

#include "daemon/ctl/batches.h"
#include "lib/aep/diagnose.h"
#include "lib/aep/seen.h"
#include "lib/base/digest.h"
#include "lib/base/encode.h"

#define PAGE       100
#define DEPTH_MAX  3
#define COPY_MAX   ASK_BYTES_MAX
#define BATCH_PATH "/data/foundation/export/batches/"

const struct table_column quarantine_column[QUARANTINE_COLUMNS] = {
    { "batch", "BATCH", TABLE_TEXT },
    { "outcome", "OUTCOME", TABLE_TEXT },
    { "bytes", "BYTES", TABLE_NUMBER },
    { "key", "KEY", TABLE_TEXT },
};

struct copying {
    struct ask *ask;
    struct table *table;
    const char *name, *batch, *kind;
    int code;
    size_t files;
};

/* ---- listings */

char *quarantine_path(const char *batch, const char *kind, const char *name)
{
    struct buf path = BUF_INIT(8000);
    buf_print(&path, BATCH_PATH "%s/%s", batch, kind);
    if (name[0])
        buf_add_text(&path, "?path=");
    encode_percent(&path, name, strlen(name), "");
    return buf_take(&path);
}

struct walking {
    struct ask *ask;
    const char *batch, *kind;
    void *owner;
    bool (*entry)(void *owner, const struct diagnose_entry *entry);
    struct seen seen;
    bool ended;
};

static enum err walk_directory(struct walking *walking, const char *directory, int depth);

/* Rows that came before are passed over; *ret_fresh counts the others. */
static enum err take_rows(struct walking *walking, const struct json_t *rows,
                          const char *directory, int depth, size_t *ret_fresh)
{
    enum err err = OK;
    for (size_t i = 0; i < json_count(rows) && !err && !walking->ended; i++) {
        struct diagnose_entry entry;
        if (!diagnose_read_entry(json_element(rows, i), directory, &entry))
            return fault_set(&walking->ask->fault, ERR_BAD_RESPONSE,
                             "Data Access: a row of %s without a usable name", walking->kind);
        if (!seen_add(&walking->seen, walking->kind, entry.path))
            continue;
        ++*ret_fresh;
        if (entry.directory)
            err = walk_directory(walking, entry.path, depth + 1);
        else
            walking->ended = !walking->entry(walking->owner, &entry);
    }
    return err;
}

/* One page from `start` on; *ret_more: another one follows, so far as this one knows. */
static enum err walk_page(struct walking *walking, const char *directory, int depth,
                          size_t *start, bool *ret_more)
{
    AUTO_JSON *root = NULL;
    size_t fresh = 0;
    AUTO_TEXT char *path = quarantine_path(walking->batch, walking->kind, directory);
    AUTO_TEXT char *asked =
        mem_print("%s%slimit=%d&start=%zu", path, directory[0] ? "&" : "?", PAGE, *start);
    enum err err = ask_json(walking->ask, AEP_LISTING, NULL, asked, &root);
    const struct json_t *rows = diagnose_rows(root);
    if (err)
        return err;
    if (!rows)
        return fault_set(&walking->ask->fault, ERR_BAD_RESPONSE,
                         "Data Access: %s is no listing", walking->kind);
    err = take_rows(walking, rows, directory, depth, &fresh);
    *start += json_count(rows);
    bool linked = json_member(json_member(root, "_links"), "next");
    *ret_more = fresh > 0 && (linked || json_count(rows) >= PAGE);
    return err;
}

/* Only the presence of a next link counts: it says where, which the offset knows as well. */
static enum err walk_directory(struct walking *walking, const char *directory, int depth)
{
    enum err err = OK;
    size_t start = 0;
    bool more = depth <= DEPTH_MAX;
    if (!more)
        return fault_set(&walking->ask->fault, ERR_BAD_RESPONSE,
                         "Data Access: directories of %s nested deeper than %d", walking->kind,
                         DEPTH_MAX);
    while (more && !err && !walking->ended)
        err = walk_page(walking, directory, depth, &start, &more);
    return err;
}

enum err quarantine_walk(struct ask *ask, const char *batch, const char *kind, void *owner,
                         bool (*entry)(void *owner, const struct diagnose_entry *entry))
{
    struct walking walking = {
        .ask = ask, .batch = batch, .kind = kind, .owner = owner, .entry = entry
    };
    enum err err = walk_directory(&walking, "", 0);
    seen_release(&walking.seen);
    return err;
}

/* ---- copies */

static char *key_of(const struct copying *copying, const char *path)
{
    struct buf key = BUF_INIT(8 * DIAGNOSE_NAME_MAX);
    buf_print(&key, "%s%s/_sluice/quarantine/", copying->ask->ctl->settings.s3.prefix,
              copying->name);
    key_encode(&key, copying->batch);
    buf_print(&key, "/%s", copying->kind);
    for (;;) {
        size_t len = strcspn(path, "/");
        AUTO_TEXT char *segment = mem_copy_bytes(path, len);
        buf_add_char(&key, '/');
        key_encode(&key, segment);
        if (!path[len])
            return buf_take(&key);
        path += len + 1;
    }
}

static void say(struct copying *copying, const char *outcome, int64_t bytes, const char *key,
                int code)
{
    table_row(copying->table, (const struct table_cell[]){ { .text = copying->batch },
                                                           { .text = outcome },
                                                           { .number = bytes },
                                                           { .text = key } });
    if (copying->code <= 1 && code > copying->code)
        copying->code = code;
}

/* What an object that is there already says of itself. */
static void compare(struct copying *copying, const struct s3_call *head, const struct buf *body,
                    uint32_t crc32c)
{
    bool known = head->has_crc32c || head->noted_crc32c;
    bool same = head->got_size == (int64_t)body->len && (!known || head->got_crc32c == crc32c);
    say(copying, same ? "is there" : "differs, left as it is", (int64_t)body->len, head->key,
        same ? EX_OK : 1);
}

static int store(struct copying *copying, const char *key, const struct buf *body)
{
    uint32_t crc32c = digest_crc32c(0, buf_text(body), body->len);
    struct s3_call head = { .op = S3_HEAD, .key = key };
    struct s3_call put = { .op = S3_PUT,
                           .key = key,
                           .body = buf_text(body),
                           .body_len = body->len,
                           .body_crc32c = crc32c,
                           .content_type = "application/json",
                           .source = copying->batch,
                           .create_only = true,
                           .force = true };
    enum err err = ask_store(copying->ask, &head);
    if (err == ERR_NOT_FOUND)
        err = ask_store(copying->ask, &put);
    else if (!err)
        compare(copying, &head, body, crc32c);
    if (err)
        copying->code = ask_refuse(copying->ask, key);
    else if (put.tries > 0)
        say(copying, "written", (int64_t)body->len, key, EX_OK);
    s3_call_release(&head);
    s3_call_release(&put);
    return err ? copying->code : EX_OK;
}

static bool copy_entry(void *owner, const struct diagnose_entry *entry)
{
    struct copying *copying = owner;
    AUTO_TEXT char *key = key_of(copying, entry->path);
    AUTO_TEXT char *path = quarantine_path(copying->batch, copying->kind, entry->path);
    AUTO_BUF body = BUF_INIT(0);
    if (entry->length == 0)
        return true; /* markers like _SUCCESS */
    copying->files++;
    if (strlen(key) > S3_KEY_MAX) {
        say(copying, "left out: its name is too long for a key", entry->length, entry->path, 1);
        return true;
    }
    enum err err = entry->length > COPY_MAX
                       ? fault_set(&copying->ask->fault, ERR_TOO_BIG, "larger than 64 MiB")
                       : ask_bytes(copying->ask, path, &body);
    if (err == ERR_TOO_BIG) {
        say(copying, "left out: larger than 64 MiB", entry->length, key, 1);
        return true;
    }
    if (err) {
        copying->code = ask_refuse(copying->ask, entry->path);
        return false;
    }
    return store(copying, key, &body) <= 1;
}

/* input_files/ only describes what was sent; rows and reasons are in row_errors/. */
static bool copy_meta(void *owner, const struct diagnose_entry *entry)
{
    return strncmp(entry->path, "row_errors", strlen("row_errors")) != 0 ||
           copy_entry(owner, entry);
}

int quarantine_batch(struct ask *ask, struct table *table, const char *dataset_name,
                     const char *batch)
{
    static const struct {
        const char *kind;
        bool (*entry)(void *owner, const struct diagnose_entry *entry);
    } part[] = { { "failed", copy_entry }, { "meta", copy_meta } };
    struct copying copying = {
        .ask = ask, .table = table, .name = dataset_name, .batch = batch
    };
    for (size_t i = 0; i < 2 && copying.code <= 1; i++) {
        copying.kind = part[i].kind;
        enum err err = quarantine_walk(ask, batch, part[i].kind, &copying, part[i].entry);
        if (err && err != ERR_NOT_FOUND)
            copying.code = ask_refuse(ask, batch);
    }
    if (copying.files == 0 && copying.code == EX_OK)
        say(&copying, "nothing is kept of it", -1, NULL, EX_OK);
    return copying.code;
}
