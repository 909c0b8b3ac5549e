/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "Authenticating Requests: Using the Authorization Header". The headers are always the same
 * three, so the canonical request is one format string.
 */
#include "sign.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SIGNED_HEADERS "host;x-amz-content-sha256;x-amz-date"
#define HASH_BYTES     32

static void hmac(const void *key, size_t key_len, const char *text,
                 unsigned char out[HASH_BYTES])
{
    HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text, strlen(text), out, NULL);
}

static void hex(const unsigned char bytes[HASH_BYTES], char text[2 * HASH_BYTES + 1])
{
    static const char digit[] = "0123456789abcdef";
    for (int i = 0; i < HASH_BYTES; i++) {
        text[2 * i] = digit[bytes[i] >> 4];
        text[2 * i + 1] = digit[bytes[i] & 15];
    }
    text[2 * HASH_BYTES] = '\0';
}

static const unsigned char *signing_key(const char *secret, const char *day)
{
    static unsigned char key[HASH_BYTES];
    static char key_day[9];
    if (strcmp(key_day, day) == 0)
        return key;
    char seed[200];
    snprintf(seed, sizeof seed, "AWS4%s", secret);
    snprintf(key_day, sizeof key_day, "%s", day);
    hmac(seed, strlen(seed), day, key);
    hmac(key, sizeof key, SIGN_REGION, key);
    hmac(key, sizeof key, "s3", key);
    hmac(key, sizeof key, "aws4_request", key);
    return key;
}

void sign_put(const char *host, const char *path, const char *access_key,
              const char *secret_key, char date[17], char *authorization, size_t size)
{
    char day[9], text[2048], digest[2 * HASH_BYTES + 1];
    unsigned char hash[HASH_BYTES];
    struct tm utc;
    time_t now = time(NULL);
    strftime(date, 17, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &utc));
    snprintf(day, sizeof day, "%.8s", date);
    int n = snprintf(text, sizeof text,
                     "PUT\n%s\n\nhost:%s\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:%"
                     "s\n\n" SIGNED_HEADERS "\nUNSIGNED-PAYLOAD",
                     path, host, date);
    EVP_Digest(text, (size_t)n, hash, NULL, EVP_sha256(), NULL);
    hex(hash, digest);
    snprintf(text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%s/" SIGN_REGION "/s3/aws4_request\n%s",
             date, day, digest);
    hmac(signing_key(secret_key, day), HASH_BYTES, text, hash);
    hex(hash, digest);
    snprintf(authorization, size,
             "Authorization: AWS4-HMAC-SHA256 Credential=%s/%s/" SIGN_REGION
             "/s3/aws4_request, SignedHeaders=" SIGNED_HEADERS ", Signature=%s",
             access_key, day, digest);
}
