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

#include "lib/net/traffic.h"
#include "lib/s3/s3.h"

struct uploader;

/* What goes to a worker and comes back: the upload itself, or the wish to end it. */
struct upload_letter {
    struct mail mail;
    struct upload *upload;
};

struct upload {
    struct s3_call call; /* everything but `done` is set by the owner */
    void (*done)(struct upload *upload);
    /* private */
    bool calling; /* worker's: S3 has it; apart from what the main thread writes */
    struct upload_letter job, abort;
    struct uploader *uploader;
    struct uploader_worker *worker;
    bool running;  /* main thread's: between start and `done` */
    bool aborting; /* main thread's: the abort is on its way, and must return too */
    bool arrived;  /* main thread's: the job has returned */
    struct mono started;
};

struct uploader *uploader_new(struct loop *loop, int workers, const struct s3_options *s3,
                              const struct http_options *http);
/* All uploads must have come back. Joins the threads. */
void uploader_free(struct uploader *uploader);

void uploader_start(struct uploader *uploader, struct upload *upload);
/* Ends it soon: `done` follows, with ERR_CANCELLED unless it was over. No effect if not running. */
void uploader_abort(struct upload *upload);
size_t uploader_running(const struct uploader *uploader);

/* What the uploads came to; the main thread's. */
const struct traffic *uploader_traffic(const struct uploader *uploader);

/* `note` is told how each upload ended. */
void uploader_watch(struct uploader *uploader, void *owner,
                    void (*note)(void *owner, const struct s3_call *call));

/* Milliseconds since the slowest worker last turned its loop: the watchdog's question. */
int64_t uploader_silence_ms(struct uploader *uploader);

#endif
