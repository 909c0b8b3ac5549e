/* SPDX-License-Identifier: Apache-2.0 */
/* Who we are to Adobe: settings, then the credential file, then defaults. */
#include "daemon/tenant.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/aep/grant.h"
#include "lib/aep/token_file.h"

#define DEFAULT_SANDBOX "prod"
#define DEFAULT_SCOPES                                                                         \
    "openid,AdobeID,read_organizations,additional_info.projectedProductContext,session"
#define PRODUCTION "https://platform.adobe.io"

/* One loading. */
struct settling {
    struct settings *settings;
    bool contradicts;             /* to the credential file: what is missing is not clear */
    struct credential credential; /* empty: there is none, or it could not be read */
    struct fault unread;          /* why not */
};

/* ---- from the credential file */

static void contradict(struct settling *settling, const char *key, const char *format, ...)
    PRINTF(3, 4);

static void contradict(struct settling *settling, const char *key, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    conf_complain(settling->settings->conf, key, 0, "%s", text);
    settling->contradicts = true;
}

static void fill(struct settling *settling, const char *key, char **slot, const char *found)
{
    if (!found)
        return;
    if (!*slot)
        *slot = mem_copy_text(found);
    else if (strcmp(*slot, found) != 0)
        contradict(settling, key,
                   "is %.60s here and %.60s in aep.credential_file: remove it here, or name "
                   "another file",
                   *slot, found);
}

/* Whether each scope of `some` is among those of `all`. */
static bool scopes_within(const char *some, const char *all)
{
    while (*some) {
        size_t len = strcspn(some, ", ");
        const char *at = all;
        while (*at && (strcspn(at, ", ") != len || strncmp(at, some, len) != 0))
            at += strcspn(at, ", ") + (at[strcspn(at, ", ")] != 0);
        if (len && !*at)
            return false;
        some += len + (some[len] != 0);
    }
    return true;
}

/* The same scopes may stand in another order. */
static void fill_scopes(struct settling *settling)
{
    char **slot = &settling->settings->aep.scopes;
    const char *found = settling->credential.scopes;
    if (*slot && found && scopes_within(*slot, found) && scopes_within(found, *slot))
        return;
    fill(settling, "aep.scopes", slot, found);
}

/* A key's path in the file counts from where the file is. */
static void fill_key_file(struct settling *settling)
{
    const char *file = settling->settings->aep.credential_file;
    const char *key = settling->credential.key_file, *slash = strrchr(file, '/');
    if (!key)
        return;
    int directory = key[0] == '/' || !slash ? 0 : (int)(slash - file) + 1;
    AUTO_TEXT char *path = mem_print("%.*s%s", directory, file, key);
    fill(settling, "aep.private_key_file", &settling->settings->aep.private_key_file, path);
}

static void check_environment(struct settling *settling)
{
    const char *environment = settling->credential.environment;
    if (!environment || strcmp(environment, "prod") == 0 ||
        strcmp(settling->settings->aep.endpoint, PRODUCTION) != 0)
        return;
    contradict(settling, "aep.endpoint",
               "aep.credential_file is for environment %.40s: set aep.endpoint and "
               "aep.ims_endpoint to those of that environment",
               environment);
}

static void fill_all(struct settling *settling)
{
    struct settings *settings = settling->settings;
    const struct credential *found = &settling->credential;
    fill(settling, "aep.org", &settings->aep.org, found->org);
    fill(settling, "aep.client_id", &settings->aep.client_id, found->client_id);
    fill(settling, "aep.sandbox", &settings->aep.sandbox, found->sandbox);
    fill(settling, "aep.technical_account", &settings->aep.technical_account,
         found->technical_account);
    fill_scopes(settling);
    fill_key_file(settling);
    check_environment(settling);
    if (found->secrets && settings->aep.client_secret_file)
        contradict(settling, "aep.client_secret_file",
                   "aep.credential_file holds a client secret, too: remove one of the two");
}

/* ---- what it amounts to */

/* A key is what only the exchange needs; every credential has a technical account. */
static int choose_auth(const struct settling *settling)
{
    const struct settings *settings = settling->settings;
    if (settings->aep.token_file)
        return AUTH_TOKEN;
    bool key = settings->aep.private_key_file || settling->credential.private_key.bytes;
    return key ? AUTH_JWT : AUTH_OAUTH;
}

static void demand(struct settling *settling, const char *key, bool given, const char *what)
{
    struct conf *conf = settling->settings->conf;
    if (given || conf_given(conf, key, 0)) /* what was refused is told already */
        return;
    if (settling->unread.code)
        conf_complain(conf, key, 0, "is missing, and %s", settling->unread.text);
    else
        conf_complain(conf, key, 0, "is missing: %s, here or in aep.credential_file", what);
}

static void check_complete(struct settling *settling)
{
    const struct settings *settings = settling->settings;
    const struct credential *found = &settling->credential;
    /* What cannot be read yet may hold the secrets that are missing here. */
    bool perhaps = settling->unread.code != OK;
    bool secret = settings->aep.client_secret_file || found->secrets || perhaps;
    bool key = settings->aep.private_key_file || found->private_key.bytes || perhaps;
    demand(settling, "aep.org", settings->aep.org, "organisation id, ...@AdobeOrg");
    demand(settling, "aep.client_id", settings->aep.client_id, "client id of the credential");
    if (settings->aep.auth == AUTH_TOKEN) {
        if (!settings->aep.token_file)
            conf_complain(settings->conf, "aep.token_file", 0,
                          "is missing: aep.auth: token needs it");
        return;
    }
    demand(settling, "aep.client_secret_file", secret, "file with the client secret");
    if (settings->aep.auth != AUTH_JWT)
        return;
    demand(settling, "aep.private_key_file", key, "private key of the JWT credential");
    demand(settling, "aep.technical_account", settings->aep.technical_account || perhaps,
           "...@techacct.adobe.com");
}

/* What is not there for us now may be there for the service; what is wrong stays wrong. */
static void read_credential(struct settling *settling)
{
    const char *name = settling->settings->aep.credential_file;
    struct fault *unread = &settling->unread;
    if (!name)
        return;
    if (grant_read_credential(name, &settling->credential, unread) == OK)
        fill_all(settling);
    else if (access(name, R_OK) == 0)
        contradict(settling, "aep.credential_file", "%s", unread->text);
}

void tenant_settle(struct settings *settings)
{
    struct settling settling = { .settings = settings };
    read_credential(&settling);
    if (settings->aep.auth == AUTH_AUTO)
        settings->aep.auth = choose_auth(&settling);
    if (!settling.contradicts)
        check_complete(&settling);
    if (!settings->aep.sandbox)
        settings->aep.sandbox = mem_copy_text(DEFAULT_SANDBOX);
    if (!settings->aep.scopes)
        settings->aep.scopes = mem_copy_text(DEFAULT_SCOPES);
    credential_release(&settling.credential);
}

/* ---- for those who use it */

static enum aep_auth auth_of(const struct settings *settings)
{
    return settings->aep.auth == AUTH_TOKEN ? AEP_TOKEN
           : settings->aep.auth == AUTH_JWT ? AEP_JWT
                                            : AEP_OAUTH;
}

struct aep_options tenant_options(const struct settings *settings)
{
    return (struct aep_options){
        .endpoint = settings->aep.endpoint,
        .ims_endpoint = settings->aep.ims_endpoint,
        .org = settings->aep.org,
        .client_id = settings->aep.client_id,
        .auth = auth_of(settings),
        .client_secret_file = settings->aep.client_secret_file,
        .credential_file = settings->aep.credential_file,
        .token_file = settings->aep.token_file,
        .private_key_file = settings->aep.private_key_file,
        .scopes = settings->aep.scopes,
        .technical_account = settings->aep.technical_account,
        .metascope = settings->aep.metascope,
        .sandbox = settings->aep.sandbox,
        .requests_per_second = (double)settings->aep.requests_per_second,
        .window_start = (int)settings->aep.window_start,
        .window_max = (int)settings->aep.window_max,
    };
}

enum err tenant_check_secrets(const struct settings *settings, struct fault *fault)
{
    struct aep_options options = tenant_options(settings);
    if (options.auth == AEP_TOKEN) {
        AUTO(secret_release) struct secret text = { 0 };
        return secret_read_file(options.token_file, &text, fault);
    }
    AUTO(grant_release) struct grant grant;
    grant_init(&grant, &options);
    return grant_make(&grant, 0, clock_wall(), fault);
}

const char *tenant_warning(const struct settings *settings)
{
    if (settings->aep.auth != AUTH_JWT)
        return NULL;
    return "aep.auth: jwt: Adobe ended JWT credentials on 2026-03-01 at the latest; make an "
           "OAuth server-to-server credential in the Developer Console and use aep.auth: oauth";
}
