/* SPDX-License-Identifier: Apache-2.0 */
/* Multipart uploads that were begun and not ended, as ListMultipartUploads tells them. */
#ifndef SLUICE_S3_UPLOADS_H
#define SLUICE_S3_UPLOADS_H

#include "lib/base/mem.h"

#define S3_UPLOADS_PAGE 500 /* the longest keys stay below the limit of XML */

struct s3_begun {
    char *key, *id;
    int64_t begun_ms; /* the store's clock, since 1970 */
};

/* One page, by key and then by time. */
struct s3_uploads {
    struct s3_begun *upload;
    size_t count;
    char *next_key, *next_id; /* where the next page begins; NULL = this was the last */
    int64_t at_ms;            /* when the store answered, by its clock; 0 = it did not say */
    /* private, while it is read */
    char *key, *id, *begun;
    bool truncated;
};
void s3_uploads_release(struct s3_uploads *uploads); /* zeroes */

/* For answer.c: one element of the document; and its end. False: senseless. Pure. */
bool s3_uploads_element(struct s3_uploads *uploads, const char *path,
                        const char *text) MUST_CHECK;
bool s3_uploads_finish(struct s3_uploads *uploads) MUST_CHECK;

#endif
