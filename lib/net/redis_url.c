/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The address of a Redis server. Pure. Credentials are refused in the URL: it is configuration,
 * gets printed and logged, and secrets come from files only. For the same reason no message
 * quotes the URL.
 */
#include <string.h>
#include <sys/un.h>

#include "lib/base/encode.h"
#include "lib/net/redis_parts.h"

#define DB_MAX   16383
#define HOST_MAX 253

static const char form[] = "want redis://host[:port][/db] or unix:///path[?db=n]";

static enum err parse_tcp(char *text, struct redis_url *url, struct fault *fault);
static enum err parse_unix(char *text, struct redis_url *url, struct fault *fault);
static enum err refuse_tls(char *text, struct redis_url *url, struct fault *fault);

static const struct {
    const char *prefix;
    enum err (*parse)(char *text, struct redis_url *url, struct fault *fault);
} scheme[] = {
    { "redis://", parse_tcp },
    { "unix://", parse_unix },
    { "rediss://", refuse_tls },
};

enum err redis_url_parse(const char *text, struct redis_url *ret, struct fault *fault)
{
    for (size_t i = 0; i < sizeof scheme / sizeof *scheme; i++) {
        size_t len = strlen(scheme[i].prefix);
        if (strncmp(text, scheme[i].prefix, len) != 0)
            continue;
        AUTO_TEXT char *rest = mem_copy_text(text + len);
        struct redis_url url = { 0 };
        enum err err = scheme[i].parse(rest, &url, fault);
        if (err)
            redis_url_release(&url);
        else
            *ret = url;
        return err;
    }
    return fault_set(fault, ERR_CONFIG, "Redis URL has an unknown scheme: %s", form);
}

void redis_url_release(struct redis_url *url)
{
    mem_free(url->host);
    mem_free(url->path);
    mem_free(url->name);
    *url = (struct redis_url){ 0 };
}

/* The last colon: an IPv6 address comes without brackets. No host: the one that answers. */
bool redis_url_moved(const char *text, const struct redis_url *from, struct redis_url *ret)
{
    const char *at = strrchr(text, ' '), *port = strrchr(text, ':');
    struct fault unused;
    if (strncmp(text, "MOVED ", strlen("MOVED ")) != 0 || !port || port < at)
        return false;
    AUTO_TEXT char *given = mem_copy_bytes(at + 1, (size_t)(port - at - 1));
    const char *host = *given ? given : from->host;
    if (!host)
        return false;
    AUTO_TEXT char *place = mem_print(
        strchr(host, ':') ? "redis://[%s]%s/%d" : "redis://%s%s/%d", host, port, from->db);
    return redis_url_parse(place, ret, &unused) == OK;
}

static enum err refuse_tls(char *text, struct redis_url *url, struct fault *fault)
{
    (void)text, (void)url;
    return fault_set(fault, ERR_CONFIG,
                     "rediss:// (TLS) is not supported: use unix://, or redis:// through a "
                     "local TLS tunnel");
}

static enum err parse_number(const char *text, int max, int *ret)
{
    uint64_t value;
    enum err err = parse_u64(text, (uint64_t)max, &value);
    if (!err)
        *ret = (int)value;
    return err;
}

/* Cuts the text at `mark`; returns what follows, NULL if there is no mark. */
static char *cut_at(char *text, char mark)
{
    char *at = strchr(text, mark);
    if (!at)
        return NULL;
    *at = 0;
    return at + 1;
}

/* "host", "host:port", "[::1]:port"; returns the port's text, NULL if none; `host` is cut. */
static enum err split_host(char **host, char **ret_port)
{
    if (**host != '[') {
        *ret_port = cut_at(*host, ':');
        return OK;
    }
    ++*host;
    char *tail = cut_at(*host, ']');
    if (!tail || (*tail && *tail != ':'))
        return ERR_CONFIG;
    *ret_port = *tail ? tail + 1 : NULL;
    return OK;
}

static enum err parse_tcp(char *text, struct redis_url *url, struct fault *fault)
{
    if (strchr(text, '@'))
        return fault_set(fault, ERR_CONFIG,
                         "Redis URL must not hold credentials: user and password file are "
                         "separate settings");
    char *db = cut_at(text, '/'), *host = text, *port = NULL;
    if (split_host(&host, &port) || !*host || strlen(host) > HOST_MAX)
        return fault_set(fault, ERR_CONFIG, "Redis URL has no usable host: %s", form);
    url->port = 6379;
    if (port && (parse_number(port, 65535, &url->port) || url->port == 0))
        return fault_set(fault, ERR_CONFIG, "Redis URL has a bad port: want 1 to 65535");
    if (db && *db && parse_number(db, DB_MAX, &url->db))
        return fault_set(fault, ERR_CONFIG, "Redis URL has a bad database number: %s", form);
    url->host = mem_copy_text(host);
    url->name = mem_print("%s:%d", host, url->port);
    return OK;
}

static enum err parse_unix(char *text, struct redis_url *url, struct fault *fault)
{
    char *query = cut_at(text, '?');
    if (*text != '/' || !text[1])
        return fault_set(fault, ERR_CONFIG, "Redis URL has no absolute path: %s", form);
    if (strlen(text) >= sizeof((struct sockaddr_un *)NULL)->sun_path)
        return fault_set(fault, ERR_CONFIG, "Redis URL: a socket path has at most %zu bytes",
                         sizeof((struct sockaddr_un *)NULL)->sun_path - 1);
    if (query && (strncmp(query, "db=", 3) != 0 || parse_number(query + 3, DB_MAX, &url->db)))
        return fault_set(fault, ERR_CONFIG, "Redis URL has a bad query: want ?db=n");
    url->path = mem_copy_text(text);
    url->name = mem_copy_text(text);
    return OK;
}
