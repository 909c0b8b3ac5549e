/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of sluicectl: one command is one row, and the row opens the file of its command.
 * Commands look and never change anything unless their help says so. Their exit status:
 *
 *   0   all is as it should be        1   something is not, and each case has its line
 *   64  the command line is wrong     66  what was asked for does not exist, or is not visible
 *   69  something could not be checked or reached; nothing known is wrong
 *   75  not now (purge)               77  permission is missing
 *   78  the configuration is wrong
 */
#ifndef SLUICE_DAEMON_CTL_CTL_H
#define SLUICE_DAEMON_CTL_CTL_H

#include <sysexits.h>

#include "daemon/settings.h"
#include "lib/aep/aep.h"
#include "lib/s3/s3.h"

/* Options beyond --config and --json; main.c has a row for each. */
enum ctl_option {
    CTL_DEEP = 1u << 0,     /* read the bytes, too */
    CTL_ALL = 1u << 1,      /* what is usually left out, too */
    CTL_OBSERVED = 1u << 2, /* what was seen, not what could be */
    CTL_FAILED = 1u << 3,   /* failed ones only */
    CTL_EXPORT = 1u << 4,   /* copy diagnostics into the bucket */
    CTL_NAME = 1u << 5,     /* the following have a value in struct ctl */
    CTL_FROM = 1u << 6,
    CTL_TO = 1u << 7,
    CTL_STATUS = 1u << 8,
    CTL_LIMIT = 1u << 9,
    CTL_GENERATION = 1u << 10, /* of a replay */
    CTL_CONFIRM = 1u << 11,    /* yes, this one */
    CTL_PLAN = 1u << 12,       /* say what would be done, and do nothing */
    CTL_ONCE = 1u << 13,       /* one frame */
    CTL_WARN_LAG = 1u << 14,   /* spans of time */
    CTL_CRIT_LAG = 1u << 15,
    CTL_SINCE = 1u << 16, /* these of fetch, which has no configuration */
    CTL_CREDENTIAL = 1u << 17,
    CTL_ENDPOINT = 1u << 18,
    CTL_AEP_ENDPOINT = 1u << 19,
    CTL_IMS_ENDPOINT = 1u << 20,
    CTL_EFFECTIVE = 1u << 21, /* with defaults */
    CTL_ORIGINS = 1u << 22,   /* where it comes from */
};

/* What a command is given; all of it belongs to main. */
struct ctl {
    struct settings settings;
    struct loop *loop;
    const char *config; /* the file */
    const char *command;
    char **word; /* the arguments behind the command's name */
    size_t words;
    unsigned flags;                                                       /* enum ctl_option */
    const char *name, *from, *to, *status, *limit, *generation, *confirm; /* NULL = not given */
    const char *warn_lag, *crit_lag;
    const char *since, *credential, *endpoint, *aep_endpoint, *ims_endpoint;
    bool json;
};

struct ctl_command {
    const char *name, *arguments;
    size_t words_min, words_max;
    unsigned flags; /* those it takes */
    int (*run)(struct ctl *ctl);
    int bad_config; /* exit status if the configuration cannot be read; 0 = 78 */
    bool no_config; /* `settings` is empty, and its own to fill */
    const char *help;
};
extern const struct ctl_command ctl_check_config, ctl_config;
extern const struct ctl_command ctl_verify, ctl_audit, ctl_replay, ctl_purge;
extern const struct ctl_command ctl_datasets, ctl_dataset, ctl_schema, ctl_preview, ctl_batches,
    ctl_files, ctl_last, ctl_doctor;
extern const struct ctl_command ctl_status, ctl_top, ctl_check, ctl_health, ctl_jobs, ctl_trace;
extern const struct ctl_command ctl_backfill, ctl_pause, ctl_resume, ctl_cancel, ctl_retry,
    ctl_skip, ctl_priority, ctl_set, ctl_queue, ctl_ddl, ctl_fetch;

/* A sentence on standard error; returns `code`, so that `return ctl_refuse(…)` ends a command. */
int ctl_refuse(const struct ctl *ctl, int code, const char *format, ...) PRINTF(3, 4);

/* Lets the loop turn for so long. */
void ctl_sleep(struct loop *loop, int64_t ms);

/* By its name in keys or by its id; NULL if it is not in the configuration. */
const struct dataset_settings *ctl_configured(const struct ctl *ctl, const char *name);
/* The number of a replay; ERR_ARGUMENT with a sentence. */
enum err ctl_generation(const char *text, int64_t *ret, struct fault *fault) MUST_CHECK;

/* AEP and the store, connected as the daemon would be; see clients.c. */
struct ctl_clients {
    struct http *api, *data, *store;
    struct aep *aep;
    struct s3_credentials credentials;
    struct s3_options options;
    struct s3 *s3;
};
/* ERR_SECRET with a sentence. `calls` may be in flight to the store. */
enum err ctl_clients_init(struct ctl_clients *clients, struct ctl *ctl, size_t calls,
                          struct fault *fault) MUST_CHECK;
/* AEP alone: the store's secrets need not be there. */
enum err ctl_clients_init_aep(struct ctl_clients *clients, struct ctl *ctl,
                              struct fault *fault) MUST_CHECK;
void ctl_clients_release(struct ctl_clients *clients);

#endif
