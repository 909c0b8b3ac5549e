/* SPDX-License-Identifier: Apache-2.0 */
/* Digests against published vectors, and CRC-32C against its table form at every alignment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <pthread.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/digest.h"
#include "lib/base/encode.h"

static int start(void **state)
{
    (void)state;
    digest_init();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    digest_release();
    return 0;
}

static void assert_hex(const uint8_t *digest, const char *expected)
{
    char text[2 * SHA256_SIZE + 1];
    encode_hex(digest, SHA256_SIZE, text);
    assert_string_equal(text, expected);
}

static void sha256_matches_fips_180(void **state)
{
    (void)state;
    uint8_t out[SHA256_SIZE];
    digest_sha256(NULL, 0, out);
    assert_hex(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest_sha256("abc", 3, out);
    assert_hex(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const char *two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    digest_sha256(two_blocks, strlen(two_blocks), out);
    assert_hex(out, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void hmac_matches_rfc_4231(void **state)
{
    (void)state;
    uint8_t out[SHA256_SIZE], key[131];
    memset(key, 0x0b, 20);
    digest_hmac_sha256(key, 20, "Hi There", 8, out);
    assert_hex(out, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    digest_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, out);
    assert_hex(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key); /* longer than a block */
    const char *text = "Test Using Larger Than Block-Size Key - Hash Key First";
    digest_hmac_sha256(key, sizeof key, text, strlen(text), out);
    assert_hex(out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

/* An empty key right after another one must not mean "the same key again". */
static void hmac_takes_an_empty_key(void **state)
{
    (void)state;
    uint8_t out[SHA256_SIZE];
    digest_hmac_sha256("Jefe", 4, "x", 1, out);
    digest_hmac_sha256(NULL, 0, NULL, 0, out);
    assert_hex(out, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void crc32c_matches_rfc_3720(void **state)
{
    (void)state;
    uint8_t bytes[32] = { 0 };
    assert_int_equal(digest_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(digest_crc32c(0, NULL, 0), 0);
    assert_int_equal(digest_crc32c(0, bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(digest_crc32c(0, bytes, 32), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = i;
    assert_int_equal(digest_crc32c(0, bytes, 32), 0x46dd794e);
    assert_int_equal(digest_crc32c_by_table(0, bytes, 32), 0x46dd794e);
}

static void crc32c_is_the_same_by_table_in_pieces_and_combined(void **state)
{
    (void)state;
    uint8_t bytes[9000];
    digest_random(bytes, sizeof bytes);
    for (size_t from = 0; from < 9; from++)
        for (size_t cut = from; cut <= sizeof bytes; cut += cut < 300 ? 7 : 641) {
            uint32_t whole = digest_crc32c(0, bytes + from, sizeof bytes - from);
            uint32_t a = digest_crc32c(0, bytes + from, cut - from);
            uint32_t b = digest_crc32c(0, bytes + cut, sizeof bytes - cut);
            uint32_t by_table = digest_crc32c_by_table(0, bytes + from, cut - from);
            assert_int_equal(by_table, a);
            assert_int_equal(digest_crc32c(a, bytes + cut, sizeof bytes - cut), whole);
            assert_int_equal(digest_crc32c_combine(a, b, sizeof bytes - cut), whole);
        }
}

static void combine_works_beyond_4_gib(void **state)
{
    (void)state;
    /* Zeros from 0x1234: doubling the length one step at a time must give the same. */
    uint32_t crc = 0x12345678, zeros = digest_crc32c(0, "", 1), stepwise = crc, length = 40;
    uint64_t len = 1;
    for (uint32_t i = 0; i < length; i++, len *= 2)
        zeros = digest_crc32c_combine(zeros, zeros, len);
    stepwise = digest_crc32c_combine(stepwise, 0, len / 2);
    stepwise = digest_crc32c_combine(stepwise, 0, len / 2);
    assert_int_equal(digest_crc32c_combine(crc, zeros, len), stepwise ^ zeros);
    assert_int_equal(digest_crc32c_combine(crc, 0, 0), crc);
}

static void *hash_in_thread(void *expected)
{
    uint8_t out[SHA256_SIZE];
    for (size_t i = 0; i < 500; i++) {
        digest_sha256("abc", 3, out);
        if (memcmp(out, expected, sizeof out) != 0)
            return expected;
        digest_hmac_sha256("k", 1, "v", 1, out);
    }
    return NULL;
}

static void threads_do_not_share_contexts(void **state)
{
    (void)state;
    pthread_t thread[4];
    uint8_t expected[SHA256_SIZE];
    digest_sha256("abc", 3, expected);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, hash_in_thread, expected), 0);
    for (size_t i = 0; i < 4; i++) {
        void *wrong = NULL;
        pthread_join(thread[i], &wrong);
        assert_null(wrong);
    }
}

static void random_bytes_differ(void **state)
{
    (void)state;
    uint8_t a[1000] = { 0 }, b[1000] = { 0 }, zeros[64] = { 0 };
    digest_random(a, sizeof a);
    digest_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a + sizeof a - sizeof zeros, zeros, sizeof zeros);
}

static void release_allows_a_new_start(void **state)
{
    uint8_t out[SHA256_SIZE];
    digest_sha256("abc", 3, out);
    stop(state);
    stop(state);
    start(state);
    digest_sha256("abc", 3, out);
    assert_hex(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_matches_fips_180),
        cmocka_unit_test(hmac_matches_rfc_4231),
        cmocka_unit_test(hmac_takes_an_empty_key),
        cmocka_unit_test(crc32c_matches_rfc_3720),
        cmocka_unit_test(crc32c_is_the_same_by_table_in_pieces_and_combined),
        cmocka_unit_test(combine_works_beyond_4_gib),
        cmocka_unit_test(threads_do_not_share_contexts),
        cmocka_unit_test(random_bytes_differ),
        cmocka_unit_test(release_allows_a_new_start),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
