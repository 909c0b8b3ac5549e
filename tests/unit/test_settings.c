/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's own table: broken files with the place and the hint that each gets; ${…}; conf.d;
 * origins; what a reload takes over and what it leaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/settings.h"
#include "lib/base/json.h"

#define REPORT_MAX 100000

static char home[] = "/tmp/test_settings.XXXXXX";
static char file[sizeof home + 16], folder[sizeof home + 16];

static int make_home(void **state)
{
    (void)state;
    if (!mkdtemp(home))
        return -1;
    snprintf(file, sizeof file, "%s/sluice.yaml", home);
    snprintf(folder, sizeof folder, "%s/conf.d", home);
    setenv("BUCKET", "from-env", 1);
    setenv("EMPTY", "", 1);
    unsetenv("ABSENT");
    return mkdir(folder, 0700);
}

static int remove_home(void **state)
{
    (void)state;
    AUTO_TEXT char *command = mem_print("rm -r %s", home);
    return system(command);
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void put_more(const char *name, const char *text)
{
    AUTO_TEXT char *path = mem_print("%s/%s", folder, name);
    put(path, text);
}

static void remove_more(const char *name)
{
    AUTO_TEXT char *path = mem_print("%s/%s", folder, name);
    unlink(path);
}

#define AEP  "aep: {org: A@AdobeOrg, client_id: c, client_secret_file: /s}\n"
#define S3   "s3: {endpoint: https://s3, bucket: lake}\n"
#define DATA "datasets: [{id: d1}]\n"
#define ALL  AEP S3 DATA

static void load(const char *text, struct settings *settings)
{
    AUTO_BUF errors = BUF_INIT(REPORT_MAX);
    *settings = (struct settings){ 0 };
    put(file, text);
    enum err err = settings_load(file, SETTINGS_OF_DAEMON, settings, &errors);
    assert_string_equal(buf_text(&errors), "");
    assert_int_equal(err, OK);
}

static void report(const char *text, struct buf *errors)
{
    struct settings settings = { 0 };
    put(file, text);
    assert_int_equal(settings_load(file, SETTINGS_OF_DAEMON, &settings, errors), ERR_CONFIG);
    settings_release(&settings);
}

static size_t count(const char *text, const char *part)
{
    size_t found = 0;
    for (; (text = strstr(text, part)); text++)
        found++;
    return found;
}

/* The only error, its place, its caret under that place, and a part of what it says. */
static void assert_broken(const char *text, int line, int column, const char *hint)
{
    AUTO_BUF errors = BUF_INIT(REPORT_MAX);
    report(text, &errors);
    const char *found = buf_text(&errors);
    AUTO_TEXT char *begin = mem_print("%s:%d:%d: error: ", file, line, column);
    AUTO_TEXT char *caret = mem_print("\n      | %*s^", column - 1, "");
    if (strncmp(found, begin, strlen(begin)) != 0 || count(found, ": error: ") != 1 ||
        !strstr(found, hint) || !strstr(found, caret))
        fail_msg("expected %s…%s\nonce, got\n%s", begin, hint, found);
}

static const struct {
    const char *text;
    int line, column;
    const char *hint;
} bad[] = {
    /* keys */
    { ALL "redsi: {}\n", 4, 1, "unknown key redsi (did you mean \"redis\"?)" },
    { AEP DATA "s3:\n  endpoint: https://s3\n  bucket: lake\n  prefx: aep/\n", 6, 3,
      "unknown key s3.prefx (did you mean \"prefix\"?)" },
    { ALL "queue:\n  bucket: lake\n", 5, 3, "(did you mean \"s3.bucket\"?)" },
    { ALL "health:\n  port: 80\n", 5, 3, "unknown key health.port: there are socket, mode" },
    { AEP S3 "datasets:\n  - id: d\n    polll: 5s\n", 5, 5, "(did you mean \"poll\"?)" },
    { ALL "log:\n  level: info\n  level: warn\n", 6, 3,
      "duplicate key log.level, first on line 5" },
    { ALL "log: {}\nlog: {}\n", 5, 1, "duplicate key log, first on line 4" },
    { ALL "log.level: info\n", 4, 1, "unknown key log.level: there are redis, aep," },
    /* shapes */
    { ALL "log: debug\n", 4, 1, "expected keys with values here" },
    { ALL "log:\n  level: [debug]\n", 5, 3, "log.level: expected one of debug, info" },
    { ALL "log:\n  level:\n", 5, 3, "log.level has no value: expected one of debug" },
    { AEP S3 "datasets: {id: d}\n", 3, 1, "datasets is a list: each entry begins with \"- \"" },
    { AEP S3 "datasets:\n  - d1\n", 4, 5, "expected keys with values here" },
    { ALL "---\nlog: {}\n", 4, 1, "a second document" },
    { ALL "log: &a {level: info}\n", 4, 6, "anchors are not supported" },
    { ALL "log: {level: !!str info}\n", 4, 14, "tags are not supported" },
    { ALL "log:\n\tlevel: info\n", 5, 1, "found character that cannot start any token" },
    { AEP "log: {level: \"info\"\n" S3 DATA, 3, 1, "did not find expected ',' or '}'" },
    /* values */
    { ALL "log:\n  level: inof\n", 5, 10,
      "\"inof\" is not one of debug, info, warn, error (did you mean \"info\"?)" },
    { ALL "log:\n  format: xml\n", 5, 11, "\"xml\" is not one of auto, text, json" },
    { ALL "queue:\n  lease: 60\n", 5, 10,
      "\"60\" is not a duration from 2s to 1h, like 250ms, 30s, 15m, 2h or 7d" },
    { ALL "queue:\n  lease: 1s\n", 5, 10, "\"1s\" is not a duration from 2s to 1h" },
    { ALL "transfer: {memory: 128MB}\n", 4, 20,
      "\"128MB\" is not a size from 16MiB to 64GiB, like 512, 8KiB, 64MiB or 1GiB" },
    { ALL "transfer: {files: many}\n", 4, 19, "is not a whole number from 1 to 4096" },
    { ALL "transfer: {workers: 0}\n", 4, 21, "is not a whole number from 1 to 64" },
    { ALL "redis: {allow_volatile: yes}\n", 4, 25, "\"yes\" is not true or false" },
    { AEP S3 "datasets: [{id: d, start: tomorrow}]\n", 3, 27,
      "is not a UTC date, like 2024-02-01 or 2024-02-01T10:30Z, or now" },
    { AEP S3 "datasets: [{id: d, order: commmit}]\n", 3, 27, "(did you mean \"commit\"?)" },
    /* what is missing */
    { AEP "s3: {endpoint: https://s3}\n" DATA, 2, 1, "s3.bucket is missing: target bucket" },
    { AEP S3 "datasets:\n  - as: web\n", 4, 5, "datasets[].id is missing: dataset id in AEP" },
    { AEP S3 "datasets: []\n", 3, 1, "there is none to copy; sluicectl datasets shows" },
    { "aep: {client_id: c, client_secret_file: /s}\n" S3 DATA, 1, 1,
      "aep.org: is missing: organisation id" },
    { "aep: {auth: token, org: A@AdobeOrg, client_id: c}\n" S3 DATA, 1, 1,
      "aep.token_file: is missing: aep.auth: token needs it" },
    /* what does not go together */
    { AEP DATA "s3: {endpoint: https://s3, bucket: lake, prefix: /aep}\n", 3, 50,
      "must not start with / and must end with /" },
    { ALL "transfer:\n  memory: 16MiB\n  part_size: 9MiB\n", 5, 11,
      "must hold at least two parts" },
    { ALL "health:\n  mode: \"0999\"\n", 5, 9, "must be octal, like 0660" },
    { AEP S3 "datasets: [{id: d, start: 2024-02-02, end: 2024-02-01}]\n", 3, 44,
      "datasets[].end: must be after start" },
    { AEP S3 "datasets:\n  - id: d/1\n", 4, 9, "\"d/1\" has more than letters, digits" },
    { AEP S3 "datasets:\n  - id: d\n  - id: d\n    as: e\n", 5, 9, "is there already" },
    { AEP S3 "datasets:\n  - id: d\n    as: web\n  - id: e\n    as: web\n", 7, 9,
      "web is the name of dataset d already" },
    { AEP S3 "datasets:\n  - id: d\n    key: \"{nonsense}\"\n", 5, 10, "datasets[].key: " },
    /* references */
    { AEP DATA "s3:\n  endpoint: https://s3\n  bucket: a-${ABSENT}\n", 5, 13,
      "${ABSENT} is not set in the environment (use ${ABSENT:-default}" },
    { AEP DATA "s3:\n  endpoint: https://s3\n  bucket: \"${ABSENT}\"\n", 5, 12,
      "${ABSENT} is not set" },
    { AEP DATA "s3:\n  endpoint: https://s3\n  bucket: ${file:/nowhere/b}\n", 5, 11,
      "secret file /nowhere/b cannot be opened: No such file" },
    { AEP DATA "s3:\n  endpoint: https://s3\n  bucket: ${file:b}\n", 5, 11,
      "wants the whole path of a file" },
    { AEP DATA "s3:\n  endpoint: https://s3\n  bucket: x${BUCKET\n", 5, 12,
      "${ without its }" },
    { AEP DATA "s3:\n  endpoint: https://s3\n  bucket: ${a b}\n", 5, 11, "expected ${NAME}" },
    { ALL "log: {level: \"${BUCKET}\"}\n", 4, 14, "\"from-env\" is not one of debug" },
};
static void broken_files_get_place_and_hint(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_broken(bad[i].text, bad[i].line, bad[i].column, bad[i].hint);
}

static void all_errors_come_at_once(void **state)
{
    (void)state;
    AUTO_BUF errors = BUF_INIT(REPORT_MAX);
    put_more("20-b.yaml", "log: {levl: info}\n");
    put_more("10-a.yaml", "queue: {lease: soon}\n");
    report("aep: {client_id: c}\ns3: {endpoint: https://s3, prefix: x}\n", &errors);
    const char *text = buf_text(&errors), *at = text;
    static const char *const order[] = {
        "1:1: error: aep.org: is missing",
        "1:1: error: aep.client_secret_file: is missing",
        "1:1: error: datasets: there is none",
        "2:1: error: s3.bucket is missing",
        "2:36: error: s3.prefix: must",
        "10-a.yaml:1:16: error: queue.lease",
        "20-b.yaml:1:7: error: unknown key log.levl",
    };
    assert_int_equal(count(text, ": error: "), 7);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        const char *next = strstr(text, order[i]);
        if (!next || (i > 3 && next < at))
            fail_msg("<%s> is not where it should be in\n%s", order[i], text);
        at = next;
    }
    remove_more("10-a.yaml");
    remove_more("20-b.yaml");
}

static void references_are_replaced(void **state)
{
    (void)state;
    struct settings settings;
    AUTO_BUF shown = BUF_INIT(REPORT_MAX);
    AUTO_TEXT char *secret = mem_print("%s/org", home);
    put(secret, "S3CR3T@AdobeOrg\n");
    AUTO_TEXT char *text = mem_print(
        "aep:\n  org: ${file:%s}\n  client_id: $$x$y${EMPTY}\n  client_secret_file: /s\n"
        "s3:\n  endpoint: https://s3\n  bucket: ${BUCKET}\n  prefix: "
        "${ABSENT:-a/}${EMPTY:-b/}\n"
        "transfer:\n  files: ${ABSENT:-17}\n" DATA,
        secret);
    load(text, &settings);
    assert_string_equal(settings.aep.org, "S3CR3T@AdobeOrg");
    assert_string_equal(settings.aep.client_id, "$x$y");
    assert_string_equal(settings.s3.bucket, "from-env");
    assert_string_equal(settings.s3.prefix, "a/b/");
    assert_int_equal(settings.transfer.files, 17);
    /* What is printed loads again, and shows nothing out of files. */
    settings_print(&settings, &shown);
    assert_null(strstr(buf_text(&shown), "S3CR3T"));
    settings_release(&settings);
    load(buf_text(&shown), &settings);
    assert_string_equal(settings.aep.org, "S3CR3T@AdobeOrg");
    assert_string_equal(settings.aep.client_id, "$x$y");
    settings_release(&settings);
}

static void secret_lines_stay_hidden(void **state)
{
    (void)state;
    AUTO_BUF errors = BUF_INIT(REPORT_MAX);
    AUTO_TEXT char *secret = mem_print("%s/level", home);
    put(secret, "hunter2\n");
    AUTO_TEXT char *text = mem_print(ALL "log:\n  level: ${file:%s}\n", secret);
    report(text, &errors);
    assert_null(strstr(buf_text(&errors), "hunter2"));
    assert_non_null(strstr(buf_text(&errors), ", which is not shown, is not one of debug"));
    put(secret, "two\nlines\n");
    buf_clear(&errors);
    report(text, &errors);
    assert_non_null(strstr(buf_text(&errors), "has more than one line"));
    assert_int_equal(chmod(secret, 0644), 0);
    buf_clear(&errors);
    report(text, &errors);
    assert_non_null(strstr(buf_text(&errors), "open to others: chmod 0600 it"));
}

static void more_files_are_merged(void **state)
{
    (void)state;
    struct settings settings;
    put_more("10-queue.yaml", "queue: {lease: 30s}\ndatasets:\n  - {id: d2, as: two}\n");
    put_more("20-log.yaml", "queue:\n  window: 2d\nlog: {level: warn}\ndatasets: [{id: d3}]\n");
    put_more("30-empty.yaml", "# nothing\n");
    put_more("note.txt", "not: [yaml\n");
    load(ALL "queue:\n", &settings);
    assert_int_equal(settings.queue.lease_ms, 30000);
    assert_int_equal(settings.queue.window_ms, 2 * 86400000);
    assert_int_equal(settings.log.level, 2);
    assert_int_equal(settings.datasets, 3);
    assert_string_equal(settings.dataset[1].as, "two");
    assert_string_equal(settings.dataset[2].id, "d3");
    AUTO_BUF shown = BUF_INIT(REPORT_MAX), json = BUF_INIT(REPORT_MAX);
    settings_show(&settings, CONF_ORIGINS, false, &shown);
    AUTO_TEXT char *lease = mem_print("\n  lease: 30s  # %s/10-queue.yaml:1\n", folder);
    AUTO_TEXT char *two = mem_print("\n    as: \"two\"  # %s/10-queue.yaml:3\n", folder);
    assert_non_null(strstr(buf_text(&shown), lease));
    assert_non_null(strstr(buf_text(&shown), two));
    assert_non_null(strstr(buf_text(&shown), "\n    as: \"d3\"  # derived\n"));
    assert_non_null(strstr(buf_text(&shown), "\n  region: \"us-east-1\"  # default\n"));
    settings_show(&settings, CONF_ORIGINS | CONF_GIVEN, true, &json);
    AUTO_TEXT char *record =
        mem_print("{\"key\":\"datasets[1].as\",\"value\":\"\\\"two\\\"\",\"origin\":\"%s/"
                  "10-queue.yaml:3\"}",
                  folder);
    assert_non_null(strstr(buf_text(&json), record));
    assert_null(strstr(buf_text(&json), "s3.region"));
    settings_release(&settings);
    put_more("40-twice.yaml", "log: {level: info}\n");
    AUTO_BUF errors = BUF_INIT(REPORT_MAX);
    report(ALL, &errors);
    AUTO_TEXT char *twice = mem_print("%s/40-twice.yaml:1:7: error: duplicate key log.level, "
                                      "first in %s/20-log.yaml:3\n",
                                      folder, folder);
    assert_non_null(strstr(buf_text(&errors), twice));
    static const char *const name[] = { "10-queue.yaml", "20-log.yaml", "30-empty.yaml",
                                        "40-twice.yaml", "note.txt" };
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        remove_more(name[i]);
}

/* --- reload */

static void note_change(void *owner, const struct conf_change *change)
{
    struct buf *out = owner;
    buf_print(out, "%s%s%s %s>%s%s\n", change->item ? change->item : "",
              change->item && change->row ? ":" : "", change->row ? change->row->path : "",
              change->before ? change->before : "-", change->after ? change->after : "-",
              change->applied ? "" : " restart");
}

static void a_reload_takes_what_may_change(void **state)
{
    (void)state;
    struct settings settings, fresh;
    struct fault fault = { 0 };
    AUTO_BUF changes = BUF_INIT(REPORT_MAX);
    load(AEP S3 "datasets:\n  - {id: a, as: one}\n  - {id: b, poll: 5s}\n", &settings);
    const struct dataset_settings *old = settings.dataset;
    load(AEP "s3: {endpoint: https://s3, bucket: other, profile: p}\n"
             "queue: {window: 2d, lease: 9s}\n"
             "datasets:\n  - {id: c}\n  - {id: a, as: uno, poll: 7s}\n",
         &fresh);
    assert_int_equal(settings_take(&settings, &fresh, &changes, note_change, &fault), OK);
    assert_string_equal(buf_text(&changes), "s3.bucket \"lake\">\"other\" restart\n"
                                            "s3.profile >\"p\"\n"
                                            "queue.lease 1m>9s restart\n"
                                            "queue.window 1d>2d\n"
                                            "c ->c\n"
                                            "a:datasets[].as \"one\">\"uno\" restart\n"
                                            "a:datasets[].poll 30s>7s\n"
                                            "b b>-\n");
    assert_string_equal(settings.s3.bucket, "lake");
    assert_string_equal(settings.s3.profile, "p");
    assert_int_equal(settings.queue.lease_ms, 60000);
    assert_int_equal(settings.queue.window_ms, 2 * 86400000);
    assert_int_equal(settings.datasets, 2);
    assert_string_equal(settings.dataset[0].id, "c");
    assert_string_equal(settings.dataset[1].as, "one");
    assert_int_equal(settings.dataset[1].poll_ms, 7000);
    /* Running tasks go on reading what they began with. */
    assert_ptr_equal(fresh.dataset, old);
    assert_string_equal(old[0].as, "one");
    assert_int_equal(old[1].poll_ms, 5000);
    settings_release(&fresh);
    assert_string_equal(settings.dataset[1].as, "one");
    settings_release(&settings);
}

static void a_name_in_use_is_not_given_away(void **state)
{
    (void)state;
    struct settings settings, fresh;
    struct fault fault = { 0 };
    AUTO_BUF changes = BUF_INIT(REPORT_MAX);
    load(AEP S3 "datasets: [{id: a, as: web}]\n", &settings);
    load(AEP S3 "datasets: [{id: a, as: old}, {id: b, as: web}]\n", &fresh);
    assert_int_equal(settings_take(&settings, &fresh, &changes, note_change, &fault),
                     ERR_CONFIG);
    assert_string_equal(fault.text, "datasets[].as: web is in use for dataset a: restart");
    assert_int_equal(changes.len, 0);
    assert_int_equal(settings.datasets, 1);
    settings_release(&fresh);
    settings_release(&settings);
}

static void nothing_changes_without_a_change(void **state)
{
    (void)state;
    struct settings settings, fresh;
    struct fault fault = { 0 };
    AUTO_BUF changes = BUF_INIT(REPORT_MAX);
    load(ALL, &settings);
    load("# moved\n" DATA S3 AEP, &fresh);
    assert_int_equal(settings_take(&settings, &fresh, &changes, note_change, &fault), OK);
    assert_int_equal(changes.len, 0);
    settings_release(&fresh);
    settings_release(&settings);
}

static void the_schema_has_each_key(void **state)
{
    (void)state;
    AUTO_BUF schema = BUF_INIT(REPORT_MAX);
    settings_schema(&schema);
    const char *text = buf_text(&schema);
    assert_false(schema.overflow);
    assert_non_null(strstr(text, "\"level\":{\"description\":\"least important events that are "
                                 "logged\",\"default\":\"info\",\"x-reload\":true,\"anyOf\":[{"
                                 "\"enum\":[\"debug\",\"info\",\"warn\",\"error\"]}"));
    assert_non_null(
        strstr(text, "\"datasets\":{\"type\":\"array\",\"items\":{\"type\":\"object\""));
    assert_non_null(strstr(text, "\"required\":[\"endpoint\",\"bucket\"]"));
    AUTO_JSON *root = NULL;
    struct fault fault = { 0 };
    assert_int_equal(json_parse(text, schema.len, REPORT_MAX, &root, &fault), OK);
    const struct json_t *sections = json_member(root, "properties");
    assert_int_equal(json_count(json_member(json_member(sections, "log"), "properties")), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_files_get_place_and_hint),
        cmocka_unit_test(all_errors_come_at_once),
        cmocka_unit_test(references_are_replaced),
        cmocka_unit_test(secret_lines_stay_hidden),
        cmocka_unit_test(more_files_are_merged),
        cmocka_unit_test(a_reload_takes_what_may_change),
        cmocka_unit_test(a_name_in_use_is_not_given_away),
        cmocka_unit_test(nothing_changes_without_a_change),
        cmocka_unit_test(the_schema_has_each_key),
    };
    return cmocka_run_group_tests(tests, make_home, remove_home);
}
