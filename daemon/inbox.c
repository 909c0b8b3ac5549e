/* SPDX-License-Identifier: Apache-2.0 */
/* Operators' commands from the inbox list. */
#include "daemon/inbox.h"

#include <string.h>

#include "daemon/scheduler.h"
#include "lib/base/json.h"
#include "lib/base/log.h"
#include "lib/queue/queue_inbox.h"

struct inbox {
    struct core *core;
    bool busy;
    char *raw;
    size_t raw_len;
    char reason[sizeof((struct fault *)0)->text + 8]; /* empty: accepted */
    struct queue_op op;
};

/*
 * Each verb with its arguments in order; a trailing '?' marks optional ones. Of rows with the same
 * verb the first that fits is meant.
 */
static const struct {
    const char *verb, *argument[INBOX_WORDS];
} row[] = {
    { "backfill", { "dataset", "from", "to", "again?" } },
    { "replay", { "dataset", "batch" } },
    { "replay", { "dataset", "from", "to" } },
    { "retry", { "id" } },
    { "skip", { "id", "reason" } },
    { "cancel", { "id" } },
    { "pause", { "dataset", "on?" } },
    { "resume", { "dataset" } },
    { "priority", { "id", "lane" } },
    { "set", { "dataset", "name", "value" } },
};
#define ROWS  (sizeof row / sizeof *row)
#define VERBS "backfill replay retry skip cancel pause resume priority set"

static void on_peeked(struct queue_op *op);
static void on_answered(struct queue_op *op);

/* ---- parsing */

/* The next row of a verb from `at` on; ROWS if there is none. */
static size_t find_verb(const char *verb, size_t at)
{
    while (at < ROWS && strcmp(row[at].verb, verb) != 0)
        at++;
    return at;
}

static bool optional(const char *argument)
{
    return argument[strlen(argument) - 1] == '?';
}

static enum err check_words(const char *const *word, size_t words, struct fault *fault)
{
    size_t least = INBOX_WORDS, most = 0, given = words ? words - 1 : 0;
    size_t at = words ? find_verb(word[0], 0) : ROWS;
    if (at == ROWS)
        return fault_set(fault, ERR_ARGUMENT, "unknown command; known: " VERBS);
    for (; at < ROWS; at = find_verb(word[0], at + 1)) {
        size_t low = 0, high = 0;
        for (; high < INBOX_WORDS && row[at].argument[high]; high++)
            low += !optional(row[at].argument[high]);
        if (given >= low && given <= high)
            return OK;
        least = low < least ? low : least;
        most = high > most ? high : most;
    }
    return fault_set(fault, ERR_ARGUMENT, "%s takes %zu to %zu arguments, got %zu", word[0],
                     least, most, given);
}

static enum err parse_words(const char *raw, size_t len, struct buf *storage,
                            const char *word[INBOX_WORDS], size_t *ret_words,
                            struct fault *fault)
{
    buf_add(storage, raw, len);
    size_t words = 0;
    char *rest = storage->data;
    for (char *text; (text = strsep(&rest, " \t\r\n"));) {
        if (!*text)
            continue;
        if (words == INBOX_WORDS)
            return fault_set(fault, ERR_ARGUMENT, "too many words");
        word[words++] = text;
    }
    *ret_words = words;
    return check_words(word, words, fault);
}

/* The value of an argument, by its name in the row. */
static const char *member(const struct json_t *object, const char *argument)
{
    char name[16] = { 0 };
    memcpy(name, argument, strcspn(argument, "?"));
    return json_member_text(object, name);
}

static bool known_member(size_t verb, const char *name)
{
    if (strcmp(name, "op") == 0)
        return true;
    for (size_t i = 0; i < INBOX_WORDS && row[verb].argument[i]; i++)
        if (strlen(name) == strcspn(row[verb].argument[i], "?") &&
            strncmp(name, row[verb].argument[i], strlen(name)) == 0)
            return true;
    return false;
}

/* A member that the row does not know; NULL if it knows all. */
static const char *strange_member(size_t verb, const struct json_t *object)
{
    for (struct json_iter it = json_iter(object); json_iter_next(&it);)
        if (!known_member(verb, it.name))
            return it.name;
    return NULL;
}

/* The row that knows all members, else the last one of the verb; ROWS: there is no such verb. */
static size_t row_of_object(const struct json_t *object)
{
    const char *op = json_member_text(object, "op");
    size_t found = ROWS;
    for (size_t at = op ? find_verb(op, 0) : ROWS; at < ROWS; at = find_verb(op, at + 1)) {
        found = at;
        if (!strange_member(at, object))
            break;
    }
    return found;
}

static enum err parse_object(const char *raw, size_t len, struct buf *storage,
                             const char *word[INBOX_WORDS], size_t *ret_words,
                             struct fault *fault)
{
    AUTO_JSON *object = NULL;
    enum err err = json_parse(raw, len, INBOX_MAX, &object, fault);
    if (err)
        return fault_set(fault, ERR_ARGUMENT, "not JSON that can be read");
    size_t verb = row_of_object(object);
    if (verb == ROWS)
        return fault_set(fault, ERR_ARGUMENT, "\"op\" must be one of " VERBS);
    const char *op = row[verb].verb, *strange = strange_member(verb, object);
    if (strange)
        return fault_set(fault, ERR_ARGUMENT, "unknown member \"%.40s\"", strange);
    buf_init(storage, INBOX_MAX * 2);
    size_t words = 0, at[INBOX_WORDS];
    at[words++] = 0;
    buf_add(storage, op, strlen(op) + 1);
    for (size_t i = 0; i + 1 < INBOX_WORDS && row[verb].argument[i]; i++) {
        const char *value = member(object, row[verb].argument[i]);
        if (!value && optional(row[verb].argument[i]))
            break;
        if (!value)
            return fault_set(fault, ERR_ARGUMENT, "\"%s\" is missing or no text",
                             row[verb].argument[i]);
        at[words++] = storage->len;
        buf_add(storage, value, strlen(value) + 1);
    }
    for (size_t i = 0; i < words; i++)
        word[i] = storage->data + at[i];
    *ret_words = words;
    return OK;
}

enum err inbox_parse(const char *raw, size_t len, struct buf *storage,
                     const char *word[INBOX_WORDS], size_t *ret_words, struct fault *fault)
{
    if (len == 0 || len > INBOX_MAX || memchr(raw, 0, len))
        return fault_set(fault, ERR_ARGUMENT, "an element has 1 to %d bytes of text",
                         INBOX_MAX);
    size_t blank = strspn(raw, " \t\r\n");
    buf_init(storage, INBOX_MAX * 2);
    if (raw[blank] == '{')
        return parse_object(raw, len, storage, word, ret_words, fault);
    return parse_words(raw, len, storage, word, ret_words, fault);
}

/* ---- working through the list */

struct inbox *inbox_new(struct core *core)
{
    struct inbox *inbox = mem_alloc(sizeof *inbox);
    inbox->core = core;
    return inbox;
}

void inbox_free(struct inbox *inbox)
{
    if (!inbox)
        return;
    queue_cancel(&inbox->op);
    queue_op_release(&inbox->op);
    mem_free(inbox->raw);
    mem_free(inbox);
}

void inbox_look(struct inbox *inbox)
{
    if (inbox->busy)
        return;
    inbox->busy = true;
    inbox->op.done = on_peeked;
    queue_inbox_peek(inbox->core->queue, &inbox->op);
}

static void on_peeked(struct queue_op *op)
{
    struct inbox *inbox = container_of(op, struct inbox, op);
    const char *word[INBOX_WORDS];
    size_t words = 0;
    struct fault fault = op->fault;
    if (fault.code || op->text.len == 0) {
        queue_op_release(op);
        inbox->busy = false;
        return;
    }
    mem_free(inbox->raw);
    inbox->raw_len = op->text.len;
    inbox->raw = buf_take(&op->text);
    queue_op_release(op);
    AUTO_BUF storage = { 0 };
    enum err err = inbox_parse(inbox->raw, inbox->raw_len, &storage, word, &words, &fault);
    op->done = on_answered;
    memcpy(inbox->reason, fault.text, sizeof fault.text);
    inbox->reason[err ? sizeof fault.text : 0] = 0;
    if (err)
        queue_inbox_reject(inbox->core->queue, op, inbox->raw, inbox->raw_len, fault.text);
    else
        queue_inbox_accept(inbox->core->queue, op, inbox->raw, inbox->raw_len, word, words);
}

static void on_answered(struct queue_op *op)
{
    struct inbox *inbox = container_of(op, struct inbox, op);
    enum err err = op->fault.code;
    /* The function's own refusal was kept with the element, like ours. */
    bool refused = inbox->reason[0] || strncmp(buf_text(&op->text), "rejected", 8) == 0;
    if (!err && refused)
        inbox->core->metrics.inbox_rejected++;
    else if (!err)
        inbox->core->metrics.inbox_accepted++;
    if (!err)
        log_event(refused ? LOG_WARN : LOG_INFO, "inbox", "%s",
                  inbox->reason[0] ? inbox->reason : buf_text(&op->text));
    queue_op_release(op);
    inbox->busy = false;
    scheduler_nudge(inbox->core);
    if (!err)
        inbox_look(inbox);
}
