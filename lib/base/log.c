/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of log: made by the caller's thread, then under one lock folded, or written.
 *
 *   event ─▶ line ─▶ repeated? ─▶ counted … ten seconds ─▶ "repeated 37 times"
 *                        └ no ─▶ journal's socket, or standard error
 */
#include "lib/base/log.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/log_line.h"

#define FOLD_MS 10000
#define FOLDS   16 /* kinds of events that are watched at a time */

/* Lines that are alike: the first was written, `count` more were not. */
struct fold {
    uint64_t key; /* 0 = free */
    struct mono until;
    uint64_t count;
    struct log_line last;
};

static atomic_int threshold = LOG_INFO, form = LOG_TEXT;
static void (*subject_of)(const char *object, struct log_subject *ret);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint64_t lost;

/* Under the lock. */
static uint64_t lost_told;
static struct fold fold[FOLDS];
static struct {
    int fd; /* 0 = not used */
    struct sockaddr_un address;
} journal;

void log_set_level(enum log_level level)
{
    atomic_store(&threshold, (int)level);
}

void log_set_format(enum log_format format)
{
    atomic_store(&form, (int)format);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&threshold, memory_order_relaxed);
}

void log_set_subject(void (*subject)(const char *object, struct log_subject *ret))
{
    subject_of = subject;
}

uint64_t log_lost(void)
{
    return atomic_load(&lost);
}

/* ---- the journal */

bool log_is_journal(const char *stream)
{
    struct stat st;
    char found[64];
    if (!stream || fstat(STDERR_FILENO, &st))
        return false;
    snprintf(found, sizeof found, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(found, stream) == 0;
}

void log_set_journal(const char *socket_path)
{
    pthread_mutex_lock(&lock);
    if (journal.fd > 0)
        close(journal.fd);
    journal.fd = 0;
    if (socket_path && strlen(socket_path) < sizeof journal.address.sun_path) {
        journal.address = (struct sockaddr_un){ .sun_family = AF_UNIX };
        memcpy(journal.address.sun_path, socket_path, strlen(socket_path) + 1);
        journal.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    }
    pthread_mutex_unlock(&lock);
}

/* Not connected: a journal that was restarted listens at the same path. */
static bool send_line(const struct log_line *line)
{
    char bytes[LOG_FORM_SIZE];
    size_t len = log_form_journal(line, bytes);
    return journal.fd > 0 &&
           sendto(journal.fd, bytes, len, MSG_NOSIGNAL, (struct sockaddr *)&journal.address,
                  sizeof journal.address) == (ssize_t)len;
}

/* ---- standard error */

/*
 * A full disk, a closed pipe, a reader that has stopped: the line is lost and the work goes on.
 * Asked first, because a write to a full pipe would wait for its reader; a line is not longer than
 * what poll promises room for (PIPE_BUF), and the lock keeps other threads out of it.
 */
static bool write_line(const struct log_line *line)
{
    char bytes[LOG_FORM_SIZE];
    size_t len = atomic_load(&form) == LOG_JSON ? log_form_json(line, bytes)
                                                : log_form_text(line, bytes);
    struct pollfd standard_error = { .fd = STDERR_FILENO, .events = POLLOUT };
    return poll(&standard_error, 1, 0) == 1 && (standard_error.revents & POLLOUT) &&
           write(STDERR_FILENO, bytes, len) == (ssize_t)len;
}

static bool put(const struct log_line *line)
{
    return send_line(line) || write_line(line);
}

/* ---- lines */

static void fill_line(struct log_line *line, enum log_level level, const char *object,
                      const char *format, va_list args) __attribute__((format(printf, 4, 0)));

static void fill_line(struct log_line *line, enum log_level level, const char *object,
                      const char *format, va_list args)
{
    line->level = level;
    line->at = clock_wall();
    line->subject.dataset[0] = line->subject.batch[0] = line->subject.trace[0] = 0;
    snprintf(line->object, sizeof line->object, "%s", object ? object : "sluiced");
    vsnprintf(line->message, sizeof line->message, format, args);
    log_event_name(format, line->event);
    if (object && subject_of)
        subject_of(object, &line->subject);
    text_sanitize(line->object);
    text_sanitize(line->message);
    text_sanitize(line->subject.dataset);
    text_sanitize(line->subject.batch);
}

PRINTF(4, 5)
static void make_line(struct log_line *line, enum log_level level, const char *object,
                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill_line(line, level, object, format, args);
    va_end(args);
}

/* The first line that finds its way again says how many did not. */
static void write_or_lose(const struct log_line *line)
{
    struct log_line told;
    uint64_t news = atomic_load(&lost) - lost_told;
    if (news > 0) {
        make_line(&told, LOG_WARN, NULL, "log_lines_lost=%" PRIu64, news);
        lost_told += put(&told) ? news : 0;
    }
    if (!put(line))
        atomic_fetch_add(&lost, 1);
}

/* ---- repeats */

static uint64_t hash(uint64_t value, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        value = (value ^ (unsigned char)text[i]) * 1099511628211ull; /* FNV-1a */
    return (value ^ 0xff) * 1099511628211ull;
}

/* Of lines that are alike the same, never 0 for those that may be folded. */
static uint64_t key_of(const struct log_line *line, const char *format)
{
    uint64_t key = 14695981039346656037ull ^ (uint64_t)line->level;
    if (line->level < LOG_WARN)
        return 0;
    bool error = line->level == LOG_ERROR;
    key = hash(key, line->object, error ? strlen(line->object) : strcspn(line->object, "/"));
    /* What begins with a value is known by all that it says. */
    const char *what = line->event[0] ? format : line->message;
    return hash(key, what, strlen(what)) | 1;
}

static void unfold(struct fold *at)
{
    if (at->count > 0) {
        struct log_line line = at->last;
        snprintf(line.message, sizeof line.message, "repeated %" PRIu64 " times, at last: %.*s",
                 at->count, (int)sizeof line.message - 64, at->last.message);
        write_or_lose(&line);
    }
    at->key = 0;
    at->count = 0;
}

/* The fold of the key; else a free one, else the one that ends first. */
static struct fold *find_fold(uint64_t key)
{
    struct fold *best = &fold[0];
    for (size_t i = 0; i < FOLDS; i++) {
        if (fold[i].key == key)
            return &fold[i];
        if (best->key && (!fold[i].key || fold[i].until.us < best->until.us))
            best = &fold[i];
    }
    return best;
}

/* Whether it is one of many. */
static bool folded(const struct log_line *line, uint64_t key)
{
    struct mono now = clock_mono();
    struct fold *at = find_fold(key);
    if (at->key == key && !mono_due(at->until, now)) {
        at->count++;
        at->last = *line;
        return true;
    }
    unfold(at);
    at->key = key;
    at->until = mono_after_ms(now, FOLD_MS);
    return false;
}

void log_flush(bool all)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < FOLDS; i++)
        if (fold[i].key && (all || mono_due(fold[i].until, clock_mono())))
            unfold(&fold[i]);
    pthread_mutex_unlock(&lock);
}

void log_event(enum log_level level, const char *object, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    struct log_line line;
    va_list args;
    va_start(args, format);
    fill_line(&line, level, object, format, args);
    va_end(args);
    uint64_t key = key_of(&line, format);
    pthread_mutex_lock(&lock);
    if (!key || !folded(&line, key))
        write_or_lose(&line);
    pthread_mutex_unlock(&lock);
}
