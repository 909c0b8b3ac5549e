/* SPDX-License-Identifier: Apache-2.0 */
/* Which unfinished uploads may be aborted; and how a page of them is read. */
#include "daemon/janitor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define ROOT "ListMultipartUploadsResult/"
#define HOUR (3600 * 1000LL)

static bool tell(struct s3_uploads *page, const char *name, const char *text)
{
    AUTO_TEXT char *path = mem_print(ROOT "%s", name);
    return s3_uploads_element(page, path, text);
}

static bool tell_upload(struct s3_uploads *page, const char *key, const char *id,
                        const char *begun)
{
    bool fine = tell(page, "Upload/Key", key) && tell(page, "Upload/UploadId", id) &&
                tell(page, "Upload/Initiated", begun);
    return fine && tell(page, "Upload", "");
}

static void a_page_is_read(void **state)
{
    (void)state;
    struct s3_uploads page = { 0 };
    assert_true(tell_upload(&page, "lake/a", "u1", "1970-01-01T00:00:01.000Z"));
    assert_true(tell_upload(&page, "lake/a", "u2", "1970-01-02T00:00:00Z"));
    assert_true(tell_upload(&page, "lake/b", "u3", "1970-01-01T00:00:00Z"));
    assert_true(tell(&page, "NextKeyMarker", "lake/b"));
    assert_true(tell(&page, "NextUploadIdMarker", "u3"));
    assert_true(tell(&page, "IsTruncated", "true"));
    assert_true(s3_uploads_finish(&page));
    assert_int_equal(page.count, 3);
    assert_string_equal(page.upload[1].key, "lake/a");
    assert_string_equal(page.upload[2].id, "u3");
    assert_int_equal(page.upload[0].begun_ms, 1000);
    assert_int_equal(page.upload[1].begun_ms, 24 * HOUR);
    assert_string_equal(page.next_key, "lake/b");
    s3_uploads_release(&page);
    assert_null(page.upload);
}

static void the_last_page_has_no_next(void **state)
{
    (void)state;
    struct s3_uploads page = { 0 };
    assert_true(tell(&page, "NextKeyMarker", "lake/b"));
    assert_true(tell(&page, "IsTruncated", "false"));
    assert_true(s3_uploads_finish(&page));
    assert_null(page.next_key);
    s3_uploads_release(&page);
}

static void a_page_that_stands_still_is_senseless(void **state)
{
    (void)state;
    struct s3_uploads page = { 0 };
    assert_true(tell(&page, "IsTruncated", "true"));
    assert_false(s3_uploads_finish(&page));
    assert_true(tell(&page, "NextKeyMarker", ""));
    assert_true(tell(&page, "NextUploadIdMarker", "u"));
    assert_false(s3_uploads_finish(&page));
    s3_uploads_release(&page);
}

static void an_upload_without_its_data_is_senseless(void **state)
{
    (void)state;
    struct s3_uploads page = { 0 };
    assert_false(tell_upload(&page, "k", "u", "yesterday"));
    s3_uploads_release(&page);
    assert_true(tell(&page, "Upload/UploadId", "u"));
    assert_false(tell(&page, "Upload", ""));
    s3_uploads_release(&page);
}

static void only_the_old_are_picked(void **state)
{
    (void)state;
    struct s3_uploads page = { 0 };
    struct candidate *candidate = NULL;
    assert_true(tell_upload(&page, "k", "just", "1970-01-01T02:00:00Z"));
    assert_true(tell_upload(&page, "k", "young", "1970-01-01T02:00:00.001Z"));
    assert_true(tell_upload(&page, "k", "old", "1970-01-01T00:00:00Z"));
    assert_true(tell_upload(&page, "k", "ahead", "1970-01-03T00:00:00Z"));
    page.at_ms = 50 * HOUR;
    assert_int_equal(janitor_pick(&page, 48 * HOUR, &candidate), 2);
    assert_string_equal(candidate[0].id, "just");
    assert_string_equal(candidate[1].id, "old");
    assert_int_equal(janitor_strike(candidate, 2, "nobody"), 2);
    assert_int_equal(janitor_strike(candidate, 2, ""), 2);
    assert_int_equal(janitor_strike(candidate, 2, "just"), 1);
    assert_string_equal(candidate[0].id, "old");
    assert_int_equal(janitor_strike(candidate, 1, "old"), 0);
    mem_free(candidate);
    s3_uploads_release(&page);
}

static void without_the_stores_clock_none_is_old(void **state)
{
    (void)state;
    struct s3_uploads page = { 0 };
    struct candidate *candidate = NULL;
    assert_true(tell_upload(&page, "k", "u", "1970-01-01T00:00:00Z"));
    assert_int_equal(janitor_pick(&page, 1, &candidate), 0);
    mem_free(candidate);
    s3_uploads_release(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_is_read),
        cmocka_unit_test(the_last_page_has_no_next),
        cmocka_unit_test(a_page_that_stands_still_is_senseless),
        cmocka_unit_test(an_upload_without_its_data_is_senseless),
        cmocka_unit_test(only_the_old_are_picked),
        cmocka_unit_test(without_the_stores_clock_none_is_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
