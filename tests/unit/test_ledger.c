/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the ledger's records: back and forth, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/ledger.h"

static const struct {
    const char *id, *ordered, *done;
    int64_t generation, from, to;
    const char *batch;
    int64_t round;
} good[] = {
    { "j/5f1a/1706745600000-1706918400000", "1706745600000-1706918400000.json",
      "1706745600000-1706918400000.done.json", 1, 1706745600000, 1706918400000, NULL, 1 },
    { "j/5f1a/1706745600000-1706918400000/2", "1706745600000-1706918400000.2.json",
      "1706745600000-1706918400000.2.done.json", 1, 1706745600000, 1706918400000, NULL, 1 },
    { "j/5f1a/0-1", "0-1.json", "0-1.done.json", 1, 0, 1, NULL, 1 },
    { "j/5f1a/0-1", "0-1_2.json", "0-1_2.done.json", 1, 0, 1, NULL, 2 },
    { "j/5f1a/0-1/3", "0-1.3_12.json", "0-1.3_12.done.json", 1, 0, 1, NULL, 12 },
    { "j/5f1a/replay/1706745600000-1706918400000",
      "replay/1764534000000/1706745600000-1706918400000.json",
      "replay/1764534000000/1706745600000-1706918400000.done.json", 1764534000000,
      1706745600000, 1706918400000, NULL, 1 },
    { "j/5f1a/replay/5-6/2", "replay/7/5-6/2.json", "replay/7/5-6/2.done.json", 7, 5, 6, NULL,
      1 },
    { "j/5f1a/replay/01HNH00ABC", "replay/7/01HNH00ABC.json", "replay/7/01HNH00ABC.done.json",
      7, 0, 0, "01HNH00ABC", 1 },
    { "j/5f1a/replay/a.b@c:d-e/12", "replay/7/a.b@c:d-e/12.json",
      "replay/7/a.b@c:d-e/12.done.json", 7, 0, 0, "a.b@c:d-e", 1 },
    { "j/5f1a/replay/5-6_2", "replay/7/5-6_2.json", "replay/7/5-6_2.done.json", 7, 0, 0,
      "5-6_2", 1 },
};

static void check_name(size_t i, const char *name, enum ledger_mark mark)
{
    struct ledger_job job = { .id = (char *)(uintptr_t)good[i].id,
                              .generation = good[i].generation,
                              .round = good[i].round };
    enum ledger_mark got;
    AUTO_TEXT char *made = ledger_name(&job, mark);
    assert_string_equal(made, name);
    assert_true(ledger_parse_name("5f1a", name, &job, &got));
    assert_string_equal(job.id, good[i].id);
    assert_int_equal(job.generation, good[i].generation);
    assert_int_equal(job.round, good[i].round);
    assert_true(!job.batch == !good[i].batch);
    if (job.batch)
        assert_string_equal(job.batch, good[i].batch);
    assert_int_equal(job.from, good[i].from);
    assert_int_equal(job.to, good[i].to);
    assert_int_equal(got, mark);
    ledger_job_release(&job);
}

static void names_lead_back_to_jobs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        check_name(i, good[i].ordered, LEDGER_ORDERED);
        check_name(i, good[i].done, LEDGER_DONE);
    }
}

static void other_objects_are_no_jobs(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        ".json",
        "-.json",
        "1-2",
        "1-2.done",
        "1-2.txt",
        "1-.json",
        "-2.json",
        "2-1.json",
        "1-1.json",
        "1-2.x.json",
        "1-2..json",
        "1-2.-1.json",
        "1-2.99999999.json",
        "a-b.json",
        "1-99999999999999999999.json",
        "1-2/3.json",
        "1-2_.json",
        "1-2_1.json",
        "1-2_x.json",
        "1-2_2.3.json",
        "1-2_2_2.json",
        "x1-2.json",
        "1-2.json.json",
        "replay/.json",
        "replay/7.json",
        "replay/7/.json",
        "replay//a.json",
        "replay/1/a.json",
        "replay/x/a.json",
        "replay/7/a/b.json",
        "replay/7/a/.json",
        "replay/7/a/2/3.json",
    };
    struct ledger_job job;
    enum ledger_mark mark;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(ledger_parse_name("5f1a", bad[i], &job, &mark));
}

/* Names as they are listed, and the jobs that are left to do. */
static void only_open_jobs_are_kept(void **state)
{
    (void)state;
    static const char *const name[] = {
        "1-2.done.json",
        "1-2.json",
        "3-4.json",
        "1-2.2.json",
        "5-6.json",
        "5-6.done.json",
        "5-6_2.done.json",
        "5-6_3.json",
        "5-6_2.json",
        "7-8_2.done.json",
        "7-8.json",
        "replay/7/B.json",
        "replay/9/B.json",
        "replay/8/B.done.json",
        "replay/8/B.json",
        "replay/5/C.json",
        "replay/6/C.done.json",
        "replay/6/C.json",
        "replay/6/C/2.json",
        "replay/4/1-2.done.json",
        "replay/4/3-4.json",
    };
    static const struct {
        const char *id;
        int64_t generation;
    } open[] = {
        { "j/5f1a/1-2/2", 1 },      { "j/5f1a/3-4", 1 },      { "j/5f1a/5-6", 1 },
        { "j/5f1a/replay/3-4", 4 }, { "j/5f1a/replay/B", 9 }, { "j/5f1a/replay/C/2", 6 },
    };
    struct ledger_job job[sizeof name / sizeof *name];
    size_t jobs = 0;
    for (; jobs < sizeof name / sizeof *name; jobs++) {
        enum ledger_mark mark;
        assert_true(ledger_parse_name("5f1a", name[jobs], &job[jobs], &mark));
        job[jobs].done = mark == LEDGER_DONE;
    }
    jobs = ledger_keep_open(job, jobs);
    assert_int_equal(jobs, sizeof open / sizeof *open);
    for (size_t i = 0; i < jobs; i++) {
        assert_string_equal(job[i].id, open[i].id);
        assert_int_equal(job[i].generation, open[i].generation);
        ledger_job_release(&job[i]);
    }
    assert_int_equal(ledger_keep_open(NULL, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_lead_back_to_jobs),
        cmocka_unit_test(other_objects_are_no_jobs),
        cmocka_unit_test(only_open_jobs_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
