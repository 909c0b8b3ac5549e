/* SPDX-License-Identifier: Apache-2.0 */
/* Data Access listings: all pages of one, and what sources do between them. */
#include "lib/aep/access.h"

#include "tests/unit/aep_rig.h"

struct listed {
    struct access_list list;
    int pages, done;
    bool take, cancel_in_page;
};

static void on_page(struct access_list *list)
{
    struct listed *listed = container_of(list, struct listed, list);
    assert_true(list->count > 0);
    listed->pages++;
    for (size_t i = 0; listed->take && i < list->count; i++) {
        mem_free(list->files[i].id);
        mem_free(list->files[i].name);
        list->files[i] = (struct access_file){ 0 };
    }
    if (listed->cancel_in_page)
        access_list_cancel(list);
}

static void on_listed(struct access_list *list)
{
    container_of(list, struct listed, list)->done++;
}

static void run(struct rig *rig, struct listed *listed)
{
    listed->list.done = on_listed;
    access_list_start(rig->aep, &listed->list);
    assert_int_equal(listed->done, 0);
    SPIN(rig, listed->done > 0);
    assert_int_equal(listed->done, 1);
}

/* A page with rows [first, first + count); `link` as its next href, if not NULL. */
static void script_page(struct rig *rig, const char *match, int uses, int first, int count,
                        const char *link)
{
    AUTO_BUF body = BUF_INIT(1 << 20);
    buf_add_text(&body, "{\"data\":[");
    for (int i = first; i < first + count; i++)
        buf_print(&body, "%s{\"name\":\"f%d\",\"length\":%d}", i > first ? "," : "", i, i);
    buf_print(&body, "]%s%s%s}", link ? ",\"_links\":{\"next\":{\"href\":\"" : "",
              link ? link : "", link ? "\"}}" : "");
    rig_answer(rig, match, uses, "200 OK", "", buf_text(&body));
}

static void start(struct rig *rig)
{
    rig_start(rig);
    rig_token(rig, ALWAYS, "T", "86399");
}

/* Runs the script for dataset file F and checks how it ends. */
static void expect(struct rig *rig, enum err code, size_t rows, int requests)
{
    struct listed listed = { .list.file_id = "F" };
    run(rig, &listed);
    assert_int_equal(listed.list.fault.code, code);
    if (code == OK)
        assert_int_equal(listed.list.count, rows);
    assert_int_equal(rig_count(rig, "GET /data/foundation/export/files/F?"), requests);
    access_list_release(&listed.list);
    rig_stop(rig);
}

static void both_levels_are_asked_for(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    rig_answer(&rig, "/batches/01B%40x/files?limit=100 ", 1, "200 OK", "",
               "{\"data\":[{\"dataSetFileId\":\"01B-1\"}]}");
    struct listed listed = { .list.batch = "01B@x" };
    run(&rig, &listed);
    assert_int_equal(listed.list.fault.code, OK);
    assert_int_equal(listed.list.count, 1);
    assert_string_equal(listed.list.files[0].id, "01B-1");
    assert_null(listed.list.files[0].name);
    access_list_release(&listed.list);
    assert_null(listed.list.files);
    script_page(&rig, "?limit=100 ", 1, 0, 3, NULL);
    expect(&rig, OK, 3, 1);
}

static void links_are_followed_by_their_parameters_only(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    script_page(&rig, "files/F?limit=100 ", 2, 0, 2,
                "https://169.254.169.254/latest?limit=2&start=f%201&start=x&page=7");
    script_page(&rig, "files/F?limit=2&start=f%201 ", 1, 2, 2, "/only/path?start=4");
    script_page(&rig, "files/F?limit=2&start=4 ", 1, 4, 1, "?limit=500&start=5");
    script_page(&rig, "files/F?limit=2&start=5 ", 1, 5, 1, NULL);
    expect(&rig, OK, 6, 5);
}

static void full_pages_without_link_are_followed_by_offset(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    script_page(&rig, "?limit=100 ", 2, 0, 100, NULL);
    script_page(&rig, "start=100 ", 1, 100, 100, NULL);
    script_page(&rig, "start=200 ", 1, 200, 3, NULL);
    expect(&rig, OK, 203, 4);

    /* An empty page may mean that the server wants names; a refusal settles it. */
    start(&rig);
    script_page(&rig, "?limit=100 ", 2, 0, 100, NULL);
    script_page(&rig, "start=100 ", 1, 0, 0, NULL);
    rig_answer(&rig, "start=f99 ", 1, "400 Bad", "", "");
    expect(&rig, OK, 100, 4);

    /* A server that takes no cursor at all: the first page comes again and again. */
    start(&rig);
    script_page(&rig, "/files/F", ALWAYS, 0, 100, NULL);
    expect(&rig, OK, 100, 4);

    /* Rows that came twice do not count for the offset, or others would be skipped. */
    start(&rig);
    script_page(&rig, "?limit=100 ", 2, 0, 100, NULL);
    script_page(&rig, "start=100 ", 1, 50, 100, NULL);
    script_page(&rig, "start=150 ", 1, 150, 3, NULL);
    expect(&rig, OK, 153, 4);

    /* More rows than asked for; a link that does not say where it leads. */
    start(&rig);
    script_page(&rig, "?limit=100 ", 2, 0, 101, NULL);
    script_page(&rig, "start=101 ", 1, 101, 1, "?page=3");
    script_page(&rig, "start=102 ", 1, 102, 1, "?start=a b");
    script_page(&rig, "start=103 ", 1, 103, 1, NULL);
    expect(&rig, OK, 104, 5);
}

static void full_pages_without_link_are_followed_by_name(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    script_page(&rig, "?limit=100 ", 2, 0, 100, NULL);
    script_page(&rig, "start=100 ", 1, 0, 0, NULL);
    script_page(&rig, "start=f99 ", 1, 99, 100, NULL); /* from that name on, or behind it */
    script_page(&rig, "start=f198 ", 1, 199, 100, NULL);
    script_page(&rig, "start=f298 ", 1, 298, 2, NULL);
    expect(&rig, OK, 300, 6);

    /* A failing server is no end, nor is a refusal of anything but the first name. */
    start(&rig);
    script_page(&rig, "?limit=100 ", 1, 0, 100, NULL);
    script_page(&rig, "start=100 ", 1, 0, 0, NULL);
    rig_answer(&rig, "start=f99 ", 1, "502 Bad", "", "");
    expect(&rig, ERR_SERVER, 0, 3);
    start(&rig);
    script_page(&rig, "?limit=100 ", 1, 0, 100, NULL);
    script_page(&rig, "start=100 ", 1, 0, 0, NULL);
    script_page(&rig, "start=f99 ", 1, 100, 100, NULL);
    rig_answer(&rig, "start=f199 ", 1, "400 Bad", "", "");
    expect(&rig, ERR_REQUEST, 0, 4);
}

/* Rows 0..5 on two pages; what moves from the second to the first is not on either. */
static void moving_rows_are_caught_by_another_walk(void **state)
{
    (void)state;
    static const char first[] =
        "[{\"name\":\"f4\",\"length\":1},{\"name\":\"f1\",\"length\":1}]";
    AUTO_TEXT char *stirred =
        mem_print("{\"data\":%s,\"_links\":{\"next\":{\"href\":\"?start=2\"}}}", first);
    struct rig rig;
    start(&rig);
    rig_answer(&rig, "?limit=100 ", 1, "200 OK", "", stirred);
    script_page(&rig, "?limit=100 ", 2, 0, 2, "?start=2");
    script_page(&rig, "start=2 ", ALWAYS, 2, 4, NULL);
    expect(&rig, OK, 6, 5);

    /* Ever new rows in ever new places. */
    start(&rig);
    for (int i = 0; i < 10; i++) {
        script_page(&rig, "?limit=100 ", 1, 100 * i + 1, 1, "?start=2");
        script_page(&rig, "start=2 ", 1, 100 * i, 2, NULL);
    }
    expect(&rig, ERR_BAD_RESPONSE, 0, 10);

    /* The same disorder each time: the second walk brings nothing new. */
    start(&rig);
    rig_answer(&rig, "/files/F", ALWAYS, "200 OK", "",
               "[{\"name\":\"a\",\"length\":1},{\"name\":\"b\",\"length\":1},"
               "{\"name\":\"a\",\"length\":1}]");
    expect(&rig, OK, 2, 2);
}

/* Compaction between two pages: the first is void when the last one comes. */
static void files_renamed_between_pages_are_noticed(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    script_page(&rig, "?limit=100 ", 1, 0, 2, "?start=2");
    script_page(&rig, "start=2 ", 1, 12, 1, NULL);
    script_page(&rig, "?limit=100 ", 1, 10, 2, "?start=2");
    expect(&rig, ERR_SOURCE_CHANGED, 0, 3);

    /* All of them merged into one: the second page is empty. */
    start(&rig);
    script_page(&rig, "?limit=100 ", 1, 0, 2, "?start=2");
    script_page(&rig, "start=2 ", 1, 0, 0, NULL);
    script_page(&rig, "?limit=100 ", 1, 77, 1, NULL);
    expect(&rig, ERR_SOURCE_CHANGED, 0, 3);

    /* Rows may stand elsewhere; a page that says nothing proves nothing. */
    start(&rig);
    script_page(&rig, "?limit=100 ", 1, 0, 2, "?start=2");
    script_page(&rig, "start=2 ", 1, 2, 2, NULL);
    script_page(&rig, "?limit=100 ", 1, 2, 2, NULL);
    expect(&rig, OK, 4, 3);
    start(&rig);
    script_page(&rig, "?limit=100 ", 1, 0, 2, "?start=2");
    script_page(&rig, "start=2 ", 1, 2, 2, NULL);
    rig_answer(&rig, "?limit=100 ", 1, "200 OK", "", "{\"data\":7}");
    expect(&rig, ERR_BAD_RESPONSE, 0, 3);
}

static void empty_pages_in_the_middle_lose_nothing(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    script_page(&rig, "?limit=100 ", 2, 0, 2, "?start=2");
    script_page(&rig, "start=2 ", 1, 0, 0, "?start=4");
    script_page(&rig, "start=4 ", 1, 0, 2, "?start=6");
    script_page(&rig, "start=6 ", 1, 6, 2, NULL);
    expect(&rig, OK, 4, 5);

    /* A server that always knows a next page is believed for a while only. */
    start(&rig);
    script_page(&rig, "?limit=100 ", 2, 0, 2, "?start=2");
    for (int i = 2; i < 8; i++) {
        AUTO_TEXT char *link = mem_print("?start=%d", i + 1);
        script_page(&rig, "start=", 1, 0, 0, link);
    }
    expect(&rig, OK, 2, 6);

    start(&rig);
    script_page(&rig, "?limit=100 ", 2, 0, 2, "?start=2");
    script_page(&rig, "start=2 ", ALWAYS, 0, 0, "?start=2");
    expect(&rig, OK, 2, 3);
}

static void loops_are_refused(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    script_page(&rig, "?limit=100 ", 1, 0, 2, "?start=2");
    script_page(&rig, "start=2 ", ALWAYS, 2, 2, "?start=2");
    expect(&rig, ERR_BAD_RESPONSE, 0, 2);

    start(&rig);
    script_page(&rig, "?limit=100 ", 1, 0, 2, "?start=2");
    script_page(&rig, "start=2 ", ALWAYS, 2, 2, "?start=0");
    script_page(&rig, "start=0 ", ALWAYS, 0, 2, "?start=2");
    expect(&rig, ERR_BAD_RESPONSE, 0, 3);

    start(&rig);
    AUTO_TEXT char *link = mem_print("?start=%07000d", 1);
    script_page(&rig, "?limit=100 ", 1, 0, 2, link);
    expect(&rig, ERR_BAD_RESPONSE, 0, 1);
}

static void markers_are_left_out_but_counted(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    rig_answer(
        &rig, "/files/F", 1, "200 OK", "",
        "[{\"name\":\"_SUCCESS\",\"length\":\"8\"},{\"name\":\"d/_SUCCESS\",\"length\":0},"
        "{\"name\":\".hidden\",\"length\":0},{\"name\":\"_empty\",\"length\":0},"
        "{\"name\":\"_full\",\"length\":1},{\"name\":\".full\",\"length\":1},"
        "{\"name\":\"empty\",\"length\":0}]");
    expect(&rig, OK, 3, 1);

    start(&rig);
    AUTO_BUF body = BUF_INIT(1 << 20);
    buf_add_text(&body, "[{\"name\":\"_SUCCESS\",\"length\":0}");
    for (int i = 1; i < 100; i++)
        buf_print(&body, ",{\"name\":\"f%d\",\"length\":1}", i);
    buf_add_text(&body, "]");
    rig_answer(&rig, "?limit=100 ", 2, "200 OK", "", buf_text(&body));
    script_page(&rig, "start=100 ", 1, 100, 1, NULL);
    expect(&rig, OK, 100, 3);
}

static void pages_are_handed_over(void **state)
{
    (void)state;
    struct rig rig;
    for (int take = 0; take < 2; take++) {
        start(&rig);
        script_page(&rig, "?limit=100 ", 2, 0, 2, "?start=2");
        script_page(&rig, "start=2 ", 1, 0, 2, "?start=4");
        script_page(&rig, "start=4 ", 1, 2, 5, NULL);
        struct listed listed = { .list.file_id = "F", .list.page = on_page, .take = take };
        run(&rig, &listed);
        assert_int_equal(listed.list.fault.code, OK);
        assert_int_equal(listed.pages, 2); /* the middle one had nothing new */
        assert_int_equal(listed.list.count, 0);
        access_list_release(&listed.list);
        rig_stop(&rig);
    }
}

static void lists_can_be_cancelled(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    script_page(&rig, "?limit=100 ", 1, 0, 2, "?start=2");
    struct listed listed = { .list.file_id = "F",
                             .list.page = on_page,
                             .cancel_in_page = true };
    run(&rig, &listed);
    assert_int_equal(listed.list.fault.code, ERR_CANCELLED);
    assert_int_equal(listed.pages, 1);
    access_list_release(&listed.list);

    rig_script(&rig, "files/G", 1, HANG);
    listed = (struct listed){ .list.file_id = "G", .list.done = on_listed };
    access_list_start(rig.aep, &listed.list);
    SPIN(&rig, rig_count(&rig, "files/G") == 1);
    access_list_cancel(&listed.list);
    assert_int_equal(listed.done, 0);
    SPIN(&rig, listed.done == 1);
    assert_int_equal(listed.list.fault.code, ERR_CANCELLED);
    access_list_cancel(&listed.list); /* late, and harmless */
    access_list_release(&listed.list);
    rig_stop(&rig);
}

static void failing_pages_fail_the_list(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    script_page(&rig, "?limit=100 ", 1, 0, 2, "?start=2");
    rig_answer(&rig, "start=2 ", 1, "403 Forbidden", "",
               "{\"title\":\"no\",\"detail\":\"way\"}");
    struct listed listed = { .list.file_id = "F" };
    run(&rig, &listed);
    assert_int_equal(listed.list.fault.code, ERR_DENIED);
    assert_int_equal(listed.list.fault.http_status, 403);
    assert_string_equal(listed.list.fault.text, "Data Access 403: no: way");
    access_list_release(&listed.list);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_levels_are_asked_for),
        cmocka_unit_test(links_are_followed_by_their_parameters_only),
        cmocka_unit_test(full_pages_without_link_are_followed_by_offset),
        cmocka_unit_test(full_pages_without_link_are_followed_by_name),
        cmocka_unit_test(moving_rows_are_caught_by_another_walk),
        cmocka_unit_test(files_renamed_between_pages_are_noticed),
        cmocka_unit_test(empty_pages_in_the_middle_lose_nothing),
        cmocka_unit_test(loops_are_refused),
        cmocka_unit_test(markers_are_left_out_but_counted),
        cmocka_unit_test(pages_are_handed_over),
        cmocka_unit_test(lists_can_be_cancelled),
        cmocka_unit_test(failing_pages_fail_the_list),
    };
    return cmocka_run_group_tests(tests, rig_setup_libraries, rig_release_libraries);
}
