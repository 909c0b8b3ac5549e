/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only home of libyaml. Its events are read instead of its documents, because aliases,
 * anchors and tags are visible (and refused) only there: a document with aliases is a graph
 * that can be cyclic or grow without limit.
 */
#include "lib/base/conf_yaml.h"

#include <string.h>

#include <yaml.h>

#define AUTO_EVENT AUTO(yaml_event_delete) yaml_event_t

struct reader {
    yaml_parser_t parser;
    const struct conf_source *source;
    struct conf_errors *errors;
    bool stopped; /* broken syntax: nothing after it can be understood */
};

static bool next_event(struct reader *reader, yaml_event_t *event);
static void read_node(struct reader *reader, const yaml_event_t *event, unsigned depth,
                      struct conf_node *node);
static void read_scalar(struct reader *reader, const yaml_event_t *event,
                        struct conf_node *node);
static void read_mapping(struct reader *reader, unsigned depth, struct conf_node *node);
static void read_list(struct reader *reader, unsigned depth, struct conf_node *node);

static struct conf_place place_at(const struct reader *reader, yaml_mark_t mark, size_t width)
{
    return (struct conf_place){ reader->source, mark.line + 1, mark.column + 1,
                                width ? width : 1 };
}

static struct conf_place place_of(const struct reader *reader, const yaml_event_t *event)
{
    bool one_line = event->start_mark.line == event->end_mark.line;
    return place_at(reader, event->start_mark,
                    one_line ? event->end_mark.column - event->start_mark.column : 1);
}

static void refuse(struct reader *reader, const yaml_event_t *event, const char *text)
{
    conf_error_add(reader->errors, place_of(reader, event), false, "%s", text);
}

bool conf_yaml_read(const struct conf_source *source, struct conf_node *root,
                    struct conf_errors *errors)
{
    struct reader reader = { .source = source, .errors = errors };
    *root = (struct conf_node){ .at = { source, 1, 1, 1 } };
    if (!yaml_parser_initialize(&reader.parser))
        mem_exhausted("memory for a YAML parser");
    /* Without a fixed encoding libyaml would take UTF-16 too, and our places would be wrong. */
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)source->text,
                                 source->len);
    for (unsigned documents = 0;;) {
        AUTO_EVENT event;
        if (!next_event(&reader, &event) || event.type == YAML_STREAM_END_EVENT)
            break;
        if (event.type == YAML_DOCUMENT_START_EVENT && documents++) {
            refuse(&reader, &event, "a second document: the file is one YAML mapping");
            break;
        }
        if (event.type >= YAML_ALIAS_EVENT && event.type <= YAML_MAPPING_START_EVENT)
            read_node(&reader, &event, 1, root);
    }
    yaml_parser_delete(&reader.parser);
    return !reader.stopped;
}

static bool next_event(struct reader *reader, yaml_event_t *event)
{
    memset(event, 0, sizeof *event);
    if (reader->stopped)
        return false;
    if (yaml_parser_parse(&reader->parser, event))
        return true;
    const yaml_parser_t *parser = &reader->parser;
    if (parser->error == YAML_MEMORY_ERROR)
        mem_exhausted("memory for a YAML parser");
    reader->stopped = true;
    /* Errors of the decoder (bad UTF-8, control bytes) come without a mark of their own. */
    bool decoding = parser->error == YAML_READER_ERROR;
    conf_error_add(reader->errors,
                   place_at(reader, decoding ? parser->mark : parser->problem_mark, 1), false,
                   "%s%s%s", parser->problem ? parser->problem : "unreadable YAML",
                   parser->context ? " " : "", parser->context ? parser->context : "");
    return false;
}

/* Says what is wrong with anchor and tag of a node; the node itself is read all the same. */
static void check_extras(struct reader *reader, const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    }
    if (anchor)
        refuse(reader, event, "anchors are not supported");
    if (tag)
        refuse(reader, event, "tags are not supported");
}

/* Reads the node that begins with `event`, to its end. */
static void read_node(struct reader *reader, const yaml_event_t *event, unsigned depth,
                      struct conf_node *node)
{
    node->at = place_of(reader, event);
    check_extras(reader, event);
    if (depth > CONF_DEPTH_MAX) {
        refuse(reader, event, "nested too deeply");
        node->kind = CONF_REFUSED;
        reader->stopped = true;
        return;
    }
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        read_scalar(reader, event, node);
        break;
    case YAML_MAPPING_START_EVENT:
        read_mapping(reader, depth, node);
        break;
    case YAML_SEQUENCE_START_EVENT:
        read_list(reader, depth, node);
        break;
    default:
        refuse(reader, event, "aliases are not supported: write the value out");
        node->kind = CONF_REFUSED;
    }
}

static void read_scalar(struct reader *reader, const yaml_event_t *event,
                        struct conf_node *node)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->kind = CONF_SCALAR;
    if (memchr(text, 0, len)) {
        refuse(reader, event, "NUL bytes are not supported");
        node->kind = CONF_REFUSED;
        return;
    }
    if (plain && (len == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0))
        node->kind = CONF_EMPTY;
    node->quoted = !plain;
    node->text = mem_copy_bytes(text, len);
}

static struct conf_node *add_child(struct conf_node *node)
{
    /* Doubling at the powers of two needs no second counter. */
    size_t count = node->children;
    if ((count & (count - 1)) == 0)
        node->child = mem_grow(node->child, count ? count * 2 : 1, sizeof *node->child);
    node->child[count] = (struct conf_node){ 0 };
    node->children++;
    return &node->child[count];
}

static void read_mapping(struct reader *reader, unsigned depth, struct conf_node *node)
{
    node->kind = CONF_MAPPING;
    for (;;) {
        AUTO_EVENT key, value = { 0 };
        if (!next_event(reader, &key) || key.type == YAML_MAPPING_END_EVENT)
            return;
        struct conf_node name = { 0 };
        read_node(reader, &key, depth + 1, &name);
        if (name.kind != CONF_SCALAR && name.kind != CONF_REFUSED)
            refuse(reader, &key, "a key must be a name");
        if (next_event(reader, &value)) {
            struct conf_node *child = add_child(node);
            read_node(reader, &value, depth + 1, child);
            child->name_at = name.at;
            child->name = name.kind == CONF_SCALAR ? name.text : NULL;
            name.text = child->name ? NULL : name.text;
        }
        conf_node_release(&name);
    }
}

static void read_list(struct reader *reader, unsigned depth, struct conf_node *node)
{
    node->kind = CONF_LIST;
    for (;;) {
        AUTO_EVENT event;
        if (!next_event(reader, &event) || event.type == YAML_SEQUENCE_END_EVENT)
            return;
        read_node(reader, &event, depth + 1, add_child(node));
    }
}

void conf_node_release(struct conf_node *node)
{
    for (size_t i = 0; i < node->children; i++)
        conf_node_release(&node->child[i]);
    mem_free(node->child);
    mem_free(node->name);
    if (node->text && node->private)
        mem_wipe(node->text, strlen(node->text));
    mem_free(node->text);
    mem_free(node->written);
    *node = (struct conf_node){ 0 };
}

const struct conf_node *conf_node_member(const struct conf_node *node, const char *name,
                                         size_t len)
{
    for (size_t i = 0; i < node->children; i++) {
        const char *have = node->child[i].name;
        if (have && strlen(have) == len && memcmp(have, name, len) == 0)
            return &node->child[i];
    }
    return NULL;
}

static struct conf_node *find_child(struct conf_node *node, const char *name)
{
    for (size_t i = 0; name && i < node->children; i++)
        if (node->child[i].name && strcmp(node->child[i].name, name) == 0)
            return &node->child[i];
    return NULL;
}

/* A value beside another one stays a second member of that name: an error, told by who binds. */
static void merge_child(struct conf_node *into, struct conf_node *child)
{
    struct conf_node *same = find_child(into, child->name);
    if (same && same->kind == CONF_EMPTY) {
        conf_node_release(same);
        *same = *child;
    } else if (same && child->kind == same->kind && child->kind != CONF_SCALAR) {
        conf_node_merge(same, child);
        conf_node_release(child);
    } else if (same && child->kind == CONF_EMPTY) {
        conf_node_release(child);
    } else {
        *add_child(into) = *child;
    }
}

bool conf_node_merge(struct conf_node *into, struct conf_node *from)
{
    bool same = into->kind == from->kind || into->kind == CONF_EMPTY;
    if (from->kind == CONF_EMPTY)
        return true;
    if (!same || (from->kind != CONF_MAPPING && from->kind != CONF_LIST))
        return false;
    into->kind = from->kind;
    for (size_t i = 0; i < from->children; i++)
        if (from->kind == CONF_LIST)
            *add_child(into) = from->child[i];
        else
            merge_child(into, &from->child[i]);
    from->children = 0;
    return true;
}
