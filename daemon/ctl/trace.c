/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl trace: the whole life of one batch, or of any task: what the queue knows of it, its
 * files and events, what lies in the bucket, and what happens next. A batch that the queue has
 * forgotten is looked up in Catalog, because its keys begin with the day of its creation.
 */
#include "daemon/ctl/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ctl/order.h"
#include "daemon/ctl/terminal.h"
#include "lib/queue/queue_task.h"

static int trace_run(struct ctl *ctl);

const struct ctl_command ctl_trace = {
    .name = "trace",
    .arguments = "BATCH|TASK",
    .words_min = 1,
    .words_max = 1,
    .run = trace_run,
    .help =
        "      all that is known of a batch: its task, files, events, manifest, what is next\n",
};

/* ---- finding it */

static enum err show(struct trace *trace, struct fault *fault)
{
    AUTO_TEXTS answer = { 0 };
    const char *word[] = { "FCALL_RO", "sluice_show", "1", trace->ctl->settings.redis.prefix,
                           trace->id };
    enum err err = inquiry_texts(&trace->inquiry, 5, word, &answer, fault);
    mem_set_text(&trace->shown, inquiry_text_at(&answer, 0));
    return err;
}

/* OK also if the queue does not know it: then id stays NULL. */
static enum err find_in_queue(struct trace *trace, struct fault *fault)
{
    enum err err = order_task(&trace->inquiry, trace->ctl->word[0], &trace->id, fault);
    if (!err)
        err = show(trace, fault);
    bool unknown =
        err == ERR_NOT_FOUND || (err == ERR_ARGUMENT && strstr(fault->text, "no such"));
    if (err) {
        mem_free(trace->id);
        trace->id = NULL;
    }
    return unknown ? OK : err;
}

static void learn_from_queue(struct trace *trace)
{
    AUTO_TEXT char *dataset = trace_field(trace, "dataset");
    trace->dataset = settings_dataset(&trace->ctl->settings, dataset);
    trace->generation = queue_id_generation(trace->id);
    if (trace->id[0] != 'b')
        return;
    trace->batch = mem_copy_text(strrchr(trace->id, '/') + 1);
    trace->created = trace_number(trace, "order");
}

/* The batch in a task's id, or the word itself. */
static int learn_from_catalog(struct trace *trace)
{
    const char *word = trace->ctl->word[0], *slash = strrchr(word, '/');
    const char *batch = slash ? slash + 1 : word;
    struct batch_info info = { .created = -1 };
    AUTO_JSON *root = NULL;
    const struct json_t *object;
    if (!catalog_id_valid(batch) || (slash && word[0] != 'b'))
        return ctl_refuse(trace->ctl, EX_NOINPUT, "the queue knows no task %s", word);
    int code = lookup_batch(&trace->ask, batch, &info, &root, &object);
    if (code != EX_OK)
        return code;
    trace->batch = mem_copy_text(batch);
    trace->created = info.created;
    table_text(trace->table, "task", "task", "the queue does not know it, or not any more");
    table_text(trace->table, "batch", "batch", info.id);
    table_text(trace->table, "status_aep", "status in AEP", info.status);
    table_time(trace->table, "created", "created", info.created);
    return EX_OK;
}

/* ---- what happens next */

static void say(struct trace *trace, const char *text)
{
    table_text(trace->table, "next", "next", text);
}

static void say_place(struct trace *trace, const char *place)
{
    char time[WALL_TEXT_SIZE];
    const char *score = strrchr(place, ' ');
    struct wall at = { score ? (int64_t)strtod(score, NULL) : 0 };
    AUTO_TEXT char *owner = trace_field(trace, "owner");
    AUTO_TEXT char *text = NULL;
    if (strncmp(place, "delayed", 7) == 0)
        text = mem_print("tried again at %s", wall_text(at, time));
    else if (strncmp(place, "lease:", 6) == 0)
        text = mem_print("%s works on it; if that daemon dies, another one goes on at %s",
                         owner, wall_text(at, time));
    else if (strncmp(place, "shut:", 5) == 0)
        text = mem_copy_text("waits for older batches of its dataset to be committed (order)");
    else
        text = mem_copy_text("is claimed as soon as a daemon has room");
    say(trace, text);
}

static bool is_paused(struct trace *trace)
{
    AUTO_TEXTS paused = { 0 };
    struct fault fault = { 0 };
    AUTO_TEXT char *dataset = trace_field(trace, "dataset");
    AUTO_TEXT char *key = mem_print("%sds:%s", trace->ctl->settings.redis.prefix, dataset);
    const char *word[] = { "HGET", key, "paused" };
    return inquiry_texts(&trace->inquiry, 3, word, &paused, &fault) == OK &&
           strcmp(inquiry_text_at(&paused, 0), "1") == 0;
}

static void say_failed(struct trace *trace, const char *class)
{
    bool skipped = strcmp(class, "skipped") == 0, cancelled = strcmp(class, "cancelled") == 0;
    AUTO_TEXT char *text =
        skipped ? mem_print("nothing: it was skipped; sluicectl retry %s takes it up again",
                            trace->id)
        : cancelled
            ? mem_copy_text("nothing: it was cancelled, and comes back if it is ordered again")
            : mem_print("nothing until somebody acts: sluicectl retry %s, or sluicectl skip %s "
                        "REASON",
                        trace->id, trace->id);
    say(trace, text);
}

static void say_next(struct trace *trace)
{
    AUTO_TEXT char *status = trace_field(trace, "status"), *phase = trace_field(trace, "phase");
    AUTO_TEXT char *class = trace_field(trace, "class"), *place = trace_field(trace, "place");
    AUTO_TEXT char *text = NULL;
    if (strcmp(status, "failed") == 0) {
        say_failed(trace, class);
    } else if (strcmp(phase, "end") == 0) {
        say(trace, "nothing: it is done");
    } else if (strcmp(phase, "wait") == 0) {
        text = mem_print("goes on when the %" PRId64
                         " tasks below it have ended, of which %" PRId64 " are dead letters",
                         trace_number(trace, "open"), trace_number(trace, "dead"));
        say(trace, text);
    } else if (strcmp(status, "pending") == 0 && is_paused(trace)) {
        say(trace, "nothing: the dataset is paused; sluicectl resume goes on");
    } else {
        say_place(trace, place);
    }
}

/* A batch that only the bucket or Catalog knows. */
static void say_without_queue(struct trace *trace)
{
    if (trace->stored)
        say(trace, trace->revoked ? "nothing: it was committed, and withdrawn since"
                                  : "nothing: it is committed");
    else if (trace->store_known)
        say(trace, "nothing, unless a tail or a backfill reaches its creation time");
}

/* ---- the command */

/* Who knows it: the queue, else Catalog. */
static int learn(struct trace *trace)
{
    struct fault fault = { 0 };
    enum err err = inquiry_init(&trace->inquiry, trace->ctl, &fault);
    if (!err)
        err = find_in_queue(trace, &fault);
    if (err)
        return inquiry_refuse(trace->ctl, &fault);
    int code = ask_init(&trace->ask, trace->ctl, true);
    if (code != EX_OK || !trace->id)
        return code != EX_OK ? code : learn_from_catalog(trace);
    learn_from_queue(trace);
    return EX_OK;
}

static void tell_queue(struct trace *trace, enum err *ret_err, struct fault *fault)
{
    trace_show_task(trace);
    if (trace->batch)
        trace_look_at_store(trace);
    say_next(trace);
    *ret_err = trace->batch ? trace_show_files(trace, fault) : OK;
    if (!*ret_err)
        *ret_err = trace_show_events(trace, fault);
}

static int tell(struct trace *trace)
{
    struct fault fault = { 0 };
    enum err err = OK;
    if (trace->id) {
        tell_queue(trace, &err, &fault);
    } else {
        trace_look_at_store(trace);
        say_without_queue(trace);
    }
    if (err)
        return inquiry_refuse(trace->ctl, &fault);
    return trace->batch && !trace->store_known ? EX_UNAVAILABLE : EX_OK;
}

static int trace_run(struct ctl *ctl)
{
    struct trace trace = { .ctl = ctl,
                           .table = table_new(ctl),
                           .shown = mem_copy_text(""),
                           .created = -1,
                           .generation = 1 };
    int code = learn(&trace);
    if (code == EX_OK)
        code = tell(&trace);
    inquiry_release(&trace.inquiry);
    ask_release(&trace.ask);
    mem_free(trace.id);
    mem_free(trace.batch);
    mem_free(trace.shown);
    return table_end(trace.table, code);
}
