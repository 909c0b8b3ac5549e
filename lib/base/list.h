/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive doubly linked list that knows its length. An object sits in at most one list per
 * node; where objects have states, the list says the state and its count is the only counter.
 * A node outside any list has next == NULL.
 */
#ifndef SLUICE_BASE_LIST_H
#define SLUICE_BASE_LIST_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/base/mem.h"

struct list_node {
    struct list_node *next, *prev;
};

struct list {
    struct list_node head;
    size_t count;
};

static inline void list_init(struct list *list)
{
    list->head.next = list->head.prev = &list->head;
    list->count = 0;
}

static inline bool list_linked(const struct list_node *node)
{
    return node->next != NULL;
}

static inline void list_push(struct list *list, struct list_node *node) /* at the end */
{
    assert(!list_linked(node));
    node->prev = list->head.prev;
    node->next = &list->head;
    node->prev->next = node;
    list->head.prev = node;
    list->count++;
}

static inline void list_remove(struct list *list, struct list_node *node)
{
    assert(list_linked(node) && list->count > 0);
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
    list->count--;
}

static inline struct list_node *list_first(const struct list *list) /* NULL if empty */
{
    return list->count ? list->head.next : NULL;
}

static inline struct list_node *list_next(const struct list *list, const struct list_node *node)
{
    return node->next == &list->head ? NULL : node->next;
}

static inline struct list_node *list_pop(struct list *list) /* from the front; NULL if empty */
{
    struct list_node *node = list_first(list);
    if (node)
        list_remove(list, node);
    return node;
}

/* The loop body may remove `node`, and nothing else. */
#define list_each(list, node)                                                                  \
    for (struct list_node *node = list_first(list),                                            \
                          *node##_next = node ? list_next(list, node) : NULL;                  \
         node; node = node##_next, node##_next = node ? list_next(list, node) : NULL)

#endif
