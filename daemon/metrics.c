/* SPDX-License-Identifier: Apache-2.0 */
/* Counters in Prometheus' text format. Pure. */
#include "daemon/metrics.h"

#include <inttypes.h>

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
}

void metrics_print_gauge(struct buf *out, const char *name, const char *help, double value)
{
    buf_print(out, "# HELP %s %s\n# TYPE %s gauge\n%s %.15g\n", name, help, name, name, value);
}
