/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   scan a page of tasks ─▶ fix each ─▶ pause, 1 ms per task ─▶ next page … ─▶ end of the pass
 *
 * twice: entries of all tasks first, then what follows from them (queue_look.h).
 */
#include "daemon/repair.h"

#include <inttypes.h>
#include <string.h>

#include "daemon/scheduler.h"
#include "lib/base/log.h"
#include "lib/queue/queue_look.h"

#define PAGE       100 /* keys that Redis looks at in one go */
#define AGAIN_MS   10000
#define BETWEEN_MS (60 * 60 * 1000)

struct repair {
    struct core *core;
    struct timer timer; /* between pages, and between passes */
    enum queue_pass pass;
    char *cursor; /* NULL: no pass is running */
    struct queue_field *id;
    size_t ids, next;
    int64_t mended;
    struct queue_op op;
};

static void on_timer(struct timer *timer);
static void on_page(struct queue_op *op);
static void on_fixed(struct queue_op *op);
static void fix_next(struct repair *repair);

struct repair *repair_new(struct core *core)
{
    struct repair *repair = mem_alloc(sizeof *repair);
    repair->core = core;
    repair->timer.fire = on_timer;
    return repair;
}

/* The page leaves its operation, which is needed for its tasks. */
static void forget_page(struct repair *repair)
{
    struct queue_op page = { .row = repair->id, .rows = repair->ids };
    queue_op_release(&page);
    repair->id = NULL;
    repair->ids = repair->next = 0;
}

static void stop(struct repair *repair)
{
    timer_clear(repair->core->loop, &repair->timer);
    queue_cancel(&repair->op);
    queue_op_release(&repair->op);
    forget_page(repair);
    mem_set_text(&repair->cursor, NULL);
}

void repair_free(struct repair *repair)
{
    if (!repair)
        return;
    stop(repair);
    mem_free(repair);
}

void repair_start(struct repair *repair)
{
    stop(repair);
    repair->mended = 0;
    repair->pass = QUEUE_PASS_LINK;
    timer_set_in(repair->core->loop, &repair->timer, 0);
}

static void on_timer(struct timer *timer)
{
    struct repair *repair = container_of(timer, struct repair, timer);
    if (!repair->cursor)
        mem_set_text(&repair->cursor, "0");
    repair->op.done = on_page;
    queue_scan(repair->core->queue, &repair->op, repair->cursor, PAGE);
}

/* Each of n daemons every n hours, and not all at the same time. */
static int64_t rest_ms(const struct repair *repair)
{
    struct scheduler_figures figures;
    scheduler_figures(repair->core->scheduler, &figures);
    int64_t daemons = figures.live_daemons > 0 ? figures.live_daemons : 1;
    int64_t jitter = (int64_t)(core_random() % (BETWEEN_MS / 2));
    return daemons * (BETWEEN_MS * 3 / 4 + jitter);
}

static void finish(struct repair *repair)
{
    if (repair->mended > 0)
        log_event(LOG_WARN, "queue",
                  "index entries were missing and are made anew entries=%" PRId64,
                  repair->mended);
    else
        log_event(LOG_DEBUG, "queue", "indexes are complete");
    stop(repair);
    repair->mended = 0;
    repair->pass = QUEUE_PASS_LINK;
    timer_set_in(repair->core->loop, &repair->timer, rest_ms(repair));
    scheduler_nudge(repair->core);
}

/* From the beginning of the pass: no harm in doing it twice. */
static void fail(struct repair *repair)
{
    stop(repair);
    timer_set_in(repair->core->loop, &repair->timer, AGAIN_MS);
}

static void on_page(struct queue_op *op)
{
    struct repair *repair = container_of(op, struct repair, op);
    if (op->fault.code) {
        fail(repair);
        return;
    }
    mem_set_text(&repair->cursor, buf_text(&op->text));
    repair->id = op->row;
    repair->ids = op->rows;
    repair->next = 0;
    op->row = NULL;
    op->rows = 0;
    fix_next(repair);
}

static void end_page(struct repair *repair)
{
    int64_t pause_ms = repair->ids > 0 ? (int64_t)repair->ids : 1;
    bool last = strcmp(repair->cursor, "0") == 0;
    forget_page(repair);
    if (last && repair->pass == QUEUE_PASS_SETTLE) {
        finish(repair);
        return;
    }
    if (last)
        repair->pass = QUEUE_PASS_SETTLE;
    timer_set_in(repair->core->loop, &repair->timer, pause_ms);
}

static void fix_next(struct repair *repair)
{
    if (repair->next == repair->ids) {
        end_page(repair);
        return;
    }
    repair->op.done = on_fixed;
    queue_fix(repair->core->queue, &repair->op, repair->pass, repair->id[repair->next++].name);
}

/* One task that cannot be mended (a key of a wrong type) must not hide the others. */
static void on_fixed(struct queue_op *op)
{
    struct repair *repair = container_of(op, struct repair, op);
    enum err code = op->fault.code;
    if (err_action(code) == ACT_WAIT) {
        fail(repair);
        return;
    }
    if (code)
        log_event(LOG_ERROR, repair->id[repair->next - 1].name, "not mended error=%s: %s",
                  err_name(code), op->fault.text);
    else
        repair->core->metrics.queue_repaired += op->number;
    repair->mended += code ? 0 : op->number;
    fix_next(repair);
}

void repair_note_tick(struct core *core, const struct queue_op *tick)
{
    core->metrics.leases_lapsed += tick->lapsed;
    if (tick->lapsed > 0)
        log_event(LOG_WARN, "queue",
                  "leases lapsed without a sign of their owners count=%" PRId64, tick->lapsed);
    for (size_t i = 0; i < tick->rows; i++) {
        metrics_count_dead(&core->metrics, ERR_POISON);
        log_event(LOG_ERROR, tick->row[i].name, "given up error=%s: %s", err_name(ERR_POISON),
                  err_text(ERR_POISON));
    }
}
