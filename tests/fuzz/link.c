/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File listings, whole walks: each line is the answer to one request. Whatever the pages and
 * their links say, each further request has our own path, and query values that stay values; and
 * there is an end. This file stands in for lib/aep/aep.c.
 */
#include <string.h>

#include "lib/aep/access.h"
#include "tests/fuzz/fuzz.h"

#define ROUNDS_MAX 50
#define START      "/data/foundation/export/files/F?limit="
#define VALUE                                                                                  \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"                           \
    "-._~%!$'()*+,;:@/?=[]"

static struct aep_call *asked;
static bool ended;

static void check_path(const char *path)
{
    MUST_HOLD(strncmp(path, START, strlen(START)) == 0);
    path += strlen(START);
    path += strspn(path, "0123456789");
    if (!*path)
        return;
    MUST_HOLD(strncmp(path, "&start=", 7) == 0 && path[7]);
    path += 7;
    MUST_HOLD(strspn(path, VALUE) == strlen(path));
}

void aep_start(struct aep *aep, struct aep_call *call)
{
    (void)aep;
    MUST_HOLD(!asked && !ended);
    check_path(buf_text(&call->path));
    asked = call;
}

void aep_cancel(struct aep_call *call)
{
    (void)call;
}

void aep_call_release(struct aep_call *call)
{
    buf_release(&call->path);
    buf_release(&call->http.content);
    *call = (struct aep_call){ .done = NULL };
}

static void on_done(struct access_list *list)
{
    (void)list;
    ended = true;
}

static void answer(const char *page, size_t len, bool fails)
{
    struct aep_call *call = asked;
    asked = NULL;
    buf_init(&call->http.content, 1 << 20);
    buf_add(&call->http.content, page, len);
    if (fails)
        fault_set(&call->fault, ERR_CUT, "enough");
    call->done(call);
}

void fuzz_one(const char *bytes, size_t len)
{
    struct access_list list = { .file_id = "F", .done = on_done };
    ended = false;
    access_list_start(NULL, &list);
    for (int round = 0; asked; round++) {
        const char *end = memchr(bytes, '\n', len);
        size_t line = end ? (size_t)(end - bytes) : len;
        answer(bytes, line, round == ROUNDS_MAX);
        bytes += line + (end != NULL);
        len -= line + (end != NULL);
    }
    MUST_HOLD(ended);
    fuzz_accepted(list.fault.code, &list.fault);
    access_list_release(&list);
}
