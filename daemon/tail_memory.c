/* SPDX-License-Identifier: Apache-2.0 */
/* What a daemon remembers of a dataset between two polls. */
#include "daemon/tail.h"

#include <string.h>

#define TIP_BATCHES 50 /* so many known ones are listed again by a poll */

struct tail_memory *tail_memory_new(size_t datasets)
{
    return mem_alloc_array(datasets, sizeof(struct tail_memory));
}

void tail_memory_free(struct tail_memory *memory, size_t datasets)
{
    for (size_t i = 0; memory && i < datasets; i++) {
        mem_free(memory[i].known);
        key_set_release(&memory[i].sweep.known);
        successors_release(&memory[i].successors);
    }
    mem_free(memory);
}

void tail_forget(struct core *core)
{
    for (size_t i = 0; i < core->settings->datasets; i++) {
        struct tail_memory *memory = core->tail_memory[i];
        memory->count = 0;
        memory->tip = 0;
        memory->sweep.rows = 0;
        key_set_release(&memory->sweep.known);
    }
}

uint64_t tail_hash(const char *id)
{
    uint64_t hash = 14695981039346656037ull; /* FNV-1a */
    for (; *id; id++)
        hash = (hash ^ (unsigned char)*id) * 1099511628211ull;
    return hash;
}

bool tail_memory_knows(const struct tail_memory *memory, uint64_t hash)
{
    for (size_t i = 0; i < memory->count; i++)
        if (memory->known[i].hash == hash)
            return true;
    return false;
}

void tail_memory_learn(struct tail_memory *memory, struct tail_seen *seen, size_t count,
                       int64_t cursor, bool goes_on)
{
    int64_t tip = count > TIP_BATCHES ? seen[count - TIP_BATCHES].created : 0;
    bool moves = !goes_on || tip > memory->tip;
    mem_free(memory->known);
    memory->known = seen;
    memory->count = count;
    memory->cursor = cursor;
    memory->tip = moves ? tip : memory->tip;
}

/* One more than the tip stays, so that it is still told apart from a walk that saw no more. */
size_t tail_seen_trim(struct tail_seen *seen, size_t count)
{
    size_t drop = 0;
    if (count <= TIP_BATCHES + 1)
        return count;
    int64_t edge = seen[count - TIP_BATCHES - 1].created;
    while (seen[drop].created < edge)
        drop++;
    memmove(seen, seen + drop, (count - drop) * sizeof *seen);
    return count - drop;
}
