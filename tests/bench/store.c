/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chained hash table of objects and a list of uploads (there are never many of those at a
 * time).
 */
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 4096

static struct store_object *bucket[BUCKETS];
static struct store_upload *upload_list;
static uint64_t last_tag;

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

/* FNV-1a. Returns the link that points at the key's object, or at NULL where it would go. */
static struct store_object **find_link(const char *key)
{
    uint32_t hash = 2166136261u;
    for (const char *c = key; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    struct store_object **link = &bucket[hash % BUCKETS];
    while (*link && strcmp((*link)->key, key) != 0)
        link = &(*link)->next;
    return link;
}

static void object_free(struct store_object *object)
{
    free(object->key);
    free(object->body);
    free(object);
}

struct store_object *store_find(const char *key)
{
    return *find_link(key);
}

bool store_delete(const char *key)
{
    struct store_object **link = find_link(key), *object = *link;
    if (!object)
        return false;
    *link = object->next;
    object_free(object);
    return true;
}

struct store_object *store_put(const char *key)
{
    store_delete(key);
    struct store_object *object = must(calloc(1, sizeof *object));
    object->key = must(strdup(key));
    object->tag = ++last_tag;
    object->modified = time(NULL);
    *find_link(key) = object;
    return object;
}

/* Puts an object into its place among `count` ordered ones; what falls off the end is lost. */
static size_t insert(const struct store_object **found, size_t count, size_t max,
                     const struct store_object *object)
{
    size_t at = count;
    while (at > 0 && strcmp(found[at - 1]->key, object->key) > 0)
        at--;
    if (at == max)
        return count;
    count = count < max ? count + 1 : max;
    memmove(found + at + 1, found + at, (count - at - 1) * sizeof(*found));
    found[at] = object;
    return count;
}

size_t store_list(const char *prefix, const char *after, const struct store_object **found,
                  size_t max)
{
    size_t count = 0, len = strlen(prefix);
    for (size_t i = 0; i < BUCKETS; i++)
        for (const struct store_object *object = bucket[i]; object; object = object->next)
            if (strncmp(object->key, prefix, len) == 0 && strcmp(object->key, after) > 0)
                count = insert(found, count, max, object);
    return count;
}

struct store_upload *store_upload_new(const char *key, const char *meta)
{
    struct store_upload *upload = must(calloc(1, sizeof *upload));
    upload->key = must(strdup(key));
    snprintf(upload->meta, sizeof upload->meta, "%s", meta);
    upload->id = ++last_tag;
    for (int i = 0; i <= STORE_PARTS; i++)
        upload->part[i].size = -1;
    upload->next = upload_list;
    upload_list = upload;
    return upload;
}

struct store_upload *store_upload_find(uint64_t id, const char *key)
{
    struct store_upload *upload = upload_list;
    while (upload && (upload->id != id || strcmp(upload->key, key) != 0))
        upload = upload->next;
    return upload;
}

void store_upload_free(struct store_upload *upload)
{
    struct store_upload **link = &upload_list;
    while (*link != upload)
        link = &(*link)->next;
    *link = upload->next;
    free(upload->key);
    free(upload);
}

struct store_part *store_upload_put(struct store_upload *upload, int number, int64_t size)
{
    struct store_part *part = &upload->part[number];
    part->size = size;
    part->tag = ++last_tag;
    if (number > upload->top)
        upload->top = number;
    return part;
}

int64_t store_upload_bytes(const struct store_upload *upload)
{
    int64_t sum = 0;
    for (int i = 1; i <= upload->top; i++)
        sum += upload->part[i].size > 0 ? upload->part[i].size : 0;
    return sum;
}
