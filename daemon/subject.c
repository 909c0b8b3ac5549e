/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids of tasks: tail/<dataset>, j/<dataset>/…, w/<dataset>/…, b/<dataset>/[<generation>/]<batch>,
 * f/<dataset>/[<generation>/]<batch>/<file>.
 */
#include "daemon/subject.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTS_MAX 5

static uint64_t mix(uint64_t hash, const char *text)
{
    do
        hash = (hash ^ (unsigned char)*text) * 1099511628211ull; /* FNV-1a, with the final 0 */
    while (*text++);
    return hash;
}

void subject_trace(const char *dataset, const char *batch, int64_t generation, char ret[17])
{
    char number[24];
    snprintf(number, sizeof number, "%" PRId64, generation);
    uint64_t hash = mix(mix(mix(14695981039346656037ull, dataset), batch), number);
    snprintf(ret, 17, "%016" PRIx64, hash);
}

static void copy_part(const char *part, char *ret, size_t size)
{
    snprintf(ret, size, "%.*s", (int)strcspn(part, "/"), part);
}

/* Where the parts of an id begin; returns how many there are, at most one more than fit. */
static size_t split(const char *id, const char *part[PARTS_MAX])
{
    size_t parts = 0;
    for (const char *at = id; at && parts <= PARTS_MAX; parts++) {
        if (parts < PARTS_MAX)
            part[parts] = at;
        at = strchr(at, '/');
        at = at ? at + 1 : NULL;
    }
    return parts;
}

/* The parts of an ordinary id of that kind; 0 = it is not about a batch. */
static size_t parts_of(const char *id)
{
    return strncmp(id, "b/", 2) == 0 ? 3 : strncmp(id, "f/", 2) == 0 ? 4 : 0;
}

void subject_read(const char *object, struct log_subject *ret)
{
    const char *part[PARTS_MAX];
    size_t parts = split(object, part), ordinary = parts_of(object);
    size_t kind = strspn(object, "abcdefghijklmnopqrstuvwxyz");
    if (parts < 2 || object[kind] != '/')
        return;
    copy_part(part[1], ret->dataset, sizeof ret->dataset);
    bool replayed = parts == ordinary + 1; /* its generation comes before the batch */
    if (!ordinary || (parts != ordinary && !replayed))
        return;
    copy_part(part[replayed ? 3 : 2], ret->batch, sizeof ret->batch);
    subject_trace(ret->dataset, ret->batch, replayed ? strtoll(part[2], NULL, 10) : 1,
                  ret->trace);
}
