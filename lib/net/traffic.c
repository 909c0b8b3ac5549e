/* SPDX-License-Identifier: Apache-2.0 */
/* Calls by class of answer. */
#include "lib/net/traffic.h"

const char *traffic_class_name(enum traffic_class class)
{
    static const char *const name[TRAFFIC_CLASSES] = {
        "2xx", "3xx", "4xx", "429", "5xx", "none"
    };
    return name[class];
}

static enum traffic_class class_of(int status)
{
    static const enum traffic_class of[] = { TRAFFIC_NONE, TRAFFIC_NONE, TRAFFIC_2XX,
                                             TRAFFIC_3XX,  TRAFFIC_4XX,  TRAFFIC_5XX };
    if (status == 429)
        return TRAFFIC_429;
    return status < 100 || status > 599 ? TRAFFIC_NONE : of[status / 100];
}

void traffic_note(struct traffic *traffic, int status, double seconds)
{
    traffic->calls[class_of(status)]++;
    histogram_add(&traffic->seconds, seconds);
}
