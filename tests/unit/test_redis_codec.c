/* SPDX-License-Identifier: Apache-2.0 */
/* Redis without a network: URLs, commands, replies within their limits, error rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/net/redis_parts.h"

/* ---- URLs ---- */

static const struct {
    const char *text, *host, *path;
    int port, db;
} good_url[] = {
    { "redis://h", "h", NULL, 6379, 0 },
    { "redis://h/", "h", NULL, 6379, 0 },
    { "redis://127.0.0.1:1/16383", "127.0.0.1", NULL, 1, 16383 },
    { "redis://[::1]", "::1", NULL, 6379, 0 },
    { "redis://[fe80::2]:65535/7", "fe80::2", NULL, 65535, 7 },
    { "unix:///run/r.sock", NULL, "/run/r.sock", 0, 0 },
    { "unix:///r?db=3", NULL, "/r", 0, 3 },
};

static const char *const bad_url[] = {
    "",
    "redis:/h",
    "http://h",
    "rediss://h",
    "redis://",
    "redis://:1",
    "redis://h:",
    "redis://h:0",
    "redis://h:65536",
    "redis://h:1x",
    "redis://h:-1",
    "redis://h:1:2",
    "redis://h/x",
    "redis://h/16384",
    "redis://h/0?db=1",
    "redis://[::1",
    "redis://[]",
    "redis://[::1]6379",
    "unix://",
    "unix:///",
    "unix://r.sock",
    "unix:///r?db=",
    "unix:///r?db=-1",
    "unix:///r?x=1",
};

static const struct {
    const char *text, *from, *name; /* NULL: leads nowhere */
    int db;
} moved_url[] = {
    { "MOVED 3999 10.0.0.7:6381", "redis://h:1/0", "10.0.0.7:6381", 0 },
    { "MOVED 3999 node-2.local:7000", "redis://h:1/3", "node-2.local:7000", 3 },
    { "MOVED 3999 fe80::1:7000", "redis://h:1", "fe80::1:7000", 0 },
    { "MOVED 3999 :6381", "redis://h:1", "h:6381", 0 }, /* the host that answered */
    { "MOVED 3999 :6381", "unix:///run/r.sock", NULL, 0 },
    { "MOVED 3999 10.0.0.7:0", "redis://h:1", NULL, 0 },
    { "MOVED 3999 10.0.0.7:70000", "redis://h:1", NULL, 0 },
    { "MOVED 3999 u@10.0.0.7:6381", "redis://h:1", NULL, 0 },
    { "MOVED 3999", "redis://h:1", NULL, 0 },
    { "MOVED", "redis://h:1", NULL, 0 },
    { "ASK 3999 10.0.0.7:6381", "redis://h:1", NULL, 0 },
    { "READONLY 10.0.0.7:6381", "redis://h:1", NULL, 0 },
};

static void moved_leads_to_a_server(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof moved_url / sizeof *moved_url; i++) {
        struct redis_url from, moved = { 0 };
        struct fault fault = { 0 };
        assert_int_equal(redis_url_parse(moved_url[i].from, &from, &fault), OK);
        assert_int_equal(redis_url_moved(moved_url[i].text, &from, &moved),
                         moved_url[i].name != NULL);
        assert_string_equal(moved.name ? moved.name : "",
                            moved_url[i].name ? moved_url[i].name : "");
        assert_int_equal(moved.db, moved_url[i].db);
        redis_url_release(&moved);
        redis_url_release(&from);
    }
}

static void url_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good_url / sizeof *good_url; i++) {
        struct redis_url url;
        struct fault fault = { 0 };
        assert_int_equal(redis_url_parse(good_url[i].text, &url, &fault), OK);
        assert_string_equal(url.host ? url.host : "", good_url[i].host ? good_url[i].host : "");
        assert_string_equal(url.path ? url.path : "", good_url[i].path ? good_url[i].path : "");
        assert_int_equal(url.port, good_url[i].port);
        assert_int_equal(url.db, good_url[i].db);
        redis_url_release(&url);
    }
    for (size_t i = 0; i < sizeof bad_url / sizeof *bad_url; i++) {
        struct redis_url url;
        struct fault fault = { 0 };
        assert_int_equal(redis_url_parse(bad_url[i], &url, &fault), ERR_CONFIG);
        assert_true(strlen(fault.text) > 20);
    }
}

static void url_never_shows_credentials(void **state)
{
    (void)state;
    struct redis_url url;
    struct fault fault = { 0 };
    assert_int_equal(redis_url_parse("redis://u:hunter2@h", &url, &fault), ERR_CONFIG);
    assert_null(strstr(fault.text, "hunter2"));
    assert_int_equal(redis_url_parse("redsi://u:hunter2@h", &url, &fault), ERR_CONFIG);
    assert_null(strstr(fault.text, "hunter2"));
}

static void url_path_length_has_a_limit(void **state)
{
    (void)state;
    struct redis_url url;
    struct fault fault = { 0 };
    char text[160] = "unix:///";
    memset(text + 8, 'a', 106); /* with the slash 107 bytes: the most that fits */
    assert_int_equal(redis_url_parse(text, &url, &fault), OK);
    redis_url_release(&url);
    text[8 + 106] = 'a';
    assert_int_equal(redis_url_parse(text, &url, &fault), ERR_CONFIG);
}

/* ---- error rows ---- */

static const struct {
    const char *text;
    enum err code;
    bool reconnects;
} error_case[] = {
    { "FENCED", ERR_FENCED, false },
    { "FENCED 12", ERR_FENCED, false },
    { "FENCEDX", ERR_REDIS_REPLY, false },
    { "fenced", ERR_REDIS_REPLY, false },
    { "GONE x", ERR_FENCED, false },
    { "BADARG from: want a date", ERR_ARGUMENT, false },
    { "BADPHASE fan", ERR_BUG, false },
    { "PAUSED", ERR_REDIS_BUSY, false },
    { "LOADING Redis is loading the dataset in memory", ERR_REDIS_BUSY, false },
    { "BUSY Redis is busy running a script.", ERR_REDIS_BUSY, false },
    { "BUSYGROUP Consumer Group name already exists", ERR_REDIS_REPLY, false },
    { "TRYAGAIN", ERR_REDIS_BUSY, false },
    { "CLUSTERDOWN Hash slot not served", ERR_REDIS_BUSY, false },
    { "MASTERDOWN Link with MASTER is down", ERR_REDIS_ROLE, true },
    { "OOM command not allowed when used memory > 'maxmemory'.", ERR_REDIS_FULL, false },
    { "MISCONF Redis is configured to save RDB snapshots", ERR_REDIS_FULL, false },
    { "NOREPLICAS Not enough good replicas to write.", ERR_REDIS_BUSY, false },
    { "READONLY You can't write against a read only replica.", ERR_REDIS_ROLE, true },
    { "MOVED 3999 127.0.0.1:6381", ERR_REDIS_ROLE, true },
    { "ASK 3999 127.0.0.1:6381", ERR_REDIS_BUSY, false },
    { "NOAUTH Authentication required.", ERR_REDIS_DENIED, true },
    { "WRONGPASS invalid username-password pair", ERR_REDIS_DENIED, true },
    { "NOPERM this user has no permissions", ERR_REDIS_DENIED, false },
    { "ERR Function not found", ERR_REDIS_LIBRARY, false },
    { "ERR Function", ERR_REDIS_REPLY, false },
    { "ERR syntax error", ERR_REDIS_REPLY, false },
    { "WRONGTYPE Operation against a key", ERR_REDIS_REPLY, false },
    { "", ERR_REDIS_REPLY, false },
};

static void error_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof error_case / sizeof *error_case; i++) {
        assert_int_equal(redis_error_row(error_case[i].text), error_case[i].code);
        assert_int_equal(redis_error_reconnects(error_case[i].text), error_case[i].reconnects);
    }
}

/* ---- commands ---- */

static void command_is_binary_safe(void **state)
{
    (void)state;
    static const char expected[] = "*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\n\0\r\n\xff\r\n";
    const char *argv[] = { "SET", "", "\0\r\n\xff" };
    AUTO_BUF out = BUF_INIT(100);
    assert_true(redis_command_write(&out, 3, argv, (size_t[]){ 3, 0, 4 }));
    assert_int_equal(out.len, sizeof expected - 1);
    assert_memory_equal(out.data, expected, out.len);
}

static void command_that_does_not_fit_leaves_nothing(void **state)
{
    (void)state;
    const char *argv[] = { "PING" };
    AUTO_BUF out = BUF_INIT(14 + 13);
    assert_true(redis_command_write(&out, 1, argv, (size_t[]){ 4 }));
    assert_int_equal(out.len, 14);
    assert_false(redis_command_write(&out, 1, argv, (size_t[]){ 4 }));
    assert_string_equal(buf_text(&out), "*1\r\n$4\r\nPING\r\n");
    assert_int_equal(out.len, 14);
    assert_false(out.overflow);
}

static void args_keep_bytes_and_numbers(void **state)
{
    (void)state;
    struct redis_args args;
    redis_args_init(&args);
    redis_args_add(&args, "");
    redis_args_add_int(&args, INT64_MIN);
    redis_args_add_bytes(&args, "\0a", 2);
    for (int i = 0; i < 100; i++)
        redis_args_add_int(&args, i);
    assert_int_equal(args.count, 103);
    assert_int_equal(args.len[0], 0);
    assert_int_equal(args.len[1], 20);
    assert_memory_equal(args.bytes.data, "-9223372036854775808\0a0123", 26);
    redis_args_release(&args);
}

/* ---- replies ---- */

/* Feeds in pieces; true: the reader gave the reply with the last piece, and not before. */
static bool read_reply(const char *bytes, size_t len, size_t piece, struct redisReply **ret)
{
    struct redis_reader *reader = redis_reader_new();
    struct fault fault = { 0 };
    enum err err = OK;
    *ret = NULL;
    for (size_t at = 0; at < len && !err; at += piece) {
        assert_null(*ret);
        err =
            redis_reader_feed(reader, bytes + at, piece < len - at ? piece : len - at, &fault);
        if (!err)
            err = redis_reader_next(reader, ret, &fault);
    }
    assert_int_equal(err, err ? ERR_REDIS_REPLY : OK);
    assert_int_equal(fault.code, err);
    redis_reader_free(reader);
    return *ret != NULL;
}

static void reply_types(void **state)
{
    (void)state;
    static const char bytes[] =
        "*7\r\n$3\r\na\0b\r\n+OK\r\n:-42\r\n$-1\r\n-ERR no\r\n*0\r\n$3\r\n108\r\n";
    for (size_t piece = 1; piece < sizeof bytes; piece++) {
        struct redisReply *reply;
        assert_true(read_reply(bytes, sizeof bytes - 1, piece, &reply));
        assert_int_equal(redis_reply_type(reply), REDIS_ARRAY);
        assert_int_equal(redis_reply_count(reply), 7);
        assert_int_equal(redis_reply_len(redis_reply_at(reply, 0)), 3);
        assert_memory_equal(redis_reply_text(redis_reply_at(reply, 0)), "a\0b", 4);
        assert_string_equal(redis_reply_text(redis_reply_at(reply, 1)), "OK");
        assert_int_equal(redis_reply_int(redis_reply_at(reply, 2)), -42);
        assert_int_equal(redis_reply_type(redis_reply_at(reply, 3)), REDIS_NIL);
        assert_int_equal(redis_reply_type(redis_reply_at(reply, 4)), REDIS_ERROR);
        assert_string_equal(redis_reply_text(redis_reply_at(reply, 4)), "ERR no");
        assert_int_equal(redis_reply_count(redis_reply_at(reply, 5)), 0);
        assert_int_equal(redis_reply_int(redis_reply_at(reply, 6)), 108);
        assert_null(redis_reply_at(reply, 7));
        redis_reply_free(reply);
    }
}

static void reply_accessors_accept_the_wrong_type(void **state)
{
    (void)state;
    assert_int_equal(redis_reply_type(NULL), REDIS_NIL);
    assert_string_equal(redis_reply_text(NULL), "");
    assert_int_equal(redis_reply_len(NULL), 0);
    assert_int_equal(redis_reply_int(NULL), 0);
    assert_null(redis_reply_at(NULL, 0));
    struct redisReply *reply;
    assert_true(read_reply(":7\r\n", 4, 1, &reply));
    assert_string_equal(redis_reply_text(reply), "");
    assert_int_equal(redis_reply_len(reply), 0);
    assert_int_equal(redis_reply_count(reply), 0);
    redis_reply_free(reply);
}

static void reply_int_is_strict_about_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } row[] = {
        { "+9223372036854775807\r\n", INT64_MAX },
        { "+9223372036854775808\r\n", 0 },
        { "+-9223372036854775808\r\n", INT64_MIN },
        { "+12x\r\n", 0 },
        { "+1-2\r\n", 0 },
        { "+ 1\r\n", 0 },
        { "+-\r\n", 0 },
        { "+\r\n", 0 },
        { "$3\r\n1\0002\r\n", 0 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct redisReply *reply;
        size_t len = *row[i].text == '$' ? 9 : strlen(row[i].text);
        assert_true(read_reply(row[i].text, len, len, &reply));
        assert_true(redis_reply_int(reply) == row[i].value);
        redis_reply_free(reply);
    }
}

static void reader_refuses_nonsense(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "HTTP/1.1 400\r\n",
        "%1\r\n+a\r\n+b\r\n",
        "_\r\n",
        "$-2\r\n",
        "*-2\r\n",
        "$99999999999999999999\r\n",
        "*1048577\r\n",
        "*2147483647\r\n",
        "*4294967297\r\n",
        "\r\n",
        "\x16\x03\x01\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct redisReply *reply;
        struct redis_reader *reader = redis_reader_new();
        struct fault fault = { 0 };
        assert_int_equal(redis_reader_feed(reader, bad[i], strlen(bad[i]), &fault), OK);
        assert_int_equal(redis_reader_next(reader, &reply, &fault), ERR_REDIS_REPLY);
        redis_reader_free(reader);
    }
}

static void reader_reads_seven_levels(void **state)
{
    (void)state;
    static const char bytes[] = "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:5\r\n";
    struct redisReply *reply;
    assert_true(read_reply(bytes, sizeof bytes - 1, 3, &reply));
    const struct redisReply *inner = reply;
    while (redis_reply_type(inner) == REDIS_ARRAY)
        inner = redis_reply_at(inner, 0);
    assert_int_equal(redis_reply_int(inner), 5);
    redis_reply_free(reply);
}

/* A bulk of `size` bytes in pieces of 64 KiB; true if it was read whole. */
static bool reads_bulk(size_t size)
{
    AUTO_BUF bytes = BUF_INIT(size + 100);
    buf_print(&bytes, "$%zu\r\n", size);
    AUTO_TEXT char *block = mem_alloc(size);
    buf_add(&bytes, block, size);
    buf_add(&bytes, "\r\n", 2);
    struct redisReply *reply;
    bool whole = read_reply(bytes.data, bytes.len, 64 * 1024, &reply);
    if (whole)
        redis_reply_free(reply);
    return whole;
}

static void reader_limits_the_size_of_a_reply(void **state)
{
    (void)state;
    assert_true(reads_bulk(REDIS_REPLY_BYTES_MAX - 64 * 1024));
    assert_false(reads_bulk(REDIS_REPLY_BYTES_MAX + 64 * 1024));
}

static void reader_counts_each_reply_by_itself(void **state)
{
    (void)state;
    struct redis_reader *reader = redis_reader_new();
    struct fault fault = { 0 };
    AUTO_BUF bulk = BUF_INIT(2 << 20);
    AUTO_TEXT char *block = mem_alloc(1 << 20);
    buf_print(&bulk, "$%d\r\n", 1 << 20);
    buf_add(&bulk, block, 1 << 20);
    buf_add(&bulk, "\r\n", 2);
    for (int i = 0; i < 20; i++) { /* 20 MiB altogether */
        struct redisReply *reply;
        assert_int_equal(redis_reader_feed(reader, bulk.data, bulk.len, &fault), OK);
        assert_int_equal(redis_reader_next(reader, &reply, &fault), OK);
        assert_int_equal(redis_reply_len(reply), 1 << 20);
        redis_reply_free(reply);
        assert_int_equal(redis_reader_next(reader, &reply, &fault), OK);
        assert_null(reply);
    }
    redis_reader_free(reader);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(moved_leads_to_a_server),
        cmocka_unit_test(url_forms),
        cmocka_unit_test(url_never_shows_credentials),
        cmocka_unit_test(url_path_length_has_a_limit),
        cmocka_unit_test(error_rows),
        cmocka_unit_test(command_is_binary_safe),
        cmocka_unit_test(command_that_does_not_fit_leaves_nothing),
        cmocka_unit_test(args_keep_bytes_and_numbers),
        cmocka_unit_test(reply_types),
        cmocka_unit_test(reply_accessors_accept_the_wrong_type),
        cmocka_unit_test(reply_int_is_strict_about_text),
        cmocka_unit_test(reader_refuses_nonsense),
        cmocka_unit_test(reader_reads_seven_levels),
        cmocka_unit_test(reader_limits_the_size_of_a_reply),
        cmocka_unit_test(reader_counts_each_reply_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
