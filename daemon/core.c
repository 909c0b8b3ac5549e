/* SPDX-License-Identifier: Apache-2.0 */
/* Randomness for jitter. */
#include "daemon/core.h"

#include "lib/base/digest.h"

uint64_t core_random(void)
{
    uint64_t value;
    digest_random(&value, sizeof value);
    return value;
}
