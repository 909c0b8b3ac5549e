/* SPDX-License-Identifier: Apache-2.0 */
/* What the store's listings are made of: the parts of an upload, the objects of a bucket. */
#ifndef SLUICE_S3_LIST_H
#define SLUICE_S3_LIST_H

#include "lib/base/mem.h"

#define S3_ETAG_MAX  256
#define S3_PARTS_MAX 10000
#define S3_TOKEN_MAX 2048
#define S3_LIST_PAGE 250 /* objects; the longest keys, escaped, stay below the limit of XML */

struct s3_part {
    int number; /* from 1 */
    int64_t size;
    uint32_t crc32c;
    bool has_crc32c;
    char etag[S3_ETAG_MAX + 1]; /* as the store wrote it, without quotes */
};

struct s3_object {
    char *key;
    int64_t size, modified_ms; /* the store's clock, since 1970 */
};

/* One page of ListObjectsV2, in the order of the store (by the bytes of the keys). */
struct s3_page {
    struct s3_object *object;
    size_t count;
    char *next; /* for s3_call.token: where the next page begins; NULL = this was the last */
    /* private, while it is read */
    char *key, *size, *modified;
    bool truncated, escaped;
};
void s3_page_release(struct s3_page *page); /* zeroes */

/* For answer.c: one element of the document; and its end. False: senseless. Pure. */
bool s3_page_element(struct s3_page *page, const char *path, const char *text) MUST_CHECK;
bool s3_page_finish(struct s3_page *page) MUST_CHECK;

#endif
