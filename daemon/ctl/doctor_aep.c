/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor's questions to AEP: may we in, is this the right sandbox, and how do lists, links and
 * ranges behave on this tenant. The daemon copes with every answer; they explain what it costs.
 */
#include "daemon/ctl/doctor.h"

#include <inttypes.h>
#include <string.h>

#define CATALOG      "/data/foundation/catalog"
#define DATASETS_MAX 10
#define SKEW_WARN_MS 30000
#define SKEW_FAIL_MS 600000 /* beyond 15 minutes stores refuse signatures */
#define TOKEN_MIN_MS 900000
#define FAR          1000000

/* ---- token, clock, sandbox, datasets */

static void check_token(struct doctor *doctor)
{
    const struct aep *aep = doctor->ask.clients.aep;
    int64_t left_ms = aep_token_expires_in_ms(aep);
    if (left_ms <= 0)
        doctor_say_fault(doctor, "token", "IMS gives none; check client_id, secret and scopes",
                         aep_auth_fault(aep));
    else
        doctor_say(doctor, left_ms < TOKEN_MIN_MS ? DOCTOR_WARN : DOCTOR_OK, "token",
                   left_ms < TOKEN_MIN_MS ? "short lives cost a request each" : NULL,
                   "valid for %" PRId64 " min", left_ms / 60000);
}

static void check_clock(struct doctor *doctor)
{
    int64_t skew_ms = aep_now(doctor->ask.clients.aep).ms - loop_wall(doctor->ctl->loop).ms;
    int64_t size = skew_ms < 0 ? -skew_ms : skew_ms;
    enum finding finding = size > SKEW_FAIL_MS   ? DOCTOR_FAIL
                           : size > SKEW_WARN_MS ? DOCTOR_WARN
                                                 : DOCTOR_OK;
    doctor_say(doctor, finding, "clock", finding ? "run an NTP client" : NULL,
               "AEP's is %" PRId64 " s %s ours", size / 1000,
               skew_ms < 0 ? "behind" : "ahead of");
}

static void check_sandbox(struct doctor *doctor, const struct json_t *root)
{
    const char *sandbox = doctor->ctl->settings.aep.sandbox;
    if (json_count(root) > 0)
        doctor_say(doctor, DOCTOR_OK, "sandbox", NULL, "%s shows datasets", sandbox);
    else
        doctor_say(doctor, DOCTOR_FAIL, "sandbox",
                   "a wrong name gives empty lists, too: check aep.sandbox and the role",
                   "%s shows no dataset", sandbox);
}

static void check_dataset(struct doctor *doctor, const struct dataset_settings *dataset)
{
    AUTO_JSON *root = NULL;
    struct ask *ask = &doctor->ask;
    AUTO_TEXT char *what = mem_print("dataset %s", dataset->as);
    AUTO_TEXT char *path = mem_print(CATALOG "/dataSets/%s?properties=name", dataset->id);
    enum err err = ask_json(ask, AEP_CATALOG, NULL, path, &root);
    if (err) {
        doctor_say_fault(doctor, what, err == ERR_NOT_FOUND ? "sluicectl datasets" : NULL,
                         &ask->fault);
        return;
    }
    const char *name = json_member_text(dataset_of_answer(root, dataset->id), "name");
    if (!doctor->dataset)
        doctor->dataset = dataset->id;
    doctor_say(doctor, DOCTOR_OK, what, NULL, "%s exists%s%s", dataset->id, name ? ": " : "",
               name ? name : "");
}

void doctor_check_access(struct doctor *doctor)
{
    const struct settings *settings = &doctor->ctl->settings;
    struct ask *ask = &doctor->ask;
    AUTO_JSON *root = NULL;
    enum err err =
        ask_json(ask, AEP_CATALOG, NULL, CATALOG "/dataSets?limit=1&properties=name", &root);
    struct fault fault = ask->fault;
    check_token(doctor);
    if (aep_token_expires_in_ms(ask->clients.aep) <= 0)
        return;
    if (err) {
        doctor_say_fault(doctor, "Catalog", NULL, &fault);
        return;
    }
    check_clock(doctor);
    check_sandbox(doctor, root);
    for (size_t i = 0; i < settings->datasets && i < DATASETS_MAX; i++)
        check_dataset(doctor, &settings->dataset[i]);
    if (settings->datasets > DATASETS_MAX)
        doctor_say(doctor, DOCTOR_UNSEEN, "datasets", "sluicectl dataset NAME asks for one",
                   "only the first %d are asked for", DATASETS_MAX);
}

/* ---- lists of batches */

static enum err ask_batches(struct doctor *doctor, const char *query, struct json_t **ret)
{
    AUTO_TEXT char *path = mem_print(CATALOG "/batches?dataSet=%s&%s", doctor->dataset, query);
    return ask_json(&doctor->ask, AEP_CATALOG, NULL, path, ret);
}

/* Refused is an answer as well: this tenant has no such thing. */
static bool refused(const struct doctor *doctor)
{
    int status = doctor->ask.fault.http_status;
    return status >= 400 && status < 500 && status != 401 && status != 403 && status != 429;
}

static bool same_order(const struct json_t *left, const struct json_t *right)
{
    struct json_iter a = json_iter(left), b = json_iter(right);
    while (json_iter_next(&a))
        if (json_iter_next(&b) && strcmp(a.name, b.name) != 0)
            return false;
    return true;
}

static size_t count_ties(const struct doctor *doctor)
{
    size_t ties = 0;
    for (size_t i = 1; i < doctor->batches_count; i++)
        ties += doctor->batches[i].created == doctor->batches[i - 1].created;
    return ties;
}

static void check_order(struct doctor *doctor)
{
    static const char query[] = "orderBy=asc:created&limit=100";
    AUTO_JSON *first = NULL, *second = NULL;
    AUTO_BUF text = BUF_INIT(ASK_JSON_MAX);
    struct ask *ask = &doctor->ask;
    if (ask_batches(doctor, query, &first) || ask_batches(doctor, query, &second)) {
        doctor_say_fault(doctor, "list of batches", NULL, &ask->fault);
        return;
    }
    json_write(&text, first);
    if (catalog_parse_batches(buf_text(&text), text.len, doctor->dataset, &doctor->batches,
                              &doctor->batches_count, &ask->fault)) {
        doctor_say(doctor, DOCTOR_FAIL, "list of batches", NULL, "%s", ask->fault.text);
        return;
    }
    size_t ties = count_ties(doctor);
    if (!same_order(first, second))
        doctor_say(doctor, DOCTOR_WARN, "order of batches", "listings are walked again then",
                   "two calls gave two orders");
    else
        doctor_say(doctor, ties ? DOCTOR_OK : DOCTOR_UNSEEN, "order of batches", NULL,
                   "%zu batches, %zu of them created in the same instant as another; the same "
                   "order twice",
                   doctor->batches_count, ties);
}

static void check_updated(struct doctor *doctor)
{
    AUTO_JSON *root = NULL;
    int64_t newest = 0, ignored = 0;
    for (size_t i = 0; i < doctor->batches_count; i++)
        if (doctor->batches[i].updated > newest)
            newest = doctor->batches[i].updated;
    AUTO_TEXT char *query = mem_print("property=updated%%3E%%3D%" PRId64 "&limit=20", newest);
    enum err err = ask_batches(doctor, query, &root);
    for (struct json_iter it = json_iter(root); json_iter_next(&it);) {
        uint64_t updated;
        ignored += json_member_u64(it.value, "updated", INT64_MAX, &updated) == OK &&
                   (int64_t)updated < newest;
    }
    if (err && refused(doctor))
        doctor_say(doctor, DOCTOR_WARN, "property=updated>=T", "change sweeps walk more pages",
                   "refused with %d", doctor->ask.fault.http_status);
    else if (err)
        doctor_say_fault(doctor, "property=updated>=T", NULL, &doctor->ask.fault);
    else if (ignored || json_count(root) == 0)
        doctor_say(doctor, DOCTOR_WARN, "property=updated>=T", "change sweeps walk more pages",
                   ignored ? "accepted and ignored" : "accepted, and finds nothing");
    else
        doctor_say(doctor, DOCTOR_OK, "property=updated>=T", NULL, "accepted, and filters");
}

static void check_far_start(struct doctor *doctor)
{
    AUTO_JSON *root = NULL;
    AUTO_TEXT char *query = mem_print("start=%d&limit=1", FAR);
    enum err err = ask_batches(doctor, query, &root);
    if (err && refused(doctor))
        doctor_say(doctor, DOCTOR_WARN, "start beyond the end",
                   "only ties beyond that many batches in one instant would need it",
                   "start=%d is refused with %d", FAR, doctor->ask.fault.http_status);
    else if (err)
        doctor_say_fault(doctor, "start beyond the end", NULL, &doctor->ask.fault);
    else
        doctor_say(doctor, json_count(root) ? DOCTOR_WARN : DOCTOR_OK, "start beyond the end",
                   NULL, "start=%d gives %zu batches", FAR, json_count(root));
}

static void check_comma_list(struct doctor *doctor)
{
    AUTO_JSON *root = NULL;
    if (doctor->batches_count < 2) {
        doctor_say(doctor, DOCTOR_UNSEEN, "batch=a,b", NULL, "wants two batches");
        return;
    }
    AUTO_TEXT char *query =
        mem_print("batch=%s,%s&limit=2", doctor->batches[0].id, doctor->batches[1].id);
    enum err err = ask_batches(doctor, query, &root);
    if (err && !refused(doctor))
        doctor_say_fault(doctor, "batch=a,b", NULL, &doctor->ask.fault);
    else
        doctor_say(doctor, json_count(root) == 2 ? DOCTOR_OK : DOCTOR_WARN, "batch=a,b",
                   json_count(root) == 2 ? NULL : "open batches are asked for one by one",
                   "finds %zu of 2", json_count(root));
}

static void check_gzip(struct doctor *doctor)
{
    char encoding[64] = "";
    struct ask_call call = { .call = { .service = AEP_CATALOG,
                                       .range_last = -1,
                                       .path = BUF_INIT(1000),
                                       .http = { .method = "GET", .max_body = 1 << 20 } } };
    struct http_req *http = &call.call.http;
    buf_print(&call.call.path, CATALOG "/batches?dataSet=%s&limit=20", doctor->dataset);
    http_set_header(http, "Accept-Encoding", "gzip");
    if (ask_call(&doctor->ask, &call))
        doctor_say_fault(doctor, "gzip", NULL, &doctor->ask.fault);
    else if (http_header(http, "Content-Encoding", encoding, sizeof encoding))
        doctor_say(doctor, DOCTOR_OK, "gzip", NULL, "lists can come as %s, %" PRId64 " bytes",
                   encoding, http->body_bytes);
    else
        doctor_say(doctor, DOCTOR_OK, "gzip", NULL, "lists come as they are");
    aep_call_release(&call.call);
}

static void check_last_batches(struct doctor *doctor)
{
    AUTO_JSON *root = NULL;
    struct dataset_info info = { 0 };
    AUTO_TEXT char *path = mem_print(CATALOG "/lastBatches?dataSetId=%s", doctor->dataset);
    if (ask_json(&doctor->ask, AEP_CATALOG, NULL, path, &root))
        doctor_say(doctor, DOCTOR_WARN, "lastBatches", "the list of batches is asked instead",
                   "%s", doctor->ask.fault.text);
    else if (!dataset_read_last(json_member(root, doctor->dataset), &info))
        doctor_say(doctor, DOCTOR_WARN, "lastBatches", "the list of batches is asked instead",
                   "knows nothing of the dataset");
    else
        doctor_say(doctor, DOCTOR_OK, "lastBatches", NULL, "knows the dataset: %s",
                   info.last_status ? info.last_status : "without a status");
}

void doctor_check_catalog(struct doctor *doctor)
{
    check_order(doctor);
    if (doctor->batches_count == 0) {
        doctor_say(doctor, DOCTOR_UNSEEN, "lists", NULL, "the dataset has no batch to try on");
        return;
    }
    check_updated(doctor);
    check_far_start(doctor);
    check_comma_list(doctor);
    check_gzip(doctor);
    check_last_batches(doctor);
}
