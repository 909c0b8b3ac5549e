/* SPDX-License-Identifier: Apache-2.0 */
/* RS256 through OpenSSL. A key is parsed for each signature: there is one in a day. */
#include "lib/base/sign.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#define KEY_BITS_MIN  2048
#define SIGNATURE_MAX 2048 /* of a key of 16384 bits */
#define LOCKED_KEY    "ENCRYPTED"

static void release_bio(BIO **bio)
{
    BIO_free(*bio);
}

static void release_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void release_context(EVP_MD_CTX **context)
{
    EVP_MD_CTX_free(*context);
}

/* What OpenSSL has to say would be told by its next caller in this thread. */
static enum err refuse(struct fault *fault, const char *text)
{
    ERR_clear_error();
    return fault_set(fault, ERR_SECRET, "%s", text);
}

/* Instead of a question at the terminal. */
static int no_passphrase(char *text, int size, int writing, void *owner)
{
    (void)text, (void)size, (void)writing, (void)owner;
    return -1;
}

static enum err read_key(const struct secret *pem, EVP_PKEY **ret, struct fault *fault)
{
    AUTO(release_bio) BIO *bio = BIO_new_mem_buf(secret_reveal(pem), (int)pem->len);
    *ret = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    if (!*ret && strstr(secret_reveal(pem), LOCKED_KEY))
        return refuse(fault, "has a passphrase: remove it with `openssl pkey -in … -out …`");
    if (!*ret)
        return refuse(fault, "is no private key in PEM form (-----BEGIN PRIVATE KEY-----)");
    if (!EVP_PKEY_is_a(*ret, "RSA"))
        return refuse(fault, "is no RSA key: RS256 needs one");
    if (EVP_PKEY_get_bits(*ret) < KEY_BITS_MIN)
        return refuse(fault, "is an RSA key of less than 2048 bits");
    return OK;
}

enum err sign_rs256(const struct secret *pem, const void *bytes, size_t len,
                    struct buf *signature, struct fault *fault)
{
    AUTO(release_key) EVP_PKEY *key = NULL;
    AUTO(release_context) EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char out[SIGNATURE_MAX];
    size_t size = sizeof out;
    enum err err = read_key(pem, &key, fault);
    if (err)
        return err;
    if (!context ||
        EVP_DigestSignInit_ex(context, NULL, "SHA256", NULL, NULL, key, NULL) != 1 ||
        EVP_DigestSign(context, out, &size, bytes, len) != 1)
        return refuse(fault, "cannot sign: the key is damaged or too large");
    buf_add(signature, out, size);
    return OK;
}
