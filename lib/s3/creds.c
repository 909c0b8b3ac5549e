/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Static credentials from the environment or from a profile of an AWS shared credentials file:
 * "[name]" opens a profile, "key = value" fills it, '#' and ';' begin comment lines, indented
 * lines belong to nested settings that do not concern us.
 */
#include "lib/s3/creds.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/mem.h"

#define SECRET_KEY_MAX 512
#define BLANKS         " \t\r"

/* A piece of the file's text, not terminated. */
struct span {
    const char *text;
    size_t len;
};

struct profile {
    struct span access_key, secret_key, session_token;
    bool found;
    struct span foreign; /* a way to get credentials that we do not know */
};

static const struct {
    const char *key;
    size_t offset;
} row[] = {
    { "aws_access_key_id", offsetof(struct profile, access_key) },
    { "aws_secret_access_key", offsetof(struct profile, secret_key) },
    { "aws_session_token", offsetof(struct profile, session_token) },
    { "role_arn", offsetof(struct profile, foreign) },
    { "credential_process", offsetof(struct profile, foreign) },
    { "sso_session", offsetof(struct profile, foreign) },
    { "web_identity_token_file", offsetof(struct profile, foreign) },
};

static enum err load_environment(struct s3_credentials *ret, struct fault *fault);
static enum err load_profile(const char *file, const char *name, struct s3_credentials *ret,
                             struct fault *fault);
static struct profile find_profile(const char *text, const char *name);
static void read_setting(struct span line, struct profile *profile);
static enum err check(const struct s3_credentials *credentials, const char *where,
                      struct fault *fault);

enum err s3_credentials_load(const char *file, const char *profile, struct s3_credentials *ret,
                             struct fault *fault)
{
    struct s3_credentials fresh = { 0 };
    enum err err = file ? load_profile(file, profile ? profile : "default", &fresh, fault)
                        : load_environment(&fresh, fault);
    if (err)
        s3_credentials_release(&fresh);
    else
        *ret = fresh;
    return err;
}

void s3_credentials_release(struct s3_credentials *credentials)
{
    mem_free(credentials->access_key);
    credentials->access_key = NULL;
    secret_release(&credentials->secret_key);
    secret_release(&credentials->session_token);
}

static enum err load_environment(struct s3_credentials *ret, struct fault *fault)
{
    const char *id = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY");
    const char *token = getenv("AWS_SESSION_TOKEN");
    if (!id || !*id || !secret || !*secret)
        return fault_set(fault, ERR_SECRET,
                         "no S3 credentials: set s3.credentials_file, or AWS_ACCESS_KEY_ID and "
                         "AWS_SECRET_ACCESS_KEY in the environment");
    ret->access_key = mem_copy_text(id);
    secret_set(&ret->secret_key, secret, strlen(secret));
    if (token && *token)
        secret_set(&ret->session_token, token, strlen(token));
    return check(ret, "environment", fault);
}

static enum err load_profile(const char *file, const char *name, struct s3_credentials *ret,
                             struct fault *fault)
{
    AUTO(secret_release) struct secret content = { 0 };
    enum err err = secret_read_file(file, &content, fault);
    if (err)
        return err;
    struct profile profile = find_profile(secret_reveal(&content), name);
    if (!profile.found)
        return fault_set(fault, ERR_SECRET, "%s has no profile [%s]: add it or set s3.profile",
                         file, name);
    if (profile.access_key.len == 0 || profile.secret_key.len == 0)
        return fault_set(
            fault, ERR_SECRET,
            "profile [%s] of %s lacks aws_access_key_id or aws_secret_access_key%s", name, file,
            profile.foreign.len ? " (only static keys are read)" : "");
    ret->access_key = mem_copy_bytes(profile.access_key.text, profile.access_key.len);
    secret_set(&ret->secret_key, profile.secret_key.text, profile.secret_key.len);
    if (profile.session_token.len > 0)
        secret_set(&ret->session_token, profile.session_token.text, profile.session_token.len);
    return check(ret, file, fault);
}

static struct span trim(struct span span)
{
    while (span.len > 0 && strchr(BLANKS, span.text[0])) {
        span.text++;
        span.len--;
    }
    while (span.len > 0 && strchr(BLANKS, span.text[span.len - 1]))
        span.len--;
    return span;
}

static bool span_is(struct span span, const char *text)
{
    return strlen(text) == span.len && memcmp(span.text, text, span.len) == 0;
}

static struct profile find_profile(const char *text, const char *name)
{
    struct profile profile = { 0 };
    bool inside = false;
    for (const char *at = text; *at;) {
        struct span line = { at, strcspn(at, "\n") };
        at += line.len + (at[line.len] == '\n');
        bool indented = line.len > 0 && strchr(" \t", line.text[0]);
        line = trim(line);
        if (line.len == 0 || strchr("#;", line.text[0]) || indented)
            continue;
        if (line.text[0] == '[' && line.text[line.len - 1] == ']') {
            inside = span_is(trim((struct span){ line.text + 1, line.len - 2 }), name);
            profile.found = profile.found || inside;
        } else if (inside) {
            read_setting(line, &profile);
        }
    }
    return profile;
}

static void read_setting(struct span line, struct profile *profile)
{
    const char *equals = memchr(line.text, '=', line.len);
    if (!equals)
        return;
    struct span key = trim((struct span){ line.text, (size_t)(equals - line.text) });
    struct span value = { equals + 1, line.len - (size_t)(equals + 1 - line.text) };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
        if (strlen(row[i].key) == key.len && strncasecmp(row[i].key, key.text, key.len) == 0)
            *(struct span *)(void *)((char *)profile + row[i].offset) = trim(value);
}

/* Keys travel in HTTP headers: one stray byte gives an error that nobody understands. */
static bool printable(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text <= 0x20 || (unsigned char)*text >= 0x7f)
            return false;
    return true;
}

static enum err check(const struct s3_credentials *credentials, const char *where,
                      struct fault *fault)
{
    const char *token = secret_reveal(&credentials->session_token);
    if (!printable(credentials->access_key) ||
        !printable(secret_reveal(&credentials->secret_key)) || (token && !printable(token)))
        return fault_set(fault, ERR_SECRET,
                         "S3 credentials in %s contain blanks or other than ASCII characters: "
                         "copy them again",
                         where);
    if (credentials->secret_key.len > SECRET_KEY_MAX)
        return fault_set(fault, ERR_SECRET, "the secret key in %s is longer than %d bytes",
                         where, SECRET_KEY_MAX);
    return OK;
}
