/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGHUP: the configuration is read again, with all secrets. Either all of it is sound, then what
 * may change at run time does (rows with NOW in settings.c) and the rest is named; or nothing
 * changes. Running tasks end as they began: they keep the dataset that they were started with.
 *
 * core->settings stays where it is. Its array of datasets is replaced as a whole; the old one is
 * freed when no task is left that began before (core->epoch). What other threads read never
 * changes, but for S3 credentials (s3.h). Owns these, and core->tail_memory.
 */
#ifndef SLUICE_DAEMON_RELOAD_H
#define SLUICE_DAEMON_RELOAD_H

#include "daemon/core.h"

struct reload;

/* Reads S3 credentials; core->settings are those of `file` already. Sets core->reload. */
enum err reload_new(struct core *core, const char *file, struct reload **ret,
                    struct fault *fault) MUST_CHECK;
void reload_free(struct reload *reload); /* after all tasks and threads */

const struct s3_credentials *reload_credentials(const struct reload *reload);

/* One reload, whole, now. Each change, or each error, is a line of log. */
void reload_run(struct reload *reload);
/* Frees what no task reads any more; to be called now and then. */
void reload_tidy(struct reload *reload);

/* "configuration refused at …: …"; nothing if the last one that was read is in force. */
void reload_note(const struct reload *reload, struct buf *out);
bool reload_refused(const struct reload *reload);
struct wall reload_loaded_at(const struct reload *reload); /* the one in force */

#endif
