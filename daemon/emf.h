/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Figures for CloudWatch in its embedded metric format: one JSON line that says which of its
 * members are metrics. No call to AWS: an agent that knows the format takes it from there. Pure.
 *
 * Source: Amazon CloudWatch user guide, "Embedded metric format specification".
 */
#ifndef SLUICE_DAEMON_EMF_H
#define SLUICE_DAEMON_EMF_H

#include "lib/base/buf.h"
#include "lib/base/clock.h"

#define EMF_NAMESPACE "Sluice"

/* At one moment; what only grows counts from the start of the process. */
struct emf_sample {
    int64_t at_ms;
    double batches, files, bytes_received, bytes_stored;
    double retries, dead_letters, calls, calls_failed;
    double tasks, task_seconds, delays, delay_seconds, cpu_seconds;
    double dead_tasks, lag_seconds, not_ready, resident_bytes, open_fds; /* as they are now */
};

/* One line about the time between two samples; a figure that nothing was measured for is left out. */
void emf_line(struct buf *out, const struct emf_sample *before, const struct emf_sample *now,
              const char *host);

#endif
