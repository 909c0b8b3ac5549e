/* SPDX-License-Identifier: Apache-2.0 */
/* Counters in Prometheus' text format. Pure. */
#include "daemon/metrics.h"

#include <inttypes.h>
#include <string.h>

#include "daemon/families.h"

struct metrics_exported {
    struct metrics_exported *next;
    char *dataset;
    int64_t bytes, saving, saved;
};

static const struct {
    size_t offset;
    const char *name, *help;
} row[] = {
#define X(member, name, help) { offsetof(struct metrics, member), name, help },
    METRIC_LIST(X)
#undef X
};

void metrics_count_dead(struct metrics *metrics, enum err why)
{
    metrics->dead_letters++;
    metrics->dead_by_class[why]++;
}

static struct metrics_exported *exported_of(struct metrics *metrics, const char *dataset)
{
    struct metrics_exported **at = &metrics->exported;
    while (*at && strcmp((*at)->dataset, dataset) != 0)
        at = &(*at)->next;
    if (!*at) {
        *at = mem_alloc(sizeof **at);
        (*at)->dataset = mem_copy_text(dataset);
    }
    return *at;
}

int64_t *metrics_exported(struct metrics *metrics, const char *dataset)
{
    return &exported_of(metrics, dataset)->bytes;
}

int64_t metrics_unsaved(struct metrics *metrics, const char *dataset)
{
    struct metrics_exported *exported = exported_of(metrics, dataset);
    exported->saving = exported->bytes;
    return exported->saving - exported->saved;
}

void metrics_saved(struct metrics *metrics)
{
    for (struct metrics_exported *at = metrics->exported; at; at = at->next)
        at->saved = at->saving;
}

void metrics_release(struct metrics *metrics)
{
    for (struct metrics_exported *next, *at = metrics->exported; at; at = next) {
        next = at->next;
        mem_free(at->dataset);
        mem_free(at);
    }
    metrics->exported = NULL;
}

static void print_exported(const struct metrics *metrics, struct buf *out)
{
    if (metrics->exported)
        family_begin(out, FAMILY_EXPORTED);
    for (const struct metrics_exported *at = metrics->exported; at; at = at->next) {
        struct label dataset = { "dataset", at->dataset };
        family_sample(out, FAMILY_EXPORTED, &dataset, 1, (double)at->bytes);
    }
}

/* Classes appear with their first task. */
static void print_dead(const struct metrics *metrics, struct buf *out)
{
    if (metrics->dead_letters)
        family_begin(out, FAMILY_DEAD_BY_CLASS);
    for (enum err code = 0; code < ERR_COUNT; code++) {
        struct label class = { "class", err_name(code) };
        if (metrics->dead_by_class[code])
            family_sample(out, FAMILY_DEAD_BY_CLASS, &class, 1,
                          (double)metrics->dead_by_class[code]);
    }
}

static void print_histograms(const struct metrics *metrics, struct buf *out)
{
    family_begin(out, FAMILY_BATCH_DELAY);
    family_histogram(out, FAMILY_BATCH_DELAY, NULL, 0, &metrics->batch_delay);
    family_begin(out, FAMILY_TASK_SECONDS);
    for (enum queue_kind kind = 0; kind < QUEUE_KINDS; kind++) {
        struct label label = { "kind", queue_kind_name(kind) };
        family_histogram(out, FAMILY_TASK_SECONDS, &label, 1, &metrics->task_seconds[kind]);
    }
}

void metrics_print(const struct metrics *metrics, struct buf *out)
{
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const int64_t *value = (const void *)((const char *)metrics + row[i].offset);
        buf_print(out, "# HELP %s %s\n# TYPE %s counter\n%s %" PRId64 "\n", row[i].name,
                  row[i].help, row[i].name, row[i].name, *value);
    }
    print_dead(metrics, out);
    print_exported(metrics, out);
    print_histograms(metrics, out);
}
