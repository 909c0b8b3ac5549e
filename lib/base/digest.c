/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 and HMAC through OpenSSL, CRC-32C by instruction or table. Fetching an algorithm
 * costs more than hashing a small text, so both are fetched once, and each thread keeps its
 * contexts until it ends.
 */
#include "lib/base/digest.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "lib/base/mem.h"

#define CRC32C_POLYNOMIAL 0x82f63b78u /* bit-reflected */
#define LANE              1360        /* bytes; three lanes are a bit less than a page */

struct contexts {
    EVP_MD_CTX *md;
    EVP_MAC_CTX *mac;
};

static EVP_MD *sha256;
static EVP_MAC *hmac;
static pthread_key_t contexts_key;
static uint32_t crc_table[8][256];  /* row n: a byte followed by n zero bytes */
static uint32_t lane_table[4][256]; /* byte n of a CRC, followed by LANE zero bytes */
static uint32_t (*crc_update)(uint32_t crc, const uint8_t *bytes, size_t len);

static struct contexts *contexts(void);
static void contexts_free(void *memory);
static void crc_prepare(void);

/* These calls fail only without memory or without a usable OpenSSL: nothing can go on then. */
static void must(bool ok)
{
    if (!ok)
        mem_exhausted("memory for OpenSSL, or without SHA-256");
}

static void *allocate(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return mem_alloc_raw(size);
}

static void *resize(void *old, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return mem_grow(old, size, 1);
}

static void release(void *memory, const char *file, int line)
{
    (void)file, (void)line;
    mem_free(memory);
}

/* OpenSSL 3.0 crashes where it has no memory while it starts. */
__attribute__((constructor)) static void use_memory_that_never_fails(void)
{
    must(CRYPTO_set_mem_functions(allocate, resize, release));
}

void digest_init(void)
{
    assert(!sha256);
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    must(sha256 && hmac);
    must(pthread_key_create(&contexts_key, contexts_free) == 0);
    crc_prepare();
}

void digest_release(void)
{
    if (!sha256)
        return;
    contexts_free(pthread_getspecific(contexts_key));
    pthread_key_delete(contexts_key);
    EVP_MD_free(sha256);
    EVP_MAC_free(hmac);
    sha256 = NULL;
    hmac = NULL;
}

static struct contexts *contexts(void)
{
    assert(sha256);
    struct contexts *mine = pthread_getspecific(contexts_key);
    if (mine)
        return mine;
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_END,
    };
    mine = mem_alloc(sizeof *mine);
    mine->md = EVP_MD_CTX_new();
    mine->mac = EVP_MAC_CTX_new(hmac);
    must(mine->md && mine->mac && EVP_MAC_CTX_set_params(mine->mac, params));
    must(pthread_setspecific(contexts_key, mine) == 0);
    return mine;
}

static void contexts_free(void *memory)
{
    struct contexts *mine = memory;
    if (!mine)
        return;
    EVP_MD_CTX_free(mine->md);
    EVP_MAC_CTX_free(mine->mac);
    mem_free(mine);
}

void digest_sha256(const void *bytes, size_t len, uint8_t out[SHA256_SIZE])
{
    EVP_MD_CTX *md = contexts()->md;
    must(EVP_DigestInit_ex2(md, sha256, NULL) && EVP_DigestUpdate(md, bytes, len) &&
         EVP_DigestFinal_ex(md, out, NULL));
}

void digest_hmac_sha256(const void *key, size_t key_len, const void *bytes, size_t len,
                        uint8_t out[SHA256_SIZE])
{
    EVP_MAC_CTX *mac = contexts()->mac;
    size_t out_len = 0;
    /* To OpenSSL a NULL key means "the one from before". */
    must(EVP_MAC_init(mac, key_len ? key : "", key_len, NULL) &&
         EVP_MAC_update(mac, bytes, len) && EVP_MAC_final(mac, out, &out_len, SHA256_SIZE));
}

static uint32_t crc_by_table(uint32_t crc, const uint8_t *bytes, size_t len)
{
    for (; len >= 8; bytes += 8, len -= 8) {
        uint32_t sum = 0;
        for (unsigned i = 0; i < 8; i++) {
            uint32_t fold = i < 4 ? crc >> (8 * i) & 255 : 0;
            sum ^= crc_table[7 - i][bytes[i] ^ fold];
        }
        crc = sum;
    }
    for (; len; bytes++, len--)
        crc = crc >> 8 ^ crc_table[0][(crc ^ *bytes) & 255];
    return crc;
}

#ifdef __x86_64__
static uint64_t word_at(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* The CRC after LANE more bytes, all zero. */
static uint32_t past_lane(uint32_t crc)
{
    return lane_table[0][crc & 255] ^ lane_table[1][crc >> 8 & 255] ^
           lane_table[2][crc >> 16 & 255] ^ lane_table[3][crc >> 24];
}

/*
 * The instruction takes three cycles but a new one may start in each: three lanes side by side
 * keep it busy, and their results are put together by the table.
 */
__attribute__((target("sse4.2"))) static uint32_t crc_three_lanes(uint32_t crc,
                                                                  const uint8_t *bytes)
{
    uint64_t a = crc, b = 0, c = 0;
    for (const uint8_t *end = bytes + LANE; bytes < end; bytes += 8) {
        a = __builtin_ia32_crc32di(a, word_at(bytes));
        b = __builtin_ia32_crc32di(b, word_at(bytes + LANE));
        c = __builtin_ia32_crc32di(c, word_at(bytes + 2 * LANE));
    }
    return past_lane(past_lane((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
}

__attribute__((target("sse4.2"))) static uint32_t
crc_by_instruction(uint32_t crc, const uint8_t *bytes, size_t len)
{
    for (; len >= 3 * LANE; bytes += 3 * LANE, len -= 3 * LANE)
        crc = crc_three_lanes(crc, bytes);
    uint64_t wide = crc;
    for (; len >= 8; bytes += 8, len -= 8)
        wide = __builtin_ia32_crc32di(wide, word_at(bytes));
    crc = (uint32_t)wide;
    for (; len; bytes++, len--)
        crc = __builtin_ia32_crc32qi(crc, *bytes);
    return crc;
}
#endif

static void crc_prepare(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? CRC32C_POLYNOMIAL : 0);
        crc_table[0][byte] = crc;
    }
    for (size_t row = 1; row < 8; row++)
        for (size_t byte = 0; byte < 256; byte++) {
            uint32_t before = crc_table[row - 1][byte];
            crc_table[row][byte] = before >> 8 ^ crc_table[0][before & 255];
        }
    for (unsigned byte = 0; byte < 4; byte++)
        for (uint32_t value = 0; value < 256; value++)
            lane_table[byte][value] = digest_crc32c_combine(value << (8 * byte), 0, LANE);
    crc_update = crc_by_table;
#ifdef __x86_64__
    if (__builtin_cpu_supports("sse4.2"))
        crc_update = crc_by_instruction;
#endif
}

uint32_t digest_crc32c(uint32_t crc, const void *bytes, size_t len)
{
    assert(sha256);
    return ~crc_update(~crc, bytes, len);
}

uint32_t digest_crc32c_by_table(uint32_t crc, const void *bytes, size_t len)
{
    assert(sha256);
    return ~crc_by_table(~crc, bytes, len);
}

/* Product of two polynomials modulo the CRC's; the highest bit is the constant term. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (uint32_t bit = 1u << 31; bit; bit >>= 1) {
        product ^= a & bit ? b : 0;
        b = b >> 1 ^ (b & 1 ? CRC32C_POLYNOMIAL : 0);
    }
    return product;
}

/* Appending n bytes multiplies a CRC by x^8n; the power comes from repeated squaring. */
uint32_t digest_crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t len_b)
{
    uint32_t shift = 1u << 31, power = 1u << 23; /* x^0 and x^8 */
    for (; len_b; len_b >>= 1) {
        if (len_b & 1)
            shift = multiply(shift, power);
        power = multiply(power, power);
    }
    return multiply(shift, crc_a) ^ crc_b;
}

void digest_random(void *bytes, size_t len)
{
    uint8_t *at = bytes;
    while (len) {
        ssize_t n = getrandom(at, len, 0);
        must(n > 0 || errno == EINTR);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
}
