/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl batches: the batches of a dataset, newest first. */
#include "daemon/ctl/batches.h"

#include <string.h>

#include "daemon/ctl/pages.h"
#include "lib/aep/diagnose.h"
#include "lib/base/encode.h"

#define LIMIT       50
#define LIMIT_MAX   1000000
#define STATUS_MAX  100
#define FAILED_ONES "failed,failure"

struct batches {
    struct ctl *ctl;
    struct ask ask;
    struct table *table;
    const char *dataset, *as, *status;
    int64_t from, before; /* created in [from, before) */
    uint64_t limit, shown;
    bool cut; /* there is more */
    int code; /* of exports */
};

static int batches_run(struct ctl *ctl);

const struct ctl_command ctl_batches = {
    .name = "batches",
    .arguments = "DATASET [--from TIME] [--to TIME] [--status STATUS | --failed [--export]] "
                 "[--limit N]",
    .words_min = 1,
    .words_max = 1,
    .flags = CTL_FROM | CTL_TO | CTL_STATUS | CTL_FAILED | CTL_EXPORT | CTL_LIMIT,
    .run = batches_run,
    .help = "      the newest batches (50) created in [from, to); --failed: failed ones with "
            "their\n"
            "      error codes; --export: copies their diagnostics into the bucket\n",
};

static const struct table_column column[] = {
    { "id", "BATCH", TABLE_TEXT },        { "created", "CREATED", TABLE_TIME },
    { "status", "STATUS", TABLE_TEXT },   { "class", "CLASS", TABLE_TEXT },
    { "files", "FILES", TABLE_NUMBER },   { "records", "RECORDS", TABLE_NUMBER },
    { "failed", "FAILED", TABLE_NUMBER }, { "errors", "ERRORS", TABLE_TEXT },
};
#define COLUMNS (sizeof column / sizeof *column)

static const char *const class_name[] = {
    [BATCH_LAKE] = "lake",
    [BATCH_SUB] = "sub",
    [BATCH_CONSOLIDATION] = "consolidation",
    [BATCH_REPLACEMENT] = "replacement",
};

/* ---- one row */

static void show(struct batches *run, const struct batch_info *info,
                 const struct json_t *object)
{
    AUTO_BUF codes = BUF_INIT(1000);
    struct diagnose_counts counts;
    diagnose_read_counts(object, &counts);
    diagnose_write_codes(object, &codes);
    const struct table_cell cell[] = {
        { .text = info->id },        { .number = info->created },
        { .text = info->status },    { .text = class_name[info->class] },
        { .number = counts.files },  { .number = counts.records },
        { .number = counts.failed }, { .text = codes.len ? buf_text(&codes) : NULL },
    };
    table_row(run->table, cell);
}

/* False: enough. */
static bool take(void *owner, const struct batch_info *info, const struct json_t *object)
{
    struct batches *run = owner;
    if (run->shown == run->limit) {
        run->cut = true;
        return false;
    }
    run->shown++;
    if (!(run->ctl->flags & CTL_EXPORT)) {
        show(run, info, object);
        return true;
    }
    int code = quarantine_batch(&run->ask, run->table, run->as, info->id);
    run->code = run->code > 1 ? run->code : code;
    return run->code <= 1;
}

/* ---- the command */

static int check_status(struct batches *run)
{
    const struct ctl *ctl = run->ctl;
    const char *allowed = "abcdefghijklmnopqrstuvwxyz,!";
    if (ctl->flags & CTL_FAILED) {
        run->status = FAILED_ONES;
        return ctl->status
                   ? ctl_refuse(ctl, EX_USAGE, "--failed and --status exclude each other")
                   : EX_OK;
    }
    if (ctl->flags & CTL_EXPORT)
        return ctl_refuse(ctl, EX_USAGE, "--export wants --failed");
    run->status = ctl->status;
    if (run->status && (strlen(run->status) > STATUS_MAX || !run->status[0] ||
                        strspn(run->status, allowed) < strlen(run->status)))
        return ctl_refuse(ctl, EX_USAGE,
                          "--status wants words of Catalog in lower case, like success or "
                          "loading,staged");
    return EX_OK;
}

static int read_words(struct batches *run)
{
    const struct ctl *ctl = run->ctl;
    struct wall from = { 0 }, to = { loop_wall(ctl->loop).ms + 86400000 }; /* skewed clocks */
    run->dataset = ask_dataset(ctl, ctl->word[0]);
    if (!run->dataset)
        return ask_no_dataset(ctl, ctl->word[0]);
    const struct dataset_settings *known = settings_dataset(&ctl->settings, run->dataset);
    run->as = known ? known->as : run->dataset;
    int code = lookup_time(ctl, "--from", ctl->from, &from);
    if (code == EX_OK)
        code = lookup_time(ctl, "--to", ctl->to, &to);
    if (code == EX_OK && from.ms >= to.ms)
        code = ctl_refuse(ctl, EX_USAGE, "--from has to be before --to");
    if (code == EX_OK)
        code = lookup_number(ctl, "--limit", ctl->limit, LIMIT_MAX, &run->limit);
    run->from = from.ms;
    run->before = to.ms;
    return code == EX_OK ? check_status(run) : code;
}

/* An empty list: is there such a dataset at all? */
static int check_empty(struct batches *run)
{
    AUTO_JSON *root = NULL;
    const struct json_t *object;
    return lookup_dataset(&run->ask, run->dataset, "name", &root, &object);
}

static int walk(struct batches *run)
{
    struct pages pages = { .ask = &run->ask,
                           .dataset = run->dataset,
                           .status = run->status,
                           .from = run->from,
                           .before = run->before,
                           .owner = run,
                           .take = take };
    if (pages_walk(&pages))
        return ask_refuse(&run->ask, run->shown ? "the list is not complete" : run->dataset);
    if (run->shown == 0)
        return check_empty(run);
    table_list_end(run->table);
    if (run->cut)
        ctl_refuse(run->ctl, EX_OK, "there are more than %llu; --limit N or --to shows them",
                   (unsigned long long)run->limit);
    return run->code;
}

static int batches_run(struct ctl *ctl)
{
    struct batches run = { .ctl = ctl, .limit = LIMIT };
    bool copies = ctl->flags & CTL_EXPORT;
    int code = read_words(&run);
    if (code != EX_OK)
        return code;
    run.table = table_new(ctl);
    code = ask_init(&run.ask, ctl, copies);
    if (code == EX_OK) {
        table_list(run.table, copies ? "quarantine" : "batches", NULL,
                   copies ? quarantine_column : column, copies ? QUARANTINE_COLUMNS : COLUMNS);
        code = walk(&run);
    }
    ask_release(&run.ask);
    return table_end(run.table, code);
}
