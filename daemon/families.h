/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /metrics tells beside the plain counters of metrics.h, and how it is written: Prometheus'
 * text format 0.0.4. One row per family; conf/metrics.md documents them all, and a check holds it
 * to these rows. Pure.
 */
#ifndef SLUICE_DAEMON_FAMILIES_H
#define SLUICE_DAEMON_FAMILIES_H

#include "lib/base/buf.h"
#include "lib/base/histogram.h"

/* clang-format off */
#define FAMILY_LIST(X) \
/* freshness, the same from every daemon of the queue */ \
X(LAST_SUCCESS, "sluice_dataset_last_success_timestamp_seconds", gauge, "dataset", "when a batch was last committed, by the clock of Redis") \
X(WATERMARK, "sluice_dataset_watermark_timestamp_seconds", gauge, "dataset", "every batch created before has been seen") \
X(LAG, "sluice_dataset_lag_seconds", gauge, "dataset", "age of what the bucket may lack: since the watermark, or since the oldest batch that is due") \
X(PAUSED, "sluice_dataset_paused", gauge, "dataset", "1 if an operator has paused it") \
/* the queue, the same from every daemon of it */ \
X(TASKS, "sluice_queue_tasks", gauge, "dataset, kind, status", "tasks that could start (pending) or run (in-progress), by what they are for") \
X(UNCOMMITTED, "sluice_uncommitted_batches", gauge, "dataset", "batches in the queue without a manifest, dead ones included") \
X(OPEN_FILES, "sluice_open_files", gauge, "dataset", "file tasks that have not ended; bounded by queue.max_open_files") \
X(DELAYED, "sluice_delayed_tasks", gauge, "", "tasks that wait for a time: polls, retries") \
X(DEAD, "sluice_dead_tasks", gauge, "", "dead letters that wait for an operator") \
X(INBOX, "sluice_inbox_elements", gauge, "", "operators' commands that nobody has read yet") \
X(DAEMONS, "sluice_daemons", gauge, "", "daemons on the queue") \
X(QUEUE_AGE, "sluice_queue_age_seconds", gauge, "", "age of these figures about the queue") \
X(ROUND_TRIP, "sluice_redis_round_trip_seconds", gauge, "", "how long Redis took for the last answer about them") \
/* health */ \
X(READY, "sluice_ready", gauge, "", "1 if all checks pass") \
X(CHECK, "sluice_check_ok", gauge, "check", "1 if the check passes, as in /readyz?verbose") \
X(BREAKER, "sluice_breaker_open", gauge, "upstream", "1 if tasks that need it wait, 0.5 if one tries") \
X(CREDENTIAL, "sluice_credential_expiry_timestamp_seconds", gauge, "provider", "when the access token ends; renewed before") \
X(SECRET, "sluice_client_secret_in_use", gauge, "", "1 or 2; 0 = none has worked yet") \
X(LOG_LOST, "sluice_log_lines_lost", gauge, "", "could not be written since the start") \
X(LOOP_LAG, "sluice_loop_lag_seconds", gauge, "", "latest that the main loop was with a timer in the last minute") \
/* calls */ \
X(REQUESTS, "sluice_api_requests_total", counter, "api, code", "calls ended, by class of answer; none = no complete answer") \
X(REQUEST_SECONDS, "sluice_api_request_seconds", histogram, "api", "from sending a call to the end of its answer; of s3 with its repetitions") \
X(REPEATS, "sluice_s3_repeats_total", counter, "", "requests to S3 sent again after a failure, within one call") \
X(WINDOW, "sluice_api_window", gauge, "api", "requests that may be in flight; adapts to answers") \
X(IN_FLIGHT, "sluice_api_requests_running", gauge, "api", "requests in flight") \
X(THROTTLED, "sluice_api_throttled_total", counter, "api", "answers that asked to slow down, or silence taken for it") \
/* work */ \
X(FILES_RUNNING, "sluice_files_running", gauge, "", "file tasks in work") \
X(CONTROL_RUNNING, "sluice_control_running", gauge, "", "other tasks in work") \
X(LANES, "sluice_lanes_running", gauge, "", "streams from the source under way") \
X(UPLOADS, "sluice_uploads_running", gauge, "", "S3 calls under way") \
X(POOL_USED, "sluice_pool_used_bytes", gauge, "", "part buffers in use") \
X(POOL, "sluice_pool_bytes", gauge, "", "part buffers in all: transfer.memory") \
X(BATCH_DELAY, "sluice_batch_delay_seconds", histogram, "", "from the creation of a batch in AEP to its manifest; live ones only") \
X(TASK_SECONDS, "sluice_task_seconds", histogram, "kind", "from the claim of a task to its end, whatever that was") \
X(DEAD_BY_CLASS, "sluice_dead_letters_by_class_total", counter, "class", "tasks given up, by their last error") \
X(EXPORTED, "sluice_exported_bytes_total", counter, "dataset", "file bytes received from the source") \
/* the process */ \
X(BUILD, "sluice_build_info", gauge, "version", "always 1") \
X(RELOAD_OK, "sluice_config_reload_success", gauge, "", "0 if the configuration as it is now was refused") \
X(RELOADED, "sluice_config_last_reload_success_timestamp_seconds", gauge, "", "when the configuration in force was read") \
X(SAMPLE, "sluice_sample_timestamp_seconds", gauge, "", "when these lines were written") \
X(STARTED, "sluice_process_start_time_seconds", gauge, "", "when the process started") \
X(RESIDENT, "sluice_process_resident_memory_bytes", gauge, "", "memory in use") \
X(CPU, "sluice_process_cpu_seconds_total", counter, "", "user and system time") \
X(FDS, "sluice_process_open_fds", gauge, "", "open files and connections") \
X(FDS_MAX, "sluice_process_max_fds", gauge, "", "limit of them (LimitNOFILE)") \
/* end */
/* clang-format on */

enum family {
#define X(id, name, type, labels, help) FAMILY_##id,
    FAMILY_LIST(X)
#undef X
        FAMILIES
};

struct label {
    const char *name, *value; /* the value may be any text */
};

void family_begin(struct buf *out, enum family family); /* HELP and TYPE, before its samples */
void family_sample(struct buf *out, enum family family, const struct label *label,
                   size_t labels, double value);
/* A family of one sample without labels. */
void family_value(struct buf *out, enum family family, double value);
void family_histogram(struct buf *out, enum family family, const struct label *label,
                      size_t labels, const struct histogram *histogram);

#endif
