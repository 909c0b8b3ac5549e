/* SPDX-License-Identifier: Apache-2.0 */
/* Textfile and EMF lines. Both are small and go to this machine: written in the loop's thread. */
#include "daemon/exporter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/emf.h"
#include "daemon/health.h"
#include "daemon/process.h"
#include "daemon/uploader.h"
#include "lib/base/log.h"

#define TEXTFILE_MS 15000
#define EMF_MS      60000
#define TEXT_MAX    (4 << 20)
#define SOCKET_MARK "unix:"

/* One place that is written to; says once that it cannot be. */
struct outlet {
    const char *path;
    struct timer timer;
    int failed; /* errno; 0 = it went well */
};

struct exporter {
    struct health *health;
    struct core *core;
    char *temporary; /* beside the textfile */
    struct outlet textfile, emf;
    struct emf_sample before;
    char host[65];
};

static void on_textfile(struct timer *timer);
static void on_emf(struct timer *timer);
static void look(struct exporter *exporter, struct emf_sample *ret);

struct exporter *exporter_new(struct health *health, struct core *core)
{
    struct exporter *exporter = mem_alloc(sizeof *exporter);
    const struct settings *settings = core->settings;
    exporter->health = health;
    exporter->core = core;
    exporter->textfile =
        (struct outlet){ settings->health.textfile, { .fire = on_textfile }, 0 };
    exporter->emf = (struct outlet){ settings->metrics.emf, { .fire = on_emf }, 0 };
    exporter->before = (struct emf_sample){ .at_ms = loop_wall(core->loop).ms };
    gethostname(exporter->host, sizeof exporter->host - 1);
    if (exporter->textfile.path) {
        exporter->temporary = mem_print("%s.new", exporter->textfile.path);
        timer_set_in(core->loop, &exporter->textfile.timer, 1);
    }
    if (exporter->emf.path)
        timer_set_in(core->loop, &exporter->emf.timer, EMF_MS);
    return exporter;
}

void exporter_free(struct exporter *exporter)
{
    if (!exporter)
        return;
    if (exporter->emf.path)
        on_emf(&exporter->emf.timer);
    if (exporter->textfile.path)
        unlink(exporter->textfile.path);
    timer_clear(exporter->core->loop, &exporter->textfile.timer);
    timer_clear(exporter->core->loop, &exporter->emf.timer);
    mem_free(exporter->temporary);
    mem_free(exporter);
}

static void report(struct outlet *outlet, int error)
{
    if (error && error != outlet->failed)
        log_event(LOG_WARN, "metrics", "cannot write %s: %s; tried again", outlet->path,
                  strerror(error));
    else if (!error && outlet->failed)
        log_event(LOG_INFO, "metrics", "%s is written again", outlet->path);
    outlet->failed = error;
}

/* 0 or errno. A short write is a full disk. */
static int write_file(const char *path, int flags, mode_t mode, const struct buf *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags, mode);
    if (fd < 0)
        return errno;
    ssize_t count = write(fd, buf_text(text), text->len);
    int error = count < 0 ? errno : (size_t)count < text->len ? ENOSPC : 0;
    return close(fd) < 0 && !error ? errno : error;
}

/* ---- node_exporter */

/* A reader sees the old file or the new one, whole. */
static void on_textfile(struct timer *timer)
{
    struct exporter *exporter = container_of(timer, struct exporter, textfile.timer);
    struct health_view view;
    AUTO_BUF text = BUF_INIT(TEXT_MAX);
    timer_set_in(exporter->core->loop, timer, TEXTFILE_MS);
    health_look(exporter->health, &view);
    health_print_metrics(&view, &text);
    int error = write_file(exporter->temporary, O_TRUNC, 0644, &text);
    if (!error && rename(exporter->temporary, exporter->textfile.path) < 0)
        error = errno;
    report(&exporter->textfile, error);
}

/* ---- CloudWatch */

static int send_to(const char *path, const struct buf *text)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof address.sun_path)
        return ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno;
    ssize_t count = sendto(fd, buf_text(text), text->len, MSG_NOSIGNAL,
                           (const struct sockaddr *)&address, sizeof address);
    int error = count < 0 ? errno : 0;
    close(fd);
    return error;
}

/* What is lost is one minute's line: the next one tells of the time since the last sent. */
static void on_emf(struct timer *timer)
{
    struct exporter *exporter = container_of(timer, struct exporter, emf.timer);
    const char *path = exporter->emf.path;
    struct emf_sample now;
    AUTO_BUF line = BUF_INIT(TEXT_MAX);
    timer_set_in(exporter->core->loop, timer, EMF_MS);
    look(exporter, &now);
    emf_line(&line, &exporter->before, &now, exporter->host);
    bool is_socket = strncmp(path, SOCKET_MARK, strlen(SOCKET_MARK)) == 0;
    int error = is_socket ? send_to(path + strlen(SOCKET_MARK), &line)
                          : write_file(path, O_APPEND, 0640, &line);
    if (!error)
        exporter->before = now;
    report(&exporter->emf, error);
}

static void add_traffic(const struct traffic *traffic, struct emf_sample *ret)
{
    for (enum traffic_class class = 0; class < TRAFFIC_CLASSES; class ++) {
        ret->calls += (double)traffic->calls[class];
        if (class == TRAFFIC_429 || class == TRAFFIC_5XX || class == TRAFFIC_NONE)
            ret->calls_failed += (double)traffic->calls[class];
    }
}

static void look(struct exporter *exporter, struct emf_sample *ret)
{
    const struct core *core = exporter->core;
    const struct metrics *metrics = &core->metrics;
    struct process_figures process;
    struct health_view view;
    health_look(exporter->health, &view);
    process_look(&process);
    *ret = (struct emf_sample){
        .at_ms = view.now.ms,
        .batches = (double)metrics->batches_committed,
        .files = (double)metrics->files_stored,
        .bytes_received = (double)metrics->bytes_received,
        .bytes_stored = (double)metrics->bytes_stored,
        .retries = (double)metrics->retries,
        .dead_letters = (double)metrics->dead_letters,
        .delays = (double)metrics->batch_delay.count,
        .delay_seconds = metrics->batch_delay.sum_s,
        .cpu_seconds = process.cpu_s,
        .dead_tasks = core->figures->answered_at.us ? (double)core->figures->queue.dead : -1,
        .lag_seconds = (double)figures_worst_lag_ms(core, view.now_aep) / 1000,
        .not_ready = !view.ready,
        .resident_bytes = (double)process.resident_bytes,
        .open_fds = (double)process.open_fds,
    };
    for (int kind = 0; kind < QUEUE_KINDS; kind++) {
        ret->tasks += (double)metrics->task_seconds[kind].count;
        ret->task_seconds += metrics->task_seconds[kind].sum_s;
    }
    for (int api = 0; api <= AEP_SERVICES; api++)
        add_traffic(&core->traffic[api], ret);
    add_traffic(uploader_traffic(core->uploader), ret);
}
