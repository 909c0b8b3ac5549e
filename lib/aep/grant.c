/* SPDX-License-Identifier: Apache-2.0 */
/* The form of a token request, from the files that hold its secrets. */
#include "lib/aep/grant.h"

#include <string.h>

#include "lib/aep/jwt.h"
#include "lib/base/encode.h"

#define FORM_MAX          (64 * 1024)
#define ASSERTION_MAX     (16 * 1024)
#define ASSERTION_LIFE_MS (15 * 60 * 1000)

void grant_init(struct grant *grant, const struct aep_options *options)
{
    size_t len = strlen(options->ims_endpoint);
    while (len > 0 && options->ims_endpoint[len - 1] == '/')
        len--;
    *grant = (struct grant){ .auth = options->auth };
    grant->ims_endpoint = mem_copy_bytes(options->ims_endpoint, len);
    grant->url = mem_print("%s%s", grant->ims_endpoint,
                           options->auth == AEP_JWT ? "/ims/exchange/jwt" : "/ims/token/v3");
    mem_set_text(&grant->org, options->org);
    mem_set_text(&grant->client_id, options->client_id);
    mem_set_text(&grant->scopes, options->scopes);
    mem_set_text(&grant->technical_account, options->technical_account);
    mem_set_text(&grant->metascope, options->metascope);
    mem_set_text(&grant->secret_file, options->client_secret_file);
    mem_set_text(&grant->credential_file, options->credential_file);
    mem_set_text(&grant->key_file, options->private_key_file);
}

void grant_release(struct grant *grant)
{
    grant_forget(grant);
    mem_free(grant->url);
    mem_free(grant->ims_endpoint);
    mem_free(grant->org);
    mem_free(grant->client_id);
    mem_free(grant->scopes);
    mem_free(grant->technical_account);
    mem_free(grant->metascope);
    mem_free(grant->secret_file);
    mem_free(grant->credential_file);
    mem_free(grant->key_file);
    *grant = (struct grant){ 0 };
}

void grant_forget(struct grant *grant)
{
    for (size_t i = 0; i < CREDENTIAL_SECRETS; i++)
        secret_release(&grant->secret[i]);
    secret_release(&grant->key);
    secret_release(&grant->assertion);
    grant->secrets = 0;
    mem_wipe(grant->form.data, grant->form.size);
    buf_release(&grant->form);
}

/* ---- files */

enum err grant_read_credential(const char *file, struct credential *ret, struct fault *fault)
{
    AUTO(secret_release) struct secret text = { 0 };
    struct fault detail = { 0 };
    if (secret_read_file(file, &text, fault))
        return fault->code;
    if (credential_parse(secret_reveal(&text), text.len, ret, &detail))
        return fault_set(fault, detail.code, "credential file %s %s", file, detail.text);
    return OK;
}

static enum err read_secret_file(struct grant *grant, struct fault *fault)
{
    AUTO(secret_release) struct secret text = { 0 };
    if (secret_read_file(grant->secret_file, &text, fault))
        return fault->code;
    grant->secrets = secret_lines(&text, grant->secret, CREDENTIAL_SECRETS);
    if (grant->secrets == 0 || grant->secrets > CREDENTIAL_SECRETS)
        return fault_set(
            fault, ERR_SECRET,
            "secret file %s has %zu lines: one client secret in each of one or two",
            grant->secret_file, grant->secrets);
    return OK;
}

/* Only what is secret: the rest has been settled at the start. */
static enum err use_credential(struct grant *grant, struct credential *credential,
                               struct fault *fault)
{
    if (credential->client_id && strcmp(credential->client_id, grant->client_id) != 0)
        return fault_set(fault, ERR_SECRET,
                         "credential file %s is now that of client %.40s: restart to use it",
                         grant->credential_file, credential->client_id);
    if (!grant->secret_file) {
        grant->secrets = credential->secrets;
        for (size_t i = 0; i < credential->secrets; i++)
            secret_set(&grant->secret[i], secret_reveal(&credential->secret[i]),
                       credential->secret[i].len);
    }
    if (!grant->key_file && secret_reveal(&credential->private_key))
        secret_set(&grant->key, secret_reveal(&credential->private_key),
                   credential->private_key.len);
    return OK;
}

static enum err read_credential(struct grant *grant, struct fault *fault)
{
    AUTO(credential_release) struct credential credential = { 0 };
    bool secret_here = !grant->secret_file;
    bool key_here = grant->auth == AEP_JWT && !grant->key_file;
    if (!grant->credential_file || (!secret_here && !key_here))
        return OK;
    enum err err = grant_read_credential(grant->credential_file, &credential, fault);
    return err ? err : use_credential(grant, &credential, fault);
}

static enum err read_files(struct grant *grant, struct fault *fault)
{
    enum err err = grant->secret_file ? read_secret_file(grant, fault) : OK;
    if (!err)
        err = read_credential(grant, fault);
    if (err)
        return err;
    if (grant->secrets == 0)
        return fault_set(fault, ERR_SECRET, "no client secret: %s%s",
                         grant->credential_file ? "none in credential file "
                                                : "set aep.client_secret_file",
                         grant->credential_file ? grant->credential_file : "");
    if (grant->auth != AEP_JWT)
        return OK;
    if (grant->key_file)
        return secret_read_file(grant->key_file, &grant->key, fault);
    return secret_reveal(&grant->key)
               ? OK
               : fault_set(fault, ERR_SECRET, "no private key: set aep.private_key_file");
}

/* ---- the form */

static enum err sign_assertion(struct grant *grant, struct wall now, struct fault *fault)
{
    AUTO_BUF text = BUF_INIT(ASSERTION_MAX);
    struct fault detail = { 0 };
    struct jwt_claims claims = {
        .org = grant->org,
        .technical_account = grant->technical_account,
        .ims_endpoint = grant->ims_endpoint,
        .client_id = grant->client_id,
        .metascope = grant->metascope,
        .expires = { now.ms + ASSERTION_LIFE_MS },
    };
    if (jwt_sign(&claims, &grant->key, &text, &detail))
        return fault_set(fault, detail.code, "private key %s %s",
                         grant->key_file ? grant->key_file : grant->credential_file,
                         detail.text);
    secret_set(&grant->assertion, text.data, text.len);
    mem_wipe(text.data, text.size);
    return OK;
}

struct field {
    const char *name, *text;
};

static void write_form(struct grant *grant, const struct field *field, size_t fields)
{
    size_t size = 256;
    for (size_t i = 0; i < fields; i++)
        size += 3 * strlen(field[i].text);
    /* Sized in advance: growing would leave copies of the secret behind. */
    grant->form = (struct buf){ .data = mem_alloc(size), .size = size, .max = size - 1 };
    for (size_t i = 0; i < fields; i++) {
        buf_print(&grant->form, "%s%s=", i ? "&" : "", field[i].name);
        encode_percent(&grant->form, field[i].text, strlen(field[i].text), "");
    }
    assert(!grant->form.overflow);
}

enum err grant_make(struct grant *grant, size_t which, struct wall now, struct fault *fault)
{
    grant_forget(grant);
    enum err err = read_files(grant, fault);
    if (err)
        return err;
    grant->which = which < grant->secrets ? which : 0;
    const char *secret = secret_reveal(&grant->secret[grant->which]);
    const struct field oauth[] = {
        { "grant_type", "client_credentials" },
        { "client_id", grant->client_id },
        { "scope", grant->scopes ? grant->scopes : "" },
        { "client_secret", secret },
    };
    if (grant->auth != AEP_JWT) {
        write_form(grant, oauth, sizeof oauth / sizeof *oauth);
        return OK;
    }
    err = sign_assertion(grant, now, fault);
    if (err)
        return err;
    const struct field exchange[] = {
        { "client_id", grant->client_id },
        { "client_secret", secret },
        { "jwt_token", secret_reveal(&grant->assertion) },
    };
    write_form(grant, exchange, sizeof exchange / sizeof *exchange);
    return OK;
}

static void redact_encoded(const struct secret *secret, char *text)
{
    AUTO_BUF encoded = BUF_INIT(FORM_MAX);
    AUTO(secret_release) struct secret other = { 0 };
    if (!secret->bytes)
        return;
    encode_percent(&encoded, secret_reveal(secret), secret->len, "");
    secret_set(&other, buf_text(&encoded), encoded.len);
    secret_redact(&other, text);
    secret_redact(secret, text);
    mem_wipe(encoded.data, encoded.size);
}

void grant_redact(const struct grant *grant, char *text)
{
    redact_encoded(&grant->secret[grant->which], text);
    redact_encoded(&grant->assertion, text);
}
