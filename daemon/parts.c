/* SPDX-License-Identifier: Apache-2.0 */
/* The part plan of one file. */
#include "daemon/parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/digest.h"
#include "lib/base/encode.h"

#define MIB (1024 * 1024LL)

enum err parts_size(int64_t length, int64_t configured, int64_t most, int64_t *ret_size)
{
    int64_t size = configured;
    int64_t needed = length / S3_PARTS_MAX + (length % S3_PARTS_MAX != 0);
    if (size < needed)
        size = (needed + MIB - 1) / MIB * MIB;
    if (size > most)
        return ERR_MEMORY;
    *ret_size = size;
    return OK;
}

void parts_init(struct parts *parts, int64_t length, int64_t size)
{
    int64_t count = length ? length / size + (length % size != 0) : 1;
    *parts = (struct parts){ .length = length, .size = size, .count = (int)count };
    parts->state = mem_alloc((size_t)count);
    parts->part = mem_alloc_array((size_t)count, sizeof *parts->part);
    parts->todo = parts->count;
}

void parts_release(struct parts *parts)
{
    mem_free(parts->state);
    mem_free(parts->part);
    *parts = (struct parts){ 0 };
}

int64_t parts_start(const struct parts *parts, int part)
{
    return part * parts->size;
}

int64_t parts_length(const struct parts *parts, int part)
{
    int64_t rest = parts->length - parts_start(parts, part);
    return rest < parts->size ? rest : parts->size;
}

int parts_take(struct parts *parts, int most, int *ret_first)
{
    int first = 0, taken = 0;
    while (first < parts->count && parts->state[first] != PART_TODO)
        first++;
    for (int i = first; i < parts->count && taken < most && parts->state[i] == PART_TODO; i++) {
        parts->state[i] = PART_TAKEN;
        taken++;
    }
    parts->todo -= taken;
    *ret_first = first;
    return taken;
}

void parts_put_back(struct parts *parts, int part)
{
    assert(parts->state[part] == PART_TAKEN);
    parts->state[part] = PART_TODO;
    parts->todo++;
}

void parts_store(struct parts *parts, int part, const struct s3_part *stored)
{
    assert(parts->state[part] != PART_STORED);
    parts->todo -= parts->state[part] == PART_TODO;
    parts->state[part] = PART_STORED;
    parts->stored++;
    parts->part[part] = *stored;
    parts->part[part].number = part + 1;
}

int64_t parts_stored_bytes(const struct parts *parts)
{
    int last = parts->count - 1;
    int64_t missing = parts->size - parts_length(parts, last); /* the last one may be short */
    return parts->stored * parts->size - (parts->state[last] == PART_STORED ? missing : 0);
}

int64_t parts_offset(const struct parts *parts)
{
    int part = 0;
    while (part < parts->count && parts->state[part] == PART_STORED)
        part++;
    return part == parts->count ? parts->length : parts_start(parts, part);
}

uint32_t parts_crc32c(const struct parts *parts)
{
    uint32_t crc = 0;
    for (int i = 0; i < parts->count; i++)
        crc = digest_crc32c_combine(crc, parts->part[i].crc32c, (uint64_t)parts->part[i].size);
    return crc;
}

void parts_write(const struct s3_part *part, struct buf *out)
{
    buf_print(out, "%" PRId64 " %08" PRIx32 " %s", part->size, part->crc32c, part->etag);
}

enum err parts_read(const char *text, struct s3_part *ret)
{
    struct s3_part part = { .has_crc32c = true };
    int end = 0;
    if (sscanf(text, "%" SCNd64 " %8" SCNx32 " %n", &part.size, &part.crc32c, &end) != 2 ||
        !end)
        return ERR_ARGUMENT;
    size_t len = strlen(text + end);
    if (part.size < 0 || len == 0 || len > S3_ETAG_MAX)
        return ERR_ARGUMENT;
    memcpy(part.etag, text + end, len + 1);
    *ret = part;
    return OK;
}
