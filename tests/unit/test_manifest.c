/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests: the same bytes whatever the order, valid JSON whatever the names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/manifest.h"
#include "lib/base/json.h"

static const struct manifest_head head = {
    .batch = "01J", .dataset = "d1", .sandbox = "prod", .created = 1700000000000, .records = -1
};

static char *file_row(const char *key, const char *name, int64_t size)
{
    struct buf out = BUF_INIT(1 << 16);
    manifest_row(&(struct manifest_file){ .bucket = "lake",
                                          .key = key,
                                          .file_id = "01J-1",
                                          .name = name,
                                          .size = size,
                                          .crc32c = 0x0a },
                 &out);
    return buf_take(&out);
}

static void test_exact_bytes(void **state)
{
    AUTO_TEXT char *row = file_row("d/a", "a.parquet", 12);
    const char *rows[] = { row };
    AUTO_BUF out = BUF_INIT(1 << 16);
    int64_t bytes = 0;
    (void)state;
    assert_int_equal(manifest_build(&head, rows, 1, &out, &bytes), OK);
    assert_int_equal(bytes, 12);
    assert_string_equal(
        out.data,
        "{\"entries\":[\n{\"mandatory\":true,\"meta\":{\"content_length\":12},\"sluice\":{"
        "\"crc32c\":\"0000000a\",\"file_id\":\"01J-1\",\"name\":\"a.parquet\"},"
        "\"url\":\"s3://lake/d/a\"}\n],\"sluice\":{\"batch\":\"01J\",\"bytes\":12,"
        "\"created\":1700000000000,\"dataset\":\"d1\",\"files\":1,\"generation\":1,"
        "\"sandbox\":\"prod\",\"version\":1}}\n");
}

static void test_exact_head(void **state)
{
    static const struct manifest_head full = { .batch = "01J",
                                               .dataset = "d1",
                                               .sandbox = "prod",
                                               .created = 17,
                                               .records = 0,
                                               .failed_records = 3,
                                               .consolidates = "[\"a\"]",
                                               .replaces = "[\"b\",\"c\"]",
                                               .replaces_external = "[\"\\u0001\"]",
                                               .replay_reason = "it's \"new\"",
                                               .snapshot = true };
    AUTO_BUF out = BUF_INIT(1 << 16);
    int64_t bytes = 0;
    (void)state;
    assert_int_equal(manifest_build(&full, NULL, 0, &out, &bytes), OK);
    assert_string_equal(out.data,
                        "{\"entries\":[],\"sluice\":{\"batch\":\"01J\",\"bytes\":0,"
                        "\"consolidates\":[\"a\"],\"created\":17,\"dataset\":\"d1\","
                        "\"failed_records\":3,\"files\":0,\"generation\":1,\"records\":0,"
                        "\"replaces\":[\"b\",\"c\"],\"replaces_external\":[\"\\u0001\"],"
                        "\"replay_reason\":\"it's \\\"new\\\"\",\"sandbox\":\"prod\","
                        "\"snapshot\":true,\"version\":1}}\n");
}

static void test_names(void **state)
{
    const char *name[] = { "b", "a\"", "b", "a\"", "c" };
    (void)state;
    AUTO_TEXT char *list = manifest_names(name, 5), *none = manifest_names(NULL, 0);
    assert_string_equal(list, "[\"a\\\"\",\"b\",\"c\"]");
    assert_string_equal(none, "[]");
}

static void test_head_is_read_back(void **state)
{
    struct manifest_head named = head;
    AUTO_TEXT char *row = file_row("d/a", "],\"sluice\":{\"batch\":\"no\"}", 12);
    const char *rows[] = { row };
    AUTO_BUF out = BUF_INIT(1 << 16);
    struct fault fault = { 0 };
    int64_t bytes = 0;
    (void)state;
    named.replaces = "[\"b\",\"c\"]";
    assert_int_equal(manifest_build(&named, rows, 1, &out, &bytes), OK);
    for (size_t cut = 0; cut <= out.len; cut++) {
        AUTO_JSON *read = NULL;
        size_t left = out.len - cut;
        AUTO_TEXT char *end = mem_copy_bytes(out.data + cut, left);
        bool whole = cut <= (size_t)(strstr(out.data, "],\"sluice\"") - out.data);
        assert_int_equal(manifest_read_head(end, left, &read, &fault),
                         whole ? OK : ERR_TOO_BIG);
        if (!whole)
            continue;
        assert_string_equal(json_member_text(read, "batch"), "01J");
        assert_true(manifest_lists(read, "replaces", "c"));
        assert_false(manifest_lists(read, "replaces", "d"));
        assert_false(manifest_lists(read, "consolidates", "c"));
    }
}

static void test_order_does_not_matter(void **state)
{
    AUTO_TEXT char *a = file_row("d/a", "a", 1), *b = NULL, *c = NULL;
    (void)state;
    b = file_row("d/b", "b", 2);
    c = file_row("d/c", "c", 4);
    const char *one[] = { a, b, c }, *other[] = { c, a, b };
    AUTO_BUF first = BUF_INIT(1 << 16), second = BUF_INIT(1 << 16);
    int64_t bytes = 0;
    assert_int_equal(manifest_build(&head, one, 3, &first, &bytes), OK);
    assert_int_equal(bytes, 7);
    assert_int_equal(manifest_build(&head, other, 3, &second, &bytes), OK);
    assert_string_equal(first.data, second.data);
}

static void test_names_cannot_break_out(void **state)
{
    static const char *const name[] = { "a\tb", "\"},{\"", "new\nline", "\\", "\xff\xfe", "é" };
    (void)state;
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        AUTO_TEXT char *row = file_row("d/k", name[i], 3);
        const char *rows[] = { row };
        AUTO_BUF out = BUF_INIT(1 << 16);
        AUTO_JSON *json = NULL;
        struct fault fault;
        int64_t bytes = 0;
        assert_int_equal(manifest_build(&head, rows, 1, &out, &bytes), OK);
        assert_int_equal(json_parse(out.data, out.len, out.len, &json, &fault), OK);
        const struct json_t *entries = json_member(json, "entries");
        assert_int_equal(json_count(entries), 1);
        const struct json_t *own = json_member(json_element(entries, 0), "sluice");
        assert_non_null(json_member_text(own, "name"));
        if ((unsigned char)name[i][0] != 0xff)
            assert_string_equal(json_member_text(own, "name"), name[i]);
    }
}

static void test_empty_batch(void **state)
{
    AUTO_BUF out = BUF_INIT(1 << 16);
    int64_t bytes = 5;
    (void)state;
    assert_int_equal(manifest_build(&head, NULL, 0, &out, &bytes), OK);
    assert_int_equal(bytes, 0);
    assert_non_null(strstr(out.data, "{\"entries\":[],\"sluice\":{"));
}

static void test_foreign_rows_are_refused(void **state)
{
    static const char *const bad[] = { "", "key", "key\t5", "key\tx\t{}", "key\t5\tnot json" };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *rows[] = { bad[i] };
        AUTO_BUF out = BUF_INIT(1 << 16);
        int64_t bytes = 0;
        assert_int_equal(manifest_build(&head, rows, 1, &out, &bytes), ERR_BUG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_bytes),
        cmocka_unit_test(test_exact_head),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_head_is_read_back),
        cmocka_unit_test(test_order_does_not_matter),
        cmocka_unit_test(test_names_cannot_break_out),
        cmocka_unit_test(test_empty_batch),
        cmocka_unit_test(test_foreign_rows_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
