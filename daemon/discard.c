/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   READ the manifest ─ is it the batch's? ─▶ DELETE each entry, a few at a time ─▶ done
 *
 * The first fault ends it when what is on its way is back; the owner repeats all of it.
 */
#include "daemon/discard.h"

#include <inttypes.h>
#include <string.h>

#include "lib/base/log.h"

static void on_read(struct upload *upload);
static void on_deleted(struct upload *upload);
static void fill(struct discard *discard);

void discard_start(struct discard *discard)
{
    discard_release(discard);
    discard->fault = (struct fault){ 0 };
    discard->deleted = 0;
    discard->next = discard->busy = 0;
    discard->cancelled = false;
    discard->running = true;
    discard->read.call = (struct s3_call){ .op = S3_GET, .key = discard->manifest_key };
    discard->read.done = on_read;
    uploader_start(discard->core->uploader, &discard->read);
}

void discard_cancel(struct discard *discard)
{
    if (!discard->running)
        return;
    discard->cancelled = true;
    uploader_abort(&discard->read);
    for (size_t i = 0; i < DISCARD_SLOTS; i++)
        if (discard->slot[i].busy)
            uploader_abort(&discard->slot[i].upload);
}

void discard_release(struct discard *discard)
{
    verify_manifest_release(&discard->manifest);
    s3_call_release(&discard->read.call);
}

static void finish(struct discard *discard)
{
    discard->running = false;
    if (discard->cancelled)
        fault_set(&discard->fault, ERR_CANCELLED, "cancelled");
    else if (!discard->fault.code)
        log_event(LOG_INFO, discard->batch, "objects deleted count=%" PRId64 " manifest=%s",
                  discard->deleted, discard->manifest_key);
    discard->done(discard);
}

/* ---- the manifest */

/* Each key of a batch lies under our prefix and in the folder of its generation. */
static enum err check_entries(const struct discard *discard, struct fault *fault)
{
    const char *prefix = discard->core->settings->s3.prefix;
    const struct verify_manifest *manifest = &discard->manifest;
    for (size_t i = 0; i < manifest->entries; i++) {
        const char *key = manifest->entry[i].key;
        if (strncmp(key, prefix, strlen(prefix)) != 0 ||
            key_generation(key) != manifest->generation)
            return fault_set(fault, ERR_DIFFERS, "%s names %s, which is not ours to delete",
                             discard->manifest_key, key);
    }
    return OK;
}

static enum err add_key(const struct discard *discard, struct fault *fault)
{
    AUTO_TEXT char *what = mem_copy_text(fault->text);
    return fault_set(fault, fault->code, "%s %s", discard->manifest_key, what);
}

static enum err read_manifest(struct discard *discard, struct fault *fault)
{
    const struct buf *content = &discard->read.call.content;
    struct verify_manifest *manifest = &discard->manifest;
    enum err err = verify_manifest_read(buf_text(content), content->len,
                                        discard->core->settings->s3.bucket, manifest, fault);
    if (err)
        return add_key(discard, fault);
    if (strcmp(manifest->batch, discard->batch) != 0 ||
        strcmp(manifest->dataset, discard->dataset->id) != 0 ||
        manifest->generation != key_generation(discard->manifest_key))
        return fault_set(
            fault, ERR_DIFFERS, "%s is of batch %s, dataset %s, generation %" PRId64,
            discard->manifest_key, manifest->batch, manifest->dataset, manifest->generation);
    return check_entries(discard, fault);
}

static void on_read(struct upload *upload)
{
    struct discard *discard = container_of(upload, struct discard, read);
    discard->fault = upload->call.fault;
    if (!discard->fault.code && !discard->cancelled)
        (void)read_manifest(discard, &discard->fault);
    s3_call_release(&upload->call);
    fill(discard);
}

/* ---- its objects */

static void start_slot(struct discard *discard, struct discard_slot *slot)
{
    slot->discard = discard;
    slot->busy = true;
    slot->upload.call = (struct s3_call){ .op = S3_DELETE,
                                          .key = discard->manifest.entry[discard->next++].key };
    slot->upload.done = on_deleted;
    discard->busy++;
    uploader_start(discard->core->uploader, &slot->upload);
}

static void fill(struct discard *discard)
{
    bool stops = discard->fault.code || discard->cancelled;
    for (size_t i = 0; !stops && i < DISCARD_SLOTS; i++)
        if (!discard->slot[i].busy && discard->next < discard->manifest.entries)
            start_slot(discard, &discard->slot[i]);
    if (discard->busy == 0)
        finish(discard);
}

static void on_deleted(struct upload *upload)
{
    struct discard_slot *slot = container_of(upload, struct discard_slot, upload);
    struct discard *discard = slot->discard;
    slot->busy = false;
    discard->busy--;
    if (!upload->call.fault.code)
        discard->deleted++;
    else if (!discard->fault.code)
        discard->fault = upload->call.fault;
    fill(discard);
}
