/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data Access: which files a batch has, and their bytes. Behind this header sits everything
 * that is peculiar to that API, so that another source (Adobe's own export folder) can stand
 * beside it: list the files of a batch, list the parts of a dataset file, read a range.
 *
 *   GET /data/foundation/export/batches/{batch}/files?start=&limit=100
 *   GET /data/foundation/export/files/{dataSetFileId}?start=&limit=100
 *   HEAD, GET /data/foundation/export/files/{dataSetFileId}?path={name}   Range: bytes=a-b
 *
 * Three shapes of the file listing are accepted: {data:[{name,length}],_page}; {data:[{
 * dataSetFileId}]} (a directory of further dataset files); a bare array. `length` may be text
 * or number. `_page.count` and `isValid` are ignored; hrefs are only mined for paging
 * parameters. A returned range may differ from the one asked for: bytes belong where
 * Content-Range says. Source: Data Access API reference (data-access.yaml) and its tutorials.
 */
#ifndef SLUICE_AEP_ACCESS_H
#define SLUICE_AEP_ACCESS_H

#include "lib/aep/aep.h"
#include "lib/aep/catalog.h"

#define ACCESS_PAGE     100
#define ACCESS_NAME_MAX 1024

/* One row of a listing: a dataset file (id, no name) or a physical file (name and length). */
struct access_file {
    char *id;   /* dataSetFileId: of the row, or of the listing the row was found in */
    char *name; /* NULL = a dataset file that must be listed itself */
    int64_t length;
};

/*
 * Lists one level. With `file_id` NULL: the dataset files of `batch`. Otherwise: what is in
 * that dataset file. All pages are walked inside (next links, else offsets, else names; again
 * if rows changed places meanwhile; duplicates dropped; a cursor that does not move ends it
 * with ERR_BAD_RESPONSE; a first page that says something new in the end, with
 * ERR_SOURCE_CHANGED); the new rows of each page are handed to `page`, if set, which may
 * take them (and leave zeroed rows) or cancel the list; `done` follows after the last one. Left
 * out as markers of the writer: _SUCCESS, and empty files whose name begins with "_" or ".".
 */
struct access_list {
    const char *batch, *file_id; /* borrowed until done */
    void (*page)(struct access_list *list);
    void (*done)(struct access_list *list);
    /* ---- */
    struct fault fault;
    struct access_file *files; /* the current page (in `page`), else all rows so far */
    size_t count;
    /* private */
    struct access_paging *paging;
    struct aep_call call;
};
void access_list_start(struct aep *aep, struct access_list *list);
void access_list_cancel(struct access_list *list);
void access_list_release(struct access_list *list);
void access_files_free(struct access_file *files, size_t count);

/*
 * Parses one page of either listing: all rows, markers too. `next` (initialized by the caller)
 * gets the query of _links.next, if any. Pure.
 */
enum err access_parse_page(const char *body, size_t len, const char *file_id,
                           struct access_file **ret_files, size_t *ret_count, struct buf *next,
                           struct fault *fault) MUST_CHECK;

/*
 * Reads bytes [first, last] of a file (both inclusive; last < first = the whole file, for
 * length 0). Before the first `data` the answer is checked: 206 with a Content-Range that
 * starts at `first`, or 200 from the start of the file; the total must be `length`. Anything
 * else ends with ERR_BAD_RESPONSE or ERR_SOURCE_CHANGED. Never more than asked is handed over:
 * of a 200 that carries more the rest is not read. The answer may be shorter than asked: `done`
 * with OK then means "got [first, first + received)", and the owner asks again for the rest.
 * After ERR_CUT and ERR_TIMEOUT the `received` bytes are good and the owner may go on behind
 * them.
 */
struct access_read {
    const char *file_id, *name; /* borrowed until done */
    int64_t first, last, length;
    int64_t stall_ms, stall_bytes; /* as in http.h */
    enum http_data (*data)(struct access_read *read, const void *bytes, size_t len);
    void (*done)(struct access_read *read);
    /* ---- */
    struct fault fault;
    int64_t received;
    /* private */
    int64_t promised; /* how many bytes the headers promise of what was asked for */
    struct aep_call call;
};
void access_read_start(struct aep *aep, struct access_read *read);
void access_read_resume(struct access_read *read);
void access_read_cancel(struct access_read *read);
void access_read_release(struct access_read *read);

#endif
