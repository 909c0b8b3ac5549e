/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics: the counters, and what can be seen of all parts right now. */
#include "daemon/families.h"
#include "daemon/health.h"
#include "daemon/pool.h"
#include "daemon/process.h"
#include "daemon/reload.h"
#include "daemon/scheduler.h"
#include "daemon/transfers.h"
#include "daemon/uploader.h"
#include "lib/base/log.h"

/* The value of one family for one dataset. */
typedef double dataset_value(const struct health_view *view, size_t dataset);

static const struct dataset_figures *figures_of(const struct health_view *view, size_t dataset)
{
    return &view->core->figures->dataset[dataset];
}

static double last_success(const struct health_view *view, size_t dataset)
{
    return (double)figures_of(view, dataset)->committed_at / 1000;
}

static double watermark(const struct health_view *view, size_t dataset)
{
    return (double)figures_of(view, dataset)->seen_to / 1000;
}

static double lag(const struct health_view *view, size_t dataset)
{
    int64_t ms = figures_dataset_lag_ms(view->core, dataset, view->now_aep);
    return ms < 0 ? -1 : (double)ms / 1000;
}

static double paused(const struct health_view *view, size_t dataset)
{
    return (double)figures_of(view, dataset)->paused;
}

static double uncommitted(const struct health_view *view, size_t dataset)
{
    return (double)figures_of(view, dataset)->uncommitted;
}

static double open_files(const struct health_view *view, size_t dataset)
{
    return (double)figures_of(view, dataset)->open_files;
}

static const struct {
    enum family family;
    dataset_value *value;
    double unknown; /* this value: no sample, the figure is not known */
} dataset_row[] = {
    { FAMILY_LAST_SUCCESS, last_success, 0 },
    { FAMILY_WATERMARK, watermark, 0 },
    { FAMILY_LAG, lag, -1 },
    { FAMILY_PAUSED, paused, -1 },
    { FAMILY_UNCOMMITTED, uncommitted, -1 },
    { FAMILY_OPEN_FILES, open_files, -1 },
};

static void print_datasets(const struct health_view *view, struct buf *out)
{
    const struct settings *settings = view->core->settings;
    for (size_t i = 0; i < sizeof dataset_row / sizeof *dataset_row; i++) {
        family_begin(out, dataset_row[i].family);
        for (size_t at = 0; at < settings->datasets; at++) {
            struct label label = { "dataset", settings->dataset[at].as };
            double value = dataset_row[i].value(view, at);
            if (value > dataset_row[i].unknown)
                family_sample(out, dataset_row[i].family, &label, 1, value);
        }
    }
}

static const struct {
    const char *kind, *status;
    size_t offset;
} task_row[] = {
#define AT(member) offsetof(struct dataset_figures, member)
    { "list", "pending", AT(to_list) },     { "commit", "pending", AT(to_commit) },
    { "file", "pending", AT(to_copy) },     { "control", "in-progress", AT(running) },
    { "file", "in-progress", AT(copying) },
#undef AT
};

static void print_tasks(const struct health_view *view, struct buf *out)
{
    const struct settings *settings = view->core->settings;
    family_begin(out, FAMILY_TASKS);
    for (size_t at = 0; at < settings->datasets; at++)
        for (size_t i = 0; i < sizeof task_row / sizeof *task_row; i++) {
            struct label label[] = { { "dataset", settings->dataset[at].as },
                                     { "kind", task_row[i].kind },
                                     { "status", task_row[i].status } };
            const char *figures = (const void *)figures_of(view, at);
            const int64_t *count = (const void *)(figures + task_row[i].offset);
            family_sample(out, FAMILY_TASKS, label, 3, (double)*count);
        }
}

static void print_queue(const struct health_view *view, struct buf *out)
{
    const struct figures *figures = view->core->figures;
    int64_t age_ms = mono_ms_between(figures->answered_at, loop_now(view->core->loop));
    print_datasets(view, out);
    print_tasks(view, out);
    if (!figures->answered_at.us)
        return;
    family_value(out, FAMILY_DELAYED, (double)figures->queue.delayed);
    family_value(out, FAMILY_DEAD, (double)figures->queue.dead);
    family_value(out, FAMILY_INBOX, (double)figures->queue.inbox);
    family_value(out, FAMILY_QUEUE_AGE, (double)age_ms / 1000);
    family_value(out, FAMILY_ROUND_TRIP, (double)figures->round_trip_us / 1e6);
}

static void print_checks(const struct health_view *view, struct buf *out)
{
    static const double of[] = {
        [BREAKER_CLOSED] = 0, [BREAKER_OPEN] = 1, [BREAKER_HALF_OPEN] = 0.5
    };
    family_value(out, FAMILY_READY, view->ready);
    family_begin(out, FAMILY_CHECK);
    for (size_t i = 0; i < CHECKS; i++)
        family_sample(out, FAMILY_CHECK, &(struct label){ "check", check_name(i) }, 1,
                      view->checks->check[i].state != CHECK_FAIL);
    family_begin(out, FAMILY_BREAKER);
    for (int i = 0; i < UPSTREAMS; i++)
        family_sample(out, FAMILY_BREAKER,
                      &(struct label){ "upstream", upstream_name((enum upstream)i) }, 1,
                      of[view->core->upstreams.breaker[i].state]);
}

/* ---- calls */

#define APIS (AEP_SERVICES + 2) /* and IMS, and S3 */

static const char *const api_name[APIS] = {
    [AEP_CATALOG] = "catalog", [AEP_LISTING] = "listing", [AEP_CONTENT] = "content",
    [AEP_SCHEMA] = "schema",   [AEP_SERVICES] = "ims",    [AEP_SERVICES + 1] = "s3",
};

static const struct traffic *traffic_of(const struct health_view *view, int api)
{
    return api == AEP_SERVICES + 1 ? uploader_traffic(view->core->uploader)
                                   : &view->core->traffic[api];
}

static void print_requests(const struct health_view *view, struct buf *out)
{
    family_begin(out, FAMILY_REQUESTS);
    for (int api = 0; api < APIS; api++)
        for (enum traffic_class class = 0; class < TRAFFIC_CLASSES; class ++) {
            struct label label[] = { { "api", api_name[api] },
                                     { "code", traffic_class_name(class) } };
            int64_t calls = traffic_of(view, api)->calls[class];
            if (calls)
                family_sample(out, FAMILY_REQUESTS, label, 2, (double)calls);
        }
    family_begin(out, FAMILY_REQUEST_SECONDS);
    for (int api = 0; api < APIS; api++)
        if (traffic_of(view, api)->seconds.count)
            family_histogram(out, FAMILY_REQUEST_SECONDS,
                             &(struct label){ "api", api_name[api] }, 1,
                             &traffic_of(view, api)->seconds);
    family_value(out, FAMILY_REPEATS, (double)uploader_traffic(view->core->uploader)->repeated);
}

static double window(const struct ratelimit *limit)
{
    return limit->window;
}

static double in_flight(const struct ratelimit *limit)
{
    return limit->in_flight;
}

static double throttled(const struct ratelimit *limit)
{
    return (double)limit->throttled;
}

static void print_limits(const struct health_view *view, struct buf *out)
{
    static const struct {
        enum family family;
        double (*value)(const struct ratelimit *limit);
    } limit_row[] = {
        { FAMILY_WINDOW, window },
        { FAMILY_IN_FLIGHT, in_flight },
        { FAMILY_THROTTLED, throttled },
    };
    for (size_t i = 0; i < sizeof limit_row / sizeof *limit_row; i++) {
        family_begin(out, limit_row[i].family);
        for (enum aep_service api = 0; api < AEP_SERVICES; api++)
            family_sample(out, limit_row[i].family, &(struct label){ "api", api_name[api] }, 1,
                          limit_row[i].value(aep_limit(view->core->aep, api)));
    }
}

/* ---- the daemon and its process */

static void print_work(const struct health_view *view, struct buf *out)
{
    const struct core *core = view->core;
    struct scheduler_figures figures;
    scheduler_figures(core->scheduler, &figures);
    family_value(out, FAMILY_DAEMONS, (double)figures.live_daemons);
    family_value(out, FAMILY_FILES_RUNNING, (double)figures.files);
    family_value(out, FAMILY_CONTROL_RUNNING, (double)figures.control);
    family_value(out, FAMILY_LANES, (double)transfers_lanes(core));
    family_value(out, FAMILY_UPLOADS, (double)uploader_running(core->uploader));
    family_value(out, FAMILY_POOL_USED, (double)pool_used(core->pool));
    family_value(out, FAMILY_POOL, (double)pool_size(core->pool));
    family_value(out, FAMILY_LOG_LOST, (double)log_lost());
    family_value(out, FAMILY_SECRET, aep_secret_in_use(core->aep));
}

static void print_credential(const struct health_view *view, struct buf *out)
{
    int64_t left_ms = aep_token_expires_in_ms(view->core->aep);
    if (left_ms <= 0)
        return;
    family_begin(out, FAMILY_CREDENTIAL);
    family_sample(out, FAMILY_CREDENTIAL, &(struct label){ "provider", "ims" }, 1,
                  (double)(view->now.ms + left_ms) / 1000);
}

static void print_process(const struct health_view *view, struct buf *out)
{
    struct process_figures process;
    process_look(&process);
    family_begin(out, FAMILY_BUILD);
    family_sample(out, FAMILY_BUILD, &(struct label){ "version", SLUICE_VERSION }, 1, 1);
    family_value(out, FAMILY_SAMPLE, (double)view->now.ms / 1000);
    family_value(out, FAMILY_STARTED, (double)view->checks->started.ms / 1000);
    family_value(out, FAMILY_RELOAD_OK, !reload_refused(view->core->reload));
    family_value(out, FAMILY_RELOADED, (double)reload_loaded_at(view->core->reload).ms / 1000);
    family_value(out, FAMILY_LOOP_LAG, (double)view->loop_lag_us / 1e6);
    family_value(out, FAMILY_RESIDENT, (double)process.resident_bytes);
    family_value(out, FAMILY_CPU, process.cpu_s);
    family_value(out, FAMILY_FDS, (double)process.open_fds);
    family_value(out, FAMILY_FDS_MAX, (double)process.max_fds);
}

void health_print_metrics(const struct health_view *view, struct buf *out)
{
    metrics_print(&view->core->metrics, out);
    print_checks(view, out);
    print_queue(view, out);
    print_requests(view, out);
    print_limits(view, out);
    print_work(view, out);
    print_credential(view, out);
    print_process(view, out);
}
