/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives the S3 client from a test: one JSON object per line on standard input is one operation,
 * one JSON object per line on standard output is its result. Operations run one by one.
 *
 *   s3_driver ENDPOINT REGION BUCKET path|virtual auto|signed|unsigned [CA-FILE]
 *   {"op": "put", "key": "a", "text": "hello", "create_only": true}
 *   {"code": "ok", "http": 200, "tries": 1, "etag": "5d41402a…", …}
 *
 * Besides the eight operations: {"op": "probe", "prefix": "p/"}, whose traits hold from then on,
 * and {"op": "trust"}, which takes all traits for proven. Credentials: environment.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/digest.h"
#include "lib/base/json.h"
#include "lib/s3/probe.h"

#define LINE_MAX_BYTES (4 * 1024 * 1024)

struct driver {
    struct loop *loop;
    struct s3_options options;
    struct s3 *s3;
    struct s3_call call;
    struct s3_probe probe;
    struct timer cancel;
    struct s3_part *parts;
};

static const char *const op_name[S3_OPS] = {
    [S3_PUT] = "put",           [S3_CREATE] = "create", [S3_PART] = "part",
    [S3_COMPLETE] = "complete", [S3_ABORT] = "abort",   [S3_LIST_PARTS] = "list",
    [S3_HEAD] = "head",         [S3_GET] = "get",
};

static int fail(const char *why)
{
    fprintf(stderr, "s3_driver: %s\n", why);
    return 1;
}

/* ---- in */

static int64_t number(const struct json_t *in, const char *name)
{
    uint64_t value;
    return json_member_u64(in, name, INT64_MAX, &value) ? 0 : (int64_t)value;
}

static char *read_file(const char *path, size_t *ret_len)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        exit(fail("cannot read the file"));
    long len = ftell(file);
    char *bytes = mem_alloc((size_t)len + 1);
    rewind(file);
    *ret_len = fread(bytes, 1, (size_t)len, file);
    fclose(file);
    return bytes;
}

/* The body is a text or a file; its true checksum can be falsified. */
static char *read_body(const struct json_t *in, struct s3_call *call)
{
    const char *text = json_member_text(in, "text"), *path = json_member_text(in, "file");
    char *body = path ? read_file(path, &call->body_len) : mem_copy_text(text ? text : "");
    if (!path)
        call->body_len = strlen(body);
    call->body = body;
    call->body_crc32c = digest_crc32c(0, body, call->body_len);
    call->body_crc32c ^= (uint32_t)number(in, "spoil");
    return body;
}

static void read_parts(struct driver *driver, const struct json_t *in, struct s3_call *call)
{
    const struct json_t *list = json_member(in, "parts");
    size_t count = json_count(list);
    mem_free(driver->parts);
    driver->parts = mem_alloc_array(count, sizeof *driver->parts);
    for (size_t i = 0; i < count; i++) {
        const struct json_t *item = json_element(list, i);
        struct s3_part *part = &driver->parts[i];
        const char *etag = json_member_text(item, "etag");
        part->number = (int)number(item, "number");
        part->size = number(item, "size");
        part->crc32c = (uint32_t)number(item, "crc32c");
        part->has_crc32c = json_member(item, "crc32c") != NULL;
        snprintf(part->etag, sizeof part->etag, "%s", etag ? etag : "");
        call->crc32c = digest_crc32c_combine(call->crc32c, part->crc32c, (uint64_t)part->size);
        call->size += part->size;
    }
    call->parts = driver->parts;
    call->part_count = count;
}

static bool read_op(const struct json_t *in, enum s3_op *ret)
{
    const char *name = json_member_text(in, "op");
    for (int op = S3_PUT; name && op < S3_OPS; op++)
        if (strcmp(op_name[op], name) == 0) {
            *ret = (enum s3_op)op;
            return true;
        }
    return false;
}

/* ---- out */

static void put_text(struct buf *out, const char *name, const char *text, size_t len)
{
    buf_print(out, ", \"%s\": ", name);
    json_write_text(out, text, len);
}

static void put_parts(struct buf *out, const struct s3_call *call)
{
    buf_add_text(out, ", \"parts\": [");
    for (size_t i = 0; i < call->listed_count; i++) {
        const struct s3_part *part = &call->listed[i];
        buf_print(out, "%s{\"number\": %d, \"size\": %" PRId64, i ? ", " : "", part->number,
                  part->size);
        put_text(out, "etag", part->etag, strlen(part->etag));
        if (part->has_crc32c)
            buf_print(out, ", \"crc32c\": %u", part->crc32c);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

static void put_fault(struct buf *out, const struct fault *fault)
{
    put_text(out, "code", err_name(fault->code), strlen(err_name(fault->code)));
    put_text(out, "text", fault->text, strlen(fault->text));
    buf_print(out, ", \"http\": %d", fault->http_status);
}

static void print_result(const struct s3_call *call)
{
    AUTO_BUF out = BUF_INIT(256 * 1024 * 1024);
    buf_print(&out, "{\"tries\": %d, \"size\": %" PRId64, call->tries, call->got_size);
    put_fault(&out, &call->fault);
    put_text(&out, "etag", call->etag, strlen(call->etag));
    put_text(&out, "upload_id", call->new_upload_id, strlen(call->new_upload_id));
    put_text(&out, "source", call->got_source, strlen(call->got_source));
    put_text(&out, "content", buf_text(&call->content), call->content.len);
    buf_print(&out, ", \"body_crc32c\": %u", call->body_crc32c);
    if (call->has_crc32c)
        buf_print(&out, ", \"crc32c\": %u", call->got_crc32c);
    put_parts(&out, call);
    printf("%s}\n", buf_text(&out));
}

static void print_probe(const struct s3_probe *probe)
{
    AUTO_BUF out = BUF_INIT(64 * 1024);
    const struct s3_traits *traits = &probe->traits;
    buf_print(&out, "{\"put\": %d, \"complete\": %d, \"crc32c\": %d", traits->conditional_put,
              traits->conditional_complete, traits->checks_crc32c);
    put_fault(&out, &probe->fault);
    printf("%s}\n", buf_text(&out));
}

/* ---- running */

static void on_done(struct s3_call *call)
{
    loop_stop(container_of(call, struct driver, call)->loop);
}

static void on_probed(struct s3_probe *probe)
{
    loop_stop(container_of(probe, struct driver, probe)->loop);
}

static void on_cancel(struct timer *timer)
{
    s3_cancel(&container_of(timer, struct driver, cancel)->call);
}

static void run_probe(struct driver *driver, const char *prefix)
{
    driver->probe = (struct s3_probe){ .prefix = prefix ? prefix : "", .done = on_probed };
    s3_probe_start(driver->s3, &driver->probe);
    loop_run(driver->loop);
    driver->options.traits = driver->probe.traits;
    print_probe(&driver->probe);
    s3_probe_release(&driver->probe);
}

static void trust(struct driver *driver)
{
    driver->options.traits = (struct s3_traits){ true, true, true };
    puts("{}");
}

static void run_call(struct driver *driver, enum s3_op op, const struct json_t *in)
{
    struct s3_call *call = &driver->call;
    int64_t cancel_ms = number(in, "cancel_ms");
    *call = (struct s3_call){
        .op = op,
        .key = json_member_text(in, "key"),
        .create_only = json_member(in, "create_only") != NULL,
        .content_type = json_member_text(in, "content_type"),
        .source = json_member_text(in, "source"),
        .upload_id = json_member_text(in, "upload_id"),
        .part_number = (int)number(in, "number"),
        .deadline_ms = number(in, "deadline_ms"),
        .done = on_done,
    };
    char *body = read_body(in, call);
    read_parts(driver, in, call);
    s3_start(driver->s3, call);
    if (cancel_ms > 0)
        timer_set_in(driver->loop, &driver->cancel, cancel_ms);
    loop_run(driver->loop);
    timer_clear(driver->loop, &driver->cancel);
    print_result(call);
    s3_call_release(call);
    mem_free(body);
}

static int run_line(struct driver *driver, const char *line, size_t len)
{
    AUTO_JSON *in = NULL;
    struct fault fault;
    enum s3_op op;
    if (json_parse(line, len, LINE_MAX_BYTES, &in, &fault))
        return fail(fault.text);
    const char *name = json_member_text(in, "op");
    if (name && strcmp(name, "probe") == 0)
        run_probe(driver, json_member_text(in, "prefix"));
    else if (name && strcmp(name, "trust") == 0)
        trust(driver);
    else if (read_op(in, &op))
        run_call(driver, op, in);
    else
        return fail("unknown operation");
    fflush(stdout);
    return 0;
}

static int run_lines(struct driver *driver)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    int status = 0;
    while (!status && (len = getline(&line, &size, stdin)) > 0)
        status = run_line(driver, line, (size_t)len);
    free(line);
    return status;
}

static enum s3_payload payload_named(const char *name)
{
    if (strcmp(name, "auto") == 0)
        return S3_PAYLOAD_AUTO;
    return strcmp(name, "signed") == 0 ? S3_PAYLOAD_SIGNED : S3_PAYLOAD_UNSIGNED;
}

int main(int argc, char **argv)
{
    struct driver driver = { .cancel.fire = on_cancel };
    struct s3_credentials credentials = { 0 };
    struct fault fault;
    if (argc < 6)
        return fail("arguments: ENDPOINT REGION BUCKET path|virtual auto|signed|unsigned [CA]");
    if (s3_credentials_load(NULL, NULL, &credentials, &fault))
        return fail(fault.text);
    driver.options = (struct s3_options){ .endpoint = argv[1],
                                          .region = argv[2],
                                          .bucket = argv[3],
                                          .path_style = strcmp(argv[4], "path") == 0,
                                          .payload = payload_named(argv[5]),
                                          .credentials = &credentials };
    digest_init();
    http_init();
    driver.loop = loop_new();
    struct http *http = http_new(driver.loop, &(struct http_options){
                                                  .ca_file = argv[6],
                                                  .plain_http = true,
                                                  .max_connections = 8,
                                                  .connect_timeout_ms = 5000,
                                              });
    driver.s3 = s3_new(driver.loop, http, &driver.options);
    int status = run_lines(&driver);
    s3_free(driver.s3);
    http_free(http);
    loop_free(driver.loop);
    mem_free(driver.parts);
    s3_credentials_release(&credentials);
    http_cleanup();
    digest_release();
    return status;
}
