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

void subject_read(const char *object, struct log_subject *ret)
{
    const char *part[PARTS_MAX + 1] = { object };
    size_t parts = 1;
    for (const char *at = strchr(object, '/'); at && parts <= PARTS_MAX; at = strchr(at, '/'))
        part[parts++] = ++at;
    if (parts < 2 ||
        strspn(object, "abcdefghijklmnopqrstuvwxyz") + 1 != (size_t)(part[1] - object))
        return;
    copy_part(part[1], ret->dataset, sizeof ret->dataset);
    /* kind, dataset, batch; a file has one part more, a replay its generation */
    size_t least = *object == 'b' ? 3 : *object == 'f' ? 4 : 0;
    bool replayed = least && parts == least + 1;
    if (!least || part[1] - object != 2 || (parts != least && !replayed))
        return;
    copy_part(part[replayed ? 3 : 2], ret->batch, sizeof ret->batch);
    subject_trace(ret->dataset, ret->batch, replayed ? strtoll(part[2], NULL, 10) : 1,
                  ret->trace);
}
