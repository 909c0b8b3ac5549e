/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration: a small table with every type, the complete text of error reports, what YAML
 * may not do, and print -> load -> print.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/conf.h"

#define REPORT_MAX 100000

struct item {
    char *id, *title;
    int64_t start_ms;
    int order;
    int64_t limit;
};

struct settings {
    struct {
        char *url, *user, *token;
        bool tls;
    } db;
    struct {
        int64_t part_bytes, wait_ms, files, spare;
        int mode;
    } copy;
    struct item *item;
    size_t items;
};

#define AT(member) offsetof(struct settings, member)
#define IN(member) offsetof(struct item, member)

/* clang-format off */
static const struct conf_row row[] = {
    { "db.url", CONF_TEXT, AT(db.url), NULL, 3, 40, NULL, CONF_REQUIRED, "where it is" },
    { "db.user", CONF_TEXT, AT(db.user), NULL, 1, 10, NULL, 0, "who" },
    { "db.token", CONF_TEXT, AT(db.token), NULL, 4, 40, NULL, CONF_SECRET, "a secret" },
    { "db.auth.tls", CONF_FLAG, AT(db.tls), "true", 0, 0, NULL, 0, "encrypted or not" },
    { "copy.part_size", CONF_SIZE, AT(copy.part_bytes), "8MiB", 5 << 20, 1 << 30, NULL, 0, "size" },
    { "copy.wait", CONF_DURATION, AT(copy.wait_ms), "30s", 100, 3600000, NULL, 0, "time" },
    { "copy.files", CONF_NUMBER, AT(copy.files), "16", 1, 64, NULL, 0, "count" },
    { "copy.spare", CONF_NUMBER, AT(copy.spare), NULL, 5, 9, NULL, 0, "has no default" },
    { "copy.mode", CONF_CHOICE, AT(copy.mode), "auto", 0, 0, "auto|signed|off", 0, "how" },
    { "items[].id", CONF_TEXT, IN(id), NULL, 1, 20, NULL, CONF_REQUIRED, "name of the item" },
    { "items[].view.title", CONF_TEXT, IN(title), "none", 0, 0, NULL, 0, "shown" },
    { "items[].start", CONF_DATE, IN(start_ms), "now", 0, 0, "now", 0, "from when" },
    { "items[].order", CONF_CHOICE, IN(order), "any", 0, 0, "any|strict", 0, "of the parts" },
    { "items[].limit", CONF_NUMBER, IN(limit), "0", 0, 100, NULL, 0, "at most" },
};
/* clang-format on */

static const struct conf_sequence sequence[] = {
    { "items", sizeof(struct item), AT(item), AT(items), 1, 3 },
};

static const struct conf_table table = { row, sizeof row / sizeof *row, sequence, 1 };

#define MINIMAL "db: {url: abc}\nitems: [{id: x}]\n"

static void load(const char *text, struct settings *settings)
{
    AUTO_BUF errors = BUF_INIT(REPORT_MAX);
    *settings = (struct settings){ 0 };
    enum err err = conf_load_text(&table, "f", text, strlen(text), settings, &errors);
    assert_string_equal(buf_text(&errors), "");
    assert_int_equal(err, OK);
}

static void report_bytes(const char *text, size_t len, struct buf *errors)
{
    struct settings settings = { 0 };
    assert_int_equal(conf_load_text(&table, "f", text, len, &settings, errors), ERR_CONFIG);
    conf_release(&table, &settings);
}

/* The report on a text that is refused. */
static void assert_report(const char *text, const char *expected)
{
    AUTO_BUF errors = BUF_INIT(REPORT_MAX);
    report_bytes(text, strlen(text), &errors);
    assert_string_equal(buf_text(&errors), expected);
}

static void assert_mentions(const char *text, const char *part)
{
    AUTO_BUF errors = BUF_INIT(REPORT_MAX);
    report_bytes(text, strlen(text), &errors);
    if (!strstr(buf_text(&errors), part))
        fail_msg("no <%s> in:\n%s", part, buf_text(&errors));
}

static void assert_lines(const char *text, size_t expected)
{
    AUTO_BUF errors = BUF_INIT(REPORT_MAX);
    size_t found = 0;
    report_bytes(text, strlen(text), &errors);
    for (const char *at = buf_text(&errors); (at = strstr(at, ": error: ")); at++)
        found++;
    assert_int_equal(found, expected);
}

static void defaults_fill_what_is_not_given(void **state)
{
    (void)state;
    struct settings s;
    load(MINIMAL, &s);
    assert_string_equal(s.db.url, "abc");
    assert_null(s.db.user);
    assert_true(s.db.tls);
    assert_int_equal(s.copy.part_bytes, 8 << 20);
    assert_int_equal(s.copy.wait_ms, 30000);
    assert_int_equal(s.copy.files, 16);
    assert_int_equal(s.copy.spare, 0);
    assert_int_equal(s.copy.mode, 0);
    assert_int_equal(s.items, 1);
    assert_string_equal(s.item[0].id, "x");
    assert_string_equal(s.item[0].title, "none");
    assert_int_equal(s.item[0].start_ms, -1);
    conf_release(&table, &s);
    assert_null(s.db.url);
    assert_null(s.item);
    assert_int_equal(s.items, 0);
}

static void every_type_is_read(void **state)
{
    (void)state;
    struct settings s;
    load("# comment\n"
         "db:\n"
         "  url: \"a # b: \\\"c\\\"\"   # quoted\n"
         "  user: null-ish\n"
         "  auth:\n"
         "    tls: false\n"
         "copy: {part_size: 64MiB, wait: 100ms, files: 64, spare: 9, mode: signed}\n"
         "items:\n"
         "  - id: one\n"
         "    start: 2024-02-01T10:30Z\n"
         "    view: {title: \"\"}\n"
         "  - {id: two, order: strict, limit: 100}\n"
         "  - id: \"3\"\n",
         &s);
    assert_string_equal(s.db.url, "a # b: \"c\"");
    assert_string_equal(s.db.user, "null-ish");
    assert_false(s.db.tls);
    assert_int_equal(s.copy.part_bytes, 64 << 20);
    assert_int_equal(s.copy.wait_ms, 100);
    assert_int_equal(s.copy.files, 64);
    assert_int_equal(s.copy.spare, 9);
    assert_int_equal(s.copy.mode, 1);
    assert_int_equal(s.items, 3);
    assert_true(s.item[0].start_ms == 1706783400000);
    assert_string_equal(s.item[0].title, "");
    assert_int_equal(s.item[1].order, 1);
    assert_int_equal(s.item[1].limit, 100);
    assert_string_equal(s.item[2].id, "3");
    assert_string_equal(s.item[2].title, "none");
    conf_release(&table, &s);
}

static void sections_may_be_empty(void **state)
{
    (void)state;
    struct settings s;
    load("copy:\n  # files: 3\ndb:\n  auth: ~\n  url: abc\nitems: [{id: x, view: }]\n", &s);
    assert_int_equal(s.copy.files, 16);
    assert_true(s.db.tls);
    conf_release(&table, &s);
}

static void all_errors_come_at_once_in_order(void **state)
{
    (void)state;
    assert_report("copy:\n"
                  "  files: 65\n"
                  "  prat_size: 8MiB\n"
                  "db:\n"
                  "  auth: {tls: yes}\n"
                  "items:\n"
                  "  - start: now\n"
                  "  - id: x\n"
                  "    order: strikt\n",
                  "f:2:10: error: copy.files: \"65\" is not a whole number from 1 to 64\n"
                  "    2 |   files: 65\n"
                  "      |          ^~\n"
                  "f:3:3: error: unknown key copy.prat_size (did you mean \"part_size\"?)\n"
                  "    3 |   prat_size\n"
                  "      |   ^~~~~~~~~\n"
                  "f:4:1: error: db.url is missing: where it is\n"
                  "    4 | db:\n"
                  "      | ^~\n"
                  "f:5:15: error: db.auth.tls: \"yes\" is not true or false\n"
                  "    5 |   auth: {tls: yes}\n"
                  "      |               ^~~\n"
                  "f:7:5: error: items[].id is missing: name of the item\n"
                  "    7 |   - start: now\n"
                  "      |     ^\n"
                  "f:9:12: error: items[].order: \"strikt\" is not one of any, strict "
                  "(did you mean \"strict\"?)\n"
                  "    9 |     order: strikt\n"
                  "      |            ^~~~~~\n");
}

static void empty_files_lack_everything_required(void **state)
{
    (void)state;
    static const char report[] = "f:1:1: error: db.url is missing: where it is\n"
                                 "f:1:1: error: items is missing: a list of 1 to 3\n";
    assert_report("", report);
    assert_lines("# nothing\n", 2);
    assert_lines("---\n", 2);
    assert_lines("~", 2);
}

static void ranges_and_forms_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } bad[] = {
        { "copy: {part_size: 4MiB}", "is not a size from 5MiB to 1GiB, like 512, 8KiB" },
        { "copy: {part_size: 1025MiB}", "\"1025MiB\" is not a size" },
        { "copy: {part_size: -1}", "\"-1\" is not a size" },
        { "copy: {wait: 30}", "\"30\" is not a duration from 100ms to 1h, like 250ms" },
        { "copy: {wait: 99ms}", "is not a duration" },
        { "copy: {files: 0}", "from 1 to 64" },
        { "copy: {files: 1.0}", "from 1 to 64" },
        { "copy: {files: 99999999999999999999}", "from 1 to 64" },
        { "copy: {mode: Auto}", "is not one of auto, signed, off (did you mean \"auto\"?)" },
        { "copy: {mode: on}", "is not one of auto, signed, off\n" },
        { "copy: {mode: [auto]}", "copy.mode: expected one of auto, signed, off" },
        { "copy: {mode: }", "copy.mode has no value: expected one of auto" },
        { "copy: {mode: ''}", "\"\" is not one of auto" },
        { "copy: 5", "expected keys with values here" },
        { "copy: [5]", "expected keys with values here" },
        { "db: {url: ab}", "is not a text of 3 to 40 bytes" },
        { "db: {url: \"abc\\nd\"}", "\"abc?d\" is not a text of 3 to 40 bytes" },
        { "db: {user: \"12345678901\"}", "is not a text of 1 to 10 bytes" },
        { "items: [{start: 2024-02-30}]",
          "is not a UTC date, like 2024-02-01 or 2024-02-01T10:30Z, or now" },
        { "items: [{start: 1969-01-01}]", "is not a UTC date" },
        { "items: {id: x}", "items is a list: each entry begins with \"- \"" },
        { "items: []", "items has 0 entries: 1 to 3 are possible" },
        { "items:", "items has 0 entries" },
        { "items: [{id: a}, {id: b}, {id: c}, {id: d}]", "items has 4 entries" },
        { "items: [a]", "expected keys with values here" },
        { "[a]", "f:1:1: error: expected keys with values here" },
        { "just text", "f:1:1: error: expected keys with values here" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_mentions(bad[i].text, bad[i].part);
}

static void unknown_keys_get_a_guess_only_if_it_is_near(void **state)
{
    (void)state;
    assert_mentions("itmes: []", "unknown key itmes (did you mean \"items\"?)");
    assert_mentions("bd: {}", "unknown key bd: there are db, copy, items\n");
    assert_mentions("db: {usr: x}", "unknown key db.usr (did you mean \"user\"?)");
    assert_mentions("db: {auht: x}", "unknown key db.auht (did you mean \"auth\"?)");
    assert_mentions("items: [{di: x}]",
                    "unknown key items[].di: there are id, view, start, order, limit\n");
    assert_mentions("copy: {tls: true}",
                    "unknown key copy.tls (did you mean \"db.auth.tls\"?)");
    assert_mentions("copy: {something_else: 1}",
                    "unknown key copy.something_else: there are part_size, wait,");
    assert_mentions("<<: {}", "unknown key <<: there are db, copy, items\n");
    assert_mentions("\"\": 1", "unknown key : there are db, copy, items\n");
}

/* A row's path written as one key would otherwise reach a struct it does not belong to. */
static void keys_are_not_paths(void **state)
{
    (void)state;
    assert_mentions("db.url: abc", "unknown key db.url: there are");
    assert_mentions("\"items[]\": {id: x}", "unknown key items[]");
    assert_mentions("\"items[].id\": x", "unknown key items[].id");
    assert_mentions("db: {auth.tls: true}", "unknown key db.auth.tls: there are url,");
}

static void duplicates_are_refused(void **state)
{
    (void)state;
    assert_mentions(MINIMAL "copy:\n  files: 1\n  files: 2\n",
                    "f:5:3: error: duplicate key copy.files, first on line 4\n");
    assert_mentions(MINIMAL "db: {user: x}\n",
                    "f:3:1: error: duplicate key db, first on line 1");
    assert_mentions(MINIMAL "items: [{id: y}]\n", "duplicate key items, first on line 2");
}

static void yaml_beyond_plain_trees_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *report;
    } bad[] = {
        { MINIMAL "copy: &a {files: 1}\n", "f:3:7: error: anchors are not supported\n" },
        { "db: &a {url: abc}\nitems: [*a]\n", "f:2:9: error: aliases are not supported" },
        { "db: &a [*a]\n", "f:1:9: error: aliases are not supported" },
        { MINIMAL "copy: {files: !!int 1}\n", "f:3:15: error: tags are not supported\n" },
        { MINIMAL "copy: !x {files: 1}\n", "f:3:7: error: tags are not supported\n" },
        { MINIMAL "---\ncopy: {}\n", "f:3:1: error: a second document" },
        { MINIMAL "copy: {files: \"1\\0\"}\n", "f:3:15: error: NUL bytes are not supported\n" },
        { MINIMAL "? [a]\n: b\n", "f:3:3: error: a key must be a name\n" },
        { MINIMAL "~: b\n", "f:3:1: error: a key must be a name\n" },
        { MINIMAL "a: [[[[[[[[1]]]]]]]]\n", "nested too deeply\n" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_mentions(bad[i].text, bad[i].report);
}

/* What lies behind broken syntax is not reported as missing. */
static void broken_syntax_is_one_error(void **state)
{
    (void)state;
    assert_lines("db: {url: abc\n", 1);
    assert_lines("db:\n\turl: abc\n", 1);
    assert_lines("copy:\n  wait: 1s\n files: 2\n", 1);
    assert_lines("db: \"abc\n", 1);
    assert_lines("db: \x01\n", 1);
    assert_lines("db: \xff\xfe\n", 1);
    assert_lines("\xff\xfe\x64\0", 1);
    AUTO_BUF errors = BUF_INIT(REPORT_MAX);
    report_bytes("db: a\0b\n", 8, &errors);
    assert_non_null(strstr(buf_text(&errors), ": error: "));
}

static void secrets_are_not_shown(void **state)
{
    (void)state;
    static const char *const bad[] = {
        MINIMAL "password: hunter2\n",
        MINIMAL "copy: {password: hunter2, files: 3}\n",
        "items: [{id: x}]\ndb: {url: abc, token: \"\\thunter2\"}\n",
        "items: [{id: x}]\ndb: {url: abc, token: [hunter2]}\n",
        "items: [{id: x}]\ndb: {url: abc, token: hunter2, token: hunter2}\n",
        "items: [{id: x}]\ndb: hunter2\n",
        "items: [{id: x}, hunter2]\ndb: {url: abc}\n",
        "hunter2\n",
        MINIMAL "copy: {password: hunter2, files: 0}\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        AUTO_BUF errors = BUF_INIT(REPORT_MAX);
        report_bytes(bad[i], strlen(bad[i]), &errors);
        assert_null(strstr(buf_text(&errors), "unter2"));
    }
    struct settings s;
    AUTO_BUF out = BUF_INIT(REPORT_MAX);
    load("items: [{id: x}]\ndb: {url: abc, token: hunter2}\n", &s);
    conf_print(&table, &s, &out);
    assert_null(strstr(buf_text(&out), "hunter2"));
    assert_non_null(strstr(buf_text(&out), "token: \"***\"\n"));
    conf_release(&table, &s);
}

static void carets_count_characters(void **state)
{
    (void)state;
    assert_report("items: [{id: x}]\ndb: {url: \"\xc3\xa9\xe2\x82\xac:\", user: \"\"}\r\n",
                  "f:2:24: error: db.user: \"\" is not a text of 1 to 10 bytes\n"
                  "    2 | db: {url: \"??:\", user: \"\"}\n"
                  "      |                        ^~\n");
}

static void reports_are_bounded(void **state)
{
    (void)state;
    AUTO_BUF text = BUF_INIT(REPORT_MAX), errors = BUF_INIT(REPORT_MAX);
    for (int i = 0; i < 1000; i++)
        buf_print(&text, "key%d: 1\n", i);
    report_bytes(text.data, text.len, &errors);
    assert_false(errors.overflow);
    assert_non_null(strstr(buf_text(&errors), "f: error: 952 more errors\n"));
    assert_true(errors.len < 10000);
}

static void printing_loads_again(void **state)
{
    (void)state;
    struct settings s, again;
    AUTO_BUF out = BUF_INIT(REPORT_MAX), out_again = BUF_INIT(REPORT_MAX);
    load("db: {url: \"a: \\\"b\\\" \\\\ #c '\xc3\xa9\", auth: {tls: false}}\n"
         "copy: {part_size: 5MiB, wait: 90s, mode: off}\n"
         "items: [{id: '007', start: 2024-02-01}, {id: \"null\", view: {title: ''}}]\n",
         &s);
    conf_print(&table, &s, &out);
    load(buf_text(&out), &again);
    assert_string_equal(again.db.url, s.db.url);
    assert_null(again.db.user);
    assert_int_equal(again.copy.wait_ms, 90000);
    assert_int_equal(again.copy.mode, 2);
    assert_int_equal(again.items, 2);
    assert_string_equal(again.item[1].id, "null");
    assert_string_equal(again.item[1].title, "");
    assert_true(again.item[0].start_ms == s.item[0].start_ms);
    conf_print(&table, &again, &out_again);
    assert_string_equal(buf_text(&out_again), buf_text(&out));
    conf_release(&table, &s);
    conf_release(&table, &again);
}

static void printed_text_has_sections_and_help(void **state)
{
    (void)state;
    struct settings s;
    AUTO_BUF out = BUF_INIT(REPORT_MAX);
    load("db: {url: abc}\nitems: [{id: x}, {id: y}]\n", &s);
    conf_print(&table, &s, &out);
    assert_non_null(strstr(buf_text(&out), "db:\n"
                                           "  # where it is\n"
                                           "  url: \"abc\"\n"
                                           "  # who\n"
                                           "  # user:\n"
                                           "  # a secret\n"
                                           "  # token:\n"
                                           "  auth:\n"
                                           "    # encrypted or not\n"
                                           "    tls: true\n"
                                           "copy:\n"
                                           "  # size\n"
                                           "  part_size: 8MiB\n"));
    assert_non_null(strstr(buf_text(&out), "  # spare:\n"));
    assert_non_null(strstr(buf_text(&out), "  -\n"
                                           "    id: \"y\"\n"
                                           "    view:\n"
                                           "      title: \"none\"\n"
                                           "    start: now\n"
                                           "    order: any\n"
                                           "    limit: 0\n"));
    conf_release(&table, &s);
}

static void files_are_read_up_to_the_limit(void **state)
{
    (void)state;
    char path[] = "/tmp/test_conf.XXXXXX";
    int fd = mkstemp(path);
    AUTO_BUF text = BUF_INIT(1 << 20), errors = BUF_INIT(REPORT_MAX);
    struct settings s = { 0 };
    buf_add_text(&text, MINIMAL "#");
    while (text.len < 256 * 1024)
        buf_add_char(&text, 'x');
    assert_int_equal(write(fd, text.data, text.len), (ssize_t)text.len);
    assert_int_equal(conf_load(&table, path, &s, &errors), OK);
    conf_release(&table, &s);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(conf_load(&table, path, &s, &errors), ERR_CONFIG);
    assert_non_null(strstr(buf_text(&errors), ": error: larger than 256 KiB\n"));
    conf_release(&table, &s);
    close(fd);
    unlink(path);
    buf_clear(&errors);
    assert_int_equal(conf_load(&table, path, &s, &errors), ERR_CONFIG);
    assert_non_null(strstr(buf_text(&errors), "cannot be read: No such file"));
    assert_int_equal(conf_load(&table, "/tmp", &s, &errors), ERR_CONFIG);
    assert_non_null(strstr(buf_text(&errors), "/tmp: error: cannot be read: Is a directory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_fill_what_is_not_given),
        cmocka_unit_test(every_type_is_read),
        cmocka_unit_test(sections_may_be_empty),
        cmocka_unit_test(all_errors_come_at_once_in_order),
        cmocka_unit_test(empty_files_lack_everything_required),
        cmocka_unit_test(ranges_and_forms_are_named),
        cmocka_unit_test(unknown_keys_get_a_guess_only_if_it_is_near),
        cmocka_unit_test(keys_are_not_paths),
        cmocka_unit_test(duplicates_are_refused),
        cmocka_unit_test(yaml_beyond_plain_trees_is_refused),
        cmocka_unit_test(broken_syntax_is_one_error),
        cmocka_unit_test(secrets_are_not_shown),
        cmocka_unit_test(carets_count_characters),
        cmocka_unit_test(reports_are_bounded),
        cmocka_unit_test(printing_loads_again),
        cmocka_unit_test(printed_text_has_sections_and_help),
        cmocka_unit_test(files_are_read_up_to_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
