/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of sluicectl: one command is one row, and the row opens the file of its command.
 * Commands look and never change anything unless their help says so. Their exit status:
 *
 *   0   all is as it should be        1   something is not, and each case has its line
 *   64  the command line is wrong     69  something could not be checked; nothing known is wrong
 *   75  not now (purge)               77  the store does not allow it (purge)
 *   78  the configuration is wrong
 */
#ifndef SLUICE_DAEMON_CTL_CTL_H
#define SLUICE_DAEMON_CTL_CTL_H

#include <sysexits.h>

#include "daemon/settings.h"
#include "lib/aep/aep.h"
#include "lib/s3/s3.h"

#define CTL_DEEP       1u /* --deep: read the bytes, too */
#define CTL_GENERATION 2u /* --generation NUMBER */
#define CTL_CONFIRM    4u /* --confirm WORD: yes, this one */

/* What a command is given; all of it belongs to main. */
struct ctl {
    struct settings settings;
    struct loop *loop;
    const char *command;
    char **word; /* the arguments behind the command's name */
    size_t words;
    unsigned flags;
    const char *generation, *confirm; /* as given; NULL if not */
    bool json;
};

struct ctl_command {
    const char *name, *arguments;
    size_t words_min, words_max;
    unsigned flags; /* those it takes */
    int (*run)(struct ctl *ctl);
    const char *help;
};
extern const struct ctl_command ctl_verify, ctl_audit, ctl_replay, ctl_purge;

/* A sentence on standard error; returns `code`, so that `return ctl_refuse(…)` ends a command. */
int ctl_refuse(const struct ctl *ctl, int code, const char *format, ...) PRINTF(3, 4);

/* By its name in keys or by its id; NULL if it is not in the configuration. */
const struct dataset_settings *ctl_dataset(const struct ctl *ctl, const char *name);
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
void ctl_clients_release(struct ctl_clients *clients);

#endif
