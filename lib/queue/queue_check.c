/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a Redis can be trusted with the queue, judged from its INFO. Each refusal is a sentence
 * that says how to mend it. Pure.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/queue/queue_parts.h"

#define VERSION_LEAST 7

/* A line of INFO that must have one value. */
static const struct {
    const char *name, *want;
    enum err code;
    bool volatile_only; /* allow_volatile forgives it */
    const char *text;
} row[] = {
    { "role", "master", ERR_REDIS_ROLE, false,
      "Redis is a replica and takes no writes; point redis.url at the master" },
    { "aof_enabled", "1", ERR_REDIS_UNFIT, true,
      "Redis forgets tasks when it stops: no append-only file. Run redis-cli CONFIG SET "
      "appendonly yes and put \"appendonly yes\" into redis.conf" },
    { "maxmemory_policy", "noeviction", ERR_REDIS_UNFIT, true,
      "Redis drops tasks when its memory is full. Run redis-cli CONFIG SET maxmemory-policy "
      "noeviction and put \"maxmemory-policy noeviction\" into redis.conf" },
};

/* The value of `name` in INFO's lines of name:value; its length in *len, NULL if absent. */
static const char *find_line(const char *info, const char *name, size_t *len)
{
    size_t name_len = strlen(name);
    for (const char *line = info; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, name_len) == 0 && line[name_len] == ':') {
            const char *value = line + name_len + 1;
            *len = strcspn(value, "\r\n");
            return value;
        }
    }
    return NULL;
}

static bool line_is(const char *info, const char *name, const char *want)
{
    size_t len;
    const char *value = find_line(info, name, &len);
    return value && len == strlen(want) && memcmp(value, want, len) == 0;
}

static enum err check_version(const char *info, struct fault *fault)
{
    size_t len = 0;
    const char *value = find_line(info, "redis_version", &len);
    if (value && strtol(value, NULL, 10) >= VERSION_LEAST)
        return OK;
    return fault_set(fault, ERR_REDIS_UNFIT, "Redis is version %.*s; %d.0 or newer is needed",
                     (int)len, value ? value : "", VERSION_LEAST);
}

/* All our keys must live in one slot, or functions may not touch them together. */
static enum err check_cluster(const char *info, const char *prefix, struct fault *fault)
{
    const char *open = strchr(prefix, '{');
    const char *close = open ? strchr(open, '}') : NULL;
    if (!line_is(info, "cluster_enabled", "1") || (close && close > open + 1))
        return OK;
    return fault_set(fault, ERR_REDIS_UNFIT,
                     "Redis is a cluster: set redis.prefix to \"{sluice}:\", with the braces");
}

enum err queue_check_info(const char *info, const char *prefix, bool allow_volatile,
                          struct fault *fault)
{
    enum err err = check_version(info, fault);
    if (err)
        return err;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (!(row[i].volatile_only && allow_volatile) &&
            !line_is(info, row[i].name, row[i].want))
            return fault_set(fault, row[i].code, "%s", row[i].text);
    return check_cluster(info, prefix, fault);
}

void queue_check_server(const char *info, struct queue_server *ret)
{
    static const char none[] = "0000000000000000000000000000000000000000";
    size_t len = 0;
    const char *value = find_line(info, "run_id", &len);
    *ret = (struct queue_server){ 0 };
    if (value && len <= QUEUE_RUN_ID_MAX)
        memcpy(ret->run_id, value, len);
    value = find_line(info, "master_replid2", &len);
    ret->promoted = value && !line_is(info, "master_replid2", none);
}

int64_t queue_library_version(const char *library)
{
    static const char mark[] = "\nlocal VERSION = ";
    const char *at = strstr(library, mark);
    return at ? strtoll(at + strlen(mark), NULL, 10) : -1;
}

enum err queue_library_fault(const struct fault *refused, struct fault *fault)
{
    if (refused->code != ERR_REDIS_DENIED) {
        *fault = *refused;
        return fault->code;
    }
    return fault_set(
        fault, ERR_REDIS_LIBRARY,
        "the queue's library is missing or old in Redis, and this user may not load "
        "it; as a user who may: redis-cli -x FUNCTION LOAD REPLACE < lib/queue/queue.lua");
}
