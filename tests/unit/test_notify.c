/* SPDX-License-Identifier: Apache-2.0 */
/* Notification of the service manager: what arrives at the test's socket, and what must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/net/notify.h"

/* Binds a datagram socket; "@…" is abstract. */
static int manager_listen(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t len = strlen(path);
    memcpy(address.sun_path, path, len);
    if (*path == '@')
        address.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
                     0);
    setenv("NOTIFY_SOCKET", path, 1);
    return fd;
}

static void expect_text(int fd, const char *text)
{
    char got[4096];
    ssize_t len = recv(fd, got, sizeof got - 1, 0);
    assert_true(len >= 0);
    got[len] = 0;
    assert_string_equal(got, text);
}

static void expect_nothing(int fd)
{
    char got[16];
    assert_int_equal(recv(fd, got, sizeof got, 0), -1);
}

static void without_manager_nothing_happens(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    notify_init();
    notify_send("READY=1");
    assert_int_equal(notify_watchdog_ms(), 0);
}

static void abstract_socket(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof path, "@sluice-test-%d", getpid());
    int fd = manager_listen(path);
    notify_init();
    assert_null(getenv("NOTIFY_SOCKET"));
    notify_send("READY=1\nSTATUS=%d of %s", 3, "many");
    expect_text(fd, "READY=1\nSTATUS=3 of many");
    notify_send("STOPPING=1");
    expect_text(fd, "STOPPING=1");
    notify_send("%s", "");
    expect_nothing(fd);
    close(fd);
    notify_send("STOPPING=1"); /* nobody there any more */
}

static void path_socket_and_full_queue(void **state)
{
    (void)state;
    char dir[] = "/tmp/sluice-notify-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    int fd = manager_listen(path);
    notify_init();
    for (int i = 0; i < 2000; i++)
        notify_send("STATUS=%d", i); /* must not block */
    expect_text(fd, "STATUS=0");
    close(fd);
    unlink(path);
    rmdir(dir);
}

static void long_text_is_cut(void **state)
{
    (void)state;
    char path[64], text[3000] = "";
    memset(text, 'a', sizeof text - 1);
    snprintf(path, sizeof path, "@sluice-long-%d", getpid());
    int fd = manager_listen(path);
    notify_init();
    notify_send("%s", text);
    text[1023] = 0;
    expect_text(fd, text);
    close(fd);
}

static void unusable_addresses_are_ignored(void **state)
{
    (void)state;
    char longest[200] = "";
    memset(longest, '/', sizeof longest - 1);
    const char *const bad[] = { "", "/", "@", "relative", "vsock:2:1", longest };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("NOTIFY_SOCKET", bad[i], 1);
        notify_init();
        notify_send("READY=1");
    }
}

static void init_forgets_the_manager_before(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof path, "@sluice-before-%d", getpid());
    int fd = manager_listen(path);
    setenv("WATCHDOG_USEC", "2000000", 1);
    notify_init();
    notify_init(); /* the environment is empty now */
    notify_send("READY=1");
    expect_nothing(fd);
    assert_int_equal(notify_watchdog_ms(), 0);
    close(fd);
}

static void watchdog_of_this_process_only(void **state)
{
    (void)state;
    char own[16], other[16];
    snprintf(own, sizeof own, "%d", getpid());
    snprintf(other, sizeof other, "%d", getppid());
    const struct {
        const char *usec, *pid;
        int64_t ms;
    } row[] = {
        { "30000000", own, 30000 },
        { "30000000", NULL, 30000 },
        { "30000000", other, 0 },
        { "30000000", "", 0 },
        { "999", own, 0 },
        { "1000", own, 1 },
        { "-1", own, 0 },
        { "1e6", own, 0 },
        { "", own, 0 },
        { NULL, own, 0 },
        { "99999999999999999999", own, 0 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        if (row[i].usec)
            setenv("WATCHDOG_USEC", row[i].usec, 1);
        if (row[i].pid)
            setenv("WATCHDOG_PID", row[i].pid, 1);
        notify_init();
        assert_int_equal(notify_watchdog_ms(), row[i].ms);
        assert_null(getenv("WATCHDOG_USEC"));
        assert_null(getenv("WATCHDOG_PID"));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_manager_nothing_happens),
        cmocka_unit_test(abstract_socket),
        cmocka_unit_test(path_socket_and_full_queue),
        cmocka_unit_test(long_text_is_cut),
        cmocka_unit_test(unusable_addresses_are_ignored),
        cmocka_unit_test(init_forgets_the_manager_before),
        cmocka_unit_test(watchdog_of_this_process_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
