/* SPDX-License-Identifier: Apache-2.0 */
/* Data Access content: what a range may answer, and what becomes of it when it does not. */
#include "lib/aep/access.h"

#include "tests/unit/aep_rig.h"

static void start(struct rig *rig)
{
    rig_start(rig);
    rig_token(rig, ALWAYS, "T", "86399");
}

struct reader {
    struct access_read read;
    struct buf got;
    int done, pauses;
    bool refuse;
};

static enum http_data on_data(struct access_read *read, const void *bytes, size_t len)
{
    struct reader *reader = container_of(read, struct reader, read);
    if (reader->refuse)
        return HTTP_ABORT;
    if (reader->pauses-- > 0)
        return HTTP_PAUSE;
    buf_add(&reader->got, bytes, len);
    return HTTP_TAKEN;
}

static void on_read(struct access_read *read)
{
    container_of(read, struct reader, read)->done++;
}

static void read_range(struct rig *rig, struct reader *reader, int64_t first, int64_t last,
                       int64_t length)
{
    buf_init(&reader->got, 1 << 20);
    reader->read = (struct access_read){ .file_id = "01B@-1",
                                         .name = "d/p 1&x=\xc3\xa9",
                                         .first = first,
                                         .last = last,
                                         .length = length,
                                         .stall_ms = 2000,
                                         .data = on_data,
                                         .done = on_read };
    access_read_start(rig->aep, &reader->read);
    assert_int_equal(reader->done, 0);
    while (reader->done == 0) {
        assert_false(rig->late);
        rig_turn(rig);
        access_read_resume(&reader->read);
    }
    assert_int_equal(reader->done, 1);
    assert_int_equal(reader->read.received, reader->got.len);
}

static void reader_release(struct reader *reader)
{
    access_read_release(&reader->read);
    buf_release(&reader->got);
}

/* Asks for [first, last] of 10 bytes. */
struct content_case {
    int first, last;
    const char *status, *headers, *body;
    enum err code;
    const char *got;
};

#define RANGE(text) "Content-Range: bytes " text "\r\n"

static const struct content_case content_case[] = {
    { 2, 5, "206 P", RANGE("2-5/10"), "2345", OK, "2345" },
    { 2, 5, "206 P", RANGE("2-3/10"), "23", OK, "23" },
    { 2, 5, "206 P", RANGE("2-5/10") "Content-Encoding: identity\r\n", "2345", OK, "2345" },
    { 2, 5, "206 P", RANGE("2-5/10") "Content-Type: text/html\r\n", "2345", OK, "2345" },
    { 2, 5, "206 P", RANGE("2-6/10"), "23456", ERR_BAD_RESPONSE, "" },
    { 2, 5, "206 P", RANGE("1-5/10"), "12345", ERR_BAD_RESPONSE, "" },
    { 2, 5, "206 P", RANGE("3-5/10"), "345", ERR_BAD_RESPONSE, "" },
    { 2, 5, "206 P", RANGE("2-5/11"), "2345", ERR_SOURCE_CHANGED, "" },
    { 2, 5, "206 P", RANGE("2-5/9"), "2345", ERR_SOURCE_CHANGED, "" },
    { 2, 5, "206 P", RANGE("2-5/*"), "2345", ERR_BAD_RESPONSE, "" },
    { 2, 5, "206 P", RANGE("5-2/10"), "2345", ERR_BAD_RESPONSE, "" },
    { 2, 5, "206 P", RANGE("pages 2-5/10"), "2345", ERR_BAD_RESPONSE, "" },
    { 2, 5, "206 P", "", "2345", ERR_BAD_RESPONSE, "" },
    { 2, 5, "206 P", RANGE("2-5/10") "Content-Encoding: gzip\r\n", "2345", ERR_BAD_RESPONSE,
      "" },
    { 2, 5, "206 P", RANGE("2-5/10"), "23456", ERR_BAD_RESPONSE, "2345" },
    { 2, 5, "206 P", RANGE("2-5/10"), "234", ERR_CUT, "234" },
    { 2, 5, "200 OK", "", "0123456789", ERR_BAD_RESPONSE, "" },
    { 2, 5, "204 No Content", "", "", ERR_BAD_RESPONSE, "" },
    { 0, 9, "200 OK", "", "0123456789", OK, "0123456789" },
    { 0, 3, "200 OK", "", "0123456789", OK, "0123" },
    { 0, 9, "200 OK", "", "012345678", ERR_SOURCE_CHANGED, "" },
    { 0, 9, "200 OK", "", "0123456789A", ERR_SOURCE_CHANGED, "" },
    { 0, 9, "200 OK", "", "<html>oops", OK, "<html>oops" },
    { 0, 9, "200 OK", "Content-Type: text/html\r\n", "0123456789", OK, "0123456789" },
    { 0, 9, "200 OK", "Content-Type: text/html; charset=utf-8\r\n", "<html>", ERR_BAD_RESPONSE,
      "" },
    { 2, 5, "200 OK", "Content-Type: Text/HTML\r\n", "<html>oops", ERR_BAD_RESPONSE, "" },
    { 0, 9, "200 OK", "Content-Type: text/csv\r\n", "012345678", ERR_SOURCE_CHANGED, "" },
    { 2, 5, "416 R", RANGE("*/1"), "", ERR_SOURCE_CHANGED, "" },
    { 2, 5, "404 N", "", "{\"title\":\"gone\"}", ERR_NOT_FOUND, "" },
    { 2, 5, "410 G", "", "", ERR_NOT_FOUND, "" },
    { 2, 5, "302 F", "Location: http://169.254.169.254/\r\n", "", ERR_REDIRECT, "" },
    { 2, 5, "504 T", "", "<html>slow</html>", ERR_SERVER, "" },
};

static void answers_to_ranges_are_judged(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    for (size_t i = 0; i < sizeof content_case / sizeof *content_case; i++) {
        const struct content_case *c = &content_case[i];
        struct reader reader = { .done = 0 };
        if (i % 20 == 0) { /* the script is full, the limiter knows of failures */
            rig_stop(&rig);
            start(&rig);
        }
        rig_answer(&rig, "GET ", 1, c->status, c->headers, c->body);
        read_range(&rig, &reader, c->first, c->last, 10);
        assert_int_equal(reader.read.fault.code, c->code);
        assert_string_equal(buf_text(&reader.got), c->got);
        assert_true(c->code == OK || reader.read.fault.text[0] != 0);
        reader_release(&reader);
    }
    rig_stop(&rig);
}

static void ranges_and_names_are_sent(void **state)
{
    (void)state;
    struct rig rig;
    struct reader reader = { .done = 0 };
    start(&rig);
    rig_answer(&rig, "GET ", 1, "206 P", RANGE("2-5/10"), "2345");
    read_range(&rig, &reader, 2, 5, 10);
    assert_int_equal(rig_count(&rig, "GET /data/foundation/export/files/01B%40-1"
                                     "?path=d%2Fp%201%26x%3D%C3%A9 HTTP"),
                     1);
    assert_int_equal(rig_count(&rig, "\r\nRange: bytes=2-5\r\n"), 1);
    assert_int_equal(rig_count(&rig, "Accept-Encoding"), 0);
    reader_release(&reader);
    rig_stop(&rig);
}

static void empty_files_are_read_whole(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    struct reader reader = { .done = 0 };
    rig_answer(&rig, "GET ", 1, "200 OK", "", "");
    read_range(&rig, &reader, 0, -1, 0);
    assert_int_equal(reader.read.fault.code, OK);
    assert_int_equal(rig_count(&rig, "Range:"), 0);
    reader_release(&reader);

    reader = (struct reader){ .done = 0 };
    rig_script(&rig, "GET ", 1, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nx");
    read_range(&rig, &reader, 0, -1, 0);
    assert_int_equal(reader.read.fault.code, ERR_SOURCE_CHANGED);
    reader_release(&reader);
    rig_stop(&rig);
}

static void bodies_without_length_are_counted(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        enum err code;
        const char *got;
    } row[] = {
        { "200 OK\r\n\r\n0123456789", OK, "0123456789" },
        { "200 OK\r\n\r\n0123456789A", ERR_SOURCE_CHANGED, "0123456789" },
        { "200 OK\r\n\r\n012345678", ERR_CUT, "012345678" },
        { "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n",
          OK, "0123456789" },
        { "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n45", ERR_CUT,
          "012345" },
        { "206 P\r\n" RANGE("0-9/10") "Transfer-Encoding: chunked\r\n\r\n2\r\n01\r\n0\r\n\r\n",
          ERR_CUT, "01" },
        { "200 OK\r\nContent-Length: 10\r\n\r\n0123", ERR_CUT, "0123" },
        { "200 OK\r\nContent-Type: text/html\r\n\r\n0123456789", ERR_BAD_RESPONSE, "" },
        { "206 P\r\n" RANGE("0-9/10") "Transfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n"
                                      "0\r\n\r\n",
          OK, "0123456789" },
    };
    struct rig rig;
    start(&rig);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct reader reader = { .done = 0 };
        AUTO_TEXT char *answer = mem_print("HTTP/1.1 %s", row[i].answer);
        rig_script(&rig, "GET ", 1, answer);
        read_range(&rig, &reader, 0, 9, 10);
        assert_int_equal(reader.read.fault.code, row[i].code);
        assert_string_equal(buf_text(&reader.got), row[i].got);
        reader_release(&reader);
    }
    rig_stop(&rig);
}

static void paused_reads_lose_and_repeat_nothing(void **state)
{
    (void)state;
    struct rig rig;
    struct reader reader = { .pauses = 3 };
    start(&rig);
    rig_answer(&rig, "GET ", 1, "206 P", RANGE("2-5/10"), "2345");
    read_range(&rig, &reader, 2, 5, 10);
    assert_int_equal(reader.read.fault.code, OK);
    assert_string_equal(buf_text(&reader.got), "2345");
    assert_true(reader.pauses < 0);
    reader_release(&reader);
    rig_stop(&rig);
}

static void the_owner_may_end_a_read(void **state)
{
    (void)state;
    struct rig rig;
    struct reader reader = { .refuse = true };
    start(&rig);
    rig_answer(&rig, "GET ", 1, "206 P", RANGE("2-5/10"), "2345");
    read_range(&rig, &reader, 2, 5, 10);
    assert_int_equal(reader.read.fault.code, ERR_CANCELLED);
    assert_int_equal(reader.read.received, 0);
    reader_release(&reader);

    rig_script(&rig, "GET ", 1, HANG);
    reader = (struct reader){ .done = 0 };
    reader.read = (struct access_read){
        .file_id = "F", .name = "n", .last = 9, .length = 10, .data = on_data, .done = on_read
    };
    access_read_start(rig.aep, &reader.read);
    SPIN(&rig, rig_count(&rig, "files/F") == 1);
    access_read_cancel(&reader.read);
    SPIN(&rig, reader.done == 1);
    assert_int_equal(reader.read.fault.code, ERR_CANCELLED);
    reader_release(&reader);
    rig_stop(&rig);
}

static void overlong_names_are_refused(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    AUTO_TEXT char *name = mem_print("%09000d", 1);
    struct reader reader = { .read = { .file_id = "F",
                                       .name = name,
                                       .last = 9,
                                       .length = 10,
                                       .data = on_data,
                                       .done = on_read } };
    access_read_start(rig.aep, &reader.read);
    assert_int_equal(reader.done, 0);
    SPIN(&rig, reader.done == 1);
    assert_int_equal(reader.read.fault.code, ERR_ARGUMENT);
    reader_release(&reader);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_to_ranges_are_judged),
        cmocka_unit_test(ranges_and_names_are_sent),
        cmocka_unit_test(empty_files_are_read_whole),
        cmocka_unit_test(bodies_without_length_are_counted),
        cmocka_unit_test(paused_reads_lose_and_repeat_nothing),
        cmocka_unit_test(the_owner_may_end_a_read),
        cmocka_unit_test(overlong_names_are_refused),
    };
    return cmocka_run_group_tests(tests, rig_setup_libraries, rig_release_libraries);
}
