/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit: checks the invariants of the queue in a Redis that is at work. Walks all keys with SCAN;
 * each task becomes an item, each index is walked in turn, and each of its members becomes one.
 */
#include "daemon/ctl/audit.h"

#include <string.h>

#define ASKING_MAX  64   /* items asked about at a time */
#define PARKED_MAX  4096 /* items that wait for another look */
#define PATIENCE_MS 5000
#define CONNECT_MS  5000
#define REPLY_MS    10000
#define PAGE        "500"

static int audit_run(struct ctl *ctl);

const struct ctl_command ctl_audit = {
    .name = "audit",
    .arguments = "",
    .run = audit_run,
    .help =
        "      checks the invariants of the queue in Redis, which may be at work meanwhile,\n"
        "      and names the command that mends each violation; changes nothing\n",
};

/* What the keys of the queue are; those that end with ':' go on with an id or a dataset. */
static const struct {
    const char *name, *scan; /* command that walks its members; NULL = it has none to look at */
    enum audit_kind kind;    /* what its members, or it itself, are */
} row[] = {
    { "t:", NULL, AUDIT_TASK },
    { "up:", NULL, AUDIT_ENTRY },
    { "open:", "SSCAN", AUDIT_CHILD },
    { "dead:", "SSCAN", AUDIT_CHILD },
    { "open-files:", "SSCAN", AUDIT_ENTRY },
    { "datasets", "SSCAN", AUDIT_DATASET },
    { "ready:", "ZSCAN", AUDIT_ENTRY },
    { "delayed", "ZSCAN", AUDIT_ENTRY },
    { "lease:", "ZSCAN", AUDIT_ENTRY },
    { "shut:", "ZSCAN", AUDIT_ENTRY },
    { "order:", "ZSCAN", AUDIT_ENTRY },
    { "unlisted:", "ZSCAN", AUDIT_ENTRY },
    { "dead", "ZSCAN", AUDIT_ENTRY },
    { "done", "ZSCAN", AUDIT_ENTRY },
};
#define ROWS (sizeof row / sizeof *row)

static enum err connect(struct audit *audit, const struct secret *password,
                        struct fault *fault);
static int finish(struct audit *audit);
static void on_up(void *owner);
static void on_down(void *owner, const struct fault *reason);
static void on_patience(struct timer *timer);
static void step(struct deferred *work);
static void on_keys(struct redis_call *call, const struct redisReply *reply);
static void on_members(struct redis_call *call, const struct redisReply *reply);

/* ---- start and end */

static int audit_run(struct ctl *ctl)
{
    struct audit *audit = mem_alloc(sizeof *audit);
    struct fault fault = { 0 };
    struct secret password = { 0 };
    const char *file = ctl->settings.redis.password_file;
    audit->ctl = ctl;
    audit->prefix = ctl->settings.redis.prefix;
    audit->step.run = step;
    audit->patience.fire = on_patience;
    audit->keys.call.done = on_keys;
    audit->members.call.done = on_members;
    list_init(&audit->asking);
    list_init(&audit->parked);
    enum err err = file ? secret_read_file(file, &password, &fault) : OK;
    if (!err)
        err = connect(audit, &password, &fault);
    int code = err ? ctl_refuse(ctl, EX_CONFIG, "%s", fault.text) : EX_OK;
    if (!err) {
        report_begin(&audit->report, ctl->command, ctl->json, audit->prefix);
        timer_set_in(ctl->loop, &audit->patience, PATIENCE_MS);
        loop_run(ctl->loop);
        code = finish(audit);
    }
    secret_release(&password);
    mem_free(audit);
    return code;
}

static enum err connect(struct audit *audit, const struct secret *password, struct fault *fault)
{
    const struct settings *settings = &audit->ctl->settings;
    struct redis_options options = { .url = settings->redis.url,
                                     .user = settings->redis.user,
                                     .password =
                                         settings->redis.password_file ? password : NULL,
                                     .connect_timeout_ms = CONNECT_MS,
                                     .reply_timeout_ms = REPLY_MS,
                                     .owner = audit,
                                     .on_up = on_up,
                                     .on_down = on_down };
    return redis_new(audit->ctl->loop, &options, &audit->redis, fault);
}

static void clear_page(struct audit_scan *scan)
{
    for (size_t i = 0; i < scan->count; i++)
        mem_free(scan->text[i]);
    mem_free(scan->text);
    scan->text = NULL;
    scan->count = scan->next = 0;
}

static void clear_scan(struct audit_scan *scan)
{
    clear_page(scan);
    mem_set_text(&scan->cursor, NULL);
    scan->begun = false;
}

static int finish(struct audit *audit)
{
    const int64_t *of = audit->count;
    timer_clear(audit->ctl->loop, &audit->patience);
    loop_undefer(audit->ctl->loop, &audit->step);
    redis_free(audit->redis);
    clear_scan(&audit->keys);
    clear_scan(&audit->members);
    mem_free(audit->index);
    key_set_release(&audit->reported);
    const struct report_count count[] = {
        { "tasks", "their places, registers, parents and children", of[AUDIT_TASK] },
        { "children", "entries in the sets of open and dead children", of[AUDIT_CHILD] },
        { "entries", "in all other indexes", of[AUDIT_ENTRY] },
        { "datasets", "limits of open files", of[AUDIT_DATASET] },
        { "moved", "of all these looked wrong and were only in motion", audit->moved },
    };
    if (of[AUDIT_DATASET] == 0 && !audit->stop)
        report_problem(&audit->report, REPORT_UNCHECKED, audit->prefix,
                       "there is no queue with this prefix; check redis.url and redis.prefix");
    return report_end(&audit->report, count, sizeof count / sizeof *count);
}

void audit_give_up(struct audit *audit, const struct fault *fault)
{
    const char *advice = fault->code == ERR_REDIS_DENIED
                             ? "; grant the user +scan +sscan +zscan +hmget +hget +zscore "
                               "+sismember +smembers +scard +exists"
                             : "";
    if (!audit->stop)
        report_problem(&audit->report, REPORT_UNCHECKED, "Redis", "%s%s", fault->text, advice);
    audit->stop = true;
    audit_wake(audit);
}

/* ---- the connection */

static void on_up(void *owner)
{
    struct audit *audit = owner;
    audit->up = true;
    timer_clear(audit->ctl->loop, &audit->patience);
    audit_wake(audit);
}

/* Once it was there, its loss ends the audit: what was in flight is unknown. */
static void on_down(void *owner, const struct fault *reason)
{
    struct audit *audit = owner;
    if (audit->up)
        audit_give_up(audit, reason);
}

static void on_patience(struct timer *timer)
{
    struct audit *audit = container_of(timer, struct audit, patience);
    struct fault fault;
    fault_set(&fault, ERR_CONNECT, "no connection to %s within %d s; check redis.url",
              audit->ctl->settings.redis.url, PATIENCE_MS / 1000);
    audit_give_up(audit, &fault);
}

/* ---- the walk */

void audit_wake(struct audit *audit)
{
    loop_defer(audit->ctl->loop, &audit->step);
}

/* Copies a page of SCAN, SSCAN or ZSCAN; `stride` 2 leaves the scores out. */
static void take_page(struct audit_scan *scan, const struct redisReply *reply, size_t skip,
                      size_t stride)
{
    const struct redisReply *page = redis_reply_at(reply, 1);
    size_t count = redis_reply_count(page) / stride;
    clear_page(scan);
    scan->text = mem_alloc_array(count, sizeof *scan->text);
    for (; scan->count < count; scan->count++) {
        const char *text = redis_reply_text(redis_reply_at(page, scan->count * stride));
        scan->text[scan->count] = mem_copy_text(strlen(text) > skip ? text + skip : "");
    }
    mem_set_text(&scan->cursor, redis_reply_text(redis_reply_at(reply, 0)));
}

static void on_keys(struct redis_call *call, const struct redisReply *reply)
{
    struct audit *audit = container_of(call, struct audit, keys.call);
    audit->keys.running = false;
    if (call->fault.code)
        audit_give_up(audit, &call->fault);
    else
        take_page(&audit->keys, reply, strlen(audit->prefix), 1);
    audit_wake(audit);
}

static void on_members(struct redis_call *call, const struct redisReply *reply)
{
    struct audit *audit = container_of(call, struct audit, members.call);
    audit->members.running = false;
    if (call->fault.code)
        audit_give_up(audit, &call->fault);
    else
        take_page(&audit->members, reply, 0, audit->members_scored ? 2 : 1);
    audit_wake(audit);
}

static void start_scan(struct audit *audit, struct audit_scan *scan, size_t words,
                       const char *const *word)
{
    size_t len[8];
    for (size_t i = 0; i < words; i++)
        len[i] = strlen(word[i]);
    scan->running = scan->begun = true;
    redis_start(audit->redis, &scan->call, words, word, len);
}

static const char *cursor_of(const struct audit_scan *scan)
{
    return scan->cursor ? scan->cursor : "0";
}

static void scan_keys(struct audit *audit)
{
    AUTO_TEXT char *pattern = mem_print("%s*", audit->prefix);
    const char *word[] = { "SCAN", cursor_of(&audit->keys), "MATCH", pattern, "COUNT", PAGE };
    start_scan(audit, &audit->keys, 6, word);
}

static void scan_members(struct audit *audit)
{
    AUTO_TEXT char *key = mem_print("%s%s", audit->prefix, audit->index);
    const char *word[] = { audit->members_scored ? "ZSCAN" : "SSCAN", key,
                           cursor_of(&audit->members), "COUNT", PAGE };
    start_scan(audit, &audit->members, 5, word);
}

static bool is_over(const struct audit_scan *scan)
{
    return scan->begun && !scan->running && scan->next == scan->count &&
           strcmp(cursor_of(scan), "0") == 0;
}

static bool has_name(const char *key, const char *name)
{
    size_t len = strlen(name);
    return name[len - 1] == ':' ? strncmp(key, name, len) == 0 : strcmp(key, name) == 0;
}

static void take_key(struct audit *audit, const char *key)
{
    size_t i = 0;
    while (i < ROWS && !has_name(key, row[i].name))
        i++;
    if (i == ROWS)
        return; /* nothing that could be wrong: results, options, logs */
    if (!row[i].scan) {
        audit_item_start(audit, row[i].kind, key + strlen(row[i].name), key);
        return;
    }
    clear_scan(&audit->members);
    mem_set_text(&audit->index, key);
    audit->members_kind = row[i].kind;
    audit->members_scored = row[i].scan[0] == 'Z';
    scan_members(audit);
}

/* Starts one item or one page; false if there is nothing to start now. */
static bool pull(struct audit *audit)
{
    struct audit_scan *keys = &audit->keys, *members = &audit->members;
    if (keys->running || members->running)
        return false;
    if (members->next < members->count)
        audit_item_start(audit, audit->members_kind, members->text[members->next++],
                         audit->index);
    else if (members->begun && !is_over(members))
        scan_members(audit);
    else if (keys->next < keys->count)
        take_key(audit, keys->text[keys->next++]);
    else if (!is_over(keys))
        scan_keys(audit);
    else
        return false;
    return true;
}

static void step(struct deferred *work)
{
    struct audit *audit = container_of(work, struct audit, step);
    if (audit->stop)
        audit_items_drop(audit);
    while (audit->up && !audit->stop && audit->asking.count < ASKING_MAX &&
           audit->parked.count < PARKED_MAX && pull(audit))
        ;
    bool busy = audit->asking.count + audit->parked.count > 0 || audit->keys.running ||
                audit->members.running;
    if (!busy && (audit->stop || is_over(&audit->keys)))
        loop_stop(audit->ctl->loop);
}
