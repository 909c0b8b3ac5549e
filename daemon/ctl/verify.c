/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify: proves what a bucket holds of a dataset, against its manifests and against Catalog.
 *
 *   REVOCATIONS list them
 *   MANIFESTS   list them; read and prove each, and each object that it names
 *   BATCHES     walk Catalog; a readable batch without a manifest is asked for once more (it may
 *               have been committed since), then it is missing; so is the revocation of one
 *               that AEP withdrew
 *   OBJECTS     list them; what no manifest names is a stray
 *
 * A daemon may be at work meanwhile: manifests are read before objects are listed, and objects
 * that are younger than the check are not judged.
 */
#include "daemon/ctl/verify.h"

#include <inttypes.h>
#include <string.h>

#include "lib/net/retry.h"

#define DEADLINE_MS  20000
#define WALK_TRIES   4
#define WALK_BASE_MS 500
#define WALK_CAP_MS  5000
#define KEY_MAX      (4 * S3_KEY_MAX)
#define DAYS_MAX     4000 /* beyond, one listing of everything is cheaper */

static int verify_run(struct ctl *ctl);

const struct ctl_command ctl_verify = {
    .name = "verify",
    .arguments = "DATASET [FROM TO] [--deep] [--generation NUMBER]",
    .words_min = 1,
    .words_max = 3,
    .flags = CTL_DEEP | CTL_GENERATION,
    .run = verify_run,
    .help =
        "      proves that each readable batch created in [FROM, TO) has its manifest, and\n"
        "      that the objects are there as the manifests say, and no others;\n"
        "      --deep reads every byte; --generation proves a replay instead, for the batches\n"
        "      that it has\n",
};

static const struct {
    const char *name, *text;
} counter[VERIFY_COUNTS] = {
    [VERIFY_MANIFESTS] = { "manifests", "read, and in the form in which they were written" },
    [VERIFY_ENTRIES] = { "named", "objects that they name" },
    [VERIFY_BY_STORE] = { "by-store", "of these with the size and the store's CRC-32C" },
    [VERIFY_BY_READING] = { "by-reading",
                            "of these with the size and the CRC-32C of their bytes" },
    [VERIFY_BY_SIZE] = { "by-size",
                         "of these by size only: the store keeps no checksum (--deep)" },
    [VERIFY_BATCHES] = { "batches", "readable ones in Catalog" },
    [VERIFY_GONE] = { "expired", "manifests whose batch Catalog no longer lists (no fault)" },
    [VERIFY_OBJECTS] = { "objects", "listed" },
    [VERIFY_NEWER] = { "newer", "of these written since the check began (not judged)" },
    [VERIFY_OTHERS] = { "others", "of other generations (not judged, see --generation)" },
    [VERIFY_REVOCATIONS] = { "revoked", "batches that AEP withdrew and that no longer count" },
    [VERIFY_KEPT] = { "kept", "batches that AEP withdrew and whose rows it has elsewhere now" },
    [VERIFY_UNDECIDED] = { "undecided", "withdrawn lately, or for a batch that is to come" },
    [VERIFY_ELSEWHERE] = { "elsewhere",
                           "batches consolidated in the range, created outside (not judged)" },
    [VERIFY_DELETED] = { "deleted", "objects of revoked batches, as on_revoke says" },
    [VERIFY_UNDELETED] = { "undeleted", "objects of revoked batches that are there still" },
};

static bool pull_revocations(struct verify *verify);
static bool pull_manifests(struct verify *verify);
static bool pull_batches(struct verify *verify);
static bool pull_objects(struct verify *verify);
static void start_revocations(struct verify *verify);
static void start_manifests(struct verify *verify);
static void start_batches(struct verify *verify);
static void start_objects(struct verify *verify);

/* `pull` starts what there is room for; true when nothing more is to come. */
static const struct {
    void (*start)(struct verify *verify);
    bool (*pull)(struct verify *verify);
    enum verify_count count; /* what grows meanwhile, for people who wait */
} phase[] = {
    [VERIFY_PHASE_REVOCATIONS] = { start_revocations, pull_revocations, VERIFY_REVOCATIONS },
    [VERIFY_PHASE_MANIFESTS] = { start_manifests, pull_manifests, VERIFY_ENTRIES },
    [VERIFY_PHASE_BATCHES] = { start_batches, pull_batches, VERIFY_BATCHES },
    [VERIFY_PHASE_OBJECTS] = { start_objects, pull_objects, VERIFY_OBJECTS },
};
#define PHASES (sizeof phase / sizeof *phase)

static int read_words(struct verify *verify);
static int finish(struct verify *verify);
static void step(struct deferred *work);
static void on_listed(struct s3_call *call);
static void on_page(struct walk *walk);
static void on_walked(struct walk *walk);
static void on_walk_again(struct timer *timer);

/* ---- start and end */

static int verify_run(struct ctl *ctl)
{
    struct verify *verify = mem_alloc(sizeof *verify);
    struct fault fault = { 0 };
    verify->ctl = ctl;
    verify->deep = ctl->flags & CTL_DEEP;
    verify->step.run = step;
    verify->walk_again.fire = on_walk_again;
    list_init(&verify->jobs);
    for (size_t i = 0; i < VERIFY_SLOTS; i++)
        verify->slot[i].verify = verify;
    int code = read_words(verify);
    if (code == EX_OK && ctl_clients_init(&verify->clients, ctl, VERIFY_SLOTS * 2, &fault))
        code = ctl_refuse(ctl, EX_CONFIG, "%s", fault.text);
    if (code == EX_OK) {
        report_begin(&verify->report, ctl->command, ctl->json, verify->dataset->id);
        verify->core.loop = ctl->loop;
        verify->core.aep = verify->clients.aep;
        verify->walk.core = &verify->core;
        verify->report.progress = &verify->progress;
        start_revocations(verify);
        loop_run(ctl->loop);
        progress_end(&verify->progress);
        code = finish(verify);
    }
    ctl_clients_release(&verify->clients);
    mem_free(verify);
    return code;
}

/* Days can be listed one by one only if data and manifests are both laid out so: what a manifest
 * of the range names must not lie under a day that is listed without its manifests. */
static int read_range(struct verify *verify)
{
    const struct ctl *ctl = verify->ctl;
    const struct settings *settings = &ctl->settings;
    struct wall from = { 0 }, to = loop_wall(ctl->loop);
    verify->started_ms = to.ms;
    if (ctl->words == 2)
        return ctl_refuse(ctl, EX_USAGE, "FROM wants its TO");
    if (ctl->words == 3 &&
        (wall_parse(ctl->word[1], &from) || wall_parse(ctl->word[2], &to) || from.ms >= to.ms))
        return ctl_refuse(ctl, EX_USAGE,
                          "FROM and TO are times like 2024-02-01 or 2024-02-01T10:30Z (UTC), "
                          "FROM before TO");
    verify->from = verify->due_from = from.ms;
    verify->to = to.ms;
    if (ctl->words == 1 && verify->dataset->start_ms > 0)
        verify->due_from = verify->dataset->start_ms;
    verify->by_day = ctl->words == 3 && verify_by_day(verify->dataset->key) &&
                     verify_by_day(settings->s3.manifest) &&
                     to.ms - from.ms <= DAYS_MAX * 86400000LL;
    return EX_OK;
}

static int read_words(struct verify *verify)
{
    const struct ctl *ctl = verify->ctl;
    struct fault fault = { 0 };
    verify->dataset = ctl_configured(ctl, ctl->word[0]);
    if (!verify->dataset)
        return ctl_refuse(ctl, EX_USAGE, "dataset %s is not in the configuration",
                          ctl->word[0]);
    verify->values = (struct key_values){ .prefix = ctl->settings.s3.prefix,
                                          .dataset = verify->dataset->as,
                                          .dataset_id = verify->dataset->id,
                                          .generation = KEY_GENERATION_1 };
    if (ctl->generation && ctl_generation(ctl->generation, &verify->values.generation, &fault))
        return ctl_refuse(ctl, EX_USAGE, "%s", fault.text);
    return read_range(verify);
}

static bool is_replay(const struct verify *verify)
{
    return verify->values.generation > KEY_GENERATION_1;
}

static int finish(struct verify *verify)
{
    struct report_count count[VERIFY_COUNTS];
    if (verify_gave_up(verify))
        report_problem(&verify->report, REPORT_UNCHECKED, verify->dataset->id,
                       "gave up after %d failures in a row; mend the cause and repeat",
                       verify->failures);
    else if (is_replay(verify) && verify->count[VERIFY_MANIFESTS] == 0 &&
             verify->ctl->words == 1)
        report_problem(&verify->report, REPORT_MISSING, verify->dataset->id,
                       "there is no manifest of generation %" PRId64,
                       verify->values.generation);
    for (size_t i = 0; i < VERIFY_COUNTS; i++)
        count[i] = (struct report_count){ counter[i].name, counter[i].text, verify->count[i] };
    timer_clear(verify->ctl->loop, &verify->walk_again);
    loop_undefer(verify->ctl->loop, &verify->step);
    s3_call_release(&verify->listing.call);
    verify_prefixes_release(&verify->listing.prefixes);
    walk_release(&verify->walk);
    key_set_release(&verify->named);
    key_set_release(&verify->good);
    key_set_release(&verify->seen);
    verify_lineage_release(verify);
    return report_end(&verify->report, count, VERIFY_COUNTS);
}

/* ---- the driver */

void verify_wake(struct verify *verify)
{
    loop_defer(verify->ctl->loop, &verify->step);
}

/* Requests are never cancelled: when all is over, or has no sense, the last one ends it. */
static void step(struct deferred *work)
{
    struct verify *verify = container_of(work, struct verify, step);
    bool stop = verify_gave_up(verify);
    enum verify_count count = phase[verify->phase].count;
    progress_show(&verify->progress, counter[count].name, verify->count[count], 0);
    bool ended = stop || phase[verify->phase].pull(verify);
    if (stop)
        verify_jobs_drop(verify);
    else
        verify_slots_fill(verify);
    if (!ended || verify->jobs.count > 0 || verify->listing.running || verify->walk.listing ||
        verify_lineage_busy(verify))
        return;
    if (stop || verify->phase + 1 == PHASES) {
        loop_stop(verify->ctl->loop);
        return;
    }
    verify->phase++;
    phase[verify->phase].start(verify);
}

/* ---- listings */

static void start_listing(struct verify *verify, const char *template, enum verify_width width)
{
    struct verify_listing *listing = &verify->listing;
    s3_call_release(&listing->call);
    verify_prefixes_release(&listing->prefixes);
    *listing = (struct verify_listing){
        .call = { .op = S3_LIST, .deadline_ms = DEADLINE_MS, .done = on_listed }
    };
    verify_prefixes(template, &verify->values, verify->by_day ? VERIFY_DAYS : width,
                    verify->from, verify->to, &listing->prefixes);
    verify_wake(verify);
}

static void list_on(struct verify *verify)
{
    struct verify_listing *listing = &verify->listing;
    listing->call.token = listing->call.page.next;
    if (!listing->call.token && listing->prefix == listing->prefixes.count) {
        listing->ended = true;
        return;
    }
    if (!listing->call.token)
        listing->call.key = listing->prefixes.prefix[listing->prefix++];
    listing->running = true;
    s3_start(verify->clients.s3, &listing->call);
}

static void on_listed(struct s3_call *call)
{
    struct verify *verify = container_of(call, struct verify, listing.call);
    struct verify_listing *listing = &verify->listing;
    listing->running = false;
    listing->object = 0;
    if (call->fault.code) {
        verify_unchecked(verify, call->key, &call->fault);
        verify->blind = verify->blind || verify->phase != VERIFY_PHASE_REVOCATIONS;
        listing->failed = listing->ended = true;
        s3_call_release(call);
    }
    verify_wake(verify);
}

/* NULL: not now, or no more (ended). What is of another generation is only counted. */
static const struct s3_object *next_object(struct verify *verify)
{
    struct verify_listing *listing = &verify->listing;
    while (listing->object < listing->call.page.count) {
        const struct s3_object *object = &listing->call.page.object[listing->object++];
        if (key_generation(object->key) == verify->values.generation)
            return object;
        verify->count[VERIFY_OTHERS] += verify->phase == VERIFY_PHASE_OBJECTS;
    }
    if (!listing->running && !listing->ended)
        list_on(verify);
    return NULL;
}

/* ---- revocations: replays have none */

static void start_revocations(struct verify *verify)
{
    if (is_replay(verify))
        verify->listing.ended = true;
    else
        start_listing(verify, LOCATE_REVOCATION, VERIFY_BEGIN);
    verify_wake(verify);
}

static bool pull_revocations(struct verify *verify)
{
    const struct s3_object *object;
    while ((object = next_object(verify)))
        verify_lineage_revoked(verify, object->key);
    return verify->listing.ended;
}

/* ---- manifests */

char *verify_manifest_key(const struct verify *verify, const char *batch, int64_t created)
{
    struct key_values values = verify->values;
    struct buf key = BUF_INIT(KEY_MAX);
    values.batch = batch;
    values.created.ms = created;
    key_build(verify->ctl->settings.s3.manifest, &values, &key);
    return buf_take(&key);
}

static void start_manifests(struct verify *verify)
{
    start_listing(verify, verify->ctl->settings.s3.manifest, VERIFY_BEGIN);
}

static bool pull_manifests(struct verify *verify)
{
    const struct s3_object *object;
    while (verify->jobs.count < VERIFY_JOBS && (object = next_object(verify)))
        verify_job_start(verify, object->key, NULL, VERIFY_LISTED);
    return verify->listing.ended;
}

/* ---- batches */

/*
 * Without the list of manifests every batch would seem to lack its own. And nobody expects all
 * batches in a replay.
 */
static void start_batches(struct verify *verify)
{
    verify->walked = verify->listing.failed || is_replay(verify);
    verify->walk_from = verify->from;
    verify_lineage_begin(verify);
    if (!verify->walked) {
        verify->count[VERIFY_GONE] = (int64_t)verify->good.count; /* until Catalog lists them */
        on_walk_again(&verify->walk_again);
    }
    verify_wake(verify);
}

static void on_walk_again(struct timer *timer)
{
    struct verify *verify = container_of(timer, struct verify, walk_again);
    walk_release(&verify->walk);
    verify->walk = (struct walk){ .core = &verify->core,
                                  .dataset = verify->dataset->id,
                                  .from = verify->walk_from,
                                  .to = verify->to,
                                  .page = on_page,
                                  .done = on_walked };
    walk_start(&verify->walk);
}

static void on_page(struct walk *walk)
{
    struct verify *verify = container_of(walk, struct verify, walk);
    int64_t last = walk->batches[walk->count - 1].created;
    if (last > verify->walk_from)
        verify->walk_tries = 0;
    verify->walk_from = last;
    verify->batch = 0;
    verify->page_here = true;
    verify_wake(verify);
}

bool verify_may_pass(const struct fault *fault)
{
    enum action action = err_action(fault->code);
    return (action == ACT_WAIT || action == ACT_RETRY) && fault->code != ERR_DENIED &&
           fault->code != ERR_CREDENTIAL;
}

void verify_again(struct verify *verify, struct timer *timer, int tries,
                  const struct fault *fault)
{
    timer_set_in(verify->ctl->loop, timer,
                 WALK_BASE_MS + retry_delay_ms(tries, WALK_BASE_MS, WALK_CAP_MS,
                                               fault->retry_after_ms, core_random()));
}

/* A walk that failed begins anew where it was; what it brings twice is in `seen`. */
static void on_walked(struct walk *walk)
{
    struct verify *verify = container_of(walk, struct verify, walk);
    const struct fault *fault = &walk->fault;
    if (fault->code && verify_may_pass(fault) && verify->walk_tries++ < WALK_TRIES) {
        verify_again(verify, &verify->walk_again, verify->walk_tries, fault);
        return;
    }
    if (fault->code) {
        report_problem(&verify->report, REPORT_UNCHECKED, "Catalog",
                       "batches created from %" PRId64 " on could not be compared: %s",
                       verify->walk_from, fault->text);
        verify->count[VERIFY_GONE] = 0; /* nobody knows */
    }
    verify->walked = true;
    verify_wake(verify);
}

static bool is_expected(const struct verify *verify, const struct batch_info *batch)
{
    int64_t end = verify->dataset->end_ms;
    return batch->state == BATCH_READABLE && batch->class != BATCH_SUB &&
           batch->created >= verify->due_from && (end < 0 || batch->created < end);
}

static void judge_batch(struct verify *verify, const struct batch_info *batch)
{
    bool expected = is_expected(verify, batch);
    if (batch->other_dataset || !key_set_add(&verify->seen, batch->id))
        return;
    AUTO_TEXT char *key = verify_manifest_key(verify, batch->id, batch->created);
    bool good = key_set_has(&verify->good, key), named = key_set_has(&verify->named, key);
    verify->count[VERIFY_GONE] -= good; /* one that is not */
    verify_lineage_row(verify, batch, good);
    verify->count[VERIFY_BATCHES] += expected;
    if (expected && verify->dataset->semantics == SNAPSHOT_LATEST)
        verify_lineage_snapshot(verify, batch);
    else if (expected && !named)
        verify_job_start(verify, key, batch->id, VERIFY_READABLE);
    else if (!named && verify_lineage_owes(verify, batch->id))
        verify_job_start(verify, key, batch->id, VERIFY_OWED);
}

static bool pull_batches(struct verify *verify)
{
    struct walk *walk = &verify->walk;
    while (verify->page_here && verify->jobs.count < VERIFY_JOBS &&
           verify_lineage_room(verify)) {
        if (verify->batch < walk->count) {
            judge_batch(verify, &walk->batches[verify->batch++]);
            continue;
        }
        verify->page_here = false;
        walk_next(walk);
    }
    return verify->walked && verify_lineage_pull(verify);
}

/* ---- objects */

static void start_objects(struct verify *verify)
{
    const char *template = verify->dataset->key, *why = NULL;
    verify_lineage_end(verify);
    if (verify->blind)
        why = "strays were not looked for: not all manifests could be read";
    else if (!verify_own_folder(template))
        why = "strays cannot be told from objects of other datasets: the key template does not "
              "have {dataset}/ before the date and the names";
    if (!why) {
        start_listing(verify, template, VERIFY_FOLDER);
        return;
    }
    report_problem(&verify->report, REPORT_UNCHECKED, template, "%s", why);
    verify->listing.ended = true;
    verify_wake(verify);
}

static bool pull_objects(struct verify *verify)
{
    const struct s3_object *object;
    while ((object = next_object(verify))) {
        verify->count[VERIFY_OBJECTS]++;
        if (key_set_has(&verify->named, object->key) || verify_is_housekeeping(object->key))
            continue;
        if (object->modified_ms >= verify->started_ms)
            verify->count[VERIFY_NEWER]++;
        else
            report_problem(&verify->report, REPORT_EXTRA, object->key,
                           "no manifest names this object: a file renamed at the source, a "
                           "batch not committed, or foreign");
    }
    return verify->listing.ended;
}
