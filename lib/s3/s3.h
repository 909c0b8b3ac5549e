/* SPDX-License-Identifier: Apache-2.0 */
/*
 * S3 client of one loop: each operation is one struct, signed, sent, checked and, while it is
 * safe to repeat, retried from memory with back-off (503, 500, cuts, timeouts; about a minute).
 * The body of a 200 to Complete is parsed: it may hold an error. "Accepted" is not "done": what
 * the store echoes (checksum, ETag) is compared with what was sent.
 *
 * Sources: Amazon S3 API reference (PutObject, CreateMultipartUpload, UploadPart,
 * CompleteMultipartUpload, AbortMultipartUpload, ListParts, ListObjectsV2,
 * ListMultipartUploads, HeadObject, GetObject, DeleteObject), S3 user guide "Checking object integrity", "Conditional writes".
 */
#ifndef SLUICE_S3_S3_H
#define SLUICE_S3_S3_H

#include "lib/net/http.h"
#include "lib/s3/creds.h"
#include "lib/s3/key.h"
#include "lib/s3/list.h"
#include "lib/s3/uploads.h"

#define S3_UPLOAD_MAX 512
#define S3_PART_MIN   (5 * 1024 * 1024)

struct s3;

enum s3_payload { S3_PAYLOAD_AUTO, S3_PAYLOAD_SIGNED, S3_PAYLOAD_UNSIGNED };

/* What the store was seen to do (probe.h); conservative until proven. */
struct s3_traits {
    bool conditional_put;      /* PUT If-None-Match: * is honoured */
    bool conditional_complete; /* Complete If-None-Match: * is honoured */
    bool checks_crc32c;        /* a wrong x-amz-checksum-crc32c is refused */
};

/*
 * Shared by all clients; read-only while calls run (traits change only before the first), but for
 * the credentials: they may be replaced at any time, and the old ones must stay as long as there
 * are clients.
 */
struct s3_options {
    const char *endpoint; /* https://s3.eu-west-1.amazonaws.com, http://127.0.0.1:7480 */
    const char *region, *bucket;
    bool path_style; /* else virtual-host addressing: https://BUCKET.host/ */
    enum s3_payload payload;
    const struct s3_credentials *_Atomic credentials;
    struct s3_traits traits;
};

struct s3 *s3_new(struct loop *loop, struct http *http, const struct s3_options *options);
void s3_free(struct s3 *s3); /* running calls end with ERR_CANCELLED first */

enum s3_op {
    S3_PUT,          /* body → object */
    S3_CREATE,       /* → upload_id */
    S3_PART,         /* body, upload_id, part_number → etag */
    S3_COMPLETE,     /* upload_id, parts, size → etag (may be empty: ask HEAD) */
    S3_ABORT,        /* upload_id; a missing upload is success */
    S3_LIST_PARTS,   /* upload_id → parts, all pages; ERR_NO_UPLOAD if it is gone */
    S3_HEAD,         /* → size, etag, source, crc32c; ERR_NOT_FOUND if absent */
    S3_GET,          /* → content of the object, or of a range of it, at most 64 MiB */
    S3_LIST,         /* → page: objects whose keys begin with `key` */
    S3_LIST_UPLOADS, /* → uploads, those of keys that begin with `key` */
    S3_DELETE,       /* a missing object is success */
    S3_OPS
};

/*
 * One operation. The owner sets the upper half and keeps everything it points to until `done`
 * (exactly once, from the loop, the last act). A COMPLETE that ends with ERR_SERVER may have
 * happened, or its upload may be gone (Ceph says 500 then): HEAD tells one, LIST_PARTS the other.
 */
struct s3_call {
    enum s3_op op;
    const char *key;
    const void *body;
    size_t body_len;
    uint32_t body_crc32c; /* of the body, known to the caller; sent if the store checks it */
    bool create_only;     /* PUT, COMPLETE: If-None-Match: * → ERR_EXISTS, if the store can */
    const char *content_type; /* PUT, CREATE; NULL = application/octet-stream */
    const char *source;       /* PUT, CREATE: x-amz-meta-sluice-src, the source's fingerprint */
    const char *upload_id;
    int part_number;
    const struct s3_part *parts; /* COMPLETE: ascending from 1 */
    size_t part_count;
    int64_t size;                /* COMPLETE: of the whole object (x-amz-mp-object-size) */
    uint32_t crc32c;             /* COMPLETE: of the whole object */
    int64_t range_at, range_len; /* GET: these bytes; range_len 0 = all */
    const char *token;           /* LIST: page.next of the page before; NULL = the first page;
                        * LIST_UPLOADS: uploads.next_key, with next_id as upload_id */

    bool once;           /* no retries here (probe) */
    bool force;          /* condition and body checksum are sent, proven or not (probe) */
    int64_t deadline_ms; /* for all tries together; 0 = default */
    void (*done)(struct s3_call *call);
    /* ---- result */
    struct fault fault;
    char etag[S3_ETAG_MAX + 1];
    char new_upload_id[S3_UPLOAD_MAX + 1];
    char got_source[128];
    int64_t got_size;
    uint32_t got_crc32c;
    bool has_crc32c;   /* HEAD: the store knows a full-object CRC-32C */
    bool noted_crc32c; /* … but only as our note of the PUT: nobody looked at the bytes */
    struct s3_part *listed; /* LIST_PARTS: ascending; freed by s3_call_release */
    size_t listed_count;
    struct buf content;        /* GET */
    struct s3_page page;       /* LIST; freed by s3_call_release */
    struct s3_uploads uploads; /* LIST_UPLOADS; freed by s3_call_release */
    int tries;                 /* requests sent */
    /* private */
    struct s3_try *attempt;
};
void s3_start(struct s3 *s3, struct s3_call *call);
void s3_cancel(struct s3_call *call);
void s3_call_release(struct s3_call *call); /* frees results; keeps the owner's half */

/* The row for an S3 error code ("SlowDown", "NoSuchUpload", …) and HTTP status. Pure. */
enum err s3_error_row(const char *code, int status);

#endif
