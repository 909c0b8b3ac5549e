/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First the options of all datasets, then for each of them:
 *
 *   LOOK ─ is there a tail? ─▶ ANCHOR ─ where does one begin? (start: now)
 *     ─▶ JOBS ─▶ KNOWN ─▶ ORDER …         at start, or writes were lost: jobs of the ledger
 *     ─▶ REACHED ─▶ RECONCILE             writes were lost: the recent past once more
 *     ─▶ TAIL                             last: while it is missing, all before is repeated
 *
 * A step sends one call, its answer names the next step.
 */
#include "daemon/enroll.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ledger.h"
#include "daemon/tail.h"
#include "lib/base/log.h"
#include "lib/net/retry.h"
#include "lib/queue/queue_look.h"

#define AGAIN_BASE_MS 500
#define AGAIN_CAP_MS  30000

enum step { OPTIONS, LOOK, ANCHOR, JOBS, KNOWN, ORDER, REACHED, RECONCILE, TAIL, FINISHED };

struct enroll {
    struct core *core;
    struct enroll_events events;
    enum step step;
    bool store_ready, lost, restart, asking_store;
    bool complete; /* it was, once in this process */
    size_t dataset, job;
    int64_t *anchor; /* per dataset: what its tail.json says; 0 = not asked yet */
    unsigned epoch;  /* of the datasets that `anchor` is about */
    bool anew;       /* the dataset has no tail in Redis */
    int64_t start_ms, reached;
    int64_t server_ms; /* by Redis: our clock may be wrong, and Adobe's is not known yet */
    struct queue_op op;
    struct ledger_op record;
    struct timer again;
    int tries;
};

static void on_answer(struct queue_op *op);
static void on_record(struct ledger_op *op);
static void on_again(struct timer *timer);

static void start_options(struct enroll *enroll);
static void start_look(struct enroll *enroll);
static void start_anchor(struct enroll *enroll);
static void start_jobs(struct enroll *enroll);
static void start_known(struct enroll *enroll);
static void start_order(struct enroll *enroll);
static void start_reached(struct enroll *enroll);
static void start_reconcile(struct enroll *enroll);
static void start_tail(struct enroll *enroll);
static enum step after_options(struct enroll *enroll);
static enum step after_look(struct enroll *enroll);
static enum step after_anchor(struct enroll *enroll);
static enum step after_jobs(struct enroll *enroll);
static enum step after_known(struct enroll *enroll);
static enum step after_order(struct enroll *enroll);
static enum step after_reached(struct enroll *enroll);
static enum step after_reconcile(struct enroll *enroll);
static enum step after_tail(struct enroll *enroll);

static const struct {
    void (*start)(struct enroll *enroll);
    enum step (*after)(struct enroll *enroll);
} row[] = {
    [OPTIONS] = { start_options, after_options },
    [LOOK] = { start_look, after_look },
    [ANCHOR] = { start_anchor, after_anchor },
    [JOBS] = { start_jobs, after_jobs },
    [KNOWN] = { start_known, after_known },
    [ORDER] = { start_order, after_order },
    [REACHED] = { start_reached, after_reached },
    [RECONCILE] = { start_reconcile, after_reconcile },
    [TAIL] = { start_tail, after_tail },
};

struct enroll *enroll_new(struct core *core, const struct enroll_events *events)
{
    struct enroll *enroll = mem_alloc(sizeof *enroll);
    enroll->core = core;
    enroll->events = *events;
    enroll->step = FINISHED;
    enroll->anchor = mem_alloc_array(core->settings->datasets, sizeof *enroll->anchor);
    enroll->op.done = on_answer;
    enroll->record.done = on_record;
    enroll->again.fire = on_again;
    return enroll;
}

void enroll_free(struct enroll *enroll)
{
    if (!enroll)
        return;
    timer_clear(enroll->core->loop, &enroll->again);
    queue_cancel(&enroll->op);
    queue_op_release(&enroll->op);
    ledger_op_release(&enroll->record);
    mem_free(enroll->anchor);
    mem_free(enroll);
}

static const struct dataset_settings *dataset_of(const struct enroll *enroll)
{
    return &enroll->core->settings->dataset[enroll->dataset];
}

/* ---- from step to step */

static void enter(struct enroll *enroll, enum step step)
{
    enroll->step = step;
    timer_clear(enroll->core->loop, &enroll->again);
    if (step == LOOK && !enroll->store_ready)
        return;
    if (step == FINISHED) {
        enroll->lost = false;
        enroll->complete = true;
        enroll->tries = 0;
        enroll->events.finished(enroll->core);
        return;
    }
    queue_op_release(&enroll->op);
    row[step].start(enroll);
}

static void begin(struct enroll *enroll)
{
    const struct core *core = enroll->core;
    enroll->restart = false;
    enroll->dataset = 0;
    if (enroll->epoch != core->epoch) {
        mem_free(enroll->anchor);
        enroll->anchor = mem_alloc_array(core->settings->datasets, sizeof *enroll->anchor);
        enroll->epoch = core->epoch;
    }
    queue_cancel(&enroll->op);
    enter(enroll, OPTIONS);
}

void enroll_start(struct enroll *enroll, bool lost)
{
    enroll->lost = enroll->lost || lost;
    if (enroll->asking_store)
        enroll->restart = true; /* its answer comes first */
    else
        begin(enroll);
}

void enroll_reload(struct enroll *enroll)
{
    if (enroll->asking_store || queue_up(enroll->core->queue)) {
        enroll_start(enroll, false);
        return;
    }
    /* The next connection starts it anyway. What was under way was about the old datasets. */
    queue_cancel(&enroll->op);
    timer_clear(enroll->core->loop, &enroll->again);
    enroll->dataset = 0;
    enroll->step = FINISHED;
}

bool enroll_asks(const struct enroll *enroll)
{
    return enroll->asking_store;
}

void enroll_store_ready(struct enroll *enroll)
{
    enroll->store_ready = true;
    if (enroll->step == LOOK && enroll->dataset == 0)
        enter(enroll, LOOK);
}

/* The same step later; if the connection is gone, all of it after the next one. */
static void try_again(struct enroll *enroll, const struct fault *fault, bool store)
{
    enroll->events.failed(enroll->core, fault, store);
    int64_t ms = AGAIN_BASE_MS + retry_delay_ms(enroll->tries++, AGAIN_BASE_MS, AGAIN_CAP_MS,
                                                fault->retry_after_ms, core_random());
    if (store || queue_up(enroll->core->queue))
        timer_set_in(enroll->core->loop, &enroll->again, ms);
}

static void on_again(struct timer *timer)
{
    struct enroll *enroll = container_of(timer, struct enroll, again);
    enter(enroll, enroll->step);
}

static void on_answer(struct queue_op *op)
{
    struct enroll *enroll = container_of(op, struct enroll, op);
    if (op->fault.code)
        try_again(enroll, &op->fault, false);
    else
        enter(enroll, row[enroll->step].after(enroll));
}

static void on_record(struct ledger_op *op)
{
    struct enroll *enroll = container_of(op, struct enroll, record);
    enroll->asking_store = false;
    if (op->fault.code == ERR_CANCELLED)
        return;
    if (enroll->restart)
        begin(enroll);
    else if (op->fault.code)
        try_again(enroll, &op->fault, true);
    else
        enter(enroll, row[enroll->step].after(enroll));
}

/* ---- all datasets */

static void start_options(struct enroll *enroll)
{
    static const char *const order[] = { "concurrent", "commit", "sequential" };
    struct core *core = enroll->core;
    char most[24];
    snprintf(most, sizeof most, "%" PRId64, core->settings->queue.max_open_files);
    struct queue_field field[] = { { "order", order[dataset_of(enroll)->order] },
                                   { "max_open_files", most } };
    queue_dataset(core->queue, &enroll->op, dataset_of(enroll)->id, field, 2);
}

static enum step after_options(struct enroll *enroll)
{
    enroll->server_ms = enroll->op.server_ms;
    if (++enroll->dataset < enroll->core->settings->datasets)
        return OPTIONS;
    if (enroll->lost || !enroll->core->watched_since)
        enroll->core->watched_since = enroll->server_ms;
    enroll->dataset = 0;
    return LOOK;
}

/* ---- where the tail begins */

static void ask_tail(struct enroll *enroll, const char *name)
{
    AUTO_TEXT char *id = mem_print("tail/%s", dataset_of(enroll)->id);
    queue_field(enroll->core->queue, &enroll->op, id, name);
}

static void start_look(struct enroll *enroll)
{
    ask_tail(enroll, "start");
}

static enum step with_start(const struct enroll *enroll)
{
    return enroll->anew || enroll->lost || !enroll->complete ? JOBS : TAIL;
}

static enum step after_look(struct enroll *enroll)
{
    const struct core *core = enroll->core;
    int64_t fixed = dataset_of(enroll)->start_ms, known = enroll->anchor[enroll->dataset];
    enroll->anew = !enroll->op.found;
    enroll->start_ms = fixed >= 0 ? fixed : known;
    if (fixed >= 0 || known > 0)
        return with_start(enroll);
    /* A tail from before there were anchors says where it began. */
    enroll->start_ms = enroll->anew ? enroll->server_ms - core->settings->aep.overlap_ms
                                    : strtoll(buf_text(&enroll->op.text), NULL, 10);
    return ANCHOR;
}

static void start_anchor(struct enroll *enroll)
{
    enroll->asking_store = true;
    ledger_anchor(enroll->core->ledger, &enroll->record, dataset_of(enroll), enroll->start_ms);
}

static enum step after_anchor(struct enroll *enroll)
{
    enroll->start_ms = enroll->anchor[enroll->dataset] = enroll->record.start_ms;
    return with_start(enroll);
}

/* ---- jobs of the ledger */

static void start_jobs(struct enroll *enroll)
{
    enroll->asking_store = true;
    ledger_open_jobs(enroll->core->ledger, &enroll->record, dataset_of(enroll));
}

/*
 * Redis remembers jobs that have ended for queue.retention. An older one that it does not know may
 * just as well have been cancelled, unless we know that it lost something.
 */
static bool would_be_known(const struct enroll *enroll)
{
    int64_t kept_ms = enroll->core->settings->queue.retention_ms / 2;
    return enroll->anew || enroll->lost ||
           enroll->record.job[enroll->job].ordered_ms > enroll->server_ms - kept_ms;
}

static enum step next_job(struct enroll *enroll)
{
    while (enroll->job < enroll->record.jobs && !would_be_known(enroll))
        enroll->job++;
    if (enroll->job < enroll->record.jobs)
        return KNOWN;
    return enroll->lost && !enroll->anew ? REACHED : TAIL;
}

static enum step after_jobs(struct enroll *enroll)
{
    enroll->job = 0;
    return next_job(enroll);
}

static void start_known(struct enroll *enroll)
{
    queue_field(enroll->core->queue, &enroll->op, enroll->record.job[enroll->job].id, "status");
}

static enum step after_known(struct enroll *enroll)
{
    if (!enroll->op.found)
        return ORDER;
    enroll->job++;
    return next_job(enroll);
}

/* `origin`: who orders it, if no operator does. */
static void order_job(struct enroll *enroll, const struct ledger_job *job, const char *origin)
{
    char from[24], to[24], generation[24];
    size_t fields = 0;
    struct queue_field field[4];
    snprintf(from, sizeof from, "%" PRId64, job->from);
    snprintf(to, sizeof to, "%" PRId64, job->to);
    snprintf(generation, sizeof generation, "%" PRId64, job->generation);
    if (job->batch) {
        field[fields++] = (struct queue_field){ "batch", job->batch };
    } else {
        field[fields++] = (struct queue_field){ "from", from };
        field[fields++] = (struct queue_field){ "to", to };
    }
    if (job->generation > 1)
        field[fields++] = (struct queue_field){ "generation", generation };
    if (origin)
        field[fields++] = (struct queue_field){ "origin", origin };
    struct queue_child child = { .kind = QUEUE_JOB,
                                 .id = job->id,
                                 .lane = QUEUE_BACKFILL,
                                 .order = job->from,
                                 .field = field,
                                 .fields = fields };
    queue_submit(enroll->core->queue, &enroll->op, &child, dataset_of(enroll)->id, "");
}

static void start_order(struct enroll *enroll)
{
    order_job(enroll, &enroll->record.job[enroll->job], NULL);
}

static enum step after_order(struct enroll *enroll)
{
    log_event(LOG_WARN, enroll->record.job[enroll->job].id,
              "Redis had lost it; ordered again from the ledger");
    enroll->job++;
    return next_job(enroll);
}

/* ---- the recent past */

static void start_reached(struct enroll *enroll)
{
    ask_tail(enroll, "offset");
}

/* A tail that has not moved yet will see everything by itself. */
static enum step after_reached(struct enroll *enroll)
{
    enroll->reached = strtoll(buf_text(&enroll->op.text), NULL, 10);
    return enroll->reached > 0 ? RECONCILE : TAIL;
}

static void start_reconcile(struct enroll *enroll)
{
    const struct core *core = enroll->core;
    int64_t from = enroll->reached - 2 * core->settings->aep.overlap_ms;
    int64_t to = enroll->server_ms;
    from = from > enroll->start_ms ? from : enroll->start_ms;
    from = from > 0 ? from : 1;
    to = to > from ? to : from + 1;
    AUTO_TEXT char *id =
        mem_print("j/%s/%" PRId64 "-%" PRId64, dataset_of(enroll)->id, from, to);
    order_job(enroll, &(struct ledger_job){ .id = id, .from = from, .to = to }, "reconcile");
}

static enum step after_reconcile(struct enroll *enroll)
{
    log_event(LOG_WARN, dataset_of(enroll)->id,
              "what was found since %" PRId64 " is looked for once more", enroll->reached);
    return TAIL;
}

/* ---- the tail */

static void start_tail(struct enroll *enroll)
{
    tail_submit(enroll->core, &enroll->op, enroll->dataset, enroll->start_ms);
}

static enum step after_tail(struct enroll *enroll)
{
    if (strcmp(buf_text(&enroll->op.text), "new") == 0)
        log_event(LOG_INFO, dataset_of(enroll)->id, "tail begins at %" PRId64,
                  enroll->start_ms);
    return ++enroll->dataset < enroll->core->settings->datasets ? LOOK : FINISHED;
}
