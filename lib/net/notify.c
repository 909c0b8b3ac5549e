/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sd_notify(3) without libsystemd: the protocol is one datagram and declared stable. The
 * environment is cleared, so that no child process believes it is meant for it.
 */
#include "lib/net/notify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/encode.h"

#define NOTIFY_TEXT_MAX 1024

static struct {
    struct sockaddr_un address;
    socklen_t len; /* 0 = nobody listens */
    int64_t watchdog_ms;
} notify;

/* "/path", or "@name" for the abstract namespace, where the first byte is 0. */
static void read_address(const char *path)
{
    size_t len = path ? strlen(path) : 0;
    if (len < 2 || len >= sizeof notify.address.sun_path || (*path != '/' && *path != '@'))
        return;
    notify.address.sun_family = AF_UNIX;
    memcpy(notify.address.sun_path, path, len);
    if (*path == '@')
        notify.address.sun_path[0] = 0;
    notify.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

static void read_watchdog(const char *usec, const char *pid)
{
    uint64_t us, id;
    if (!usec || parse_u64(usec, INT64_MAX, &us))
        return;
    if (pid && (parse_u64(pid, INT32_MAX, &id) || (pid_t)id != getpid()))
        return;
    notify.watchdog_ms = (int64_t)(us / 1000);
}

void notify_init(void)
{
    memset(&notify, 0, sizeof notify);
    read_address(getenv("NOTIFY_SOCKET"));
    read_watchdog(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"));
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

/* A manager that does not listen must not stop the work: failures are ignored. */
void notify_send(const char *format, ...)
{
    if (!notify.len)
        return;
    char text[NOTIFY_TEXT_MAX];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (len > 0)
        sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&notify.address,
               notify.len);
    close(fd);
}

int64_t notify_watchdog_ms(void)
{
    return notify.watchdog_ms;
}
