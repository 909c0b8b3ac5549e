/* SPDX-License-Identifier: Apache-2.0 */
/* Listings of a batch and of a dataset file: ids fit for URLs, names and lengths in range. */
#include "lib/aep/access.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

static void check_file(const struct access_file *file, const char *file_id)
{
    MUST_HOLD(file->id && catalog_id_valid(file->id));
    MUST_HOLD(file_id || !file->name); /* what a batch lists are dataset files */
    if (!file->name)
        return;
    MUST_HOLD(strcmp(file->id, file_id) == 0 && file->length >= 0);
    MUST_HOLD(file->name[0] && strlen(file->name) <= ACCESS_NAME_MAX);
}

static void parse_as(const char *file_id, const char *bytes, size_t len)
{
    struct access_file *files = NULL;
    struct fault fault = { 0 };
    size_t count = 0;
    AUTO_BUF next = BUF_INIT(4096);
    if (!fuzz_accepted(access_parse_page(bytes, len, file_id, &files, &count, &next, &fault),
                       &fault))
        return;
    for (size_t i = 0; i < count; i++)
        check_file(&files[i], file_id);
    MUST_HOLD(!strchr(buf_text(&next), '#'));
    access_files_free(files, count);
}

void fuzz_one(const char *bytes, size_t len)
{
    parse_as(NULL, bytes, len);
    parse_as("f1", bytes, len);
}
