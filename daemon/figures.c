/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the queue how it is, and reads the answer: lines of a name and key=value words. */
#include "daemon/figures.h"

#include <stdlib.h>
#include <string.h>

#include "lib/queue/queue_look.h"

#define EVERY_MS 3000

static const struct {
    const char *name;
    size_t offset;
} dataset_word[] = {
#define X(member)                                                                              \
    {                                                                                          \
#member, offsetof(struct dataset_figures, member)                                      \
    }
    X(to_list), X(to_commit),  X(to_copy), X(running), X(copying),    X(open_files),
    X(uncommitted), X(paused), X(seen_to), X(oldest_due), X(committed_at),
#undef X
}, queue_word[] = {
#define X(member)                                                                              \
    {                                                                                          \
#member, offsetof(struct queue_figures, member)                                        \
    }
    X(delayed), X(dead), X(daemons), X(inbox), X(rejected),
#undef X
};

static void on_time(struct timer *timer);
static void on_answer(struct queue_op *op);

struct figures *figures_new(struct core *core)
{
    struct figures *figures = mem_alloc(sizeof *figures);
    figures->core = core;
    figures->dataset = mem_alloc_array(core->settings->datasets, sizeof *figures->dataset);
    figures->timer.fire = on_time;
    figures->op.done = on_answer;
    timer_set_in(core->loop, &figures->timer, 0);
    return figures;
}

void figures_free(struct figures *figures)
{
    if (!figures)
        return;
    timer_clear(figures->core->loop, &figures->timer);
    queue_cancel(&figures->op);
    queue_op_release(&figures->op);
    mem_free(figures->dataset);
    mem_free(figures);
}

void figures_reload(struct figures *figures)
{
    mem_free(figures->dataset);
    figures->dataset =
        mem_alloc_array(figures->core->settings->datasets, sizeof *figures->dataset);
    timer_set_in(figures->core->loop, &figures->timer, 0);
}

static void on_time(struct timer *timer)
{
    struct figures *figures = container_of(timer, struct figures, timer);
    struct core *core = figures->core;
    timer_set_in(core->loop, &figures->timer, EVERY_MS);
    if (figures->asked_at.us || !queue_up(core->queue))
        return;
    figures->asked_at = loop_now(core->loop);
    queue_stat(core->queue, &figures->op);
}

static void on_answer(struct queue_op *op)
{
    struct figures *figures = container_of(op, struct figures, op);
    struct core *core = figures->core;
    struct mono now = loop_now(core->loop);
    if (!op->fault.code) {
        figures->round_trip_us = now.us - figures->asked_at.us;
        figures->answered_at = now;
        figures_read(figures, core->settings, buf_text(&op->text));
    }
    figures->asked_at = (struct mono){ 0 };
    queue_op_release(op);
}

int64_t figures_wait_ms(const struct figures *figures, struct mono now)
{
    if (figures->asked_at.us)
        return mono_ms_between(figures->asked_at, now);
    return figures->round_trip_us / 1000;
}

/* ---- the answer */

static void read_word(const char *name, size_t len, int64_t value, bool of_queue, void *into)
{
    size_t words = of_queue ? sizeof queue_word / sizeof *queue_word
                            : sizeof dataset_word / sizeof *dataset_word;
    for (size_t i = 0; i < words; i++) {
        const char *known = of_queue ? queue_word[i].name : dataset_word[i].name;
        size_t offset = of_queue ? queue_word[i].offset : dataset_word[i].offset;
        if (strlen(known) == len && memcmp(known, name, len) == 0)
            *(int64_t *)(void *)((char *)into + offset) = value;
    }
}

static void read_line(char *line, bool of_queue, void *into)
{
    char *rest = NULL;
    for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        const char *equals = strchr(word, '=');
        if (equals)
            read_word(word, (size_t)(equals - word), strtoll(equals + 1, NULL, 10), of_queue,
                      into);
    }
}

void figures_read(struct figures *figures, const struct settings *settings, const char *text)
{
    AUTO_TEXT char *copy = mem_copy_text(text);
    char *rest = NULL;
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        size_t name = strcspn(line, " ");
        const char *words = line[name] ? line + name + 1 : line + name;
        line[name] = 0;
        if (strcmp(line, "total") == 0)
            read_line((char *)words, true, &figures->queue);
        for (size_t i = 0; i < settings->datasets; i++)
            if (strcmp(line, settings->dataset[i].id) == 0)
                read_line((char *)words, false, &figures->dataset[i]);
    }
}

int64_t figures_lag_ms(const struct dataset_figures *figures,
                       const struct dataset_settings *settings, struct wall now)
{
    bool ended = settings->end_ms >= 0 && figures->seen_to >= settings->end_ms;
    int64_t from = ended ? now.ms : figures->seen_to;
    if (figures->seen_to <= 0)
        return -1;
    if (figures->oldest_due > 0 && figures->oldest_due < from)
        from = figures->oldest_due;
    return from < now.ms ? now.ms - from : 0;
}
