/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is sent. One row per header says for which operations it exists; its function gives the
 * value, or NULL where it does not apply. All headers are signed. URL and signature are made of
 * the same encoded path and query.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/base/encode.h"
#include "lib/s3/client.h"
#include "lib/s3/xml.h"

#define PARTS_PER_PAGE 1000
#define PART_XML_MAX   2048 /* bytes of one <Part> in a Complete */

#define ON(op) (1u << (op))
#define EVERY  (ON(S3_OPS) - 1)
#define OF_BUCKET                                                                              \
    (ON(S3_LIST) |                                                                             \
     ON(S3_LIST_UPLOADS)) /* the bucket is the resource, the key is a prefix in the query */
#define OF_UPLOADS (ON(S3_PART) | ON(S3_COMPLETE) | ON(S3_ABORT) | ON(S3_LIST_PARTS))

static const char *const method[S3_OPS] = {
    [S3_PUT] = "PUT",          [S3_CREATE] = "POST",   [S3_PART] = "PUT",
    [S3_COMPLETE] = "POST",    [S3_ABORT] = "DELETE",  [S3_LIST_PARTS] = "GET",
    [S3_HEAD] = "HEAD",        [S3_GET] = "GET",       [S3_LIST] = "GET",
    [S3_LIST_UPLOADS] = "GET", [S3_DELETE] = "DELETE",
};

/* What a header's value can be made of. */
struct source {
    const struct s3_options *options;
    const struct s3_endpoint *endpoint;
    const struct s3_call *call;
    const char *payload;
    struct s3_request *request;
};

static const char *host(const struct source *from);
static const char *payload_hash(const struct source *from);
static const char *date(const struct source *from);
static const char *session_token(const struct source *from);
static const char *content_type(const struct source *from);
static const char *create_only(const struct source *from);
static const char *body_checksum(const struct source *from);
static const char *object_checksum(const struct source *from);
static const char *checksum_algorithm(const struct source *from);
static const char *checksum_type(const struct source *from);
static const char *checksum_mode(const struct source *from);
static const char *object_size(const struct source *from);
static const char *fingerprint(const struct source *from);
static const char *checksum_note(const struct source *from);
static const char *range(const struct source *from);

static const struct {
    const char *name;
    unsigned ops;
    const char *(*value)(const struct source *from);
} row[] = {
    { "host", EVERY, host },
    { "x-amz-content-sha256", EVERY, payload_hash },
    { "x-amz-date", EVERY, date },
    { "x-amz-security-token", EVERY, session_token },
    { "content-type", ON(S3_PUT) | ON(S3_CREATE) | ON(S3_COMPLETE), content_type },
    { "if-none-match", ON(S3_PUT) | ON(S3_COMPLETE), create_only },
    { "x-amz-checksum-crc32c", ON(S3_PUT) | ON(S3_PART), body_checksum },
    { "x-amz-checksum-crc32c", ON(S3_COMPLETE), object_checksum },
    { "x-amz-checksum-algorithm", ON(S3_CREATE), checksum_algorithm },
    { "x-amz-checksum-type", ON(S3_CREATE) | ON(S3_COMPLETE), checksum_type },
    { "x-amz-checksum-mode", ON(S3_HEAD) | ON(S3_GET), checksum_mode },
    { "x-amz-mp-object-size", ON(S3_COMPLETE), object_size },
    { "x-amz-meta-sluice-src", ON(S3_PUT) | ON(S3_CREATE), fingerprint },
    { "x-amz-meta-sluice-crc32c", ON(S3_PUT), checksum_note },
    { "range", ON(S3_GET), range },
};

static void add_part_list(struct buf *out, const struct s3_call *call, bool checksums);
static void add_query(struct buf *out, const struct s3_call *call, int marker);
static void sign(struct s3 *s3, const char *payload, struct wall at,
                 struct s3_request *request);
static void crc32c_text(uint32_t crc, char text[9]);

/* ---- endpoint */

void s3_endpoint_init(struct s3_endpoint *endpoint, const struct s3_options *options)
{
    const char *scheme_end = strstr(options->endpoint, "://");
    const char *authority = scheme_end ? scheme_end + 3 : options->endpoint;
    size_t authority_len = strcspn(authority, "/");
    const char *path = authority + authority_len;
    size_t path_len = strlen(path);
    while (path_len > 0 && path[path_len - 1] == '/')
        path_len--;
    endpoint->tls = strncasecmp(options->endpoint, "https://", 8) == 0;

    /* No client sends a default port in Host, so it must not be signed either. */
    const char *port = endpoint->tls ? ":443" : ":80";
    size_t port_len = strlen(port);
    if (authority_len > port_len &&
        memcmp(authority + authority_len - port_len, port, port_len) == 0)
        authority_len -= port_len;

    bool path_style = options->path_style;
    endpoint->host = mem_print("%s%s%.*s", path_style ? "" : options->bucket,
                               path_style ? "" : ".", (int)authority_len, authority);
    endpoint->origin = mem_print("%.*s%s", (int)(authority - options->endpoint),
                                 options->endpoint, endpoint->host);
    endpoint->path = mem_print("%.*s%s%s", (int)path_len, path, path_style ? "/" : "",
                               path_style ? options->bucket : "");
}

void s3_endpoint_release(struct s3_endpoint *endpoint)
{
    mem_free(endpoint->origin);
    mem_free(endpoint->host);
    mem_free(endpoint->path);
    *endpoint = (struct s3_endpoint){ 0 };
}

/* ---- once per call */

/* TLS and a checksum that the store verifies replace the hash of the body. */
static bool is_unsigned(const struct s3 *s3, const struct s3_call *call)
{
    const struct s3_options *options = s3->options;
    if (call->op != S3_PUT && call->op != S3_PART)
        return false;
    if (options->payload == S3_PAYLOAD_AUTO)
        return s3->endpoint.tls && options->traits.checks_crc32c;
    return options->payload == S3_PAYLOAD_UNSIGNED;
}

void s3_request_prepare(struct s3_try *attempt)
{
    const struct s3_call *call = attempt->call;
    const void *body = call->body;
    size_t len = call->op == S3_PUT || call->op == S3_PART ? call->body_len : 0;
    if (call->op == S3_COMPLETE) {
        buf_init(&attempt->document, call->part_count * PART_XML_MAX + PART_XML_MAX);
        add_part_list(&attempt->document, call, attempt->s3->options->traits.checks_crc32c);
        body = buf_text(&attempt->document);
        len = attempt->document.len;
    }
    attempt->body = len > 0 ? body : NULL;
    attempt->body_len = len;
    if (is_unsigned(attempt->s3, call)) {
        snprintf(attempt->payload, sizeof attempt->payload, "%s", SIGV4_UNSIGNED);
        return;
    }
    uint8_t hash[SHA256_SIZE];
    digest_sha256(len > 0 ? body : "", len, hash);
    encode_hex(hash, sizeof hash, attempt->payload);
}

static void add_part_list(struct buf *out, const struct s3_call *call, bool checksums)
{
    buf_add_text(out, "<CompleteMultipartUpload "
                      "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (size_t i = 0; i < call->part_count; i++) {
        const struct s3_part *part = &call->parts[i];
        char crc[9];
        buf_print(out, "<Part><PartNumber>%d</PartNumber><ETag>\"", part->number);
        xml_add_text(out, part->etag);
        buf_add_text(out, "\"</ETag>");
        if (checksums && part->has_crc32c) {
            crc32c_text(part->crc32c, crc);
            buf_print(out, "<ChecksumCRC32C>%s</ChecksumCRC32C>", crc);
        }
        buf_add_text(out, "</Part>");
    }
    buf_add_text(out, "</CompleteMultipartUpload>");
}

/* ---- once per request */

void s3_request_build(const struct s3_try *attempt, struct wall at, struct s3_request *ret)
{
    struct s3 *s3 = attempt->s3;
    const struct s3_call *call = attempt->call;
    *ret = (struct s3_request){
        .credentials = s3->options->credentials,
        .method = method[call->op],
        .path = BUF_INIT(16 * 1024),
        .query = BUF_INIT(4 * 1024),
        .url = BUF_INIT(24 * 1024),
        .authorization = BUF_INIT(4 * 1024),
    };
    sigv4_date(at, ret->date);
    buf_print(&ret->path, "%s/", s3->endpoint.path);
    if (!(ON(call->op) & OF_BUCKET))
        encode_percent(&ret->path, call->key, strlen(call->key), "/");
    add_query(&ret->query, call, attempt->marker);
    buf_print(&ret->url, "%s%s%s%s", s3->endpoint.origin, buf_text(&ret->path),
              ret->query.len ? "?" : "", buf_text(&ret->query));

    struct source from = { s3->options, &s3->endpoint, call, attempt->payload, ret };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        const char *value = row[i].ops & ON(call->op) ? row[i].value(&from) : NULL;
        if (value)
            ret->header[ret->headers++] = (struct sigv4_header){ row[i].name, value };
    }
    sign(s3, attempt->payload, at, ret);
}

void s3_request_release(struct s3_request *request)
{
    buf_release(&request->path);
    buf_release(&request->query);
    buf_release(&request->url);
    buf_release(&request->authorization);
}

static void add_list_query(struct buf *out, const struct s3_call *call)
{
    if (call->token) {
        buf_add_text(out, "continuation-token=");
        encode_percent(out, call->token, strlen(call->token), "");
        buf_add_char(out, '&');
    }
    buf_print(out, "encoding-type=url&list-type=2&max-keys=%d&prefix=", S3_LIST_PAGE);
    encode_percent(out, call->key, strlen(call->key), "");
}

static void add_uploads_query(struct buf *out, const struct s3_call *call)
{
    if (call->token) {
        buf_add_text(out, "key-marker=");
        encode_percent(out, call->token, strlen(call->token), "");
        buf_add_char(out, '&');
    }
    buf_print(out, "max-uploads=%d&prefix=", S3_UPLOADS_PAGE);
    encode_percent(out, call->key, strlen(call->key), "");
    if (call->token) {
        buf_add_text(out, "&upload-id-marker=");
        encode_percent(out, call->upload_id, strlen(call->upload_id), "");
    }
    buf_add_text(out, "&uploads=");
}

/* Canonical: encoded, sorted by name, "=" even without a value. */
static void add_query(struct buf *out, const struct s3_call *call, int marker)
{
    if (call->op == S3_LIST)
        add_list_query(out, call);
    if (call->op == S3_LIST_UPLOADS)
        add_uploads_query(out, call);
    if (call->op == S3_CREATE)
        buf_add_text(out, "uploads=");
    if (call->op == S3_LIST_PARTS)
        buf_print(out, "max-parts=%d&part-number-marker=%d&", PARTS_PER_PAGE, marker);
    if (call->op == S3_PART)
        buf_print(out, "partNumber=%d&", call->part_number);
    if (ON(call->op) & OF_UPLOADS) {
        buf_add_text(out, "uploadId=");
        encode_percent(out, call->upload_id, strlen(call->upload_id), "");
    }
}

static void sign(struct s3 *s3, const char *payload, struct wall at, struct s3_request *request)
{
    const struct s3_options *options = s3->options;
    const struct sigv4_request to_sign = {
        .method = request->method,
        .path = buf_text(&request->path),
        .query = buf_text(&request->query),
        .header = request->header,
        .headers = request->headers,
        .payload = payload,
    };
    if (s3->signer != request->credentials)
        mem_wipe(&s3->signing_key, sizeof s3->signing_key);
    s3->signer = request->credentials;
    const struct sigv4_scope scope = {
        .access_key = request->credentials->access_key,
        .secret_key = secret_reveal(&request->credentials->secret_key),
        .region = options->region,
        .service = "s3",
        .at = at,
        .cache = &s3->signing_key,
    };
    sigv4_authorization(&to_sign, &scope, &request->authorization);
}

/* ---- header values */

static const char *host(const struct source *from)
{
    return from->endpoint->host;
}

static const char *payload_hash(const struct source *from)
{
    return from->payload;
}

static const char *date(const struct source *from)
{
    return from->request->date;
}

static const char *session_token(const struct source *from)
{
    return secret_reveal(&from->request->credentials->session_token);
}

static const char *content_type(const struct source *from)
{
    if (from->call->op == S3_COMPLETE)
        return "application/xml";
    return from->call->content_type ? from->call->content_type : "application/octet-stream";
}

static const char *create_only(const struct source *from)
{
    const struct s3_call *call = from->call;
    const struct s3_traits *traits = &from->options->traits;
    bool can = call->op == S3_PUT ? traits->conditional_put : traits->conditional_complete;
    return call->create_only && (can || call->force) ? "*" : NULL;
}

/* A store that does not check it may refuse it; unsigned bodies have no other protection. */
static const char *body_checksum(const struct source *from)
{
    const struct s3_options *options = from->options;
    if (!options->traits.checks_crc32c && options->payload != S3_PAYLOAD_UNSIGNED &&
        !from->call->force)
        return NULL;
    crc32c_text(from->call->body_crc32c, from->request->crc32c);
    return from->request->crc32c;
}

static const char *object_checksum(const struct source *from)
{
    if (!from->options->traits.checks_crc32c)
        return NULL;
    crc32c_text(from->call->crc32c, from->request->crc32c);
    return from->request->crc32c;
}

static const char *checksum_algorithm(const struct source *from)
{
    return from->options->traits.checks_crc32c ? "CRC32C" : NULL;
}

static const char *checksum_type(const struct source *from)
{
    return from->options->traits.checks_crc32c ? "FULL_OBJECT" : NULL;
}

static const char *checksum_mode(const struct source *from)
{
    return from->options->traits.checks_crc32c ? "ENABLED" : NULL;
}

static const char *object_size(const struct source *from)
{
    if (!from->options->traits.checks_crc32c)
        return NULL;
    snprintf(from->request->size, sizeof from->request->size, "%lld",
             (long long)from->call->size);
    return from->request->size;
}

static const char *fingerprint(const struct source *from)
{
    return from->call->source;
}

/* Lets HEAD compare on stores that keep no checksum. */
static const char *checksum_note(const struct source *from)
{
    snprintf(from->request->crc32c_hex, sizeof from->request->crc32c_hex, "%08x",
             from->call->body_crc32c);
    return from->request->crc32c_hex;
}

static const char *range(const struct source *from)
{
    const struct s3_call *call = from->call;
    char *text = from->request->range;
    if (call->range_len == 0)
        return NULL;
    snprintf(text, sizeof from->request->range, "bytes=%" PRId64 "-%" PRId64, call->range_at,
             call->range_at + call->range_len - 1);
    return text;
}

static void crc32c_text(uint32_t crc, char text[9])
{
    const uint8_t big_endian[4] = { (uint8_t)(crc >> 24), (uint8_t)(crc >> 16),
                                    (uint8_t)(crc >> 8), (uint8_t)crc };
    encode_base64(big_endian, sizeof big_endian, text);
}
