/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl queue install: loads the queue's function library, as the daemon would where its
 * user may. A newer one in Redis stays: the daemons that brought it need it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/ctl/inquiry.h"
#include "lib/queue/queue_parts.h"

static int queue_run(struct ctl *ctl);

const struct ctl_command ctl_queue = {
    .name = "queue",
    .arguments = "install",
    .words_min = 1,
    .words_max = 1,
    .run = queue_run,
    .help = "      loads the queue's functions into Redis, unless newer ones are there\n",
};

/* 0 = none is there. */
static enum err find_version(struct inquiry *inquiry, int64_t *ret, struct fault *fault)
{
    AUTO_TEXTS answer = { 0 };
    const char *word[] = { "FCALL_RO", "sluice_version", "1",
                           inquiry->ctl->settings.redis.prefix };
    enum err err = inquiry_texts(inquiry, 4, word, &answer, fault);
    *ret = inquiry_number_at(&answer, 0);
    return err == ERR_REDIS_LIBRARY ? OK : err;
}

static enum err load(struct inquiry *inquiry, struct fault *fault)
{
    AUTO_TEXTS answer = { 0 };
    const char *word[] = { "FUNCTION", "LOAD", "REPLACE", queue_library_text() };
    enum err err = inquiry_texts(inquiry, 4, word, &answer, fault);
    if (err == ERR_REDIS_DENIED)
        return fault_set(fault, err,
                         "this user may not load functions; as one who may: redis-cli -x "
                         "FUNCTION LOAD REPLACE < lib/queue/queue.lua");
    return err;
}

static void print(const struct ctl *ctl, const char *what, int64_t found, int64_t now)
{
    if (ctl->json)
        printf("{\"command\":\"queue\",\"result\":\"%s\",\"found\":%" PRId64
               ",\"version\":%" PRId64 ",\"exit\":0}\n",
               what, found, now);
    else
        printf("%s: version %" PRId64 " of the queue's functions is in Redis\n", what, now);
}

static int install(struct inquiry *inquiry)
{
    const struct ctl *ctl = inquiry->ctl;
    struct fault fault = { 0 };
    int64_t found = 0, ours = queue_library_ours();
    enum err err = find_version(inquiry, &found, &fault);
    if (err)
        return inquiry_refuse(ctl, &fault);
    if (found > ours)
        return ctl_refuse(ctl, 1,
                          "version %" PRId64 " is in Redis, and newer than ours, %" PRId64
                          ": nothing was loaded; use the sluicectl of that installation",
                          found, ours);
    if (found < ours)
        err = load(inquiry, &fault);
    if (err)
        return inquiry_refuse(ctl, &fault);
    print(ctl, found < ours ? "installed" : "there already", found, ours);
    return EX_OK;
}

static int queue_run(struct ctl *ctl)
{
    struct inquiry inquiry;
    struct fault fault = { 0 };
    if (strcmp(ctl->word[0], "install") != 0)
        return ctl_refuse(ctl, EX_USAGE, "want queue install");
    enum err err = inquiry_init(&inquiry, ctl, &fault);
    int code = err ? inquiry_refuse(ctl, &fault) : install(&inquiry);
    inquiry_release(&inquiry);
    return code;
}
