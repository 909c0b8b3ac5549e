/* SPDX-License-Identifier: Apache-2.0 */
/* Names of schemas, and the walk over their fields. Pure. */
#include "lib/aep/schema.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/encode.h"

#define PATH_MAX    4096
#define TYPE_MAX    200
#define VERSION_MAX 1000
#define REGISTRY    "/data/foundation/schemaregistry/"
#define CATALOG     "/data/foundation/catalog"

struct schema_walk {
    void *owner;
    void (*visit)(void *owner, const struct schema_field *field);
    struct buf path;
    size_t count;
};

static void walk_node(struct schema_walk *walk, const struct json_t *node, bool required);
static void walk_members(struct schema_walk *walk, const struct json_t *node);
static void walk_fields(struct schema_walk *walk, const struct json_t *fields);

/* ---- names */

bool schema_id_valid(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return len <= SCHEMA_ID_MAX &&
           (strncmp(text, "https://", 8) == 0 || strncmp(text, "http://", 7) == 0 ||
            strstr(text, ".schemas.") || strncmp(text, "xdm.", 4) == 0);
}

int schema_version(const char *content_type)
{
    const char *at = content_type ? strstr(content_type, "version") : NULL;
    if (!at)
        return 1;
    at += strlen("version");
    at += strspn(at, " =");
    long version = strtol(at, NULL, 10);
    return version >= 1 && version <= VERSION_MAX ? (int)version : 1;
}

void schema_write_accept(struct buf *out, int version)
{
    buf_print(out, "application/vnd.adobe.xed-full+json; version=%d", version);
}

void schema_write_path(struct buf *out, bool global, const char *id)
{
    buf_print(out, REGISTRY "%s/schemas/", global ? "global" : "tenant");
    encode_percent(out, id, strlen(id), "");
}

bool schema_write_xdm_path(struct buf *out, const char *link)
{
    size_t len = strlen(link);
    if (strncmp(link, "@/xdms/", 7) != 0 || strstr(link, "..") || len > SCHEMA_ID_MAX)
        return false;
    buf_add_text(out, CATALOG);
    encode_percent(out, link + 1, len - 1, "/");
    buf_add_text(out, "?expansion=xdm");
    return true;
}

/* ---- fields: the recursion ends with the document, whose depth is limited */

static void shorten(struct schema_walk *walk, size_t len)
{
    walk->path.len = len;
    if (walk->path.data)
        walk->path.data[len] = 0;
}

static bool is_named(const struct json_t *list, const char *name)
{
    for (size_t i = 0; i < json_count(list); i++) {
        const char *text = json_text(json_element(list, i));
        if (text && strcmp(text, name) == 0)
            return true;
    }
    return false;
}

/* "string", or "string|null" where the schema lists several. */
static void write_type(struct buf *out, const struct json_t *node)
{
    const struct json_t *type = json_member(node, "type");
    const char *reference = json_member_text(node, "$ref");
    if (json_is_string(type))
        buf_add_text(out, json_text(type));
    else if (json_count(type) > 0)
        for (size_t i = 0; i < json_count(type); i++)
            buf_print(out, "%s%s", i ? "|" : "",
                      json_is_string(json_element(type, i)) ? json_text(json_element(type, i))
                                                            : "?");
    else if (reference)
        buf_print(out, "see %s", reference);
    else
        buf_add_text(out, "any");
}

static const char *xdm_type(const struct json_t *node)
{
    const char *xdm = json_member_text(node, "meta:xdmType");
    return xdm ? xdm : json_member_text(node, "format");
}

static void show(struct schema_walk *walk, const struct json_t *node, bool required)
{
    AUTO_BUF type = BUF_INIT(TYPE_MAX);
    write_type(&type, node);
    struct schema_field field = { .path = buf_text(&walk->path),
                                  .type = buf_text(&type),
                                  .xdm = xdm_type(node),
                                  .title = json_member_text(node, "title"),
                                  .required = required };
    walk->count++;
    walk->visit(walk->owner, &field);
}

static bool has_members(const struct json_t *node)
{
    return json_count(json_member(node, "properties")) > 0 ||
           json_count(json_member(node, "allOf")) > 0;
}

/* What a list or a map holds; NULL if the node is neither, or does not say. */
static const struct json_t *inner_of(const struct json_t *node, const char **ret_mark)
{
    const struct json_t *items = json_member(node, "items");
    const struct json_t *values = json_member(node, "additionalProperties");
    *ret_mark = json_is_object(items) ? "[]" : "{}";
    if (json_is_object(items))
        return items;
    return json_is_object(values) && json_count(values) > 0 ? values : NULL;
}

static void walk_node(struct schema_walk *walk, const struct json_t *node, bool required)
{
    const char *mark;
    const struct json_t *inner = inner_of(node, &mark);
    size_t len = walk->path.len;
    if (!has_members(node) && !inner) {
        show(walk, node, required);
        return;
    }
    walk_members(walk, node);
    if (inner) {
        buf_add_text(&walk->path, mark);
        walk_node(walk, inner, required);
    }
    shorten(walk, len);
}

static void walk_properties(struct schema_walk *walk, const struct json_t *node)
{
    const struct json_t *required = json_member(node, "required");
    size_t len = walk->path.len;
    for (struct json_iter it = json_iter(json_member(node, "properties"));
         json_iter_next(&it);) {
        buf_print(&walk->path, "%s%s", len ? "." : "", it.name);
        walk_node(walk, it.value, is_named(required, it.name));
        shorten(walk, len);
    }
}

static void walk_members(struct schema_walk *walk, const struct json_t *node)
{
    const struct json_t *parts = json_member(node, "allOf");
    walk_properties(walk, node);
    for (size_t i = 0; i < json_count(parts); i++)
        walk_members(walk, json_element(parts, i));
}

/* [{name, type, fields?}], of old: a type may be a schema of its own. */
static void walk_field(struct schema_walk *walk, const struct json_t *field)
{
    const struct json_t *type = json_member(field, "type");
    const struct json_t *below = json_member(field, "fields");
    if (json_is_array(below))
        walk_fields(walk, below);
    else if (json_is_object(type))
        walk_node(walk, type, false);
    else
        show(walk, field, false);
}

static void walk_fields(struct schema_walk *walk, const struct json_t *fields)
{
    size_t len = walk->path.len;
    for (size_t i = 0; i < json_count(fields); i++) {
        const struct json_t *field = json_element(fields, i);
        const char *name = json_member_text(field, "name");
        buf_print(&walk->path, "%s%s", len ? "." : "", name ? name : "?");
        walk_field(walk, field);
        shorten(walk, len);
    }
}

size_t schema_walk(const struct json_t *schema, void *owner,
                   void (*visit)(void *owner, const struct schema_field *field))
{
    struct schema_walk walk = { .owner = owner, .visit = visit, .path = BUF_INIT(PATH_MAX) };
    if (json_is_array(schema))
        walk_fields(&walk, schema);
    else
        walk_members(&walk, schema);
    buf_release(&walk.path);
    return walk.count;
}
