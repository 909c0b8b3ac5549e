/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an HTTP answer says: its headers, its range, its error row. Pure, and apart from http.c
 * because it knows nothing of libcurl.
 */
#include "lib/net/http.h"

#include <string.h>
#include <strings.h>

#include "lib/base/encode.h"

#define RETRY_AFTER_MAX_MS (5 * 60 * 1000)

static const struct {
    int status;
    enum err code;
} status_row[] = {
    { 401, ERR_AUTH },      { 403, ERR_DENIED },       { 404, ERR_NOT_FOUND },
    { 408, ERR_TIMEOUT },   { 409, ERR_CONFLICT },     { 410, ERR_NOT_FOUND },
    { 412, ERR_EXISTS },    { 416, ERR_BAD_RESPONSE }, { 429, ERR_THROTTLED },
    { 503, ERR_THROTTLED },
};

enum err http_status_err(int status)
{
    static const enum err class[] = { [2] = OK, ERR_REDIRECT, ERR_REQUEST, ERR_SERVER };
    for (size_t i = 0; i < sizeof status_row / sizeof *status_row; i++)
        if (status_row[i].status == status)
            return status_row[i].code;
    return status >= 200 && status < 600 ? class[status / 100] : ERR_BAD_RESPONSE;
}

/* "Name: value" at `line`: where the value begins; NULL if it is another header. */
static const char *value_of(const char *line, size_t len, const char *name)
{
    size_t name_len = strlen(name);
    if (len <= name_len || line[name_len] != ':' || strncasecmp(line, name, name_len) != 0)
        return NULL;
    return line + name_len + 1;
}

bool http_header(const struct http_req *req, const char *name, char *value, size_t size)
{
    for (const char *line = buf_text(&req->headers); *line;) {
        size_t len = strcspn(line, "\n");
        const char *begin = value_of(line, len, name), *end = line + len;
        line = end + (*end == '\n');
        if (!begin)
            continue;
        begin += strspn(begin, " \t");
        while (end > begin && strchr(" \t\r", end[-1]))
            end--;
        if (end < begin || (size_t)(end - begin) >= size)
            return false;
        memcpy(value, begin, (size_t)(end - begin));
        value[end - begin] = 0;
        return true;
    }
    return false;
}

/* Takes a decimal number that is followed by `stop`, and the stop itself. */
static bool take_number(const char **at, char stop, int64_t *ret)
{
    size_t digits = strspn(*at, "0123456789");
    char text[24];
    uint64_t number;
    if (digits == 0 || digits >= sizeof text || (*at)[digits] != stop)
        return false;
    memcpy(text, *at, digits);
    text[digits] = 0;
    if (parse_u64(text, INT64_MAX, &number) != OK)
        return false;
    *at += digits + (stop != 0);
    *ret = (int64_t)number;
    return true;
}

enum err http_content_range(const struct http_req *req, struct http_range *ret)
{
    struct http_range range = { .total = -1 };
    char text[96];
    if (!http_header(req, "Content-Range", text, sizeof text))
        return ERR_NOT_FOUND;
    const char *at = text + strlen("bytes ");
    if (strncasecmp(text, "bytes ", strlen("bytes ")) != 0 ||
        !take_number(&at, '-', &range.first) || !take_number(&at, '/', &range.last))
        return ERR_BAD_RESPONSE;
    if (strcmp(at, "*") != 0 && !take_number(&at, 0, &range.total))
        return ERR_BAD_RESPONSE;
    if (range.last < range.first || (range.total >= 0 && range.last >= range.total))
        return ERR_BAD_RESPONSE;
    *ret = range;
    return OK;
}

int64_t http_retry_after(const struct http_req *req, struct wall now)
{
    char text[64], date[64];
    struct wall sent;
    if (!http_header(req, "Retry-After", text, sizeof text))
        return 0;
    /* A date is meant by the clock of whoever wrote it. */
    if (http_header(req, "Date", date, sizeof date) && wall_parse_http(date, &sent) == OK)
        now = sent;
    return parse_retry_after(text, now.ms, RETRY_AFTER_MAX_MS);
}
