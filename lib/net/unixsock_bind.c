/* SPDX-License-Identifier: Apache-2.0 */
/* Where the health socket listens: a file with its rights, or a port that only this machine sees. */
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/net/unixsock_request.h"

static enum err io_fault(struct fault *fault, const char *path, const char *what)
{
    return fault_set(fault, ERR_IO, "%s: %s: %s", path, what, strerror(errno));
}

/* Somebody listens, unless the kernel itself refuses; a full backlog is somebody, too. */
static bool is_stale(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    bool refused = connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 &&
                   errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int bind_with_mode(int fd, const struct sockaddr_un *address, unsigned mode)
{
    mode_t before = umask(0777 & ~(mode_t)mode);
    int status = bind(fd, (const struct sockaddr *)address, sizeof *address);
    int error = errno;
    umask(before);
    errno = error;
    return status;
}

static enum err bind_path(int fd, const char *path, unsigned mode, struct fault *fault)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    memcpy(address.sun_path, path, strlen(path));
    if (bind_with_mode(fd, &address, mode) == 0)
        return OK;
    if (errno != EADDRINUSE)
        return io_fault(fault, path, "cannot bind the socket");
    struct stat status;
    if (lstat(path, &status) == 0 && !S_ISSOCK(status.st_mode))
        return fault_set(fault, ERR_IO, "%s: exists and is no socket; remove it", path);
    if (!is_stale(&address))
        return fault_set(fault, ERR_IO, "%s: another process answers there", path);
    if (unlink(path) < 0 && errno != ENOENT)
        return io_fault(fault, path, "cannot remove the stale socket");
    if (bind_with_mode(fd, &address, mode) < 0)
        return io_fault(fault, path, "cannot bind the socket");
    return OK;
}

/*
 * Nothing to do if it has the group already: a service that may not change owners starts with it.
 * The path is ours alone between bind and listen, so nobody has connected by the wrong group.
 */
static enum err give_to_group(const struct unixsock_file *file, struct fault *fault)
{
    struct stat status;
    if (!file->group)
        return OK;
    const struct group *group = getgrnam(file->group);
    if (!group)
        return fault_set(fault, ERR_CONFIG, "%s: there is no group %s on this machine",
                         file->path, file->group);
    if (lstat(file->path, &status) == 0 && status.st_gid == group->gr_gid)
        return OK;
    if (lchown(file->path, (uid_t)-1, group->gr_gid) == 0)
        return OK;
    return fault_set(fault, ERR_IO,
                     "%s: cannot be given to group %s: %s; run the daemon with that group "
                     "(Group= in its unit), or add its user to it",
                     file->path, file->group, strerror(errno));
}

/* Own bind: libuv's cuts long paths silently and reports a missing directory as EACCES. */
enum err unixsock_open_file(const struct unixsock_file *file, int *ret_fd, struct fault *fault)
{
    const char *path = file->path;
    size_t max = sizeof((struct sockaddr_un *)NULL)->sun_path - 1;
    if (!*path || strlen(path) > max)
        return fault_set(fault, ERR_IO, "%s: a socket path has 1 to %zu bytes", path, max);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return io_fault(fault, path, "cannot make a socket");
    enum err err = bind_path(fd, path, file->mode, fault);
    if (!err)
        err = give_to_group(file, fault);
    if (err)
        close(fd);
    else
        *ret_fd = fd;
    return err;
}

/* ---- ports ---- */

static bool parse_v4(const char *host, uint16_t port, struct sockaddr_storage *ret)
{
    struct sockaddr_in *address = (void *)ret;
    address->sin_family = AF_INET;
    address->sin_port = htons(port);
    return inet_pton(AF_INET, host, &address->sin_addr) == 1 &&
           ntohl(address->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static bool parse_v6(const char *host, uint16_t port, struct sockaddr_storage *ret)
{
    struct sockaddr_in6 *address = (void *)ret;
    address->sin6_family = AF_INET6;
    address->sin6_port = htons(port);
    return strcmp(host, "[::1]") == 0 && inet_pton(AF_INET6, "::1", &address->sin6_addr) == 1;
}

static enum err parse_port(const char *text, struct sockaddr_storage *ret, struct fault *fault)
{
    AUTO_TEXT char *host = mem_copy_text(text);
    char *colon = strrchr(host, ':'), *end = NULL;
    const char *digits = colon ? colon + 1 : "";
    long port = digits[strspn(digits, "0123456789")] ? 0 : strtol(digits, &end, 10);
    memset(ret, 0, sizeof *ret);
    if (colon)
        *colon = 0;
    if (port < 1 || port > 65535 ||
        (!parse_v4(host, (uint16_t)port, ret) && !parse_v6(host, (uint16_t)port, ret)))
        return fault_set(fault, ERR_CONFIG,
                         "%s: want a loopback address and a port, 127.0.0.1:9464 or "
                         "[::1]:9464; to other machines it is not shown, as it asks nobody "
                         "who he is",
                         text);
    return OK;
}

enum err unixsock_check_port(const char *address, struct fault *fault)
{
    struct sockaddr_storage parsed;
    return parse_port(address, &parsed, fault);
}

enum err unixsock_open_port(const char *address, int *ret_fd, struct fault *fault)
{
    struct sockaddr_storage parsed;
    int on = 1;
    enum err err = parse_port(address, &parsed, fault);
    if (err)
        return err;
    int fd = socket(parsed.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return io_fault(fault, address, "cannot make a socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    socklen_t len =
        parsed.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if (bind(fd, (struct sockaddr *)&parsed, len) < 0) {
        io_fault(fault, address, "cannot bind the port");
        close(fd);
        return fault->code;
    }
    *ret_fd = fd;
    return OK;
}
