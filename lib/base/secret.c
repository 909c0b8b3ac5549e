/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets read from files that only we can have written and others cannot read. */
#include "lib/base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/mem.h"

#define REDACT_MIN 8

static enum err check_file(const char *path, const struct stat *st, struct fault *fault);
static enum err read_all(int fd, const char *path, struct secret *ret, struct fault *fault);

void secret_set(struct secret *secret, const char *text, size_t len)
{
    char *copy = mem_copy_bytes(text, len);
    secret_release(secret);
    secret->bytes = (struct secret_bytes *)copy;
    secret->len = len;
}

void secret_release(struct secret *secret)
{
    mem_wipe(secret->bytes, secret->len);
    mem_free(secret->bytes);
    *secret = (struct secret){ 0 };
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

size_t secret_lines(const struct secret *secret, struct secret *line, size_t max)
{
    size_t count = 0;
    for (const char *at = secret_reveal(secret); at && *at;) {
        size_t len = strcspn(at, "\n"), first = 0, last = len;
        while (first < last && is_blank(at[first]))
            first++;
        while (last > first && is_blank(at[last - 1]))
            last--;
        if (last > first && count < max)
            secret_set(&line[count], at + first, last - first);
        count += last > first;
        at += len + (at[len] != 0);
    }
    return count;
}

static size_t common_prefix(const char *a, const char *b)
{
    size_t len = 0;
    while (a[len] && a[len] == b[len])
        len++;
    return len;
}

void secret_redact(const struct secret *secret, char *text)
{
    size_t least = secret->len < REDACT_MIN ? secret->len : REDACT_MIN;
    if (least == 0)
        return;
    for (; *text; text++) {
        size_t len = common_prefix(text, secret_reveal(secret));
        if (len < least)
            continue;
        memset(text, '*', len);
        text += len - 1;
    }
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

enum err secret_read_file(const char *path, struct secret *ret, struct fault *fault)
{
    /* Non-blocking, so that a FIFO in its place is refused instead of waited for. */
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
    AUTO(close_fd) int fd = open(path, flags);
    if (fd < 0 && errno == ELOOP)
        return fault_set(fault, ERR_SECRET,
                         "secret file %s is a symbolic link: name the file itself", path);
    if (fd < 0)
        return fault_set(fault, ERR_SECRET, "secret file %s cannot be opened: %s", path,
                         strerrordesc_np(errno));
    struct stat st;
    if (fstat(fd, &st))
        return fault_set(fault, ERR_SECRET, "secret file %s: %s", path, strerrordesc_np(errno));
    enum err err = check_file(path, &st, fault);
    return err ? err : read_all(fd, path, ret, fault);
}

static enum err check_file(const char *path, const struct stat *st, struct fault *fault)
{
    if (!S_ISREG(st->st_mode))
        return fault_set(fault, ERR_SECRET, "secret file %s is not a regular file", path);
    if (st->st_uid != 0 && st->st_uid != geteuid())
        return fault_set(fault, ERR_SECRET,
                         "secret file %s belongs to user %u: chown it to the service's user",
                         path, st->st_uid);
    if (st->st_mode & (S_IWGRP | S_IWOTH | S_IROTH))
        return fault_set(fault, ERR_SECRET,
                         "secret file %s has mode %04o, open to others: chmod 0600 it", path,
                         st->st_mode & 07777);
    return OK;
}

static enum err check_content(const char *path, const char *bytes, size_t len,
                              struct fault *fault)
{
    if (len == 0)
        return fault_set(fault, ERR_SECRET, "secret file %s is empty: write the secret into it",
                         path);
    if (len > SECRET_FILE_MAX)
        return fault_set(fault, ERR_SECRET, "secret file %s is larger than 64 KiB", path);
    if (memchr(bytes, 0, len))
        return fault_set(fault, ERR_SECRET, "secret file %s contains a NUL byte", path);
    return OK;
}

static enum err read_all(int fd, const char *path, struct secret *ret, struct fault *fault)
{
    char bytes[SECRET_FILE_MAX + 2]; /* room for the newline and for one byte too many */
    size_t len = 0;
    ssize_t n = 0;
    while (len < sizeof bytes && (n = read(fd, bytes + len, sizeof bytes - len)) > 0)
        len += (size_t)n;
    if (n < 0)
        return fault_set(fault, ERR_SECRET, "secret file %s cannot be read: %s", path,
                         strerrordesc_np(errno));
    size_t used = len - (len && bytes[len - 1] == '\n');
    enum err err = check_content(path, bytes, used, fault);
    if (!err)
        secret_set(ret, bytes, used);
    mem_wipe(bytes, len);
    return err;
}
