/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an error body says, whoever wrote it: Adobe's gateway, a service, IMS, or a proxy on the
 * way with its HTML page. Pure.
 */
#include "lib/aep/aep.h"

#include <stdio.h>
#include <string.h>

#define ERROR_BODY_MAX (64 * 1024)

static bool pick_members(const struct json_t *root, char *text, size_t size);
static void plain_text(const char *body, size_t len, char *text, size_t size);

void aep_error_text(const char *body, size_t len, char *text, size_t size)
{
    AUTO_JSON *root = NULL;
    struct fault ignored = { 0 };
    text[0] = 0;
    if (json_parse(body, len, ERROR_BODY_MAX, &root, &ignored) ||
        !pick_members(root, text, size))
        plain_text(body, len, text, size);
    text_sanitize(text);
}

static bool member_text(const struct json_t *root, const char *name, char *text, size_t size)
{
    uint64_t number;
    const char *value = json_member_text(root, name);
    text[0] = 0;
    if (value)
        plain_text(value, strlen(value), text, size);
    else if (json_member_u64(root, name, UINT64_MAX, &number) == OK)
        snprintf(text, size, "%llu", (unsigned long long)number);
    return text[0] != 0;
}

/* The first row of which any member is there; both together where both are. */
static bool pick_members(const struct json_t *root, char *text, size_t size)
{
    static const struct {
        const char *head, *rest;
    } shape[] = {
        { "error_code", "message" },      /* gateway; the code may be a number */
        { "title", "detail" },            /* problem+json, Schema Registry, older services */
        { "error", "error_description" }, /* IMS */
        { "errorMessage", "message" },
    };
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        char head[256], rest[256];
        bool has_head = member_text(root, shape[i].head, head, sizeof head);
        bool has_rest = member_text(root, shape[i].rest, rest, sizeof rest);
        if (!has_head && !has_rest)
            continue;
        snprintf(text, size, "%s%s%s", head, has_head && has_rest ? ": " : "", rest);
        return true;
    }
    return false;
}

/* Words with one blank between them, markup left out. */
static void plain_text(const char *body, size_t len, char *text, size_t size)
{
    size_t used = 0;
    bool in_tag = false, gap = false;
    for (size_t i = 0; i < len && used + 2 < size; i++) {
        char c = body[i];
        in_tag = c == '<' || (in_tag && c != '>');
        if (in_tag || c == '>' || (unsigned char)c <= ' ') {
            gap = used > 0;
            continue;
        }
        if (gap)
            text[used++] = ' ';
        text[used++] = c;
        gap = false;
    }
    text[used] = 0;
}
