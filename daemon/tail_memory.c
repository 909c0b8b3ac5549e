/* SPDX-License-Identifier: Apache-2.0 */
/* What a daemon remembers of a dataset between two polls. */
#include "daemon/tail.h"

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
        core->tail_memory[i].count = 0;
        core->tail_memory[i].tip = 0;
        core->tail_memory[i].sweep.rows = 0;
        key_set_release(&core->tail_memory[i].sweep.known);
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
