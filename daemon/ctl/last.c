/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl last: the question that the ETL guide asks before each run: was the last batch a
 * success, may a new ingestion task be scheduled? The exit status is the answer.
 */
#include <string.h>

#include "daemon/ctl/lookup.h"
#include "daemon/ctl/table.h"

static int last_run(struct ctl *ctl);

const struct ctl_command ctl_last = {
    .name = "last",
    .arguments = "DATASET",
    .words_min = 1,
    .words_max = 1,
    .run = last_run,
    .help = "      the last batch, and whether a new ingestion may be scheduled: 0 yes, 1 no\n",
};

static const struct {
    bool may;
    const char *answer;
} verdict[] = {
    [BATCH_OPEN] = { false, "no, wait: the last batch is still on its way" },
    [BATCH_STALLED] = { false, "no, wait: Adobe ran out of retries and may revive the batch" },
    [BATCH_READABLE] = { true, "yes: the last batch was a success" },
    [BATCH_FAILED] = { false, "no, look at it: the last batch failed" },
    [BATCH_DROPPED] = { false, "no, look at it: the last batch was given up by its writer" },
    [BATCH_WITHDRAWN] = { false, "no, look at it: the last batch was withdrawn or replaced" },
};

static int answer(struct table *table, const char *dataset, const struct lookup_last *last)
{
    enum batch_state state = catalog_state(last->status ? last->status : "");
    bool none = !last->batch, may = none || verdict[state].may;
    table_text(table, "dataset", "dataset", dataset);
    table_text(table, "last_batch", "last batch", last->batch);
    table_text(table, "last_status", "its status", last->status);
    table_text(table, "last_success", "last successful", last->success);
    table_text(table, "last_failed", "last failed", last->failed);
    table_text(table, "source", "asked", last->source);
    table_text(table, "may_schedule", "new ingestion?",
               none ? "yes: there is no batch yet" : verdict[state].answer);
    if (state == BATCH_FAILED && !none)
        table_note(table, "next step: sluicectl files %s", last->batch);
    return may ? EX_OK : 1;
}

/* No batch at all: is there such a dataset? */
static int check_empty(struct ask *ask, const char *id)
{
    AUTO_JSON *root = NULL;
    const struct json_t *object;
    return lookup_dataset(ask, id, "name", &root, &object);
}

static int last_run(struct ctl *ctl)
{
    struct ask ask;
    struct lookup_last last = { 0 };
    const char *id = ask_dataset(ctl, ctl->word[0]);
    if (!id)
        return ask_no_dataset(ctl, ctl->word[0]);
    struct table *table = table_new(ctl);
    int code = ask_init(&ask, ctl, false);
    if (code == EX_OK)
        code = lookup_last(&ask, id, &last);
    if (code == EX_OK && !last.batch)
        code = check_empty(&ask, id);
    if (code == EX_OK)
        code = answer(table, id, &last);
    lookup_last_release(&last);
    ask_release(&ask);
    return table_end(table, code);
}
