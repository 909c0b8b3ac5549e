/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl datasets: which datasets the credential sees in its sandbox. Pages of 100 with few
 * properties, because an unfiltered list can be gigabytes; printed as they come. A short page does
 * not prove the end, an empty one does.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "daemon/ctl/ask.h"
#include "daemon/ctl/table.h"
#include "lib/aep/dataset.h"
#include "lib/aep/seen.h"

#define PAGE      100
#define PAGES_MAX 10000
#define PROPERTIES                                                                             \
    "name,schemaRef,tags,fileDescription,created,updated,classification,state,lastBatchId,"    \
    "lastBatchStatus"

static int datasets_run(struct ctl *ctl);

const struct ctl_command ctl_datasets = {
    .name = "datasets",
    .arguments = "[--name TEXT] [--all]",
    .flags = CTL_NAME | CTL_ALL,
    .run = datasets_run,
    .help =
        "      which datasets there are; with TEXT in their names; --all: those that Adobe\n"
        "      manages, too\n",
};

static const struct table_column column[] = {
    { "id", "ID", TABLE_TEXT },
    { "name", "NAME", TABLE_TEXT },
    { "format", "FORMAT", TABLE_TEXT },
    { "behaviour", "BEHAVIOUR", TABLE_TEXT },
    { "created", "CREATED", TABLE_TIME },
    { "last_batch", "LAST BATCH", TABLE_TEXT },
    { "last_status", "STATUS", TABLE_TEXT },
};

struct datasets {
    struct ctl *ctl;
    struct ask ask;
    struct table *table;
    struct seen seen;
    size_t start, hidden, all;
};

static bool is_wanted(struct datasets *run, const struct dataset_info *info)
{
    bool system = info->managed_by && strcasecmp(info->managed_by, "SYSTEM") == 0;
    if (run->ctl->name && !strcasestr(info->name ? info->name : "", run->ctl->name))
        return false;
    if (!system || (run->ctl->flags & CTL_ALL))
        return true;
    run->hidden++;
    return false;
}

static void show(struct datasets *run, const struct dataset_info *info)
{
    const struct table_cell cell[] = {
        { .text = info->id },          { .text = info->name },
        { .text = info->format },      { .text = info->behaviour },
        { .number = info->created },   { .text = info->last_batch },
        { .text = info->last_status },
    };
    table_row(run->table, cell);
}

/* How many rows there were, -1 after a fault. Rows that change places are shown once. */
static int take_page(struct datasets *run)
{
    AUTO_JSON *root = NULL;
    AUTO_TEXT char *path = mem_print("/data/foundation/catalog/dataSets?limit=%d&start=%zu"
                                     "&orderBy=asc:created&properties=" PROPERTIES,
                                     PAGE, run->start);
    if (ask_json(&run->ask, AEP_CATALOG, NULL, path, &root))
        return -1;
    if (!json_is_object(root)) {
        fault_set(&run->ask.fault, ERR_BAD_RESPONSE,
                  "Catalog: datasets are not a keyed object");
        return -1;
    }
    size_t fresh = 0;
    for (struct json_iter it = json_iter(root); json_iter_next(&it);) {
        struct dataset_info info;
        if (!seen_add(&run->seen, "dataset", it.name))
            continue;
        fresh++;
        run->all++;
        dataset_read(it.name, it.value, &info);
        if (is_wanted(run, &info))
            show(run, &info);
    }
    run->start += json_count(root);
    return fresh > 0 ? (int)json_count(root) : 0; /* nothing new: it ignores `start` */
}

static void explain(const struct datasets *run)
{
    const struct settings *settings = &run->ctl->settings;
    if (run->all == 0)
        fprintf(
            stderr,
            "sluicectl datasets: sandbox \"%s\" shows no dataset; a wrong name of a sandbox "
            "looks the same: check aep.sandbox and the role of the credential\n",
            settings->aep.sandbox);
    else if (run->hidden > 0)
        fprintf(stderr,
                "sluicectl datasets: %zu managed by Adobe are left out; --all shows them\n",
                run->hidden);
}

static int list(struct datasets *run)
{
    int rows = take_page(run), code;
    if (rows < 0)
        return ask_refuse(&run->ask, "datasets");
    for (int page = 1; rows > 0 && page < PAGES_MAX; page++)
        rows = take_page(run);
    code = rows < 0 ? ask_refuse(&run->ask, "the list is not complete") : EX_OK;
    table_list_end(run->table);
    if (code == EX_OK)
        explain(run);
    return code;
}

static int datasets_run(struct ctl *ctl)
{
    struct datasets run = { .ctl = ctl, .table = table_new(ctl) };
    int code = ask_init(&run.ask, ctl, false);
    if (code == EX_OK) {
        table_list(run.table, "datasets", NULL, column, sizeof column / sizeof *column);
        code = list(&run);
    }
    ask_release(&run.ask);
    seen_release(&run.seen);
    return table_end(run.table, code);
}
