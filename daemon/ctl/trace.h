/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the command trace: trace.c finds the batch and says what comes next, trace_queue.c
 * shows what Redis remembers of it, trace_store.c what the bucket holds.
 */
#ifndef SLUICE_DAEMON_CTL_TRACE_H
#define SLUICE_DAEMON_CTL_TRACE_H

#include "daemon/ctl/inquiry.h"
#include "daemon/ctl/lookup.h"
#include "daemon/ctl/table.h"

struct trace {
    struct ctl *ctl;
    struct inquiry inquiry;
    struct ask ask;
    struct table *table;
    char *id, *batch; /* of the task, NULL = the queue does not know it; of the batch */
    char *shown;      /* lines of sluice_show: name, blank, value; "" */
    const struct dataset_settings *dataset; /* NULL = not configured */
    int64_t created, generation;            /* created -1 = nobody said */
    bool stored, revoked, store_known;
};

/* A value of sluice_show as text, "" if there is none; mem_free. */
char *trace_field(const struct trace *trace, const char *name);
int64_t trace_number(const struct trace *trace, const char *name); /* 0 if none */

/* The task, its files, its events. */
void trace_show_task(struct trace *trace);
enum err trace_show_files(struct trace *trace, struct fault *fault) MUST_CHECK;
enum err trace_show_events(struct trace *trace, struct fault *fault) MUST_CHECK;

/* HEAD of the manifest and of the revocation, for the dataset or for any configured one. */
void trace_look_at_store(struct trace *trace);

#endif
