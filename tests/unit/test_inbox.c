/* SPDX-License-Identifier: Apache-2.0 */
/* Operators' commands: both forms, and a reason for everything that is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/inbox.h"

static void expect(const char *raw, const char *joined)
{
    const char *word[INBOX_WORDS];
    size_t words = 0;
    AUTO_BUF storage = { 0 }, got = BUF_INIT(8192);
    struct fault fault = { 0 };
    assert_int_equal(inbox_parse(raw, strlen(raw), &storage, word, &words, &fault), OK);
    for (size_t i = 0; i < words; i++)
        buf_print(&got, "%s%s", i ? "|" : "", word[i]);
    assert_string_equal(buf_text(&got), joined);
}

static void refuse(const char *raw, const char *reason)
{
    const char *word[INBOX_WORDS];
    size_t words = 0;
    AUTO_BUF storage = { 0 };
    struct fault fault = { 0 };
    assert_int_equal(inbox_parse(raw, strlen(raw), &storage, word, &words, &fault),
                     ERR_ARGUMENT);
    if (!strstr(fault.text, reason))
        fail_msg("\"%s\" does not tell \"%s\"", fault.text, reason);
}

static void test_accepted(void **state)
{
    (void)state;
    expect("backfill d1 2024-01-01 2024-02-01", "backfill|d1|2024-01-01|2024-02-01");
    expect("  backfill\td1  2024-01-01 2024-02-01 again\n",
           "backfill|d1|2024-01-01|2024-02-01|again");
    expect("{\"op\":\"backfill\",\"dataset\":\"d1\",\"from\":\"2024-01-01\",\"to\":\"2024-02-"
           "01\"}",
           "backfill|d1|2024-01-01|2024-02-01");
    expect("{\"to\":\"b\",\"from\":\"a\",\"dataset\":\"d\",\"op\":\"backfill\",\"again\":"
           "\"again\"}",
           "backfill|d|a|b|again");
    expect("{\"op\":\"skip\",\"id\":\"b/d/1\",\"reason\":\"corrupt at source\"}",
           "skip|b/d/1|corrupt at source");
    expect("pause d1 1", "pause|d1|1");
    expect("pause d1", "pause|d1");
    expect("resume d1", "resume|d1");
    expect("{\"op\":\"priority\",\"id\":\"j/d/1-2\",\"lane\":\"live\"}",
           "priority|j/d/1-2|live");
    expect("set d1 max_f 16", "set|d1|max_f|16");
    expect("replay d1 01HX", "replay|d1|01HX");
    expect("replay d1 2024-01-01 2024-01-02", "replay|d1|2024-01-01|2024-01-02");
    expect("{\"op\":\"replay\",\"batch\":\"01HX\",\"dataset\":\"d1\"}", "replay|d1|01HX");
    expect("{\"op\":\"replay\",\"dataset\":\"d1\",\"to\":\"b\",\"from\":\"a\"}",
           "replay|d1|a|b");
}

static void test_refused(void **state)
{
    (void)state;
    refuse("", "1 to 4096");
    refuse("   ", "known: backfill");
    refuse("backfil d1 a b", "known: backfill");
    refuse("backfill d1", "3 to 4 arguments, got 1");
    refuse("backfill d1 a b c d", "got 5");
    refuse("backfill a b c d e f", "too many words");
    refuse("{\"op\":\"backfill\"", "not JSON");
    refuse("{\"op\":\"drop\"}", "\"op\" must be one of");
    refuse("{\"op\":7}", "\"op\" must be one of");
    refuse("{\"op\":\"backfill\",\"dataset\":\"d\",\"from\":\"a\"}", "\"to\" is missing");
    refuse("{\"op\":\"backfill\",\"dataset\":\"d\",\"from\":\"a\",\"to\":5}",
           "\"to\" is missing");
    refuse("{\"op\":\"retry\",\"id\":\"x\",\"force\":\"1\"}", "unknown member \"force\"");
    refuse("replay d1", "2 to 3 arguments, got 1");
    refuse("replay d1 a b c", "got 4");
    refuse("{\"op\":\"replay\",\"dataset\":\"d\",\"batch\":\"b\",\"to\":\"t\"}",
           "unknown member \"batch\"");
    refuse("{\"op\":\"replay\",\"dataset\":\"d\"}", "\"batch\" is missing");
    refuse("{\"op\":\"replay\",\"dataset\":\"d\",\"from\":\"a\"}", "\"to\" is missing");
    refuse("{\"op\":\"retry\",\"op\":\"skip\",\"id\":\"x\"}", "not JSON");
}

static void test_size_is_bounded(void **state)
{
    static char big[INBOX_MAX + 2];
    (void)state;
    memset(big, 'x', sizeof big - 1);
    refuse(big, "1 to 4096");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_size_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
