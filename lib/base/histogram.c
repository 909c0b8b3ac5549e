/* SPDX-License-Identifier: Apache-2.0 */
/* Durations in classes. */
#include "lib/base/histogram.h"

#include <assert.h>

static const double bound_s[HISTOGRAM_BOUNDS] = { 0.01, 0.05, 0.1, 0.5, 1,    5,    10,
                                                  30,   60,   300, 900, 3600, 14400 };

double histogram_bound_s(size_t index)
{
    assert(index < HISTOGRAM_BOUNDS);
    return bound_s[index];
}

void histogram_add(struct histogram *histogram, double seconds)
{
    size_t at = 0;
    if (!(seconds > 0))
        seconds = 0;
    while (at < HISTOGRAM_BOUNDS && seconds > bound_s[at])
        at++;
    histogram->within[at]++;
    histogram->count++;
    histogram->sum_s += seconds;
}
