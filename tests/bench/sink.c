/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The benchmark's S3: drops what it is sent and answers in the shape of S3, remembering what a
 * verifying client asks back. Honours If-None-Match: *, and refuses a wrong
 * x-amz-checksum-crc32c where it kept the body. It looks neither at signatures nor at the part
 * list of Complete: it must cost as little as it can.
 *
 *   sink [-d delay_ms] [-c certificate -k key]
 */
#include "httpd.h"
#include "store.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define LIST_PARTS 1000
#define LIST_KEYS  1000
#define KEY_MAX    2048
#define XML        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define XMLNS      " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""
#define OWN_FOLDER "/_sluice/"
#define MANIFESTS  "/_sluice/manifests/"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_llong requests, data_requests, data_bytes, objects, manifests, first_object_us,
    last_manifest_us;

/* An answer is written under the lock and sent after it. */
struct reply {
    const char *status;
    char extra[STORE_META_MAX + 512];
    char *body; /* of its own, or NULL */
    size_t len;
    bool head_only;
};

static void refuse(struct reply *reply, const char *status, const char *code)
{
    reply->status = status;
    free(reply->body);
    int n = asprintf(&reply->body, XML "<Error><Code>%s</Code><Message>%s</Message></Error>",
                     code, code);
    reply->len = n < 0 ? 0 : (size_t)n;
}

static uint32_t crc32c(const char *data, size_t len)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned char)data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static bool checksum_wrong(const struct httpd_req *req, const char *want)
{
    if (!want || !req->body)
        return false;
    uint32_t crc = crc32c(req->body, (size_t)req->body_len);
    unsigned char bytes[] = { (unsigned char)(crc >> 24), (unsigned char)(crc >> 16),
                              (unsigned char)(crc >> 8), (unsigned char)crc };
    unsigned char text[9];
    EVP_EncodeBlock(text, bytes, sizeof bytes);
    return strcmp((char *)text, want) != 0;
}

/* S3 refuses to create over an existing object if it is asked to. */
static bool must_not_exist(const struct httpd_req *req)
{
    const char *match = httpd_header(req, "If-None-Match");
    return match && strcmp(match, "*") == 0 && store_find(req->path);
}

static void copy_meta(const struct httpd_req *req, char meta[STORE_META_MAX])
{
    size_t len = 0;
    meta[0] = '\0';
    for (size_t i = 0; i < req->headers; i++) {
        if (strncasecmp(req->header[i].name, "x-amz-meta-", 11) != 0)
            continue;
        int n = snprintf(meta + len, STORE_META_MAX - len, "%s: %s\r\n", req->header[i].name,
                         req->header[i].value);
        if (n < 0 || (size_t)n >= STORE_META_MAX - len) {
            meta[len] = '\0';
            return;
        }
        len += (size_t)n;
    }
}

static void copy_crc(char to[STORE_CRC_TEXT], const char *crc)
{
    snprintf(to, STORE_CRC_TEXT, "%s", crc ? crc : "");
}

static void print_tag(struct reply *reply, uint64_t tag, const char *crc, const char *more)
{
    int n = snprintf(reply->extra, sizeof reply->extra, "ETag: \"%032llx\"\r\n%s",
                     (unsigned long long)tag, more);
    if (*crc && n > 0 && (size_t)n < sizeof reply->extra)
        snprintf(reply->extra + n, sizeof reply->extra - (size_t)n,
                 "x-amz-checksum-crc32c: %s\r\nx-amz-checksum-type: FULL_OBJECT\r\n", crc);
}

static void count_object(const char *key)
{
    long long now = httpd_now_us(), none = 0;
    if (strstr(key, MANIFESTS)) {
        last_manifest_us = now;
        atomic_fetch_add(&manifests, 1);
    } else if (!strstr(key, OWN_FOLDER)) {
        atomic_compare_exchange_strong(&first_object_us, &none, now);
        atomic_fetch_add(&objects, 1);
    }
}

static void put_object(const struct httpd_req *req, struct reply *reply)
{
    const char *crc = httpd_header(req, "x-amz-checksum-crc32c");
    if (must_not_exist(req)) {
        refuse(reply, "412 Precondition Failed", "PreconditionFailed");
        return;
    }
    if (checksum_wrong(req, crc)) {
        refuse(reply, "400 Bad Request", "BadDigest");
        return;
    }
    struct store_object *object = store_put(req->path);
    object->size = (int64_t)req->body_len;
    copy_crc(object->crc32c, crc);
    copy_meta(req, object->meta);
    if (req->body && (object->body = malloc(req->body_len + 1)))
        memcpy(object->body, req->body, req->body_len);
    print_tag(reply, object->tag, object->crc32c, "");
    count_object(req->path);
}

static struct store_upload *find_upload(const struct httpd_req *req, struct reply *reply)
{
    const char *id = httpd_param(req, "uploadId");
    struct store_upload *upload =
        store_upload_find(strtoull(id ? id : "0", NULL, 10), req->path);
    if (!upload)
        refuse(reply, "404 Not Found", "NoSuchUpload");
    return upload;
}

static void put_part(const struct httpd_req *req, struct reply *reply)
{
    struct store_upload *upload = find_upload(req, reply);
    int64_t number = httpd_param_number(req, "partNumber", 0);
    const char *crc = httpd_header(req, "x-amz-checksum-crc32c");
    if (!upload)
        return;
    if (number < 1 || number > STORE_PARTS) {
        refuse(reply, "400 Bad Request", "InvalidArgument");
        return;
    }
    if (checksum_wrong(req, crc)) {
        refuse(reply, "400 Bad Request", "BadDigest");
        return;
    }
    struct store_part *part = store_upload_put(upload, (int)number, (int64_t)req->body_len);
    copy_crc(part->crc32c, crc);
    print_tag(reply, part->tag, part->crc32c, "");
}

static void create_upload(const struct httpd_req *req, struct reply *reply)
{
    char meta[STORE_META_MAX];
    copy_meta(req, meta);
    const struct store_upload *upload = store_upload_new(req->path, meta);
    int n = asprintf(&reply->body,
                     XML "<InitiateMultipartUploadResult" XMLNS "><Bucket>bench</Bucket><Key>%s"
                         "</Key><UploadId>%llu</UploadId></InitiateMultipartUploadResult>",
                     req->path, (unsigned long long)upload->id);
    reply->len = n < 0 ? 0 : (size_t)n;
}

static void complete_upload(const struct httpd_req *req, struct reply *reply)
{
    struct store_upload *upload = find_upload(req, reply);
    if (!upload)
        return;
    const char *said = httpd_header(req, "x-amz-mp-object-size");
    int64_t size = store_upload_bytes(upload);
    if (must_not_exist(req)) {
        refuse(reply, "412 Precondition Failed", "PreconditionFailed");
        return;
    }
    if (said && strtoll(said, NULL, 10) != size) {
        refuse(reply, "400 Bad Request", "InvalidRequest");
        return;
    }
    struct store_object *object = store_put(req->path);
    object->size = size;
    copy_crc(object->crc32c, httpd_header(req, "x-amz-checksum-crc32c"));
    snprintf(object->meta, sizeof object->meta, "%s", upload->meta);
    store_upload_free(upload);
    int n = asprintf(
        &reply->body,
        XML "<CompleteMultipartUploadResult" XMLNS "><Key>%s</Key><ETag>&quot;%032llx"
            "&quot;</ETag>%s%s%s</CompleteMultipartUploadResult>",
        req->path, (unsigned long long)object->tag, *object->crc32c ? "<ChecksumCRC32C>" : "",
        object->crc32c,
        *object->crc32c ? "</ChecksumCRC32C><ChecksumType>FULL_OBJECT</ChecksumType>" : "");
    reply->len = n < 0 ? 0 : (size_t)n;
    count_object(req->path);
}

static void abort_upload(const struct httpd_req *req, struct reply *reply)
{
    struct store_upload *upload = find_upload(req, reply);
    if (!upload)
        return;
    store_upload_free(upload);
    reply->status = "204 No Content";
}

static void print_part(FILE *out, int number, const struct store_part *part)
{
    fprintf(
        out,
        "<Part><PartNumber>%d</PartNumber><ETag>&quot;%032llx&quot;</ETag><Size>%lld</Size>",
        number, (unsigned long long)part->tag, (long long)part->size);
    if (*part->crc32c)
        fprintf(out, "<ChecksumCRC32C>%s</ChecksumCRC32C>", part->crc32c);
    fprintf(out, "</Part>");
}

static void list_parts(const struct httpd_req *req, struct reply *reply)
{
    struct store_upload *upload = find_upload(req, reply);
    FILE *out = upload ? open_memstream(&reply->body, &reply->len) : NULL;
    if (!out)
        return;
    int64_t after = httpd_param_number(req, "part-number-marker", 0);
    int64_t most = httpd_param_number(req, "max-parts", LIST_PARTS), given = 0;
    int number = after > 0 ? (int)after : 0, last = number;
    fprintf(out, XML "<ListPartsResult" XMLNS "><UploadId>%llu</UploadId>",
            (unsigned long long)upload->id);
    while (number < upload->top && given < most && given < LIST_PARTS) {
        const struct store_part *part = &upload->part[++number];
        if (part->size < 0)
            continue;
        print_part(out, last = number, part);
        given++;
    }
    fprintf(out, "<NextPartNumberMarker>%d</NextPartNumberMarker>", last);
    fprintf(out, "<IsTruncated>%s</IsTruncated></ListPartsResult>",
            number < upload->top ? "true" : "false");
    fclose(out);
}

/* A query parameter as the path of an object; false if it is absent. */
static bool copy_key(const struct httpd_req *req, const char *name, char key[KEY_MAX])
{
    const char *value = httpd_param(req, name);
    size_t len = (size_t)snprintf(key, KEY_MAX, "%.*s/", 1 + (int)strcspn(req->path + 1, "/"),
                                  req->path);
    while (value && *value && *value != '&' && len + 1 < KEY_MAX) {
        unsigned byte;
        bool escaped = sscanf(value, "%%%2x", &byte) == 1;
        key[len++] = escaped ? (char)byte : *value;
        value += escaped ? 3 : 1;
    }
    key[len] = '\0';
    return value != NULL;
}

static void print_object(FILE *out, const struct store_object *object)
{
    struct tm at;
    char modified[32];
    strftime(modified, sizeof modified, "%Y-%m-%dT%H:%M:%S.000Z",
             gmtime_r(&object->modified, &at));
    fprintf(out,
            "<Contents><Key>%s</Key><LastModified>%s</LastModified><Size>%lld</Size>"
            "</Contents>",
            strchr(object->key + 1, '/') + 1, modified, (long long)object->size);
}

/* Keys are kept as they came, percent-encoded: a prefix must be of letters that are not. */
static void list_objects(const struct httpd_req *req, struct reply *reply)
{
    static const struct store_object *found[LIST_KEYS + 1];
    char prefix[KEY_MAX], after[KEY_MAX];
    FILE *out = open_memstream(&reply->body, &reply->len);
    if (!out)
        return;
    copy_key(req, "prefix", prefix);
    if (!copy_key(req, "continuation-token", after))
        copy_key(req, "start-after", after);
    size_t count = store_list(prefix, after, found, LIST_KEYS + 1);
    bool truncated = count > LIST_KEYS;
    count = truncated ? LIST_KEYS : count;
    fprintf(out, XML "<ListBucketResult" XMLNS "><EncodingType>url</EncodingType>");
    for (size_t i = 0; i < count; i++)
        print_object(out, found[i]);
    if (truncated)
        fprintf(out, "<NextContinuationToken>%s</NextContinuationToken>",
                strchr(found[count - 1]->key + 1, '/') + 1);
    fprintf(out, "<IsTruncated>%s</IsTruncated></ListBucketResult>",
            truncated ? "true" : "false");
    fclose(out);
}

static void get_object(const struct httpd_req *req, struct reply *reply)
{
    const struct store_object *object = store_find(req->path);
    reply->head_only = strcmp(req->method, "HEAD") == 0;
    if (!object) {
        refuse(reply, "404 Not Found", "NoSuchKey");
        return;
    }
    print_tag(reply, object->tag, object->crc32c, object->meta);
    reply->len = (size_t)object->size;
    if (reply->head_only)
        return;
    if (!object->body || !(reply->body = malloc(reply->len + 1))) {
        refuse(reply, "501 Not Implemented", "ContentNotKept");
        return;
    }
    memcpy(reply->body, object->body, reply->len);
}

static void delete_object(const struct httpd_req *req, struct reply *reply)
{
    store_delete(req->path);
    reply->status = "204 No Content";
}

static void stats(const struct httpd_req *req, struct reply *reply)
{
    (void)req;
    int n = asprintf(&reply->body,
                     "{\"requests\":%lld,\"data_requests\":%lld,\"data_bytes\":%lld,"
                     "\"objects\":%lld,\"manifests\":%lld,\"first_object_us\":%lld,"
                     "\"last_manifest_us\":%lld}",
                     requests, data_requests, data_bytes, objects, manifests, first_object_us,
                     last_manifest_us);
    reply->len = n < 0 ? 0 : (size_t)n;
}

/* First match wins: method, and a query parameter that must be there. */
static const struct {
    const char *method, *param;
    void (*act)(const struct httpd_req *req, struct reply *reply);
} operation[] = {
    { "PUT", "partNumber", put_part },
    { "PUT", NULL, put_object },
    { "POST", "uploads", create_upload },
    { "POST", "uploadId", complete_upload },
    { "GET", "uploadId", list_parts },
    { "GET", "list-type", list_objects },
    { "GET", NULL, get_object },
    { "HEAD", NULL, get_object },
    { "DELETE", "uploadId", abort_upload },
    { "DELETE", NULL, delete_object },
};

static void act(const struct httpd_req *req, struct reply *reply)
{
    if (strcmp(req->path, "/_stats") == 0) {
        stats(req, reply);
        return;
    }
    atomic_fetch_add(&requests, 1);
    if (!strstr(req->path, OWN_FOLDER)) {
        atomic_fetch_add(&data_requests, 1);
        atomic_fetch_add(&data_bytes, (long long)req->body_len);
    }
    for (size_t i = 0; i < sizeof operation / sizeof *operation; i++) {
        if (strcmp(req->method, operation[i].method) != 0 ||
            (operation[i].param && !httpd_param(req, operation[i].param)))
            continue;
        operation[i].act(req, reply);
        return;
    }
    refuse(reply, "501 Not Implemented", "NotImplemented");
}

static bool answer(struct httpd_conn *conn, const struct httpd_req *req)
{
    struct reply reply = { .status = "200 OK" };
    pthread_mutex_lock(&lock);
    act(req, &reply);
    pthread_mutex_unlock(&lock);
    bool ok = reply.head_only
                  ? httpd_reply_head(conn, reply.status, reply.extra, reply.len, false)
                  : httpd_reply(conn, reply.status, reply.extra, reply.body ? reply.body : "",
                                reply.body ? reply.len : 0);
    free(reply.body);
    return ok;
}

int main(int argc, char **argv)
{
    struct httpd_options options = { .answer = answer };
    for (int c; (c = getopt(argc, argv, "d:c:k:")) != -1;)
        switch (c) {
        case 'd':
            options.delay_ms = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'c':
            options.certificate = optarg;
            break;
        case 'k':
            options.key = optarg;
            break;
        default:
            return 2;
        }
    return httpd_serve(&options);
}
