/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: what they look like, and that a reader who is slow or gone costs nothing but them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/log.h"

#define TIME_SIZE 25 /* "2026-01-01T00:00:00.000Z " */

static int real_error = -1, pipe_end[2];

/* Standard error becomes a pipe that the test reads. */
static int redirect(void **state)
{
    (void)state;
    if (pipe(pipe_end) || fcntl(pipe_end[0], F_SETFL, O_NONBLOCK))
        return -1;
    real_error = dup(STDERR_FILENO);
    return dup2(pipe_end[1], STDERR_FILENO) < 0 ? -1 : close(pipe_end[1]);
}

static int restore(void **state)
{
    (void)state;
    dup2(real_error, STDERR_FILENO);
    close(real_error);
    return close(pipe_end[0]);
}

static const char *written(void)
{
    static char text[128 * 1024];
    ssize_t len = read(pipe_end[0], text, sizeof text - 1);
    text[len > 0 ? len : 0] = 0;
    return text;
}

static void a_line_has_its_form(void **state)
{
    (void)state;
    log_event(LOG_WARN, "b/1", "said=%d", 7);
    assert_string_equal(written() + TIME_SIZE, "warn  b/1 said=7\n");
    log_event(LOG_INFO, NULL, "about itself");
    assert_string_equal(written() + TIME_SIZE, "info  sluiced about itself\n");
    log_event(LOG_DEBUG, NULL, "below the level");
    assert_string_equal(written(), "");
}

static void a_line_stays_one(void **state)
{
    (void)state;
    log_event(LOG_INFO, "x\ny", "a\r\nb\x1b[31m\x7f\xc3\xa9");
    assert_string_equal(written() + TIME_SIZE, "info  x?y a??b?[31m???\n");
    char longer[4000];
    memset(longer, 'l', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    log_event(LOG_INFO, NULL, "%s", longer);
    const char *text = written();
    assert_in_range(strlen(text), 2000, 2048);
    assert_int_equal(text[strlen(text) - 1], '\n');
    log_event(LOG_INFO, longer, "after it");
    text = written();
    assert_in_range(strlen(text), 300, 360);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

/* Would hang if it waited for a reader. */
static void a_full_pipe_loses_lines(void **state)
{
    (void)state;
    uint64_t before = log_lost();
    for (int i = 0; i < 10000; i++)
        log_event(LOG_INFO, NULL, "line %d", i);
    uint64_t lost = log_lost() - before;
    assert_in_range(lost, 1, 9999);
    char told[64];
    snprintf(told, sizeof told, "warn  sluiced log_lines_lost=%llu\n",
             (unsigned long long)lost);
    while (*written()) {
    }
    log_event(LOG_INFO, NULL, "room again");
    const char *text = written();
    assert_memory_equal(text + TIME_SIZE, told, strlen(told));
    assert_non_null(strstr(text, "info  sluiced room again\n"));
    log_event(LOG_INFO, NULL, "told once");
    assert_null(strstr(written(), "log_lines_lost"));
}

static void nobody_there_loses_lines(void **state)
{
    (void)state;
    uint64_t before = log_lost();
    signal(SIGPIPE, SIG_IGN);
    close(pipe_end[0]);
    log_event(LOG_INFO, NULL, "into the void");
    close(STDERR_FILENO);
    log_event(LOG_INFO, NULL, "not even that");
    pipe_end[0] = open("/dev/null", O_RDONLY);
    assert_int_equal(log_lost() - before, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_has_its_form, redirect, restore),
        cmocka_unit_test_setup_teardown(a_line_stays_one, redirect, restore),
        cmocka_unit_test_setup_teardown(a_full_pipe_loses_lines, redirect, restore),
        cmocka_unit_test_setup_teardown(nobody_there_loses_lines, redirect, restore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
