/* SPDX-License-Identifier: Apache-2.0 */
/* What the calls to one upstream came to, by class of answer and by time. Pure. */
#ifndef SLUICE_NET_TRAFFIC_H
#define SLUICE_NET_TRAFFIC_H

#include "lib/base/histogram.h"

/* 429 stands apart from the other 4xx. NONE: no answer at all, or not all of it. */
enum traffic_class {
    TRAFFIC_2XX,
    TRAFFIC_3XX,
    TRAFFIC_4XX,
    TRAFFIC_429,
    TRAFFIC_5XX,
    TRAFFIC_NONE,
    TRAFFIC_CLASSES
};
const char *traffic_class_name(enum traffic_class class); /* "2xx" … "429" … "none" */

struct traffic {
    int64_t calls[TRAFFIC_CLASSES];
    int64_t repeated; /* calls that failed and were sent again behind the caller's back */
    struct histogram seconds;
};

/* A call ended with this status; 0 = without an answer. */
void traffic_note(struct traffic *traffic, int status, double seconds);

#endif
