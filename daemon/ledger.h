/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must survive the loss of Redis and cannot be found in AEP, kept in S3 beside the manifests
 * of a dataset. Objects are made once and never changed:
 *
 *   {prefix}{dataset}/_sluice/tail.json                  where a tail with `start: now` begins
 *   {prefix}{dataset}/_sluice/jobs/<from>-<to>.json      a job that an operator ordered
 *   {prefix}{dataset}/_sluice/jobs/<from>-<to>.done.json … is done
 *
 *   {prefix}{dataset}/_sluice/jobs/replay/<generation>/<from>-<to>.json   a replay of a range,
 *   {prefix}{dataset}/_sluice/jobs/replay/<generation>/<batch>.json       of one batch
 *
 * A job ordered "again" is <from>-<to>.<n>, a replay …/<n>.json. Redis forgets jobs after a while;
 * one that is ordered anew then has the id of one that is done: its records end with _<round>,
 * from 2 on. What these say is made durable before Redis is told.
 * Main thread, a client of its own: small and rare.
 */
#ifndef SLUICE_DAEMON_LEDGER_H
#define SLUICE_DAEMON_LEDGER_H

#include "daemon/settings.h"
#include "lib/s3/s3.h"

struct ledger;
struct ledger *ledger_new(struct s3 *s3, const struct settings *settings); /* borrows both */
void ledger_free(struct ledger *ledger);

struct ledger_job {
    char *id; /* of the task: "j/<dataset>/<from>-<to>", "j/<dataset>/replay/…" or "…/<n>" */
    int64_t generation; /* 1: no replay */
    int64_t round;      /* from 1 on; 0 is as good as 1. Of replays always 1 */
    int64_t from, to;
    char *batch;        /* replay of one batch, without a range; or NULL */
    int64_t ordered_ms; /* by the store: when it was written down */
    bool done;          /* recorded as such; private */
};

enum ledger_mark { LEDGER_ORDERED, LEDGER_DONE };

/*
 * One operation, zeroed before its first use and kept until `done` (exactly once, from the loop,
 * the last act). Starting it again releases the results of the last time.
 */
struct ledger_op {
    void (*done)(struct ledger_op *op);
    struct fault fault;
    int64_t start_ms;       /* anchor */
    struct ledger_job *job; /* open jobs */
    size_t jobs;
    /* private */
    struct ledger *ledger;
    const struct dataset_settings *dataset;
    struct s3_call call;
    char *key, *token, *stem; /* stem: of the keys of a job */
    enum ledger_mark mark;
    int64_t round;
    struct buf body;
};
void ledger_cancel(struct ledger_op *op); /* `done` follows, ERR_CANCELLED; none running: no */
void ledger_op_release(struct ledger_op *op); /* not while it is running */

/* Where the tail of a dataset begins: as recorded; if nothing is, `start_ms` is recorded. */
void ledger_anchor(struct ledger *ledger, struct ledger_op *op,
                   const struct dataset_settings *dataset, int64_t start_ms);

/*
 * Records an ordered job (its id and generation), or that it is done, in the first round that is not
 * done. Recorded already: no effect.
 */
void ledger_job(struct ledger *ledger, struct ledger_op *op,
                const struct dataset_settings *dataset, const struct ledger_job *job,
                enum ledger_mark mark);

/* The jobs that are recorded as ordered and not as done; of those with one id the last. */
void ledger_open_jobs(struct ledger *ledger, struct ledger_op *op,
                      const struct dataset_settings *dataset);

/*
 * The name under jobs/ that records a job; and the job that a name records, with texts of its own
 * for ledger_job_release, false if it records none. Pure.
 */
char *ledger_name(const struct ledger_job *job, enum ledger_mark mark);
bool ledger_parse_name(const char *dataset_id, const char *name, struct ledger_job *ret,
                       enum ledger_mark *ret_mark);
void ledger_job_release(struct ledger_job *job);
/* Of all records those of open jobs, in front; the others are released. Pure. */
size_t ledger_keep_open(struct ledger_job *job, size_t jobs);
/* What the keys of all records of a replay begin with; mem_free. Pure. */
char *ledger_replay_folder(const struct settings *settings,
                           const struct dataset_settings *dataset, int64_t generation);

#endif
