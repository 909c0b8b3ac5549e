/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One round at a time:
 *
 *   wait ─▶ LIST a page of uploads ─ all young ─▶ the next page … ─▶ wait
 *             └ some are old ─▶ SCAN the tasks, look at each file's ─▶ ABORT what none of them
 *               names ─▶ the next page
 *
 * Any fault ends the round; the next one begins anew.
 */
#include "daemon/janitor.h"

#include <inttypes.h>
#include <string.h>

#include "daemon/startup.h"
#include "lib/base/log.h"
#include "lib/queue/queue_look.h"

#define BETWEEN_MS (60 * 60 * 1000LL)
#define FIRST_MS   (60 * 1000LL)
#define NOT_YET_MS 1000
#define SCAN_COUNT 500

struct janitor {
    struct core *core;
    struct http *http; /* of its own: it must neither wait for files nor delay them */
    struct s3 *s3;
    struct s3_call call;
    struct timer timer;
    char *next_key, *next_id; /* where the page begins; NULL: at the start */
    bool more;                /* another page follows */
    struct candidate *candidate;
    size_t candidates;
    struct queue_op scan, look;
    size_t row; /* of the scan: the task that is looked at */
    int64_t aborted;
};

static void on_timer(struct timer *timer);
static void start_list(struct janitor *janitor);
static void on_list(struct s3_call *call);
static void start_scan(struct janitor *janitor, const char *cursor);
static void on_scan(struct queue_op *op);
static void look_next(struct janitor *janitor);
static void on_look(struct queue_op *op);
static void abort_next(struct janitor *janitor);
static void on_abort(struct s3_call *call);
static void end_round(struct janitor *janitor, const struct fault *fault);

/* ---- what is too much; pure */

size_t janitor_pick(struct s3_uploads *page, int64_t age_ms, struct candidate **ret)
{
    size_t count = 0;
    *ret = mem_alloc_array(page->count, sizeof **ret);
    for (size_t i = 0; page->at_ms && i < page->count; i++) {
        struct s3_begun *upload = &page->upload[i];
        if (page->at_ms - upload->begun_ms < age_ms)
            continue;
        (*ret)[count++] = (struct candidate){ upload->key, upload->id };
        upload->key = upload->id = NULL;
    }
    return count;
}

static void candidate_release(struct candidate *candidate)
{
    mem_free(candidate->key);
    mem_free(candidate->id);
}

size_t janitor_strike(struct candidate *candidate, size_t count, const char *upload_id)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(candidate[i].id, upload_id) == 0)
            candidate_release(&candidate[i]);
        else
            candidate[kept++] = candidate[i];
    }
    return kept;
}

/* ---- life */

static int64_t age_ms(const struct janitor *janitor)
{
    return janitor->core->settings->s3.abort_uploads_ms;
}

/* Not all daemons at the same time; a short age is meant to be kept. */
static void wait(struct janitor *janitor, int64_t most_ms)
{
    int64_t age = age_ms(janitor);
    int64_t most = age < most_ms ? age : most_ms;
    int64_t ms = most / 2 + (int64_t)(core_random() % (uint64_t)(most / 2 + 1));
    timer_set_in(janitor->core->loop, &janitor->timer, ms);
}

struct janitor *janitor_new(struct core *core)
{
    const struct settings *settings = core->settings;
    struct janitor *janitor = mem_alloc(sizeof *janitor);
    janitor->core = core;
    janitor->timer.fire = on_timer;
    janitor->http =
        http_new(core->loop, &(struct http_options){ .ca_file = settings->s3.ca_file,
                                                     .proxy = settings->s3.proxy,
                                                     .plain_http = true,
                                                     .max_connections = 1,
                                                     .connect_timeout_ms = 5000 });
    janitor->s3 = s3_new(core->loop, janitor->http, &core->s3);
    if (age_ms(janitor) > 0)
        wait(janitor, FIRST_MS);
    return janitor;
}

static void forget_candidates(struct janitor *janitor)
{
    for (size_t i = 0; i < janitor->candidates; i++)
        candidate_release(&janitor->candidate[i]);
    mem_free(janitor->candidate);
    janitor->candidate = NULL;
    janitor->candidates = 0;
}

void janitor_free(struct janitor *janitor)
{
    if (!janitor)
        return;
    queue_cancel(&janitor->scan);
    queue_cancel(&janitor->look);
    queue_op_release(&janitor->scan);
    queue_op_release(&janitor->look);
    s3_free(janitor->s3);
    http_free(janitor->http);
    s3_call_release(&janitor->call);
    timer_clear(janitor->core->loop, &janitor->timer);
    forget_candidates(janitor);
    mem_free(janitor->next_key);
    mem_free(janitor->next_id);
    mem_free(janitor);
}

static void on_timer(struct timer *timer)
{
    struct janitor *janitor = container_of(timer, struct janitor, timer);
    const struct core *core = janitor->core;
    if (!queue_up(core->queue) || startup_store_fault(core->startup)->code) {
        timer_set_in(core->loop, timer, NOT_YET_MS);
        return;
    }
    janitor->aborted = 0;
    start_list(janitor);
}

static void end_round(struct janitor *janitor, const struct fault *fault)
{
    if (fault)
        log_event(LOG_WARN, "janitor", "round not finished error=%s: %s", err_name(fault->code),
                  fault->text);
    if (janitor->aborted > 0)
        log_event(LOG_INFO, "janitor", "aborted uploads=%" PRId64 " that no task knows",
                  janitor->aborted);
    forget_candidates(janitor);
    mem_set_text(&janitor->next_key, NULL);
    mem_set_text(&janitor->next_id, NULL);
    wait(janitor, BETWEEN_MS);
}

static void start_call(struct janitor *janitor, const struct s3_call *call)
{
    s3_call_release(&janitor->call);
    janitor->call = *call;
    s3_start(janitor->s3, &janitor->call);
}

/* ---- uploads */

static void start_list(struct janitor *janitor)
{
    start_call(janitor, &(struct s3_call){ .op = S3_LIST_UPLOADS,
                                           .key = janitor->core->settings->s3.prefix,
                                           .token = janitor->next_key,
                                           .upload_id = janitor->next_id,
                                           .done = on_list });
}

static void next_page(struct janitor *janitor)
{
    forget_candidates(janitor);
    if (janitor->more)
        start_list(janitor);
    else
        end_round(janitor, NULL);
}

static void on_list(struct s3_call *call)
{
    struct janitor *janitor = container_of(call, struct janitor, call);
    struct s3_uploads *page = &call->uploads;
    if (call->fault.code == ERR_CANCELLED)
        return; /* janitor_free */
    if (call->fault.code) {
        end_round(janitor, &call->fault);
        return;
    }
    janitor->candidates = janitor_pick(page, age_ms(janitor), &janitor->candidate);
    janitor->more = page->next_key != NULL;
    mem_set_text(&janitor->next_key, page->next_key);
    mem_set_text(&janitor->next_id, page->next_id);
    if (janitor->candidates > 0)
        start_scan(janitor, "0");
    else
        next_page(janitor);
}

/* ---- tasks */

static void start_scan(struct janitor *janitor, const char *cursor)
{
    AUTO_TEXT char *from = mem_copy_text(cursor); /* it may be a result of the operation */
    janitor->scan.done = on_scan;
    janitor->row = 0;
    queue_scan(janitor->core->queue, &janitor->scan, from, SCAN_COUNT);
}

static void on_scan(struct queue_op *op)
{
    struct janitor *janitor = container_of(op, struct janitor, scan);
    if (op->fault.code)
        end_round(janitor, &op->fault);
    else
        look_next(janitor);
}

static bool is_file(const char *id)
{
    return strncmp(id, "f/", 2) == 0;
}

/* Tasks one after the other: there is no hurry, and work comes first. */
static void look_next(struct janitor *janitor)
{
    struct queue_op *scan = &janitor->scan;
    while (janitor->row < scan->rows && !is_file(scan->row[janitor->row].name))
        janitor->row++;
    if (janitor->row < scan->rows) {
        janitor->look.done = on_look;
        queue_field(janitor->core->queue, &janitor->look, scan->row[janitor->row].name,
                    "upload_id");
    } else if (strcmp(buf_text(&scan->text), "0") != 0) {
        start_scan(janitor, buf_text(&scan->text));
    } else {
        abort_next(janitor);
    }
}

static void on_look(struct queue_op *op)
{
    struct janitor *janitor = container_of(op, struct janitor, look);
    if (op->fault.code) {
        end_round(janitor, &op->fault);
        return;
    }
    janitor->candidates =
        janitor_strike(janitor->candidate, janitor->candidates, buf_text(&op->text));
    janitor->row++;
    look_next(janitor);
}

/* ---- what nobody names */

static void abort_next(struct janitor *janitor)
{
    if (janitor->candidates == 0) {
        next_page(janitor);
        return;
    }
    const struct candidate *last = &janitor->candidate[janitor->candidates - 1];
    start_call(janitor,
               &(struct s3_call){
                   .op = S3_ABORT, .key = last->key, .upload_id = last->id, .done = on_abort });
}

static void on_abort(struct s3_call *call)
{
    struct janitor *janitor = container_of(call, struct janitor, call);
    if (call->fault.code == ERR_CANCELLED)
        return;
    if (call->fault.code) {
        end_round(janitor, &call->fault);
        return;
    }
    janitor->aborted++;
    janitor->core->metrics.uploads_aborted++;
    candidate_release(&janitor->candidate[--janitor->candidates]);
    abort_next(janitor);
}
