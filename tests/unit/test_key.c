/* SPDX-License-Identifier: Apache-2.0 */
/* Keys: encoding that never lets two names meet, templates, and every refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/digest.h"
#include "lib/s3/key.h"

#define CREATED 1700000000000 /* 2023-11-14T22:13:20Z */

static void assert_encoded(const char *text, const char *expected)
{
    AUTO_BUF out = BUF_INIT(4096);
    key_encode(&out, text);
    assert_string_equal(buf_text(&out), expected);
}

static void foreign_names_are_encoded(void **state)
{
    (void)state;
    assert_encoded("part-00000_a.snappy.parquet", "part-00000_a.snappy.parquet");
    assert_encoded("a=b", "a=b");
    assert_encoded("a/b", "a%2Fb");
    assert_encoded("..", "%2E.");
    assert_encoded(".hidden", "%2Ehidden");
    assert_encoded("100%", "100%25");
    assert_encoded("%2F", "%252F");
    assert_encoded("a b+c~:", "a%20b%2Bc%7E%3A");
    assert_encoded("\xc3\xa9\x01\x7f\xff", "%C3%A9%01%7F%FF");
    assert_encoded("", "%00");
    assert_encoded("sha256-0", "%73ha256-0");
    assert_encoded("sha256", "sha256");
    assert_encoded("_generation=5", "%5Fgeneration=5");
    assert_encoded("_generation", "_generation");
    assert_encoded("a_generation=5", "a_generation=5");
}

/* All texts of up to two bytes, encoded: no two are equal, none needs more than it says. */
static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void short_names_never_meet(void **state)
{
    (void)state;
    static char *encoded[1 + 255 + 255 * 255];
    size_t count = 0;
    for (int first = 0; first < 256; first++)
        for (int second = 0; second < (first ? 256 : 1); second++) {
            const char text[3] = { (char)first, (char)second, 0 };
            AUTO_BUF out = BUF_INIT(16);
            key_encode(&out, text);
            assert_false(out.overflow);
            assert_null(strchr(buf_text(&out), '/'));
            encoded[count++] = buf_take(&out);
        }
    assert_int_equal(count, sizeof encoded / sizeof *encoded);
    qsort(encoded, count, sizeof *encoded, compare);
    for (size_t i = 1; i < count; i++)
        assert_true(strcmp(encoded[i - 1], encoded[i]) != 0);
    for (size_t i = 0; i < count; i++)
        mem_free(encoded[i]);
}

/* ---- random names: KEY_NAMES of them (10000000 take 5 s), a million by default */

#define NAMES     1000000
#define NAME_SIZE 32

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/*
 * Few letters, so that names are near to each other, and most of them are what encoding could
 * confuse. Ends with the number, which makes every name new.
 */
static void random_name(uint64_t *state, uint64_t number, char name[NAME_SIZE])
{
    static const char letter[] = "a%2F/.\x01\xff 0-_sh56:~\r\n\"";
    size_t len = next_random(state) % 8;
    for (size_t i = 0; i < len; i++)
        name[i] = letter[next_random(state) % (sizeof letter - 1)];
    for (; number; number /= 16)
        name[len++] = "%./0123456789abc"[number % 16];
    name[len] = 0;
}

/* The inverse that readers would write: undoes %XX, and %00 for nothing. */
static void decode(const char *key, char *name)
{
    while (*key) {
        char digits[3] = { 0 };
        if (*key != '%') {
            *name++ = *key++;
            continue;
        }
        memcpy(digits, key + 1, 2);
        *name++ = (char)strtoul(digits, NULL, 16);
        key += 3;
    }
    *name = 0;
}

/*
 * What can be decoded to the name it was made of meets no other name: for all of them together
 * that is as good as comparing each with each.
 */
static void random_names_come_back(void **unused)
{
    (void)unused;
    const char *wanted = getenv("KEY_NAMES");
    uint64_t names = wanted ? strtoull(wanted, NULL, 10) : NAMES, state = 88172645463325252u;
    AUTO_BUF key = BUF_INIT(1024);
    for (uint64_t i = 0; i < names; i++) {
        char name[NAME_SIZE], again[3 * NAME_SIZE];
        random_name(&state, i, name);
        buf_clear(&key);
        key_encode(&key, name);
        const char *text = buf_text(&key);
        assert_int_equal(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                      "0123456789._=-%"),
                         key.len);
        assert_true(key.len > 0 && text[0] != '.' && key.len <= 3 * strlen(name) + 3);
        decode(text, again);
        assert_string_equal(again, name);
    }
}

static struct key_values values(void)
{
    return (struct key_values){ .prefix = "lake/",
                                .dataset = "web",
                                .dataset_id = "5f",
                                .batch = "01B",
                                .file_id = "01B-1",
                                .name = "a b.parquet",
                                .created = { CREATED } };
}

static void assert_key(const char *template, const struct key_values *of, const char *expected)
{
    AUTO_BUF out = BUF_INIT(4096);
    key_build(template, of, &out);
    assert_string_equal(buf_text(&out), expected);
}

static void templates_are_filled_in(void **state)
{
    (void)state;
    struct key_values of = values();
    assert_key("{prefix}{dataset}/dt={created:%Y-%m-%d}/{file_id}-{name}", &of,
               "lake/web/dt=2023-11-14/01B-1-a%20b.parquet");
    assert_key("{prefix}_sluice/{created:%Y/%j}/h={created:%H}/{batch}.json", &of,
               "lake/_sluice/2023/318/h=22/01B.json");
    assert_key("{dataset_id}/{name}{name}", &of, "5f/a%20b.parqueta%20b.parquet");
    of.prefix = "";
    of.name = "../../etc";
    assert_key("{prefix}{batch}/{name}", &of, "01B/%2E.%2F..%2Fetc");
    of.name = NULL; /* a manifest's values */
    of.file_id = NULL;
    assert_key("{prefix}{batch}.json", &of, "01B.json");
}

static void a_key_is_appended(void **state)
{
    (void)state;
    const struct key_values of = values();
    AUTO_BUF out = BUF_INIT(4096);
    buf_add_text(&out, "s3://b/");
    key_build("{batch}", &of, &out);
    assert_string_equal(buf_text(&out), "s3://b/01B");
}

static char *repeated(char c, size_t len)
{
    char *text = mem_alloc(len + 1);
    memset(text, c, len);
    return text;
}

/* 1024 bytes are allowed; with one more the value becomes its digest. */
/* A template, and the keys of its first and of a later generation. */
static void generations_have_folders_of_their_own(void **state)
{
    (void)state;
    static const struct {
        const char *template, *first, *later;
    } row[] = {
        { "{prefix}{dataset}/dt={created:%F}/{file_id}-{name}", "p/web/dt=2023-11-14/F-n",
          "p/web/_generation=1764534000000/dt=2023-11-14/F-n" },
        { "{prefix}{dataset}/_sluice/manifests/dt={created:%F}/{batch}.json",
          "p/web/_sluice/manifests/dt=2023-11-14/B.json",
          "p/web/_generation=1764534000000/_sluice/manifests/dt=2023-11-14/B.json" },
        { "{prefix}raw/{dataset}-x/y/{batch}/{name}", "p/raw/web-x/y/B/n",
          "p/raw/web-x/_generation=1764534000000/y/B/n" },
        { "{prefix}{dataset_id}/{dataset}/{batch}/{name}", "p/5f/web/B/n",
          "p/5f/_generation=1764534000000/web/B/n" },
        { "{dataset}/{dataset_id}/{batch}/{name}", "web/5f/B/n",
          "web/_generation=1764534000000/5f/B/n" },
        { "{prefix}{created:%F}/{dataset}/{batch}/{name}", "p/2023-11-14/web/B/n",
          "p/_generation=1764534000000/2023-11-14/web/B/n" },
        { "{prefix}{dataset}-{batch}/{name}", "p/web-B/n",
          "p/_generation=1764534000000/web-B/n" },
        { "a/{prefix}{batch}{name}", "a/p/Bn", "a/p/_generation=1764534000000/Bn" },
        { "{batch}/{name}", "B/n", "_generation=1764534000000/B/n" },
    };
    struct key_values of = { .prefix = "p/",
                             .dataset = "web",
                             .dataset_id = "5f",
                             .batch = "B",
                             .file_id = "F",
                             .name = "n",
                             .created = { CREATED } };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        of.generation = 0;
        assert_key(row[i].template, &of, row[i].first);
        of.generation = 1;
        assert_key(row[i].template, &of, row[i].first);
        of.generation = 1764534000000;
        assert_key(row[i].template, &of, row[i].later);
        assert_int_equal(key_generation(row[i].first), 1);
        assert_int_equal(key_generation(row[i].later), 1764534000000);
    }
}

static void a_key_tells_its_generation(void **state)
{
    (void)state;
    assert_int_equal(key_generation(""), 1);
    assert_int_equal(key_generation("_generation=7/x"), 7);
    assert_int_equal(key_generation("a/_generation=7/x"), 7);
    assert_int_equal(key_generation("a/x_generation=7/_generation=8/x"), 8);
    static const char *const none[] = { "a_generation=7/x",
                                        "a/_generation=7",
                                        "a/_generation=7a/x",
                                        "a/_generation=/x",
                                        "a/%5Fgeneration=7/x",
                                        "a/_generation=-7/x",
                                        "a/_generation=99999999999999999999/x" };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(key_generation(none[i]), 1);
}

static void long_values_become_their_digest(void **state)
{
    (void)state;
    struct key_values of = values();
    AUTO_TEXT char *fits = repeated('x', 1024 - strlen("01B/"));
    AUTO_TEXT char *too_long = repeated('x', 1025 - strlen("01B/"));
    AUTO_BUF out = BUF_INIT(4096);
    of.name = fits;
    key_build("{batch}/{name}", &of, &out);
    assert_int_equal(out.len, 1024);
    assert_null(strstr(buf_text(&out), "sha256-"));

    buf_clear(&out);
    of.name = too_long;
    key_build("{batch}/{name}", &of, &out);
    assert_int_equal(out.len, strlen("01B/sha256-") + 64);
    assert_memory_equal(buf_text(&out), "01B/sha256-", strlen("01B/sha256-"));
}

/* Each blank takes three bytes: the digest is of the name, not of what it was encoded to. */
static void encoding_counts_and_only_the_longest_goes(void **state)
{
    (void)state;
    struct key_values of = values();
    AUTO_TEXT char *name = repeated(' ', 400);
    AUTO_TEXT char *batch = repeated('b', 300);
    AUTO_BUF out = BUF_INIT(4096);
    of.name = name;
    of.batch = batch;
    key_build("{batch}/{name}", &of, &out);
    assert_int_equal(out.len, 300 + strlen("/sha256-") + 64);
    assert_string_equal(
        buf_text(&out) + 300,
        "/sha256-e292db31b4971ca206f703aa3e6d8d969cf022dbbe5d8717fe2e7724949e7611");
}

/* Whatever the source sends, however long: a key within the limit, and each time another. */
static void long_random_values_stay_within_the_limit(void **unused)
{
    (void)unused;
    uint64_t state = 2463534242;
    char before[2 * S3_KEY_MAX] = "";
    for (int i = 0; i < 1000; i++) {
        struct key_values of = values();
        size_t len = next_random(&state) % 4096;
        AUTO_TEXT char *name = repeated('x', len + 1),
                       *id = repeated('y', next_random(&state) % 300);
        AUTO_BUF out = BUF_INIT(1 << 16);
        memset(name, (int)(1 + next_random(&state) % 255), len);
        name[len] = (char)('a' + i % 26);
        of.name = name;
        of.file_id = id;
        key_build("{prefix}{dataset}/dt={created:%Y-%m-%d}/{file_id}-{name}", &of, &out);
        const char *key = buf_text(&out);
        assert_in_range(out.len, 1, S3_KEY_MAX);
        assert_memory_equal(key, "lake/web/dt=2023-11-14/", 23);
        assert_null(strchr(key + 23, '/'));
        assert_string_not_equal(key, before);
        memcpy(before, key, out.len + 1);
    }
}

static const struct {
    const char *template;
    bool for_data;
    const char *why; /* NULL = accepted */
} check_row[] = {
    { "{prefix}{dataset}/dt={created:%Y-%m-%d}/{file_id}-{name}", true, NULL },
    { "{batch}/{name}", true, NULL },
    { "{prefix}{dataset}/_sluice/manifests/dt={created:%F}/{batch}.json", false, NULL },
    { "{prefix}/{file_id}/{name}", true, "must not start" },
    { "/{file_id}/{name}", true, "must not start" },
    { "a//{file_id}{name}", true, "must not contain \"//\"" },
    { "a/{prefix}/{file_id}{name}", true, "must not contain \"//\"" },
    { "{file_id}{name}/", true, "end with" },
    { "{file_id}:{name}", true, "':'" },
    { "{created:%H:%M}/{file_id}{name}", true, "':'" },
    { "{file_id}\n{name}", true, "control" },
    { "{prefix}_generation=1/{file_id}{name}", true, "must not contain _generation=" },
    { "{created:_generation=%Y}/{file_id}{name}", true, "must not contain _generation=" },
    { "{name}", true, "needs {name} and one of" },
    { "{file_id}", true, "needs {name} and one of" },
    { "", true, "needs {name} and one of" },
    { "{prefix}x.json", false, "needs {batch}" },
    { "{batch}{name}", false, "no {name}" },
    { "{batch}{file_id}", false, "no {file_id}" },
    { "{batch}{nme}", true, "unknown field {nme}" },
    { "{batch}{created}", true, "unknown field {created}" },
    { "{batch}{NAME}", true, "unknown field {NAME}" },
    { "{batch}{}", true, "unknown field {}" },
    { "{batch}{created:}", true, "1 to 63 bytes" },
    { "{batch}{created:%}", true, "conversions" },
    { "{batch}{created:%s}", true, "conversions" }, /* depends on the time zone */
    { "{batch}{created:%B}", true, "conversions" }, /* depends on the locale */
    { "{batch", true, "braces" },
    { "batch}", true, "braces" },
    { "{bat{ch}}", true, "braces" },
};

static void templates_are_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof check_row / sizeof *check_row; i++) {
        struct fault fault = { 0 };
        enum err err = key_check(check_row[i].template, check_row[i].for_data, &fault);
        print_message("%s: %s\n", check_row[i].template, fault.text);
        assert_int_equal(err, check_row[i].why ? ERR_CONFIG : OK);
        if (check_row[i].why)
            assert_non_null(strstr(fault.text, check_row[i].why));
    }
}

static int init(void **state)
{
    (void)state;
    digest_init();
    return 0;
}

static int release(void **state)
{
    (void)state;
    digest_release();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_names_are_encoded),
        cmocka_unit_test(short_names_never_meet),
        cmocka_unit_test(random_names_come_back),
        cmocka_unit_test(templates_are_filled_in),
        cmocka_unit_test(a_key_is_appended),
        cmocka_unit_test(generations_have_folders_of_their_own),
        cmocka_unit_test(a_key_tells_its_generation),
        cmocka_unit_test(long_values_become_their_digest),
        cmocka_unit_test(encoding_counts_and_only_the_longest_goes),
        cmocka_unit_test(long_random_values_stay_within_the_limit),
        cmocka_unit_test(templates_are_checked),
    };
    return cmocka_run_group_tests(tests, init, release);
}
