/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the daemon's health socket: its documents, and numbers out of its metrics. */
#ifndef SLUICE_DAEMON_CTL_SOCKET_H
#define SLUICE_DAEMON_CTL_SOCKET_H

#include "daemon/ctl/ctl.h"
#include "lib/base/json.h"

/*
 * GET of `target` ("/status"). OK if somebody answered, whatever *ret_status; a fault with a
 * sentence if not. `ret_body` is the caller's, empty after a fault.
 */
enum err socket_ask(struct ctl *ctl, const char *target, int *ret_status, struct buf *ret_body,
                    struct fault *fault) MUST_CHECK;
/* /status as a document, the caller's. */
enum err socket_status(struct ctl *ctl, struct json_t **ret, struct fault *fault) MUST_CHECK;

/*
 * The sum of a metric in Prometheus' text format over all its labels, or over the lines that
 * have `label` (name="value", exactly as printed; NULL = all). False if there is no such line.
 */
bool socket_metric(const char *metrics, const char *name, const char *label, double *ret);

/* A member that is a number of any sign; `absent` if it is none. */
double socket_number(const struct json_t *object, const char *name, double absent);
bool socket_flag(const struct json_t *object, const char *name); /* false if it is none */

#endif
