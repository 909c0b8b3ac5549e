/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the queue says about itself, asked for every few seconds: how much waits, and how fresh
 * each dataset is. The same from every daemon of the queue. While Redis is away the last answer
 * stays, and its age tells.
 */
#ifndef SLUICE_DAEMON_FIGURES_H
#define SLUICE_DAEMON_FIGURES_H

#include "daemon/core.h"

/* Of one configured dataset; times in ms since 1970, 0 = not known. */
struct dataset_figures {
    int64_t to_list, to_commit, to_copy; /* tasks that could start */
    int64_t running, copying;            /* tasks with a lease */
    int64_t open_files, uncommitted;     /* not ended; batches without a manifest */
    int64_t paused;                      /* 0 or 1 */
    int64_t seen_to;                     /* every batch created before it is known */
    int64_t oldest_due;                  /* the oldest that ought to be committed */
    int64_t committed_at;                /* the last commit, by the clock of Redis */
};

struct queue_figures {
    int64_t delayed, dead, daemons, inbox, rejected;
};

struct figures {
    struct queue_figures queue;
    struct dataset_figures *dataset; /* in the order of the settings */
    struct mono answered_at;         /* 0 = never yet */
    struct mono asked_at;            /* 0 = no question is out */
    int64_t round_trip_us;           /* of the last answer */
    struct core *core;
    struct timer timer;
    struct queue_op op;
};

struct figures *figures_new(struct core *core); /* asks by itself */
void figures_free(struct figures *figures);
void figures_reload(struct figures *figures); /* the datasets are others: asks anew */

/* Takes over what `sluice_stat` answered; lines of other datasets mean nothing here. Pure. */
void figures_read(struct figures *figures, const struct settings *settings, const char *text);

/*
 * How far the bucket may lag behind AEP at `now` (AEP's time), in ms; -1 = not known yet. Of a
 * dataset with an end nothing new is expected after it. Pure.
 */
int64_t figures_lag_ms(const struct dataset_figures *figures,
                       const struct dataset_settings *settings, struct wall now);

/* The same of a configured dataset by its number, and of the one that lags most. */
int64_t figures_dataset_lag_ms(const struct core *core, size_t dataset, struct wall now);
int64_t figures_worst_lag_ms(const struct core *core, struct wall now);

/* How long a question has been out, or the last one took. */
int64_t figures_wait_ms(const struct figures *figures, struct mono now);

#endif
