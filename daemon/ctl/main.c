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

static const struct ctl_command *const row[] = { &ctl_verify, &ctl_audit, &ctl_replay,
                                                 &ctl_purge };

static const struct ctl_command *find(const char *name);
static void set_flag(struct ctl *ctl, int option);
static bool fits(const struct ctl *ctl, const struct ctl_command *command);
static int usage(FILE *to, int code);
static int run(struct ctl *ctl, const struct ctl_command *command, const char *config);

int main(int argc, char **argv)
{
    static const struct option option[] = {
        { "config", required_argument, NULL, 'c' },
        { "json", no_argument, NULL, 'j' },
        { "deep", no_argument, NULL, 'd' },
        { "version", no_argument, NULL, 'V' },
        { "generation", required_argument, NULL, 'g' },
        { "confirm", required_argument, NULL, 'y' },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    struct ctl ctl = { 0 };
    const char *config = CONFIG;
    for (int c; (c = getopt_long(argc, argv, "c:h", option, NULL)) != -1;) {
        if (c == 'c')
            config = optarg;
        else if (c == 'j')
            ctl.json = true;
        else if (strchr("dgy", c))
            set_flag(&ctl, c);
        else if (c == 'V')
            return puts("sluicectl " SLUICE_VERSION) < 0;
        else
            return c == 'h' ? usage(stdout, EX_OK) : usage(stderr, EX_USAGE);
    }
    const struct ctl_command *command = optind < argc ? find(argv[optind]) : NULL;
    if (!command)
        return usage(stderr, EX_USAGE);
    ctl.command = command->name;
    ctl.word = argv + optind + 1;
    ctl.words = (size_t)(argc - optind - 1);
    if (!fits(&ctl, command))
        return ctl_refuse(&ctl, EX_USAGE, "want %s %s", command->name, command->arguments);
    return run(&ctl, command, config);
}

static const struct ctl_command *find(const char *name)
{
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (strcmp(row[i]->name, name) == 0)
            return row[i];
    return NULL;
}

/* Options of some commands only. */
static void set_flag(struct ctl *ctl, int option)
{
    if (option == 'd') {
        ctl->flags |= CTL_DEEP;
    } else if (option == 'g') {
        ctl->flags |= CTL_GENERATION;
        ctl->generation = optarg;
    } else {
        ctl->flags |= CTL_CONFIRM;
        ctl->confirm = optarg;
    }
}

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
    fputs(
        "\n  -c, --config FILE  the daemon's configuration, default " CONFIG "\n"
        "      --json         one JSON document instead of a table\n\n"
        "exit status: 0 all is right, 1 something is not, 64 usage, 69 something could not be\n"
        "checked, 78 configuration; see sluicectl(1)\n",
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

static int run(struct ctl *ctl, const struct ctl_command *command, const char *config)
{
    AUTO_BUF errors = BUF_INIT(1 << 20);
    int code = EX_CONFIG;
    if (settings_load(config, &ctl->settings, &errors) == OK)
        code = run_on_loop(ctl, command);
    fputs(buf_text(&errors), stderr);
    settings_release(&ctl->settings);
    return fflush(stdout) ? EX_IOERR : code;
}
