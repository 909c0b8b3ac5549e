/* SPDX-License-Identifier: Apache-2.0 */
/* Names in the queue: of ourselves as an owner of leases, and the prefix of all keys; chance. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/base/encode.h"
#include "lib/queue/queue_parts.h"

#define PREFIX_MAX 64
#define HOST_MAX   64

uint64_t queue_random(void)
{
    uint64_t bits;
    if (getrandom(&bits, sizeof bits, 0) != sizeof bits)
        abort();
    return bits;
}

/* Unique for ever: a successor of this process must not be taken for it. */
char *queue_name_make(void)
{
    char host[HOST_MAX + 1] = { 0 }, hex[2 * 2 * sizeof(uint64_t) + 1];
    uint64_t bits[2] = { queue_random(), queue_random() };
    if (gethostname(host, HOST_MAX))
        host[0] = 0;
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
    for (char *c = host; *c; c++)
        if (!strchr(plain, *c))
            *c = '-';
    encode_hex(bits, sizeof bits, hex);
    return mem_print("%s.%d.%s", *host ? host : "host", (int)getpid(), hex);
}

enum err queue_name_check_prefix(const char *prefix, struct fault *fault)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:{}-";
    size_t len = strlen(prefix);
    if (len > 0 && len <= PREFIX_MAX && strspn(prefix, plain) == len)
        return OK;
    return fault_set(fault, ERR_CONFIG,
                     "redis.prefix: want 1 to %d of A-Z a-z 0-9 _ . : { } -, like \"sluice:\"",
                     PREFIX_MAX);
}
