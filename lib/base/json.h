/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Typed, tolerant-where-documented access to JSON. The only home of jansson: values are passed
 * as `const struct json_t *` and read through these getters. Parsing has limits (bytes, depth,
 * no duplicate keys); every getter checks the type, so a foreign document cannot surprise us.
 */
#ifndef SLUICE_BASE_JSON_H
#define SLUICE_BASE_JSON_H

#include "lib/base/buf.h"

struct json_t;

#define JSON_DEPTH_MAX 64 /* schemas take two levels for each level of fields */
#define AUTO_JSON      AUTO(json_release) struct json_t

/* The text must be one object or array. On error the fault names what is wrong and where. */
enum err json_parse(const char *text, size_t len, size_t max_len, struct json_t **ret,
                    struct fault *fault) MUST_CHECK;
void json_release(struct json_t **value);

/* Members and elements; NULL if absent, null or `value` is not an object or array (NULL is ok). */
const struct json_t *json_member(const struct json_t *value, const char *name);
const struct json_t *json_element(const struct json_t *value, size_t index);
size_t json_count(const struct json_t *value); /* elements or members; 0 for anything else */
bool json_is_object(const struct json_t *value);
bool json_is_array(const struct json_t *value);
bool json_is_string(const struct json_t *value);
bool json_is_false(const struct json_t *value);

/* The text of a string value, borrowed; NULL if it is no string. */
const char *json_text(const struct json_t *value);
/* Member `name` as text; NULL if absent or no string. */
const char *json_member_text(const struct json_t *value, const char *name);

/*
 * A non-negative integer given as a JSON integer or as a decimal string: AEP sends both
 * (Data Access: `length`, `created`). ERR_NOT_FOUND if absent or null, ERR_BAD_RESPONSE if it is
 * anything else or larger than `max`.
 */
enum err json_member_u64(const struct json_t *value, const char *name, uint64_t max,
                         uint64_t *ret) MUST_CHECK;

/* Walks an object in the order of the document:
 *   for (struct json_iter it = json_iter(object); json_iter_next(&it);) use(it.name, it.value); */
struct json_iter {
    struct json_t *object;
    void *at;
    const char *name;
    const struct json_t *value;
};
struct json_iter json_iter(const struct json_t *object);
bool json_iter_next(struct json_iter *it);

/* Appends `text` as a JSON string with quotes; invalid UTF-8 bytes become U+FFFD. */
void json_write_text(struct buf *out, const char *text, size_t len);
/* Appends any value, compact, in the order of its document; "null" for NULL. */
void json_write(struct buf *out, const struct json_t *value);

/* Bytes of the UTF-8 character at the front of `len` > 0 bytes; 0 if there is none. */
size_t utf8_length(const uint8_t *bytes, size_t len);

#endif
