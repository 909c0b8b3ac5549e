/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only home of jansson. Depth is counted before jansson sees the text: its own limit of
 * 2048 levels is far beyond anything we read.
 */
#include "lib/base/json.h"

#include <string.h>

#include <jansson.h>

#include "lib/base/encode.h"

/* jansson.h has macros of the same names; our functions accept NULL and say what they mean. */
#undef json_is_object
#undef json_is_array
#undef json_is_string
#undef json_is_false

static bool too_deep(const char *text, size_t len);
static bool has_type(const struct json_t *value, json_type type);
static json_t *mutable(const struct json_t *value);

/* Without memory jansson 2.14 may leave a byte out of a string and go on. */
__attribute__((constructor)) static void use_memory_that_never_fails(void)
{
    json_set_alloc_funcs(mem_alloc_raw, mem_free);
}

enum err json_parse(const char *text, size_t len, size_t max_len, struct json_t **ret,
                    struct fault *fault)
{
    if (len > max_len)
        return fault_set(fault, ERR_TOO_BIG, "JSON of %zu bytes, limit %zu", len, max_len);
    if (too_deep(text, len))
        return fault_set(fault, ERR_BAD_RESPONSE, "JSON is nested deeper than %d levels",
                         JSON_DEPTH_MAX);
    json_error_t error;
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!value)
        /* The message can quote the input, so only its beginning is kept. */
        return fault_set(fault, ERR_BAD_RESPONSE, "JSON line %d column %d: %.80s", error.line,
                         error.column, error.text);
    *ret = value;
    return OK;
}

static bool too_deep(const char *text, size_t len)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '"')
            in_string = !in_string;
        else if (in_string)
            i += c == '\\';
        else if ((c == '[' || c == '{') && ++depth > JSON_DEPTH_MAX)
            return true;
        else if ((c == ']' || c == '}') && depth > 0)
            depth--;
    }
    return false;
}

void json_release(struct json_t **value)
{
    json_decref(*value);
    *value = NULL;
}

/* jansson's readers take non-const pointers but change nothing. */
static json_t *mutable(const struct json_t *value)
{
    return (json_t *)(uintptr_t)value;
}

static bool has_type(const struct json_t *value, json_type type)
{
    return value && json_typeof(value) == type;
}

static const struct json_t *not_null(const struct json_t *value)
{
    return has_type(value, JSON_NULL) ? NULL : value;
}

const struct json_t *json_member(const struct json_t *value, const char *name)
{
    return not_null(json_object_get(value, name));
}

const struct json_t *json_element(const struct json_t *value, size_t index)
{
    return not_null(json_array_get(value, index));
}

size_t json_count(const struct json_t *value)
{
    return json_is_array(value) ? json_array_size(value) : json_object_size(value);
}

bool json_is_object(const struct json_t *value)
{
    return has_type(value, JSON_OBJECT);
}

bool json_is_array(const struct json_t *value)
{
    return has_type(value, JSON_ARRAY);
}

bool json_is_string(const struct json_t *value)
{
    return has_type(value, JSON_STRING);
}

bool json_is_false(const struct json_t *value)
{
    return has_type(value, JSON_FALSE);
}

const char *json_text(const struct json_t *value)
{
    return json_string_value(value);
}

const char *json_member_text(const struct json_t *value, const char *name)
{
    return json_text(json_member(value, name));
}

enum err json_member_u64(const struct json_t *value, const char *name, uint64_t max,
                         uint64_t *ret)
{
    const struct json_t *member = json_member(value, name);
    if (!member)
        return ERR_NOT_FOUND;
    if (json_is_string(member))
        return parse_u64(json_text(member), max, ret) ? ERR_BAD_RESPONSE : OK;
    if (!has_type(member, JSON_INTEGER))
        return ERR_BAD_RESPONSE;
    json_int_t number = json_integer_value(member);
    if (number < 0 || (uint64_t)number > max)
        return ERR_BAD_RESPONSE;
    *ret = (uint64_t)number;
    return OK;
}

struct json_iter json_iter(const struct json_t *object)
{
    json_t *walked = mutable(object);
    return (struct json_iter){ .object = walked, .at = json_object_iter(walked) };
}

bool json_iter_next(struct json_iter *it)
{
    if (!it->at)
        return false;
    it->name = json_object_iter_key(it->at);
    it->value = json_object_iter_value(it->at);
    it->at = json_object_iter_next(it->object, it->at);
    return true;
}

static void write_escaped(struct buf *out, uint8_t c)
{
    static const char plain[] = "\b\f\n\r\t\"\\", letter[] = "bfnrt\"\\";
    const char *at = c ? strchr(plain, c) : NULL;
    if (at)
        buf_print(out, "\\%c", letter[at - plain]);
    else if (c < 0x20 || c == 0x7f)
        buf_print(out, "\\u%04x", c);
    else
        buf_add_char(out, (char)c);
}

void json_write_text(struct buf *out, const char *text, size_t len)
{
    const uint8_t *bytes = (const uint8_t *)text;
    buf_add_char(out, '"');
    for (size_t i = 0, step; i < len; i += step) {
        size_t valid = utf8_length(bytes + i, len - i);
        if (valid == 0)
            buf_add_text(out, "\xef\xbf\xbd");
        else if (valid == 1)
            write_escaped(out, bytes[i]);
        else
            buf_add(out, bytes + i, valid);
        step = valid ? valid : 1;
    }
    buf_add_char(out, '"');
}

static int add_bytes(const char *bytes, size_t len, void *out)
{
    buf_add(out, bytes, len);
    return 0;
}

void json_write(struct buf *out, const struct json_t *value)
{
    if (json_dump_callback(value, add_bytes, out, JSON_COMPACT | JSON_ENCODE_ANY))
        buf_add_text(out, "null");
}

/* RFC 3629: shortest form only. */
size_t utf8_length(const uint8_t *bytes, size_t len)
{
    /* The range of the first byte decides length and range of the second; the rest is 80-bf. */
    static const struct {
        uint8_t first, last, length, low, high;
    } form[] = {
        { 0x00, 0x7f, 1, 0, 0 },       { 0xc2, 0xdf, 2, 0x80, 0xbf },
        { 0xe0, 0xe0, 3, 0xa0, 0xbf }, { 0xe1, 0xec, 3, 0x80, 0xbf },
        { 0xed, 0xed, 3, 0x80, 0x9f }, { 0xee, 0xef, 3, 0x80, 0xbf },
        { 0xf0, 0xf0, 4, 0x90, 0xbf }, { 0xf1, 0xf3, 4, 0x80, 0xbf },
        { 0xf4, 0xf4, 4, 0x80, 0x8f },
    };
    size_t f = 0, forms = sizeof form / sizeof *form;
    while (f < forms && (bytes[0] < form[f].first || bytes[0] > form[f].last))
        f++;
    if (f == forms || form[f].length > len)
        return 0;
    if (form[f].length > 1 && (bytes[1] < form[f].low || bytes[1] > form[f].high))
        return 0;
    for (size_t i = 2; i < form[f].length; i++)
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    return form[f].length;
}
