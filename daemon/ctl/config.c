/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl check-config, sluicectl config show, sluicectl config schema: the configuration, as
 * the daemon would read it. Nothing is connected to; secrets are not read, but for values that are
 * taken from files.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/ctl/ctl.h"

#define OUT_MAX (16 << 20)

static int check_config_run(struct ctl *ctl);
static int config_run(struct ctl *ctl);

const struct ctl_command ctl_check_config = {
    .name = "check-config",
    .arguments = "",
    .no_config = true,
    .run = check_config_run,
    .help =
        "      what is wrong with the configuration, each with its line; exit status 78 if\n"
        "      anything is\n",
};

const struct ctl_command ctl_config = {
    .name = "config",
    .arguments = "show [--effective] [--origins] | schema",
    .words_min = 1,
    .words_max = 1,
    .flags = CTL_EFFECTIVE | CTL_ORIGINS,
    .no_config = true,
    .run = config_run,
    .help =
        "      show: what the files say together; --effective: with all defaults; --origins:\n"
        "      which line says so. schema: JSON Schema of the file, for editors\n",
};

/* EX_CONFIG after the errors were printed. */
static int load(struct ctl *ctl, enum settings_reader reader)
{
    AUTO_BUF errors = BUF_INIT(1 << 20);
    enum err err = settings_load(ctl->config, reader, &ctl->settings, &errors);
    fputs(buf_text(&errors), stderr);
    return err ? EX_CONFIG : EX_OK;
}

static int check_config_run(struct ctl *ctl)
{
    int code = load(ctl, SETTINGS_OF_DAEMON);
    if (code == EX_OK)
        printf("%s is sound: %zu dataset%s\n", ctl->config, ctl->settings.datasets,
               ctl->settings.datasets == 1 ? "" : "s");
    return code;
}

static int config_run(struct ctl *ctl)
{
    AUTO_BUF out = BUF_INIT(OUT_MAX);
    bool show = strcmp(ctl->word[0], "show") == 0;
    if (!show && (strcmp(ctl->word[0], "schema") != 0 || ctl->flags))
        return ctl_refuse(ctl, EX_USAGE, "want config %s", ctl_config.arguments);
    if (!show) {
        settings_schema(&out);
        fputs(buf_text(&out), stdout);
        return EX_OK;
    }
    unsigned flags = (ctl->flags & CTL_ORIGINS ? CONF_ORIGINS : 0) |
                     (ctl->flags & CTL_EFFECTIVE ? 0 : CONF_GIVEN);
    int code = load(ctl, SETTINGS_OF_TOOL);
    if (code == EX_OK)
        settings_show(&ctl->settings, flags, ctl->json, &out);
    fputs(buf_text(&out), stdout);
    return code;
}
