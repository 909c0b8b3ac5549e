/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl jobs: what operators have ordered, oldest order first, and how far it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ctl/order.h"
#include "daemon/ctl/table.h"

#define PAGE "1000"

static int jobs_run(struct ctl *ctl);

const struct ctl_command ctl_jobs = {
    .name = "jobs",
    .arguments = "[DATASET]",
    .words_max = 1,
    .run = jobs_run,
    .help = "      backfills and replays: status, lane, what is open below them\n",
};

static const struct table_column column[] = {
    { "id", "JOB", TABLE_TEXT },          { "status", "STATUS", TABLE_TEXT },
    { "phase", "PHASE", TABLE_TEXT },     { "lane", "LANE", TABLE_TEXT },
    { "from", "FROM", TABLE_TIME },       { "to", "TO", TABLE_TIME },
    { "ordered", "ORDERED", TABLE_TIME }, { "open", "OPEN", TABLE_NUMBER },
    { "failed", "FAILED", TABLE_NUMBER }, { "error", "ERROR", TABLE_TEXT },
};
#define COLUMNS (sizeof column / sizeof *column)

struct job {
    char *id;
    struct inquiry_texts fields;
    int64_t open, dead;
};

struct jobs {
    struct inquiry inquiry;
    struct job *job;
    size_t count;
};

/* What a phase means to people. */
static const char *phase_text(const char *phase)
{
    static const struct {
        const char *phase, *text;
    } row[] = {
        { "fan", "listing" }, { "wait", "copying" }, { "fin", "noting" }, { "end", "over" }
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (strcmp(row[i].phase, phase) == 0)
            return row[i].text;
    return phase;
}

static const char *key_of(const struct jobs *jobs)
{
    return jobs->inquiry.ctl->settings.redis.prefix;
}

static enum err count(struct jobs *jobs, const char *index, const char *id, int64_t *ret,
                      struct fault *fault)
{
    AUTO_TEXTS answer = { 0 };
    AUTO_TEXT char *key = mem_print("%s%s:%s", key_of(jobs), index, id);
    enum err err =
        inquiry_texts(&jobs->inquiry, 2, (const char *const[]){ "SCARD", key }, &answer, fault);
    *ret = inquiry_number_at(&answer, 0);
    return err;
}

/* One that has expired since it was found is left out. */
static enum err look(struct jobs *jobs, const char *id, struct fault *fault)
{
    struct job job = { .id = mem_copy_text(id) };
    AUTO_TEXT char *key = mem_print("%st:%s", key_of(jobs), id);
    enum err err = inquiry_texts(&jobs->inquiry, 2, (const char *const[]){ "HGETALL", key },
                                 &job.fields, fault);
    if (!err)
        err = count(jobs, "open", id, &job.open, fault);
    if (!err)
        err = count(jobs, "dead", id, &job.dead, fault);
    if (err || job.fields.count == 0) {
        inquiry_texts_release(&job.fields);
        mem_free(job.id);
        return err;
    }
    jobs->job = mem_grow(jobs->job, jobs->count + 1, sizeof *jobs->job);
    jobs->job[jobs->count++] = job;
    return OK;
}

static bool is_known(const struct jobs *jobs, const char *id)
{
    for (size_t i = 0; i < jobs->count; i++)
        if (strcmp(jobs->job[i].id, id) == 0)
            return true;
    return false;
}

static enum err find(struct jobs *jobs, const char *dataset, struct fault *fault)
{
    AUTO_TEXT char *pattern = mem_print("%st:j/%s/*", key_of(jobs), dataset ? dataset : "*");
    AUTO_TEXT char *cursor = mem_copy_text("0");
    size_t before = strlen(key_of(jobs)) + strlen("t:");
    do {
        AUTO_TEXTS page = { 0 };
        const char *word[] = { "SCAN", cursor, "MATCH", pattern, "COUNT", PAGE };
        enum err err = inquiry_texts(&jobs->inquiry, 6, word, &page, fault);
        for (size_t i = 1; !err && i < page.count; i++)
            if (strlen(page.text[i]) > before && !is_known(jobs, page.text[i] + before))
                err = look(jobs, page.text[i] + before, fault);
        if (err)
            return err;
        mem_set_text(&cursor, inquiry_text_at(&page, 0));
    } while (strcmp(cursor, "0") != 0);
    return OK;
}

static int64_t number_of(const struct job *job, const char *name)
{
    return strtoll(inquiry_field(&job->fields, name), NULL, 10);
}

static int by_order(const void *a, const void *b)
{
    int64_t x = number_of(a, "created_at"), y = number_of(b, "created_at");
    return x < y ? -1 : x > y;
}

static void show(struct table *table, const struct jobs *jobs)
{
    table_list(table, "jobs", NULL, column, COLUMNS);
    for (size_t i = 0; i < jobs->count; i++) {
        const struct job *job = &jobs->job[i];
        const char *error = inquiry_field(&job->fields, "error");
        const struct table_cell cell[COLUMNS] = {
            { .text = job->id },
            { .text = inquiry_field(&job->fields, "status") },
            { .text = phase_text(inquiry_field(&job->fields, "phase")) },
            { .text = inquiry_field(&job->fields, "lane") },
            { .number = number_of(job, "from") },
            { .number = number_of(job, "to") },
            { .number = number_of(job, "created_at") },
            { .number = job->open },
            { .number = job->dead },
            { .text = *error ? error : NULL },
        };
        table_row(table, cell);
    }
    table_list_end(table);
    if (jobs->count == 0)
        table_note(table, "no job; sluicectl backfill DATASET FROM TO orders one");
}

static void release(struct jobs *jobs)
{
    for (size_t i = 0; i < jobs->count; i++) {
        inquiry_texts_release(&jobs->job[i].fields);
        mem_free(jobs->job[i].id);
    }
    mem_free(jobs->job);
    inquiry_release(&jobs->inquiry);
}

static int jobs_run(struct ctl *ctl)
{
    struct jobs jobs = { .job = NULL };
    struct fault fault = { 0 };
    int code = EX_OK;
    enum err err = inquiry_init(&jobs.inquiry, ctl, &fault);
    if (!err)
        err = find(&jobs, ctl->words ? order_dataset(ctl, ctl->word[0]) : NULL, &fault);
    if (err) {
        code = inquiry_refuse(ctl, &fault);
    } else {
        struct table *table = table_new(ctl);
        if (jobs.count > 0)
            qsort(jobs.job, jobs.count, sizeof *jobs.job, by_order);
        show(table, &jobs);
        (void)table_end(table, code);
    }
    release(&jobs);
    return code;
}
