/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sd_notify(3): one datagram to $NOTIFY_SOCKET. The environment is read and cleared by
 * notify_init(); without it every call does nothing.
 */
#ifndef SLUICE_NET_NOTIFY_H
#define SLUICE_NET_NOTIFY_H

#include "lib/base/err.h"

void notify_init(void);
void notify_send(const char *format, ...) PRINTF(1, 2); /* "READY=1\nSTATUS=…" */
int64_t notify_watchdog_ms(void); /* WatchdogSec in ms if it is for this process, else 0 */

#endif
