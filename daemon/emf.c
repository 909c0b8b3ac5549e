/* SPDX-License-Identifier: Apache-2.0 */
/* CloudWatch's embedded metric format. Pure. */
#include "daemon/emf.h"

#include <inttypes.h>
#include <string.h>

#include "lib/base/json.h"

/* GROWTH: between the samples. MEAN: growth by growth of `per`. NOW: as it is; below 0 unknown. */
enum kind { GROWTH, MEAN, NOW };

#define AT(member) offsetof(struct emf_sample, member)

static const struct {
    const char *name, *unit;
    enum kind kind;
    size_t value, per;
    double scale;
} row[] = {
    { "BatchesCommitted", "Count", GROWTH, AT(batches), 0, 1 },
    { "FilesStored", "Count", GROWTH, AT(files), 0, 1 },
    { "BytesReceived", "Bytes", GROWTH, AT(bytes_received), 0, 1 },
    { "BytesStored", "Bytes", GROWTH, AT(bytes_stored), 0, 1 },
    { "Retries", "Count", GROWTH, AT(retries), 0, 1 },
    { "Failures", "Count", GROWTH, AT(dead_letters), 0, 1 },
    { "Calls", "Count", GROWTH, AT(calls), 0, 1 },
    { "CallsFailed", "Count", GROWTH, AT(calls_failed), 0, 1 },
    { "TasksEnded", "Count", GROWTH, AT(tasks), 0, 1 },
    { "ExecutionTime", "Seconds", MEAN, AT(task_seconds), AT(tasks), 1 },
    { "BatchDelay", "Seconds", MEAN, AT(delay_seconds), AT(delays), 1 },
    { "CpuUtilization", "Percent", MEAN, AT(cpu_seconds), AT(at_ms), 100000 },
    { "DeadTasks", "Count", NOW, AT(dead_tasks), 0, 1 },
    { "Lag", "Seconds", NOW, AT(lag_seconds), 0, 1 },
    { "NotReady", "Count", NOW, AT(not_ready), 0, 1 },
    { "ResidentMemory", "Bytes", NOW, AT(resident_bytes), 0, 1 },
    { "OpenFiles", "Count", NOW, AT(open_fds), 0, 1 },
};
#define ROWS (sizeof row / sizeof *row)

static double member(const struct emf_sample *sample, size_t offset)
{
    if (offset == AT(at_ms))
        return (double)sample->at_ms;
    return *(const double *)(const void *)((const char *)sample + offset);
}

static double growth(const struct emf_sample *before, const struct emf_sample *now,
                     size_t offset)
{
    return member(now, offset) - member(before, offset);
}

/* False: there is nothing to tell. */
static bool value_of(size_t at, const struct emf_sample *before, const struct emf_sample *now,
                     double *ret)
{
    double value =
        row[at].kind == NOW ? member(now, row[at].value) : growth(before, now, row[at].value);
    double per = row[at].kind == MEAN ? growth(before, now, row[at].per) : 1;
    if (per <= 0 || value < 0)
        return false;
    *ret = value / per * row[at].scale;
    return true;
}

static void write_directive(struct buf *out, const struct emf_sample *before,
                            const struct emf_sample *now)
{
    double value;
    buf_print(out,
              "{\"_aws\":{\"Timestamp\":%" PRId64
              ",\"CloudWatchMetrics\":[{\"Namespace\":\"" EMF_NAMESPACE
              "\",\"Dimensions\":[[\"Service\"]],\"Metrics\":[",
              now->at_ms);
    bool first = true;
    for (size_t i = 0; i < ROWS; i++) {
        if (!value_of(i, before, now, &value))
            continue;
        buf_print(out, "%s{\"Name\":\"%s\",\"Unit\":\"%s\"}", first ? "" : ",", row[i].name,
                  row[i].unit);
        first = false;
    }
    buf_add_text(out, "]}]},");
}

void emf_line(struct buf *out, const struct emf_sample *before, const struct emf_sample *now,
              const char *host)
{
    double value;
    write_directive(out, before, now);
    buf_add_text(out, "\"Service\":\"sluiced\",\"Host\":");
    json_write_text(out, host, strlen(host));
    for (size_t i = 0; i < ROWS; i++)
        if (value_of(i, before, now, &value))
            buf_print(out, ",\"%s\":%.15g", row[i].name, value);
    buf_add_text(out, "}\n");
}
