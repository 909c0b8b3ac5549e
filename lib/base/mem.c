/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation that ends the process instead of failing. */
#include "lib/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/base/log.h"

/* Everything on this way out works without an allocation. */
void mem_exhausted(const char *what)
{
    log_event(LOG_ERROR, NULL, "out of %s: exit at once, to be started again", what);
    _exit(EX_OSERR);
}

static void *must_have(void *memory)
{
    if (!memory)
        mem_exhausted("memory");
    return memory;
}

void *mem_alloc(size_t size)
{
    return must_have(calloc(1, size ? size : 1));
}

void *mem_alloc_raw(size_t size)
{
    return must_have(malloc(size ? size : 1));
}

void *mem_alloc_array(size_t count, size_t size)
{
    return must_have(calloc(count ? count : 1, size ? size : 1));
}

void *mem_grow(void *old, size_t count, size_t size)
{
    return must_have(reallocarray(old, count ? count : 1, size ? size : 1));
}

char *mem_copy_text(const char *text)
{
    return must_have(strdup(text));
}

char *mem_copy_bytes(const void *bytes, size_t len)
{
    char *copy = must_have(malloc(len + 1));
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
    return must_have(n < 0 ? NULL : text);
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
