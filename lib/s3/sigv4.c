/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signature Version 4 in its three stages. The canonical request lists what is signed, the
 * string to sign binds its hash to a time and scope, the signature is an HMAC under a key that
 * is derived from the secret key through day, region and service.
 */
#include "lib/s3/sigv4.h"

#include <assert.h>
#include <string.h>

#include "lib/base/encode.h"

#define ALGORITHM  "AWS4-HMAC-SHA256"
#define TERMINATOR "aws4_request"
#define SECRET_MAX 512

static size_t sort_headers(const struct sigv4_request *request, struct sigv4_header *sorted);
static void add_signed_names(const struct sigv4_header *sorted, size_t count, struct buf *out);
static void add_trimmed(struct buf *out, const char *value);
static void add_scope(const struct sigv4_scope *scope, struct buf *out);
static void derive_key(const struct sigv4_scope *scope, uint8_t key[SHA256_SIZE]);

void sigv4_date(struct wall at, char text[17])
{
    wall_format(at, "%Y%m%dT%H%M%SZ", text, 17);
}

void sigv4_canonical_request(const struct sigv4_request *request, struct buf *out)
{
    struct sigv4_header sorted[SIGV4_HEADERS_MAX];
    size_t count = sort_headers(request, sorted);
    buf_print(out, "%s\n%s\n%s\n", request->method, request->path, request->query);
    for (size_t i = 0; i < count; i++) {
        buf_add_text(out, sorted[i].name);
        buf_add_char(out, ':');
        add_trimmed(out, sorted[i].value);
        buf_add_char(out, '\n');
    }
    buf_add_char(out, '\n');
    add_signed_names(sorted, count, out);
    buf_add_char(out, '\n');
    buf_add_text(out, request->payload);
}

void sigv4_string_to_sign(const char *canonical_request, const struct sigv4_scope *scope,
                          struct buf *out)
{
    uint8_t hash[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1], date[17];
    digest_sha256(canonical_request, strlen(canonical_request), hash);
    encode_hex(hash, sizeof hash, hex);
    sigv4_date(scope->at, date);
    buf_print(out, ALGORITHM "\n%s\n", date);
    add_scope(scope, out);
    buf_print(out, "\n%s", hex);
}

void sigv4_signature(const char *string_to_sign, const struct sigv4_scope *scope, char hex[65])
{
    struct sigv4_key fresh = { 0 }, *key = scope->cache ? scope->cache : &fresh;
    char day[9];
    uint8_t mac[SHA256_SIZE];
    wall_format(scope->at, "%Y%m%d", day, sizeof day);
    if (strcmp(key->day, day) != 0) {
        derive_key(scope, key->bytes);
        memcpy(key->day, day, sizeof day);
    }
    digest_hmac_sha256(key->bytes, sizeof key->bytes, string_to_sign, strlen(string_to_sign),
                       mac);
    encode_hex(mac, sizeof mac, hex);
    mem_wipe(&fresh, sizeof fresh);
}

void sigv4_authorization(const struct sigv4_request *request, const struct sigv4_scope *scope,
                         struct buf *out)
{
    AUTO_BUF canonical = BUF_INIT(64 * 1024);
    AUTO_BUF to_sign = BUF_INIT(1024);
    struct sigv4_header sorted[SIGV4_HEADERS_MAX];
    char signature[65];
    sigv4_canonical_request(request, &canonical);
    sigv4_string_to_sign(buf_text(&canonical), scope, &to_sign);
    sigv4_signature(buf_text(&to_sign), scope, signature);
    buf_print(out, ALGORITHM " Credential=%s/", scope->access_key);
    add_scope(scope, out);
    buf_add_text(out, ", SignedHeaders=");
    add_signed_names(sorted, sort_headers(request, sorted), out);
    buf_print(out, ", Signature=%s", signature);
    mem_wipe(canonical.data, canonical.size); /* may hold the session token */
}

/* By name alone, not by "name:value": x-amz-meta-a goes before x-amz-meta-a-b. */
static size_t sort_headers(const struct sigv4_request *request, struct sigv4_header *sorted)
{
    assert(request->headers <= SIGV4_HEADERS_MAX);
    for (size_t i = 0; i < request->headers; i++) {
        size_t at = i;
        for (; at > 0 && strcmp(sorted[at - 1].name, request->header[i].name) > 0; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = request->header[i];
    }
    return request->headers;
}

static void add_signed_names(const struct sigv4_header *sorted, size_t count, struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_add_char(out, ';');
        buf_add_text(out, sorted[i].name);
    }
}

/* Without blanks at both ends, and with one blank for each run of them inside. */
static void add_trimmed(struct buf *out, const char *value)
{
    for (const char *word = value + strspn(value, " \t"); *word;) {
        size_t len = strcspn(word, " \t");
        buf_add(out, word, len);
        word += len + strspn(word + len, " \t");
        if (*word)
            buf_add_char(out, ' ');
    }
}

static void add_scope(const struct sigv4_scope *scope, struct buf *out)
{
    char day[9];
    wall_format(scope->at, "%Y%m%d", day, sizeof day);
    buf_print(out, "%s/%s/%s/" TERMINATOR, day, scope->region, scope->service);
}

static void derive_key(const struct sigv4_scope *scope, uint8_t key[SHA256_SIZE])
{
    static const char prefix[] = "AWS4";
    const size_t prefix_len = sizeof prefix - 1;
    char day[9], secret[SECRET_MAX + sizeof prefix];
    size_t len = strnlen(scope->secret_key, SECRET_MAX);
    memcpy(secret, prefix, prefix_len);
    memcpy(secret + prefix_len, scope->secret_key, len);
    wall_format(scope->at, "%Y%m%d", day, sizeof day);

    digest_hmac_sha256(secret, prefix_len + len, day, strlen(day), key);
    const char *const step[] = { scope->region, scope->service, TERMINATOR };
    for (size_t i = 0; i < sizeof step / sizeof step[0]; i++)
        digest_hmac_sha256(key, SHA256_SIZE, step[i], strlen(step[i]), key);
    mem_wipe(secret, sizeof secret);
}
