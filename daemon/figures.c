/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the queue how it is, and reads the answer: lines of a name and key=value words. */
#include "daemon/figures.h"

#include <string.h>

#include "lib/queue/queue_look.h"

#define EVERY_MS 3000

struct word {
    const char *name;
    size_t offset;
};

#define WORD(of, member)                                                                       \
    {                                                                                          \
#member, offsetof(struct of, member)                                                   \
    }
static const struct word dataset_word[] = {
    WORD(dataset_figures, to_list),      WORD(dataset_figures, to_commit),
    WORD(dataset_figures, to_copy),      WORD(dataset_figures, running),
    WORD(dataset_figures, copying),      WORD(dataset_figures, open_files),
    WORD(dataset_figures, uncommitted),  WORD(dataset_figures, paused),
    WORD(dataset_figures, seen_to),      WORD(dataset_figures, oldest_due),
    WORD(dataset_figures, committed_at),
};
static const struct word queue_word[] = {
    WORD(queue_figures, delayed), WORD(queue_figures, dead),     WORD(queue_figures, daemons),
    WORD(queue_figures, inbox),   WORD(queue_figures, rejected),
};
#undef WORD

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

static void read_line(const char *line, const struct word *word, size_t words, void *into)
{
    for (size_t i = 0; i < words; i++)
        (void)queue_stat_number(line, word[i].name,
                                (int64_t *)(void *)((char *)into + word[i].offset));
}

/* Whether a line is about it. */
static bool begins_with(const char *line, const char *name)
{
    size_t len = strlen(name);
    return strncmp(line, name, len) == 0 && (line[len] == ' ' || line[len] == 0);
}

void figures_read(struct figures *figures, const struct settings *settings, const char *text)
{
    AUTO_TEXT char *copy = mem_copy_text(text);
    char *rest = NULL;
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (begins_with(line, "total"))
            read_line(line, queue_word, sizeof queue_word / sizeof *queue_word,
                      &figures->queue);
        for (size_t i = 0; i < settings->datasets; i++)
            if (begins_with(line, settings->dataset[i].id))
                read_line(line, dataset_word, sizeof dataset_word / sizeof *dataset_word,
                          &figures->dataset[i]);
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

int64_t figures_dataset_lag_ms(const struct core *core, size_t dataset, struct wall now)
{
    return figures_lag_ms(&core->figures->dataset[dataset], &core->settings->dataset[dataset],
                          now);
}

int64_t figures_worst_lag_ms(const struct core *core, struct wall now)
{
    int64_t worst = -1;
    for (size_t i = 0; i < core->settings->datasets; i++) {
        int64_t lag = figures_dataset_lag_ms(core, i, now);
        worst = lag > worst ? lag : worst;
    }
    return worst;
}
