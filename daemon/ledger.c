/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records beside the manifests.
 *
 *   anchor      GET ──there──▶ done              open jobs   LIST ─▶ … ─▶ LIST ─▶ sort out
 *                └─not─▶ PUT ──▶ done
 *                         └─somebody was faster─▶ GET
 *   job         HEAD the end of this round ─there─▶ HEAD that of the next …
 *                └─not─▶ PUT ──▶ done
 */
#include "daemon/ledger.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/digest.h"
#include "lib/base/encode.h"
#include "lib/base/json.h"

#define BODY_MAX 4096
#define TURN_MAX 1000000 /* "again", and again */
#define REPLAY   "replay/"

static const char *const suffix[] = {
    [LEDGER_ORDERED] = ".json", [LEDGER_DONE] = ".done.json"
};

struct ledger {
    struct s3 *s3;
    const struct settings *settings;
};

static void on_anchor_read(struct s3_call *call);
static void on_anchor_put(struct s3_call *call);
static void on_round(struct s3_call *call);
static void on_job_put(struct s3_call *call);
static void on_page(struct s3_call *call);

struct ledger *ledger_new(struct s3 *s3, const struct settings *settings)
{
    struct ledger *ledger = mem_alloc(sizeof *ledger);
    ledger->s3 = s3;
    ledger->settings = settings;
    return ledger;
}

void ledger_free(struct ledger *ledger)
{
    mem_free(ledger);
}

void ledger_cancel(struct ledger_op *op)
{
    if (op->ledger)
        s3_cancel(&op->call);
}

void ledger_op_release(struct ledger_op *op)
{
    for (size_t i = 0; i < op->jobs; i++)
        ledger_job_release(&op->job[i]);
    mem_free(op->job);
    mem_free(op->key);
    mem_free(op->token);
    mem_free(op->stem);
    buf_release(&op->body);
    s3_call_release(&op->call);
    *op = (struct ledger_op){ .done = op->done, .fault = op->fault };
}

/* ---- pieces ---- */

static void begin(struct ledger *ledger, struct ledger_op *op,
                  const struct dataset_settings *dataset, const char *place, const char *name)
{
    ledger_op_release(op);
    op->fault = (struct fault){ 0 };
    op->ledger = ledger;
    op->dataset = dataset;
    op->key =
        mem_print("%s%s/_sluice/%s%s", ledger->settings->s3.prefix, dataset->as, place, name);
    buf_init(&op->body, BODY_MAX);
}

static void call_s3(struct ledger_op *op, enum s3_op what, void (*done)(struct s3_call *call))
{
    s3_call_release(&op->call);
    op->call = (struct s3_call){ .op = what, .key = op->key, .done = done };
    if (what == S3_PUT) {
        op->call.body = op->body.data;
        op->call.body_len = op->body.len;
        op->call.body_crc32c = digest_crc32c(0, op->body.data, op->body.len);
        op->call.content_type = "application/json";
        op->call.create_only = true;
    }
    op->call.token = op->token;
    s3_start(op->ledger->s3, &op->call);
}

static void finish(struct ledger_op *op, const struct fault *fault)
{
    op->fault = *fault;
    op->ledger = NULL;
    op->done(op);
}

static struct ledger_op *op_of(struct s3_call *call)
{
    return container_of(call, struct ledger_op, call);
}

static void write_member(struct buf *out, const char *before, const char *text)
{
    buf_add_text(out, before);
    json_write_text(out, text, strlen(text));
}

/* ---- the anchor of a tail ---- */

void ledger_anchor(struct ledger *ledger, struct ledger_op *op,
                   const struct dataset_settings *dataset, int64_t start_ms)
{
    begin(ledger, op, dataset, "", "tail.json");
    write_member(&op->body, "{\"dataset\":", dataset->id);
    buf_print(&op->body, ",\"start\":%" PRId64 ",\"version\":1}\n", start_ms);
    op->start_ms = start_ms;
    call_s3(op, S3_GET, on_anchor_read);
}

static enum err read_anchor(struct ledger_op *op, struct fault *fault)
{
    AUTO_JSON *anchor = NULL;
    uint64_t start;
    enum err err =
        json_parse(buf_text(&op->call.content), op->call.content.len, BODY_MAX, &anchor, fault);
    if (err)
        return err;
    const char *dataset = json_member_text(anchor, "dataset");
    if (!dataset || strcmp(dataset, op->dataset->id) != 0)
        return fault_set(fault, ERR_DIFFERS, "%s is of another dataset", op->key);
    if (json_member_u64(anchor, "start", INT64_MAX, &start))
        return fault_set(fault, ERR_BAD_RESPONSE, "%s has no usable start", op->key);
    op->start_ms = (int64_t)start;
    return OK;
}

static void on_anchor_read(struct s3_call *call)
{
    struct ledger_op *op = op_of(call);
    struct fault fault = call->fault;
    if (fault.code == ERR_NOT_FOUND) {
        call_s3(op, S3_PUT, on_anchor_put);
        return;
    }
    if (!fault.code)
        (void)read_anchor(op, &fault);
    finish(op, &fault);
}

static void on_anchor_put(struct s3_call *call)
{
    struct ledger_op *op = op_of(call);
    if (call->fault.code == ERR_EXISTS)
        call_s3(op, S3_GET, on_anchor_read);
    else
        finish(op, &call->fault);
}

/* ---- jobs ---- */

void ledger_job_release(struct ledger_job *job)
{
    mem_free(job->id);
    mem_free(job->batch);
    *job = (struct ledger_job){ 0 };
}

static char *stem_of(const struct ledger_job *job)
{
    const char *slash = strchr(job->id, '/'), *range = slash ? strchr(slash + 1, '/') : NULL;
    const char *text = range ? range + 1 : "";
    if (job->generation > 1)
        return mem_print("%s%" PRId64 "/%s", REPLAY, job->generation, text + strlen(REPLAY));
    char *stem = mem_copy_text(text);
    char *turn = strchr(stem, '/');
    if (turn)
        *turn = '.';
    return stem;
}

static char *add_end(const char *stem, int64_t round, enum ledger_mark mark)
{
    return round > 1 ? mem_print("%s_%" PRId64 "%s", stem, round, suffix[mark])
                     : mem_print("%s%s", stem, suffix[mark]);
}

char *ledger_name(const struct ledger_job *job, enum ledger_mark mark)
{
    AUTO_TEXT char *stem = stem_of(job);
    return add_end(stem, job->round, mark);
}

char *ledger_replay_folder(const struct settings *settings,
                           const struct dataset_settings *dataset, int64_t generation)
{
    return mem_print("%s%s/_sluice/jobs/" REPLAY "%" PRId64 "/", settings->s3.prefix,
                     dataset->as, generation);
}

static bool cut_suffix(char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    if (len <= end_len || strcmp(text + len - end_len, end) != 0)
        return false;
    text[len - end_len] = 0;
    return true;
}

static bool parse_ms(const char *text, int64_t *ret)
{
    uint64_t number;
    if (parse_u64(text, INT64_MAX, &number))
        return false;
    *ret = (int64_t)number;
    return true;
}

/* "<from>-<to>"; cuts the text at the dash. */
static bool parse_range(char *text, struct ledger_job *job)
{
    char *dash = strchr(text, '-');
    if (!dash)
        return false;
    *dash = 0;
    return parse_ms(text, &job->from) && parse_ms(dash + 1, &job->to) && job->from < job->to;
}

/* Cuts "_<round>" off. */
static bool parse_round(char *name, struct ledger_job *job)
{
    uint64_t round = 1;
    char *mark = strchr(name, '_');
    if (mark && (parse_u64(mark + 1, TURN_MAX, &round) || round < 2))
        return false;
    if (mark)
        *mark = 0;
    job->round = (int64_t)round;
    return true;
}

/* "<from>-<to>" or "<from>-<to>.<n>", each perhaps with "_<round>" */
static bool parse_backfill(const char *dataset_id, char *name, struct ledger_job *job)
{
    uint64_t turn = 0;
    if (!parse_round(name, job))
        return false;
    char *dot = strchr(name, '.');
    if (dot && parse_u64(dot + 1, TURN_MAX, &turn))
        return false;
    if (dot)
        *dot = 0;
    if (!parse_range(name, job))
        return false;
    job->generation = 1;
    job->id =
        mem_print(dot ? "j/%s/%" PRId64 "-%" PRId64 "/%" PRIu64 : "j/%s/%" PRId64 "-%" PRId64,
                  dataset_id, job->from, job->to, turn);
    return true;
}

/* "<generation>/<from>-<to>" or "<generation>/<batch>", each perhaps with "/<n>" */
static bool parse_replay(const char *dataset_id, const char *name, struct ledger_job *job)
{
    AUTO_TEXT char *text = mem_copy_text(name);
    uint64_t turn;
    char *subject = strchr(text, '/');
    if (!subject)
        return false;
    *subject++ = 0;
    char *slash = strchr(subject, '/');
    if (slash)
        *slash = 0;
    if (!parse_ms(text, &job->generation) || job->generation < 2 || !*subject ||
        (slash && parse_u64(slash + 1, TURN_MAX, &turn)))
        return false;
    AUTO_TEXT char *range = mem_copy_text(subject);
    if (!parse_range(range, job)) {
        job->from = job->to = 0;
        job->batch = mem_copy_text(subject);
    }
    job->round = 1;
    job->id = mem_print("j/%s/" REPLAY "%s", dataset_id, strchr(name, '/') + 1);
    return true;
}

bool ledger_parse_name(const char *dataset_id, const char *name, struct ledger_job *ret,
                       enum ledger_mark *ret_mark)
{
    AUTO_TEXT char *text = mem_copy_text(name);
    struct ledger_job job = { 0 };
    bool done = cut_suffix(text, suffix[LEDGER_DONE]);
    if (!done && !cut_suffix(text, suffix[LEDGER_ORDERED]))
        return false;
    bool replay = strncmp(text, REPLAY, strlen(REPLAY)) == 0;
    bool good = replay ? parse_replay(dataset_id, text + strlen(REPLAY), &job)
                       : parse_backfill(dataset_id, text, &job);
    if (!good)
        return false;
    *ret = job;
    *ret_mark = done ? LEDGER_DONE : LEDGER_ORDERED;
    return true;
}

static void name_key(struct ledger_op *op, enum ledger_mark mark)
{
    mem_free(op->key);
    op->key = add_end(op->stem, op->round, mark);
}

static void put_job(struct ledger_op *op)
{
    name_key(op, op->mark);
    call_s3(op, S3_PUT, on_job_put);
}

static void look_at_round(struct ledger_op *op)
{
    name_key(op, LEDGER_DONE);
    call_s3(op, S3_HEAD, on_round);
}

static void on_round(struct s3_call *call)
{
    struct ledger_op *op = op_of(call);
    if (call->fault.code == OK) {
        op->round++;
        look_at_round(op);
    } else if (call->fault.code == ERR_NOT_FOUND) {
        put_job(op);
    } else {
        finish(op, &call->fault);
    }
}

void ledger_job(struct ledger *ledger, struct ledger_op *op,
                const struct dataset_settings *dataset, const struct ledger_job *job,
                enum ledger_mark mark)
{
    AUTO_TEXT char *name = stem_of(job);
    begin(ledger, op, dataset, "jobs/", name);
    op->stem = mem_copy_text(op->key);
    op->mark = mark;
    op->round = 1;
    write_member(&op->body, "{\"dataset\":", dataset->id);
    write_member(&op->body, mark == LEDGER_DONE ? ",\"done\":" : ",\"job\":", job->id);
    buf_add_text(&op->body, ",\"version\":1}\n");
    if (job->generation > 1) /* no two orders have the same */
        put_job(op);
    else
        look_at_round(op);
}

static void on_job_put(struct s3_call *call)
{
    struct fault fault = call->fault;
    if (fault.code == ERR_EXISTS) /* by an earlier try; all that it says is in its name */
        fault = (struct fault){ 0 };
    finish(op_of(call), &fault);
}

/* ---- the list of open jobs ---- */

void ledger_open_jobs(struct ledger *ledger, struct ledger_op *op,
                      const struct dataset_settings *dataset)
{
    begin(ledger, op, dataset, "jobs/", "");
    call_s3(op, S3_LIST, on_page);
}

static void note_object(struct ledger_op *op, const struct s3_object *object)
{
    const char *key = object->key;
    struct ledger_job job;
    enum ledger_mark mark;
    if (strncmp(key, op->key, strlen(op->key)) != 0 ||
        !ledger_parse_name(op->dataset->id, key + strlen(op->key), &job, &mark))
        return;
    job.ordered_ms = object->modified_ms;
    job.done = mark == LEDGER_DONE;
    op->job = mem_grow(op->job, op->jobs + 1, sizeof *op->job);
    op->job[op->jobs++] = job;
}

/* By id, the last generation and round first; of these what is done comes first. */
static int compare_jobs(const void *a, const void *b)
{
    const struct ledger_job *left = a, *right = b;
    int order = strcmp(left->id, right->id);
    if (!order)
        order = (left->generation < right->generation) - (left->generation > right->generation);
    if (!order)
        order = (left->round < right->round) - (left->round > right->round);
    return order ? order : right->done - left->done;
}

/*
 * The first record of an id decides. Earlier generations and rounds of the same order ended, or
 * were given up when it was ordered once more.
 */
size_t ledger_keep_open(struct ledger_job *job, size_t jobs)
{
    size_t kept = 0;
    AUTO_TEXT char *last = NULL;
    if (jobs)
        qsort(job, jobs, sizeof *job, compare_jobs);
    for (size_t i = 0; i < jobs; i++) {
        bool first = !last || strcmp(job[i].id, last) != 0;
        if (first)
            mem_set_text(&last, job[i].id);
        if (first && !job[i].done)
            job[kept++] = job[i];
        else
            ledger_job_release(&job[i]);
    }
    return kept;
}

static void on_page(struct s3_call *call)
{
    struct ledger_op *op = op_of(call);
    for (size_t i = 0; !call->fault.code && i < call->page.count; i++)
        note_object(op, &call->page.object[i]);
    if (!call->fault.code && call->page.next) {
        mem_set_text(&op->token, call->page.next);
        call_s3(op, S3_LIST, on_page);
        return;
    }
    op->jobs = ledger_keep_open(op->job, op->jobs);
    finish(op, &call->fault);
}
