/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the tasks of a dataset with SCAN and looks at those of one generation: its job by its
 * field, windows and batches by their ids. A file that is open has a batch that is open.
 */
#include "daemon/ctl/purge_tasks.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/ctl/inquiry.h"
#include "lib/base/encode.h"
#include "lib/queue/queue_task.h"

#define PAGE    "1000"
#define VERDICT 64

enum { GENERATION, PHASE, CLASS, UPDATED, FIELDS };

struct look {
    struct inquiry inquiry;
    const char *dataset;
    int64_t generation;
    bool known;   /* the queue knows the dataset */
    char *cursor; /* of the scan, and its page: */
    char **id;
    size_t ids;
    char field[FIELDS][VERDICT]; /* of one task; "" if absent */
};

static void on_known(void *owner, const struct redisReply *reply)
{
    struct look *look = owner;
    look->known = redis_reply_int(reply) == 1;
}

static void clear_page(struct look *look)
{
    for (size_t i = 0; i < look->ids; i++)
        mem_free(look->id[i]);
    mem_free(look->id);
    look->id = NULL;
    look->ids = 0;
}

/* Ids of jobs of replays, and of what the generation made. */
static bool is_of_interest(const struct look *look, const char *id)
{
    return strncmp(id, "j/", 2) == 0 ? queue_id_is_replay(id)
                                     : queue_id_generation(id) == look->generation;
}

static void on_page(void *owner, const struct redisReply *reply)
{
    struct look *look = owner;
    const struct redisReply *keys = redis_reply_at(reply, 1);
    size_t count = redis_reply_count(keys);
    size_t before = strlen(look->inquiry.ctl->settings.redis.prefix) + strlen("t:");
    clear_page(look);
    look->id = mem_alloc_array(count, sizeof *look->id);
    for (size_t i = 0; i < count; i++) {
        const char *key = redis_reply_text(redis_reply_at(keys, i));
        if (strlen(key) > before && is_of_interest(look, key + before))
            look->id[look->ids++] = mem_copy_text(key + before);
    }
    mem_set_text(&look->cursor, redis_reply_text(redis_reply_at(reply, 0)));
}

static void on_fields(void *owner, const struct redisReply *reply)
{
    struct look *look = owner;
    for (size_t i = 0; i < FIELDS; i++)
        snprintf(look->field[i], sizeof look->field[i], "%s",
                 redis_reply_text(redis_reply_at(reply, i)));
}

static int64_t number_of(const char *text)
{
    uint64_t number;
    return parse_u64(text, INT64_MAX, &number) ? 0 : (int64_t)number;
}

/* A worker learns at its next beat that its task was taken away. */
static bool may_be_running(struct look *look)
{
    const struct ctl *ctl = look->inquiry.ctl;
    bool withdrawn = strcmp(look->field[CLASS], "cancelled") == 0 ||
                     strcmp(look->field[CLASS], "skipped") == 0;
    int64_t ago_ms = loop_wall(ctl->loop).ms - number_of(look->field[UPDATED]);
    return withdrawn && ago_ms < 2 * ctl->settings.queue.lease_ms;
}

static enum err judge(struct look *look, const char *id, struct fault *fault)
{
    if (!look->field[PHASE][0] ||
        (id[0] == 'j' && number_of(look->field[GENERATION]) != look->generation))
        return OK;
    if (strcmp(look->field[PHASE], "end") != 0)
        return fault_set(fault, ERR_NOT_READY,
                         "%s is still open: wait for its end, or cancel its job first", id);
    if (may_be_running(look))
        return fault_set(fault, ERR_NOT_READY,
                         "%s was %s just now, a daemon may still be writing: repeat this in a "
                         "few minutes",
                         id, look->field[CLASS]);
    return OK;
}

static enum err look_at(struct look *look, const char *id, struct fault *fault)
{
    AUTO_TEXT char *key = mem_print("%st:%s", look->inquiry.ctl->settings.redis.prefix, id);
    const char *word[] = { "HMGET", key, "generation", "phase", "class", "updated_at" };
    enum err err = inquiry_ask(&look->inquiry, 6, word, on_fields, look, fault);
    return err ? err : judge(look, id, fault);
}

static enum err walk(struct look *look, struct fault *fault)
{
    AUTO_TEXT char *pattern =
        mem_print("%st:[jwb]/%s/*", look->inquiry.ctl->settings.redis.prefix, look->dataset);
    mem_set_text(&look->cursor, "0");
    do {
        AUTO_TEXT char *cursor = mem_copy_text(look->cursor);
        const char *word[] = { "SCAN", cursor, "MATCH", pattern, "COUNT", PAGE };
        enum err err = inquiry_ask(&look->inquiry, 6, word, on_page, look, fault);
        for (size_t i = 0; !err && i < look->ids; i++)
            err = look_at(look, look->id[i], fault);
        if (err)
            return err;
    } while (strcmp(look->cursor, "0") != 0);
    return OK;
}

static enum err ask(struct look *look, struct fault *fault)
{
    const char *prefix = look->inquiry.ctl->settings.redis.prefix;
    AUTO_TEXT char *datasets = mem_print("%sdatasets", prefix);
    const char *word[] = { "SISMEMBER", datasets, look->dataset };
    enum err err = inquiry_ask(&look->inquiry, 3, word, on_known, look, fault);
    if (err)
        return err;
    if (!look->known)
        return fault_set(fault, ERR_NOT_READY,
                         "the queue %s does not know dataset %s, so whether something works on "
                         "it cannot be told: check redis.prefix, or start sluiced first",
                         prefix, look->dataset);
    return walk(look, fault);
}

enum err purge_tasks_over(struct ctl *ctl, const char *dataset, int64_t generation,
                          struct fault *fault)
{
    struct look look = { .dataset = dataset, .generation = generation };
    enum err err = inquiry_init(&look.inquiry, ctl, fault);
    if (!err)
        err = ask(&look, fault);
    clear_page(&look);
    mem_free(look.cursor);
    inquiry_release(&look.inquiry);
    return err;
}
