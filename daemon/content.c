/* SPDX-License-Identifier: Apache-2.0 */
/* What the ends of a file say about it. */
#include "daemon/content.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PARQUET_LEAST 12 /* magic number, length of the footer, magic number */
#define ALL_SEEN      0xff
#define MAGIC_SEEN    0xf0 /* the last four bytes of the tail */
#define LENGTH_SEEN   0x0f /* the four before them */
#define LAST_SEEN     0x80

static const uint8_t magic[] = { 'P', 'A', 'R', '1' };

static bool ends_in(const char *name, const char *suffix)
{
    size_t len = strlen(name), suffix_len = strlen(suffix);
    return len >= suffix_len && strcasecmp(name + len - suffix_len, suffix) == 0;
}

enum content_form content_form(const char *name, int64_t length, enum content_check check)
{
    if (length == 0 || check == CONTENT_OFF)
        return FORM_ANY;
    if (ends_in(name, ".parquet"))
        return FORM_PARQUET;
    bool lines = ends_in(name, ".json") || ends_in(name, ".csv");
    return lines && check == CONTENT_FULL ? FORM_LINES : FORM_ANY;
}

/* Notes what of the bytes belongs to a window of the file; which byte of it was new. */
static bool note(uint8_t *window, size_t size, uint8_t *seen, int64_t window_at, int64_t offset,
                 const uint8_t *bytes, size_t len)
{
    uint8_t before = *seen;
    for (size_t i = 0; i < size; i++) {
        int64_t at = window_at + (int64_t)i - offset;
        if (at < 0 || at >= (int64_t)len || window_at + (int64_t)i < 0)
            continue;
        window[i] = bytes[at];
        *seen = (uint8_t)(*seen | 1u << i);
    }
    return *seen != before;
}

bool content_note(struct content_ends *ends, int64_t length, int64_t offset, const void *bytes,
                  size_t len)
{
    bool head = note(ends->head, CONTENT_HEAD, &ends->head_seen, 0, offset, bytes, len);
    bool tail = note(ends->tail, CONTENT_TAIL, &ends->tail_seen, length - CONTENT_TAIL, offset,
                     bytes, len);
    return head || tail;
}

/* The first run of bits that are wanted and not seen, as positions in the file. */
static bool gap(uint8_t seen, uint8_t wanted, int64_t window_at, int64_t *ret_first,
                int64_t *ret_last)
{
    int first = 0, last;
    uint8_t lacks = (uint8_t)(wanted & ~seen);
    if (lacks == 0)
        return false;
    while (!(lacks & 1u << first))
        first++;
    for (last = first; last < 7 && lacks & 1u << (last + 1);)
        last++;
    *ret_first = window_at + first;
    *ret_last = window_at + last;
    return true;
}

bool content_missing(const struct content_ends *ends, enum content_form form, int64_t length,
                     int64_t *ret_first, int64_t *ret_last)
{
    bool parquet = form == FORM_PARQUET && length >= PARQUET_LEAST;
    uint8_t head = parquet ? (1u << CONTENT_HEAD) - 1 : 0;
    uint8_t tail = parquet ? ALL_SEEN : form == FORM_LINES ? LAST_SEEN : 0;
    return gap(ends->head_seen, head, 0, ret_first, ret_last) ||
           gap(ends->tail_seen, tail, length - CONTENT_TAIL, ret_first, ret_last);
}

/* ---- the verdict */

static enum err no_magic(struct fault *fault, const char *name, const char *where,
                         const uint8_t *found)
{
    return fault_set(
        fault, ERR_CORRUPT,
        "%.80s is not a Parquet file: expected magic number at %s [%d, %d, %d, %d] "
        "but found [%d, %d, %d, %d]",
        name, where, magic[0], magic[1], magic[2], magic[3], found[0], found[1], found[2],
        found[3]);
}

static enum err judge_footer(const uint8_t *tail, const char *name, int64_t length,
                             struct fault *fault)
{
    uint32_t footer = (uint32_t)tail[0] | (uint32_t)tail[1] << 8 | (uint32_t)tail[2] << 16 |
                      (uint32_t)tail[3] << 24;
    if (footer > 0 && footer <= length - PARQUET_LEAST)
        return OK;
    return fault_set(fault, ERR_CORRUPT,
                     "%.80s is not a Parquet file: a footer of %" PRIu32
                     " bytes [%d, %d, %d, %d] does not fit into %" PRId64,
                     name, footer, tail[0], tail[1], tail[2], tail[3], length);
}

static enum err judge_parquet(const struct content_ends *ends, const char *name, int64_t length,
                              struct fault *fault)
{
    const uint8_t *tail = ends->tail;
    if (length < PARQUET_LEAST)
        return fault_set(fault, ERR_CORRUPT,
                         "%.80s is not a Parquet file: %" PRId64 " bytes, the least is %d",
                         name, length, PARQUET_LEAST);
    bool head_seen = ends->head_seen == (1u << CONTENT_HEAD) - 1;
    if (head_seen && memcmp(ends->head, magic, sizeof magic) != 0)
        return no_magic(fault, name, "head", ends->head);
    if ((ends->tail_seen & MAGIC_SEEN) == MAGIC_SEEN &&
        memcmp(tail + CONTENT_TAIL - sizeof magic, magic, sizeof magic) != 0)
        return no_magic(fault, name, "tail", tail + CONTENT_TAIL - sizeof magic);
    bool length_seen = (ends->tail_seen & LENGTH_SEEN) == LENGTH_SEEN;
    return length_seen ? judge_footer(tail, name, length, fault) : OK;
}

enum err content_judge(const struct content_ends *ends, enum content_form form,
                       const char *name, int64_t length, struct fault *fault)
{
    uint8_t last = ends->tail[CONTENT_TAIL - 1];
    if (form == FORM_PARQUET)
        return judge_parquet(ends, name, length, fault);
    if (form == FORM_LINES && ends->tail_seen & LAST_SEEN && last != '\n')
        return fault_set(fault, ERR_CORRUPT,
                         "%.80s does not end in a whole line: its last byte is [%d], not [10]; "
                         "`check: magic` takes such files",
                         name, last);
    return OK;
}

/* ---- text form */

static void write_window(const uint8_t *window, size_t size, uint8_t seen, struct buf *out)
{
    for (size_t i = 0; i < size; i++)
        if (seen & 1u << i)
            buf_print(out, "%02x", window[i]);
        else
            buf_add_text(out, "--");
}

void content_write(const struct content_ends *ends, struct buf *out)
{
    write_window(ends->head, CONTENT_HEAD, ends->head_seen, out);
    write_window(ends->tail, CONTENT_TAIL, ends->tail_seen, out);
}

static int hex_digit(char digit)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = digit ? strchr(digits, digit) : NULL;
    return at ? (int)(at - digits) : -1;
}

static bool read_window(const char *text, uint8_t *window, size_t size, uint8_t *seen)
{
    for (size_t i = 0; i < size; i++, text += 2) {
        int high = hex_digit(text[0]), low = hex_digit(text[1]);
        if (text[0] == '-' && text[1] == '-')
            continue;
        if (high < 0 || low < 0)
            return false;
        window[i] = (uint8_t)(high << 4 | low);
        *seen = (uint8_t)(*seen | 1u << i);
    }
    return true;
}

enum err content_read(const char *text, struct content_ends *ret)
{
    struct content_ends ends = { .head_seen = 0 };
    if (strlen(text) != (CONTENT_HEAD + CONTENT_TAIL) * 2 ||
        !read_window(text, ends.head, CONTENT_HEAD, &ends.head_seen) ||
        !read_window(text + CONTENT_HEAD * 2, ends.tail, CONTENT_TAIL, &ends.tail_seen))
        return ERR_ARGUMENT;
    *ret = ends;
    return OK;
}
