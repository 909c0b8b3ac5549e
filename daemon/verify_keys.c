/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of a dataset: what they begin with, and a compact set of them. */
#include "daemon/verify_keys.h"

#include <string.h>

#include "lib/base/digest.h"

#define DAY_MS       86400000
#define PREFIX_MAX   8192
#define SIZE_LEAST   1024
#define CREATED      "{created:"
#define HOUSEKEEPING "_sluice/"

enum { YEAR = 1, MONTH = 2, DAY = 4, FINER = 8 };

/* ---- the set */

static uint64_t hash_of(const char *text)
{
    uint8_t digest[SHA256_SIZE];
    uint64_t hash;
    digest_sha256(text, strlen(text), digest);
    memcpy(&hash, digest, sizeof hash);
    return hash ? hash : 1;
}

/* The slot that holds `hash`, or the free one where it belongs. There always is a free one. */
static uint64_t *find(const struct key_set *set, uint64_t hash)
{
    size_t at = (size_t)hash & (set->size - 1);
    while (set->slot[at] && set->slot[at] != hash)
        at = (at + 1) & (set->size - 1);
    return &set->slot[at];
}

static void grow(struct key_set *set)
{
    struct key_set old = *set;
    set->size = old.size ? 2 * old.size : SIZE_LEAST;
    set->slot = mem_alloc_array(set->size, sizeof *set->slot);
    for (size_t i = 0; i < old.size; i++)
        if (old.slot[i])
            *find(set, old.slot[i]) = old.slot[i];
    mem_free(old.slot);
}

bool key_set_add(struct key_set *set, const char *text)
{
    uint64_t hash = hash_of(text);
    if (set->count * 2 >= set->size)
        grow(set);
    uint64_t *slot = find(set, hash);
    if (*slot)
        return false;
    *slot = hash;
    set->count++;
    return true;
}

bool key_set_has(const struct key_set *set, const char *text)
{
    return set->size > 0 && *find(set, hash_of(text)) != 0;
}

void key_set_release(struct key_set *set)
{
    mem_free(set->slot);
    *set = (struct key_set){ 0 };
}

/* ---- templates */

/* What a conversion of the format says about the day. */
static unsigned day_part(char conversion)
{
    switch (conversion) {
    case 'F':
        return YEAR | MONTH | DAY;
    case 'Y':
        return YEAR;
    case 'm':
        return MONTH;
    case 'd':
        return DAY;
    case 'j':
        return MONTH | DAY;
    default:
        return strchr("HMS", conversion) ? FINER : 0;
    }
}

bool verify_by_day(const char *template)
{
    const char *at = template + key_head_len(template);
    unsigned said = 0;
    if (strncmp(at, CREATED, strlen(CREATED)) != 0)
        return false;
    for (at += strlen(CREATED); *at && *at != '}'; at++)
        if (*at == '%' && at[1])
            said |= day_part(*++at);
    return said == (YEAR | MONTH | DAY);
}

bool verify_own_folder(const char *template)
{
    AUTO_TEXT char *head = mem_copy_bytes(template, key_head_len(template));
    return strstr(head, "{dataset}/") || strstr(head, "{dataset_id}/");
}

static void add_prefix(struct verify_prefixes *ret, const char *cut,
                       const struct key_values *values, int64_t created)
{
    struct key_values of_day = *values;
    struct buf text = BUF_INIT(PREFIX_MAX);
    of_day.created.ms = created;
    key_build(cut, &of_day, &text);
    ret->prefix = mem_grow(ret->prefix, ret->count + 1, sizeof *ret->prefix);
    ret->prefix[ret->count++] = buf_take(&text);
}

void verify_prefixes(const char *template, const struct key_values *values,
                     enum verify_width width, int64_t from, int64_t to,
                     struct verify_prefixes *ret)
{
    size_t len = key_head_len(template);
    *ret = (struct verify_prefixes){ 0 };
    if (width == VERIFY_DAYS) { /* {created:…} and the literal behind it */
        len += strcspn(template + len, "}") + 1;
        len += strcspn(template + len, "{");
    }
    while (width == VERIFY_FOLDER && len > 0 && template[len - 1] != '/')
        len--;
    AUTO_TEXT char *cut = mem_copy_bytes(template, len);
    if (width != VERIFY_DAYS) {
        add_prefix(ret, cut, values, 0);
        return;
    }
    for (int64_t day = from - from % DAY_MS; day < to; day += DAY_MS)
        add_prefix(ret, cut, values, day);
}

void verify_prefixes_release(struct verify_prefixes *prefixes)
{
    for (size_t i = 0; i < prefixes->count; i++)
        mem_free(prefixes->prefix[i]);
    mem_free(prefixes->prefix);
    *prefixes = (struct verify_prefixes){ 0 };
}

bool verify_is_housekeeping(const char *key)
{
    const char *at = strstr(key, HOUSEKEEPING);
    while (at && at > key && at[-1] != '/')
        at = strstr(at + 1, HOUSEKEEPING);
    return at != NULL;
}
