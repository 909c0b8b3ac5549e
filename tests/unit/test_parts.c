/* SPDX-License-Identifier: Apache-2.0 */
/* The part plan: sizes, runs, offsets, checksums, text form; and what a resume may trust. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/parts.h"
#include "daemon/resume.h"
#include "lib/base/digest.h"

#define MIB (1024 * 1024LL)

static void test_size_grows_with_the_file(void **state)
{
    int64_t size = 0;
    (void)state;
    assert_int_equal(parts_size(0, 8 * MIB, 64 * MIB, &size), OK);
    assert_int_equal(size, 8 * MIB);
    assert_int_equal(parts_size(80000 * MIB, 8 * MIB, 64 * MIB, &size), OK);
    assert_int_equal(size, 8 * MIB);
    assert_int_equal(parts_size(80000 * MIB + 1, 8 * MIB, 64 * MIB, &size), OK);
    assert_int_equal(size, 9 * MIB);
    assert_true((80000 * MIB + 1 + size - 1) / size <= S3_PARTS_MAX);
    assert_int_equal(parts_size(5LL << 40, 8 * MIB, 64 * MIB, &size), ERR_MEMORY);
    assert_int_equal(size, 9 * MIB);
}

static struct s3_part stored(int64_t size)
{
    return (struct s3_part){ .size = size, .etag = "e", .crc32c = 7, .has_crc32c = true };
}

static void test_runs_and_offset(void **state)
{
    struct parts parts;
    int first = -1;
    (void)state;
    parts_init(&parts, 25, 10);
    assert_int_equal(parts.count, 3);
    assert_int_equal(parts_length(&parts, 2), 5);
    assert_int_equal(parts_take(&parts, 2, &first), 2);
    assert_int_equal(first, 0);
    assert_int_equal(parts_take(&parts, 9, &first), 1);
    assert_int_equal(first, 2);
    assert_int_equal(parts_take(&parts, 9, &first), 0);
    struct s3_part ten = stored(10), five = stored(5);
    parts_store(&parts, 1, &ten);
    assert_int_equal(parts_offset(&parts), 0); /* a hole before it */
    assert_int_equal(parts_stored_bytes(&parts), 10);
    parts_put_back(&parts, 0);
    assert_int_equal(parts_take(&parts, 9, &first), 1);
    assert_int_equal(first, 0);
    parts_store(&parts, 0, &ten);
    assert_int_equal(parts_offset(&parts), 20);
    parts_store(&parts, 2, &five);
    assert_int_equal(parts_offset(&parts), 25);
    assert_int_equal(parts_stored_bytes(&parts), 25);
    assert_int_equal(parts.stored, 3);
    assert_int_equal(parts.part[2].number, 3);
    parts_release(&parts);
}

static void test_run_stops_at_a_stored_part(void **state)
{
    struct parts parts;
    int first = -1;
    (void)state;
    parts_init(&parts, 50, 10);
    struct s3_part ten = stored(10);
    parts_store(&parts, 0, &ten);
    parts_store(&parts, 3, &ten);
    assert_int_equal(parts.todo, 3);
    assert_int_equal(parts_take(&parts, 5, &first), 2);
    assert_int_equal(first, 1);
    assert_int_equal(parts_take(&parts, 5, &first), 1);
    assert_int_equal(first, 4);
    parts_release(&parts);
}

static void test_empty_file_has_one_part(void **state)
{
    struct parts parts;
    int first = -1;
    (void)state;
    parts_init(&parts, 0, 10);
    assert_int_equal(parts.count, 1);
    assert_int_equal(parts_length(&parts, 0), 0);
    assert_int_equal(parts_take(&parts, 1, &first), 1);
    struct s3_part none = stored(0);
    none.crc32c = 0;
    parts_store(&parts, 0, &none);
    assert_int_equal(parts_crc32c(&parts), 0);
    parts_release(&parts);
}

static void test_checksum_of_the_whole(void **state)
{
    static const char text[] = "The quick brown fox jumps over the lazy dog";
    struct parts parts;
    (void)state;
    parts_init(&parts, sizeof text, 10);
    for (int i = 0; i < parts.count; i++) {
        int64_t len = parts_length(&parts, i);
        struct s3_part part = stored(len);
        part.crc32c = digest_crc32c(0, text + parts_start(&parts, i), (size_t)len);
        parts_store(&parts, i, &part);
    }
    assert_int_equal(parts_crc32c(&parts), digest_crc32c(0, text, sizeof text));
    parts_release(&parts);
}

static void test_text_form(void **state)
{
    static const char *const bad[] = { "",        "5",          "5 00",        "5 zz e",
                                       "-1 00 e", "5 00000001", "5 00000001 ", "x 00000001 e" };
    struct s3_part part = { .size = 8388608, .crc32c = 0xdeadbeef, .etag = "0cc1\"-x" }, back;
    AUTO_BUF text = BUF_INIT(1000);
    (void)state;
    parts_write(&part, &text);
    assert_string_equal(text.data, "8388608 deadbeef 0cc1\"-x");
    assert_int_equal(parts_read(text.data, &back), OK);
    assert_int_equal(back.size, part.size);
    assert_int_equal(back.crc32c, part.crc32c);
    assert_string_equal(back.etag, part.etag);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(parts_read(bad[i], &back), ERR_ARGUMENT);
}

/* A task whose record has part 1 and 2 of a file of 25 bytes in parts of 10. */
static struct queue_field record[] = { { "p1", "10 00000007 e" }, { "p2", "10 00000008 f" } };
static struct queue_task task = { .field = record, .fields = 2 };

static void test_resume_wants_agreement(void **state)
{
    struct parts parts;
    (void)state;
    parts_init(&parts, 25, 10);
    struct s3_part listed = { .number = 1, .size = 10, .etag = "e" };
    assert_true(resume_part(&parts, &task, &listed));
    assert_false(resume_part(&parts, &task, &listed)); /* twice the same row */
    listed = (struct s3_part){ .number = 2, .size = 10, .etag = "other" };
    assert_false(resume_part(&parts, &task, &listed));
    listed = (struct s3_part){ .number = 2, .size = 9, .etag = "f" };
    assert_false(resume_part(&parts, &task, &listed));
    listed = (struct s3_part){ .number = 2, .size = 10, .etag = "f", .has_crc32c = true };
    assert_false(resume_part(&parts, &task, &listed));
    listed = (struct s3_part){ .number = 3, .size = 5, .etag = "g" };
    assert_false(resume_part(&parts, &task, &listed)); /* not in our record */
    listed = (struct s3_part){ .number = 9, .size = 5, .etag = "g" };
    assert_false(resume_part(&parts, &task, &listed)); /* not in the plan */
    assert_int_equal(parts.stored, 1);
    parts_release(&parts);
}

static void test_resume_checksum_needs_every_part(void **state)
{
    struct parts parts;
    uint32_t crc = 1;
    (void)state;
    parts_init(&parts, 25, 10);
    assert_false(resume_crc32c(&parts, &task, &crc));
    assert_int_equal(crc, 1);
    parts_release(&parts);
    parts_init(&parts, 20, 10);
    assert_true(resume_crc32c(&parts, &task, &crc));
    assert_int_equal(crc, digest_crc32c_combine(7, 8, 10));
    parts_release(&parts);
}

static void test_resume_same_object(void **state)
{
    struct parts parts;
    struct s3_call head = { .got_size = 20, .got_source = "abc" };
    (void)state;
    parts_init(&parts, 20, 10);
    assert_true(resume_same(&head, &parts, "abc"));
    assert_false(resume_same(&head, &parts, "abd"));
    head.got_size = 21;
    assert_false(resume_same(&head, &parts, "abc"));
    parts_release(&parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size_grows_with_the_file),
        cmocka_unit_test(test_runs_and_offset),
        cmocka_unit_test(test_run_stops_at_a_stored_part),
        cmocka_unit_test(test_empty_file_has_one_part),
        cmocka_unit_test(test_checksum_of_the_whole),
        cmocka_unit_test(test_text_form),
        cmocka_unit_test(test_resume_wants_agreement),
        cmocka_unit_test(test_resume_checksum_needs_every_part),
        cmocka_unit_test(test_resume_same_object),
    };
    digest_init();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    digest_release();
    return failed;
}
