/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The credential files that people have already, told apart by their shape. JSON, names of
 * members in any case:
 *
 *   aepp config              org_id, client_id (or api_key), secret, scopes, tech_id, pathToKey,
 *                            sandbox-name, environment
 *   Developer Console        the same in capitals: CLIENT_ID (or API_KEY), CLIENT_SECRETS[],
 *   credential               ORG_ID, SCOPES[], TECHNICAL_ACCOUNT_ID
 *   Developer Console        project.org.ims_org_id, project.workspace.details.credentials[] with
 *   project                  oauth_server_to_server or jwt
 *   aio CLI                  ims.contexts.<name> (or $ims.…) with client_id, client_secrets[] …
 *   Postman environment      values[] of key and value
 *
 * Pure: whoever reads the file keeps its text secret.
 */
#ifndef SLUICE_AEP_CREDENTIAL_H
#define SLUICE_AEP_CREDENTIAL_H

#include "lib/base/secret.h"

#define CREDENTIAL_SECRETS 2 /* as many as Adobe lets live at a time */

/* NULL and empty where the file is silent. */
struct credential {
    const char *shape; /* for people; static */
    char *org, *client_id, *scopes, *sandbox, *environment;
    char *technical_account, *key_file; /* as written: relative to the file's directory */
    struct secret secret[CREDENTIAL_SECRETS];
    size_t secrets;
    struct secret private_key; /* PEM in the file itself */
};

/*
 * ERR_SECRET with a sentence if it is of no known shape, or holds more than one credential; the
 * sentence quotes nothing of the text. The caller adds the file's name.
 */
enum err credential_parse(const char *text, size_t len, struct credential *ret,
                          struct fault *fault) MUST_CHECK;
void credential_release(struct credential *credential);

#endif
