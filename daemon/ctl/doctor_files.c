/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor's questions to Data Access: paging marks, marker files, ranges. */
#include <inttypes.h>
#include <string.h>

#include "daemon/ctl/doctor.h"
#include "lib/aep/access.h"
#include "lib/base/encode.h"

#define EXPORT    "/data/foundation/export"
#define RANGE_MAX 1024
#define BODY_MAX  (1 << 20)

static const struct json_t *rows_of(const struct json_t *root)
{
    return json_is_array(root) ? root : json_member(root, "data");
}

/* The newest batch of those seen that holds files of its own; NULL if there is none. */
static const struct batch_info *some_batch(const struct doctor *doctor)
{
    for (size_t i = doctor->batches_count; i-- > 0;) {
        const struct batch_info *batch = &doctor->batches[i];
        if (batch->state == BATCH_READABLE && batch->class == BATCH_LAKE &&
            batch->output_files != 0)
            return batch;
    }
    return NULL;
}

static enum err ask_files(struct doctor *doctor, const char *kind, const char *id,
                          const char *tail, int limit, struct json_t **ret)
{
    struct buf path = BUF_INIT(2000);
    buf_print(&path, EXPORT "/%s/", kind);
    encode_percent(&path, id, strlen(id), "");
    buf_print(&path, "%s?limit=%d", tail, limit);
    AUTO_TEXT char *text = buf_take(&path);
    return ask_json(&doctor->ask, AEP_LISTING, NULL, text, ret);
}

static void look_at_rows(struct doctor *doctor, const struct json_t *rows, const char *file_id)
{
    uint64_t length;
    bool marker = false;
    for (size_t i = 0; i < json_count(rows); i++) {
        const struct json_t *row = json_element(rows, i);
        const char *name = json_member_text(row, "name");
        if (!name || json_member_u64(row, "length", INT64_MAX, &length))
            continue;
        if (strcmp(name, "_SUCCESS") == 0) {
            marker = true;
            doctor_say(doctor, length ? DOCTOR_WARN : DOCTOR_OK, "_SUCCESS", NULL,
                       "listed with %" PRIu64 " bytes", length);
        } else if (!doctor->file_name && length > 0) {
            doctor->file_id = mem_copy_text(file_id);
            doctor->file_name = mem_copy_text(name);
            doctor->file_length = (int64_t)length;
        }
    }
    if (!marker)
        doctor_say(doctor, DOCTOR_UNSEEN, "_SUCCESS", NULL, "not among the files");
}

/* Does Catalog count what Data Access lists? Only asked of what is listed on one page. */
static void check_count(struct doctor *doctor, const struct batch_info *batch,
                        const struct json_t *directories, const struct json_t *rows)
{
    int64_t listed = 0;
    for (size_t i = 0; i < json_count(rows); i++) {
        const char *name = json_member_text(json_element(rows, i), "name");
        listed += name && strcmp(name, "_SUCCESS") != 0;
    }
    if (batch->output_files < 0 || json_count(directories) != 1 ||
        json_count(rows) == ACCESS_PAGE)
        doctor_say(
            doctor, DOCTOR_UNSEEN, "number of files", NULL,
            "wants a batch of one dataset file and of less than a page, counted by Catalog");
    else if (listed < batch->output_files)
        doctor_say(doctor, DOCTOR_WARN, "number of files",
                   "aep.short_listing: 0s, if that batch is complete; it delays each new batch",
                   "%" PRId64 " are listed, Catalog counts %" PRId64, listed,
                   batch->output_files);
    else
        doctor_say(doctor, DOCTOR_OK, "number of files", NULL,
                   "as many as Catalog counts, or more");
}

/* What "start" of the next link is: a number or a name. */
static const char *marker_of(const struct json_t *root)
{
    const char *href =
        json_member_text(json_member(json_member(root, "_links"), "next"), "href");
    const char *start = href ? strstr(href, "start=") : NULL;
    if (!href)
        return NULL;
    if (!start)
        return "a link without start";
    start += strlen("start=");
    size_t digits = strspn(start, "0123456789");
    return digits > 0 && (start[digits] == 0 || start[digits] == '&') ? "an offset"
                                                                      : "a file name";
}

static void check_marker(struct doctor *doctor, const char *file_id, size_t files)
{
    AUTO_JSON *root = NULL;
    if (files < 2) {
        doctor_say(doctor, DOCTOR_UNSEEN, "paging of files", NULL, "wants two files");
        return;
    }
    if (ask_files(doctor, "files", file_id, "", 1, &root)) {
        doctor_say_fault(doctor, "paging of files", NULL, &doctor->ask.fault);
        return;
    }
    const char *marker = marker_of(root);
    size_t rows = json_count(rows_of(root));
    if (marker)
        doctor_say(doctor, DOCTOR_OK, "paging of files", NULL, "the next link has %s", marker);
    else
        doctor_say(doctor, DOCTOR_WARN, "paging of files",
                   "offsets and names are tried, duplicates dropped",
                   rows > 1 ? "limit is ignored, no next link"
                            : "no next link behind a full page");
}

static void judge_range(struct doctor *doctor, const struct aep_call *call)
{
    struct http_range range;
    const struct fault *fault = &doctor->ask.fault;
    if (call->http.status == 200)
        doctor_say(doctor, DOCTOR_WARN, "ranges", "large files cannot be resumed",
                   "ignored: the whole file comes");
    else if (fault->code)
        doctor_say_fault(doctor, "ranges", NULL, fault);
    else if (call->http.status != 206 || http_content_range(&call->http, &range))
        doctor_say(doctor, DOCTOR_FAIL, "ranges", NULL, "status %d without a Content-Range",
                   call->http.status);
    else if (range.total >= 0 && range.total != doctor->file_length)
        doctor_say(doctor, DOCTOR_FAIL, "ranges", "the file would be listed again",
                   "%" PRId64 " bytes listed, %" PRId64 " served", doctor->file_length,
                   range.total);
    else
        doctor_say(doctor, DOCTOR_OK, "ranges", NULL, "%s",
                   range.first == call->range_first && range.last == call->range_last
                       ? "exactly what was asked for"
                       : "another range than asked for, as Content-Range says");
}

static void check_range(struct doctor *doctor)
{
    struct ask_call asked = { .call = { .service = AEP_CONTENT,
                                        .path = BUF_INIT(8000),
                                        .http = { .method = "GET", .max_body = BODY_MAX } } };
    struct aep_call *call = &asked.call;
    if (!doctor->file_name)
        return;
    buf_add_text(&call->path, EXPORT "/files/");
    encode_percent(&call->path, doctor->file_id, strlen(doctor->file_id), "");
    buf_add_text(&call->path, "?path=");
    encode_percent(&call->path, doctor->file_name, strlen(doctor->file_name), "");
    call->range_last = (doctor->file_length < RANGE_MAX ? doctor->file_length : RANGE_MAX) - 1;
    (void)!ask_call(&doctor->ask, &asked); /* the status says more than the fault */
    judge_range(doctor, call);
    aep_call_release(call);
}

void doctor_check_files(struct doctor *doctor)
{
    AUTO_JSON *directories = NULL, *files = NULL;
    const struct batch_info *batch = some_batch(doctor);
    if (!batch) {
        doctor_say(doctor, DOCTOR_UNSEEN, "Data Access", NULL, "no batch with files to try on");
        return;
    }
    if (ask_files(doctor, "batches", batch->id, "/files", ACCESS_PAGE, &directories)) {
        doctor_say_fault(doctor, "Data Access", NULL, &doctor->ask.fault);
        return;
    }
    const char *file_id =
        json_member_text(json_element(rows_of(directories), 0), "dataSetFileId");
    if (!file_id || !catalog_id_valid(file_id)) {
        doctor_say(doctor, DOCTOR_WARN, "Data Access", "sluicectl files looks closer",
                   "batch %s lists no dataset file", batch->id);
        return;
    }
    if (ask_files(doctor, "files", file_id, "", ACCESS_PAGE, &files)) {
        doctor_say_fault(doctor, "Data Access", NULL, &doctor->ask.fault);
        return;
    }
    doctor_say(doctor, DOCTOR_OK, "Data Access", NULL, "lists batch %s", batch->id);
    look_at_rows(doctor, rows_of(files), file_id);
    check_count(doctor, batch, rows_of(directories), rows_of(files));
    check_marker(doctor, file_id, json_count(rows_of(files)));
    check_range(doctor);
    int64_t waited = doctor->ask.told_to_wait_ms;
    doctor_say(doctor, waited ? DOCTOR_WARN : DOCTOR_OK, "throttling",
               waited ? "lower aep.requests_per_second" : NULL,
               waited ? "Retry-After of %" PRId64 " s was seen" : "none seen", waited / 1000);
}
