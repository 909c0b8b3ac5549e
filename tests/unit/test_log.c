/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: what they look like, and that a reader who is slow or gone costs nothing but them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/subject.h"
#include "lib/base/json.h"
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

static void repeat(enum log_level level, const char *object, int attempts)
{
    log_event(level, object, "put back error=%s attempts=%d", "timeout", attempts);
}

/* The first is written, the others are counted until they are asked for. */
static void repeats_are_folded(void **state)
{
    (void)state;
    log_flush(true);
    for (int i = 1; i <= 38; i++)
        repeat(LOG_WARN, i % 2 ? "f/d/b/1" : "f/d/b/2", i);
    assert_string_equal(written() + TIME_SIZE,
                        "warn  f/d/b/1 put back error=timeout attempts=1\n");
    log_flush(false); /* ten seconds are not over */
    assert_string_equal(written(), "");
    log_flush(true);
    assert_string_equal(written() + TIME_SIZE,
                        "warn  f/d/b/2 repeated 37 times, at last: put back error=timeout "
                        "attempts=38\n");
    log_flush(true);
    assert_string_equal(written(), "");
}

static size_t lines_written(void)
{
    size_t count = 0;
    for (const char *at = written(); (at = strchr(at, '\n')); at++)
        count++;
    return count;
}

static void what_differs_is_not_folded(void **state)
{
    (void)state;
    log_flush(true);
    repeat(LOG_WARN, "f/d/b/1", 1);
    repeat(LOG_WARN, "b/d/b", 1); /* another kind of object */
    log_event(LOG_WARN, "f/d/b/1", "lease lost");
    assert_int_equal(lines_written(), 3);
    repeat(LOG_ERROR, "f/d/b/1", 1);
    repeat(LOG_ERROR, "f/d/b/2", 1); /* each dead letter has its line */
    repeat(LOG_ERROR, "f/d/b/2", 1);
    assert_int_equal(lines_written(), 2);
    for (int i = 0; i < 5; i++)
        log_event(LOG_INFO, "b/d/b", "committed");
    assert_int_equal(lines_written(), 5);
    log_event(LOG_ERROR, "config", "%s", "one");
    log_event(LOG_ERROR, "config", "%s", "two");
    log_event(LOG_ERROR, "config", "%s", "two");
    assert_int_equal(lines_written(), 2);
    log_flush(true);
    assert_int_equal(lines_written(), 2);
    /* More kinds than are watched: none is lost. */
    char object[40][8];
    for (int i = 0; i < 40; i++) {
        snprintf(object[i], sizeof object[i], "o%d/x", i);
        repeat(LOG_WARN, object[i], 1);
        repeat(LOG_WARN, object[i], 2);
    }
    log_flush(true);
    assert_int_equal(lines_written(), 80);
}

static void json_lines_parse(void **state)
{
    (void)state;
    log_set_format(LOG_JSON);
    log_set_subject(subject_read);
    log_event(LOG_INFO, "b/ds/B1", "committed files=%d note=%s", 2, "a \"b\" \\ c\n");
    char longest[4000];
    memset(longest, '"', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    const char *text = written();
    AUTO_JSON *root = NULL;
    struct fault fault = { 0 };
    assert_int_equal(json_parse(text, strlen(text), 4096, &root, &fault), OK);
    assert_string_equal(json_member_text(root, "level"), "info");
    assert_string_equal(json_member_text(root, "object"), "b/ds/B1");
    assert_string_equal(json_member_text(root, "event"), "committed");
    assert_string_equal(json_member_text(root, "dataset"), "ds");
    assert_string_equal(json_member_text(root, "batch"), "B1");
    assert_int_equal(strlen(json_member_text(root, "trace")), 16);
    assert_string_equal(json_member_text(root, "message"),
                        "committed files=2 note=a \"b\" \\ c?");
    log_event(LOG_INFO, longest, "%s", longest);
    text = written();
    AUTO_JSON *cut = NULL;
    assert_in_range(strlen(text), 4000, 4096);
    assert_int_equal(json_parse(text, strlen(text), 4096, &cut, &fault), OK);
    log_set_format(LOG_TEXT);
    log_event(LOG_INFO, "b/ds/B1", "%s", longest);
    text = written();
    assert_in_range(strlen(text), 2000, 2048);
    AUTO_TEXT char *end =
        mem_print("\" trace=%s\n", json_member_text(root, "trace")); /* never cut off */
    assert_string_equal(text + strlen(text) - strlen(end), end);
    log_set_subject(NULL);
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static const char *received(int fd)
{
    static char bytes[8192];
    ssize_t len = recv(fd, bytes, sizeof bytes - 1, 0);
    bytes[len > 0 ? len : 0] = 0;
    return bytes;
}

static void the_journal_gets_fields(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_log.XXXXXX";
    assert_non_null(mkdtemp(folder));
    AUTO_TEXT char *path = mem_print("%s/socket", folder);
    int fd = listen_at(path);
    log_set_journal(path);
    log_set_subject(subject_read);
    log_event(LOG_ERROR, "f/ds/7/B1/x", "given up error=%s", "gone\nPRIORITY=0");
    char trace[17];
    subject_trace("ds", "B1", 7, trace);
    AUTO_TEXT char *expected =
        mem_print("PRIORITY=3\nSYSLOG_IDENTIFIER=sluiced\nSLUICE_OBJECT=f/ds/7/B1/x\n"
                  "SLUICE_EVENT=given up\nSLUICE_DATASET=ds\nSLUICE_BATCH=B1\nSLUICE_TRACE=%s\n"
                  "MESSAGE=f/ds/7/B1/x given up error=gone?PRIORITY=0\n",
                  trace);
    assert_string_equal(received(fd), expected);
    log_event(LOG_INFO, NULL, "started");
    assert_string_equal(received(fd), "PRIORITY=6\nSYSLOG_IDENTIFIER=sluiced\n"
                                      "SLUICE_OBJECT=sluiced\nSLUICE_EVENT=started\n"
                                      "MESSAGE=sluiced started\n");
    assert_string_equal(written(), "");
    /* Restarted, it listens again; in between, standard error has the lines. */
    close(fd);
    unlink(path);
    log_event(LOG_INFO, NULL, "in between");
    assert_string_equal(written() + TIME_SIZE, "info  sluiced in between\n");
    fd = listen_at(path);
    log_event(LOG_INFO, NULL, "again");
    assert_non_null(strstr(received(fd), "MESSAGE=sluiced again\n"));
    /* A journal that does not read is not waited for. */
    uint64_t before = log_lost();
    for (int i = 0; i < 5000; i++)
        log_event(LOG_INFO, NULL, "line %d", i);
    assert_true(log_lost() > before);
    log_set_journal(NULL);
    log_set_subject(NULL);
    close(fd);
    unlink(path);
    rmdir(folder);
}

static void the_journal_is_recognised(void **state)
{
    (void)state;
    struct stat st;
    char stream[64];
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    assert_true(log_is_journal(stream));
    assert_false(log_is_journal(NULL));
    assert_false(log_is_journal(""));
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino + 1);
    assert_false(log_is_journal(stream));
}

static void subjects_are_read_from_ids(void **state)
{
    (void)state;
    static const struct {
        const char *object, *dataset, *batch;
        int64_t generation;
    } row[] = {
        { "tail/ds", "ds", "", 0 },
        { "j/ds/1-2", "ds", "", 0 },
        { "w/ds/5/1-2", "ds", "", 0 },
        { "b/ds/B", "ds", "B", 1 },
        { "b/ds/17/B", "ds", "B", 17 },
        { "f/ds/B/abc", "ds", "B", 1 },
        { "f/ds/9/B/abc", "ds", "B", 9 },
        { "b/ds", "ds", "", 0 },
        { "redis", "", "", 0 },
        { "5f1a2b/x", "", "", 0 },
        { "", "", "", 0 },
        { "b/ds/1/2/3/4/5/6", "ds", "", 0 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct log_subject subject = { 0 };
        char trace[17] = "";
        subject_read(row[i].object, &subject);
        if (row[i].generation)
            subject_trace(row[i].dataset, row[i].batch, row[i].generation, trace);
        assert_string_equal(subject.dataset, row[i].dataset);
        assert_string_equal(subject.batch, row[i].batch);
        assert_string_equal(subject.trace, trace);
    }
    char one[17], other[17];
    subject_trace("a", "bc", 1, one);
    assert_string_equal(one,
                        "1304f53d0bf93d88"); /* operators may keep it: it must not change */
    subject_trace("ab", "c", 1, other);
    assert_string_not_equal(one, other);
    subject_trace("a", "bc", 2, other);
    assert_string_not_equal(one, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_has_its_form, redirect, restore),
        cmocka_unit_test_setup_teardown(a_line_stays_one, redirect, restore),
        cmocka_unit_test_setup_teardown(repeats_are_folded, redirect, restore),
        cmocka_unit_test_setup_teardown(what_differs_is_not_folded, redirect, restore),
        cmocka_unit_test_setup_teardown(json_lines_parse, redirect, restore),
        cmocka_unit_test_setup_teardown(the_journal_gets_fields, redirect, restore),
        cmocka_unit_test_setup_teardown(the_journal_is_recognised, redirect, restore),
        cmocka_unit_test(subjects_are_read_from_ids),
        cmocka_unit_test_setup_teardown(a_full_pipe_loses_lines, redirect, restore),
        cmocka_unit_test_setup_teardown(nobody_there_loses_lines, redirect, restore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
