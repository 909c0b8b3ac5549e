/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One item of the audit. Its questions leave in one write, in two rounds where the second needs
 * the answers to the first:
 *
 *   ASK ──▶ (TASK: ask about each parent) ──▶ judge ──right──▶ end
 *    ▲                                          │
 *    └── after a pause, twice ◀───── wrong ─────┘   three times wrong: report
 *
 * The queue moves while it is read, so what is wrong once may only be in motion. Only what was
 * wrong in every look is reported.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/ctl/audit.h"

#define LOOKS    3
#define PAUSE_MS 400
#define WORDS    (AUDIT_FIELDS + 2)
#define KEY_SIZE 600

struct audit_item;

/* One command and what its answer means. */
struct audit_ask {
    struct redis_call call;
    struct audit_item *item;
    size_t at; /* which index, which parent */
    void (*read)(struct audit_item *item, size_t at, const struct redisReply *reply);
};

struct audit_item {
    struct list_node node;
    struct audit *audit;
    enum audit_kind kind;
    char *id, *index;
    struct audit_ask *ask;
    size_t asks, open;
    bool parents_next;
    struct audit_sight sight;
    int looks;
    uint32_t broken; /* in every look so far */
    struct timer again;
};

static void look(struct audit_item *item);
static void on_answer(struct redis_call *call, const struct redisReply *reply);
static void judge(struct audit_item *item);
static void on_again(struct timer *timer);
static void item_free(struct audit_item *item);

void audit_item_start(struct audit *audit, enum audit_kind kind, const char *id,
                      const char *index)
{
    struct audit_item *item = mem_alloc(sizeof *item);
    item->audit = audit;
    item->kind = kind;
    item->id = mem_copy_text(id);
    item->index = mem_copy_text(index);
    item->broken = UINT32_MAX;
    item->again.fire = on_again;
    list_push(&audit->asking, &item->node);
    audit->count[kind]++;
    look(item);
}

static void clear_sight(struct audit_sight *sight)
{
    for (size_t i = 0; i < AUDIT_FIELDS; i++)
        mem_free(sight->field[i]);
    for (size_t i = 0; i < sight->parents; i++)
        mem_free(sight->parent[i].id);
    mem_free(sight->parent);
    *sight = (struct audit_sight){ 0 };
}

static void item_free(struct audit_item *item)
{
    struct audit *audit = item->audit;
    bool parked = heap_contains(&item->again.node);
    list_remove(parked ? &audit->parked : &audit->asking, &item->node);
    timer_clear(audit->ctl->loop, &item->again);
    clear_sight(&item->sight);
    mem_free(item->ask);
    mem_free(item->id);
    mem_free(item->index);
    mem_free(item);
    audit_wake(audit);
}

void audit_items_drop(struct audit *audit)
{
    for (struct list_node *node; (node = list_first(&audit->parked));)
        item_free(container_of(node, struct audit_item, node));
}

/* ---- asking */

typedef void reader(struct audit_item *item, size_t at, const struct redisReply *reply);

/* Room for the questions of one round. */
static void begin_round(struct audit_item *item, size_t asks)
{
    mem_free(item->ask);
    item->ask = mem_alloc_array(asks, sizeof *item->ask);
    item->asks = item->open = 0;
}

static void ask(struct audit_item *item, reader *read, size_t at, size_t words,
                const char *const *word)
{
    struct audit_ask *ask = &item->ask[item->asks++];
    size_t len[WORDS];
    *ask = (struct audit_ask){ .item = item, .at = at, .read = read, .call.done = on_answer };
    for (size_t i = 0; i < words; i++)
        len[i] = strlen(word[i]);
    item->open++;
    redis_start(item->audit->redis, &ask->call, words, word, len);
}

/* "<command> <prefix><name><id> [member]" */
static void ask_key(struct audit_item *item, reader *read, size_t at, const char *command,
                    const char *name, const char *id, const char *member)
{
    AUTO_TEXT char *key = mem_print("%s%s%s", item->audit->prefix, name, id);
    const char *word[] = { command, key, member };
    ask(item, read, at, member ? 3 : 2, word);
}

static void ask_record(struct audit_item *item, reader *read, size_t at, const char *id)
{
    static const char *const name[AUDIT_FIELDS] = {
        [FIELD_KIND] = "kind",     [FIELD_STATUS] = "status", [FIELD_PHASE] = "phase",
        [FIELD_LANE] = "lane",     [FIELD_ORDER] = "order",   [FIELD_PARENT] = "parent",
        [FIELD_OFFSET] = "offset",
    };
    AUTO_TEXT char *key = mem_print("%st:%s", item->audit->prefix, id);
    const char *word[WORDS] = { "HMGET", key };
    memcpy(word + 2, name, sizeof name);
    ask(item, read, at, WORDS, word);
}

static void on_answer(struct redis_call *call, const struct redisReply *reply)
{
    struct audit_ask *ask = container_of(call, struct audit_ask, call);
    struct audit_item *item = ask->item;
    if (call->fault.code)
        audit_give_up(item->audit, &call->fault);
    else
        ask->read(item, ask->at, reply);
    if (--item->open == 0)
        judge(item);
}

/* ---- answers */

static void read_record(struct audit_item *item, size_t at, const struct redisReply *reply)
{
    struct audit_sight *sight = &item->sight;
    (void)at;
    for (size_t i = 0; i < AUDIT_FIELDS; i++)
        mem_set_text(&sight->field[i], redis_reply_text(redis_reply_at(reply, i)));
    sight->known = redis_reply_type(redis_reply_at(reply, FIELD_KIND)) != REDIS_NIL;
}

static void read_score(struct audit_item *item, size_t at, const struct redisReply *reply)
{
    if (redis_reply_type(reply) == REDIS_NIL)
        return;
    item->sight.in |= 1u << at;
    if (at == IN_UNLISTED)
        item->sight.unlisted = strtod(redis_reply_text(reply), NULL);
}

static void read_open_file(struct audit_item *item, size_t at, const struct redisReply *reply)
{
    if (redis_reply_int(reply))
        item->sight.in |= 1u << at;
}

static void read_open_count(struct audit_item *item, size_t at, const struct redisReply *reply)
{
    (void)at;
    item->sight.open = redis_reply_int(reply);
}

static void read_dead_count(struct audit_item *item, size_t at, const struct redisReply *reply)
{
    (void)at;
    item->sight.dead = redis_reply_int(reply);
}

static void read_room(struct audit_item *item, size_t at, const struct redisReply *reply)
{
    (void)at;
    item->sight.dead = INT64_MAX / 2; /* no limit is known */
    if (redis_reply_type(reply) != REDIS_NIL)
        item->sight.dead = redis_reply_int(reply);
}

static void add_parent(struct audit_item *item, const char *id)
{
    struct audit_sight *sight = &item->sight;
    sight->parent = mem_grow(sight->parent, sight->parents + 1, sizeof *sight->parent);
    sight->parent[sight->parents++] = (struct audit_parent){ .id = mem_copy_text(id) };
}

static void read_parents(struct audit_item *item, size_t at, const struct redisReply *reply)
{
    (void)at;
    for (size_t i = 0; i < redis_reply_count(reply); i++)
        add_parent(item, redis_reply_text(redis_reply_at(reply, i)));
}

static void read_parent_open(struct audit_item *item, size_t at, const struct redisReply *reply)
{
    item->sight.parent[at].open = redis_reply_int(reply);
}

static void read_parent_dead(struct audit_item *item, size_t at, const struct redisReply *reply)
{
    item->sight.parent[at].dead = redis_reply_int(reply);
}

static void read_parent_phase(struct audit_item *item, size_t at,
                              const struct redisReply *reply)
{
    struct audit_parent *parent = &item->sight.parent[at];
    parent->known = redis_reply_type(reply) != REDIS_NIL;
    parent->ended = strcmp(redis_reply_text(reply), "end") == 0;
}

static void read_named(struct audit_item *item, size_t at, const struct redisReply *reply)
{
    (void)at;
    item->sight.named = redis_reply_type(reply) == REDIS_TEXT || redis_reply_int(reply);
}

/* ---- questions, by kind */

static void ask_parent(struct audit_item *item, size_t at)
{
    const char *parent = item->sight.parent[at].id;
    AUTO_TEXT char *key = mem_print("%st:%s", item->audit->prefix, parent);
    const char *word[] = { "HGET", key, "phase" };
    ask(item, read_parent_phase, at, 3, word);
    ask_key(item, read_parent_open, at, "SISMEMBER", "open:", parent, item->id);
    ask_key(item, read_parent_dead, at, "SISMEMBER", "dead:", parent, item->id);
}

static void look_at_task(struct audit_item *item)
{
    char key[KEY_SIZE];
    begin_round(item, AUDIT_INDEXES + 4);
    ask_record(item, read_record, 0, item->id);
    for (enum audit_index index = 0; index < AUDIT_INDEXES; index++) {
        bool set = index == IN_OPEN_FILES;
        audit_index_name(index, item->id, key, sizeof key);
        ask_key(item, set ? read_open_file : read_score, index, set ? "SISMEMBER" : "ZSCORE",
                key, "", item->id);
    }
    ask_key(item, read_open_count, 0, "SCARD", "open:", item->id, NULL);
    ask_key(item, read_dead_count, 0, "SCARD", "dead:", item->id, NULL);
    ask_key(item, read_parents, 0, "SMEMBERS", "up:", item->id, NULL);
    item->parents_next = true;
}

/* True if there are any: then their answers are waited for. */
static bool look_at_parents(struct audit_item *item)
{
    struct audit_sight *sight = &item->sight;
    item->parents_next = false;
    if (strcmp(sight->field[FIELD_KIND], "file") == 0)
        add_parent(item, sight->field[FIELD_PARENT]);
    if (sight->parents == 0)
        return false;
    begin_round(item, 3 * sight->parents);
    for (size_t i = 0; i < sight->parents; i++)
        ask_parent(item, i);
    return true;
}

/* A file knows its one parent by its record, all others by their sets. */
static void look_at_child(struct audit_item *item)
{
    begin_round(item, 5);
    add_parent(item, strchr(item->index, ':') + 1);
    ask_record(item, read_record, 0, item->id);
    ask_parent(item, 0);
    ask_key(item, read_named, 0, "SISMEMBER", "up:", item->id, item->sight.parent[0].id);
}

static void look_at_entry(struct audit_item *item)
{
    bool set = strncmp(item->index, "open-files:", 11) == 0;
    bool up = strncmp(item->index, "up:", 3) == 0;
    begin_round(item, 2);
    ask_record(item, read_record, 0, item->id);
    if (up)
        ask_key(item, read_named, 0, "EXISTS", item->index, "", NULL);
    else
        ask_key(item, read_named, 0, set ? "SISMEMBER" : "ZSCORE", item->index, "", item->id);
}

static void look_at_dataset(struct audit_item *item)
{
    begin_round(item, 2);
    ask_key(item, read_room, 0, "HGET", "ds:", item->id, "max_open_files");
    ask_key(item, read_open_count, 0, "SCARD", "open-files:", item->id, NULL);
}

static void look(struct audit_item *item)
{
    static void (*const start[])(struct audit_item *) = {
        [AUDIT_TASK] = look_at_task,
        [AUDIT_CHILD] = look_at_child,
        [AUDIT_ENTRY] = look_at_entry,
        [AUDIT_DATASET] = look_at_dataset,
    };
    clear_sight(&item->sight);
    item->looks++;
    start[item->kind](item);
}

/* ---- the verdict */

static void report_broken(struct audit_item *item, const struct audit_verdict *verdict)
{
    struct audit *audit = item->audit;
    for (enum audit_rule rule = 0; rule < AUDIT_RULES; rule++) {
        if (!(item->broken & 1u << rule))
            continue;
        AUTO_TEXT char *what = mem_print("%d %s", (int)rule, item->id);
        if (key_set_add(&audit->reported, what)) /* a scan may bring a key twice */
            audit_report(&audit->report, audit->prefix, rule, item->id, verdict->index[rule]);
    }
}

static void park(struct audit_item *item)
{
    struct audit *audit = item->audit;
    list_remove(&audit->asking, &item->node);
    list_push(&audit->parked, &item->node);
    mem_free(item->ask);
    item->ask = NULL;
    timer_set_in(audit->ctl->loop, &item->again, PAUSE_MS);
    audit_wake(audit);
}

static void on_again(struct timer *timer)
{
    struct audit_item *item = container_of(timer, struct audit_item, again);
    list_remove(&item->audit->parked, &item->node);
    list_push(&item->audit->asking, &item->node);
    look(item);
}

static void knows_parent(struct audit_item *item)
{
    struct audit_sight *sight = &item->sight;
    if (item->kind == AUDIT_CHILD && strcmp(sight->field[FIELD_KIND], "file") == 0)
        sight->named = strcmp(sight->field[FIELD_PARENT], sight->parent[0].id) == 0;
}

static void judge(struct audit_item *item)
{
    struct audit *audit = item->audit;
    struct audit_verdict verdict;
    if (audit->stop) {
        item_free(item);
        return;
    }
    if (item->parents_next && look_at_parents(item))
        return;
    knows_parent(item);
    audit_judge(item->kind, item->id, item->index, &item->sight, &verdict);
    item->broken &= verdict.broken;
    if (item->broken && item->looks < LOOKS) {
        park(item);
        return;
    }
    if (item->broken)
        report_broken(item, &verdict);
    else if (item->looks > 1)
        audit->moved++;
    item_free(item);
}
