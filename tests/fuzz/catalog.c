/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of batches: sorted, each id once and fit for URLs. */
#include "lib/aep/catalog.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

static void check_order(const struct batch_info *left, const struct batch_info *right)
{
    MUST_HOLD(left->created <= right->created);
    MUST_HOLD(left->created < right->created || strcmp(left->id, right->id) < 0);
}

void fuzz_one(const char *bytes, size_t len)
{
    struct batch_info *batches = NULL;
    struct fault fault = { 0 };
    size_t count = 0;
    if (!fuzz_accepted(catalog_parse_batches(bytes, len, "d1", &batches, &count, &fault),
                       &fault))
        return;
    for (size_t i = 0; i < count; i++) {
        MUST_HOLD(catalog_id_valid(batches[i].id) && batches[i].created >= 0);
        MUST_HOLD(batches[i].output_files >= -1 && batches[i].output_records >= -1);
        fuzz_check_line(batches[i].status);
        if (i > 0)
            check_order(&batches[i - 1], &batches[i]);
    }
    mem_free(batches);
}
