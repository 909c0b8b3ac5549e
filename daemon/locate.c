/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   ORDER ─▶ STATUS ─▶ HEAD ─ there ─▶ TAIL: the head of the manifest ─▶ RECORD: revoked?
 *     │ creation time unknown      └ not ─▶ LOOK
 *     └─▶ LOOK ─ Catalog does not know it ─▶ SEARCH ─ a key that may be it ─▶ HEAD …
 */
#include "daemon/locate.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/commit.h"
#include "daemon/manifest.h"
#include "daemon/verify_keys.h"

#define TAIL_BYTES    65536
#define TAIL_MAX      (8 << 20)
#define SEARCH_PAGES  1000 /* of the store's listing */
#define STATE(locate) ((enum state)(locate)->state)

enum state { ORDER, STATUS, LOOK, HEAD, TAIL, RECORD, SEARCH, DONE };

static void on_step(struct deferred *step);
static void start_order(struct locate *locate);
static void start_status(struct locate *locate);
static void start_look(struct locate *locate);
static void start_head(struct locate *locate);
static void start_tail(struct locate *locate);
static void start_record(struct locate *locate);
static void start_search(struct locate *locate);
static void finish(struct locate *locate);

static void (*const row[])(struct locate *locate) = {
    [ORDER] = start_order,   [STATUS] = start_status, [LOOK] = start_look,
    [HEAD] = start_head,     [TAIL] = start_tail,     [RECORD] = start_record,
    [SEARCH] = start_search, [DONE] = finish,
};

/* ---- life */

static void go(struct locate *locate, enum state state)
{
    locate->state = (int)state;
    loop_defer(locate->core->loop, &locate->step);
}

static void fail(struct locate *locate, const struct fault *fault)
{
    locate->fault = *fault;
    go(locate, DONE);
}

void locate_start(struct locate *locate)
{
    locate->running = true;
    locate->step.run = on_step;
    go(locate, locate->created < 0 ? ORDER : STATUS);
}

static void on_step(struct deferred *step)
{
    struct locate *locate = container_of(step, struct locate, step);
    if (locate->cancelled)
        fault_set(&locate->fault, ERR_CANCELLED, "cancelled");
    row[locate->cancelled ? DONE : STATE(locate)](locate);
}

static void finish(struct locate *locate)
{
    locate->running = false;
    locate->done(locate);
}

void locate_cancel(struct locate *locate)
{
    if (!locate->running || locate->cancelled)
        return;
    locate->cancelled = true;
    catalog_cancel(&locate->catalog);
    uploader_abort(&locate->upload);
    if (STATE(locate) == ORDER || STATE(locate) == STATUS) {
        queue_cancel(&locate->op);
        loop_defer(locate->core->loop, &locate->step);
    }
}

void locate_release(struct locate *locate)
{
    assert(!locate->running);
    queue_op_release(&locate->op);
    catalog_release(&locate->catalog);
    s3_call_release(&locate->upload.call);
    s3_page_release(&locate->page);
    json_release(&locate->head);
    mem_free(locate->key);
    mem_free(locate->token);
    *locate = (struct locate){ 0 };
}

/* ---- the queue */

static void ask_queue(struct locate *locate, const char *field,
                      void (*done)(struct queue_op *op))
{
    AUTO_TEXT char *id = mem_print("b/%s/%s", locate->dataset->id, locate->batch);
    queue_op_release(&locate->op);
    locate->op.done = done;
    queue_field(locate->core->queue, &locate->op, id, field);
}

static void on_order(struct queue_op *op)
{
    struct locate *locate = container_of(op, struct locate, op);
    if (op->fault.code) {
        fail(locate, &op->fault);
        return;
    }
    if (op->found)
        locate->created = strtoll(buf_text(&op->text), NULL, 10);
    go(locate, op->found ? STATUS : LOOK);
}

static void start_order(struct locate *locate)
{
    ask_queue(locate, "order", on_order);
}

static void on_status(struct queue_op *op)
{
    struct locate *locate = container_of(op, struct locate, op);
    const char *status = buf_text(&op->text);
    if (op->fault.code) {
        fail(locate, &op->fault);
        return;
    }
    locate->open = strcmp(status, "pending") == 0 || strcmp(status, "in-progress") == 0;
    go(locate, locate->look == LOCATE_LOOK ? LOOK : HEAD);
}

static void start_status(struct locate *locate)
{
    ask_queue(locate, "status", on_status);
}

/* ---- Catalog */

static void on_look(struct catalog_list *look)
{
    struct locate *locate = container_of(look, struct locate, catalog);
    bool unknown = look->fault.code == ERR_NOT_FOUND, absent = locate->key != NULL;
    locate->looked = true;
    if (look->fault.code && !unknown) {
        fail(locate, &look->fault);
        return;
    }
    locate->row = unknown ? NULL : look->batches;
    if (locate->row && locate->created < 0)
        locate->created = locate->row->created;
    if (locate->created < 0)
        go(locate, SEARCH);
    else
        go(locate, absent ? DONE : HEAD);
}

static void start_look(struct locate *locate)
{
    locate->catalog = (struct catalog_list){ .dataset = locate->dataset->id,
                                             .batch = locate->batch,
                                             .from = locate->created,
                                             .done = on_look };
    catalog_start(locate->core->aep, &locate->catalog);
}

/* ---- S3 */

static void call_s3(struct locate *locate, struct s3_call call,
                    void (*done)(struct upload *upload))
{
    s3_call_release(&locate->upload.call);
    locate->upload.call = call;
    locate->upload.call.key = locate->key;
    locate->upload.done = done;
    uploader_start(locate->core->uploader, &locate->upload);
}

static void on_head(struct upload *upload)
{
    struct locate *locate = container_of(upload, struct locate, upload);
    const struct fault *fault = &upload->call.fault;
    locate->stored = fault->code == OK;
    locate->size = upload->call.got_size;
    locate->tail = locate->size < TAIL_BYTES ? locate->size : TAIL_BYTES;
    if (fault->code && fault->code != ERR_NOT_FOUND)
        fail(locate, fault);
    else if (locate->searching && !locate->stored)
        go(locate, SEARCH);
    else if (locate->stored && (locate->details || locate->searching))
        go(locate, TAIL);
    else if (!locate->stored && locate->look != LOCATE_NO_LOOK && !locate->looked)
        go(locate, LOOK);
    else
        go(locate, DONE);
}

static void start_head(struct locate *locate)
{
    if (!locate->searching)
        locate->key = commit_key_of(locate->core->settings, locate->dataset,
                                    locate->core->settings->s3.manifest, locate->batch,
                                    locate->created, 1);
    call_s3(locate, (struct s3_call){ .op = S3_HEAD }, on_head);
}

/* What was searched for is found if this manifest is of that batch. */
static void judge_head(struct locate *locate)
{
    const char *batch = json_member_text(locate->head, "batch");
    uint64_t created;
    if (locate->searching && (!batch || strcmp(batch, locate->batch) != 0)) {
        json_release(&locate->head);
        locate->head = NULL;
        locate->stored = false;
        go(locate, SEARCH);
        return;
    }
    if (locate->created < 0 && !json_member_u64(locate->head, "created", INT64_MAX, &created))
        locate->created = (int64_t)created;
    go(locate, locate->details && locate->created >= 0 ? RECORD : DONE);
}

static void on_tail(struct upload *upload)
{
    struct locate *locate = container_of(upload, struct locate, upload);
    const struct buf *content = &upload->call.content;
    struct fault fault = upload->call.fault;
    enum err err = fault.code;
    if (!err)
        err = manifest_read_head(buf_text(content), content->len, &locate->head, &fault);
    if (err == ERR_TOO_BIG && locate->tail < locate->size && locate->tail < TAIL_MAX) {
        locate->tail = locate->size < TAIL_MAX ? locate->size : TAIL_MAX;
        go(locate, TAIL);
    } else if (err && !upload->call.fault.code) {
        fault_set(&fault, ERR_DIFFERS, "%s is no manifest as Sluice writes it", locate->key);
        fail(locate, &fault);
    } else if (err) {
        fail(locate, &fault);
    } else {
        judge_head(locate);
    }
}

static void start_tail(struct locate *locate)
{
    call_s3(locate,
            (struct s3_call){ .op = S3_GET,
                              .range_at = locate->size - locate->tail,
                              .range_len = locate->tail },
            on_tail);
}

static void on_record(struct upload *upload)
{
    struct locate *locate = container_of(upload, struct locate, upload);
    enum err err = upload->call.fault.code;
    locate->revoked = err == OK;
    if (err && err != ERR_NOT_FOUND)
        fail(locate, &upload->call.fault);
    else
        go(locate, DONE);
}

static void start_record(struct locate *locate)
{
    mem_free(locate->key);
    locate->key = commit_key_of(locate->core->settings, locate->dataset, LOCATE_REVOCATION,
                                locate->batch, locate->created, 1);
    call_s3(locate, (struct s3_call){ .op = S3_HEAD }, on_record);
}

/* ---- the search: manifests whose keys contain the id */

static void on_page(struct upload *upload)
{
    struct locate *locate = container_of(upload, struct locate, upload);
    if (upload->call.fault.code) {
        fail(locate, &upload->call.fault);
        return;
    }
    s3_page_release(&locate->page);
    locate->page = upload->call.page;
    upload->call.page = (struct s3_page){ 0 };
    mem_set_text(&locate->token, locate->page.next);
    locate->object = 0;
    locate->listed = true;
    go(locate, SEARCH);
}

static void list_page(struct locate *locate)
{
    const struct settings *settings = locate->core->settings;
    struct key_values values = { .prefix = settings->s3.prefix,
                                 .dataset = locate->dataset->as,
                                 .dataset_id = locate->dataset->id };
    struct verify_prefixes prefixes;
    verify_prefixes(settings->s3.manifest, &values, VERIFY_BEGIN, 0, 0, &prefixes);
    mem_set_text(&locate->key, prefixes.prefix[0]);
    verify_prefixes_release(&prefixes);
    call_s3(locate, (struct s3_call){ .op = S3_LIST, .token = locate->token }, on_page);
}

static void start_search(struct locate *locate)
{
    AUTO_BUF id = BUF_INIT(4 * CATALOG_ID_MAX);
    key_encode(&id, locate->batch);
    locate->searching = true;
    while (locate->object < locate->page.count) {
        const char *key = locate->page.object[locate->object++].key;
        if (!strstr(key, buf_text(&id)))
            continue;
        mem_set_text(&locate->key, key);
        go(locate, HEAD);
        return;
    }
    bool more = !locate->listed || locate->token;
    if (more && locate->pages++ < SEARCH_PAGES)
        list_page(locate);
    else
        go(locate, DONE);
}
