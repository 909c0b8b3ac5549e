/* SPDX-License-Identifier: Apache-2.0 */
/* Families with labels and histograms, lines for CloudWatch, figures of the queue, calls by class. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/checks.h"
#include "daemon/emf.h"
#include "daemon/families.h"
#include "daemon/figures.h"
#include "lib/base/json.h"
#include "lib/net/traffic.h"

#define OUT_MAX (1 << 20)
#define HOUR    3600000LL

static void holds(const struct buf *out, const char *text)
{
    if (!strstr(buf_text(out), text))
        fail_msg("no \"%s\" in:\n%s", text, buf_text(out));
}

static void values_keep_their_digits(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } row[] = {
        { 0, "0" },       { 1, "1" },
        { 0.25, "0.25" }, { 1700000000.123, "1700000000.123" },
        { -1, "-1" },     { 999999999999999, "999999999999999" },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        AUTO_BUF out = BUF_INIT(OUT_MAX);
        AUTO_TEXT char *expected = mem_print("# HELP sluice_ready 1 if all checks pass\n"
                                             "# TYPE sluice_ready gauge\nsluice_ready %s\n",
                                             row[i].text);
        family_value(&out, FAMILY_READY, row[i].value);
        assert_string_equal(buf_text(&out), expected);
    }
}

static void labels_are_quoted(void **state)
{
    (void)state;
    AUTO_BUF out = BUF_INIT(OUT_MAX);
    struct label label[] = { { "api", "a\"b" }, { "code", "2xx" } };
    family_sample(&out, FAMILY_REQUESTS, label, 2, 7);
    assert_string_equal(buf_text(&out),
                        "sluice_api_requests_total{api=\"a\\\"b\",code=\"2xx\"} 7\n");
}

/* Buckets hold all that is shorter, too; a bound belongs to its bucket. */
static void histogram_counts_up(void **state)
{
    (void)state;
    AUTO_BUF out = BUF_INIT(OUT_MAX);
    struct histogram histogram = { 0 };
    static const double seconds[] = { -3, 0.01, 0.011, 60, 1e9 };
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++)
        histogram_add(&histogram, seconds[i]);
    family_histogram(&out, FAMILY_TASK_SECONDS, &(struct label){ "kind", "file" }, 1,
                     &histogram);
    holds(&out, "sluice_task_seconds_bucket{kind=\"file\",le=\"0.01\"} 2\n");
    holds(&out, "{kind=\"file\",le=\"0.05\"} 3\n");
    holds(&out, "{kind=\"file\",le=\"30\"} 3\n");
    holds(&out, "{kind=\"file\",le=\"60\"} 4\n");
    holds(&out, "{kind=\"file\",le=\"14400\"} 4\n");
    holds(&out, "{kind=\"file\",le=\"+Inf\"} 5\n");
    holds(&out, "sluice_task_seconds_count{kind=\"file\"} 5\n");
    holds(&out, "sluice_task_seconds_sum{kind=\"file\"} 1000000060.021\n");
    buf_clear(&out);
    family_histogram(&out, FAMILY_BATCH_DELAY, NULL, 0, &histogram);
    holds(&out, "sluice_batch_delay_seconds_bucket{le=\"0.01\"} 2\n");
    holds(&out, "sluice_batch_delay_seconds_count 5\n");
}

static void calls_have_classes(void **state)
{
    (void)state;
    static const struct {
        int status;
        enum traffic_class class;
    } row[] = {
        { 200, TRAFFIC_2XX }, { 206, TRAFFIC_2XX },  { 301, TRAFFIC_3XX },
        { 404, TRAFFIC_4XX }, { 429, TRAFFIC_429 },  { 500, TRAFFIC_5XX },
        { 599, TRAFFIC_5XX }, { 0, TRAFFIC_NONE },   { 100, TRAFFIC_NONE },
        { -1, TRAFFIC_NONE }, { 700, TRAFFIC_NONE },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct traffic traffic = { 0 };
        traffic_note(&traffic, row[i].status, 0.02);
        assert_int_equal(traffic.calls[row[i].class], 1);
        assert_int_equal(traffic.seconds.count, 1);
    }
    assert_string_equal(traffic_class_name(TRAFFIC_429), "429");
    assert_string_equal(traffic_class_name(TRAFFIC_NONE), "none");
}

/* ---- figures of the queue */

static void stat_is_read(void **state)
{
    (void)state;
    struct dataset_settings dataset[] = { { .id = "a1" }, { .id = "b2" } };
    struct settings settings = { .dataset = dataset, .datasets = 2 };
    struct dataset_figures kept[2] = { 0 };
    struct figures figures = { .dataset = kept };
    figures_read(&figures, &settings,
                 "a1 order=concurrent paused=1 tail=pending watermark=5 to_list=1 to_commit=2 "
                 "to_copy=3 running=4 copying=5 open_files=6 uncommitted=7 gated=8 unlisted=9 "
                 "seen_to=1764534000000 oldest_due=1764530000000 committed_at=11\n"
                 "a10 to_list=99\nb2\nnonsense\n= =\n"
                 "total delayed=1 dead=2 daemons=3 inbox=4 rejected=5 gc=6 seq=7\n");
    assert_int_equal(kept[0].paused, 1);
    assert_int_equal(kept[0].to_list, 1);
    assert_int_equal(kept[0].to_commit, 2);
    assert_int_equal(kept[0].to_copy, 3);
    assert_int_equal(kept[0].running, 4);
    assert_int_equal(kept[0].copying, 5);
    assert_int_equal(kept[0].open_files, 6);
    assert_int_equal(kept[0].uncommitted, 7);
    assert_int_equal(kept[0].seen_to, 1764534000000);
    assert_int_equal(kept[0].oldest_due, 1764530000000);
    assert_int_equal(kept[0].committed_at, 11);
    assert_int_equal(kept[1].to_list, 0);
    assert_int_equal(figures.queue.delayed, 1);
    assert_int_equal(figures.queue.dead, 2);
    assert_int_equal(figures.queue.daemons, 3);
    assert_int_equal(figures.queue.inbox, 4);
    assert_int_equal(figures.queue.rejected, 5);
}

static void lag_is_what_may_be_missing(void **state)
{
    (void)state;
    static const struct {
        int64_t seen_to, oldest_due, end_ms, lag_ms;
    } row[] = {
        { 0, 0, -1, -1 },                               /* never polled */
        { 90 * HOUR, 0, -1, 10 * HOUR },                /* since the last poll */
        { 90 * HOUR, 70 * HOUR, -1, 30 * HOUR },        /* since what is late */
        { 90 * HOUR, 95 * HOUR, -1, 10 * HOUR },        /* listed, but not all before it is */
        { 101 * HOUR, 0, -1, 0 },                       /* clocks differ */
        { 80 * HOUR, 0, 80 * HOUR, 0 },                 /* past its end: nothing more comes */
        { 80 * HOUR, 75 * HOUR, 80 * HOUR, 25 * HOUR }, /* … but this is still missing */
        { 70 * HOUR, 0, 80 * HOUR, 30 * HOUR },         /* the end is not reached */
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct dataset_settings settings = { .end_ms = row[i].end_ms };
        struct dataset_figures figures = { .seen_to = row[i].seen_to,
                                           .oldest_due = row[i].oldest_due };
        assert_int_equal(figures_lag_ms(&figures, &settings, (struct wall){ 100 * HOUR }),
                         row[i].lag_ms);
    }
}

/* ---- CloudWatch */

/* Each metric that is declared is there, as a number; nothing else is declared. */
static size_t check_line(const char *text, size_t len, struct json_t **ret)
{
    struct fault fault = { 0 };
    assert_int_equal(json_parse(text, len, len, ret, &fault), OK);
    const struct json_t *aws = json_member(*ret, "_aws");
    const struct json_t *directive = json_element(json_member(aws, "CloudWatchMetrics"), 0);
    const struct json_t *metrics = json_member(directive, "Metrics");
    assert_string_equal(json_member_text(directive, "Namespace"), "Sluice");
    for (size_t i = 0; i < json_count(metrics); i++) {
        const char *name = json_member_text(json_element(metrics, i), "Name");
        assert_non_null(json_member_text(json_element(metrics, i), "Unit"));
        assert_non_null(json_member(*ret, name));
        assert_null(json_text(json_member(*ret, name)));
    }
    assert_int_equal(json_count(*ret), json_count(metrics) + 3); /* _aws, Service, Host */
    return json_count(metrics);
}

static void emf_tells_of_the_time_between(void **state)
{
    (void)state;
    AUTO_BUF out = BUF_INIT(OUT_MAX);
    struct emf_sample before = { .at_ms = 60000, .batches = 5, .tasks = 2, .task_seconds = 1 };
    struct emf_sample now = { .at_ms = 120000,
                              .batches = 8,
                              .tasks = 6,
                              .task_seconds = 11,
                              .dead_letters = 1,
                              .delays = 2,
                              .delay_seconds = 90,
                              .cpu_seconds = 6,
                              .lag_seconds = 12.5,
                              .resident_bytes = 4096 };
    emf_line(&out, &before, &now, "a\"host");
    AUTO_JSON *line = NULL;
    assert_int_equal(check_line(out.data, out.len, &line), 17);
    holds(&out, "\"Timestamp\":120000,");
    holds(&out, "\"Host\":\"a\\\"host\"");
    holds(&out, ",\"BatchesCommitted\":3,");
    holds(&out, ",\"Failures\":1,");
    holds(&out, ",\"ExecutionTime\":2.5,");
    holds(&out, ",\"BatchDelay\":45,");
    holds(&out, ",\"CpuUtilization\":10,");
    holds(&out, ",\"Lag\":12.5,");
    assert_int_equal(strchr(buf_text(&out), '\n') - buf_text(&out), (long)out.len - 1);
}

static void emf_leaves_out_what_it_does_not_know(void **state)
{
    (void)state;
    AUTO_BUF out = BUF_INIT(OUT_MAX);
    struct emf_sample before = { .at_ms = 60000 };
    struct emf_sample now = { .at_ms = 60000, .lag_seconds = -1, .dead_tasks = -1 };
    emf_line(&out, &before, &now, "h");
    AUTO_JSON *line = NULL;
    /* no task ended, no batch arrived, no time went by; lag and dead letters are unknown */
    assert_int_equal(check_line(out.data, out.len, &line), 17 - 5);
    assert_null(strstr(buf_text(&out), "Lag"));
    assert_null(strstr(buf_text(&out), "ExecutionTime"));
}

/* ---- hints */

static void hints_fit_the_check(void **state)
{
    (void)state;
    assert_non_null(strstr(check_hint(CHECK_S3, ERR_DENIED), "IAM policy"));
    assert_non_null(strstr(check_hint(CHECK_CATALOG, ERR_DENIED), "role"));
    assert_non_null(strstr(check_hint(CHECK_ACCESS, ERR_RESOLVE), "DNS"));
    assert_null(check_hint(CHECK_CONFIG, ERR_BUG));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_keep_their_digits),
        cmocka_unit_test(labels_are_quoted),
        cmocka_unit_test(histogram_counts_up),
        cmocka_unit_test(calls_have_classes),
        cmocka_unit_test(stat_is_read),
        cmocka_unit_test(lag_is_what_may_be_missing),
        cmocka_unit_test(emf_tells_of_the_time_between),
        cmocka_unit_test(emf_leaves_out_what_it_does_not_know),
        cmocka_unit_test(hints_fit_the_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
