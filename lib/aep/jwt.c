/* SPDX-License-Identifier: Apache-2.0 */
/* Assertions for IMS and the end of its tokens. Pure. */
#include "lib/aep/jwt.h"

#include <string.h>

#include "lib/base/encode.h"
#include "lib/base/json.h"
#include "lib/base/sign.h"

#define ASSERTION_MAX (16 * 1024)
#define SIGNATURE_MAX 4096
#define TIME_MAX_MS   (INT64_MAX / 4)

/* Base64 with the alphabet for URLs, without padding (RFC 7515 §2). */
static void add_base64url(struct buf *out, const void *bytes, size_t len)
{
    AUTO_TEXT char *text = mem_alloc(4 * ((len + 2) / 3) + 1);
    encode_base64(bytes, len, text);
    for (char *at = text; *at && *at != '='; at++)
        buf_add_char(out, *at == '+' ? '-' : *at == '/' ? '_' : *at);
}

static void add_member(struct buf *out, const char *lead, const char *name, const char *value)
{
    buf_print(out, "%s\"%s\":", lead, name);
    json_write_text(out, value, strlen(value));
}

static void write_claims(const struct jwt_claims *claims, struct buf *out)
{
    size_t len = strlen(claims->ims_endpoint);
    while (len > 0 && claims->ims_endpoint[len - 1] == '/')
        len--;
    AUTO_TEXT char *audience =
        mem_print("%.*s/c/%s", (int)len, claims->ims_endpoint, claims->client_id);
    AUTO_TEXT char *scope =
        mem_print("%.*s/s/%s", (int)len, claims->ims_endpoint, claims->metascope);
    add_member(out, "{", "iss", claims->org);
    add_member(out, ",", "sub", claims->technical_account);
    add_member(out, ",", "aud", audience);
    buf_print(out, ",\"exp\":%lld,", (long long)(claims->expires.ms / 1000));
    json_write_text(out, scope, strlen(scope));
    buf_add_text(out, ":true}");
}

enum err jwt_sign(const struct jwt_claims *claims, const struct secret *key, struct buf *out,
                  struct fault *fault)
{
    static const char header[] = "{\"alg\":\"RS256\",\"typ\":\"JWT\"}";
    AUTO_BUF body = BUF_INIT(ASSERTION_MAX);
    AUTO_BUF text = BUF_INIT(ASSERTION_MAX);
    AUTO_BUF signature = BUF_INIT(SIGNATURE_MAX);
    write_claims(claims, &body);
    add_base64url(&text, header, strlen(header));
    buf_add_char(&text, '.');
    add_base64url(&text, buf_text(&body), body.len);
    enum err err = sign_rs256(key, buf_text(&text), text.len, &signature, fault);
    if (err)
        return err;
    buf_add_char(&text, '.');
    add_base64url(&text, buf_text(&signature), signature.len);
    if (body.overflow || text.overflow)
        return fault_set(
            fault, ERR_SECRET,
            "needs a shorter assertion: organisation, account or client id is too long");
    buf_add(out, text.data, text.len);
    return OK;
}

/* The middle one of three parts, decoded; false if there are not three or it is no base64url. */
static bool decode_payload(const char *token, struct buf *ret)
{
    const char *begin = strchr(token, '.'), *end = begin ? strchr(begin + 1, '.') : NULL;
    if (!end || strchr(end + 1, '.') || strlen(token) > JWT_TOKEN_MAX)
        return false;
    AUTO_BUF text = BUF_INIT(JWT_TOKEN_MAX + 4);
    for (const char *at = begin + 1; at < end; at++)
        buf_add_char(&text, *at == '-' ? '+' : *at == '_' ? '/' : *at);
    while (text.len % 4)
        buf_add_char(&text, '=');
    size_t size = text.len, len = 0;
    AUTO_TEXT char *bytes = mem_alloc(size + 1);
    if (decode_base64(buf_text(&text), bytes, size, &len))
        return false;
    buf_add(ret, bytes, len);
    return true;
}

bool jwt_expiry(const char *token, struct wall *ret)
{
    AUTO_BUF payload = BUF_INIT(JWT_TOKEN_MAX);
    AUTO_JSON *root = NULL;
    struct fault ignored = { 0 };
    uint64_t at, created, life;
    if (!decode_payload(token, &payload) ||
        json_parse(buf_text(&payload), payload.len, JWT_TOKEN_MAX, &root, &ignored))
        return false;
    if (json_member_u64(root, "exp", TIME_MAX_MS / 1000, &at) == OK) {
        *ret = (struct wall){ (int64_t)at * 1000 };
        return true;
    }
    if (json_member_u64(root, "created_at", TIME_MAX_MS, &created) ||
        json_member_u64(root, "expires_in", TIME_MAX_MS, &life))
        return false;
    *ret = (struct wall){ (int64_t)(created + life) };
    return true;
}
