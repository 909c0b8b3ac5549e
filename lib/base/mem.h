/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small allocations never fail: the process ends instead (mem_exhausted), systemd restarts it
 * and the queue knows where every task stood. Libraries that let us choose get the same
 * functions: few of them survive a failure in good order. Big memory (part buffers) comes from
 * a fixed pool. AUTO(free_function) frees a local at the end of its scope.
 */
#ifndef SLUICE_BASE_MEM_H
#define SLUICE_BASE_MEM_H

#include <stddef.h>

#include "lib/base/err.h"

#define MALLOC_LIKE __attribute__((malloc, returns_nonnull, warn_unused_result))

void *mem_alloc(size_t size) MALLOC_LIKE;     /* zeroed */
void *mem_alloc_raw(size_t size) MALLOC_LIKE; /* as it comes, for libraries */
void *mem_alloc_array(size_t count, size_t size) MALLOC_LIKE;
void *mem_grow(void *old, size_t count, size_t size)
    __attribute__((returns_nonnull, warn_unused_result));
char *mem_copy_text(const char *text) MALLOC_LIKE;
char *mem_copy_bytes(const void *bytes, size_t len) MALLOC_LIKE; /* adds a terminating 0 */
char *mem_print(const char *format, ...) MALLOC_LIKE PRINTF(1, 2);
void mem_free(void *memory);

/* Frees the old text (NULL is fine) and keeps a copy of the new one (NULL stays NULL). */
void mem_set_text(char **slot, const char *text);

/*
 * For every want that nothing can go on with: memory, a thread, a handle of a library. One line
 * in the log, then EX_OSERR (71) at once: what is half done is left as a crash would leave it.
 */
_Noreturn void mem_exhausted(const char *what);

/* Clears memory that held a secret; the compiler cannot drop it. */
void mem_wipe(void *memory, size_t len);

#define AUTO(release) __attribute__((cleanup(release)))
#define AUTO_TEXT     AUTO(mem_free_text)
void mem_free_text(char **text);

/* The object that embeds `member`. */
#define container_of(pointer, type, member)                                                    \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
