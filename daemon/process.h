/* SPDX-License-Identifier: Apache-2.0 */
/* What this process costs the machine. */
#ifndef SLUICE_DAEMON_PROCESS_H
#define SLUICE_DAEMON_PROCESS_H

#include <stdint.h>

struct process_figures {
    int64_t resident_bytes, open_fds, max_fds;
    double cpu_s; /* user and system, since the start */
};

/* What cannot be read is 0. */
void process_look(struct process_figures *ret);

#endif
