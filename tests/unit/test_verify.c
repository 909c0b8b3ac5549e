/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of verify: manifests read back, prefixes of templates, the set of keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/manifest.h"
#include "daemon/verify_keys.h"
#include "daemon/verify_manifest.h"
#include "lib/base/digest.h"

#define DAY 86400000LL

/* ---- manifests */

static char *written(size_t files)
{
    struct buf out = BUF_INIT(1 << 20);
    char *row[8];
    int64_t bytes;
    for (size_t i = 0; i < files; i++) {
        struct buf text = BUF_INIT(1 << 16);
        AUTO_TEXT char *key = mem_print("ds/%zu", i);
        manifest_row(&(struct manifest_file){ .bucket = "lake",
                                              .key = key,
                                              .file_id = "01J-1",
                                              .name = "a\"b\n\xc3\xa9",
                                              .size = (int64_t)i,
                                              .crc32c = 0xabcdef00u + (uint32_t)i },
                     &text);
        row[i] = buf_take(&text);
    }
    assert_int_equal(manifest_build(&(struct manifest_head){ .batch = "01J",
                                                             .dataset = "d1",
                                                             .sandbox = "prod",
                                                             .created = 1700,
                                                             .records = (int64_t)files - 1,
                                                             .failed_records = 2,
                                                             .consolidates = "[\"a\"]",
                                                             .replaces = "[\"b\",\"c\"]",
                                                             .replaces_external = "[\"\\n\"]",
                                                             .replay_reason = "new",
                                                             .snapshot = files % 2 == 0 },
                                    (const char **)row, files, &out, &bytes),
                     OK);
    for (size_t i = 0; i < files; i++)
        mem_free(row[i]);
    return buf_take(&out);
}

static enum err read_back(const char *text, size_t len, const char *bucket)
{
    struct verify_manifest manifest;
    struct fault fault = { 0 };
    enum err err = verify_manifest_read(text, len, bucket, &manifest, &fault);
    if (!err)
        verify_manifest_release(&manifest);
    else
        print_message("%s\n", fault.text);
    assert_true(err == fault.code && (err == OK || err == ERR_DIFFERS));
    return err;
}

static void what_was_written_is_read(void **state)
{
    AUTO_TEXT char *text = written(3);
    struct verify_manifest manifest;
    struct fault fault = { 0 };
    (void)state;
    assert_int_equal(verify_manifest_read(text, strlen(text), "lake", &manifest, &fault), OK);
    assert_string_equal(manifest.batch, "01J");
    assert_string_equal(manifest.dataset, "d1");
    assert_string_equal(manifest.sandbox, "prod");
    assert_int_equal(manifest.created, 1700);
    assert_int_equal(manifest.entries, 3);
    assert_string_equal(manifest.entry[2].key, "ds/2");
    assert_string_equal(manifest.entry[2].name, "a\"b\n\xc3\xa9");
    assert_int_equal(manifest.entry[2].size, 2);
    assert_int_equal(manifest.entry[2].crc32c, 0xabcdef02u);
    verify_manifest_release(&manifest);
    AUTO_TEXT char *empty = written(0);
    assert_int_equal(read_back(empty, strlen(empty), "lake"), OK);
}

static bool inside_text(const char *json, size_t at)
{
    bool inside = false;
    for (size_t i = 0; i < at; i++)
        if (json[i] == '\\')
            i++;
        else if (json[i] == '"')
            inside = !inside;
    return inside;
}

/* Nothing can be cut off, no blank added, except in a text, which makes it another text. */
static void every_other_form_is_refused(void **state)
{
    AUTO_TEXT char *text = written(2);
    size_t len = strlen(text);
    (void)state;
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(read_back(text, cut, "lake"), ERR_DIFFERS);
    for (size_t i = 0; i <= len; i++) {
        AUTO_TEXT char *longer = mem_print("%.*s %s", (int)i, text, text + i);
        enum err err = read_back(longer, len + 1, "lake");
        if (!inside_text(text, i))
            assert_int_equal(err, ERR_DIFFERS);
    }
}

static char *replaced(const char *text, const char *old, const char *new)
{
    const char *at = strstr(text, old);
    assert_non_null(at);
    return mem_print("%.*s%s%s", (int)(at - text), text, new, at + strlen(old));
}

static void changed_facts_are_refused(void **state)
{
    static const struct {
        const char *old, *new;
    } row[] = {
        { "\"bytes\":1", "\"bytes\":2" },
        { "\"files\":2", "\"files\":1" },
        { "\"generation\":1", "\"generation\":2" },
        { "\"version\":1", "\"version\":2" },
        { "\"created\":1700", "\"created\":\"1700\"" },
        { "\"created\":1700", "\"created\":-1" },
        { "\"content_length\":1", "\"content_length\":1.0" },
        { "abcdef00", "ABCDEF00" },
        { "abcdef00", "abcdef0" },
        { "s3://lake/ds/0", "s3://lake2/ds/0" },
        { "s3://lake/ds/0", "s3://lake/" },
        { "s3://lake/ds/0", "http://lake/ds/0" },
        { "s3://lake/ds/0", "s3://lake/ds/2" },
        { "s3://lake/ds/0", "s3://lake/ds/1" },
        { "\"mandatory\":true", "\"mandatory\":false" },
        { "\"batch\":\"01J\"", "\"batch\":7" },
        { "\"entries\":[", "\"entries\":[{}," },
        { "{\"entries\"", "{\"a\":1,\"entries\"" },
    };
    AUTO_TEXT char *text = written(2);
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        AUTO_TEXT char *changed = replaced(text, row[i].old, row[i].new);
        print_message("%s: ", row[i].new);
        assert_int_equal(read_back(changed, strlen(changed), "lake"), ERR_DIFFERS);
    }
    assert_int_equal(read_back(text, strlen(text), "other"), ERR_DIFFERS);
    assert_int_equal(read_back("[]", 2, "lake"), ERR_DIFFERS);
    assert_int_equal(read_back("{}", 2, "lake"), ERR_DIFFERS);
    assert_int_equal(read_back("null", 4, "lake"), ERR_DIFFERS);
}

/* ---- templates */

static void days_are_told_from_other_layouts(void **state)
{
    static const struct {
        const char *template;
        bool by_day, own;
    } row[] = {
        { "{prefix}{dataset}/dt={created:%Y-%m-%d}/{file_id}-{name}", true, true },
        { "{prefix}{dataset_id}/{created:%Y/%m/%d}/{name}", true, true },
        { "{prefix}{dataset}/{created:%F}-{name}", true, true },
        { "{prefix}{dataset}/{created:%Y%j}/{name}", true, true },
        { "{prefix}{dataset}/{created:%Y-%m}/{name}", false, true },
        { "{prefix}{dataset}/{created:%Y-%m-%d-%H}/{name}", false, true },
        { "{prefix}{dataset}/{created:%G-%V}/{name}", false, true },
        { "{prefix}{dataset}/{batch}/{created:%F}/{name}", false, true },
        { "{prefix}{dataset}-{created:%F}/{name}", true, false },
        { "{prefix}{created:%F}/{dataset}/{name}", true, false },
        { "{prefix}{batch}/{name}", false, false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        print_message("%s\n", row[i].template);
        assert_int_equal(verify_by_day(row[i].template), row[i].by_day);
        assert_int_equal(verify_own_folder(row[i].template), row[i].own);
    }
}

static const struct key_values values = { .prefix = "p/", .dataset = "d", .dataset_id = "i d" };

static void assert_prefixes(const char *template, enum verify_width width, int64_t from,
                            int64_t to, const char *wanted)
{
    struct verify_prefixes prefixes;
    AUTO_BUF text = BUF_INIT(1 << 16);
    verify_prefixes(template, &values, width, from, to, &prefixes);
    for (size_t i = 0; i < prefixes.count; i++)
        buf_print(&text, "%s ", prefixes.prefix[i]);
    verify_prefixes_release(&prefixes);
    assert_string_equal(buf_text(&text), wanted);
}

static void prefixes_cover_the_range(void **state)
{
    const char *daily = "{prefix}{dataset}/dt={created:%F}/x-{name}";
    (void)state;
    assert_prefixes(daily, VERIFY_FOLDER, 0, 1, "p/d/ ");
    assert_prefixes(daily, VERIFY_BEGIN, 0, 1, "p/d/dt= ");
    assert_prefixes(daily, VERIFY_DAYS, 0, 1, "p/d/dt=1970-01-01/x- ");
    assert_prefixes(daily, VERIFY_DAYS, DAY - 1, DAY, "p/d/dt=1970-01-01/x- ");
    assert_prefixes(daily, VERIFY_DAYS, DAY - 1, DAY + 1,
                    "p/d/dt=1970-01-01/x- p/d/dt=1970-01-02/x- ");
    assert_prefixes(daily, VERIFY_DAYS, DAY, 2 * DAY, "p/d/dt=1970-01-02/x- ");
    assert_prefixes("{prefix}{dataset_id}/{batch}/{name}", VERIFY_BEGIN, 0, 1, "p/i%20d/ ");
    assert_prefixes("{prefix}{dataset}-{batch}.json", VERIFY_BEGIN, 0, 1, "p/d- ");
}

static void housekeeping_is_a_segment(void **state)
{
    (void)state;
    assert_true(verify_is_housekeeping("_sluice/probe"));
    assert_true(verify_is_housekeeping("p/d/_sluice/tail.json"));
    assert_true(verify_is_housekeeping("p/x_sluice/_sluice/a"));
    assert_false(verify_is_housekeeping("p/x_sluice/a"));
    assert_false(verify_is_housekeeping("p/_sluicex/a"));
    assert_false(verify_is_housekeeping("p/_sluice"));
}

/* ---- the set */

static void a_set_knows_what_was_added(void **state)
{
    struct key_set set = { 0 };
    char text[32];
    (void)state;
    assert_false(key_set_has(&set, ""));
    assert_true(key_set_add(&set, ""));
    for (int i = 0; i < 20000; i++) {
        snprintf(text, sizeof text, "key %d", i);
        assert_true(key_set_add(&set, text));
        assert_false(key_set_add(&set, text));
    }
    assert_int_equal(set.count, 20001);
    for (int i = 0; i < 20000; i++) {
        snprintf(text, sizeof text, "key %d", i);
        assert_true(key_set_has(&set, text));
        snprintf(text, sizeof text, "no %d", i);
        assert_false(key_set_has(&set, text));
    }
    key_set_release(&set);
    assert_false(key_set_has(&set, "key 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(every_other_form_is_refused),
        cmocka_unit_test(changed_facts_are_refused),
        cmocka_unit_test(days_are_told_from_other_layouts),
        cmocka_unit_test(prefixes_cover_the_range),
        cmocka_unit_test(housekeeping_is_a_segment),
        cmocka_unit_test(a_set_knows_what_was_added),
    };
    digest_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
