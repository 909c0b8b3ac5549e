/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics as Prometheus reads them: three lines each, legal and unique names, exact values. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/metrics.h"

#define OUT_MAX (1 << 20)

#define X(member, name, help) +1
enum { METRICS = 0 METRIC_LIST(X) };
#undef X

/* The value of the sample `name`, which must be there exactly once, at the start of a line. */
static const char *sample(const char *text, const char *name)
{
    const char *found = NULL;
    size_t len = strlen(name);
    for (const char *line = text; *line; line = strchr(line, '\n') + 1)
        if (strncmp(line, name, len) == 0 && line[len] == ' ') {
            assert_null(found);
            found = line + len + 1;
        }
    assert_non_null(found);
    return found;
}

static void each_counter_has_its_own_value(void **state)
{
    (void)state;
    AUTO_BUF out = BUF_INIT(OUT_MAX);
    struct metrics metrics = { 0 };
    int64_t next = 1000;
#define X(member, name, help) metrics.member = next++;
    METRIC_LIST(X)
#undef X
    metrics_print(&metrics, &out);
    next = 1000;
#define X(member, name, help)                                                                  \
    assert_int_equal(strtoll(sample(buf_text(&out), name), NULL, 10), next++);
    METRIC_LIST(X)
#undef X
}

static void values_are_exact_to_the_limit(void **state)
{
    (void)state;
    AUTO_BUF out = BUF_INIT(OUT_MAX);
    struct metrics metrics = { .bytes_stored = INT64_MAX };
    metrics_print(&metrics, &out);
    assert_non_null(
        strstr(buf_text(&out), "\nsluice_stored_bytes_total 9223372036854775807\n"));
    assert_non_null(strstr(buf_text(&out), "\nsluice_received_bytes_total 0\n"));
}

static bool name_legal(const char *name, size_t len)
{
    return len > 7 && strncmp(name, "sluice_", 7) == 0 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

/* "# HELP name text", "# TYPE name kind", "name value"; returns what follows. */
static const char *check_counter(const char *text)
{
    char name[100], help[200], type_name[100], type[20], value_name[100], value[40];
    int end = 0;
    assert_int_equal(sscanf(text, "# HELP %99s %199[^\n]\n# TYPE %99s %19s\n%99s %39s%n", name,
                            help, type_name, type, value_name, value, &end),
                     6);
    assert_true(name_legal(name, strlen(name)));
    assert_string_equal(type_name, name);
    assert_string_equal(value_name, name);
    assert_string_equal(type, "counter");
    assert_null(strchr(help, '\\')); /* would have to be escaped */
    assert_string_equal(name + strlen(name) - 6, "_total");
    assert_int_equal(text[end], '\n');
    return text + end + 1;
}

static void format_is_prometheus_text(void **state)
{
    (void)state;
    AUTO_BUF out = BUF_INIT(OUT_MAX);
    struct metrics metrics = { 0 };
    metrics_print(&metrics, &out);
    const char *text = buf_text(&out);
    for (int families = 0; families < METRICS; families++)
        text = check_counter(text);
    assert_int_equal(strncmp(text, "# HELP sluice_batch_delay_seconds ", 34), 0);
}

static void dead_letters_have_classes(void **state)
{
    (void)state;
    AUTO_BUF out = BUF_INIT(OUT_MAX);
    struct metrics metrics = { 0 };
    metrics_count_dead(&metrics, ERR_POISON);
    metrics_count_dead(&metrics, ERR_CORRUPT);
    metrics_count_dead(&metrics, ERR_POISON);
    metrics_print(&metrics, &out);
    const char *text = buf_text(&out), *family = "sluice_dead_letters_by_class_total";
    AUTO_TEXT char *type = mem_print("\n# TYPE %s counter\n", family);
    assert_int_equal(strtol(sample(text, "sluice_dead_letters_total"), NULL, 10), 3);
    assert_non_null(strstr(text, type));
    AUTO_TEXT char *poison = mem_print("%s{class=\"poison\"}", family);
    AUTO_TEXT char *corrupt = mem_print("%s{class=\"corrupt\"}", family);
    assert_int_equal(strtol(sample(text, poison), NULL, 10), 2);
    assert_int_equal(strtol(sample(text, corrupt), NULL, 10), 1);
    assert_null(strstr(text, "class=\"cut\""));
}

static void full_buffer_is_marked(void **state)
{
    (void)state;
    AUTO_BUF out = BUF_INIT(100);
    struct metrics metrics = { 0 };
    metrics_print(&metrics, &out);
    assert_true(out.overflow);
    assert_true(out.len <= 100);
}

static void exported_bytes_are_told_by_dataset(void **state)
{
    (void)state;
    AUTO_BUF none = BUF_INIT(OUT_MAX), out = BUF_INIT(OUT_MAX);
    struct metrics metrics = { 0 };
    metrics_print(&metrics, &none);
    assert_null(strstr(buf_text(&none), "sluice_exported_bytes_total"));
    int64_t *first = metrics_exported(&metrics, "5f1a");
    *first += 7;
    *metrics_exported(&metrics, "a\"b") += 999999999999999;
    assert_ptr_equal(metrics_exported(&metrics, "5f1a"),
                     first); /* others came, it did not move */
    *metrics_exported(&metrics, "5f1a") += 3;
    metrics_print(&metrics, &out);
    assert_non_null(strstr(buf_text(&out),
                           "\n# TYPE sluice_exported_bytes_total counter\n"
                           "sluice_exported_bytes_total{dataset=\"5f1a\"} 10\n"));
    assert_non_null(strstr(buf_text(&out), "\nsluice_exported_bytes_total{dataset=\"a\\\"b\"} "
                                           "999999999999999\n"));
    assert_int_equal(metrics_unsaved(&metrics, "5f1a"), 10);
    *first += 5; /* while the answer is awaited, which may be a fault */
    assert_int_equal(metrics_unsaved(&metrics, "5f1a"), 15);
    *first += 2;
    metrics_saved(&metrics);
    assert_int_equal(metrics_unsaved(&metrics, "5f1a"), 2);
    assert_int_equal(metrics_unsaved(&metrics, "new"), 0);
    metrics_release(&metrics);
    assert_null(metrics.exported);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_counter_has_its_own_value),
        cmocka_unit_test(values_are_exact_to_the_limit),
        cmocka_unit_test(format_is_prometheus_text),
        cmocka_unit_test(dead_letters_have_classes),
        cmocka_unit_test(full_buffer_is_marked),
        cmocka_unit_test(exported_bytes_are_told_by_dataset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
