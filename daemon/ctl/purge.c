/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purge: deletes a generation of a dataset, and nothing else.
 *
 *   is all of it over in Redis? ─▶ LIST, count ─▶ confirmed? ─▶ ABORT its uploads, DELETE
 *     ─▶ LIST: what is left?
 *
 * What goes first makes the rest meaningless: the job's record in the ledger (a loss of Redis
 * would order it again), then the manifests (what none names does not exist for a reader), then
 * the objects. So an interrupted purge can be repeated.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/ctl/inquiry.h"
#include "daemon/ctl/purge_tasks.h"
#include "daemon/ledger.h"
#include "daemon/verify_keys.h"
#include "lib/base/json.h"

#define SLOTS       16
#define DEADLINE_MS 60000

struct purge;

struct slot {
    struct purge *purge;
    struct s3_call call;
};

struct purge {
    struct ctl *ctl;
    const struct dataset_settings *dataset;
    int64_t generation;
    struct ctl_clients clients;
    struct fault fault;
    char *records;                  /* folder of the job in the ledger */
    char *manifests;                /* what the keys of all manifests begin with */
    struct verify_prefixes folders; /* those that hold the generation, none inside another */
    int64_t objects, named, bytes;  /* found; manifests among them */
    int64_t uploads;                /* begun and not ended */
    int64_t deleted, aborted;
    struct s3_call list, abort;
    struct slot slot[SLOTS];
    size_t next, busy; /* of the page that is being deleted */
    bool (*spares)(const char *key);
};

static int purge_run(struct ctl *ctl);

const struct ctl_command ctl_purge = {
    .name = "purge",
    .arguments = "DATASET GENERATION [--confirm GENERATION]",
    .words_min = 2,
    .words_max = 2,
    .flags = CTL_CONFIRM,
    .run = purge_run,
    .help = "      counts what a replay has stored, and with --confirm DELETES it: manifests\n"
            "      first, then objects. Never the ordinary extraction, never while a task of\n"
            "      the replay is open\n",
};

static int check_words(struct purge *purge);
static void find_places(struct purge *purge);
static int purge_all(struct purge *purge);
static enum err count(struct purge *purge);
static enum err delete_all(struct purge *purge);
static int report(struct purge *purge, int code, const char *sentence);

/* ---- start and end */

static int purge_run(struct ctl *ctl)
{
    struct purge *purge = mem_alloc(sizeof *purge);
    purge->ctl = ctl;
    int code = check_words(purge);
    if (code == EX_OK &&
        purge_tasks_over(ctl, purge->dataset->id, purge->generation, &purge->fault))
        code =
            ctl_refuse(ctl,
                       purge->fault.code == ERR_NOT_READY ? EX_TEMPFAIL
                                                          : inquiry_status(purge->fault.code),
                       "%s", purge->fault.text);
    if (code == EX_OK && ctl_clients_init(&purge->clients, ctl, SLOTS, &purge->fault))
        code = ctl_refuse(ctl, EX_CONFIG, "%s", purge->fault.text);
    if (code == EX_OK) {
        find_places(purge);
        code = purge_all(purge);
    }
    ctl_clients_release(&purge->clients);
    verify_prefixes_release(&purge->folders);
    s3_call_release(&purge->list);
    s3_call_release(&purge->abort);
    mem_free(purge->records);
    mem_free(purge->manifests);
    mem_free(purge);
    return code;
}

static int check_words(struct purge *purge)
{
    const struct ctl *ctl = purge->ctl;
    purge->dataset = ctl_configured(ctl, ctl->word[0]);
    if (!purge->dataset)
        return ctl_refuse(ctl, EX_USAGE, "dataset %s is not in the configuration",
                          ctl->word[0]);
    if (ctl_generation(ctl->word[1], &purge->generation, &purge->fault))
        return ctl_refuse(ctl, EX_USAGE, "%s", purge->fault.text);
    if (purge->generation <= KEY_GENERATION_1)
        return ctl_refuse(ctl, EX_USAGE,
                          "generation 1 is the ordinary extraction, which is never purged");
    if (ctl->confirm && strcmp(ctl->confirm, ctl->word[1]) != 0)
        return ctl_refuse(ctl, EX_USAGE, "--confirm %s is not generation %s", ctl->confirm,
                          ctl->word[1]);
    if (!verify_own_folder(purge->dataset->key) ||
        !verify_own_folder(ctl->settings.s3.manifest))
        return ctl_refuse(ctl, EX_CONFIG,
                          "objects of this dataset cannot be told from those of others by "
                          "their folder: the key templates do not have {dataset}/ before the "
                          "date and the names");
    return EX_OK;
}

static char *place_of(const struct purge *purge, const char *template, enum verify_width width)
{
    const struct key_values values = { .prefix = purge->ctl->settings.s3.prefix,
                                       .dataset = purge->dataset->as,
                                       .dataset_id = purge->dataset->id,
                                       .generation = purge->generation };
    struct verify_prefixes one;
    verify_prefixes(template, &values, width, 0, 0, &one);
    char *text = mem_copy_text(one.prefix[0]);
    verify_prefixes_release(&one);
    return text;
}

static bool is_in(const char *key, const char *folder)
{
    return strncmp(key, folder, strlen(folder)) == 0;
}

static void add_folder(struct purge *purge, char *folder)
{
    struct verify_prefixes *all = &purge->folders;
    all->prefix = mem_grow(all->prefix, all->count + 1, sizeof *all->prefix);
    all->prefix[all->count++] = folder;
}

static void find_places(struct purge *purge)
{
    const struct settings *settings = &purge->ctl->settings;
    char *data = place_of(purge, purge->dataset->key, VERIFY_FOLDER);
    char *manifests = place_of(purge, settings->s3.manifest, VERIFY_FOLDER);
    purge->manifests = place_of(purge, settings->s3.manifest, VERIFY_BEGIN);
    purge->records = ledger_replay_folder(settings, purge->dataset, purge->generation);
    bool data_inside = is_in(data, manifests), manifests_inside = is_in(manifests, data);
    if (data_inside && !manifests_inside)
        mem_free(data);
    else
        add_folder(purge, data);
    if (manifests_inside)
        mem_free(manifests);
    else
        add_folder(purge, manifests);
}

static int fault_status(enum err err)
{
    return err == ERR_DENIED ? EX_NOPERM : EX_UNAVAILABLE;
}

static int purge_all(struct purge *purge)
{
    const char *as = purge->dataset->as;
    if (count(purge))
        return ctl_refuse(purge->ctl, fault_status(purge->fault.code), "%s", purge->fault.text);
    if (!purge->ctl->confirm) {
        AUTO_TEXT char *how = mem_print("nothing was deleted; to delete it: sluicectl purge %s "
                                        "%" PRId64 " --confirm %" PRId64,
                                        as, purge->generation, purge->generation);
        return report(purge, EX_USAGE, how);
    }
    if (delete_all(purge)) {
        AUTO_TEXT char *how = mem_print("%s; repeat this", purge->fault.text);
        return report(purge, fault_status(purge->fault.code), how);
    }
    purge->objects = purge->named = purge->bytes = purge->uploads = 0;
    if (count(purge))
        return ctl_refuse(purge->ctl, fault_status(purge->fault.code), "%s", purge->fault.text);
    if (purge->objects + purge->uploads > 0)
        return report(
            purge, EX_TEMPFAIL,
            "objects or uploads appeared meanwhile: is somebody still writing? Repeat this");
    return report(purge, EX_OK, NULL);
}

/* ---- listings */

/* The next page; false at the end, or with a fault. */
static bool next_page(struct purge *purge, const char *prefix, bool *begun)
{
    struct s3_call *list = &purge->list;
    if (purge->fault.code || (*begun && !list->page.next))
        return false;
    list->token = *begun ? list->page.next : NULL;
    list->key = prefix;
    *begun = true;
    s3_start(purge->clients.s3, list);
    loop_run(purge->ctl->loop);
    purge->fault = list->fault;
    return !purge->fault.code;
}

static void on_listed(struct s3_call *call)
{
    loop_stop(container_of(call, struct purge, list)->ctl->loop);
}

static void begin_listing(struct purge *purge)
{
    s3_call_release(&purge->list);
    purge->list =
        (struct s3_call){ .op = S3_LIST, .deadline_ms = DEADLINE_MS, .done = on_listed };
}

/* The next page of uploads, in the same way. */
static bool next_uploads(struct purge *purge, const char *prefix, bool *begun)
{
    struct s3_call *list = &purge->list;
    if (purge->fault.code || (*begun && !list->uploads.next_key))
        return false;
    AUTO_TEXT char *key = *begun ? mem_copy_text(list->uploads.next_key) : NULL;
    AUTO_TEXT char *id = *begun ? mem_copy_text(list->uploads.next_id) : NULL;
    begin_listing(purge);
    list->op = S3_LIST_UPLOADS;
    list->key = prefix;
    list->token = key;
    list->upload_id = id;
    *begun = true;
    s3_start(purge->clients.s3, list);
    loop_run(purge->ctl->loop);
    purge->fault = list->fault;
    return !purge->fault.code;
}

static enum err count(struct purge *purge)
{
    for (size_t i = 0; i < purge->folders.count; i++) {
        bool begun = false;
        begin_listing(purge);
        while (next_page(purge, purge->folders.prefix[i], &begun))
            for (size_t k = 0; k < purge->list.page.count; k++) {
                const struct s3_object *object = &purge->list.page.object[k];
                purge->objects++;
                purge->named += is_in(object->key, purge->manifests);
                purge->bytes += object->size;
            }
        begun = false;
        while (next_uploads(purge, purge->folders.prefix[i], &begun))
            purge->uploads += (int64_t)purge->list.uploads.count;
    }
    return purge->fault.code;
}

/* ---- deleting */

static bool spare_none(const char *key)
{
    (void)key;
    return false;
}

/* A job that is only recorded as done is nobody's order. */
static bool spare_done(const char *key)
{
    static const char end[] = ".done.json";
    size_t len = strlen(key);
    return len >= strlen(end) && strcmp(key + len - strlen(end), end) == 0;
}

/* Whatever is listed: a key that is not of the generation is never deleted. */
static bool is_ours(const struct purge *purge, const char *key)
{
    return is_in(key, purge->records) || key_generation(key) == purge->generation;
}

static void fill(struct slot *slot);

static void on_deleted(struct s3_call *call)
{
    struct slot *slot = container_of(call, struct slot, call);
    struct purge *purge = slot->purge;
    purge->busy--;
    if (call->fault.code)
        purge->fault = call->fault;
    else
        purge->deleted++;
    fill(slot);
    if (purge->busy == 0)
        loop_stop(purge->ctl->loop);
}

/* Takes the next key of the page; none, or after a fault: the slot stays idle. */
static void fill(struct slot *slot)
{
    struct purge *purge = slot->purge;
    const struct s3_page *page = &purge->list.page;
    while (!purge->fault.code && purge->next < page->count) {
        const char *key = page->object[purge->next++].key;
        if (!is_ours(purge, key) || purge->spares(key))
            continue;
        slot->call = (struct s3_call){
            .op = S3_DELETE, .key = key, .deadline_ms = DEADLINE_MS, .done = on_deleted
        };
        purge->busy++;
        s3_start(purge->clients.s3, &slot->call);
        return;
    }
}

static void delete_page(struct purge *purge)
{
    purge->next = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        purge->slot[i].purge = purge;
        fill(&purge->slot[i]);
    }
    if (purge->busy > 0)
        loop_run(purge->ctl->loop);
}

static void delete_below(struct purge *purge, const char *prefix,
                         bool (*spares)(const char *key))
{
    bool begun = false;
    purge->spares = spares;
    begin_listing(purge);
    while (next_page(purge, prefix, &begun))
        delete_page(purge);
}

/* ---- uploads: what is under way would become an object */

static void on_aborted(struct s3_call *call)
{
    struct purge *purge = container_of(call, struct purge, abort);
    purge->fault = call->fault;
    purge->aborted += !call->fault.code;
    loop_stop(purge->ctl->loop);
}

static void abort_below(struct purge *purge, const char *prefix)
{
    bool begun = false;
    while (next_uploads(purge, prefix, &begun))
        for (size_t i = 0; i < purge->list.uploads.count && !purge->fault.code; i++) {
            const struct s3_begun *upload = &purge->list.uploads.upload[i];
            if (!is_ours(purge, upload->key))
                continue;
            s3_call_release(&purge->abort);
            purge->abort = (struct s3_call){ .op = S3_ABORT,
                                             .key = upload->key,
                                             .upload_id = upload->id,
                                             .deadline_ms = DEADLINE_MS,
                                             .done = on_aborted };
            s3_start(purge->clients.s3, &purge->abort);
            loop_run(purge->ctl->loop);
        }
}

static enum err delete_all(struct purge *purge)
{
    delete_below(purge, purge->records, spare_done);
    delete_below(purge, purge->records, spare_none);
    for (size_t i = 0; i < purge->folders.count; i++)
        abort_below(purge, purge->folders.prefix[i]);
    delete_below(purge, purge->manifests, spare_none);
    for (size_t i = 0; i < purge->folders.count; i++)
        delete_below(purge, purge->folders.prefix[i], spare_none);
    return purge->fault.code;
}

/* ---- the result */

static void put_json(const struct purge *purge, int code)
{
    AUTO_BUF dataset = BUF_INIT(4096);
    json_write_text(&dataset, purge->dataset->id, strlen(purge->dataset->id));
    printf("{\"command\":\"purge\",\"dataset\":%s,\"generation\":%" PRId64
           ",\"objects\":%" PRId64 ",\"manifests\":%" PRId64 ",\"bytes\":%" PRId64
           ",\"uploads\":%" PRId64 ",\"deleted\":%" PRId64 ",\"aborted\":%" PRId64
           ",\"exit\":%d}\n",
           buf_text(&dataset), purge->generation, purge->objects, purge->named, purge->bytes,
           purge->uploads, purge->deleted, purge->aborted, code);
}

static int report(struct purge *purge, int code, const char *sentence)
{
    if (purge->ctl->json) {
        put_json(purge, code);
    } else {
        printf("%12" PRId64 "  objects of generation %" PRId64 " of %s are there\n",
               purge->objects, purge->generation, purge->dataset->as);
        printf("%12" PRId64 "  of these are manifests\n", purge->named);
        printf("%12" PRId64 "  bytes in all\n", purge->bytes);
        printf("%12" PRId64 "  unfinished uploads\n", purge->uploads);
        printf("%12" PRId64 "  deleted, with %" PRId64 " uploads aborted\n", purge->deleted,
               purge->aborted);
    }
    return sentence ? ctl_refuse(purge->ctl, code, "%s", sentence) : code;
}
