/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that only people look at: datasets, schemas, diagnostics. */
#include <string.h>

#include "lib/aep/dataset.h"
#include "lib/aep/diagnose.h"
#include "lib/aep/schema.h"
#include "tests/fuzz/fuzz.h"

#define LIMIT (1 << 20)

static void on_field(void *owner, const struct schema_field *field)
{
    size_t *count = owner;
    MUST_HOLD(field->path && field->type && field->type[0]);
    *count += 1;
}

static void check_entry(const struct json_t *row, const char *directory)
{
    struct diagnose_entry entry;
    if (!diagnose_read_entry(row, directory, &entry))
        return;
    MUST_HOLD(entry.path[0] && entry.path[0] != '/' && entry.length >= -1);
    MUST_HOLD(strncmp(entry.path, "../", 3) != 0 && !strstr(entry.path, "/../"));
}

static void check_member(const char *id, const struct json_t *value)
{
    struct dataset_info info;
    struct diagnose_counts counts;
    struct diagnose_error error;
    const char *file = NULL;
    AUTO_BUF text = BUF_INIT(LIMIT);
    dataset_read(id, value, &info);
    MUST_HOLD(info.created >= 0 && info.updated >= 0 && info.rows >= -1);
    diagnose_read_counts(value, &counts);
    MUST_HOLD(counts.files >= -1 && counts.failed >= -1);
    diagnose_write_codes(value, &text);
    for (size_t i = 0; i < diagnose_error_count(value); i++)
        diagnose_read_error(value, i, &error);
    if (diagnose_read_row(value, &error, &file))
        MUST_HOLD(error.text);
    MUST_HOLD(schema_version(info.schema_type) >= 1);
    check_entry(value, "");
    check_entry(value, "row_errors");
}

void fuzz_one(const char *bytes, size_t len)
{
    AUTO_JSON *root = NULL;
    struct fault fault = { 0 };
    AUTO_BUF written = BUF_INIT(16 * LIMIT);
    size_t count = 0;
    if (!fuzz_accepted(json_parse(bytes, len, LIMIT, &root, &fault), &fault))
        return;
    MUST_HOLD(schema_walk(root, &count, on_field) == count);
    for (struct json_iter it = json_iter(root); json_iter_next(&it);)
        check_member(it.name, it.value);
    const struct json_t *rows = diagnose_rows(root);
    for (size_t i = 0; i < json_count(rows); i++)
        check_member("row", json_element(rows, i));
    json_write(&written, root);
    AUTO_JSON *again = NULL;
    MUST_HOLD(json_parse(buf_text(&written), written.len, 16 * LIMIT, &again, &fault) == OK);
}
