/* SPDX-License-Identifier: Apache-2.0 */
/* The types of configuration values: one row of functions per type. Pure. */
#include "lib/base/conf_value.h"

#include <inttypes.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/encode.h"

static enum err read_text(const struct conf_row *row, const char *text, void *slot);
static enum err read_flag(const struct conf_row *row, const char *text, void *slot);
static enum err read_number(const struct conf_row *row, const char *text, void *slot);
static enum err read_size(const struct conf_row *row, const char *text, void *slot);
static enum err read_duration(const struct conf_row *row, const char *text, void *slot);
static enum err read_choice(const struct conf_row *row, const char *text, void *slot);
static enum err read_date(const struct conf_row *row, const char *text, void *slot);

static void print_text(const struct conf_row *row, const void *slot, struct buf *out);
static void print_flag(const struct conf_row *row, const void *slot, struct buf *out);
static void print_number(const struct conf_row *row, const void *slot, struct buf *out);
static void print_bytes(const struct conf_row *row, const void *slot, struct buf *out);
static void print_time(const struct conf_row *row, const void *slot, struct buf *out);
static void print_choice(const struct conf_row *row, const void *slot, struct buf *out);
static void print_date(const struct conf_row *row, const void *slot, struct buf *out);

static const struct {
    enum err (*read)(const struct conf_row *row, const char *text, void *slot);
    void (*print)(const struct conf_row *row, const void *slot, struct buf *out);
    const char *form;    /* what a value looks like, before the range */
    const char *example; /* after the range */
    /* Prints a limit in the type's own form; NULL = the type has no range. */
    void (*print_limit)(const struct conf_row *row, const void *limit, struct buf *out);
} type[] = {
    [CONF_TEXT] = { read_text, print_text, "a text", " bytes", print_number },
    [CONF_FLAG] = { read_flag, print_flag, "true or false", "", NULL },
    [CONF_NUMBER] = { read_number, print_number, "a whole number", "", print_number },
    [CONF_SIZE] = { read_size, print_bytes, "a size", ", like 512, 8KiB, 64MiB or 1GiB",
                    print_bytes },
    [CONF_DURATION] = { read_duration, print_time, "a duration",
                        ", like 250ms, 30s, 15m, 2h or 7d", print_time },
    [CONF_CHOICE] = { read_choice, print_choice, "one of", "", NULL },
    [CONF_DATE] = { read_date, print_date, "a UTC date",
                    ", like 2024-02-01 or 2024-02-01T10:30Z", print_date },
};

static bool has_range(const struct conf_row *row)
{
    return row->min != 0 || row->max != 0;
}

static bool in_range(const struct conf_row *row, int64_t value)
{
    return !has_range(row) || (value >= row->min && value <= row->max);
}

enum err conf_value_read(const struct conf_row *row, const char *text, void *base)
{
    return type[row->type].read(row, text, (char *)base + row->offset);
}

void conf_value_print(const struct conf_row *row, const void *base, struct buf *out)
{
    if (row->flags & CONF_SECRET)
        buf_add_text(out, "\"***\"");
    else
        type[row->type].print(row, (const char *)base + row->offset, out);
}

static void describe_choices(const struct conf_row *row, const char *before, struct buf *out)
{
    const char *choices = row->choices, *name;
    size_t len;
    while (conf_choice_next(&choices, &name, &len)) {
        buf_print(out, "%s%.*s", before, (int)len, name);
        before = ", ";
    }
}

void conf_value_describe(const struct conf_row *row, struct buf *out)
{
    buf_add_text(out, type[row->type].form);
    if (has_range(row) && type[row->type].print_limit) {
        buf_add_text(out, row->type == CONF_TEXT ? " of " : " from ");
        type[row->type].print_limit(row, &row->min, out);
        buf_add_text(out, " to ");
        type[row->type].print_limit(row, &row->max, out);
        buf_add_text(out, type[row->type].example);
    } else if (row->type != CONF_TEXT) {
        buf_add_text(out, type[row->type].example);
    }
    if (row->choices)
        describe_choices(row, row->type == CONF_CHOICE ? " " : ", or ", out);
}

bool conf_value_absent(const struct conf_row *row, const void *base)
{
    const void *slot = (const char *)base + row->offset;
    if (row->type == CONF_TEXT)
        return !*(char *const *)slot;
    if (row->fallback || row->type == CONF_FLAG || row->type == CONF_CHOICE)
        return false;
    return *(const int64_t *)slot == 0 && !in_range(row, 0);
}

void conf_value_release(const struct conf_row *row, void *base)
{
    if (row->type != CONF_TEXT)
        return;
    char **slot = (char **)(void *)((char *)base + row->offset);
    if (*slot) /* it may have come out of a secret file */
        mem_wipe(*slot, strlen(*slot));
    mem_set_text(slot, NULL);
}

bool conf_choice_next(const char **choices, const char **ret, size_t *ret_len)
{
    if (!*choices || !**choices)
        return false;
    *ret = *choices;
    *ret_len = strcspn(*choices, "|");
    *choices += *ret_len + ((*choices)[*ret_len] == '|');
    return true;
}

/* Index of `text` among the choices of the row; -1 if it is none of them. */
static int find_choice(const struct conf_row *row, const char *text)
{
    const char *choices = row->choices, *name;
    size_t len;
    for (int i = 0; conf_choice_next(&choices, &name, &len); i++)
        if (strlen(text) == len && memcmp(text, name, len) == 0)
            return i;
    return -1;
}

/* Control bytes have no place in any setting: names, paths, header values. */
static enum err read_text(const struct conf_row *row, const char *text, void *slot)
{
    for (const char *at = text; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return ERR_ARGUMENT;
    if (!in_range(row, (int64_t)strlen(text)))
        return ERR_ARGUMENT;
    mem_set_text(slot, text);
    return OK;
}

static enum err read_flag(const struct conf_row *row, const char *text, void *slot)
{
    (void)row;
    bool value = strcmp(text, "true") == 0;
    if (!value && strcmp(text, "false") != 0)
        return ERR_ARGUMENT;
    *(bool *)slot = value;
    return OK;
}

static enum err store(const struct conf_row *row, int64_t value, void *slot)
{
    if (!in_range(row, value))
        return ERR_ARGUMENT;
    *(int64_t *)slot = value;
    return OK;
}

static enum err read_number(const struct conf_row *row, const char *text, void *slot)
{
    uint64_t value;
    return parse_u64(text, INT64_MAX, &value) ? ERR_ARGUMENT : store(row, (int64_t)value, slot);
}

static enum err read_size(const struct conf_row *row, const char *text, void *slot)
{
    uint64_t bytes;
    return parse_size(text, &bytes) ? ERR_ARGUMENT : store(row, (int64_t)bytes, slot);
}

static enum err read_duration(const struct conf_row *row, const char *text, void *slot)
{
    int64_t ms;
    return parse_duration(text, &ms) ? ERR_ARGUMENT : store(row, ms, slot);
}

static enum err read_choice(const struct conf_row *row, const char *text, void *slot)
{
    int index = find_choice(row, text);
    if (index < 0)
        return ERR_ARGUMENT;
    *(int *)slot = index;
    return OK;
}

static enum err read_date(const struct conf_row *row, const char *text, void *slot)
{
    struct wall at;
    if (find_choice(row, text) >= 0) {
        *(int64_t *)slot = -1;
        return OK;
    }
    /* No batch is older than 1970, and negative values stand for the choices. */
    if (wall_parse(text, &at) || at.ms < 0)
        return ERR_ARGUMENT;
    return store(row, at.ms, slot);
}

/* In double quotes, where only these two need a backslash once control bytes are excluded. */
void conf_quote(const char *text, struct buf *out)
{
    buf_add_char(out, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            buf_add_char(out, '\\');
        buf_add_char(out, *text);
    }
    buf_add_char(out, '"');
}

/* A dollar is written twice, so that it is not taken for the beginning of ${…}. */
static void print_text(const struct conf_row *row, const void *slot, struct buf *out)
{
    AUTO_BUF text = BUF_INIT(SIZE_MAX);
    (void)row;
    for (const char *at = *(char *const *)slot; *at; at++) {
        if (*at == '$')
            buf_add_char(&text, '$');
        buf_add_char(&text, *at);
    }
    conf_quote(buf_text(&text), out);
}

static void print_flag(const struct conf_row *row, const void *slot, struct buf *out)
{
    (void)row;
    buf_add_text(out, *(const bool *)slot ? "true" : "false");
}

static void print_number(const struct conf_row *row, const void *slot, struct buf *out)
{
    (void)row;
    buf_print(out, "%" PRId64, *(const int64_t *)slot);
}

static void print_bytes(const struct conf_row *row, const void *slot, struct buf *out)
{
    (void)row;
    print_size(out, *(const int64_t *)slot);
}

static void print_time(const struct conf_row *row, const void *slot, struct buf *out)
{
    (void)row;
    print_duration(out, *(const int64_t *)slot);
}

static void print_choice(const struct conf_row *row, const void *slot, struct buf *out)
{
    const char *choices = row->choices, *name = "";
    size_t len = 0;
    for (int i = *(const int *)slot; i >= 0; i--)
        if (!conf_choice_next(&choices, &name, &len))
            return;
    buf_add(out, name, len);
}

static void print_date(const struct conf_row *row, const void *slot, struct buf *out)
{
    char text[WALL_TEXT_SIZE];
    int64_t ms = *(const int64_t *)slot;
    if (ms < 0 && row->choices)
        buf_add(out, row->choices, strcspn(row->choices, "|"));
    else
        buf_add_text(out, wall_text((struct wall){ ms }, text));
}

static size_t size_of(const struct conf_row *row)
{
    return row->type == CONF_TEXT     ? sizeof(char *)
           : row->type == CONF_FLAG   ? sizeof(bool)
           : row->type == CONF_CHOICE ? sizeof(int)
                                      : sizeof(int64_t);
}

void conf_value_swap(const struct conf_row *row, void *a, void *b)
{
    char kept[sizeof(int64_t)];
    char *left = (char *)a + row->offset, *right = (char *)b + row->offset;
    memcpy(kept, left, size_of(row));
    memcpy(left, right, size_of(row));
    memcpy(right, kept, size_of(row));
}

void conf_value_copy(const struct conf_row *row, const void *from, void *to)
{
    const char *source = (const char *)from + row->offset;
    char *slot = (char *)to + row->offset;
    if (row->type == CONF_TEXT)
        mem_set_text((char **)(void *)slot, *(char *const *)(const void *)source);
    else
        memcpy(slot, source, size_of(row));
}
