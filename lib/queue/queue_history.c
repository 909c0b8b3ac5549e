/* SPDX-License-Identifier: Apache-2.0 */
/* Whether Redis went back in time, judged from what it says of itself. Pure. */
#include <string.h>

#include "lib/queue/queue_parts.h"

/* Redis answers in order: on one connection, and after it, the counter cannot fall by itself. */
const char *queue_history_seq(struct queue_history *history, int64_t seq)
{
    bool fell = seq < history->seq;
    history->seq = seq;
    return fell ? "its counter of mutations went down" : NULL;
}

/*
 * Others may have counted past what we saw. But what our last tick wrote must be there when we
 * tick again, unless it has expired.
 */
const char *queue_history_tick(struct queue_history *history, int64_t found, int64_t until,
                               int64_t now)
{
    bool lost = now < history->alive_until && found < history->alive_until;
    history->alive_until = until;
    return lost ? "it does not know our last tick" : NULL;
}

/*
 * The counter tells nothing if Redis loses all, is written to, and loses all again before we have
 * seen a higher number. A dataset that has just been configured may be unknown for a moment.
 */
const char *queue_history_datasets(struct queue_history *history, int64_t unknown)
{
    history->strange = unknown > 0 ? history->strange + 1 : 0;
    return history->strange > 1 ? "it does not know a dataset" : NULL;
}

/* Replication is asynchronous: a replica that takes over may lack what the master had said. */
const char *queue_history_server(struct queue_history *history, const char *info)
{
    struct queue_server server;
    queue_check_server(info, &server);
    bool other = *history->server.run_id && strcmp(server.run_id, history->server.run_id) != 0;
    history->server = server;
    return other && server.promoted ? "a replica was promoted" : NULL;
}
