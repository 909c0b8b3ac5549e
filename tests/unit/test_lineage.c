/* SPDX-License-Identifier: Apache-2.0 */
/* What the stored copies of predecessors mean for the batch that repeats their rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/lineage.h"

static void decisions_follow_the_table(void **state)
{
    (void)state;
    static const struct {
        struct lineage_facts facts;
        bool patient;
        enum lineage_step expected;
    } row[] = {
        { { .open = true, .older = true }, true, LINEAGE_HOLD },
        { { .open = true, .older = true, .stored = true }, true, LINEAGE_HOLD },
        { { .open = true }, true, LINEAGE_MISSING }, /* it would wait for us */
        { { .open = true, .older = true }, false, LINEAGE_MISSING },
        { { .open = true, .older = true, .stored = true }, false, LINEAGE_STORED },
        { { .stored = true }, true, LINEAGE_STORED },
        { { .stored = true, .known = true, .consolidation = true, .has_more = true },
          true,
          LINEAGE_STORED },
        { { .stored = true, .revoked = true }, true, LINEAGE_MISSING },
        { { .stored = true,
            .revoked = true,
            .known = true,
            .consolidation = true,
            .has_more = true },
          true,
          LINEAGE_MISSING },
        { { 0 }, true, LINEAGE_MISSING },
        { { .known = true }, true, LINEAGE_MISSING },
        { { .known = true, .has_more = true }, true, LINEAGE_MISSING }, /* a replacement */
        { { .known = true, .consolidation = true }, true, LINEAGE_MISSING },
        { { .known = true, .consolidation = true, .has_more = true }, true, LINEAGE_EXPAND },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (lineage_decide(&row[i].facts, row[i].patient) != row[i].expected)
            fail_msg("row %zu: %d", i, (int)lineage_decide(&row[i].facts, row[i].patient));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decisions_follow_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
