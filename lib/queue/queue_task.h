/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes to the queue and what comes from it: tasks, fields, and the operation that one verb
 * of queue.h fills with its results.
 */
#ifndef SLUICE_QUEUE_QUEUE_TASK_H
#define SLUICE_QUEUE_QUEUE_TASK_H

#include "lib/base/buf.h"

#define QUEUE_ID_MAX 400

enum queue_kind { QUEUE_TAIL, QUEUE_JOB, QUEUE_WINDOW, QUEUE_BATCH, QUEUE_FILE, QUEUE_KINDS };
const char *queue_kind_name(enum queue_kind kind); /* "tail" "job" "window" "batch" "file" */

enum queue_lane { QUEUE_LIVE, QUEUE_BACKFILL, QUEUE_LANES }; /* "live", "backfill" */
enum queue_class { QUEUE_CONTROL, QUEUE_FILES };             /* everything but files; files */

struct queue_field {
    const char *name, *value;
};

/* A claimed task: its hash as it was at the claim, with us as the holder. Heap; queue_task_free. */
struct queue_task {
    char *id; /* "b/<dataset>/<batch>", of a replay "b/<dataset>/<generation>/<batch>" */
    enum queue_kind kind;
    enum queue_lane lane;
    char *dataset, *phase, *parent, *offset, *fence;
    int64_t order; /* creation time of the batch, or start of the range; ms */
    int attempts, lost;
    int64_t created_at;
    struct queue_field *field; /* all fields of the hash, these included */
    size_t fields;
    char *bytes; /* what the fields point into */
};
void queue_task_free(struct queue_task *task);
const char *queue_task_get(const struct queue_task *task,
                           const char *name); /* NULL if absent */
int64_t queue_task_int(const struct queue_task *task, const char *name, int64_t absent);

/*
 * What an id says (see queue.lua): whether the task belongs to a replay, and for windows, batches
 * and files of one its generation; 1 for all others. Pure.
 */
bool queue_id_is_replay(const char *id);
int64_t queue_id_generation(const char *id);

/* A child made by fan. Strings borrowed until queue_fan returned. */
struct queue_child {
    enum queue_kind kind;
    const char *id;
    enum queue_lane lane;
    int64_t order;
    const struct queue_field *field;
    size_t fields;
};

/*
 * One operation, embedded by its owner and kept until `done` (exactly once, from the loop).
 * Zeroed before its first use; starting it again releases the results of the last time.
 */
struct queue_op {
    void (*done)(struct queue_op *op);
    struct fault fault;
    /* results, by verb */
    struct queue_task *
        *task; /* claim: the owner takes the tasks (set NULL); else release frees */
    size_t tasks;
    int64_t number; /* fan: room for more open files; tick: tasks moved */
    int64_t strays; /* fan: completed files that a sealed listing no longer names */
    int64_t seq;    /* the queue's mutation counter, where the verb returns it */
    int64_t live_daemons, inbox, lapsed; /* tick */
    int64_t server_ms;                   /* tick, dataset: the time of Redis */
    bool found;                          /* field */
    bool *held;              /* beat: per task in order; false = fenced or cancelled */
    struct queue_field *row; /* rows: id → row text; tick (poisoned), scan: ids alone */
    size_t rows;
    /* relist: relisted|dropped|worn */
    /* submit: new|dup|have|revived; peek: the element; accept: the answer, "rejected: why" or
     * "gone" (another daemon was first); stat: its lines; field: its value; scan: the cursor */
    struct buf text;
    /* private */
    struct queue_run *run;
};
void queue_op_release(struct queue_op *op); /* frees the results; not while it is running */

#endif
