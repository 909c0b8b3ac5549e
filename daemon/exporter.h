/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics for those who do not ask: a file for node_exporter, replaced every 15 s, and a line a
 * minute for CloudWatch, in a file or to a datagram socket. What cannot be written is logged when
 * it begins, and tried again.
 */
#ifndef SLUICE_DAEMON_EXPORTER_H
#define SLUICE_DAEMON_EXPORTER_H

#include "daemon/core.h"

struct exporter;
struct health;

struct exporter *exporter_new(struct health *health, struct core *core);
/* Writes a last line, and removes the file: what it says is true no more. NULL is fine. */
void exporter_free(struct exporter *exporter);

#endif
