/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the command verify: manifests that are read and proven, and the objects that they
 * name. A job is in the list of jobs from its start until its last slot has ended.
 */
#ifndef SLUICE_DAEMON_CTL_VERIFY_CHECK_H
#define SLUICE_DAEMON_CTL_VERIFY_CHECK_H

#include "daemon/verify_manifest.h"
#include "lib/base/list.h"
#include "lib/s3/s3.h"

#define VERIFY_SLOTS      32 /* objects looked at at a time */
#define VERIFY_SLOTS_DEEP 8  /* … and read */

struct verify;

/* Why a manifest is read: it was listed; Catalog has its batch as readable, then it is missing if
 * it is absent; another manifest stands for its batch. */
enum verify_why { VERIFY_LISTED, VERIFY_READABLE, VERIFY_OWED };

/* One manifest: being read, then until all that it names has been looked at. */
struct verify_job {
    struct list_node node;
    struct verify *verify;
    char *key;
    char *batch; /* whose it should be; NULL = listed */
    enum verify_why why;
    bool revoked; /* … and its objects are deleted for that */
    struct s3_call call;
    bool read;
    struct verify_manifest manifest;
    size_t next, open; /* first entry not begun; entries begun and not ended */
};

/* One entry: HEAD, and with --deep its bytes. */
struct verify_slot {
    struct verify *verify;
    struct verify_job *job; /* NULL = idle */
    const struct verify_entry *entry;
    struct s3_call call;
    int64_t at; /* bytes read so far, and their checksum */
    uint32_t crc32c;
    char *key; /* of the revocation, while it is looked for */
};

/* Reads the manifest at `key` and proves it and what it names; `batch` NULL if it was listed. */
void verify_job_start(struct verify *verify, const char *key, const char *batch,
                      enum verify_why why);
/* Puts idle slots to work. */
void verify_slots_fill(struct verify *verify);
/* What has not begun will not; jobs end with their last slot. */
void verify_jobs_drop(struct verify *verify);

#endif
