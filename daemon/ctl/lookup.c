/* SPDX-License-Identifier: Apache-2.0 */
/* One dataset, one batch, the last batch. */
#include "daemon/ctl/lookup.h"

#include <string.h>

#include "lib/base/encode.h"

#define CATALOG "/data/foundation/catalog"

int lookup_dataset(struct ask *ask, const char *id, const char *properties,
                   struct json_t **ret_root, const struct json_t **ret_object)
{
    AUTO_TEXT char *path =
        mem_print(CATALOG "/dataSets/%s%s%s", id, properties ? "?properties=" : "",
                  properties ? properties : "");
    enum err err = ask_json(ask, AEP_CATALOG, NULL, path, ret_root);
    *ret_object = err ? NULL : dataset_of_answer(*ret_root, id);
    if (!err && !*ret_object)
        err = fault_set(&ask->fault, ERR_NOT_FOUND, "not in the answer");
    if (err == ERR_NOT_FOUND)
        return ctl_refuse(ask->ctl, EX_NOINPUT,
                          "sandbox \"%s\" has no dataset %s, or the credential may not see it; "
                          "sluicectl datasets lists those it sees",
                          ask->ctl->settings.aep.sandbox, id);
    return err ? ask_refuse(ask, id) : EX_OK;
}

int lookup_batch(struct ask *ask, const char *id, struct batch_info *ret_info,
                 struct json_t **ret_root, const struct json_t **ret_object)
{
    struct batch_info *batches = NULL;
    size_t count = 0;
    AUTO_BUF text = BUF_INIT(ASK_JSON_MAX);
    AUTO_TEXT char *path = mem_print(CATALOG "/batches/%s", id);
    enum err err = ask_json(ask, AEP_CATALOG, NULL, path, ret_root);
    *ret_object = err ? NULL : json_member(*ret_root, id);
    if (!err && !*ret_object)
        err = fault_set(&ask->fault, ERR_NOT_FOUND, "not in the answer");
    if (!err) {
        json_write(&text, *ret_root);
        err = catalog_parse_batches(buf_text(&text), text.len, NULL, &batches, &count,
                                    &ask->fault);
    }
    for (size_t i = 0; i < count; i++)
        if (strcmp(batches[i].id, id) == 0)
            *ret_info = batches[i];
    mem_free(batches);
    if (err == ERR_NOT_FOUND)
        return ctl_refuse(
            ask->ctl, EX_NOINPUT,
            "sandbox \"%s\" has no batch %s; sluicectl batches DATASET lists them",
            ask->ctl->settings.aep.sandbox, id);
    return err ? ask_refuse(ask, id) : EX_OK;
}

/* ---- the last batch */

static void keep(struct lookup_last *last, const struct dataset_info *info)
{
    mem_set_text(&last->batch, info->last_batch);
    mem_set_text(&last->status, info->last_status);
    mem_set_text(&last->success, info->last_success);
    mem_set_text(&last->failed, info->last_failed);
}

/* False: this call knows nothing, which proves nothing. */
static bool by_last_batches(struct ask *ask, const char *dataset, struct lookup_last *ret)
{
    AUTO_JSON *root = NULL;
    struct dataset_info info = { 0 };
    AUTO_TEXT char *path = mem_print(CATALOG "/lastBatches?dataSetId=%s", dataset);
    if (ask_json(ask, AEP_CATALOG, NULL, path, &root) ||
        !dataset_read_last(json_member(root, dataset), &info) || !info.last_batch)
        return false;
    keep(ret, &info);
    ret->source = "lastBatches";
    return true;
}

/* Also true if there is none. */
static bool by_list(struct ask *ask, const char *dataset, struct lookup_last *ret)
{
    AUTO_JSON *root = NULL;
    AUTO_TEXT char *path =
        mem_print(CATALOG "/batches?dataSet=%s&orderBy=desc:created&limit=1", dataset);
    if (ask_json(ask, AEP_CATALOG, NULL, path, &root))
        return false;
    struct json_iter it = json_iter(root);
    ret->source = "batches";
    if (!json_is_object(root) || !json_iter_next(&it))
        return true;
    mem_set_text(&ret->batch, it.name);
    mem_set_text(&ret->status, json_member_text(it.value, "status"));
    return true;
}

int lookup_last(struct ask *ask, const char *dataset, struct lookup_last *ret)
{
    if (by_last_batches(ask, dataset, ret))
        return EX_OK;
    bool denied = ask_exit(&ask->fault) == EX_NOPERM;
    return !denied && by_list(ask, dataset, ret) ? EX_OK : ask_refuse(ask, "the last batch");
}

void lookup_last_release(struct lookup_last *last)
{
    mem_free(last->batch);
    mem_free(last->status);
    mem_free(last->success);
    mem_free(last->failed);
    *last = (struct lookup_last){ .batch = NULL };
}

/* ---- words */

int lookup_time(const struct ctl *ctl, const char *option, const char *text, struct wall *ret)
{
    if (!text || wall_parse(text, ret) == OK)
        return EX_OK;
    AUTO_TEXT char *plain = mem_copy_text(text);
    text_sanitize(plain);
    return ctl_refuse(ctl, EX_USAGE,
                      "%s \"%.40s\" is no time; write 2024-02-01 or 2024-02-01T10:30Z (UTC)",
                      option, plain);
}

int lookup_number(const struct ctl *ctl, const char *option, const char *text, uint64_t max,
                  uint64_t *ret)
{
    uint64_t number;
    if (!text)
        return EX_OK;
    if (parse_u64(text, max, &number) || number == 0)
        return ctl_refuse(ctl, EX_USAGE, "%s wants a number from 1 to %llu", option,
                          (unsigned long long)max);
    *ret = number;
    return EX_OK;
}
