/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of one file on their way: ranged GETs fill part buffers, full buffers go to the
 * uploader threads. A lane is one stream with one buffer:
 *
 *     GET a-b ──▶ [ buffer: one part ] ──▶ PUT / UploadPart ──▶ stored ──▶ next part, same buffer
 *
 * While its part is on the way to S3 the lane takes no more bytes (one carry of at most what curl
 * hands over at once): so a crash costs one part per lane. Small and ordinary files have one lane,
 * huge ones get as many as it takes to reach LANES_GOAL, as far as the pool, the source's window
 * and the configuration allow. The range
 * of a GET grows with the measured rate to about 20 s of work and shrinks when one is cut.
 *
 * A cut stream goes on at the byte it reached; any other fault ends the transfer, with everything
 * stored so far kept in `parts`.
 */
#ifndef SLUICE_DAEMON_TRANSFER_H
#define SLUICE_DAEMON_TRANSFER_H

#include "daemon/core.h"
#include "daemon/parts.h"

struct transfer {
    /* Set by the owner, kept until done. */
    struct core *core;
    const char *name; /* of the task, for logs */
    const char *file_id, *path, *key, *source;
    const char *upload_id; /* NULL: one PUT of the whole file */
    struct parts *parts;
    int64_t *exported_bytes; /* of the dataset, metrics.h */
    /* Sees every part before it is stored; a fault ends the transfer. */
    enum err (*passes)(struct transfer *transfer, int part, const void *bytes,
                       struct fault *fault);
    bool (*may_store)(const struct transfer *transfer);  /* false: transfer_resume follows */
    void (*stored)(struct transfer *transfer, int part); /* durable in S3; parts says what */
    void (*done)(struct transfer *transfer);             /* once, last act, from the loop */
    /* ---- */
    struct fault fault; /* OK: all parts are stored */
    bool refused;       /* the fault is the store's */
    uint32_t crc32c;    /* of the bytes read, if that was a PUT of the whole file */
    /* private */
    struct list lanes;
    int64_t range_bytes; /* how much one GET asks for */
    double lane_rate; /* bytes per ms that one lane gets from the source; 0 = not known yet */
    bool stopping, finished;
    struct deferred step;
};

/* How far it is. The rate is that of the source, over all lanes; 0 = not known yet. */
struct transfer_view {
    const char *name;
    size_t lanes;
    int64_t stored, length; /* bytes */
    double bytes_per_s;
};
void transfer_look(const struct transfer *transfer, struct transfer_view *ret);

void transfer_start(struct transfer *transfer);
/* Stops reading; parts on their way to S3 are awaited. `done` with ERR_CANCELLED follows. */
void transfer_cancel(struct transfer *transfer);
/* The same without waiting for the store: what is on its way there is ended. */
void transfer_abort(struct transfer *transfer);
/* Parts that may_store held back are tried again. */
void transfer_resume(struct transfer *transfer);

#endif
