/* SPDX-License-Identifier: Apache-2.0 */
/* What a backfill would take: Catalog lists the batches, the store says which are there already. */
#include "daemon/ctl/plan.h"

#include <inttypes.h>
#include <stdio.h>

#include "daemon/ctl/pages.h"
#include "daemon/ctl/lookup.h"
#include "daemon/ctl/table.h"
#include "daemon/ctl/terminal.h"
#include "daemon/verify_keys.h"
#include "lib/aep/diagnose.h"

#define PAGE    100
#define KEY_MAX 4096

struct plan {
    struct ctl *ctl;
    struct ask ask;
    const struct dataset_settings *dataset;
    int64_t from, to;
    struct key_values values;
    struct key_set stored; /* keys of manifests */
    bool store_known;
    struct progress progress;
    int64_t listed, due, there, consolidations, open, failed, other; /* batches */
    int64_t files, unknown; /* of those due; batches whose files are not said */
    int64_t bytes;
    struct plan_calls calls;
};

static int64_t pages_of(int64_t rows)
{
    return rows <= PAGE ? 1 : (rows + PAGE - 1) / PAGE + 1; /* one more: did it change? */
}

struct plan_calls plan_count(int64_t files)
{
    return (struct plan_calls){ .listing_least = 1 + pages_of(files),
                                .listing_most = pages_of(files) + files,
                                .content = files };
}

/* ---- what the store has */

static enum err list_prefix(struct plan *plan, const char *prefix)
{
    AUTO_TEXT char *token = NULL;
    enum err err;
    do {
        struct s3_call call = { .op = S3_LIST, .key = prefix, .token = token };
        err = ask_store(&plan->ask, &call);
        for (size_t i = 0; !err && i < call.page.count; i++)
            key_set_add(&plan->stored, call.page.object[i].key);
        mem_set_text(&token, err ? NULL : call.page.next);
        s3_call_release(&call);
    } while (!err && token);
    return err;
}

/* Without the store all batches count as due: a plan that is too large harms nobody. */
static void look_at_store(struct plan *plan)
{
    const char *template = plan->ctl->settings.s3.manifest;
    struct verify_prefixes prefixes;
    enum verify_width width = verify_by_day(template) ? VERIFY_DAYS : VERIFY_BEGIN;
    enum err err = OK;
    verify_prefixes(template, &plan->values, width, plan->from, plan->to, &prefixes);
    for (size_t i = 0; !err && i < prefixes.count; i++) {
        progress_show(&plan->progress, "days in the bucket", (int64_t)i,
                      (int64_t)prefixes.count);
        err = list_prefix(plan, prefixes.prefix[i]);
    }
    verify_prefixes_release(&prefixes);
    progress_end(&plan->progress);
    plan->store_known = !err;
    if (err)
        ctl_refuse(plan->ctl, EX_OK, "what is in the bucket already is not known: %s",
                   plan->ask.fault.text);
}

static bool is_there(struct plan *plan, const struct batch_info *info)
{
    struct key_values values = plan->values;
    AUTO_BUF key = BUF_INIT(KEY_MAX);
    values.batch = info->id;
    values.created.ms = info->created;
    key_build(plan->ctl->settings.s3.manifest, &values, &key);
    return plan->store_known && key_set_has(&plan->stored, buf_text(&key));
}

/* ---- what Catalog has */

static void count_due(struct plan *plan, const struct batch_info *info,
                      const struct json_t *object)
{
    struct diagnose_counts counts;
    diagnose_read_counts(object, &counts);
    int64_t files = counts.files > 0 ? counts.files : 0;
    struct plan_calls calls = plan_count(files);
    plan->due++;
    plan->consolidations += info->class == BATCH_CONSOLIDATION;
    plan->unknown += counts.files < 0;
    plan->files += files;
    plan->bytes += counts.bytes > 0 ? counts.bytes : 0;
    plan->calls.listing_least += calls.listing_least;
    plan->calls.listing_most += calls.listing_most;
    plan->calls.content += calls.content;
}

static bool take(void *owner, const struct batch_info *info, const struct json_t *object)
{
    struct plan *plan = owner;
    progress_show(&plan->progress, "batches listed", ++plan->listed, 0);
    if (info->class == BATCH_SUB || info->other_dataset)
        plan->other++;
    else if (info->state == BATCH_OPEN || info->state == BATCH_STALLED)
        plan->open++;
    else if (info->state != BATCH_READABLE)
        plan->failed++;
    else if (is_there(plan, info))
        plan->there++;
    else
        count_due(plan, info, object);
    return true;
}

/* ---- what is said */

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The services are limited apart from each other, and work side by side. */
static int64_t seconds(const struct plan *plan, int64_t listing)
{
    int64_t rate = plan->ctl->settings.aep.requests_per_second;
    int64_t calls = larger(larger(listing, plan->calls.content), plan->listed / PAGE + 1);
    return rate > 0 ? (calls + rate - 1) / rate : 0;
}

static void show_people(const struct plan *plan, struct table *table)
{
    char bytes[BYTES_SIZE], least[SPAN_SIZE], most[SPAN_SIZE];
    table_note(table, "%" PRId64 " batches, %" PRId64 " files, %s to copy", plan->due,
               plan->files, terminal_bytes((double)plan->bytes, bytes));
    table_note(table,
               "%" PRId64 " to %" PRId64 " calls to Adobe; at %" PRId64
               " a second of each service at least %s to %s",
               plan->calls.listing_least + plan->calls.content,
               plan->calls.listing_most + plan->calls.content,
               plan->ctl->settings.aep.requests_per_second,
               terminal_span(1000 * seconds(plan, plan->calls.listing_least), least),
               terminal_span(1000 * seconds(plan, plan->calls.listing_most), most));
    table_note(table, "nothing was ordered (--plan)");
}

static void show(const struct plan *plan, struct table *table)
{
    char time[WALL_TEXT_SIZE];
    table_text(table, "dataset", "dataset", plan->dataset->id);
    table_text(table, "from", "from", wall_text((struct wall){ plan->from }, time));
    table_text(table, "to", "to", wall_text((struct wall){ plan->to }, time));
    table_number(table, "listed", "batches listed", plan->listed);
    table_number(table, "stored", "stored already", plan->store_known ? plan->there : -1);
    table_number(table, "due", "to be copied", plan->due);
    table_number(table, "consolidations", "consolidations", plan->consolidations);
    table_number(table, "open", "not readable yet", plan->open);
    table_number(table, "failed", "failed or gone", plan->failed);
    table_number(table, "other", "no lake files", plan->other);
    table_number(table, "files_unknown", "files not said", plan->unknown);
    if (plan->ctl->json) {
        table_number(table, "files", "", plan->files);
        table_number(table, "bytes", "", plan->bytes);
        table_number(table, "calls_least", "", plan->calls.listing_least + plan->calls.content);
        table_number(table, "calls_most", "", plan->calls.listing_most + plan->calls.content);
        table_number(table, "seconds_least", "", seconds(plan, plan->calls.listing_least));
        table_number(table, "seconds_most", "", seconds(plan, plan->calls.listing_most));
    } else {
        show_people(plan, table);
    }
}

/* ---- the command */

static int read_words(struct plan *plan)
{
    struct ctl *ctl = plan->ctl;
    struct wall from = { 0 }, to = { 0 };
    plan->dataset = ctl_configured(ctl, ctl->word[0]);
    if (!plan->dataset)
        return ask_no_dataset(ctl, ctl->word[0]);
    int code = lookup_time(ctl, "FROM", ctl->word[1], &from);
    if (code == EX_OK)
        code = lookup_time(ctl, "TO", ctl->word[2], &to);
    if (code == EX_OK && from.ms >= to.ms)
        code = ctl_refuse(ctl, EX_USAGE, "FROM has to be before TO");
    plan->from = from.ms;
    plan->to = to.ms;
    plan->values = (struct key_values){ .prefix = ctl->settings.s3.prefix,
                                        .dataset = plan->dataset->as,
                                        .dataset_id = plan->dataset->id,
                                        .generation = KEY_GENERATION_1 };
    return code;
}

static int walk(struct plan *plan)
{
    struct pages pages = { .ask = &plan->ask,
                           .dataset = plan->dataset->id,
                           .from = plan->from,
                           .before = plan->to,
                           .owner = plan,
                           .take = take };
    look_at_store(plan);
    enum err err = pages_walk(&pages);
    progress_end(&plan->progress);
    if (err)
        return ask_refuse(&plan->ask, plan->dataset->id);
    if (plan->listed > 0)
        return EX_OK;
    AUTO_JSON *root = NULL;
    const struct json_t *object;
    return lookup_dataset(&plan->ask, plan->dataset->id, "name", &root, &object);
}

int plan_run(struct ctl *ctl)
{
    struct plan plan = { .ctl = ctl };
    int code = read_words(&plan);
    if (code != EX_OK)
        return code;
    code = ask_init(&plan.ask, ctl, true);
    if (code == EX_OK)
        code = walk(&plan);
    if (code == EX_OK) {
        struct table *table = table_new(ctl);
        show(&plan, table);
        code = table_end(table, code);
    }
    ask_release(&plan.ask);
    key_set_release(&plan.stored);
    return code;
}
