/* SPDX-License-Identifier: Apache-2.0 */
/* The queue as its own functions and indexes show it. */
#include "daemon/ctl/view.h"

#include <string.h>

#include "daemon/figures.h"
#include "lib/queue/queue_look.h"

#define DEAD_MAX  10000 /* more of them are not told apart */
#define ENDED_MAX 1000  /* tasks that ended last: a commit is looked for among them */

/* ---- lines of name=value */

static int64_t number_of(const char *line, const char *name)
{
    int64_t number = 0;
    (void)queue_stat_number(line, name, &number);
    return number;
}

static char *word_of(const char *line, const char *name)
{
    AUTO_TEXT char *mark = mem_print(" %s=", name);
    const char *at = strstr(line, mark);
    at = at ? at + strlen(mark) : "";
    return mem_copy_bytes(at, strcspn(at, " "));
}

static void read_total(struct view *view, const char *line)
{
    view->delayed = number_of(line, "delayed");
    view->dead = number_of(line, "dead");
    view->daemons = number_of(line, "daemons");
    view->inbox = number_of(line, "inbox");
    view->rejected = number_of(line, "rejected");
}

/* The same as the daemon shows. Of a dataset that is not configured (any more) no end is known. */
static int64_t lag_of(const struct ctl *ctl, const char *id, const char *line)
{
    static const struct dataset_settings unknown = { .end_ms = -1 };
    const struct dataset_settings *settings = settings_dataset(&ctl->settings, id);
    struct dataset_figures figures = { .seen_to = number_of(line, "seen_to"),
                                       .oldest_due = number_of(line, "oldest_due") };
    return figures_lag_ms(&figures, settings ? settings : &unknown, loop_wall(ctl->loop));
}

static void read_dataset(const struct ctl *ctl, struct view *view, const char *line)
{
    view->dataset = mem_grow(view->dataset, view->datasets + 1, sizeof *view->dataset);
    struct view_dataset *dataset = &view->dataset[view->datasets++];
    *dataset = (struct view_dataset){
        .id = mem_copy_bytes(line, strcspn(line, " ")),
        .order = word_of(line, "order"),
        .tail = word_of(line, "tail"),
        .paused = number_of(line, "paused") == 1,
        .watermark_ms = number_of(line, "watermark"),
        .queued = number_of(line, "to_list") + number_of(line, "to_commit") +
                  number_of(line, "to_copy") + number_of(line, "gated"),
        .running = number_of(line, "running") + number_of(line, "copying"),
        .uncommitted = number_of(line, "uncommitted"),
    };
    dataset->lag_ms = lag_of(ctl, dataset->id, line);
}

static enum err read_stat(struct inquiry *inquiry, struct view *view, struct fault *fault)
{
    AUTO_TEXTS texts = { 0 };
    const char *word[] = { "FCALL_RO", "sluice_stat", "1",
                           inquiry->ctl->settings.redis.prefix };
    enum err err = inquiry_texts(inquiry, 4, word, &texts, fault);
    AUTO_TEXT char *lines = mem_copy_text(inquiry_text_at(&texts, 0));
    char *rest = lines;
    for (const char *line; !err && (line = strsep(&rest, "\n"));)
        if (strncmp(line, "total ", 6) == 0)
            read_total(view, line);
        else if (*line)
            read_dataset(inquiry->ctl, view, line);
    return err;
}

/* ---- looks into indexes */

static enum err range(struct inquiry *inquiry, const char *key, int last, bool newest_first,
                      struct inquiry_texts *ret, struct fault *fault)
{
    AUTO_TEXT char *name = mem_print("%s%s", inquiry->ctl->settings.redis.prefix, key);
    AUTO_TEXT char *end = mem_print("%d", last);
    const char *word[] = { "ZRANGE", name, "0", end, "WITHSCORES", "REV" };
    return inquiry_texts(inquiry, newest_first ? 6 : 5, word, ret, fault);
}

/* The dataset behind the kind in a task's id. */
static struct view_dataset *dataset_of(struct view *view, const char *id)
{
    const char *name = strchr(id, '/');
    size_t len = name ? strcspn(name + 1, "/") : 0;
    for (size_t i = 0; name && i < view->datasets; i++)
        if (strlen(view->dataset[i].id) == len &&
            strncmp(view->dataset[i].id, name + 1, len) == 0)
            return &view->dataset[i];
    return NULL;
}

static enum err count_dead(struct inquiry *inquiry, struct view *view, struct fault *fault)
{
    AUTO_TEXTS dead = { 0 };
    enum err err = range(inquiry, "dead", DEAD_MAX - 1, true, &dead, fault);
    for (size_t i = 0; i < dead.count; i += 2) {
        struct view_dataset *dataset = dataset_of(view, dead.text[i]);
        if (dataset)
            dataset->dead++;
    }
    for (size_t i = 0; dead.count == 2 * DEAD_MAX && i < view->datasets; i++)
        view->dataset[i].dead = -1;
    return err;
}

static enum err is_committed(struct inquiry *inquiry, const char *id, bool *ret,
                             struct fault *fault)
{
    AUTO_TEXTS status = { 0 };
    AUTO_TEXT char *key = mem_print("%st:%s", inquiry->ctl->settings.redis.prefix, id);
    enum err err = inquiry_texts(inquiry, 3, (const char *const[]){ "HGET", key, "status" },
                                 &status, fault);
    *ret = strcmp(inquiry_text_at(&status, 0), "completed") == 0;
    return err;
}

static enum err find_commits(struct inquiry *inquiry, struct view *view, struct fault *fault)
{
    AUTO_TEXTS done = { 0 };
    enum err err = range(inquiry, "done", ENDED_MAX - 1, true, &done, fault);
    for (size_t i = 0; !err && i + 1 < done.count; i += 2) {
        const char *id = done.text[i];
        struct view_dataset *dataset = dataset_of(view, id);
        bool committed = false;
        if (!dataset || dataset->committed || strncmp(id, "b/", 2) != 0)
            continue;
        err = is_committed(inquiry, id, &committed, fault);
        if (committed) {
            dataset->committed = mem_copy_text(strrchr(id, '/') + 1);
            dataset->commit_ms = inquiry_number_at(&done, i + 1);
        }
    }
    return err;
}

enum err view_read(struct inquiry *inquiry, struct view *ret, struct fault *fault)
{
    *ret = (struct view){ 0 };
    enum err err = read_stat(inquiry, ret, fault);
    if (!err)
        err = count_dead(inquiry, ret, fault);
    if (!err)
        err = find_commits(inquiry, ret, fault);
    return err;
}

void view_release(struct view *view)
{
    for (size_t i = 0; i < view->datasets; i++) {
        mem_free(view->dataset[i].id);
        mem_free(view->dataset[i].order);
        mem_free(view->dataset[i].tail);
        mem_free(view->dataset[i].committed);
    }
    mem_free(view->dataset);
    *view = (struct view){ 0 };
}

const char *view_state(const struct view_dataset *dataset)
{
    if (dataset->paused)
        return "paused";
    if (strcmp(dataset->tail, "failed") == 0)
        return "failed";
    return strcmp(dataset->tail, "none") == 0 ? "not begun" : "tailing";
}
