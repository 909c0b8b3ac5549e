/* SPDX-License-Identifier: Apache-2.0 */
/* Catalog's list of batches, downwards. */
#include "daemon/ctl/pages.h"

#include <string.h>

#define PAGE 100

static char *page_path(const struct pages *pages)
{
    struct buf path = BUF_INIT(2000);
    buf_print(&path, "/data/foundation/catalog/batches?dataSet=%s&createdBefore=%lld",
              pages->dataset, (long long)pages->before);
    if (pages->from > 0) /* exclusive */
        buf_print(&path, "&createdAfter=%lld", (long long)pages->from - 1);
    if (pages->status)
        buf_print(&path, "&status=%s", pages->status);
    buf_print(&path, "&orderBy=desc:created&limit=%d", PAGE);
    if (pages->start > 0)
        buf_print(&path, "&start=%zu", pages->start);
    return buf_take(&path);
}

/* False: enough. */
static bool take_row(struct pages *pages, const struct batch_info *info,
                     const struct json_t *object)
{
    if (info->created < pages->from || info->created >= pages->before ||
        !seen_add(&pages->seen, "batch", info->id))
        return true;
    return pages->take(pages->owner, info, object);
}

/* Moves the cursor behind a page whose oldest row is from `oldest`. */
static void move_on(struct pages *pages, int64_t oldest, size_t count)
{
    if (oldest + 1 < pages->before) {
        pages->before = oldest + 1;
        pages->start = 0;
    } else {
        pages->start += count;
    }
}

/* True while there may be more. */
static bool take_page(struct pages *pages, enum err *ret_err)
{
    AUTO_JSON *root = NULL;
    AUTO_TEXT char *path = page_path(pages);
    AUTO_BUF text = BUF_INIT(ASK_JSON_MAX);
    struct batch_info *row = NULL;
    size_t count = 0;
    *ret_err = ask_json(pages->ask, AEP_CATALOG, NULL, path, &root);
    if (!*ret_err) {
        json_write(&text, root);
        *ret_err = catalog_parse_batches(buf_text(&text), text.len, pages->dataset, &row,
                                         &count, &pages->ask->fault);
    }
    bool more = !*ret_err && count > 0;
    for (size_t i = count; more && i-- > 0;)
        more = take_row(pages, &row[i], json_member(root, row[i].id));
    if (more)
        move_on(pages, row[0].created, count);
    mem_free(row);
    return more;
}

enum err pages_walk(struct pages *pages)
{
    enum err err = OK;
    while (take_page(pages, &err))
        ;
    seen_release(&pages->seen);
    return err;
}
