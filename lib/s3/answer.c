/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What came back. A 2xx is not believed at once: documents are parsed (Complete may answer 200
 * with an error inside), echoed checksums are compared with what was sent. Everything else
 * becomes one error row and one sentence that names the next step.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/encode.h"
#include "lib/s3/client.h"
#include "lib/s3/xml.h"

/* S3 refuses requests that are 15 minutes off; a HEAD has no body to say so. */
#define SKEW_LIMIT_MS (14 * 60 * 1000LL)

/* The leaves of all documents that we read; each part of a list overwrites the one before. */
struct document {
    struct s3_call *call;       /* LIST_PARTS: grows as parts are read */
    struct s3_page *page;       /* 2xx to LIST, else NULL */
    struct s3_uploads *uploads; /* 2xx to LIST_UPLOADS, else NULL */
    bool bad;                   /* a value is too long or senseless */
    char root[XML_NAME_MAX + 1];
    char code[64], message[160], region[64];
    char upload_id[S3_UPLOAD_MAX + 1], etag[S3_ETAG_MAX + 3];
    char checksum[16], checksum_type[16];
    char truncated[8], marker[12];
    char part_number[12], part_size[24], part_etag[S3_ETAG_MAX + 3], part_checksum[16];
};

#define FIELD(member) offsetof(struct document, member), sizeof((struct document *)0)->member

static const struct {
    const char *path;
    size_t offset, size;
} field[] = {
    { "Error/Code", FIELD(code) },
    { "Error/Message", FIELD(message) },
    { "Error/Region", FIELD(region) },
    { "InitiateMultipartUploadResult/UploadId", FIELD(upload_id) },
    { "CompleteMultipartUploadResult/ETag", FIELD(etag) },
    { "CompleteMultipartUploadResult/ChecksumCRC32C", FIELD(checksum) },
    { "CompleteMultipartUploadResult/ChecksumType", FIELD(checksum_type) },
    { "ListPartsResult/IsTruncated", FIELD(truncated) },
    { "ListPartsResult/NextPartNumberMarker", FIELD(marker) },
    { "ListPartsResult/Part/PartNumber", FIELD(part_number) },
    { "ListPartsResult/Part/Size", FIELD(part_size) },
    { "ListPartsResult/Part/ETag", FIELD(part_etag) },
    { "ListPartsResult/Part/ChecksumCRC32C", FIELD(part_checksum) },
};

typedef enum err answer_reader(struct s3_try *attempt, const struct document *document);

static answer_reader read_created, read_stored, read_completed, read_nothing, read_listed,
    read_found, read_content, read_page, read_uploads;

/* `root`: the document that a 2xx must bring; NULL = its body is none. */
static const struct {
    const char *name, *root, *permission;
    answer_reader *read;
} row[S3_OPS] = {
    [S3_PUT] = { "PutObject", NULL, "s3:PutObject", read_stored },
    [S3_CREATE] = { "CreateMultipartUpload", "InitiateMultipartUploadResult", "s3:PutObject",
                    read_created },
    [S3_PART] = { "UploadPart", NULL, "s3:PutObject", read_stored },
    [S3_COMPLETE] = { "CompleteMultipartUpload", "CompleteMultipartUploadResult",
                      "s3:PutObject", read_completed },
    [S3_ABORT] = { "AbortMultipartUpload", NULL, "s3:AbortMultipartUpload", read_nothing },
    [S3_LIST_PARTS] = { "ListParts", "ListPartsResult", "s3:ListMultipartUploadParts",
                        read_listed },
    [S3_HEAD] = { "HeadObject", NULL, "s3:GetObject and s3:ListBucket", read_found },
    [S3_GET] = { "GetObject", NULL, "s3:GetObject", read_content },
    [S3_LIST] = { "ListObjectsV2", "ListBucketResult", "s3:ListBucket", read_page },
    [S3_LIST_UPLOADS] = { "ListMultipartUploads", "ListMultipartUploadsResult",
                          "s3:ListBucketMultipartUploads", read_uploads },
    [S3_DELETE] = { "DeleteObject", NULL, "s3:DeleteObject", read_nothing },
};

static enum err read_refusal(struct s3_try *attempt, const struct document *document,
                             struct wall now);
static enum err refusal_row(const struct s3_try *attempt, const struct document *document,
                            const char *region, struct wall now);
static enum err parse(struct s3_try *attempt, struct document *document);
static void on_element(void *owner, const char *path, const char *text);
static void add_part(struct document *document);
static enum err bad(struct s3_try *attempt, const char *what);
static void copy_etag(const char *from, char to[S3_ETAG_MAX + 1]);
static bool decode_crc32c(const char *text, uint32_t *ret);
static bool stored_crc32c(const struct http_req *req, uint32_t *ret, bool *ret_noted);
static enum err compare_crc32c(struct s3_try *attempt, uint32_t sent, uint32_t stored);

/* What an earlier page left goes only now: it may hold where this one begins. */
static void begin_listing(struct document *document)
{
    struct s3_call *call = document->call;
    if (call->op == S3_LIST) {
        document->page = &call->page;
        s3_page_release(document->page);
    } else if (call->op == S3_LIST_UPLOADS) {
        document->uploads = &call->uploads;
        s3_uploads_release(document->uploads);
    }
}

enum err s3_answer_read(struct s3_try *attempt, struct wall now)
{
    struct s3_call *call = attempt->call;
    const struct http_req *req = &attempt->req;
    attempt->more = false;
    call->fault = (struct fault){ 0 };
    if (req->result) {
        call->fault = req->fault;
        call->fault.code = req->result;
        return req->result;
    }
    call->fault.http_status = req->status;
    struct document document = { .call = call };
    bool success = req->status >= 200 && req->status < 300;
    if (success)
        begin_listing(&document);
    enum err broken = !success || row[call->op].root ? parse(attempt, &document) : OK;
    if (!success || strcmp(document.root, "Error") == 0)
        return read_refusal(attempt, &document, now);
    if (broken)
        return broken;
    if (row[call->op].root && strcmp(document.root, row[call->op].root) != 0)
        return bad(attempt, "brought a document of another kind");
    return row[call->op].read(attempt, &document);
}

/* ---- refusals */

/* What was to be removed is not there: an earlier try did it, or somebody else. */
static bool is_gone_already(enum s3_op op, enum err err)
{
    return (op == S3_ABORT && err == ERR_NO_UPLOAD) ||
           (op == S3_DELETE && err == ERR_NOT_FOUND);
}

static enum err read_refusal(struct s3_try *attempt, const struct document *document,
                             struct wall now)
{
    struct s3_call *call = attempt->call;
    char region[64] = "";
    if (!http_header(&attempt->req, "x-amz-bucket-region", region, sizeof region))
        memcpy(region, document->region, sizeof region);
    enum err err = refusal_row(attempt, document, region, now);
    if (is_gone_already(call->op, err))
        return OK;
    call->fault.retry_after_ms = http_retry_after(&attempt->req, now);

    AUTO_BUF text = BUF_INIT(1024);
    const char *code = document->code, *message = document->message;
    const char *advice = s3_error_advice(code);
    buf_print(&text, "%s: %d %s%s%.100s", row[call->op].name, attempt->req.status,
              code[0] ? code : err_text(err), message[0] ? ": " : "", message);
    if (err == ERR_REGION && region[0])
        buf_print(&text, ": the bucket lives in region %s: set s3.region to it", region);
    else if (advice)
        buf_print(&text, ": %s", advice);
    else if (err == ERR_DENIED)
        buf_print(&text, ": grant %s", row[call->op].permission);
    return fault_set(&call->fault, err, "%s", buf_text(&text));
}

/* A HEAD brings no body, so only the Date can tell a wrong clock from a missing permission. */
static bool clocks_differ(const struct s3_try *attempt, struct wall now)
{
    char text[64];
    struct wall theirs;
    if (!http_header(&attempt->req, "Date", text, sizeof text) ||
        wall_parse_http(text, &theirs))
        return false;
    return llabs(theirs.ms - now.ms - attempt->skew_ms) > SKEW_LIMIT_MS;
}

static bool in_other_region(const struct s3_try *attempt, const char *region)
{
    int status = attempt->req.status;
    return region[0] && strcmp(region, attempt->s3->options->region) != 0 &&
           (status == 400 || (status >= 300 && status < 400));
}

static bool is_of_upload(enum s3_op op)
{
    return op == S3_PART || op == S3_COMPLETE || op == S3_ABORT || op == S3_LIST_PARTS;
}

static enum err refusal_row(const struct s3_try *attempt, const struct document *document,
                            const char *region, struct wall now)
{
    enum s3_op op = attempt->call->op;
    enum err err = s3_error_row(document->code, attempt->req.status);
    if (in_other_region(attempt, region))
        return ERR_REGION;
    if (err == ERR_NOT_FOUND && is_of_upload(op))
        return ERR_NO_UPLOAD; /* Ceph says NoSuchKey after an abort */
    if (op == S3_COMPLETE && strcmp(document->code, "InvalidRequest") == 0 &&
        err == ERR_REQUEST)
        return ERR_BAD_PART; /* size or checksum of the whole is not that of its parts */
    if (err == ERR_DENIED && op == S3_HEAD && clocks_differ(attempt, now))
        return ERR_SKEW;
    return err;
}

/* ---- 2xx, one reader per operation */

static enum err read_nothing(struct s3_try *attempt, const struct document *document)
{
    (void)attempt;
    (void)document;
    return OK;
}

static enum err read_created(struct s3_try *attempt, const struct document *document)
{
    if (!document->upload_id[0])
        return bad(attempt, "brought no UploadId");
    memcpy(attempt->call->new_upload_id, document->upload_id, sizeof document->upload_id);
    return OK;
}

static enum err read_stored(struct s3_try *attempt, const struct document *document)
{
    (void)document;
    struct s3_call *call = attempt->call;
    char text[S3_ETAG_MAX + 3];
    uint32_t echo;
    if (http_header(&attempt->req, "ETag", text, sizeof text))
        copy_etag(text, call->etag);
    if (call->op == S3_PART && !call->etag[0])
        return bad(attempt, "brought no ETag, so the upload could never be completed");
    if (http_header(&attempt->req, "x-amz-checksum-crc32c", text, sizeof text) &&
        decode_crc32c(text, &echo))
        return compare_crc32c(attempt, call->body_crc32c, echo);
    return OK;
}

static enum err read_completed(struct s3_try *attempt, const struct document *document)
{
    struct s3_call *call = attempt->call;
    uint32_t echo;
    copy_etag(document->etag, call->etag);
    bool whole = strcmp(document->checksum_type, "COMPOSITE") != 0;
    if (attempt->s3->options->traits.checks_crc32c && whole &&
        decode_crc32c(document->checksum, &echo))
        return compare_crc32c(attempt, call->crc32c, echo);
    return OK;
}

static enum err read_listed(struct s3_try *attempt, const struct document *document)
{
    uint64_t marker = 0;
    if (strcmp(document->truncated, "true") != 0)
        return OK;
    /* A marker that stands still would keep us asking for ever. */
    if (parse_u64(document->marker, S3_PARTS_MAX, &marker) || (int)marker <= attempt->marker)
        return bad(attempt, "is one page of many, but does not say where the next begins");
    attempt->marker = (int)marker;
    attempt->more = true;
    return OK;
}

static enum err read_found(struct s3_try *attempt, const struct document *document)
{
    (void)document;
    struct s3_call *call = attempt->call;
    const struct http_req *req = &attempt->req;
    char text[S3_ETAG_MAX + 3];
    uint64_t size;
    if (!http_header(req, "Content-Length", text, sizeof text) ||
        parse_u64(text, INT64_MAX, &size))
        return bad(attempt, "brought no Content-Length");
    call->got_size = (int64_t)size;
    if (http_header(req, "ETag", text, sizeof text))
        copy_etag(text, call->etag);
    if (!http_header(req, "x-amz-meta-sluice-src", call->got_source, sizeof call->got_source))
        call->got_source[0] = 0;
    call->has_crc32c = stored_crc32c(req, &call->got_crc32c, &call->noted_crc32c);
    return OK;
}

/* What was asked for and nothing else: checksums of the whole object are not for its pieces. */
static enum err check_range(struct s3_try *attempt)
{
    const struct s3_call *call = attempt->call;
    struct http_range got;
    if (attempt->req.status != 206 || http_content_range(&attempt->req, &got) ||
        got.first != call->range_at || got.last != call->range_at + call->range_len - 1)
        return bad(attempt, "is not the range that was asked for");
    return OK;
}

static enum err read_content(struct s3_try *attempt, const struct document *document)
{
    struct s3_call *call = attempt->call;
    struct http_req *req = &attempt->req;
    enum err err = read_found(attempt, document);
    if (err)
        return err;
    if (req->content.len != (size_t)call->got_size)
        return bad(attempt, "is shorter or longer than its Content-Length");
    if (call->range_len > 0)
        err = check_range(attempt);
    else if (call->has_crc32c)
        err = compare_crc32c(attempt, digest_crc32c(0, req->content.data, req->content.len),
                             call->got_crc32c);
    if (err)
        return err;
    buf_release(&call->content);
    call->content = req->content;
    req->content = (struct buf){ 0 };
    return OK;
}

static enum err read_page(struct s3_try *attempt, const struct document *document)
{
    if (!s3_page_finish(document->page))
        return bad(attempt, "is one page of many without the next, or has unreadable keys");
    return OK;
}

static enum err read_uploads(struct s3_try *attempt, const struct document *document)
{
    char text[64];
    struct wall at = { 0 };
    if (!s3_uploads_finish(document->uploads))
        return bad(attempt, "is one page of many, but does not say where the next begins");
    if (http_header(&attempt->req, "Date", text, sizeof text) &&
        wall_parse_http(text, &at) == OK)
        document->uploads->at_ms = at.ms;
    return OK;
}

/* ---- documents */

static enum err parse(struct s3_try *attempt, struct document *document)
{
    struct s3_call *call = attempt->call;
    const struct buf *content = &attempt->req.content;
    size_t before = call->listed_count;
    enum err err =
        xml_read(buf_text(content), content->len, document, on_element, &call->fault);
    if (!err && document->bad)
        err = bad(attempt, "brought a value that is too long or senseless");
    if (err)
        call->listed_count = before; /* the page will be asked for again, or not be used */
    return err;
}

static void take_leaf(struct document *document, const char *path, const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < sizeof field / sizeof field[0]; i++) {
        if (strcmp(field[i].path, path) != 0)
            continue;
        char *to = (char *)document + field[i].offset;
        bool fits = len < field[i].size;
        memcpy(to, text, fits ? len : field[i].size - 1);
        to[fits ? len : field[i].size - 1] = 0;
        document->bad = document->bad || (!fits && to != document->message);
    }
}

static void on_element(void *owner, const char *path, const char *text)
{
    struct document *document = owner;
    if (!strchr(path, '/')) /* the root comes last */
        memcpy(document->root, path, strlen(path) + 1);
    take_leaf(document, path, text);
    if (strcmp(path, "ListPartsResult/Part") == 0)
        add_part(document);
    if (document->page && !s3_page_element(document->page, path, text))
        document->bad = true;
    if (document->uploads && !s3_uploads_element(document->uploads, path, text))
        document->bad = true;
}

static void add_part(struct document *document)
{
    struct s3_call *call = document->call;
    size_t count = call->listed_count;
    int last = count ? call->listed[count - 1].number : 0;
    uint64_t number = 0, size = 0;
    if (parse_u64(document->part_number, S3_PARTS_MAX, &number) ||
        parse_u64(document->part_size, INT64_MAX, &size) || (int)number <= last) {
        document->bad = true;
        return;
    }
    if ((count & (count - 1)) == 0) /* room grows at each power of two */
        call->listed = mem_grow(call->listed, count ? 2 * count : 1, sizeof call->listed[0]);
    struct s3_part *part = &call->listed[call->listed_count++];
    *part = (struct s3_part){ .number = (int)number, .size = (int64_t)size };
    copy_etag(document->part_etag, part->etag);
    part->has_crc32c = decode_crc32c(document->part_checksum, &part->crc32c);
    document->part_number[0] = document->part_size[0] = 0;
    document->part_etag[0] = document->part_checksum[0] = 0;
}

/* ---- helpers */

static enum err bad(struct s3_try *attempt, const char *what)
{
    return fault_set(&attempt->call->fault, ERR_BAD_RESPONSE, "%s: the answer %s",
                     row[attempt->call->op].name, what);
}

/* Without the quotes, which some stores leave out. */
static void copy_etag(const char *from, char to[S3_ETAG_MAX + 1])
{
    size_t len = strlen(from);
    if (len >= 2 && from[0] == '"' && from[len - 1] == '"') {
        from++;
        len -= 2;
    }
    if (len > S3_ETAG_MAX)
        len = 0;
    memcpy(to, from, len);
    to[len] = 0;
}

/* A checksum of checksums ("…-3") is not of the bytes and does not decode. */
static bool decode_crc32c(const char *text, uint32_t *ret)
{
    uint8_t byte[4];
    size_t len;
    if (!*text || decode_base64(text, byte, sizeof byte, &len) || len != sizeof byte)
        return false;
    *ret = (uint32_t)byte[0] << 24 | (uint32_t)byte[1] << 16 | (uint32_t)byte[2] << 8 | byte[3];
    return true;
}

/* What the store says about the whole object: its own checksum, else our note of the PUT. */
static bool stored_crc32c(const struct http_req *req, uint32_t *ret, bool *ret_noted)
{
    char text[32], *end;
    bool composite = http_header(req, "x-amz-checksum-type", text, sizeof text) &&
                     strcmp(text, "COMPOSITE") == 0;
    if (!composite && http_header(req, "x-amz-checksum-crc32c", text, sizeof text) &&
        decode_crc32c(text, ret)) {
        *ret_noted = false;
        return true;
    }
    if (!http_header(req, "x-amz-meta-sluice-crc32c", text, sizeof text) ||
        strspn(text, "0123456789abcdef") != 8 || text[8])
        return false;
    *ret = (uint32_t)strtoul(text, &end, 16);
    *ret_noted = true;
    return true;
}

static enum err compare_crc32c(struct s3_try *attempt, uint32_t sent, uint32_t stored)
{
    if (sent == stored)
        return OK;
    return fault_set(&attempt->call->fault, ERR_DIGEST,
                     "%s: the store has CRC-32C %08x, we have %08x",
                     row[attempt->call->op].name, stored, sent);
}
