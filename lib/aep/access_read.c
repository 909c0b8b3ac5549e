/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A range of a file. Whether the answer is the right one is decided by its headers, before the
 * first byte is handed over; after that only the number of bytes can be wrong.
 *
 *     first                     first + received          first + promised     last
 *       ├──────── handed over ──────────┼──── still to come ─────┤ short range ──┤
 */
#include "lib/aep/access.h"

#include <string.h>
#include <strings.h>

#include "lib/base/encode.h"

#define PATH_LIMIT 8000
#define BIG_RANGE  (1 << 20) /* from here on larger receive buffers pay */
#define BIG_BUFFER (256 * 1024)

static enum err on_headers(struct http_req *req);
static enum http_data on_data(struct http_req *req, const void *bytes, size_t len);
static void on_done(struct aep_call *call);

static struct access_read *read_of(struct http_req *req)
{
    struct aep_call *call = container_of(req, struct aep_call, http);
    return container_of(call, struct access_read, call);
}

/* Of what was asked for; the range of an empty file is its whole. */
static int64_t wanted(const struct access_read *read)
{
    return read->last < read->first ? read->length : read->last - read->first + 1;
}

void access_read_start(struct aep *aep, struct access_read *read)
{
    struct aep_call *call = &read->call;
    read->fault = (struct fault){ .code = OK };
    read->received = 0;
    read->promised = 0;
    call->service = AEP_CONTENT;
    call->http.method = "GET";
    call->http.stall_ms = read->stall_ms;
    call->http.stall_bytes = read->stall_bytes;
    call->http.recv_buffer = wanted(read) >= BIG_RANGE ? BIG_BUFFER : 0;
    call->http.on_headers = on_headers;
    call->http.on_data = on_data;
    call->range_first = read->first;
    call->range_last = read->last < read->first ? -1 : read->last;
    call->done = on_done;
    buf_release(&call->path);
    buf_init(&call->path, PATH_LIMIT);
    buf_add_text(&call->path, "/data/foundation/export/files/");
    encode_percent(&call->path, read->file_id, strlen(read->file_id), "");
    buf_add_text(&call->path, "?path=");
    encode_percent(&call->path, read->name, strlen(read->name), "");
    aep_start(aep, call);
}

void access_read_resume(struct access_read *read)
{
    if (http_running(&read->call.http))
        http_resume(&read->call.http);
}

void access_read_cancel(struct access_read *read)
{
    aep_cancel(&read->call);
}

void access_read_release(struct access_read *read)
{
    aep_call_release(&read->call);
}

/* ---- headers */

static enum err changed(struct access_read *read, int64_t length)
{
    return fault_set(&read->fault, ERR_SOURCE_CHANGED,
                     "file has %lld bytes now, was listed with %lld", (long long)length,
                     (long long)read->length);
}

static enum err check_encoding(struct access_read *read)
{
    char encoding[128];
    /* One too long to fit goes unnoticed here, and fails by its length. */
    if (!http_header(&read->call.http, "Content-Encoding", encoding, sizeof encoding) ||
        strcasecmp(encoding, "identity") == 0)
        return OK;
    return fault_set(&read->fault, ERR_BAD_RESPONSE, "file arrives with Content-Encoding %s",
                     encoding);
}

static enum err accept_part(struct access_read *read)
{
    struct http_range range;
    if (read->last < read->first)
        return fault_set(&read->fault, ERR_BAD_RESPONSE,
                         "206 without having asked for a range");
    if (http_content_range(&read->call.http, &range))
        return fault_set(&read->fault, ERR_BAD_RESPONSE, "206 without a usable Content-Range");
    if (range.total >= 0 && range.total != read->length)
        return changed(read, range.total);
    if (range.total < 0 || range.first != read->first || range.last > read->last)
        return fault_set(&read->fault, ERR_BAD_RESPONSE,
                         "asked for bytes %lld-%lld, got %lld-%lld/%lld",
                         (long long)read->first, (long long)read->last, (long long)range.first,
                         (long long)range.last, (long long)range.total);
    read->promised = range.last - range.first + 1;
    return OK;
}

/* A page for people with status 200: maintenance, a portal. It says nothing about the file. */
static bool is_page(const struct access_read *read)
{
    static const char html[] = "text/html";
    char type[128];
    return http_header(&read->call.http, "Content-Type", type, sizeof type) &&
           strncasecmp(type, html, sizeof html - 1) == 0;
}

static enum err accept_whole(struct access_read *read)
{
    char text[32];
    uint64_t length = 0;
    bool said = http_header(&read->call.http, "Content-Length", text, sizeof text);
    bool sound = !said || parse_u64(text, INT64_MAX, &length) == OK;
    bool right = said && sound && (int64_t)length == read->length;
    if (is_page(read) && !right)
        return fault_set(&read->fault, ERR_BAD_RESPONSE,
                         "got a web page with status 200 instead of the file");
    if (read->first != 0)
        return fault_set(&read->fault, ERR_BAD_RESPONSE,
                         "asked for bytes from %lld on, got the file from its start",
                         (long long)read->first);
    if (!sound)
        return fault_set(&read->fault, ERR_BAD_RESPONSE, "unusable Content-Length");
    if (said && !right)
        return changed(read, (int64_t)length);
    read->promised = wanted(read);
    return OK;
}

static enum err on_headers(struct http_req *req)
{
    struct access_read *read = read_of(req);
    if (req->status / 100 != 2)
        return OK; /* the call says what is wrong with it */
    enum err err = check_encoding(read);
    if (err)
        return err;
    if (req->status == 206)
        return accept_part(read);
    if (req->status == 200)
        return accept_whole(read);
    return fault_set(&read->fault, ERR_BAD_RESPONSE, "status %d for a file", req->status);
}

/* ---- bytes */

static enum http_data too_many(struct access_read *read)
{
    if (read->call.http.status == 206)
        fault_set(&read->fault, ERR_BAD_RESPONSE, "more bytes than Content-Range promises");
    else if (read->promised == read->length)
        fault_set(&read->fault, ERR_SOURCE_CHANGED, "file is longer than its %lld listed bytes",
                  (long long)read->length);
    return HTTP_ABORT; /* no fault: a 200 went on behind what was asked for */
}

static enum http_data on_data(struct http_req *req, const void *bytes, size_t len)
{
    struct access_read *read = read_of(req);
    int64_t left = read->promised - read->received;
    bool more = (int64_t)len > left;
    size_t good = more ? (size_t)left : len;
    enum http_data answer = good > 0 ? read->data(read, bytes, good) : HTTP_TAKEN;
    if (answer != HTTP_TAKEN)
        return answer;
    read->received += (int64_t)good;
    return more ? too_many(read) : HTTP_TAKEN;
}

static void settle(struct access_read *read)
{
    const struct fault *fault = &read->call.fault;
    bool complete = read->promised > 0 && read->received == read->promised;
    if (read->fault.code != OK)
        return; /* found by on_headers or on_data */
    if (fault->http_status == 416)
        fault_set(&read->fault, ERR_SOURCE_CHANGED, "file has no byte %lld any more",
                  (long long)read->first);
    else if (fault->code && !complete)
        read->fault = *fault;
    else if (read->received < read->promised)
        fault_set(&read->fault, ERR_CUT, "answer ended after %lld of %lld bytes",
                  (long long)read->received, (long long)read->promised);
}

static void on_done(struct aep_call *call)
{
    struct access_read *read = container_of(call, struct access_read, call);
    settle(read);
    if (read->fault.code != OK)
        read->fault.http_status = call->http.status;
    read->done(read);
}
