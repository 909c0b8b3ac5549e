/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checksums and signatures. The only home of OpenSSL's digests. SHA-256 algorithms are fetched
 * once by digest_init() in main before threads start; contexts are per thread inside.
 */
#ifndef SLUICE_BASE_DIGEST_H
#define SLUICE_BASE_DIGEST_H

#include "lib/base/err.h"

#define SHA256_SIZE 32

void digest_init(void);    /* once, before threads */
void digest_release(void); /* once, after threads */

void digest_sha256(const void *bytes, size_t len, uint8_t out[SHA256_SIZE]);
void digest_hmac_sha256(const void *key, size_t key_len, const void *bytes, size_t len,
                        uint8_t out[SHA256_SIZE]);

/*
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4). Start with 0; crc32c(crc32c(0, a), b) is the
 * value of a followed by b. Check value of "123456789": 0xe3069283. SSE4.2 where the CPU has it.
 */
uint32_t digest_crc32c(uint32_t crc, const void *bytes, size_t len);

/* The same without the instruction: what other CPUs run, and a second opinion for tests. */
uint32_t digest_crc32c_by_table(uint32_t crc, const void *bytes, size_t len);

/* CRC of A followed by B, from the CRCs of both and the length of B. */
uint32_t digest_crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t len_b);

/* Bytes from the kernel's generator. */
void digest_random(void *bytes, size_t len);

#endif
