/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay: orders a batch, or all that were created in a range, to be copied once more, beside what
 * is there. The queue decides (sluice_replay in queue.lua); this says it in a terminal's words.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/ctl/order.h"
#include "lib/base/json.h"

#define ANSWER_MAX 1024

static int replay_run(struct ctl *ctl);

const struct ctl_command ctl_replay = {
    .name = "replay",
    .arguments = "DATASET (BATCH | FROM TO)",
    .words_min = 2,
    .words_max = 3,
    .run = replay_run,
    .help =
        "      orders a batch, or those created in [FROM, TO), to be copied once more as a\n"
        "      generation of its own, in a folder of its own: nothing is overwritten\n",
};

/* "queued JOB generation=N" or "exists JOB STATUS" */
static void put_json(const char *answer)
{
    AUTO_TEXT char *text = mem_copy_text(answer);
    AUTO_BUF out = BUF_INIT(4 * ANSWER_MAX);
    char *rest = text;
    const char *state = strsep(&rest, " "), *job = strsep(&rest, " ");
    const char *last = rest ? rest : "";
    static const char generation[] = "generation=";
    bool queued = strncmp(last, generation, strlen(generation)) == 0;
    buf_add_text(&out, "{\"command\":\"replay\",\"state\":");
    json_write_text(&out, state, strlen(state));
    buf_add_text(&out, ",\"job\":");
    json_write_text(&out, job ? job : "", job ? strlen(job) : 0);
    buf_add_text(&out, queued ? ",\"generation\":" : ",\"status\":");
    if (queued)
        buf_add_text(&out, last + strlen(generation));
    else
        json_write_text(&out, last, strlen(last));
    printf("%s}\n", buf_text(&out));
}

static int replay_run(struct ctl *ctl)
{
    const struct dataset_settings *dataset = ctl_configured(ctl, ctl->word[0]);
    struct inquiry inquiry;
    struct fault fault = { 0 };
    if (!dataset)
        return ctl_refuse(ctl, EX_USAGE, "dataset %s is not in the configuration",
                          ctl->word[0]);
    AUTO_TEXT char *answer = NULL;
    const char *word[] = { dataset->id, ctl->word[1], ctl->words > 2 ? ctl->word[2] : NULL };
    enum err err = inquiry_init(&inquiry, ctl, &fault);
    if (!err)
        err = order_send(&inquiry, ctl->command, ctl->words, word, &answer, &fault);
    inquiry_release(&inquiry);
    if (err)
        return inquiry_refuse(ctl, &fault);
    if (ctl->json)
        put_json(answer);
    else
        puts(answer);
    return EX_OK;
}
