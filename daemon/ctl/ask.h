/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question at a time: starts a call, runs the loop until it has ended, hands over the answer.
 * A tool has nothing else to do meanwhile. What may pass (the row's action says so) is asked
 * again twice, with back-off and at most 30 s of Retry-After.
 */
#ifndef SLUICE_DAEMON_CTL_ASK_H
#define SLUICE_DAEMON_CTL_ASK_H

#include "daemon/ctl/ctl.h"

#define ASK_JSON_MAX  (16 * 1024 * 1024)
#define ASK_BYTES_MAX (64 * 1024 * 1024)

struct ask {
    struct ctl *ctl;
    struct ctl_clients clients;
    bool once;               /* no repetitions */
    int calls;               /* to AEP, repetitions counted; tokens are not */
    int64_t told_to_wait_ms; /* the longest Retry-After seen */
    struct fault fault;      /* of the last question */
};
/* EX_OK, or the exit status after a sentence. With `store` the store's client, too. */
int ask_init(struct ask *ask, struct ctl *ctl, bool store) MUST_CHECK;
void ask_release(struct ask *ask);

/* GET; `path` from the origin on, encoded. `accept` NULL = application/json. */
enum err ask_json(struct ask *ask, enum aep_service service, const char *accept,
                  const char *path, struct json_t **ret) MUST_CHECK;
/* The bytes of one file of Data Access, at most ASK_BYTES_MAX. `ret` is the caller's. */
enum err ask_bytes(struct ask *ask, const char *path, struct buf *ret) MUST_CHECK;
/* Any call that is prepared but for `done`; not repeated. call.call is released by the caller. */
struct ask_call {
    struct aep_call call;
    struct loop *loop; /* private */
    bool over;
};
enum err ask_call(struct ask *ask, struct ask_call *call) MUST_CHECK;
/* An operation of the store; released by the caller. */
enum err ask_store(struct ask *ask, struct s3_call *call) MUST_CHECK;

/* The exit status for a fault: 66 not found, 77 denied, 78 configuration, 64 argument, else 69. */
int ask_exit(const struct fault *fault);
/* Says why the last question failed; returns its exit status. `about`: what was asked for. */
int ask_refuse(const struct ask *ask, const char *about);

/* The id of a dataset that is named by its id or as in the configuration; NULL: no usable id. */
const char *ask_dataset(const struct ctl *ctl, const char *name);
/* Refuses a word that is no dataset, with exit status 64. */
int ask_no_dataset(const struct ctl *ctl, const char *name);

#endif
