/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The benchmark's source: token service, Catalog and Data Access of one synthetic dataset, as
 * far as a client that copies it needs them. Contents are a repeated tile, so that no file
 * costs disk; every 64 KiB of it look like one whole Parquet file.
 *
 *   source [-b batches] [-f files per batch] [-s file size] [-t created_ms of the first batch]
 *          [-d delay_ms] [-r bytes per second and answer] [-c certificate -k key]
 */
#include "dataset.h"
#include "httpd.h"

#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TILE_BYTES (64 * 1024)
#define MAP_BYTES  (4 * 1024 * 1024)
#define STEP_BYTES (256 * 1024) /* a capped answer sends this much, then waits */
#define BATCH_MS   1000         /* batches are created one second apart */
#define PAGE_MAX   100
#define LIST_BYTES (PAGE_MAX * 1024)

static int batches = 100, files = 20;
static int64_t file_bytes = 65536, first_ms, rate;
static int tile_fd;
static const char *tile;

enum kind { KIND_IMS, KIND_CATALOG, KIND_LISTING, KIND_CONTENT, KINDS };
static atomic_llong requests[KINDS], sent_bytes;

struct text {
    size_t len;
    char data[LIST_BYTES];
};

__attribute__((format(printf, 2, 3))) static void text_print(struct text *text,
                                                             const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t room = sizeof text->data - text->len;
    int n = vsnprintf(text->data + text->len, room, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= room)
        abort();
    text->len += (size_t)n;
}

static bool reply_text(struct httpd_conn *conn, struct text *text)
{
    bool ok = httpd_reply_json(conn, text->data);
    free(text);
    return ok;
}

static struct text *text_new(void)
{
    struct text *text = malloc(sizeof *text);
    if (!text)
        abort();
    text->len = 0;
    return text;
}

static bool not_found(struct httpd_conn *conn)
{
    static const char WHY[] =
        "{\"status\":404,\"title\":\"NotFound\",\"detail\":\"no such object\"}";
    return httpd_reply(conn, "404 Not Found", "Content-Type: application/json\r\n", WHY,
                       sizeof WHY - 1);
}

static void print_batch(struct text *text, int batch)
{
    long long created = first_ms + (long long)batch * BATCH_MS;
    text_print(text,
               "\"" DATASET_BATCH "\":{\"id\":\"" DATASET_BATCH
               "\",\"imsOrg\":\"bench@AdobeOrg\","
               "\"created\":%lld,\"updated\":%lld,\"started\":%lld,\"completed\":%lld,"
               "\"createdClient\":\"acp_foundation_push\",\"status\":\"success\","
               "\"version\":\"1.0.3\",\"inputFormat\":{\"format\":\"parquet\"},"
               "\"relatedObjects\":[{\"type\":\"dataSet\",\"id\":\"" DATASET_ID "\"}],"
               "\"metrics\":{\"outputFileCount\":%d,\"outputRecordCount\":%d,"
               "\"outputByteSize\":%lld}}",
               batch, batch, created, created + 400, created + 100, created + 400, files,
               files * 1000, (long long)file_bytes * files);
}

static bool serve_ims(struct httpd_conn *conn, const struct httpd_req *req)
{
    (void)req;
    return httpd_reply_json(conn, "{\"access_token\":\"bench.bench.bench\","
                                  "\"token_type\":\"bearer\",\"expires_in\":86399}");
}

/* Both bounds are exclusive; `created` asks for one instant. */
static bool serve_batches(struct httpd_conn *conn, const struct httpd_req *req)
{
    int64_t after = httpd_param_number(req, "createdAfter", INT64_MIN);
    int64_t before = httpd_param_number(req, "createdBefore", INT64_MAX);
    int64_t instant = httpd_param_number(req, "created", -1);
    int64_t skip = httpd_param_number(req, "start", 0);
    int64_t limit = httpd_param_number(req, "limit", 20);
    struct text *text = text_new();
    text_print(text, "{");
    for (int b = 0, given = 0; b < batches && given < limit && given < PAGE_MAX; b++) {
        int64_t created = first_ms + (int64_t)b * BATCH_MS;
        if (created <= after || created >= before || (instant >= 0 && created != instant))
            continue;
        if (skip-- > 0)
            continue;
        text_print(text, given++ ? "," : "");
        print_batch(text, b);
    }
    text_print(text, "}");
    return reply_text(conn, text);
}

/* The batch, and the file if the name goes on with "-n", that a path segment names. */
static bool parse_id(const char *segment, int *ret_batch, int *ret_file)
{
    *ret_file = -1;
    return sscanf(segment, DATASET_FILE, ret_batch, ret_file) >= 1 && *ret_batch >= 0 &&
           *ret_batch < batches && *ret_file < files;
}

static bool serve_batch(struct httpd_conn *conn, const struct httpd_req *req)
{
    int batch, file;
    if (!parse_id(req->path + sizeof DATASET_CATALOG, &batch, &file))
        return not_found(conn);
    struct text *text = text_new();
    text_print(text, "{");
    print_batch(text, batch);
    text_print(text, "}");
    return reply_text(conn, text);
}

static void print_next(struct text *text, const struct httpd_req *req, int64_t start)
{
    if (start < files)
        text_print(
            text,
            ",\"_links\":{\"next\":{\"href\":\"http://localhost%s?start=%lld&limit=%d\"}}",
            req->path, (long long)start, PAGE_MAX);
}

static bool serve_batch_files(struct httpd_conn *conn, const struct httpd_req *req)
{
    int batch, none;
    if (!parse_id(req->path + sizeof DATASET_EXPORT "/batches", &batch, &none))
        return not_found(conn);
    int64_t start = httpd_param_number(req, "start", 0);
    int64_t end = start + PAGE_MAX < files ? start + PAGE_MAX : files;
    struct text *text = text_new();
    text_print(text, "{\"data\":[");
    for (int f = (int)start; f < end; f++)
        text_print(text,
                   "%s{\"dataSetFileId\":\"" DATASET_FILE "\",\"dataSetViewId\":\"" DATASET_VIEW
                   "\",\"version\":\"1.0.0\",\"created\":\"%lld\",\"isValid\":false,"
                   "\"_links\":{\"self\":{\"href\":\"https://localhost:443" DATASET_EXPORT
                   "/files/" DATASET_FILE "\"}}}",
                   f > start ? "," : "", batch, f, (long long)first_ms, batch, f);
    text_print(text, "],\"_page\":{\"limit\":%d,\"count\":%d}", PAGE_MAX, files);
    print_next(text, req, end);
    text_print(text, "}");
    return reply_text(conn, text);
}

static bool serve_file_listing(struct httpd_conn *conn, int batch, int file, int64_t start)
{
    struct text *text = text_new();
    text_print(text, "{\"data\":[");
    if (start == 0)
        text_print(text,
                   "{\"name\":\"" DATASET_FILE_NAME
                   "\",\"length\":\"%lld\",\"_links\":{\"self\":"
                   "{\"href\":\"https://localhost:443" DATASET_EXPORT "/files/" DATASET_FILE
                   "?path=" DATASET_FILE_NAME "\"}}}",
                   (long long)file_bytes, batch, file);
    text_print(text, "],\"_page\":{\"limit\":%d,\"count\":1}}", PAGE_MAX);
    return reply_text(conn, text);
}

/* Capped or not, an answer goes out in steps: between two of them the clock is looked at. */
static bool send_tile(struct httpd_conn *conn, int64_t first, int64_t last)
{
    int64_t began = httpd_now_us();
    for (int64_t at = first; at <= last;) {
        size_t offset = (size_t)(at % MAP_BYTES), len = MAP_BYTES - offset;
        size_t step = rate ? STEP_BYTES : MAP_BYTES;
        if (len > step)
            len = step;
        if ((int64_t)len > last + 1 - at)
            len = (size_t)(last + 1 - at);
        if (!httpd_send_file(conn, tile_fd, tile, offset, len))
            return false;
        at += (int64_t)len;
        atomic_fetch_add(&sent_bytes, (long long)len);
        if (rate)
            httpd_sleep_until(began + (at - first) * 1000000 / rate);
    }
    return true;
}

static bool parse_range(const char *text, int64_t *ret_first, int64_t *ret_last)
{
    long long first, last = file_bytes - 1;
    if (sscanf(text, "bytes=%lld-%lld", &first, &last) < 1 || first < 0 || last < first ||
        first >= file_bytes)
        return false;
    *ret_first = first;
    *ret_last = last < file_bytes ? last : file_bytes - 1;
    return true;
}

static bool serve_content(struct httpd_conn *conn, const struct httpd_req *req)
{
    const char *range = httpd_header(req, "Range");
    int64_t first = 0, last = file_bytes - 1;
    if (range && !parse_range(range, &first, &last))
        return httpd_reply(conn, "416 Range Not Satisfiable", "", "", 0);
    char extra[200] = "Content-Type: application/parquet\r\nAccept-Ranges: bytes\r\n";
    if (range)
        snprintf(extra, sizeof extra,
                 "Content-Type: application/parquet\r\nContent-Range: bytes %lld-%lld/%lld\r\n",
                 (long long)first, (long long)last, (long long)file_bytes);
    bool body = strcmp(req->method, "HEAD") != 0;
    return httpd_reply_head(conn, range ? "206 Partial Content" : "200 OK", extra,
                            (uint64_t)(last + 1 - first), body) &&
           (!body || send_tile(conn, first, last));
}

static bool serve_file(struct httpd_conn *conn, const struct httpd_req *req)
{
    int batch, file;
    if (!parse_id(req->path + sizeof DATASET_EXPORT "/files", &batch, &file) || file < 0)
        return not_found(conn);
    bool content = httpd_param(req, "path") != NULL;
    atomic_fetch_add(&requests[content ? KIND_CONTENT : KIND_LISTING], 1);
    if (content)
        return serve_content(conn, req);
    return serve_file_listing(conn, batch, file, httpd_param_number(req, "start", 0));
}

static bool serve_stats(struct httpd_conn *conn, const struct httpd_req *req)
{
    (void)req;
    char text[300];
    snprintf(text, sizeof text,
             "{\"ims\":%lld,\"catalog\":%lld,\"listing\":%lld,\"content\":%lld,\"bytes\":%lld}",
             requests[KIND_IMS], requests[KIND_CATALOG], requests[KIND_LISTING],
             requests[KIND_CONTENT], sent_bytes);
    return httpd_reply_json(conn, text);
}

/* First match wins. KINDS: counted elsewhere, or not at all. */
static const struct {
    const char *prefix;
    enum kind kind;
    bool (*serve)(struct httpd_conn *conn, const struct httpd_req *req);
} route[] = {
    { DATASET_EXPORT "/files/", KINDS, serve_file },
    { DATASET_EXPORT "/batches/", KIND_LISTING, serve_batch_files },
    { DATASET_CATALOG "/", KIND_CATALOG, serve_batch },
    { DATASET_CATALOG, KIND_CATALOG, serve_batches },
    { "/ims/token", KIND_IMS, serve_ims },
    { "/_stats", KINDS, serve_stats },
};

static bool answer(struct httpd_conn *conn, const struct httpd_req *req)
{
    for (size_t i = 0; i < sizeof route / sizeof *route; i++) {
        if (strncmp(req->path, route[i].prefix, strlen(route[i].prefix)) != 0)
            continue;
        if (route[i].kind != KINDS)
            atomic_fetch_add(&requests[route[i].kind], 1);
        return route[i].serve(conn, req);
    }
    return not_found(conn);
}

/* Any file of whole tiles passes for Parquet: magic at both ends, a footer of 4096 bytes. */
static bool make_tile(void)
{
    unsigned char one[TILE_BYTES];
    RAND_bytes(one, sizeof one);
    memcpy(one, "PAR1", 4);
    memcpy(one + TILE_BYTES - 8, "\x00\x10\x00\x00PAR1", 8);
    tile_fd = memfd_create("tile", MFD_CLOEXEC);
    for (size_t at = 0; at < MAP_BYTES; at += TILE_BYTES)
        if (tile_fd < 0 || write(tile_fd, one, TILE_BYTES) != TILE_BYTES)
            return false;
    void *map = mmap(NULL, MAP_BYTES, PROT_READ, MAP_SHARED, tile_fd, 0);
    tile = map;
    return map != MAP_FAILED;
}

int main(int argc, char **argv)
{
    struct httpd_options options = { .answer = answer };
    for (int c; (c = getopt(argc, argv, "b:f:s:t:d:r:c:k:")) != -1;)
        switch (c) {
        case 'b':
            batches = (int)strtol(optarg, NULL, 10);
            break;
        case 'f':
            files = (int)strtol(optarg, NULL, 10);
            break;
        case 's':
            file_bytes = strtoll(optarg, NULL, 10);
            break;
        case 't':
            first_ms = strtoll(optarg, NULL, 10);
            break;
        case 'd':
            options.delay_ms = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'r':
            rate = strtoll(optarg, NULL, 10);
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
    if (!make_tile()) {
        perror("tile");
        return 1;
    }
    return httpd_serve(&options);
}
