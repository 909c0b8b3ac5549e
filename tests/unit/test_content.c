/* SPDX-License-Identifier: Apache-2.0 */
/* The ends of a file: in whatever pieces and order they pass, the verdict is the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/content.h"

#define SIZE 30
#define NONE ((struct content_ends){ .head_seen = 0 })

static void forms_follow_the_name(void **state)
{
    static const struct {
        const char *name;
        enum content_form full, magic;
    } row[] = {
        { "part-0.c000.snappy.parquet", FORM_PARQUET, FORM_PARQUET },
        { "A.PARQUET", FORM_PARQUET, FORM_PARQUET },
        { ".parquet", FORM_PARQUET, FORM_PARQUET },
        { "parquet", FORM_ANY, FORM_ANY },
        { "a.parquet.crc", FORM_ANY, FORM_ANY },
        { "a.json", FORM_LINES, FORM_ANY },
        { "d/a.CSV", FORM_LINES, FORM_ANY },
        { "a.json.gz", FORM_ANY, FORM_ANY },
        { "a.csv.gz", FORM_ANY, FORM_ANY },
        { "_SUCCESS", FORM_ANY, FORM_ANY },
        { "", FORM_ANY, FORM_ANY },
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        assert_int_equal(content_form(row[i].name, 5, CONTENT_FULL), row[i].full);
        assert_int_equal(content_form(row[i].name, 5, CONTENT_MAGIC), row[i].magic);
        assert_int_equal(content_form(row[i].name, 5, CONTENT_OFF), FORM_ANY);
        assert_int_equal(content_form(row[i].name, 0, CONTENT_FULL), FORM_ANY);
    }
}

static void make_parquet(char *file, size_t size, uint32_t footer)
{
    memset(file, 'x', size);
    memcpy(file, "PAR1", 4);
    memcpy(file + size - 4, "PAR1", 4);
    for (int i = 0; i < 4; i++)
        file[size - 8 + (size_t)i] = (char)(footer >> 8 * i);
}

static enum err judge(const struct content_ends *ends, enum content_form form, int64_t length)
{
    struct fault fault = { .code = OK };
    enum err err = content_judge(ends, form, "n", length, &fault);
    assert_int_equal(err, fault.code);
    assert_int_equal(err == OK, fault.text[0] == 0);
    return err;
}

static bool missing(const struct content_ends *ends, enum content_form form, int64_t length)
{
    int64_t first = -1, last = -1;
    bool some = content_missing(ends, form, length, &first, &last);
    assert_true(some ? 0 <= first && first <= last && last < length : first == -1);
    return some;
}

/* Three pieces [0,a) [a,b) [b,SIZE), in each order. */
static struct content_ends noted(const char *file, size_t a, size_t b, int order)
{
    static const int turn[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
                                    { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
    const size_t at[] = { 0, a, b, SIZE };
    struct content_ends ends = NONE;
    for (int i = 0; i < 3; i++) {
        int piece = turn[order][i];
        content_note(&ends, SIZE, (int64_t)at[piece], file + at[piece],
                     at[piece + 1] - at[piece]);
    }
    return ends;
}

static void any_split_and_order_is_the_same(void **state)
{
    char good[SIZE], bad[SIZE];
    (void)state;
    make_parquet(good, SIZE, SIZE - 12);
    for (size_t a = 0; a <= SIZE; a++)
        for (size_t b = a; b <= SIZE; b++)
            for (int order = 0; order < 6; order++) {
                struct content_ends ends = noted(good, a, b, order);
                assert_false(missing(&ends, FORM_PARQUET, SIZE));
                assert_int_equal(judge(&ends, FORM_PARQUET, SIZE), OK);
                for (size_t i = 0; i < SIZE; i = i == 3 ? SIZE - 8 : i + 1) {
                    memcpy(bad, good, SIZE);
                    bad[i] ^= 0x40; /* the footer grows too long by any of its bytes, too */
                    ends = noted(bad, a, b, order);
                    assert_int_equal(judge(&ends, FORM_PARQUET, SIZE), ERR_CORRUPT);
                }
            }
}

/* What was not seen is asked for, and is all that is asked for. */
static void gaps_are_named_and_filled(void **state)
{
    char file[SIZE];
    (void)state;
    make_parquet(file, SIZE, 3);
    for (int seen = 0; seen < 1 << 12; seen++) {
        struct content_ends ends = NONE;
        int64_t first, last, asked = 0, reads = 0;
        for (int i = 0; i < 12; i++) {
            int at = i < 4 ? i : SIZE - 12 + i;
            if (seen >> i & 1)
                assert_true(content_note(&ends, SIZE, at, file + at, 1));
        }
        for (; content_missing(&ends, FORM_PARQUET, SIZE, &first, &last); reads++) {
            assert_int_equal(judge(&ends, FORM_PARQUET, SIZE), OK);
            size_t len = (size_t)(last - first + 1);
            assert_true(content_note(&ends, SIZE, first, file + first, len));
            asked += (int64_t)len;
        }
        assert_int_equal(asked, 12 - __builtin_popcount((unsigned)seen));
        assert_true(seen || reads == 2);
        assert_int_equal(judge(&ends, FORM_PARQUET, SIZE), OK);
        assert_false(content_note(&ends, SIZE, 0, file, SIZE)); /* nothing new */
    }
}

static void parquet_has_room_for_its_footer(void **state)
{
    char file[SIZE];
    (void)state;
    for (int64_t size = 1; size < 12; size++) {
        struct content_ends ends = NONE;
        assert_int_equal(judge(&ends, FORM_PARQUET, size), ERR_CORRUPT);
        assert_false(missing(&ends, FORM_PARQUET, size));
    }
    for (size_t size = 12; size <= SIZE; size++)
        for (uint32_t footer = 0; footer <= SIZE; footer++) {
            struct content_ends ends = NONE;
            make_parquet(file, size, footer);
            content_note(&ends, (int64_t)size, 0, file, size);
            assert_int_equal(judge(&ends, FORM_PARQUET, (int64_t)size),
                             footer > 0 && footer <= size - 12 ? OK : ERR_CORRUPT);
        }
    struct content_ends huge = NONE;
    make_parquet(file, SIZE, UINT32_MAX);
    content_note(&huge, 12LL + UINT32_MAX, 0, file, 4);
    content_note(&huge, 12LL + UINT32_MAX, 4LL + UINT32_MAX, file + SIZE - 8, 8);
    assert_int_equal(judge(&huge, FORM_PARQUET, 12LL + UINT32_MAX), OK);
    assert_int_equal(judge(&huge, FORM_PARQUET, 11LL + UINT32_MAX), ERR_CORRUPT);
}

static void lines_end_in_a_line_feed(void **state)
{
    static const char text[] = "{\"a\":1}\n{\"b\":2}\n";
    (void)state;
    for (size_t size = 1; size < sizeof text; size++)
        for (size_t split = 0; split <= size; split++) {
            struct content_ends ends = NONE;
            content_note(&ends, (int64_t)size, (int64_t)split, text + split, size - split);
            assert_int_equal(missing(&ends, FORM_LINES, (int64_t)size), split == size);
            content_note(&ends, (int64_t)size, 0, text, split);
            assert_false(missing(&ends, FORM_LINES, (int64_t)size));
            assert_int_equal(judge(&ends, FORM_LINES, (int64_t)size),
                             text[size - 1] == '\n' ? OK : ERR_CORRUPT);
            assert_int_equal(judge(&ends, FORM_ANY, (int64_t)size), OK);
        }
}

static void the_verdict_speaks_as_the_guide_does(void **state)
{
    char file[SIZE];
    struct content_ends ends = NONE;
    struct fault fault = { .code = OK };
    (void)state;
    make_parquet(file, SIZE, 3);
    memcpy(file + SIZE - 4, "9b7\n", 4);
    content_note(&ends, SIZE, 0, file, SIZE);
    assert_int_equal(content_judge(&ends, FORM_PARQUET, "contact\n.parquet", SIZE, &fault),
                     ERR_CORRUPT);
    assert_string_equal(fault.text,
                        "contact?.parquet is not a Parquet file: expected magic "
                        "number at tail [80, 65, 82, 49] but found [57, 98, 55, 10]");
    memset(file, 0xff, 4);
    content_note(&ends, SIZE, 0, file, 4);
    assert_int_equal(content_judge(&ends, FORM_PARQUET, "n", SIZE, &fault), ERR_CORRUPT);
    assert_non_null(
        strstr(fault.text, "at head [80, 65, 82, 49] but found [255, 255, 255, 255]"));
}

static void text_form(void **state)
{
    static const char *const bad[] = { "",
                                       "5041523150",
                                       "50415231030000005041523-",
                                       "504152310300000050415231 ",
                                       "5041523103000000504152g1",
                                       "5041523103000000504152-1",
                                       "504152310300000050415A31" };
    struct content_ends ends = NONE, back = { .tail_seen = 7 };
    AUTO_BUF text = BUF_INIT(100);
    (void)state;
    content_write(&ends, &text);
    assert_string_equal(buf_text(&text), "------------------------");
    assert_int_equal(content_read(buf_text(&text), &back), OK);
    assert_memory_equal(&back, &ends, sizeof ends);
    content_note(&ends, 100, 2, "R1", 2);
    content_note(&ends, 100, 95, "\x03", 1);
    content_note(&ends, 100, 99, "\n", 1);
    buf_clear(&text);
    content_write(&ends, &text);
    assert_string_equal(buf_text(&text), "----5231------03------0a");
    assert_int_equal(content_read(buf_text(&text), &back), OK);
    assert_memory_equal(&back, &ends, sizeof ends);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(content_read(bad[i], &back), ERR_ARGUMENT);
    assert_memory_equal(&back, &ends, sizeof ends); /* untouched */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_follow_the_name),
        cmocka_unit_test(any_split_and_order_is_the_same),
        cmocka_unit_test(gaps_are_named_and_filled),
        cmocka_unit_test(parquet_has_room_for_its_footer),
        cmocka_unit_test(lines_end_in_a_line_feed),
        cmocka_unit_test(the_verdict_speaks_as_the_guide_does),
        cmocka_unit_test(text_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
