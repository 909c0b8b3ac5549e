/* SPDX-License-Identifier: Apache-2.0 */
/* One page of a Data Access listing: its shapes, and damaged ones. */
#include "lib/aep/access.h"

#include "tests/unit/aep_rig.h"

static const char listing[] =
    "{\"data\":[{\"name\":\"part-0.parquet\",\"length\":\"2380211\",\"_links\":{\"self\":"
    "{\"href\":\"https://elsewhere:443/x?path=part-0\"}}},{\"name\":\"d\\u00e9/p "
    "1\",\"length\":0}],"
    "\"_page\":{\"limit\":100,\"count\":7},\"_links\":{\"next\":{\"href\":"
    "\"https://evil.example/other/../path?start=part-0.parquet&limit=2#top\"}}}";

struct page {
    enum err err;
    struct access_file *files;
    size_t count;
    struct buf next;
    struct fault fault;
};

static struct page parse(const char *body, size_t len, const char *file_id)
{
    struct page page = { .next = BUF_INIT(4096) };
    page.err = access_parse_page(body, len, file_id, &page.files, &page.count, &page.next,
                                 &page.fault);
    assert_int_equal(page.fault.code, page.err);
    return page;
}

static void page_release(struct page *page)
{
    access_files_free(page->files, page->count);
    buf_release(&page->next);
}

static void files_are_read(void **state)
{
    (void)state;
    struct page page = parse(listing, strlen(listing), "01B-1");
    assert_int_equal(page.err, OK);
    assert_int_equal(page.count, 2);
    assert_string_equal(page.files[0].id, "01B-1");
    assert_string_equal(page.files[0].name, "part-0.parquet");
    assert_int_equal(page.files[0].length, 2380211);
    assert_string_equal(page.files[1].name, "d\xc3\xa9/p 1");
    assert_string_equal(buf_text(&page.next), "start=part-0.parquet&limit=2");
    page_release(&page);
}

static void all_three_shapes_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *body, *file_id;
        size_t count;
        const char *id, *name;
    } row[] = {
        { "{\"data\":[{\"dataSetFileId\":\"01B-1\",\"isValid\":false,\"created\":\"x\"}]}",
          NULL, 1, "01B-1", NULL },
        { "{\"data\":[{\"dataSetFileId\":\"01B-1-2\"}]}", "01B-1", 1, "01B-1-2", NULL },
        { "{\"data\":[{\"dataSetFileId\":\"01B-1\",\"name\":\"dir\"}]}", NULL, 1, "01B-1",
          NULL },
        { "[{\"name\":\"a\",\"length\":9}]", "01B-1", 1, "01B-1", "a" },
        { "[{\"name\":\"a\",\"length\":9,\"dataSetFileId\":\"x\"}]", "01B-1", 1, "01B-1", "a" },
        { "[]", "01B-1", 0, NULL, NULL },
        { "{\"data\":[],\"_links\":[]}", NULL, 0, NULL, NULL },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct page page = parse(row[i].body, strlen(row[i].body), row[i].file_id);
        assert_int_equal(page.err, OK);
        assert_int_equal(page.count, row[i].count);
        if (page.count)
            assert_string_equal(page.files[0].id, row[i].id);
        assert_true(!page.count || !row[i].name == !page.files[0].name);
        page_release(&page);
    }
}

static void pages_with_unusable_rows_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{}",
        "null",
        "{\"data\":null}",
        "{\"data\":[null]}",
        "{\"data\":[{}]}",
        "{\"data\":[{\"name\":\"a\"}]}",
        "{\"data\":[{\"name\":\"a\",\"length\":-1}]}",
        "{\"data\":[{\"name\":\"a\",\"length\":1.0}]}",
        "{\"data\":[{\"name\":\"a\",\"length\":\"\"}]}",
        "{\"data\":[{\"name\":\"a\",\"length\":\"0x1\"}]}",
        "{\"data\":[{\"name\":\"a\",\"length\":9223372036854775808}]}",
        "{\"data\":[{\"name\":\"\",\"length\":1}]}",
        "{\"data\":[{\"name\":\"a\\u0000b\",\"length\":1}]}",
        "{\"data\":[{\"name\":7,\"length\":1}]}",
        "{\"data\":[{\"dataSetFileId\":\"../x\"}]}",
        "{\"data\":[{\"dataSetFileId\":\"..\"}]}",
        "{\"data\":[{\"name\":\"a\",\"length\":1},{}]}",
        "{\"data\":[{\"name\":\"a\",\"length\":1}]",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct page page = parse(bad[i], strlen(bad[i]), "01B-1");
        assert_int_equal(page.err, ERR_BAD_RESPONSE);
        assert_null(page.files);
        page_release(&page);
    }
}

static void names_are_limited(void **state)
{
    (void)state;
    char name[ACCESS_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    for (int excess = 0; excess < 2; excess++) {
        name[ACCESS_NAME_MAX + excess] = 0;
        AUTO_TEXT char *body = mem_print("[{\"name\":\"%s\",\"length\":1}]", name);
        struct page page = parse(body, strlen(body), "01B-1");
        assert_int_equal(page.err, excess ? ERR_BAD_RESPONSE : OK);
        page_release(&page);
        name[ACCESS_NAME_MAX + excess] = 'n';
    }
}

static void parse_damaged(const char *body, size_t len)
{
    for (int level = 0; level < 2; level++) {
        struct page page = parse(body, len, level ? "01B-1" : NULL);
        for (size_t i = 0; i < page.count; i++) {
            assert_true(catalog_id_valid(page.files[i].id));
            assert_true(page.files[i].length >= 0);
            assert_true(!page.files[i].name || strlen(page.files[i].name) <= ACCESS_NAME_MAX);
        }
        page_release(&page);
    }
}

static void damaged_pages_are_survived(void **state)
{
    (void)state;
    damage_each(listing, 4000, parse_damaged);
    damage_each("{\"data\":[{\"dataSetFileId\":\"01B-1\"},{\"dataSetFileId\":\"01B-2\"}]}",
                2000, parse_damaged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_read),
        cmocka_unit_test(all_three_shapes_are_read),
        cmocka_unit_test(pages_with_unusable_rows_are_refused),
        cmocka_unit_test(names_are_limited),
        cmocka_unit_test(damaged_pages_are_survived),
    };
    return cmocka_run_group_tests(tests, rig_setup_libraries, rig_release_libraries);
}
