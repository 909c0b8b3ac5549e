/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uploader threads: each has its own loop, HTTP client and S3 client. An upload is handed over by
 * pointer with everything it points to, and comes back the same way: between uploader_start and
 * `done` its owner must not touch it. Hashing, signing, sending and the request-level retries
 * happen over there; `done` fires in the main thread.
 *
 * The CRC-32C that was computed when the bytes arrived is compared with one computed when they
 * leave: a buffer mix-up becomes ERR_DIGEST instead of an object.
 */
#ifndef SLUICE_DAEMON_UPLOADER_H
#define SLUICE_DAEMON_UPLOADER_H

#include "lib/s3/s3.h"

struct uploader;

struct upload {
    struct mail mail;    /* private */
    struct s3_call call; /* everything but `done` is set by the owner */
    void (*done)(struct upload *upload);
    /* private */
    struct uploader *uploader;
    struct uploader_worker *worker;
};

struct uploader *uploader_new(struct loop *loop, int workers, const struct s3_options *s3,
                              const struct http_options *http);
/* All uploads must have come back. Joins the threads. */
void uploader_free(struct uploader *uploader);

void uploader_start(struct uploader *uploader, struct upload *upload);
size_t uploader_running(const struct uploader *uploader);

/* For the health check: OK, or what the store has answered several times in a row. */
const struct fault *uploader_fault(const struct uploader *uploader);

/* Milliseconds since the slowest worker last turned its loop: the watchdog's question. */
int64_t uploader_silence_ms(struct uploader *uploader);

#endif
