/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credential files by their shape. Each shape has one function that finds the object with the
 * credential; what its members are called is one table for all of them. Pure.
 */
#include "lib/aep/credential.h"

#include <string.h>
#include <strings.h>

#include "lib/base/json.h"

#define TEXT_MAX 4096
#define KEY_MAX  (16 * 1024)
#define SHAPES                                                                                 \
    "an aepp config, a Developer Console credential or project, an aio config, or a Postman "  \
    "environment"

/* The kinds of what a member says. */
enum kind { TEXT, LIST, SECRETS, KEY };

static const struct member {
    const char *name;
    enum kind kind;
    size_t offset; /* in struct credential; TEXT and LIST */
} member[] = {
#define AT(field) offsetof(struct credential, field)
    { "org_id", TEXT, AT(org) },
    { "ims_org_id", TEXT, AT(org) },
    { "ims_org", TEXT, AT(org) },
    { "client_id", TEXT, AT(client_id) },
    { "api_key", TEXT, AT(client_id) },
    { "client_secrets", SECRETS, 0 },
    { "client_secret", SECRETS, 0 },
    { "secret", SECRETS, 0 },
    { "scopes", LIST, AT(scopes) },
    { "scope", LIST, AT(scopes) },
    { "sandbox-name", TEXT, AT(sandbox) },
    { "sandbox_name", TEXT, AT(sandbox) },
    { "environment", TEXT, AT(environment) },
    { "technical_account_id", TEXT, AT(technical_account) },
    { "tech_id", TEXT, AT(technical_account) },
    { "pathtokey", TEXT, AT(key_file) },
    { "private_key", KEY, 0 },
#undef AT
};
#define MEMBERS (sizeof member / sizeof *member)

static enum err read_flat(const struct json_t *root, struct credential *ret,
                          struct fault *fault);
static enum err read_project(const struct json_t *root, struct credential *ret,
                             struct fault *fault);
static enum err read_contexts(const struct json_t *root, struct credential *ret,
                              struct fault *fault);
static enum err read_values(const struct json_t *root, struct credential *ret,
                            struct fault *fault);

/* In the order in which they are tried. A path of names says that a file is of this shape. */
static const struct {
    const char *shape, *sign;
    enum err (*read)(const struct json_t *root, struct credential *ret, struct fault *fault);
} shape[] = {
    { "Developer Console project", "project.workspace", read_project },
    { "aio config", "ims.contexts", read_contexts },
    { "aio config", "$ims.contexts", read_contexts },
    { "Postman environment", "values", read_values },
    { "aepp config", "sandbox-name", read_flat },
    { "aepp config", "secret", read_flat },
    { "Developer Console credential", "client_secrets", read_flat },
    { "Developer Console credential", "client_secret", read_flat },
};

#define SHAPE_ROWS (sizeof shape / sizeof *shape)

/* A member by its name in any case; NULL as json_member. */
static const struct json_t *find(const struct json_t *object, const char *name, size_t len)
{
    for (struct json_iter it = json_iter(object); json_iter_next(&it);)
        if (strlen(it.name) == len && strncasecmp(it.name, name, len) == 0)
            return json_member(object, it.name);
    return NULL;
}

/* By names with dots between. */
static const struct json_t *at_path(const struct json_t *value, const char *path)
{
    while (value && *path) {
        size_t len = strcspn(path, ".");
        value = find(value, path, len);
        path += len + (path[len] != 0);
    }
    return value;
}

/* ---- what members say */

/* A text that can be a header, a form field or a path; else it is as if it were not there. */
static bool usable(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return len > 0 && len <= TEXT_MAX;
}

static void take_text(char **slot, const char *text)
{
    if (!*slot && usable(text))
        *slot = mem_copy_text(text);
}

/* Scopes stand in a list, or in one text with commas or blanks between. */
static void take_list(char **slot, const struct json_t *value)
{
    AUTO_BUF out = BUF_INIT(TEXT_MAX);
    size_t count = json_is_array(value) ? json_count(value) : 1;
    for (size_t i = 0; i < count; i++) {
        const char *at = json_text(json_is_array(value) ? json_element(value, i) : value);
        while (at && *at) {
            size_t len = strcspn(at, ", ");
            if (len)
                buf_print(&out, "%s%.*s", out.len ? "," : "", (int)len, at);
            at += len + (at[len] != 0);
        }
    }
    if (!out.overflow)
        take_text(slot, buf_text(&out));
}

static void take_secret(struct credential *ret, const char *text)
{
    if (!text || !usable(text) || ret->secrets == CREDENTIAL_SECRETS)
        return;
    for (size_t i = 0; i < ret->secrets; i++)
        if (strcmp(secret_reveal(&ret->secret[i]), text) == 0)
            return;
    secret_set(&ret->secret[ret->secrets++], text, strlen(text));
}

/* One text, or a list of texts. */
static void take_secrets(struct credential *ret, const struct json_t *value)
{
    take_secret(ret, json_text(value));
    for (size_t i = 0; json_is_array(value) && i < json_count(value); i++)
        take_secret(ret, json_text(json_element(value, i)));
}

/* PEM in one text, or line by line. */
static void take_key(struct credential *ret, const struct json_t *value)
{
    AUTO_BUF out = BUF_INIT(KEY_MAX);
    const char *text = json_text(value);
    if (text)
        buf_add_text(&out, text);
    for (size_t i = 0; json_is_array(value) && i < json_count(value); i++)
        if ((text = json_text(json_element(value, i))))
            buf_print(&out, "%s\n", text);
    if (!ret->private_key.bytes && out.len && !out.overflow &&
        strstr(buf_text(&out), "-----BEGIN"))
        secret_set(&ret->private_key, out.data, out.len);
    mem_wipe(out.data, out.size);
}

static void take_member(struct credential *ret, const struct member *row,
                        const struct json_t *value)
{
    char **slot = (char **)(void *)((char *)ret + row->offset);
    switch (row->kind) {
    case TEXT:
        if (json_text(value))
            take_text(slot, json_text(value));
        break;
    case LIST:
        take_list(slot, value);
        break;
    case SECRETS:
        take_secrets(ret, value);
        break;
    case KEY:
        take_key(ret, value);
        break;
    }
}

static void take_members(struct credential *ret, const struct json_t *object)
{
    for (size_t i = 0; i < MEMBERS; i++)
        take_member(ret, &member[i], find(object, member[i].name, strlen(member[i].name)));
}

/* ---- shapes */

static enum err read_flat(const struct json_t *root, struct credential *ret,
                          struct fault *fault)
{
    (void)fault;
    take_members(ret, root);
    return OK;
}

/* Of several credentials none is better than another. */
static enum err read_project(const struct json_t *root, struct credential *ret,
                             struct fault *fault)
{
    const struct json_t *list = at_path(root, "project.workspace.details.credentials");
    const char *org = json_text(at_path(root, "project.org.ims_org_id"));
    size_t found = 0;
    for (size_t i = 0; json_is_array(list) && i < json_count(list); i++) {
        const struct json_t *entry = json_element(list, i);
        const struct json_t *inner = at_path(entry, "oauth_server_to_server");
        inner = inner ? inner : at_path(entry, "jwt");
        if (inner && ++found == 1)
            take_members(ret, inner);
    }
    if (found > 1)
        return fault_set(fault, ERR_SECRET,
                         "is a project with %zu server-to-server credentials: keep one", found);
    if (org)
        take_text(&ret->org, org);
    return OK;
}

static enum err read_contexts(const struct json_t *root, struct credential *ret,
                              struct fault *fault)
{
    const struct json_t *contexts = at_path(root, "ims.contexts");
    size_t found = 0;
    contexts = contexts ? contexts : at_path(root, "$ims.contexts");
    for (struct json_iter it = json_iter(contexts); json_iter_next(&it);)
        /* The tool keeps its own login here, too: a token, no secret. */
        if ((find(it.value, "client_secrets", 14) || find(it.value, "client_secret", 13)) &&
            ++found == 1)
            take_members(ret, it.value);
    if (found > 1)
        return fault_set(fault, ERR_SECRET,
                         "is an aio config with %zu contexts that have a secret: keep one",
                         found);
    return OK;
}

static bool is_disabled(const struct json_t *entry)
{
    const struct json_t *enabled = find(entry, "enabled", 7);
    return enabled && json_is_false(enabled);
}

static enum err read_values(const struct json_t *root, struct credential *ret,
                            struct fault *fault)
{
    const struct json_t *list = find(root, "values", 6);
    (void)fault;
    for (size_t row = 0; row < MEMBERS; row++)
        for (size_t i = 0; json_is_array(list) && i < json_count(list); i++) {
            const struct json_t *entry = json_element(list, i);
            const char *key = json_text(find(entry, "key", 3));
            if (key && strcasecmp(key, member[row].name) == 0 && !is_disabled(entry))
                take_member(ret, &member[row], find(entry, "value", 5));
        }
    return OK;
}

/* The first shape whose sign is there. */
static enum err read_shape(const struct json_t *root, struct credential *ret,
                           struct fault *fault)
{
    size_t i = 0;
    while (i < SHAPE_ROWS && !at_path(root, shape[i].sign))
        i++;
    if (i == SHAPE_ROWS)
        return fault_set(fault, ERR_SECRET, "has no known shape; known are " SHAPES);
    ret->shape = shape[i].shape;
    enum err err = shape[i].read(root, ret, fault);
    if (!err && !ret->client_id && !ret->secrets)
        err = fault_set(fault, ERR_SECRET,
                        "has the shape of: %s, but holds neither a client id nor a secret",
                        ret->shape);
    return err;
}

enum err credential_parse(const char *text, size_t len, struct credential *ret,
                          struct fault *fault)
{
    AUTO_JSON *root = NULL;
    struct fault detail = { 0 };
    struct credential found = { 0 };
    /* The parser's own message can quote the text, and with it a secret. */
    if (json_parse(text, len, SECRET_FILE_MAX, &root, &detail))
        return fault_set(fault, ERR_SECRET, "is not JSON; known are " SHAPES);
    enum err err = read_shape(root, &found, fault);
    if (err)
        credential_release(&found);
    else
        *ret = found;
    return err;
}

void credential_release(struct credential *credential)
{
    for (size_t i = 0; i < CREDENTIAL_SECRETS; i++)
        secret_release(&credential->secret[i]);
    secret_release(&credential->private_key);
    mem_free(credential->org);
    mem_free(credential->client_id);
    mem_free(credential->scopes);
    mem_free(credential->sandbox);
    mem_free(credential->environment);
    mem_free(credential->technical_account);
    mem_free(credential->key_file);
    *credential = (struct credential){ 0 };
}
