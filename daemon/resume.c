/* SPDX-License-Identifier: Apache-2.0 */
/* What an earlier try left behind. */
#include "daemon/resume.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/digest.h"

bool resume_same(const struct s3_call *head, const struct parts *parts, const char *source)
{
    return head->got_size == parts->length && strcmp(head->got_source, source) == 0;
}

/* Our record of a part (counted from 0); it must have the length that the plan gives it. */
static bool recorded(const struct parts *parts, const struct queue_task *task, int part,
                     struct s3_part *ret)
{
    char name[16];
    snprintf(name, sizeof name, "p%d", part + 1);
    const char *text = queue_task_get(task, name);
    return text && parts_read(text, ret) == OK && ret->size == parts_length(parts, part);
}

bool resume_part(struct parts *parts, const struct queue_task *task,
                 const struct s3_part *listed)
{
    struct s3_part ours;
    int part = listed->number - 1;
    if (part < 0 || part >= parts->count || parts->state[part] != PART_TODO ||
        !recorded(parts, task, part, &ours))
        return false;
    if (ours.size != listed->size || strcmp(ours.etag, listed->etag) != 0 ||
        (listed->has_crc32c && listed->crc32c != ours.crc32c))
        return false;
    parts_store(parts, part, &ours);
    return true;
}

bool resume_crc32c(const struct parts *parts, const struct queue_task *task,
                   uint32_t *ret_crc32c)
{
    struct s3_part part;
    uint32_t crc = 0;
    for (int i = 0; i < parts->count; i++) {
        if (!recorded(parts, task, i, &part))
            return false;
        crc = digest_crc32c_combine(crc, part.crc32c, (uint64_t)part.size);
    }
    *ret_crc32c = crc;
    return true;
}

bool resume_doubts(enum err err)
{
    static const bool doubtful[ERR_COUNT] = {
        [ERR_TIMEOUT] = true,      [ERR_CUT] = true,     [ERR_SERVER] = true,
        [ERR_BAD_RESPONSE] = true, [ERR_TOO_BIG] = true, [ERR_EXISTS] = true,
        [ERR_CONFLICT] = true,     [ERR_DIGEST] = true,  [ERR_NO_UPLOAD] = true,
        [ERR_BAD_PART] = true,
    };
    return doubtful[err];
}

void resume_absent(const struct fault *doubt, bool upload, const char *key, struct fault *ret)
{
    switch (doubt->code) {
    case OK:
    case ERR_NO_UPLOAD:
        fault_set(ret, ERR_NO_UPLOAD, "neither upload nor object of %s exist", key);
        return;
    case ERR_EXISTS: /* it was there a moment ago, or another write to it is going on */
        fault_set(ret, ERR_CONFLICT, "%s existed and is gone", key);
        return;
    case ERR_CONFLICT: /* the store wants all parts again, in a new upload */
    case ERR_DIGEST:
        *ret = *doubt;
        ret->code = upload ? ERR_BAD_PART : doubt->code;
        return;
    default:
        *ret = *doubt;
    }
}
