/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders of one line: each command is a row that says what its words are; the queue decides
 * (queue.lua, "Operators"), and its answer is printed as it is.
 */
#include "daemon/ctl/order.h"

#include <stdio.h>
#include <string.h>

#include "daemon/ctl/plan.h"
#include "lib/base/json.h"

#define WORDS_MAX  4
#define ANSWER_MAX 1024
#define HEAD       4 /* FCALL, the function, 1, the prefix */

static int order_run(struct ctl *ctl);
static int backfill_run(struct ctl *ctl);

const struct ctl_command ctl_backfill = {
    .name = "backfill",
    .arguments = "DATASET FROM TO [again] [--plan]",
    .words_min = 3,
    .words_max = 4,
    .flags = CTL_PLAN,
    .run = backfill_run,
    .help =
        "      orders what was created in [FROM, TO); --plan: says what that would be, and\n"
        "      orders nothing\n",
};
const struct ctl_command ctl_pause = {
    .name = "pause",
    .arguments = "DATASET",
    .words_min = 1,
    .words_max = 1,
    .run = order_run,
    .help = "      nothing new of it is begun until resume; what runs ends\n",
};
const struct ctl_command ctl_resume = {
    .name = "resume",
    .arguments = "DATASET",
    .words_min = 1,
    .words_max = 1,
    .run = order_run,
    .help = "      goes on after a pause\n",
};
const struct ctl_command ctl_cancel = {
    .name = "cancel",
    .arguments = "JOB",
    .words_min = 1,
    .words_max = 1,
    .run = order_run,
    .help = "      ends a job; what others want as well stays\n",
};
const struct ctl_command ctl_retry = {
    .name = "retry",
    .arguments = "TASK|BATCH",
    .words_min = 1,
    .words_max = 1,
    .run = order_run,
    .help = "      brings back a dead letter, or all below a job\n",
};
const struct ctl_command ctl_skip = {
    .name = "skip",
    .arguments = "TASK|BATCH REASON",
    .words_min = 2,
    .words_max = 2,
    .run = order_run,
    .help = "      does without a batch, a window or a job for ever\n",
};
const struct ctl_command ctl_priority = {
    .name = "priority",
    .arguments = "JOB LANE",
    .words_min = 2,
    .words_max = 2,
    .run = order_run,
    .help = "      puts a job into the lane live or backfill, with all below it\n",
};
const struct ctl_command ctl_set = {
    .name = "set",
    .arguments = "DATASET SETTING NUMBER|none",
    .words_min = 3,
    .words_max = 3,
    .run = order_run,
    .help = "      max_f: files of it in flight at most; max_x: other tasks\n",
};

/* What the first word is. */
enum subject { SUBJECT_DATASET, SUBJECT_TASK };
static const struct {
    const struct ctl_command *command;
    enum subject subject;
} row[] = {
    { &ctl_backfill, SUBJECT_DATASET }, { &ctl_pause, SUBJECT_DATASET },
    { &ctl_resume, SUBJECT_DATASET },   { &ctl_set, SUBJECT_DATASET },
    { &ctl_cancel, SUBJECT_TASK },      { &ctl_retry, SUBJECT_TASK },
    { &ctl_skip, SUBJECT_TASK },        { &ctl_priority, SUBJECT_TASK },
};

/* ---- what words mean */

const char *order_dataset(const struct ctl *ctl, const char *word)
{
    const struct dataset_settings *dataset = ctl_configured(ctl, word);
    return dataset ? dataset->id : word;
}

static enum err knows(struct inquiry *inquiry, const char *id, bool *ret, struct fault *fault)
{
    AUTO_TEXTS texts = { 0 };
    AUTO_TEXT char *key = mem_print("%st:%s", inquiry->ctl->settings.redis.prefix, id);
    enum err err =
        inquiry_texts(inquiry, 2, (const char *const[]){ "EXISTS", key }, &texts, fault);
    *ret = !err && inquiry_number_at(&texts, 0) == 1;
    return err;
}

enum err order_task(struct inquiry *inquiry, const char *word, char **ret_id,
                    struct fault *fault)
{
    AUTO_TEXTS datasets = { 0 };
    AUTO_TEXT char *key = mem_print("%sdatasets", inquiry->ctl->settings.redis.prefix);
    if (strchr(word, '/')) {
        *ret_id = mem_copy_text(word);
        return OK;
    }
    enum err err =
        inquiry_texts(inquiry, 2, (const char *const[]){ "SMEMBERS", key }, &datasets, fault);
    for (size_t i = 0; !err && i < datasets.count; i++) {
        bool known;
        AUTO_TEXT char *id = mem_print("b/%s/%s", datasets.text[i], word);
        err = knows(inquiry, id, &known, fault);
        if (known) {
            *ret_id = mem_copy_text(id);
            return OK;
        }
    }
    return err ? err
               : fault_set(fault, ERR_NOT_FOUND,
                           "the queue knows no batch %.80s; tasks are named like "
                           "b/<dataset>/<batch>",
                           word);
}

/* ---- one call */

static void on_answer(void *owner, const struct redisReply *reply)
{
    *(char **)owner = mem_copy_bytes(redis_reply_text(reply), redis_reply_len(reply));
}

enum err order_send(struct inquiry *inquiry, const char *verb, size_t words,
                    const char *const *word, char **ret_answer, struct fault *fault)
{
    AUTO_TEXT char *function = mem_print("sluice_%s", verb);
    const char *list[HEAD + WORDS_MAX] = { "FCALL", function, "1",
                                           inquiry->ctl->settings.redis.prefix };
    for (size_t i = 0; i < words && i < WORDS_MAX; i++)
        list[HEAD + i] = word[i];
    return inquiry_ask(inquiry, HEAD + words, list, on_answer, ret_answer, fault);
}

/* ---- commands */

static enum subject subject_of(const char *command)
{
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (strcmp(row[i].command->name, command) == 0)
            return row[i].subject;
    return SUBJECT_TASK;
}

static enum err send(struct inquiry *inquiry, char **ret_answer, struct fault *fault)
{
    struct ctl *ctl = inquiry->ctl;
    const char *word[WORDS_MAX];
    AUTO_TEXT char *task = NULL;
    for (size_t i = 0; i < ctl->words; i++)
        word[i] = ctl->word[i];
    if (subject_of(ctl->command) == SUBJECT_DATASET) {
        word[0] = order_dataset(ctl, word[0]);
    } else {
        enum err err = order_task(inquiry, word[0], &task, fault);
        if (err)
            return err;
        word[0] = task;
    }
    return order_send(inquiry, ctl->command, ctl->words, word, ret_answer, fault);
}

static void print(const struct ctl *ctl, const char *answer)
{
    AUTO_BUF out = BUF_INIT(8 * ANSWER_MAX);
    if (!ctl->json) {
        puts(answer);
        return;
    }
    buf_print(&out, "{\"command\":\"%s\",\"answer\":", ctl->command);
    json_write_text(&out, answer, strlen(answer));
    printf("%s,\"exit\":0}\n", buf_text(&out));
}

static int order_run(struct ctl *ctl)
{
    struct inquiry inquiry;
    struct fault fault = { 0 };
    AUTO_TEXT char *answer = NULL;
    enum err err = inquiry_init(&inquiry, ctl, &fault);
    if (!err)
        err = send(&inquiry, &answer, &fault);
    inquiry_release(&inquiry);
    if (err)
        return inquiry_refuse(ctl, &fault);
    print(ctl, answer);
    return EX_OK;
}

static int backfill_run(struct ctl *ctl)
{
    return ctl->flags & CTL_PLAN ? plan_run(ctl) : order_run(ctl);
}
