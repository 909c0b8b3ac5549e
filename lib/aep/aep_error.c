/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an error body says, whoever wrote it: Adobe's gateway, a service, IMS, or a proxy on the
 * way with its HTML page. Pure.
 */
#include "lib/aep/aep_error.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/json.h"
#include "lib/net/http.h"

#define ERROR_BODY_MAX (64 * 1024)

/* A code of the gateway, or an `error` of IMS. What concerns everybody never is ERR_DENIED. */
static const struct {
    const char *code;
    enum err err;
    const char *advice;
} known[] = {
    { "401013", ERR_AUTH, "a token is renewed once; if this stays, check aep.org" },
    { "403010", ERR_CREDENTIAL, "no Authorization arrived: does a proxy remove it?" },
    { "403000", ERR_CREDENTIAL, "no x-api-key arrived: does a proxy remove it?" },
    { "403003", ERR_CREDENTIAL,
      "check aep.client_id; its project needs the Experience Platform API" },
    { "400003", ERR_CREDENTIAL, "check aep.org and aep.sandbox; does a proxy remove headers?" },
    { "403025", ERR_CREDENTIAL,
      "give the credential a product profile of aep.org in the Admin Console" },
    { "403027", ERR_CREDENTIAL,
      "check aep.org, which ends with @AdobeOrg, and the product profiles" },
    { "429050", ERR_THROTTLED, "" },
    { "invalid_client", ERR_CREDENTIAL,
      "check aep.client_id, and whether the Console still lists this client secret" },
    { "invalid_scope", ERR_CREDENTIAL,
      "copy the credential's scopes from the Developer Console to aep.scopes" },
    { "unauthorized_client", ERR_CREDENTIAL,
      "aep.auth: oauth needs an OAuth server-to-server credential" },
    { "unsupported_grant_type", ERR_CREDENTIAL, "check aep.ims_endpoint" },
    { "invalid_grant", ERR_CREDENTIAL,
      "check aep.technical_account, aep.private_key_file and the clock" },
    { "invalid_token", ERR_CREDENTIAL,
      "check aep.technical_account, aep.private_key_file and the clock" },
    { "access_denied", ERR_CREDENTIAL, "is the credential disabled in the Developer Console?" },
};

static void pick_code(const struct json_t *root, char *code, size_t size);
static bool pick_members(const struct json_t *root, char *text, size_t size);
static void plain_text(const char *body, size_t len, char *text, size_t size);

void aep_error_read(struct aep_error *error, int status, const char *body, size_t len)
{
    AUTO_JSON *root = NULL;
    struct fault ignored = { 0 };
    *error = (struct aep_error){ .err = http_status_err(status), .advice = "" };
    aep_error_text(body, len, error->text, sizeof error->text);
    if (json_parse(body, len, ERROR_BODY_MAX, &root, &ignored) == OK)
        pick_code(root, error->code, sizeof error->code);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].code, error->code) == 0) {
            error->err = known[i].err;
            error->advice = known[i].advice;
            return;
        }
    if (error->err == ERR_DENIED)
        error->advice = "the credential's role lacks a permission for this";
}

enum err aep_error_fault(struct fault *fault, const struct aep_error *error, const char *who,
                         int status, const char *id)
{
    return fault_set(fault, error->err, "%s %d: %s%s%s%s%s", who, status,
                     error->text[0] ? error->text : "no message", id ? ", request " : "",
                     id ? id : "", error->advice[0] ? "; " : "", error->advice);
}

void aep_error_text(const char *body, size_t len, char *text, size_t size)
{
    AUTO_JSON *root = NULL;
    struct fault ignored = { 0 };
    text[0] = 0;
    if (json_parse(body, len, ERROR_BODY_MAX, &root, &ignored) ||
        !pick_members(root, text, size))
        plain_text(body, len, text, size);
    text_sanitize(text);
}

static bool member_text(const struct json_t *root, const char *name, char *text, size_t size)
{
    uint64_t number;
    const char *value = json_member_text(root, name);
    text[0] = 0;
    if (value)
        plain_text(value, strlen(value), text, size);
    else if (json_member_u64(root, name, UINT64_MAX, &number) == OK)
        snprintf(text, size, "%llu", (unsigned long long)number);
    return text[0] != 0;
}

/* The gateway's is text or a number. */
static void pick_code(const struct json_t *root, char *code, size_t size)
{
    if (!member_text(root, "error_code", code, size))
        member_text(root, "error", code, size);
}

/* The first row of which any member is there; both together where both are. */
static bool pick_members(const struct json_t *root, char *text, size_t size)
{
    static const struct {
        const char *head, *rest;
    } shape[] = {
        { "error_code", "message" },      /* gateway; the code may be a number */
        { "title", "detail" },            /* problem+json, Schema Registry, older services */
        { "error", "error_description" }, /* IMS */
        { "errorMessage", "message" },
    };
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        char head[256], rest[256];
        bool has_head = member_text(root, shape[i].head, head, sizeof head);
        bool has_rest = member_text(root, shape[i].rest, rest, sizeof rest);
        if (!has_head && !has_rest)
            continue;
        snprintf(text, size, "%s%s%s", head, has_head && has_rest ? ": " : "", rest);
        return true;
    }
    return false;
}

/* Words with one blank between them, markup left out. */
static void plain_text(const char *body, size_t len, char *text, size_t size)
{
    size_t used = 0;
    bool in_tag = false, gap = false;
    for (size_t i = 0; i < len && used + 2 < size; i++) {
        char c = body[i];
        in_tag = c == '<' || (in_tag && c != '>');
        if (in_tag || c == '>' || (unsigned char)c <= ' ') {
            gap = used > 0;
            continue;
        }
        if (gap)
            text[used++] = ' ';
        text[used++] = c;
        gap = false;
    }
    text[used] = 0;
}
