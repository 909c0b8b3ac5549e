/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1 request lines and plain words in, answers out. Header fields are waited for (a client
 * that still writes would miss the answer) but not looked at: nothing here depends on them.
 */
#include "lib/net/unixsock_request.h"

#include <stdio.h>
#include <string.h>

static const struct {
    int status;
    const char *reason;
} status_row[] = {
    { 200, "OK" },
    { 400, "Bad Request" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 503, "Service Unavailable" },
};

static const char *reason_of(int status)
{
    for (size_t i = 0; i < sizeof status_row / sizeof *status_row; i++)
        if (status_row[i].status == status)
            return status_row[i].reason;
    return status < 400 ? "" : "Error";
}

/* ---- requests ---- */

static bool is_binary(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)bytes[i] < 0x20 && !memchr("\t\r\n", bytes[i], 3))
            return true;
    return false;
}

static bool is_printable(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7e)
            return false;
    return true;
}

/* Cuts at the first space; returns what follows, "" if nothing does. */
static char *next_word(char *text)
{
    char *space = strchr(text, ' ');
    if (!space)
        return text + strlen(text);
    *space = 0;
    return space + 1;
}

/* "GET /path?query HTTP/1.1", single spaces; returns the status. */
static int parse_request_line(char *line, struct unixsock_request *request)
{
    if (!is_printable(line))
        return 400;
    char *method = line, *target = next_word(method), *version = next_word(target);
    bool known = strcmp(version, "HTTP/1.1") == 0 || strcmp(version, "HTTP/1.0") == 0;
    if (!known || *target != '/' || method[strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")])
        return 400;
    request->head = strcmp(method, "HEAD") == 0;
    char *query = strchr(target, '?');
    if (query)
        *query++ = 0;
    request->path = target;
    request->query = query ? query : "";
    return request->head || strcmp(method, "GET") == 0 ? 200 : 405;
}

static bool has_header_end(const char *bytes, size_t len)
{
    return memmem(bytes, len, "\r\n\r\n", 4) || memmem(bytes, len, "\n\n", 2);
}

static int parse_words(char *line, struct unixsock_request *request)
{
    static const char blank[] = " \t\r";
    char *end = line + strlen(line);
    while (end > line && strchr(blank, end[-1]))
        *--end = 0;
    line += strspn(line, blank);
    if (!is_printable(line))
        return 400;
    request->path = line;
    return 200;
}

/* Copies the first line without its end; false if it is not complete. */
static bool take_line(const char *bytes, size_t len, bool ended, char *line)
{
    const char *end = memchr(bytes, '\n', len);
    if (!end && !ended)
        return false;
    size_t count = end ? (size_t)(end - bytes) : len;
    memcpy(line, bytes, count);
    line[count] = 0;
    if (count && line[count - 1] == '\r')
        line[count - 1] = 0;
    return true;
}

bool unixsock_request_parse(const char *bytes, size_t len, bool ended,
                            struct unixsock_parsed *ret)
{
    if (len == 0)
        return false;
    bool http = *bytes >= 'A' && *bytes <= 'Z';
    ret->request = (struct unixsock_request){ .http = http, .path = "", .query = "" };
    ret->status = 400;
    if (is_binary(bytes, len))
        return true;
    bool full = len >= UNIXSOCK_REQUEST_MAX;
    if (!take_line(bytes, len, ended, ret->line)) {
        ret->status = 431;
        return full;
    }
    if (!http) {
        ret->status = parse_words(ret->line, &ret->request);
        return true;
    }
    ret->status = parse_request_line(ret->line, &ret->request);
    if (ret->status == 400 || has_header_end(bytes, len))
        return true;
    ret->status = ended ? 400 : 431;
    return ended || full;
}

/* ---- answers ---- */

static void write_http(struct buf *out, const struct unixsock_request *request, int status,
                       const char *content_type, const char *body, size_t len)
{
    buf_print(out, "HTTP/1.1 %d %s\r\n", status, reason_of(status));
    if (status == 405)
        buf_add_text(out, "Allow: GET, HEAD\r\n");
    buf_print(out, "Content-Type: %s\r\nContent-Length: %zu\r\n", content_type, len);
    buf_add_text(out, "Cache-Control: no-store\r\nConnection: close\r\n\r\n");
    if (!request->head)
        buf_add(out, body, len);
}

static void write_words(struct buf *out, const char *body, size_t len)
{
    buf_add(out, body, len);
    if (len == 0 || body[len - 1] != '\n')
        buf_add_char(out, '\n');
}

void unixsock_answer_write(struct buf *out, const struct unixsock_request *request,
                           const struct unixsock_answer *answer)
{
    int status = answer->body.overflow ? 500 : answer->status;
    const char *body = buf_text(&answer->body);
    size_t len = answer->body.len;
    char text[64];
    if (status >= 400 && (len == 0 || answer->body.overflow)) {
        len = (size_t)snprintf(text, sizeof text, "error: %s\n", reason_of(status));
        body = text;
    }
    if (request->http)
        write_http(out, request, status, answer->content_type, body, len);
    else
        write_words(out, body, len);
}
