/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of ListMultipartUploads. Pure. */
#include "lib/s3/uploads.h"

#include <string.h>

#include "lib/base/clock.h"

#define ROOT "ListMultipartUploadsResult/"

static bool add_upload(struct s3_uploads *uploads);

void s3_uploads_release(struct s3_uploads *uploads)
{
    for (size_t i = 0; i < uploads->count; i++) {
        mem_free(uploads->upload[i].key);
        mem_free(uploads->upload[i].id);
    }
    mem_free(uploads->upload);
    mem_free(uploads->next_key);
    mem_free(uploads->next_id);
    mem_free(uploads->key);
    mem_free(uploads->id);
    mem_free(uploads->begun);
    *uploads = (struct s3_uploads){ 0 };
}

bool s3_uploads_element(struct s3_uploads *uploads, const char *path, const char *text)
{
    const struct {
        const char *path;
        char **to;
    } field[] = {
        { ROOT "Upload/Key", &uploads->key },
        { ROOT "Upload/UploadId", &uploads->id },
        { ROOT "Upload/Initiated", &uploads->begun },
        { ROOT "NextKeyMarker", &uploads->next_key },
        { ROOT "NextUploadIdMarker", &uploads->next_id },
    };
    for (size_t i = 0; i < sizeof field / sizeof *field; i++)
        if (strcmp(field[i].path, path) == 0)
            mem_set_text(field[i].to, text);
    if (strcmp(path, ROOT "IsTruncated") == 0)
        uploads->truncated = strcmp(text, "true") == 0;
    return strcmp(path, ROOT "Upload") != 0 || add_upload(uploads);
}

static bool add_upload(struct s3_uploads *uploads)
{
    struct wall begun;
    size_t count = uploads->count;
    if (!uploads->key || !uploads->id || !uploads->begun || wall_parse(uploads->begun, &begun))
        return false;
    if ((count & (count - 1)) == 0) /* room grows at each power of two */
        uploads->upload =
            mem_grow(uploads->upload, count ? 2 * count : 1, sizeof *uploads->upload);
    uploads->upload[uploads->count++] =
        (struct s3_begun){ uploads->key, uploads->id, begun.ms };
    uploads->key = uploads->id = NULL;
    mem_set_text(&uploads->begun, NULL);
    return true;
}

bool s3_uploads_finish(struct s3_uploads *uploads)
{
    if (uploads->truncated)
        return uploads->next_key && *uploads->next_key && uploads->next_id;
    mem_set_text(&uploads->next_key, NULL);
    mem_set_text(&uploads->next_id, NULL);
    return true;
}
