/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the benchmark's sink remembers: for each key the size, checksum and metadata that a
 * client may ask back, contents only of small objects, and live multipart uploads. Callers hold
 * one lock around every call and around what it returns.
 */
#ifndef SLUICE_BENCH_STORE_H
#define SLUICE_BENCH_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define STORE_PARTS    10000
#define STORE_META_MAX 1024
#define STORE_CRC_TEXT 16

struct store_object {
    struct store_object *next;
    char *key;
    int64_t size;
    uint64_t tag; /* the ETag: a number of our own */
    time_t modified;
    char crc32c[STORE_CRC_TEXT];
    char meta[STORE_META_MAX]; /* x-amz-meta-* as header lines */
    char *body;                /* NULL if it was not kept */
};

struct store_part {
    int64_t size; /* -1 = not there */
    uint64_t tag;
    char crc32c[STORE_CRC_TEXT];
};

struct store_upload {
    struct store_upload *next;
    uint64_t id;
    char *key;
    char meta[STORE_META_MAX];
    int top; /* highest part number */
    struct store_part part[STORE_PARTS + 1];
};

struct store_object *store_find(const char *key);
struct store_object *store_put(const char *key); /* new or emptied, with a new tag */
bool store_delete(const char *key);
/* The first `max` objects behind the key `after` that begin with `prefix`, in order of keys. */
size_t store_list(const char *prefix, const char *after, const struct store_object **found,
                  size_t max);

struct store_upload *store_upload_new(const char *key, const char *meta);
struct store_upload *store_upload_find(uint64_t id, const char *key);
void store_upload_free(struct store_upload *upload);
struct store_part *store_upload_put(struct store_upload *upload, int number, int64_t size);
int64_t store_upload_bytes(const struct store_upload *upload);

#endif
