/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks behind /readyz: each is a row that looks at what the daemon knows anyway, so that an
 * answer never waits for anybody. A check remembers since when it stands as it does and when it
 * last passed; for a failure there is a hint what to do.
 */
#ifndef SLUICE_DAEMON_CHECKS_H
#define SLUICE_DAEMON_CHECKS_H

#include "daemon/core.h"
#include "daemon/startup.h"

enum { CHECK_CONFIG, CHECK_REDIS, CHECK_S3, CHECK_IMS, CHECK_CATALOG, CHECK_ACCESS, CHECKS };

/* Slow: works, but not as well as it could, and the detail says why. Counts as passed. */
enum check_state { CHECK_OK, CHECK_SLOW, CHECK_FAIL };

struct check {
    enum check_state state;
    struct wall since;         /* in this state */
    struct wall passed_at;     /* the last look that passed; 0 = none has yet */
    const struct fault *fault; /* FAIL: why; borrowed until the next look */
    char detail[400];          /* else: one line, or empty */
};

struct checks {
    struct core *core;
    struct startup *startup;
    struct wall started;
    struct check check[CHECKS];
};

void checks_init(struct checks *checks, struct core *core, struct startup *startup);
void checks_look(struct checks *checks); /* brings all up to date */
bool checks_pass(const struct checks *checks);
const char *check_name(size_t check);
/* What the tasks' calls say about its service; NULL if no service is behind it. */
const struct breaker *checks_breaker(const struct checks *checks, size_t check);
/* One sentence that begins with what to do; NULL if there is nothing to add to the fault. */
const char *check_hint(size_t check, enum err code);

#endif
