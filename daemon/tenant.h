/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are to Adobe: what the settings of `aep.` and the credential file say together. The
 * daemon and sluicectl get their tenant from here.
 */
#ifndef SLUICE_DAEMON_TENANT_H
#define SLUICE_DAEMON_TENANT_H

#include "daemon/settings.h"
#include "lib/aep/aep.h"

/*
 * Fills what the file of settings leaves out from the credential file, settles aep.auth, and says
 * what is missing or contradicts, one line each. A credential file that cannot be read is no
 * error as long as nothing is wanted from it but secrets: those are read when they are needed,
 * and systemd hands them to the service alone.
 */
void tenant_settle(struct settings *settings);

/* Texts belong to the settings. */
struct aep_options tenant_options(const struct settings *settings);

/* Reads all secrets once, only to complain early. */
enum err tenant_check_secrets(const struct settings *settings, struct fault *fault) MUST_CHECK;

/* What an operator should know about the chosen way to get tokens; NULL = nothing. */
const char *tenant_warning(const struct settings *settings);

#endif
