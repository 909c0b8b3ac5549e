/* SPDX-License-Identifier: Apache-2.0 */
/* The transfers of this daemon as an operator looks at them. */
#ifndef SLUICE_DAEMON_TRANSFERS_H
#define SLUICE_DAEMON_TRANSFERS_H

#include "daemon/transfer.h"

/* Fills in at most `max`, the slowest first, those of unknown rate last; returns how many. */
size_t transfers_slowest(const struct core *core, struct transfer_view *ret, size_t max);
size_t transfers_lanes(const struct core *core); /* of all */

#endif
