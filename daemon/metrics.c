/* SPDX-License-Identifier: Apache-2.0 */
/* Counters in Prometheus' text format. Pure. */
#include "daemon/metrics.h"

#include <inttypes.h>
#include <string.h>

#include "lib/base/json.h"

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

/* A label is quoted as a text of JSON is. */
static void print_exported(const struct metrics *metrics, struct buf *out)
{
    static const char name[] = "sluice_exported_bytes_total";
    if (metrics->exported)
        buf_print(out,
                  "# HELP %s file bytes received from the source, by dataset\n"
                  "# TYPE %s counter\n",
                  name, name);
    for (const struct metrics_exported *at = metrics->exported; at; at = at->next) {
        buf_print(out, "%s{dataset=", name);
        json_write_text(out, at->dataset, strlen(at->dataset));
        buf_print(out, "} %" PRId64 "\n", at->bytes);
    }
}

/* Classes appear with their first task. */
static void print_dead(const struct metrics *metrics, struct buf *out)
{
    static const char name[] = "sluice_dead_letters_by_class_total";
    bool begun = false;
    for (enum err code = 0; code < ERR_COUNT; code++) {
        if (metrics->dead_by_class[code] == 0)
            continue;
        if (!begun)
            buf_print(out, "# HELP %s tasks given up, by their last error\n# TYPE %s counter\n",
                      name, name);
        begun = true;
        buf_print(out, "%s{class=\"%s\"} %" PRId64 "\n", name, err_name(code),
                  metrics->dead_by_class[code]);
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
}

void metrics_print_gauge(struct buf *out, const char *name, const char *help, double value)
{
    buf_print(out, "# HELP %s %s\n# TYPE %s gauge\n%s %.15g\n", name, help, name, name, value);
}
