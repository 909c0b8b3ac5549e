/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation that aborts instead of failing. */
#include "lib/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *or_abort(void *memory)
{
    if (memory)
        return memory;
    static const char text[] = "sluice: out of memory, aborting\n";
    fwrite(text, 1, sizeof text - 1, stderr);
    abort();
}

void *mem_alloc(size_t size)
{
    return or_abort(calloc(1, size ? size : 1));
}

void *mem_alloc_array(size_t count, size_t size)
{
    return or_abort(calloc(count ? count : 1, size ? size : 1));
}

void *mem_grow(void *old, size_t count, size_t size)
{
    return or_abort(reallocarray(old, count ? count : 1, size ? size : 1));
}

char *mem_copy_text(const char *text)
{
    return or_abort(strdup(text));
}

char *mem_copy_bytes(const void *bytes, size_t len)
{
    char *copy = or_abort(malloc(len + 1));
    if (len)
        memcpy(copy, bytes, len);
    copy[len] = 0;
    return copy;
}

char *mem_print(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    return or_abort(n < 0 ? NULL : text);
}

void mem_free(void *memory)
{
    free(memory);
}

void mem_set_text(char **slot, const char *text)
{
    char *copy = text ? mem_copy_text(text) : NULL;
    free(*slot);
    *slot = copy;
}

void mem_wipe(void *memory, size_t len)
{
    if (memory && len)
        explicit_bzero(memory, len);
}

void mem_free_text(char **text)
{
    free(*text);
}
