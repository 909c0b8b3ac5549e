/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every task may use. Made by main, owned by main, all of it belongs to the main thread.
 */
#ifndef SLUICE_DAEMON_CORE_H
#define SLUICE_DAEMON_CORE_H

#include "daemon/metrics.h"
#include "daemon/settings.h"
#include "daemon/upstream.h"
#include "lib/aep/aep.h"
#include "lib/net/traffic.h"
#include "lib/queue/queue.h"
#include "lib/s3/s3.h"

struct pool;
struct uploader;
struct scheduler;
struct tail_memory;
struct startup;
struct ledger;
struct repair;
struct figures;
struct reload;

struct core {
    struct loop *loop;
    struct settings *settings;
    struct metrics metrics;
    struct traffic traffic[AEP_SERVICES + 1]; /* of aep; the last: IMS */
    const char *config_file;
    struct figures *figures; /* health's */
    struct upstreams upstreams;
    struct aep *aep;
    struct queue *queue;
    struct pool *pool;
    struct uploader *uploader;
    struct scheduler *scheduler;
    struct startup *startup;
    struct tail_memory **tail_memory; /* one per configured dataset, in order; reload.c's */
    unsigned epoch; /* how often datasets were changed: who began earlier reads older ones */
    struct reload *reload;
    struct s3_options s3;  /* shared with the uploader's threads, see s3.h */
    struct ledger *ledger; /* these two: startup's */
    struct repair *repair;
    /* Since when (by Redis) this daemon would have noticed that Redis lost writes; 0 = not yet. */
    int64_t watched_since;
};

/* A random number for jitter. */
uint64_t core_random(void);

#endif
