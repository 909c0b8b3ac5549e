/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LD_PRELOAD=nomem.so: the Nth allocation of a program fails, of whatever library and thread.
 *
 *   NOMEM_PROGRAM=sluiced   others (setpriv, shells) are left alone
 *   NOMEM_AT=N              which one fails, counted from 1; 0 or absent: none
 *   NOMEM_ALL=1             that one and all after it
 *   NOMEM_COUNT=FILE        there the count is kept, 8 bytes, also after a crash
 *
 * Counted are malloc and its relatives, anonymous mappings, and new threads. What glibc allocates
 * for itself and does not ask malloc for is out of reach.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <dlfcn.h>

typedef int create_thread(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*run)(void *), void *argument);

/* glibc's own, under the names that it exports for this. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static _Atomic uint64_t own_count;
static _Atomic uint64_t *count = &own_count;
static uint64_t fail_at;
static bool active, fail_all;

__attribute__((constructor)) static void begin(void)
{
    const char *program = getenv("NOMEM_PROGRAM"), *at = getenv("NOMEM_AT");
    const char *file = getenv("NOMEM_COUNT");
    if (program && strcmp(program, program_invocation_short_name) != 0)
        return;
    int fd = file ? open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd >= 0 && ftruncate(fd, sizeof *count) == 0) {
        void *shared = (void *)syscall(SYS_mmap, NULL, sizeof *count, PROT_READ | PROT_WRITE,
                                       MAP_SHARED, fd, 0);
        if (shared != MAP_FAILED)
            count = shared;
    }
    if (fd >= 0)
        close(fd);
    fail_at = at ? strtoull(at, NULL, 10) : 0;
    fail_all = getenv("NOMEM_ALL") != NULL;
    active = true;
}

/* Counts; true if this one has to fail. */
static bool strikes(void)
{
    if (!active)
        return false;
    uint64_t number = atomic_fetch_add(count, 1) + 1;
    return fail_at && (number == fail_at || (fail_all && number > fail_at));
}

static void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

void *malloc(size_t size)
{
    return strikes() ? no_memory() : __libc_malloc(size);
}

void *calloc(size_t number, size_t size)
{
    return strikes() ? no_memory() : __libc_calloc(number, size);
}

void *realloc(void *old, size_t size)
{
    return strikes() ? no_memory() : __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t number, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(number, size, &total))
        return no_memory();
    return realloc(old, total);
}

void *memalign(size_t alignment, size_t size)
{
    return strikes() ? no_memory() : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
    void *memory = memalign(alignment, size);
    if (memory)
        *ret = memory;
    return memory ? 0 : ENOMEM;
}

void *mmap(void *wish, size_t size, int protection, int flags, int fd, off_t offset)
{
    if ((flags & MAP_ANONYMOUS) && strikes()) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, wish, size, protection, flags, fd, offset);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *argument)
{
    if (strikes())
        return EAGAIN;
    create_thread *original = (create_thread *)dlsym(RTLD_NEXT, "pthread_create");
    return original(thread, attributes, run, argument);
}
