/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long something takes, counted in fixed classes from 10 ms to 4 h: what Prometheus calls a
 * histogram. Pure; a zeroed struct is ready.
 */
#ifndef SLUICE_BASE_HISTOGRAM_H
#define SLUICE_BASE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BOUNDS 13

struct histogram {
    int64_t within[HISTOGRAM_BOUNDS + 1]; /* each apart; the last: longer than all bounds */
    int64_t count;
    double sum_s;
};

double histogram_bound_s(size_t index); /* ascending; index < HISTOGRAM_BOUNDS */
void histogram_add(struct histogram *histogram, double seconds); /* below 0 counts as 0 */

#endif
