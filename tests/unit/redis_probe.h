/* SPDX-License-Identifier: Apache-2.0 */
/* A Redis call that remembers what came of it. Checks that starting it calls nobody. */
#ifndef SLUICE_TESTS_REDIS_PROBE_H
#define SLUICE_TESTS_REDIS_PROBE_H

#include "redis_rig.h"

struct probe {
    struct redis_call call;
    int dones;
    bool replied;
    enum redis_type type;
    int64_t number;
    size_t len; /* of the text, or what fits of it */
    char text[200];
    struct rig *again; /* start once more from `done` */
};

static inline void probe_start(struct rig *rig, struct probe *probe, const char *line);

static inline void probe_done(struct redis_call *call, const struct redisReply *reply)
{
    struct probe *probe = container_of(call, struct probe, call);
    probe->dones++;
    probe->replied = reply != NULL;
    probe->type = redis_reply_type(reply);
    probe->number = redis_reply_int(reply);
    size_t len = redis_reply_len(reply), room = sizeof probe->text - 1;
    probe->len = len < room ? len : room;
    memcpy(probe->text, redis_reply_text(reply), probe->len);
    probe->text[probe->len] = 0;
    struct rig *again = probe->again;
    probe->again = NULL;
    if (again)
        probe_start(again, probe, "PING");
}

/* The words of the line, separated by single spaces. */
static inline void probe_start(struct rig *rig, struct probe *probe, const char *line)
{
    struct redis_args args;
    int before = probe->dones;
    redis_args_init(&args);
    probe->call.done = probe_done;
    while (*line) {
        size_t len = strcspn(line, " ");
        redis_args_add_bytes(&args, line, len);
        line += len + (line[len] == ' ');
    }
    redis_start_args(rig->redis, &probe->call, &args);
    redis_args_release(&args);
    assert_int_equal(probe->dones, before); /* never from inside */
}

#endif
