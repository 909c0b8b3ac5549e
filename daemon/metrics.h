/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters next to the act, read by health. All are written by the main thread only. A name ends
 * in its unit; `total` means it only grows.
 */
#ifndef SLUICE_DAEMON_METRICS_H
#define SLUICE_DAEMON_METRICS_H

#include "lib/base/buf.h"
#include "lib/base/histogram.h"
#include "lib/queue/queue_task.h"

#define METRIC_LIST(X)                                                                         \
    X(batches_discovered, "sluice_batches_discovered_total", "batches seen in listings")       \
    X(batches_committed, "sluice_batches_committed_total", "manifests written")                \
    X(batches_known, "sluice_batches_known_total", "batches whose manifest was there already") \
    X(batches_skipped, "sluice_batches_skipped_total",                                         \
      "batches that never become readable, or hold no lake files")                             \
    X(failed_records, "sluice_failed_records_total",                                           \
      "records that partial ingestion left out of committed batches")                          \
    X(short_listings, "sluice_short_listings_total",                                           \
      "batches copied although fewer files are listed than Catalog counts")                    \
    X(revocations, "sluice_revocations_total", "batches withdrawn after their commit")         \
    X(sweeps, "sluice_sweeps_total", "complete looks at what changed")                         \
    X(sweeps_failed, "sluice_sweeps_failed_total", "looks at what changed that failed")        \
    X(files_stored, "sluice_files_stored_total", "objects complete in S3")                     \
    X(files_known, "sluice_files_known_total", "files whose object was there already")         \
    X(files_corrupt, "sluice_corrupt_files_total", "reads of files that failed the check")     \
    X(ends_read, "sluice_ends_read_total", "ends of files read again for the check")           \
    X(strays, "sluice_stray_objects_total",                                                    \
      "objects of files that their batch no longer lists")                                     \
    X(parts_stored, "sluice_parts_stored_total", "parts durable in S3")                        \
    X(parts_resumed, "sluice_parts_resumed_total", "parts taken over from an earlier upload")  \
    X(bytes_received, "sluice_received_bytes_total", "file bytes received from the source")    \
    X(bytes_stored, "sluice_stored_bytes_total", "file bytes durable in S3")                   \
    X(claims, "sluice_claims_total", "tasks claimed")                                          \
    X(retries, "sluice_retries_total", "tasks put back after a fault")                         \
    X(dead_letters, "sluice_dead_letters_total", "tasks given up")                             \
    X(leases_lost, "sluice_leases_lost_total", "tasks lost to another worker")                 \
    X(leases_lapsed, "sluice_leases_lapsed_total", "leases of anybody that ended unrenewed")   \
    X(redis_lost_writes, "sluice_redis_lost_writes_total",                                     \
      "times that Redis went back in time")                                                    \
    X(queue_repaired, "sluice_queue_repaired_total", "index entries that were missing")        \
    X(inbox_accepted, "sluice_inbox_accepted_total", "operators' commands accepted")           \
    X(inbox_rejected, "sluice_inbox_rejected_total", "operators' commands refused")            \
    X(uploads_aborted, "sluice_uploads_aborted_total", "unfinished uploads that no task knew") \
    X(strays_avoided, "sluice_objects_existing_total", "uploads that met an existing object")

struct metrics {
#define X(member, name, help) int64_t member;
    METRIC_LIST(X)
#undef X
    int64_t dead_by_class[ERR_COUNT];  /* dead_letters, by what they died of */
    struct metrics_exported *exported; /* per dataset, made as they appear */
    struct histogram batch_delay;      /* creation to manifest, of live batches */
    struct histogram task_seconds[QUEUE_KINDS];
};
void metrics_release(struct metrics *metrics);

/* One more task was given up. */
void metrics_count_dead(struct metrics *metrics, enum err why);

/*
 * The counter of bytes that a dataset has cost at Data Access since the start, repetitions
 * included, by its name in keys: contracts cap them. Never moves.
 */
int64_t *metrics_exported(struct metrics *metrics, const char *dataset);

/* What is to be added to the lasting count of a dataset (in Redis), and that it has been, for all. */
int64_t metrics_unsaved(struct metrics *metrics, const char *dataset);
void metrics_saved(struct metrics *metrics);

/* Prometheus text format 0.0.4. */
void metrics_print(const struct metrics *metrics, struct buf *out);

#endif
