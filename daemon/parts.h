/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part plan of one file: which bytes belong to which part, what is stored, what is next.
 * Pure. Parts are counted from 0 here and from 1 at S3.
 */
#ifndef SLUICE_DAEMON_PARTS_H
#define SLUICE_DAEMON_PARTS_H

#include "lib/s3/s3.h"

enum part_state { PART_TODO, PART_TAKEN, PART_STORED };

struct parts {
    int64_t length, size; /* of the file; of every part but the last */
    int count;            /* 1 for an empty file */
    uint8_t *state;       /* enum part_state */
    struct s3_part *part; /* what the store said, where STORED */
    int todo, stored;     /* how many are in these states */
};

/*
 * The part size for a file: the configured one, grown in steps of 1 MiB until 10 000 parts are
 * enough. ERR_MEMORY if such a part would take more than `most` bytes.
 */
enum err parts_size(int64_t length, int64_t configured, int64_t most,
                    int64_t *ret_size) MUST_CHECK;

void parts_init(struct parts *parts, int64_t length, int64_t size);
void parts_release(struct parts *parts);

int64_t parts_start(const struct parts *parts, int part);
int64_t parts_length(const struct parts *parts, int part);

/* Takes up to `most` consecutive TODO parts, the first ones there are; 0 if none. */
int parts_take(struct parts *parts, int most, int *ret_first);
void parts_put_back(struct parts *parts, int part); /* TAKEN → TODO */
void parts_store(struct parts *parts, int part, const struct s3_part *stored);

int64_t parts_stored_bytes(const struct parts *parts); /* wherever they are */
/* Bytes stored without a gap from the start: the "last offset". */
int64_t parts_offset(const struct parts *parts);

/* CRC-32C of the whole file, from those of the parts; all must be stored. */
uint32_t parts_crc32c(const struct parts *parts);

/* The queue's text form of a stored part: "<size> <crc32c hex> <etag>". */
void parts_write(const struct s3_part *part, struct buf *out);
enum err parts_read(const char *text, struct s3_part *ret) MUST_CHECK;

#endif
