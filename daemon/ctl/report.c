/* SPDX-License-Identifier: Apache-2.0 */
/* Problems and counts, as text or as JSON. */
#include "daemon/ctl/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "lib/base/json.h"

#define LINE_MAX_BYTES 16384
#define TEXT_MAX       1024

/* `wrong`: known to be so; the others only keep us from saying that all is right. */
static const struct {
    const char *name, *headline, *text;
    bool wrong;
} row[REPORT_KINDS] = {
    [REPORT_MISMATCH] = { "mismatch", "MISMATCH", "not as promised", true },
    [REPORT_MISSING] = { "missing", "MISSING", "should be there and are not", true },
    [REPORT_EXTRA] = { "extra", "EXTRA", "are there and belong to nothing", true },
    [REPORT_VIOLATION] = { "violation", "VIOLATION", "invariants violated", true },
    [REPORT_UNCHECKED] = { "unchecked", "UNCHECKED", "could not be checked", false },
};

static void put_json_text(const char *text)
{
    AUTO_BUF out = BUF_INIT(LINE_MAX_BYTES);
    json_write_text(&out, text, strlen(text));
    fputs(buf_text(&out), stdout);
}

void report_begin(struct report *report, const char *command, bool json, const char *subject)
{
    *report = (struct report){ .command = command, .json = json };
    if (!json)
        return;
    printf("{\"command\":\"%s\",\"subject\":", command);
    put_json_text(subject);
    fputs(",\"problems\":[", stdout);
}

static int64_t count_all(const struct report *report, bool wrong)
{
    int64_t sum = 0;
    for (size_t i = 0; i < REPORT_KINDS; i++)
        if (row[i].wrong == wrong)
            sum += report->problems[i];
    return sum;
}

static void put_problem(const struct report *report, enum report_kind kind, const char *subject,
                        const char *text)
{
    AUTO_TEXT char *plain = mem_copy_text(subject);
    if (report->json) {
        bool first = count_all(report, true) + count_all(report, false) == 1;
        printf("%s{\"kind\":\"%s\",\"subject\":", first ? "\n" : ",\n", row[kind].name);
        put_json_text(subject);
        fputs(",\"text\":", stdout);
        put_json_text(text);
        putchar('}');
        return;
    }
    text_sanitize(plain);
    printf("%-9s  %s: %s\n", row[kind].headline, plain, text);
}

void report_problem(struct report *report, enum report_kind kind, const char *subject,
                    const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    text_sanitize(text);
    report->problems[kind]++;
    if (report->progress)
        progress_end(report->progress);
    put_problem(report, kind, subject, text);
}

static int exit_status(const struct report *report)
{
    if (count_all(report, true) > 0)
        return 1;
    return count_all(report, false) > 0 ? EX_UNAVAILABLE : EX_OK;
}

static void put_json_counts(const struct report *report, const struct report_count *count,
                            size_t counts, int status)
{
    fputs("\n],\"counts\":{", stdout);
    for (size_t i = 0; i < counts; i++)
        printf("%s\"%s\":%" PRId64, i ? "," : "", count[i].name, count[i].value);
    for (size_t i = 0; i < REPORT_KINDS; i++)
        printf(",\"%s\":%" PRId64, row[i].name, report->problems[i]);
    printf("},\"exit\":%d}\n", status);
}

static void put_line(int64_t value, const char *name, const char *text)
{
    printf("%12" PRId64 "  %-11s  %s\n", value, name, text);
}

int report_end(struct report *report, const struct report_count *count, size_t counts)
{
    int status = exit_status(report);
    if (report->json) {
        put_json_counts(report, count, counts, status);
        return status;
    }
    for (size_t i = 0; i < counts; i++)
        put_line(count[i].value, count[i].name, count[i].text);
    for (size_t i = 0; i < REPORT_KINDS; i++)
        if (report->problems[i] > 0)
            put_line(report->problems[i], row[i].name, row[i].text);
    puts(status == EX_OK ? "all is right"
         : status == 1   ? "NOT RIGHT"
                         : "NOT PROVEN: something could not be checked");
    return status;
}
