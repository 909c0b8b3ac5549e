/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluiced: moves the batches of Adobe Experience Platform datasets into S3. This file is the
 * table of contents: read the configuration, build the parts, run the loop, take them apart.
 *
 * Exit codes (sysexits.h): 0 ended well, 64 usage, 69 a second stop signal, 71 out of memory, 74 the
 * answer to a question could not be written, 78 configuration.
 */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "daemon/health.h"
#include "daemon/janitor.h"
#include "daemon/pool.h"
#include "daemon/reload.h"
#include "daemon/scheduler.h"
#include "daemon/subject.h"
#include "daemon/task.h"
#include "daemon/tenant.h"
#include "daemon/uploader.h"
#include "lib/base/digest.h"
#include "lib/base/log.h"
#include "lib/net/notify.h"

#define NOTIFY_MS         5000
#define STOP_MARGIN_MS    10000
#define LOG_AS_CONFIGURED (-1)
#define JOURNAL           "/run/systemd/journal/socket"

struct program {
    struct core core;
    struct settings settings;
    struct secret redis_password;
    struct http *api, *data;
    struct startup *startup;
    struct health *health;
    struct janitor *janitor;
    struct reload *reload;
    struct timer notify, grace;
    int secret; /* which one was in use last */
    int format; /* of the log, by the command line */
    int exit_code;
    bool stopping, trimmed;
};

static void open_standard_files(void);
static int usage(FILE *to, int code);
static int flushed(int code);
static int check(const char *config, bool print);
static bool read_format(const char *text, int *ret);
static int run(const char *config, int format);
static enum err load_secrets(struct program *program, const char *config, struct fault *fault);
static enum err build(struct program *program, struct fault *fault);
static void take_apart(struct program *program);
static void on_signal(void *owner, int signal);
static void on_notify(struct timer *timer);
static void on_grace(struct timer *timer);
static void on_drained(struct core *core);
static void refuse(struct core *core, const struct fault *fault);
static void on_aep_note(void *owner, enum aep_upstream upstream, const struct fault *fault);
static void note_secret(struct core *core);
static void on_s3_note(void *owner, const struct s3_call *call);

int main(int argc, char **argv)
{
    static const struct option option[] = {
        { "config", required_argument, NULL, 'c' },
        { "check-config", no_argument, NULL, 'k' },
        { "print-config", no_argument, NULL, 'p' },
        { "log-format", required_argument, NULL, 'l' },
        { "version", no_argument, NULL, 'V' },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    const char *config = "/etc/sluiced/sluiced.yaml";
    int mode = 'r', format = LOG_AS_CONFIGURED;
    open_standard_files();
    for (int c; (c = getopt_long(argc, argv, "c:h", option, NULL)) != -1;) {
        if (c == 'c')
            config = optarg;
        else if (c == 'l' && read_format(optarg, &format))
            continue;
        else if (c == '?' || c == 'l')
            return usage(stderr, EX_USAGE);
        else
            mode = c;
    }
    if (optind < argc)
        return usage(stderr, EX_USAGE);
    if (mode == 'h')
        return flushed(usage(stdout, EX_OK));
    if (mode == 'V')
        return flushed(puts("sluiced " SLUICE_VERSION) < 0);
    return mode == 'r' ? run(config, format) : flushed(check(config, mode == 'p'));
}

/* If one of them was closed, the next socket would get its number, and lines of log with it. */
static void open_standard_files(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

static int usage(FILE *to, int code)
{
    fputs("usage: sluiced [--config FILE] [--check-config | --print-config]\n"
          "       sluiced --version | --help\n\n"
          "  -c, --config FILE   default /etc/sluiced/sluiced.yaml\n"
          "      --check-config  say what is wrong with it and exit (78 if anything is)\n"
          "      --print-config  the settings in force, as YAML\n"
          "      --log-format F  auto, text or json, instead of log.format\n",
          to);
    return code;
}

/* A full disk must not look like an answer. */
static int flushed(int code)
{
    return fflush(stdout) || ferror(stdout) ? EX_IOERR : code;
}

static bool read_format(const char *text, int *ret)
{
    static const char *const name[] = {
        [LOG_AS_AUTO] = "auto", [LOG_AS_TEXT] = "text", [LOG_AS_JSON] = "json"
    };
    for (int i = LOG_AS_AUTO; i <= LOG_AS_JSON; i++)
        if (strcmp(text, name[i]) == 0)
            *ret = i;
    return *ret >= 0;
}

static int load(const char *config, struct settings *settings)
{
    AUTO_BUF errors = BUF_INIT(1 << 20);
    enum err err = settings_load(config, SETTINGS_OF_DAEMON, settings, &errors);
    fputs(buf_text(&errors), stderr);
    return err ? EX_CONFIG : EX_OK;
}

static int check(const char *config, bool print)
{
    struct settings settings = { 0 };
    AUTO_BUF out = BUF_INIT(1 << 20);
    int code = load(config, &settings);
    if (code == EX_OK && print)
        settings_print(&settings, &out);
    fputs(buf_text(&out), stdout);
    settings_release(&settings);
    return code;
}

/* Before any thread and any secret. */
static void prepare_process(void)
{
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_DUMPABLE, 0);
    /* Big buffers come from the pool; small memory must not be spread over arenas. */
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    mallopt(M_TRIM_THRESHOLD, 128 * 1024);
    notify_init();
    digest_init();
    http_init();
}

/* Also after a reload. */
static void set_log(const struct program *program)
{
    int format = program->format < 0 ? program->settings.log.format : program->format;
    bool journal = format == LOG_AS_AUTO && log_is_journal(getenv("JOURNAL_STREAM"));
    log_set_level((enum log_level)program->settings.log.level);
    log_set_format(format == LOG_AS_JSON ? LOG_JSON : LOG_TEXT);
    log_set_journal(journal ? JOURNAL : NULL);
}

/*
 * Before the loop has it, a hangup would end us, and must not be forgotten: the configuration may
 * have been read already. With the loop its handler goes, and the default must not come back.
 */
static void hold_hangups(bool hold)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static int run(const char *config, int format)
{
    struct program program = { .format = format };
    struct fault fault = { 0 };
    hold_hangups(true);
    int code = load(config, &program.settings);
    if (code != EX_OK) {
        settings_release(&program.settings);
        return code;
    }
    program.core.config_file = config;
    prepare_process();
    log_set_subject(subject_read);
    set_log(&program);
    enum err err = load_secrets(&program, config, &fault);
    if (!err)
        err = build(&program, &fault);
    if (err) {
        log_event(LOG_ERROR, NULL, "cannot start error=%s: %s", err_name(err), fault.text);
        program.exit_code = err == ERR_MEMORY ? EX_OSERR : EX_CONFIG;
    } else {
        notify_send("READY=1");
        log_event(LOG_INFO, NULL, "version " SLUICE_VERSION " started datasets=%zu",
                  program.settings.datasets);
        loop_run(program.core.loop);
    }
    hold_hangups(true);
    take_apart(&program);
    return program.exit_code;
}

/* ---- parts */

static enum err load_secrets(struct program *program, const char *config, struct fault *fault)
{
    const struct settings *settings = program->core.settings = &program->settings;
    enum err err = tenant_check_secrets(settings, fault);
    if (!err)
        err = reload_new(&program->core, config, &program->reload, fault);
    if (!err && settings->redis.password_file)
        err = secret_read_file(settings->redis.password_file, &program->redis_password, fault);
    return err;
}

static struct s3_options s3_options(const struct program *program)
{
    const struct settings *settings = &program->settings;
    return (struct s3_options){ .endpoint = settings->s3.endpoint,
                                .region = settings->s3.region,
                                .bucket = settings->s3.bucket,
                                .path_style = settings->s3.addressing == ADDRESSING_PATH,
                                .payload = (enum s3_payload)settings->s3.payload,
                                .credentials = reload_credentials(program->reload) };
}

static void build_aep(struct program *program)
{
    const struct settings *settings = &program->settings;
    struct http_options http = { .ca_file = settings->aep.ca_file,
                                 .proxy = settings->aep.proxy,
                                 .plain_http = true,
                                 .max_connections = (size_t)settings->aep.window_max * 2,
                                 .connect_timeout_ms = 10000 };
    program->api = http_new(program->core.loop, &http);
    http.socket_buffer = (size_t)settings->transfer.socket_bytes;
    program->data = http_new(program->core.loop, &http);
    struct aep_options options = tenant_options(settings);
    options.traffic = program->core.traffic;
    if (tenant_warning(settings))
        log_event(LOG_WARN, "ims", "%s", tenant_warning(settings));
    program->core.aep = aep_new(program->core.loop, program->api, program->data, &options);
    aep_watch(program->core.aep, &program->core, on_aep_note);
}

static enum err build(struct program *program, struct fault *fault)
{
    static const int signals[] = { SIGTERM, SIGINT, SIGHUP, 0 };
    struct core *core = &program->core;
    const struct settings *settings = core->settings;
    core->loop = loop_new();
    core->s3 = s3_options(program);
    upstream_init(&core->upstreams);
    core->pool = pool_new(core->loop, (size_t)settings->transfer.memory_bytes);
    if (!core->pool)
        return fault_set(fault, ERR_MEMORY, "cannot map transfer.memory");
    build_aep(program);
    struct http_options http = { .ca_file = settings->s3.ca_file,
                                 .proxy = settings->s3.proxy,
                                 .plain_http = true,
                                 .max_connections = (size_t)settings->transfer.files * 2,
                                 .connect_timeout_ms = 10000 };
    core->uploader =
        uploader_new(core->loop, (int)settings->transfer.workers, &core->s3, &http);
    uploader_watch(core->uploader, core, on_s3_note);
    core->scheduler = scheduler_new(core);
    enum err err =
        startup_new(core, settings->redis.password_file ? &program->redis_password : NULL,
                    refuse, &program->startup, fault);
    if (!err)
        err = health_new(core, program->startup, &program->health, fault);
    if (!err)
        program->janitor = janitor_new(core);
    loop_signals(core->loop, signals, program, on_signal);
    hold_hangups(false);
    program->notify.fire = on_notify;
    program->grace.fire = on_grace;
    timer_set_in(core->loop, &program->notify, 0);
    return err;
}

static void take_apart(struct program *program)
{
    struct core *core = &program->core;
    if (core->loop) {
        timer_clear(core->loop, &program->notify);
        timer_clear(core->loop, &program->grace);
    }
    health_free(program->health);
    janitor_free(program->janitor);
    startup_free(program->startup);
    scheduler_free(core->scheduler);
    queue_free(core->queue);
    uploader_free(core->uploader);
    aep_free(core->aep);
    http_free(program->data);
    http_free(program->api);
    pool_free(core->pool);
    loop_free(core->loop);
    metrics_release(&core->metrics);
    reload_free(program->reload);
    secret_release(&program->redis_password);
    settings_release(&program->settings);
    http_cleanup();
    digest_release();
}

/* ---- life */

static void on_aep_note(void *owner, enum aep_upstream upstream, const struct fault *fault)
{
    static const enum upstream of[] = {
        [AEP_OF_IMS] = UPSTREAM_IMS,
        [AEP_OF_CATALOG] = UPSTREAM_CATALOG,
        [AEP_OF_ACCESS] = UPSTREAM_ACCESS,
    };
    upstream_note(owner, of[upstream], fault);
    note_secret(owner);
}

/* During a rotation it should be known which of two secrets is still needed. */
static void note_secret(struct core *core)
{
    struct program *program = container_of(core, struct program, core);
    int secret = aep_secret_in_use(core->aep);
    if (secret > 1 || program->secret > 1)
        if (secret != program->secret)
            log_event(LOG_INFO, "ims", "client secret %d of 2 is the one that works", secret);
    program->secret = secret;
}

/* A store that still answers questions may have stopped taking data. */
static void on_s3_note(void *owner, const struct s3_call *call)
{
    bool asks = call->op == S3_HEAD || call->op == S3_GET || call->op == S3_LIST_PARTS;
    bool answered = call->fault.code == OK || call->fault.code == ERR_NOT_FOUND;
    if (asks && answered)
        upstream_hint(owner, UPSTREAM_S3);
    else
        upstream_note(owner, UPSTREAM_S3, &call->fault);
}

/* Once in each pause: gives back what hundreds of connections had allocated. */
static void trim_when_idle(struct program *program)
{
    struct scheduler_figures figures;
    scheduler_figures(program->core.scheduler, &figures);
    bool idle = figures.files == 0 && uploader_running(program->core.uploader) == 0;
    if (idle && !program->trimmed)
        malloc_trim(0);
    program->trimmed = idle;
}

static void send_status(const struct program *program, const char *before)
{
    char text[256];
    AUTO_BUF note = BUF_INIT(1000);
    health_line(program->health, text, sizeof text);
    reload_note(program->reload, &note);
    notify_send("%sSTATUS=%s%s%s", before, note.len ? buf_text(&note) : "",
                note.len ? "; " : "", text);
}

static void on_notify(struct timer *timer)
{
    struct program *program = container_of(timer, struct program, notify);
    trim_when_idle(program);
    int64_t watchdog = notify_watchdog_ms();
    reload_tidy(program->reload);
    log_flush(false);
    /* The loop turns, or this would not run; the workers must have turned too. */
    bool alive = watchdog == 0 || uploader_silence_ms(program->core.uploader) < watchdog / 2;
    send_status(program, alive && watchdog ? "WATCHDOG=1\n" : "");
    int64_t every = watchdog && watchdog / 3 < NOTIFY_MS ? watchdog / 3 : NOTIFY_MS;
    timer_set_in(program->core.loop, &program->notify, every);
}

/* As Type=notify-reload wants it: the manager waits for READY, with errors in STATUS. */
static void reload(struct program *program)
{
    if (program->stopping) {
        log_event(LOG_INFO, "config", "SIGHUP while draining: nothing is read any more");
        return;
    }
    notify_send("RELOADING=1\nMONOTONIC_USEC=%" PRId64, clock_mono().us);
    reload_run(program->reload);
    set_log(program);
    send_status(program, "READY=1\n");
}

static void on_signal(void *owner, int signal)
{
    struct program *program = owner;
    if (signal == SIGHUP) {
        reload(program);
        return;
    }
    if (program->stopping) {
        log_event(LOG_WARN, NULL, "second signal, exit at once; leases lapse by themselves");
        _exit(EX_UNAVAILABLE);
    }
    program->stopping = true;
    /* However long the grace is, the service manager shall wait for its end. */
    notify_send("STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld",
                ((long long)program->settings.queue.stop_grace_ms + STOP_MARGIN_MS) * 1000);
    log_event(LOG_INFO, NULL, "signal %d, draining", signal);
    timer_set_in(program->core.loop, &program->grace, program->settings.queue.stop_grace_ms);
    scheduler_drain(program->core.scheduler, on_drained);
}

static void on_drained(struct core *core)
{
    log_flush(true);
    log_event(LOG_INFO, NULL, "drained, bye");
    loop_stop(core->loop);
}

static void on_grace(struct timer *timer)
{
    (void)timer;
    log_flush(true);
    log_event(LOG_WARN, NULL,
              "stop_grace is over, exit with work under way; leases lapse by themselves");
    _exit(EX_OK);
}

static void refuse(struct core *core, const struct fault *fault)
{
    struct program *program = container_of(core, struct program, core);
    log_event(LOG_ERROR, "redis", "refused error=%s: %s", err_name(fault->code), fault->text);
    program->exit_code = EX_CONFIG;
    loop_stop(core->loop);
}
