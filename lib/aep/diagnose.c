/* SPDX-License-Identifier: Apache-2.0 */
/* Errors, counts and diagnostics of batches. Pure. */
#include "lib/aep/diagnose.h"

#include <stdio.h>
#include <string.h>

static int64_t number_or(const struct json_t *object, const char *name, int64_t otherwise)
{
    uint64_t value;
    return json_member_u64(object, name, INT64_MAX, &value) ? otherwise : (int64_t)value;
}

/* The first of these names that says a number. */
static int64_t first_of(const struct json_t *object, const char *const *name)
{
    int64_t value = -1;
    for (; *name && value < 0; name++)
        value = number_or(object, *name, -1);
    return value;
}

static const struct json_t *errors_of(const struct json_t *batch)
{
    const struct json_t *errors = json_member(batch, "errors");
    return json_is_array(errors) ? errors : NULL;
}

/* Of all errors that say how many records they concern; -1 if none does. */
static int64_t sum_of_errors(const struct json_t *batch)
{
    int64_t sum = -1;
    for (size_t i = 0; i < json_count(errors_of(batch)); i++) {
        int64_t records = number_or(json_element(errors_of(batch), i), "recordCount", -1);
        if (records >= 0 && records < INT64_MAX / 2 && sum < INT64_MAX / 2)
            sum = (sum < 0 ? 0 : sum) + records;
    }
    return sum;
}

/* Lake batches, streaming ones and those of other stores use names of their own. */
void diagnose_read_counts(const struct json_t *batch, struct diagnose_counts *ret)
{
    static const char *const files[] = { "outputFileCount", NULL };
    static const char *const records[] = { "outputRecordCount", "recordsWritten", NULL };
    static const char *const failed[] = { "failedRecordCount", "recordsFailed",
                                          "invalidRecordCount", NULL };
    static const char *const bytes[] = { "outputByteSize", "outputRecordSize", NULL };
    const struct json_t *metrics = json_member(batch, "metrics");
    *ret = (struct diagnose_counts){ first_of(metrics, files), first_of(metrics, records),
                                     first_of(metrics, failed), first_of(metrics, bytes) };
    if (ret->records < 0)
        ret->records = number_or(batch, "recordCount", -1);
    if (ret->failed < 0)
        ret->failed = number_or(batch, "failedRecordCount", -1);
    if (ret->failed < 0)
        ret->failed = sum_of_errors(batch);
    if (ret->bytes < 0)
        ret->bytes = number_or(batch, "size", -1);
}

/* ---- errors */

size_t diagnose_error_count(const struct json_t *batch)
{
    return json_count(errors_of(batch));
}

static const char *text_or(const struct json_t *object, const char *name, const char *otherwise)
{
    const char *text = json_member_text(object, name);
    return text ? text : otherwise;
}

void diagnose_read_error(const struct json_t *batch, size_t index, struct diagnose_error *ret)
{
    const struct json_t *error = json_element(errors_of(batch), index);
    const char *message = text_or(error, "message", "");
    *ret = (struct diagnose_error){ .code = json_member_text(error, "code"),
                                    .text = text_or(error, "description", message),
                                    .records = number_or(error, "recordCount", -1) };
}

static bool said_before(const struct json_t *batch, size_t index, const char *code)
{
    struct diagnose_error error;
    for (size_t i = 0; i < index; i++) {
        diagnose_read_error(batch, i, &error);
        if (error.code && strcmp(error.code, code) == 0)
            return true;
    }
    return false;
}

#define CODES_MAX 20

void diagnose_write_codes(const struct json_t *batch, struct buf *out)
{
    size_t count = diagnose_error_count(batch), said = 0;
    for (size_t i = 0; i < count && i < CODES_MAX; i++) {
        struct diagnose_error error;
        diagnose_read_error(batch, i, &error);
        const char *code = error.code ? error.code : "?";
        if (!said_before(batch, i, code))
            buf_print(out, "%s%s", said++ ? ", " : "", code);
    }
    if (count > CODES_MAX)
        buf_add_text(out, ", …");
}

/* ---- listings */

const struct json_t *diagnose_rows(const struct json_t *root)
{
    const struct json_t *rows = json_is_array(root) ? root : json_member(root, "data");
    return json_is_array(rows) ? rows : NULL;
}

/* No segment that would climb, none that is empty: the path becomes part of URLs and keys. */
static bool is_path(const char *path)
{
    for (;;) {
        size_t len = strcspn(path, "/");
        if (len == 0 || (len == 1 && path[0] == '.') ||
            (len == 2 && memcmp(path, "..", 2) == 0))
            return false;
        if (!path[len])
            return true;
        path += len + 1;
    }
}

/* Rows do not say what they are: the documented directories are known by name. */
static bool is_directory(const char *path, bool slash)
{
    return slash || strcmp(path, "row_errors") == 0 || strcmp(path, "input_files") == 0;
}

bool diagnose_read_entry(const struct json_t *row, const char *directory,
                         struct diagnose_entry *ret)
{
    const char *name = json_member_text(row, "name");
    size_t len = name ? strlen(name) : 0, above = strlen(directory);
    if (len == 0 || len > DIAGNOSE_NAME_MAX || above > DIAGNOSE_NAME_MAX)
        return false;
    /* Some listings name their files from the root on, others from the directory. */
    bool whole = strncmp(name, directory, above) == 0 && name[above] == '/';
    snprintf(ret->path, sizeof ret->path, "%s%s%s", whole ? "" : directory,
             above && !whole ? "/" : "", name);
    len = strlen(ret->path);
    bool slash = ret->path[len - 1] == '/';
    if (slash)
        ret->path[len - 1] = 0;
    ret->length = number_or(row, "length", -1);
    ret->directory = is_directory(ret->path, slash);
    return is_path(ret->path);
}

bool diagnose_read_row(const struct json_t *row, struct diagnose_error *ret,
                       const char **ret_file)
{
    const struct json_t *errors = json_member(row, "_errors");
    const struct json_t *error = json_is_array(errors) ? json_element(errors, 0) : errors;
    if (!json_is_object(error))
        return false;
    const char *description = text_or(error, "description", "");
    *ret = (struct diagnose_error){ .code = json_member_text(error, "code"),
                                    .text = text_or(error, "message", description),
                                    .records = -1 };
    *ret_file = json_member_text(row, "_filename");
    return true;
}
