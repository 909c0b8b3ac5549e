/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which physical files a batch has: lists its dataset files, and each of those, several at a
 * time, so that the first file is copied before the listing ends. Rows are handed on in portions;
 * listing goes on while a portion is on its way and pauses when too many rows wait.
 */
#ifndef SLUICE_DAEMON_BATCH_LIST_H
#define SLUICE_DAEMON_BATCH_LIST_H

#include "daemon/core.h"
#include "lib/aep/access.h"

struct batch_list {
    /* Set by the owner, kept until done. */
    struct core *core;
    const char *batch;
    /*
     * Rows wait in files/count, or the listing has ended (`complete`). The owner takes what it
     * wants with batch_list_take and may be called again at once.
     */
    void (*ready)(struct batch_list *list);
    /* ---- */
    struct fault fault; /* set before `ready` if the listing failed */
    bool complete;      /* no more rows will come */
    struct access_file *files;
    size_t count;
    /* private */
    size_t size;
    struct list waiting, running; /* levels: dataset files to list, being listed */
    size_t levels;                /* started in all, against runaway nesting */
    bool stopping, told;
    struct deferred step;
};
void batch_list_start(struct batch_list *list);
/* Drops the first `count` rows. */
void batch_list_take(struct batch_list *list, size_t count);
/* `ready` with complete and ERR_CANCELLED follows once nothing runs any more. */
void batch_list_cancel(struct batch_list *list);
void batch_list_release(struct batch_list *list); /* only when complete */

#endif
