/* SPDX-License-Identifier: Apache-2.0 */
/* The requests of the Catalog that we make: pages of batches, and one batch. */
#include "lib/aep/catalog.h"

#include <string.h>

#include "lib/base/encode.h"

#define PATH_MAX_BYTES 2000 /* Adobe's gateway refuses longer URLs */
#define PAGE_MAX       (16 * 1024 * 1024)
#define TIMEOUT_MS     65000 /* the gateway gives up after 60 s */
#define EXCERPT_MAX    200
#define SEARCH_MAX     10000 /* rows of one instant among which a batch is looked for */

static void write_path(struct catalog_list *list);
static void on_done(struct aep_call *call);
static void read_answer(struct catalog_list *list);
static void check_batch(struct catalog_list *list);
static bool search_on(struct catalog_list *list);
static void ask(struct catalog_list *list);

void catalog_start(struct aep *aep, struct catalog_list *list)
{
    list->aep = aep;
    list->fault = (struct fault){ .code = OK };
    list->searching = false;
    ask(list);
}

static void ask(struct catalog_list *list)
{
    list->call.service = AEP_CATALOG;
    list->call.http.method = "GET";
    list->call.http.timeout_ms = TIMEOUT_MS;
    list->call.http.max_body = PAGE_MAX;
    list->call.range_last = -1;
    list->call.done = on_done;
    write_path(list);
    aep_start(list->aep, &list->call);
}

static void write_bounds(const struct catalog_list *list, struct buf *path)
{
    if (list->from > 0)
        buf_print(path, "&createdAfter=%lld", (long long)list->from - 1); /* exclusive */
    if (list->to > 0)
        buf_print(path, "&createdBefore=%lld", (long long)list->to);
}

static void write_query(const struct catalog_list *list, struct buf *path)
{
    bool instant = list->searching || list->from == list->to - 1;
    if (list->query == CATALOG_CHANGED) {
        buf_print(path, "&orderBy=desc:updated&start=%d", list->start);
    } else if (list->query == CATALOG_NEWEST) {
        buf_add_text(path, "&status=success,active&orderBy=desc:created");
        write_bounds(list, path);
    } else if (instant) {
        buf_print(path, "&created=%lld&start=%d", (long long)list->from, list->start);
    } else {
        write_bounds(list, path);
        buf_add_text(path, "&orderBy=asc:created");
    }
}

static void write_path(struct catalog_list *list)
{
    struct buf *path = &list->call.path;
    buf_release(path);
    buf_init(path, PATH_MAX_BYTES);
    buf_add_text(path, "/data/foundation/catalog/batches");
    if (list->batch && !list->searching) {
        buf_add_char(path, '/');
        encode_percent(path, list->batch, strlen(list->batch), "");
        return;
    }
    buf_add_text(path, "?dataSet=");
    encode_percent(path, list->dataset, strlen(list->dataset), "");
    write_query(list, path);
    buf_print(path, "&limit=%d", list->limit > 0 ? list->limit : CATALOG_PAGE);
}

void catalog_cancel(struct catalog_list *list)
{
    aep_cancel(&list->call);
}

void catalog_release(struct catalog_list *list)
{
    aep_call_release(&list->call);
    mem_free(list->batches);
    list->batches = NULL;
    list->count = 0;
}

static void on_done(struct aep_call *call)
{
    struct catalog_list *list = container_of(call, struct catalog_list, call);
    if (call->fault.code)
        list->fault = call->fault;
    else
        read_answer(list);
    if (!search_on(list))
        list->done(list);
}

/* Whoever looks into it later has nothing but the fault: it shows how the answer began. */
static void add_excerpt(struct fault *fault, const struct buf *body)
{
    struct fault plain = *fault;
    AUTO_BUF text = BUF_INIT(2 * EXCERPT_MAX);
    for (size_t i = 0; i < body->len && text.len < EXCERPT_MAX; i++) {
        unsigned char c = (unsigned char)body->data[i];
        if (c < 0x20 || c >= 0x7f || c == '\\')
            buf_print(&text, "\\x%02x", c);
        else
            buf_add_char(&text, (char)c);
    }
    fault_set(fault, plain.code, "%.200s; the answer begins: %s", plain.text, buf_text(&text));
}

static void read_answer(struct catalog_list *list)
{
    const struct buf *body = &list->call.http.content;
    if (catalog_parse_batches(buf_text(body), body->len, list->dataset, &list->batches,
                              &list->count, &list->fault))
        add_excerpt(&list->fault, body);
    else if (list->batch && !list->searching)
        check_batch(list);
}

static void say_unknown(struct catalog_list *list)
{
    fault_set(&list->fault, ERR_NOT_FOUND, "Catalog does not know batch %s", list->batch);
}

static void check_batch(struct catalog_list *list)
{
    if (list->count == 0)
        say_unknown(list);
    else if (list->count > 1 || strcmp(list->batches[0].id, list->batch) != 0)
        fault_set(&list->fault, ERR_BAD_RESPONSE, "Catalog answers with batch %s instead of %s",
                  list->batches[0].id, list->batch);
}

/* ---- a batch that is not found by its id */

/* Leaves the batch that was looked for as the only one. */
static bool is_in_page(struct catalog_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->batches[i].id, list->batch) == 0) {
            list->batches[0] = list->batches[i];
            list->count = 1;
            return true;
        }
    return false;
}

/* Asks for the lists of its instant, page by page until an empty one. False: this was all. */
static bool search_on(struct catalog_list *list)
{
    bool begins =
        !list->searching && list->batch && list->from > 0 && list->fault.code == ERR_NOT_FOUND;
    if (!begins && (!list->searching || list->fault.code || is_in_page(list)))
        return false;
    list->start = begins ? 0 : list->start + (int)list->count;
    if (!begins && (list->count == 0 || list->start > SEARCH_MAX)) {
        say_unknown(list);
        return false;
    }
    list->searching = true;
    list->fault = (struct fault){ .code = OK };
    catalog_release(list);
    ask(list);
    return true;
}
