/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the command doctor: doctor.c runs the checks and counts, doctor_aep.c asks AEP what
 * its documents leave open, doctor_parts.c looks at the store and at Redis.
 */
#ifndef SLUICE_DAEMON_CTL_DOCTOR_H
#define SLUICE_DAEMON_CTL_DOCTOR_H

#include "daemon/ctl/lookup.h"
#include "daemon/ctl/table.h"

enum finding {
    DOCTOR_OK,
    DOCTOR_WARN,      /* works, but somebody should know */
    DOCTOR_FAIL,      /* will not work like this */
    DOCTOR_UNSEEN,    /* there is nothing here to see it on; no fault */
    DOCTOR_UNCHECKED, /* could not be looked at */
    DOCTOR_FINDINGS
};

struct doctor {
    struct ctl *ctl;
    struct ask ask;
    struct table *table;
    int64_t count[DOCTOR_FINDINGS];
    /* What later checks look at; NULL = none was found. */
    const char *dataset;        /* the first configured one that exists */
    struct batch_info *batches; /* its oldest ones, by created */
    size_t batches_count;
    char *file_id, *file_name;
    int64_t file_length;
};

/* One line. `hint` NULL = none. */
void doctor_say(struct doctor *doctor, enum finding finding, const char *what, const char *hint,
                const char *format, ...) PRINTF(5, 6);
/* A failed call: refused is a fault of this installation, and the hint mends it; out of reach is
 * nobody's. */
void doctor_say_fault(struct doctor *doctor, const char *what, const char *hint,
                      const struct fault *fault);

void doctor_check_access(struct doctor *doctor); /* token, clock, sandbox, datasets */
/* These two want a dataset. */
void doctor_check_catalog(struct doctor *doctor); /* how its lists behave */
void doctor_check_files(struct doctor *doctor);   /* Data Access: listings, ranges */
void doctor_check_store(struct doctor *doctor);   /* reads only */
void doctor_check_redis(struct doctor *doctor);

#endif
