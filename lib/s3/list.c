/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of ListObjectsV2. Keys are asked for in percent-encoding, because XML cannot hold all of
 * them; whether they came so is known only at the end of the document. Pure.
 */
#include "lib/s3/list.h"

#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/encode.h"

#define ROOT "ListBucketResult/"

static bool add_object(struct s3_page *page);
static bool unescape(char *text);

void s3_page_release(struct s3_page *page)
{
    for (size_t i = 0; i < page->count; i++)
        mem_free(page->object[i].key);
    mem_free(page->object);
    mem_free(page->next);
    mem_free(page->key);
    mem_free(page->size);
    mem_free(page->modified);
    *page = (struct s3_page){ 0 };
}

bool s3_page_element(struct s3_page *page, const char *path, const char *text)
{
    const struct {
        const char *path;
        char **to;
    } field[] = {
        { ROOT "Contents/Key", &page->key },
        { ROOT "Contents/Size", &page->size },
        { ROOT "Contents/LastModified", &page->modified },
        { ROOT "NextContinuationToken", &page->next },
    };
    for (size_t i = 0; i < sizeof field / sizeof *field; i++)
        if (strcmp(field[i].path, path) == 0)
            mem_set_text(field[i].to, text);
    if (strcmp(path, ROOT "IsTruncated") == 0)
        page->truncated = strcmp(text, "true") == 0;
    if (strcmp(path, ROOT "EncodingType") == 0)
        page->escaped = strcmp(text, "url") == 0;
    return strcmp(path, ROOT "Contents") != 0 || add_object(page);
}

static bool add_object(struct s3_page *page)
{
    uint64_t size;
    struct wall modified;
    if (!page->key || !page->size || parse_u64(page->size, INT64_MAX, &size) ||
        !page->modified || wall_parse(page->modified, &modified))
        return false;
    if ((page->count & (page->count - 1)) == 0) /* room grows at each power of two */
        page->object =
            mem_grow(page->object, page->count ? 2 * page->count : 1, sizeof *page->object);
    page->object[page->count++] = (struct s3_object){ page->key, (int64_t)size, modified.ms };
    page->key = NULL;
    mem_set_text(&page->size, NULL);
    mem_set_text(&page->modified, NULL);
    return true;
}

bool s3_page_finish(struct s3_page *page)
{
    if (page->truncated && (!page->next || !*page->next))
        return false; /* one page of many that does not say where the next begins */
    if (!page->truncated)
        mem_set_text(&page->next, NULL);
    for (size_t i = 0; page->escaped && i < page->count; i++)
        if (!unescape(page->object[i].key))
            return false;
    return true;
}

static int hex_digit(char c)
{
    static const char digit[] = "0123456789abcdef0123456789ABCDEF";
    const char *at = c ? strchr(digit, c) : NULL;
    return at ? (int)((at - digit) % 16) : -1;
}

/* In place. Some stores write a blank as '+', all write '+' as %2B. */
static bool unescape(char *text)
{
    char *to = text;
    for (; *text; text++) {
        int high = *text == '%' ? hex_digit(text[1]) : 0;
        int low = *text == '%' && high >= 0 ? hex_digit(text[2]) : 0;
        if (high < 0 || low < 0 || (*text == '%' && high + low == 0))
            return false;
        if (*text == '%') {
            *to++ = (char)(high * 16 + low);
            text += 2;
        } else {
            *to++ = *text == '+' ? ' ' : *text;
        }
    }
    *to = 0;
    return true;
}
