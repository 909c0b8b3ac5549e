/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start-up probe: learns what the store really does, never assuming from a 200.
 *   1. PUT of a small object with If-None-Match: *, twice: the second must be refused.
 *   2. PUT with a deliberately wrong x-amz-checksum-crc32c: must be refused.
 *   3. Multipart upload over the existing object, Complete with If-None-Match: *: must be refused.
 * It also proves credentials, region, bucket and write permission before any data moves. Objects:
 * {prefix}_sluice/probe and {prefix}_sluice/probe-checksum, a few bytes each, left in place.
 */
#ifndef SLUICE_S3_PROBE_H
#define SLUICE_S3_PROBE_H

#include "lib/s3/s3.h"

struct s3_probe {
    const char *prefix; /* "" or ends with "/" */
    void (*done)(struct s3_probe *probe);
    /* ---- */
    struct fault fault; /* the store cannot be used now: why, with the next step */
    struct s3_traits traits;
    /* private */
    struct s3 *s3;
    int step;
    char *key, upload_id[S3_UPLOAD_MAX + 1];
    struct s3_part part;
    struct s3_call call;
};
void s3_probe_start(struct s3 *s3, struct s3_probe *probe);
void s3_probe_release(struct s3_probe *probe);

#endif
