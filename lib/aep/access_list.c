/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All pages of one listing. Adobe documents two kinds of cursor for the same parameter (an
 * offset, a file name) and no total, so the next page is
 *
 *     the `start` of the next link      if there is one, as it was written
 *     the number of rows so far         after a full page without a link: better one call too
 *     the name of the last file         many than a file too few; the name where the number
 *                                       led to nothing new
 *
 * and the end is a page without anything new. Where a link leads on from such a page a few more
 * are tried: an empty page in the middle must not cut the listing short.
 *
 * Pages may overlap; but a known row behind a new one means that rows change places between the
 * pages, and one may have slipped through. Then the listing is walked again until a walk is
 * orderly or brings nothing new.
 *
 * The files of a batch are renamed and merged at the source (compaction). A listing of several
 * pages may have begun before that and ended after it: so its first page is asked for once more
 * in the end, and must say nothing new.
 */
#include "lib/aep/access.h"

#include <stdio.h>
#include <string.h>

#include "lib/aep/seen.h"
#include "lib/base/encode.h"

#define LISTING_MAX (16 * 1024 * 1024)
#define PATH_LIMIT  8000
#define TIMEOUT_MS  65000 /* the gateway gives up after 60 s */
#define PAGES_MAX   10000
#define BARREN_MAX  3
#define WALKS_MAX   5
#define CURSOR_MAX  (3 * ACCESS_NAME_MAX) /* a file name, percent-encoded */

/* How the page was asked for. */
enum cursor { CURSOR_LINK, CURSOR_OFFSET, CURSOR_NAME }; /* the first page counts as linked */

struct access_paging {
    struct aep *aep;
    struct seen all;  /* rows of all walks */
    struct seen walk; /* rows and cursors (kind "?") of this walk */
    size_t rows;      /* different ones in this walk, markers included */
    size_t added;     /* of those, unknown to the walks before */
    enum cursor kind;
    char cursor[CURSOR_MAX + 1]; /* `start`, as it goes into the URL; "" = first page */
    char last[CURSOR_MAX + 1];   /* the last new file's name, in the same form */
    int limit;
    int pages, barren, walks;
    bool disorder, cancelled;
    bool confirms; /* the first page is asked for once more */
};

enum step { STEP_ASK, STEP_END, STEP_FAILED };

static void ask(struct access_list *list);
static void on_page(struct aep_call *call);
static enum step take_page(struct access_list *list);
static enum step next_page(struct access_list *list, size_t rows, const char *query);
static enum step end_walk(struct access_list *list);
static enum step confirm(struct access_list *list);
static bool query_value(const char *query, const char *name, char *value, size_t size);
static enum step fail(struct access_list *list, const char *text);
static void finish(struct access_list *list);

void access_list_start(struct aep *aep, struct access_list *list)
{
    list->fault = (struct fault){ .code = OK };
    list->paging = mem_alloc(sizeof *list->paging);
    list->paging->aep = aep;
    list->paging->limit = ACCESS_PAGE;
    ask(list);
}

void access_list_cancel(struct access_list *list)
{
    if (!list->paging)
        return;
    list->paging->cancelled = true; /* in `page` there is no call to cancel */
    aep_cancel(&list->call);
}

static void free_rows(struct access_list *list)
{
    access_files_free(list->files, list->count);
    list->files = NULL;
    list->count = 0;
}

static void forget_rows(struct access_paging *paging)
{
    seen_release(&paging->all);
    seen_release(&paging->walk);
}

void access_list_release(struct access_list *list)
{
    aep_call_release(&list->call);
    free_rows(list);
    if (list->paging)
        forget_rows(list->paging);
    mem_free(list->paging);
    list->paging = NULL;
}

static void finish(struct access_list *list)
{
    forget_rows(list->paging);
    list->done(list);
}

static void ask(struct access_list *list)
{
    const struct access_paging *paging = list->paging;
    const char *id = list->file_id ? list->file_id : list->batch;
    struct aep_call *call = &list->call;
    aep_call_release(call);
    call->service = AEP_LISTING;
    call->http.method = "GET";
    call->http.timeout_ms = TIMEOUT_MS;
    call->http.max_body = LISTING_MAX;
    call->range_last = -1;
    call->done = on_page;
    buf_init(&call->path, PATH_LIMIT);
    buf_print(&call->path, "/data/foundation/export/%s/", list->file_id ? "files" : "batches");
    encode_percent(&call->path, id, strlen(id), "");
    buf_print(&call->path, "%s?limit=%d", list->file_id ? "" : "/files", paging->limit);
    if (paging->cursor[0])
        buf_print(&call->path, "&start=%s", paging->cursor);
    aep_start(paging->aep, call);
}

static void on_page(struct aep_call *call)
{
    struct access_list *list = container_of(call, struct access_list, call);
    const struct access_paging *paging = list->paging;
    enum step step = STEP_FAILED;
    /* A server that counts rows has no use for a name; the offset was answered before. */
    if (call->fault.code == ERR_REQUEST && paging->kind == CURSOR_NAME && paging->barren > 0)
        step = end_walk(list);
    else if (call->fault.code != OK)
        list->fault = call->fault;
    else
        step = paging->confirms ? confirm(list) : take_page(list);
    if (step == STEP_ASK && paging->cancelled) {
        fault_set(&list->fault, ERR_CANCELLED, "file listing cancelled");
        step = STEP_FAILED;
    }
    if (step == STEP_ASK)
        ask(list);
    else
        finish(list);
}

/* ---- rows */

static bool is_marker(const struct access_file *file)
{
    const char *slash = file->name ? strrchr(file->name, '/') : NULL;
    const char *name = slash ? slash + 1 : file->name;
    if (!name)
        return false;
    return strcmp(name, "_SUCCESS") == 0 ||
           (file->length == 0 && (name[0] == '_' || name[0] == '.'));
}

static bool add_row(struct seen *seen, const struct access_file *file)
{
    return file->name ? seen_add(seen, file->id, file->name) : seen_add(seen, "=", file->id);
}

/* What a cursor by name needs to know of the last new row. */
static void remember_last(struct access_paging *paging, const struct access_file *file)
{
    AUTO_BUF name = BUF_INIT(CURSOR_MAX);
    if (file->name)
        encode_percent(&name, file->name, strlen(file->name), "");
    memcpy(paging->last, buf_text(&name), name.len + 1);
}

/* Keeps what is new and no marker; returns how many rows were new to this walk. */
static size_t keep_new(struct access_paging *paging, struct access_file *files, size_t *count)
{
    size_t kept = 0, fresh = 0;
    for (size_t i = 0; i < *count; i++) {
        struct access_file file = files[i];
        bool here = add_row(&paging->walk, &file),
             is_new = here && add_row(&paging->all, &file);
        paging->disorder |= !here && fresh > 0;
        paging->added += is_new;
        fresh += here;
        if (here)
            remember_last(paging, &file);
        if (is_new && !is_marker(&file)) {
            files[kept++] = file;
            continue;
        }
        mem_free(file.id);
        mem_free(file.name);
    }
    *count = kept;
    paging->rows += fresh;
    return fresh;
}

static void append(struct access_list *list, struct access_file *files, size_t count)
{
    list->files = mem_grow(list->files, list->count + count, sizeof *files);
    if (count)
        memcpy(list->files + list->count, files, count * sizeof *files);
    list->count += count;
    mem_free(files);
}

static void hand_over(struct access_list *list, struct access_file *files, size_t count)
{
    if (!list->page) {
        append(list, files, count);
        return;
    }
    list->files = files;
    list->count = count;
    if (count)
        list->page(list);
    free_rows(list);
}

static enum step take_page(struct access_list *list)
{
    struct access_paging *paging = list->paging;
    const struct buf *body = &list->call.http.content;
    AUTO_BUF next = BUF_INIT(2 * CURSOR_MAX);
    struct access_file *files;
    size_t count;
    if (access_parse_page(buf_text(body), body->len, list->file_id, &files, &count, &next,
                          &list->fault))
        return STEP_FAILED;
    size_t rows = count, fresh = keep_new(paging, files, &count);
    paging->barren = fresh > 0 ? 0 : paging->barren + 1;
    hand_over(list, files, count);
    if (next.overflow)
        return fail(list, "next link is too long");
    return next_page(list, rows, buf_text(&next));
}

/* ---- cursors */

/* Moves the cursor to where the link leads; false if it does not say. */
static bool follow_link(struct access_paging *paging, const char *query)
{
    char limit[8];
    uint64_t number;
    if (!query_value(query, "start", paging->cursor, sizeof paging->cursor))
        return false;
    paging->kind = CURSOR_LINK;
    if (query_value(query, "limit", limit, sizeof limit) &&
        parse_u64(limit, ACCESS_PAGE, &number) == OK && number > 0)
        paging->limit = (int)number;
    return true;
}

/* Thinks of a cursor for the page after one without a usable link; false if it was the last. */
static bool guess(struct access_paging *paging, bool full)
{
    bool by_name = paging->kind == CURSOR_NAME;
    if (paging->barren > 0) {
        if (paging->kind != CURSOR_OFFSET || !paging->last[0])
            return false;
        by_name = true;
    } else if (!full) {
        return false;
    }
    paging->kind = by_name ? CURSOR_NAME : CURSOR_OFFSET;
    if (by_name)
        memcpy(paging->cursor, paging->last, sizeof paging->cursor);
    else
        snprintf(paging->cursor, sizeof paging->cursor, "%zu", paging->rows);
    return true;
}

static enum step fail(struct access_list *list, const char *text)
{
    fault_set(&list->fault, ERR_BAD_RESPONSE, "Data Access: %s", text);
    return STEP_FAILED;
}

static enum step next_page(struct access_list *list, size_t rows, const char *query)
{
    struct access_paging *paging = list->paging;
    bool linked = follow_link(paging, query);
    bool full = rows >= (size_t)paging->limit || query[0];
    if (linked ? paging->barren > BARREN_MAX : !guess(paging, full))
        return end_walk(list);
    if (seen_add(&paging->walk, "?", paging->cursor) && ++paging->pages < PAGES_MAX)
        return STEP_ASK;
    if (rows == 0)
        return end_walk(list); /* an empty page that points to itself */
    return fail(list, "paging does not come to an end");
}

static void to_first_page(struct access_paging *paging)
{
    paging->kind = CURSOR_LINK;
    paging->cursor[0] = paging->last[0] = 0;
    paging->limit = ACCESS_PAGE;
}

static enum step end_walk(struct access_list *list)
{
    struct access_paging *paging = list->paging;
    if (!paging->disorder || paging->added == 0) {
        paging->confirms = paging->pages > 0;
        to_first_page(paging);
        return paging->confirms ? STEP_ASK : STEP_END;
    }
    if (++paging->walks == WALKS_MAX)
        return fail(list, "rows keep changing places between the pages");
    seen_release(&paging->walk);
    paging->rows = paging->added = 0;
    paging->barren = 0;
    paging->disorder = false;
    to_first_page(paging);
    return STEP_ASK;
}

/* The first page again: a file that no page has named is one of after the change. */
static enum step confirm(struct access_list *list)
{
    const struct buf *body = &list->call.http.content;
    AUTO_BUF next = BUF_INIT(2 * CURSOR_MAX);
    struct access_file *files;
    size_t count;
    enum step step = STEP_END;
    if (access_parse_page(buf_text(body), body->len, list->file_id, &files, &count, &next,
                          &list->fault))
        return STEP_FAILED;
    for (size_t i = 0; i < count && step == STEP_END; i++) {
        if (!add_row(&list->paging->all, &files[i]))
            continue;
        fault_set(&list->fault, ERR_SOURCE_CHANGED,
                  "files of %s changed while they were listed", list->batch);
        step = STEP_FAILED;
    }
    access_files_free(files, count);
    return step;
}

/* What may stand in a query value as it is; the link's author has encoded everything else. */
static bool is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~' || strchr("\"#&<>\\^`{|}", text[i]))
            return false;
    return len > 0;
}

static bool query_value(const char *query, const char *name, char *value, size_t size)
{
    size_t name_len = strlen(name);
    while (*query) {
        size_t len = strcspn(query, "&");
        const char *text = query + name_len + 1;
        if (len > name_len && strncmp(query, name, name_len) == 0 && query[name_len] == '=') {
            size_t text_len = len - name_len - 1;
            if (text_len >= size || !is_token(text, text_len))
                return false;
            memcpy(value, text, text_len);
            value[text_len] = 0;
            return true;
        }
        query += len + (query[len] == '&');
    }
    return false;
}
