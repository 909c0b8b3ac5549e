/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Catalog says about batches. Identity and creation time must be right, because the tail's
 * progress hangs on them; everything else may be missing or odd. Pure.
 */
#include "lib/aep/catalog.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PAGE_MAX    (16 * 1024 * 1024)
#define CREATED_MAX 253402300799999 /* the end of the year 9999 */
#define TEXT_BYTES  1000            /* longer reasons and external ids are none */

/* Where texts are kept; without bytes they are only measured. */
struct pool {
    char *bytes;
    size_t used;
};

static enum err parse_batch(const char *id, const struct json_t *object, const char *dataset,
                            struct batch_info *ret, struct fault *fault);
static void read_lineage(const struct json_t *object, struct batch_info *ret,
                         struct pool *pool);
static enum batch_class classify(const char *id, const struct json_t *object);
static bool other_dataset(const struct json_t *object, const char *dataset);
static int by_created_and_id(const void *a, const void *b);

enum batch_state catalog_state(const char *status)
{
    static const struct {
        const char *status;
        enum batch_state state;
    } row[] = {
        { "loading", BATCH_OPEN },       { "loaded", BATCH_OPEN },
        { "queued", BATCH_OPEN },        { "processing", BATCH_OPEN },
        { "staging", BATCH_OPEN },       { "staged", BATCH_OPEN },
        { "retrying", BATCH_OPEN },      { "stalled", BATCH_STALLED },
        { "success", BATCH_READABLE },   { "active", BATCH_READABLE },
        { "failed", BATCH_FAILED },      { "failure", BATCH_FAILED },
        { "aborted", BATCH_DROPPED },    { "abandoned", BATCH_DROPPED },
        { "inactive", BATCH_WITHDRAWN }, { "deleted", BATCH_WITHDRAWN },
        { "archived", BATCH_WITHDRAWN }, { "retained", BATCH_WITHDRAWN },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (strcasecmp(row[i].status, status) == 0)
            return row[i].state;
    return BATCH_OPEN; /* a new word of Adobe's: neither lost nor read too early */
}

bool catalog_id_valid(const char *id)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789_.@:-";
    size_t len = strlen(id);
    /* Dots alone would climb in the URL's path. */
    return len > 0 && len <= CATALOG_ID_MAX && strspn(id, allowed) == len &&
           strspn(id, ".") < len;
}

/* One piece of memory: the rows, and behind them their texts. */
static struct batch_info *alloc_batches(const struct json_t *root)
{
    struct batch_info measured;
    struct pool pool = { NULL, 0 };
    for (struct json_iter it = json_iter(root); json_iter_next(&it);)
        read_lineage(it.value, &measured, &pool);
    return mem_alloc(json_count(root) * sizeof(struct batch_info) + pool.used);
}

enum err catalog_parse_batches(const char *body, size_t len, const char *dataset,
                               struct batch_info **ret_batches, size_t *ret_count,
                               struct fault *fault)
{
    AUTO_JSON *root = NULL;
    enum err err = json_parse(body, len, PAGE_MAX, &root, fault);
    if (err)
        return err;
    if (!json_is_object(root))
        return fault_set(fault, ERR_BAD_RESPONSE, "Catalog: batches are not a keyed object");
    struct batch_info *batches = alloc_batches(root);
    struct pool pool = { (char *)&batches[json_count(root)], 0 };
    size_t count = 0;
    for (struct json_iter it = json_iter(root); json_iter_next(&it); count++) {
        err = parse_batch(it.name, it.value, dataset, &batches[count], fault);
        if (err) {
            mem_free(batches);
            return err;
        }
        read_lineage(it.value, &batches[count], &pool);
    }
    qsort(batches, count, sizeof *batches, by_created_and_id);
    *ret_batches = batches;
    *ret_count = count;
    return OK;
}

static int by_created_and_id(const void *a, const void *b)
{
    const struct batch_info *left = a, *right = b;
    if (left->created != right->created)
        return left->created < right->created ? -1 : 1;
    return strcmp(left->id, right->id);
}

static int64_t number_or(const struct json_t *object, const char *name, int64_t otherwise)
{
    uint64_t value;
    return json_member_u64(object, name, INT64_MAX, &value) ? otherwise : (int64_t)value;
}

static enum err parse_batch(const char *id, const struct json_t *object, const char *dataset,
                            struct batch_info *ret, struct fault *fault)
{
    const struct json_t *inner = json_member(object, "id"); /* often left out */
    if (!catalog_id_valid(id))
        return fault_set(fault, ERR_BAD_RESPONSE, "Catalog: unusable batch id \"%.80s\"", id);
    if (inner && (!json_is_string(inner) || strcmp(json_text(inner), id) != 0))
        return fault_set(fault, ERR_BAD_RESPONSE, "Catalog: batch %s has another id inside",
                         id);
    uint64_t created;
    if (json_member_u64(object, "created", CREATED_MAX, &created))
        return fault_set(fault, ERR_BAD_RESPONSE, "Catalog: batch %s has no usable created",
                         id);
    const struct json_t *metrics = json_member(object, "metrics");
    const char *status = json_member_text(object, "status");
    *ret = (struct batch_info){
        .created = (int64_t)created,
        .updated = number_or(object, "updated", (int64_t)created),
        .state = catalog_state(status ? status : ""),
        .class = classify(id, object),
        .output_files = number_or(metrics, "outputFileCount", -1),
        .output_records = number_or(metrics, "outputRecordCount", -1),
        .failed_records =
            number_or(metrics, "failedRecordCount", number_or(object, "failedRecordCount", -1)),
        .other_dataset = other_dataset(object, dataset),
    };
    memcpy(ret->id, id, strlen(id) + 1);
    strncat(ret->status, status ? status : "", sizeof ret->status - 1);
    text_sanitize(ret->status);
    return OK;
}

static bool text_is(const char *text, const char *wanted)
{
    return text && strcasecmp(text, wanted) == 0;
}

static bool ends_with(const char *text, const char *tail)
{
    size_t len = strlen(text), tail_len = strlen(tail);
    return len > tail_len && strcmp(text + len - tail_len, tail) == 0;
}

/* A batch among the related objects that is not the batch itself. */
static bool has_parent(const char *id, const struct json_t *object)
{
    const struct json_t *related = json_member(object, "relatedObjects");
    for (size_t i = 0; i < json_count(related); i++) {
        const struct json_t *row = json_element(related, i);
        const char *other = json_member_text(row, "id");
        if (text_is(json_member_text(row, "type"), "batch") && other && strcmp(other, id) != 0)
            return true;
    }
    return false;
}

/* Profile and identity stores count recordsWritten; the lake counts outputRecordCount. */
static bool is_sub_batch(const char *id, const struct json_t *object)
{
    const struct json_t *metrics = json_member(object, "metrics");
    bool counts = json_member(metrics, "recordsWritten") || json_member(metrics, "startTime");
    return ends_with(id, "-INGEST") || (counts && has_parent(id, object));
}

static enum batch_class classify(const char *id, const struct json_t *object)
{
    const struct json_t *replay = json_member(object, "replay");
    if (is_sub_batch(id, object))
        return BATCH_SUB;
    const char *reason = json_member_text(replay, "reason");
    if (text_is(reason, "consolidation") || text_is(reason, "compaction"))
        return BATCH_CONSOLIDATION;
    if (json_count(json_member(replay, "predecessors")) > 0 ||
        json_count(json_member(replay, "predecessorsByExternalId")) > 0)
        return BATCH_REPLACEMENT;
    return BATCH_LAKE;
}

static bool other_dataset(const struct json_t *object, const char *dataset)
{
    const struct json_t *related = json_member(object, "relatedObjects");
    bool named = false;
    for (size_t i = 0; dataset && i < json_count(related); i++) {
        const struct json_t *row = json_element(related, i);
        const char *id = json_member_text(row, "id");
        if (!text_is(json_member_text(row, "type"), "dataSet") || !id)
            continue;
        if (strcmp(id, dataset) == 0)
            return false;
        named = true;
    }
    return named;
}

/* ---- what it replaces, and what replaces it */

const char *catalog_names_next(const char *name)
{
    return name + strlen(name) + 1;
}

static const char *keep(struct pool *pool, const char *text)
{
    size_t size = strlen(text) + 1;
    char *at = pool->bytes ? memcpy(pool->bytes + pool->used, text, size) : NULL;
    pool->used += size;
    return at;
}

static bool any_text(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len <= TEXT_BYTES;
}

static struct catalog_names keep_names(struct pool *pool, const struct json_t *list,
                                       bool (*accepts)(const char *text))
{
    struct catalog_names names = { 0 };
    for (size_t i = 0; i < json_count(list); i++) {
        const char *text = json_text(json_element(list, i));
        if (!text || !accepts(text))
            continue;
        const char *at = keep(pool, text);
        names.first = names.count++ ? names.first : at;
    }
    return names;
}

/* Tags are lists of texts, in some samples bare texts. */
static const char *successor_of(const struct json_t *object)
{
    const struct json_t *tag = json_member(json_member(object, "tags"), "acp_successor");
    const char *text = json_text(json_is_array(tag) ? json_element(tag, 0) : tag);
    return text && catalog_id_valid(text) ? text : NULL;
}

static void read_lineage(const struct json_t *object, struct batch_info *ret, struct pool *pool)
{
    const struct json_t *replay = json_member(object, "replay");
    const char *reason = json_member_text(replay, "reason"), *successor = successor_of(object);
    ret->predecessors = keep_names(pool, json_member(replay, "predecessors"), catalog_id_valid);
    ret->externals =
        keep_names(pool, json_member(replay, "predecessorsByExternalId"), any_text);
    ret->reason = reason && any_text(reason) ? keep(pool, reason) : NULL;
    ret->successor = successor ? keep(pool, successor) : NULL;
}
