/* SPDX-License-Identifier: Apache-2.0 */
/* Types of Hive from an XDM schema. The recursion ends with the document, whose depth is limited. */
#include "daemon/ctl/ddl_type.h"

#include <string.h>
#include <strings.h>

#define TYPE_MAX (512 * 1024)
#define PATH_MAX 4096

/* The first row that fits: what meta:xdmType, format or type say, in this order. */
static const struct {
    const char *member, *value, *type;
} leaf[] = {
    { "meta:xdmType", "int", "int" },
    { "meta:xdmType", "integer", "int" },
    { "meta:xdmType", "long", "bigint" },
    { "meta:xdmType", "short", "smallint" },
    { "meta:xdmType", "byte", "tinyint" },
    { "meta:xdmType", "double", "double" },
    { "meta:xdmType", "number", "double" },
    { "meta:xdmType", "float", "float" },
    { "meta:xdmType", "boolean", "boolean" },
    { "meta:xdmType", "date", "date" },
    { "meta:xdmType", "date-time", "timestamp" },
    { "meta:xdmType", "string", "string" },
    { "format", "date", "date" },
    { "format", "date-time", "timestamp" },
    { "type", "integer", "bigint" },
    { "type", "number", "double" },
    { "type", "boolean", "boolean" },
    { "type", "string", "string" },
};

struct names {
    char **name;
    size_t count;
};

static bool write_type(const struct json_t *node, struct buf *out, struct buf *path,
                       struct buf *skipped);

/* "string", or the one beside "null" where several are listed. */
static const char *type_of(const struct json_t *node)
{
    const struct json_t *type = json_member(node, "type");
    for (size_t i = 0; i < json_count(type); i++) {
        const char *one = json_text(json_element(type, i));
        if (one && strcmp(one, "null") != 0)
            return one;
    }
    return json_text(type);
}

static bool write_leaf(const struct json_t *node, struct buf *out)
{
    for (size_t i = 0; i < sizeof leaf / sizeof *leaf; i++) {
        bool type = strcmp(leaf[i].member, "type") == 0;
        const char *value = type ? type_of(node) : json_member_text(node, leaf[i].member);
        if (value && strcmp(value, leaf[i].value) == 0) {
            buf_add_text(out, leaf[i].type);
            return true;
        }
    }
    return false;
}

static bool has_members(const struct json_t *node)
{
    return json_count(json_member(node, "properties")) > 0 ||
           json_count(json_member(node, "allOf")) > 0;
}

/* What Hive takes as a name inside of struct<>, where it cannot be quoted. */
static bool name_fits(const char *name)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    size_t len = strlen(name);
    return len > 0 && len < 256 && strspn(name, plain) == len;
}

/* Hive's names have no case. */
static bool is_new(struct names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcasecmp(names->name[i], name) == 0)
            return false;
    names->name = mem_grow(names->name, names->count + 1, sizeof *names->name);
    names->name[names->count++] = mem_copy_text(name);
    return true;
}

static void names_release(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        mem_free(names->name[i]);
    mem_free(names->name);
}

static void shorten(struct buf *path, size_t len)
{
    path->len = len;
    if (path->data)
        path->data[len] = 0;
}

/* Members one after the other: of the node itself, then of the parts that it is made of. */
struct members {
    const char *before, *between, *quote, *middle;
    struct names names;
    size_t count;
};

static void write_members(const struct json_t *node, struct members *members, struct buf *out,
                          struct buf *path, struct buf *skipped)
{
    const struct json_t *parts = json_member(node, "allOf");
    size_t len = path->len;
    for (struct json_iter it = json_iter(json_member(node, "properties"));
         json_iter_next(&it);) {
        AUTO_BUF type = BUF_INIT(TYPE_MAX);
        buf_print(path, "%s%s", len ? "." : "", it.name);
        if (!name_fits(it.name) || !write_type(it.value, &type, path, skipped))
            buf_print(skipped, "%s%s", skipped->len ? ", " : "", buf_text(path));
        else if (is_new(&members->names, it.name))
            buf_print(out, "%s%s%s%s%s%s%s", members->count++ ? members->between : "",
                      members->before, members->quote, it.name, members->quote, members->middle,
                      buf_text(&type));
        shorten(path, len);
    }
    for (size_t i = 0; i < json_count(parts); i++)
        write_members(json_element(parts, i), members, out, path, skipped);
}

static bool write_struct(const struct json_t *node, struct buf *out, struct buf *path,
                         struct buf *skipped)
{
    struct members members = { .before = "", .between = ",", .quote = "", .middle = ":" };
    buf_add_text(out, "struct<");
    write_members(node, &members, out, path, skipped);
    buf_add_text(out, ">");
    names_release(&members.names);
    return members.count > 0;
}

static bool write_inner(const char *before, const struct json_t *node, struct buf *out,
                        struct buf *path, struct buf *skipped)
{
    size_t len = path->len;
    buf_add_text(out, before);
    buf_add_text(path, "[]");
    bool good = write_type(node, out, path, skipped);
    buf_add_text(out, ">");
    shorten(path, len);
    return good;
}

/* False: there is no type for it. */
static bool write_type(const struct json_t *node, struct buf *out, struct buf *path,
                       struct buf *skipped)
{
    const struct json_t *items = json_member(node, "items");
    const struct json_t *values = json_member(node, "additionalProperties");
    if (json_is_object(items))
        return write_inner("array<", items, out, path, skipped);
    if (has_members(node))
        return write_struct(node, out, path, skipped);
    if (json_is_object(values) && json_count(values) > 0)
        return write_inner("map<string,", values, out, path, skipped);
    return write_leaf(node, out);
}

void ddl_write_columns(const struct json_t *schema, struct ddl_columns *columns)
{
    AUTO_BUF path = BUF_INIT(PATH_MAX);
    struct members members = { .before = "  ", .between = ",\n", .quote = "`", .middle = " " };
    buf_init(&columns->text, TYPE_MAX);
    buf_init(&columns->skipped, TYPE_MAX);
    write_members(schema, &members, &columns->text, &path, &columns->skipped);
    columns->count = members.count;
    names_release(&members.names);
}
