/* SPDX-License-Identifier: Apache-2.0 */
/*
 * expat, bounded. One buffer holds the path of the open element ("A/B/C"), one the text seen
 * since the last tag: an answer's leaves are what we want, mixed content is not.
 */
#include "lib/s3/xml.h"

#include <expat.h>
#include <string.h>

#define BLANKS " \t\r\n"

struct reader {
    XML_Parser parser;
    void *owner;
    xml_element *on_element;
    int depth;
    struct buf path, text;
    const char *refused; /* which limit ended the reading; NULL = none */
};

static enum err parse(struct reader *reader, const char *bytes, size_t len,
                      struct fault *fault);
static void refuse(struct reader *reader, const char *why);
static void on_start(void *data, const char *name, const char **attributes);
static void on_end(void *data, const char *name);
static void on_text(void *data, const char *text, int len);
static void on_doctype(void *data, const char *name, const char *system, const char *public,
                       int internal);

enum err xml_read(const char *bytes, size_t len, void *owner, xml_element *on_element,
                  struct fault *fault)
{
    while (len > 0 && strchr(BLANKS, *bytes) && *bytes) {
        bytes++;
        len--;
    }
    if (len == 0)
        return fault_set(fault, ERR_BAD_RESPONSE, "answer is empty where XML is expected");
    if (len > XML_SIZE_MAX)
        return fault_set(fault, ERR_BAD_RESPONSE, "XML answer is larger than 1 MiB");

    struct reader reader = {
        .parser = XML_ParserCreate("UTF-8"),
        .owner = owner,
        .on_element = on_element,
        .path = BUF_INIT(XML_DEPTH_MAX * (XML_NAME_MAX + 1)),
        .text = BUF_INIT(XML_TEXT_MAX),
    };
    if (!reader.parser)
        return fault_set(fault, ERR_MEMORY, "no memory for an XML parser");
    enum err err = parse(&reader, bytes, len, fault);
    XML_ParserFree(reader.parser);
    buf_release(&reader.path);
    buf_release(&reader.text);
    return err;
}

static enum err parse(struct reader *reader, const char *bytes, size_t len, struct fault *fault)
{
    XML_SetUserData(reader->parser, reader);
    XML_SetElementHandler(reader->parser, on_start, on_end);
    XML_SetCharacterDataHandler(reader->parser, on_text);
    XML_SetStartDoctypeDeclHandler(reader->parser, on_doctype);
    if (XML_Parse(reader->parser, bytes, (int)len, true) == XML_STATUS_OK)
        return OK;
    if (reader->refused)
        return fault_set(fault, ERR_BAD_RESPONSE, "XML answer has %s", reader->refused);
    return fault_set(fault, ERR_BAD_RESPONSE, "XML answer is broken: %s in line %lu",
                     XML_ErrorString(XML_GetErrorCode(reader->parser)),
                     XML_GetCurrentLineNumber(reader->parser));
}

static void refuse(struct reader *reader, const char *why)
{
    reader->refused = why;
    XML_StopParser(reader->parser, XML_FALSE);
}

static void on_start(void *data, const char *name, const char **attributes)
{
    (void)attributes;
    struct reader *reader = data;
    if (reader->refused)
        return;
    if (++reader->depth > XML_DEPTH_MAX) {
        refuse(reader, "more than 8 levels");
        return;
    }
    if (strlen(name) > XML_NAME_MAX) {
        refuse(reader, "a name of more than 64 bytes");
        return;
    }
    if (reader->path.len > 0)
        buf_add_char(&reader->path, '/');
    buf_add_text(&reader->path, name);
    buf_clear(&reader->text);
}

static const char *trimmed(struct buf *text)
{
    while (text->len > 0 && strchr(BLANKS, text->data[text->len - 1]))
        text->data[--text->len] = 0;
    const char *all = buf_text(text);
    return all + strspn(all, BLANKS);
}

static void on_end(void *data, const char *name)
{
    struct reader *reader = data;
    if (reader->refused) /* an empty element ends although its start was refused */
        return;
    reader->on_element(reader->owner, buf_text(&reader->path), trimmed(&reader->text));
    size_t with_slash = strlen(name) + 1;
    reader->path.len -= reader->path.len < with_slash ? reader->path.len : with_slash;
    reader->path.data[reader->path.len] = 0;
    reader->depth--;
    buf_clear(&reader->text);
}

static void on_text(void *data, const char *text, int len)
{
    struct reader *reader = data;
    if (reader->refused)
        return;
    buf_add(&reader->text, text, (size_t)len);
    if (reader->text.overflow)
        refuse(reader, "a text of more than 4 KiB");
}

/* Entities can only be declared in a document type, so none is allowed at all. */
static void on_doctype(void *data, const char *name, const char *system, const char *public,
                       int internal)
{
    (void)name;
    (void)system;
    (void)public;
    (void)internal;
    refuse(data, "a document type");
}

void xml_add_text(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '&')
            buf_add_text(out, "&amp;");
        else if (*text == '<')
            buf_add_text(out, "&lt;");
        else if (*text == '>')
            buf_add_text(out, "&gt;");
        else if ((unsigned char)*text >= 0x20)
            buf_add_char(out, *text);
    }
}
