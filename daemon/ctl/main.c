/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl: what an operator asks about an installation of sluiced. Reads the daemon's own
 * configuration, finds the command in the table, runs it on a loop of its own.
 */
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "daemon/ctl/ctl.h"
#include "daemon/health.h"
#include "lib/base/digest.h"

#define CONFIG "/etc/sluiced/sluiced.yaml"

static const struct ctl_command *const row[] = {
    &ctl_datasets, &ctl_dataset, &ctl_schema, &ctl_preview, &ctl_batches, &ctl_files,
    &ctl_last,     &ctl_doctor,  &ctl_verify, &ctl_audit,   &ctl_replay,  &ctl_purge,
    &ctl_status,   &ctl_top,     &ctl_check,  &ctl_health,  &ctl_jobs,    &ctl_trace,
    &ctl_backfill, &ctl_pause,   &ctl_resume, &ctl_cancel,  &ctl_retry,   &ctl_skip,
    &ctl_priority, &ctl_set,     &ctl_queue,  &ctl_ddl,     &ctl_fetch,   &ctl_check_config,
    &ctl_config,
};

/* Which command takes which, its row says. A value goes to its place in struct ctl. */
static const struct {
    const char *name;
    enum ctl_option flag;
    bool value;
    size_t place;
} option_row[] = {
    { "deep", CTL_DEEP, false, 0 },
    { "all", CTL_ALL, false, 0 },
    { "observed", CTL_OBSERVED, false, 0 },
    { "failed", CTL_FAILED, false, 0 },
    { "export", CTL_EXPORT, false, 0 },
    { "effective", CTL_EFFECTIVE, false, 0 },
    { "origins", CTL_ORIGINS, false, 0 },
    { "name", CTL_NAME, true, offsetof(struct ctl, name) },
    { "from", CTL_FROM, true, offsetof(struct ctl, from) },
    { "to", CTL_TO, true, offsetof(struct ctl, to) },
    { "status", CTL_STATUS, true, offsetof(struct ctl, status) },
    { "limit", CTL_LIMIT, true, offsetof(struct ctl, limit) },
    { "generation", CTL_GENERATION, true, offsetof(struct ctl, generation) },
    { "confirm", CTL_CONFIRM, true, offsetof(struct ctl, confirm) },
    { "plan", CTL_PLAN, false, 0 },
    { "once", CTL_ONCE, false, 0 },
    { "warn-lag", CTL_WARN_LAG, true, offsetof(struct ctl, warn_lag) },
    { "crit-lag", CTL_CRIT_LAG, true, offsetof(struct ctl, crit_lag) },
    { "since", CTL_SINCE, true, offsetof(struct ctl, since) },
    { "credential", CTL_CREDENTIAL, true, offsetof(struct ctl, credential) },
    { "endpoint", CTL_ENDPOINT, true, offsetof(struct ctl, endpoint) },
    { "aep-endpoint", CTL_AEP_ENDPOINT, true, offsetof(struct ctl, aep_endpoint) },
    { "ims-endpoint", CTL_IMS_ENDPOINT, true, offsetof(struct ctl, ims_endpoint) },
};
#define OPTIONS   (sizeof option_row / sizeof *option_row)
#define OPTION_AT 256 /* getopt's value of the first row */

static const struct ctl_command *find(const char *name);
static bool fits(const struct ctl *ctl, const struct ctl_command *command);
static int usage(FILE *to, int code);
static int read_options(struct ctl *ctl, int argc, char **argv);
static int run(struct ctl *ctl, const struct ctl_command *command);

int main(int argc, char **argv)
{
    struct ctl ctl = { .config = CONFIG };
    int code = read_options(&ctl, argc, argv);
    if (code >= 0)
        return code;
    const struct ctl_command *command = optind < argc ? find(argv[optind]) : NULL;
    if (!command)
        return usage(stderr, EX_USAGE);
    ctl.command = command->name;
    ctl.word = argv + optind + 1;
    ctl.words = (size_t)(argc - optind - 1);
    if (!fits(&ctl, command))
        return ctl_refuse(&ctl, EX_USAGE, "want %s %s", command->name, command->arguments);
    return run(&ctl, command);
}

static void list_options(struct option *list)
{
    static const struct option common[] = {
        { "config", required_argument, NULL, 'c' },
        { "json", no_argument, NULL, 'j' },
        { "version", no_argument, NULL, 'V' },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    for (size_t i = 0; i < OPTIONS; i++)
        list[i] = (struct option){ option_row[i].name,
                                   option_row[i].value ? required_argument : no_argument, NULL,
                                   OPTION_AT + (int)i };
    memcpy(list + OPTIONS, common, sizeof common);
}

static void take_option(struct ctl *ctl, size_t index)
{
    ctl->flags |= option_row[index].flag;
    if (option_row[index].value)
        *(const char **)(void *)((char *)ctl + option_row[index].place) = optarg;
}

/* The exit status, or -1 to go on. */
static int read_options(struct ctl *ctl, int argc, char **argv)
{
    struct option list[OPTIONS + 5];
    list_options(list);
    for (int c; (c = getopt_long(argc, argv, "c:h", list, NULL)) != -1;) {
        if (c >= OPTION_AT)
            take_option(ctl, (size_t)(c - OPTION_AT));
        else if (c == 'c')
            ctl->config = optarg;
        else if (c == 'j')
            ctl->json = true;
        else if (c == 'V')
            return puts("sluicectl " SLUICE_VERSION) < 0;
        else
            return c == 'h' ? usage(stdout, EX_OK) : usage(stderr, EX_USAGE);
    }
    return -1;
}

static const struct ctl_command *find(const char *name)
{
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (strcmp(row[i]->name, name) == 0)
            return row[i];
    return NULL;
}

/* Options of some commands only. */
static bool fits(const struct ctl *ctl, const struct ctl_command *command)
{
    return ctl->words >= command->words_min && ctl->words <= command->words_max &&
           (ctl->flags & ~command->flags) == 0;
}

static int usage(FILE *to, int code)
{
    fputs("usage: sluicectl [-c FILE] [--json] COMMAND …\n\n", to);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        fprintf(to, "  %s %s\n%s", row[i]->name, row[i]->arguments, row[i]->help);
    fputs("\n  -c, --config FILE  the daemon's configuration, default " CONFIG "\n"
          "      --json         one JSON document instead of a table\n\n"
          "exit status: 0 all is right, 1 something is not, 64 usage, 66 no such thing, 69 "
          "something\n"
          "could not be checked, 77 permission, 78 configuration; see sluicectl(1)\n",
          to);
    return code;
}

int ctl_refuse(const struct ctl *ctl, int code, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "sluicectl %s: ", ctl->command);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return code;
}

/* Secrets are read by commands: no core, no reader of our memory. */
static int run_on_loop(struct ctl *ctl, const struct ctl_command *command)
{
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_DUMPABLE, 0);
    digest_init();
    http_init();
    ctl->loop = loop_new();
    int code = command->run(ctl);
    loop_free(ctl->loop);
    http_cleanup();
    digest_release();
    return code;
}

static int run(struct ctl *ctl, const struct ctl_command *command)
{
    AUTO_BUF errors = BUF_INIT(1 << 20);
    int code = command->bad_config ? command->bad_config : EX_CONFIG;
    if (command->no_config ||
        settings_load(ctl->config, SETTINGS_OF_TOOL, &ctl->settings, &errors) == OK)
        code = run_on_loop(ctl, command);
    fputs(buf_text(&errors), stderr);
    settings_release(&ctl->settings);
    return fflush(stdout) ? EX_IOERR : code;
}
