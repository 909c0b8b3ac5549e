/* SPDX-License-Identifier: Apache-2.0 */
/* Two children and their directory. */
#include "daemon/ctl/servers.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STOP_MS  30000
#define PAUSE_MS 50
#define LOG_TAIL 300
#define FILES    16

enum err servers_init(struct servers *servers, struct fault *fault)
{
    const char *base = getenv("TMPDIR");
    char *path = mem_print("%s/sluice-XXXXXX", base && *base ? base : "/tmp");
    *servers = (struct servers){ 0 };
    if (!mkdtemp(path)) {
        enum err err = fault_set(fault, ERR_IO, "%s: %s", path, strerror(errno));
        mem_free(path);
        return err;
    }
    servers->directory = path;
    return OK;
}

char *servers_path(const struct servers *servers, const char *name)
{
    return mem_print("%s/%s", servers->directory, name);
}

enum err servers_write(const struct servers *servers, const char *name, const struct buf *text,
                       struct fault *fault)
{
    AUTO_TEXT char *path = servers_path(servers, name);
    FILE *file = fopen(path, "wx");
    bool bad = !file || fwrite(text->data, 1, text->len, file) != text->len;
    bad = (file && fclose(file)) || bad;
    return bad ? fault_set(fault, ERR_IO, "%s: %s", path, strerror(errno)) : OK;
}

/* ---- start */

/* In the child: a session of its own, so that what is typed at our terminal does not reach it. */
static _Noreturn void become(char *const *word, const char *log)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    if (fd >= 0) {
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
    }
    execvp(word[0], word);
    fprintf(stderr, "%s: %s\n", word[0], strerror(errno));
    _exit(127);
}

static enum err start(char *const *word, const char *log, pid_t *ret, struct fault *fault)
{
    pid_t child = fork();
    if (child == 0)
        become(word, log);
    if (child < 0)
        return fault_set(fault, ERR_IO, "%s could not be started: %s", word[0],
                         strerror(errno));
    *ret = child;
    return OK;
}

/* The daemon that was built or installed with us, else the one on PATH. */
static char *daemon_path(void)
{
    char self[PATH_MAX + 1] = { 0 };
    if (readlink("/proc/self/exe", self, PATH_MAX) > 0 && strrchr(self, '/')) {
        *strrchr(self, '/') = 0;
        AUTO_TEXT char *beside = mem_print("%s/sluiced", self);
        if (access(beside, X_OK) == 0)
            return mem_copy_text(beside);
    }
    return mem_copy_text("sluiced");
}

enum err servers_start(struct servers *servers, struct fault *fault)
{
    AUTO_TEXT char *socket = servers_path(servers, "redis.sock");
    AUTO_TEXT char *log = servers_path(servers, "redis.log");
    AUTO_TEXT char *config = servers_path(servers, "config.yaml");
    AUTO_TEXT char *daemon_log = servers_path(servers, "sluiced.log");
    AUTO_TEXT char *daemon = daemon_path();
    AUTO_TEXT char *redis_word = mem_copy_text("redis-server");
    char *redis[] = { redis_word,
                      (char[]){ "--port" },
                      (char[]){ "0" },
                      (char[]){ "--unixsocket" },
                      socket,
                      (char[]){ "--unixsocketperm" },
                      (char[]){ "700" },
                      (char[]){ "--dir" },
                      servers->directory,
                      (char[]){ "--appendonly" },
                      (char[]){ "yes" },
                      (char[]){ "--save" },
                      (char[]){ "" },
                      (char[]){ "--maxmemory-policy" },
                      (char[]){ "noeviction" },
                      NULL };
    char *sluiced[] = { daemon, (char[]){ "--config" }, config, NULL };
    enum err err = start(redis, log, &servers->redis, fault);
    return err ? err : start(sluiced, daemon_log, &servers->daemon, fault);
}

/* ---- life and end */

static char *last_line(const struct servers *servers)
{
    char text[LOG_TAIL + 1] = { 0 };
    AUTO_TEXT char *path = servers_path(servers, "sluiced.log");
    FILE *file = fopen(path, "r");
    if (!file)
        return mem_copy_text("");
    if (fseek(file, -LOG_TAIL, SEEK_END))
        rewind(file);
    size_t len = fread(text, 1, LOG_TAIL, file);
    fclose(file);
    while (len > 0 && text[len - 1] == '\n')
        text[--len] = 0;
    const char *line = strrchr(text, '\n');
    return mem_copy_text(line ? line + 1 : text);
}

enum err servers_check(struct servers *servers, struct fault *fault)
{
    int status;
    if (servers->redis > 0 && waitpid(servers->redis, &status, WNOHANG) == servers->redis) {
        servers->redis = 0;
        return fault_set(fault, ERR_IO, "redis-server has ended: is it installed?");
    }
    if (servers->daemon > 0 && waitpid(servers->daemon, &status, WNOHANG) == servers->daemon) {
        AUTO_TEXT char *line = last_line(servers);
        bool config = WIFEXITED(status) && WEXITSTATUS(status) == 78;
        servers->daemon = 0;
        return fault_set(fault, config ? ERR_CONFIG : ERR_IO, "sluiced has ended: %s", line);
    }
    return OK;
}

static void end(pid_t child)
{
    const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
    if (child <= 0)
        return;
    kill(child, SIGTERM);
    for (int waited = 0; waited < STOP_MS; waited += PAUSE_MS) {
        if (waitpid(child, NULL, WNOHANG) == child)
            return;
        nanosleep(&pause, NULL);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static int on_file(const char *path, const struct stat *about, int type, struct FTW *at)
{
    (void)about, (void)type, (void)at;
    return remove(path);
}

void servers_release(struct servers *servers)
{
    end(servers->daemon);
    end(servers->redis);
    if (servers->directory)
        (void)nftw(servers->directory, on_file, FILES, FTW_DEPTH | FTW_PHYS);
    mem_free(servers->directory);
    *servers = (struct servers){ 0 };
}
