/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only home of libyaml. Its events are read instead of its documents, because aliases,
 * anchors and tags are visible (and refused) only there: a document with aliases is a graph
 * that can be cyclic or grow without limit.
 */
#include "lib/base/conf_yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <yaml.h>

#define SHOWN_MAX  200 /* characters of a source line in a message */
#define ERRORS_MAX 50  /* messages: who made more mistakes is helped by the first ones too */

#define AUTO_EVENT AUTO(yaml_event_delete) yaml_event_t

struct reader {
    yaml_parser_t parser;
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
static void print_source(const char *text, size_t len, struct conf_place place, bool hide,
                         struct buf *out);

static struct conf_place place_at(yaml_mark_t mark, size_t width)
{
    return (struct conf_place){ mark.line + 1, mark.column + 1, width ? width : 1 };
}

static struct conf_place place_of(const yaml_event_t *event)
{
    bool one_line = event->start_mark.line == event->end_mark.line;
    return place_at(event->start_mark,
                    one_line ? event->end_mark.column - event->start_mark.column : 1);
}

static void refuse(struct reader *reader, const yaml_event_t *event, const char *text)
{
    conf_error_add(reader->errors, place_of(event), false, "%s", text);
}

bool conf_yaml_read(const char *text, size_t len, struct conf_node *root,
                    struct conf_errors *errors)
{
    struct reader reader = { .errors = errors };
    *root = (struct conf_node){ .at = { 1, 1, 1 } };
    if (!yaml_parser_initialize(&reader.parser))
        mem_exhausted("memory for a YAML parser");
    /* Without a fixed encoding libyaml would take UTF-16 too, and our places would be wrong. */
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, len);
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
    conf_error_add(reader->errors, place_at(decoding ? parser->mark : parser->problem_mark, 1),
                   false, "%s%s%s", parser->problem ? parser->problem : "unreadable YAML",
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
    node->at = place_of(event);
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
    mem_free(node->text);
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

void conf_error_add(struct conf_errors *errors, struct conf_place place, bool hide,
                    const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    text_sanitize(text);
    if (errors->count == errors->size) {
        errors->size = errors->size ? errors->size * 2 : 8;
        errors->error = mem_grow(errors->error, errors->size, sizeof *errors->error);
    }
    errors->error[errors->count] = (struct conf_error){
        .place = place, .order = errors->count, .hide = hide, .text = mem_copy_text(text)
    };
    errors->count++;
}

void conf_errors_release(struct conf_errors *errors)
{
    for (size_t i = 0; i < errors->count; i++)
        mem_free(errors->error[i].text);
    mem_free(errors->error);
    *errors = (struct conf_errors){ 0 };
}

static int compare(size_t a, size_t b)
{
    return (a > b) - (a < b);
}

static int by_place(const void *left, const void *right)
{
    const struct conf_error *a = left, *b = right;
    if (a->place.line != b->place.line)
        return compare(a->place.line, b->place.line);
    if (a->place.column != b->place.column)
        return compare(a->place.column, b->place.column);
    return compare(a->order, b->order);
}

/* One error with a secret near by hides the line for its other errors too. */
static bool hides_line(const struct conf_errors *errors, size_t line)
{
    for (size_t i = 0; i < errors->count; i++)
        if (errors->error[i].hide && errors->error[i].place.line == line)
            return true;
    return false;
}

void conf_errors_print(struct conf_errors *errors, const char *file, const char *text,
                       size_t len, struct buf *out)
{
    if (errors->count)
        qsort(errors->error, errors->count, sizeof *errors->error, by_place);
    for (size_t i = 0; i < errors->count && i < ERRORS_MAX; i++) {
        const struct conf_error *error = &errors->error[i];
        buf_print(out, "%s:%zu:%zu: error: %s\n", file, error->place.line, error->place.column,
                  error->text);
        print_source(text, len, error->place, hides_line(errors, error->place.line), out);
    }
    if (errors->count > ERRORS_MAX)
        buf_print(out, "%s: error: %zu more errors\n", file, errors->count - ERRORS_MAX);
}

static const char *find_line(const char *text, const char *end, size_t line)
{
    for (; line > 1 && text; line--) {
        text = memchr(text, '\n', (size_t)(end - text));
        text = text ? text + 1 : NULL;
    }
    return text;
}

/*
 * One character of output for each character of the line, so that the caret stands right; those
 * outside first..last become blanks. Returns how many there are.
 */
static size_t print_line(const char *at, const char *end, size_t first, size_t last,
                         struct buf *out)
{
    size_t column = 0;
    for (; at < end && *at != '\n' && *at != '\r' && column < last; at++) {
        unsigned char c = (unsigned char)*at;
        if ((c & 0xc0) == 0x80)
            continue; /* the rest of a UTF-8 character */
        bool blank = ++column < first || c == '\t';
        buf_add_char(out, blank ? ' ' : c < 0x20 || c >= 0x7f ? '?' : (char)c);
    }
    return column;
}

static void print_source(const char *text, size_t len, struct conf_place place, bool hide,
                         struct buf *out)
{
    const char *end = text + len, *line = find_line(text, end, place.line);
    if (!line || line == end || place.column > SHOWN_MAX)
        return;
    size_t first = hide ? place.column : 1;
    size_t last = hide ? place.column + place.width - 1 : SHOWN_MAX;
    buf_print(out, "%5zu | ", place.line);
    size_t shown = print_line(line, end, first, last, out);
    buf_print(out, "\n      | %*s^", (int)place.column - 1, "");
    for (size_t i = 1; i < place.width && place.column + i <= shown; i++)
        buf_add_char(out, '~');
    buf_add_char(out, '\n');
}
