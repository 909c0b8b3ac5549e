/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl fetch: what a dataset got lately, copied into a bucket once, without an installation.
 * It is the daemon that does it, with a configuration that is made here and a queue that lives as
 * long as the command: so it is verified and may be repeated like everything else.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ctl/order.h"
#include "daemon/ctl/servers.h"
#include "daemon/ctl/socket.h"
#include "daemon/ctl/table.h"
#include "daemon/ctl/terminal.h"
#include "lib/aep/catalog.h"
#include "lib/base/encode.h"

#define CONFIG_MAX 65536
#define LOOK_MS    300
#define START_MS   60000 /* until the daemon takes the order */
#define SCHEME     "s3://"

struct fetch {
    struct ctl *ctl;
    struct servers servers;
    struct inquiry inquiry;
    struct progress progress;
    int64_t from, to;
    char *bucket, *prefix; /* prefix ends with / or is "" */
    char *job;
    bool interrupted, failed;
};

static int fetch_run(struct ctl *ctl);

const struct ctl_command ctl_fetch = {
    .name = "fetch",
    .arguments = "DATASET s3://BUCKET/PREFIX --since SPAN --credential FILE [--endpoint URL] "
                 "[--aep-endpoint URL] [--ims-endpoint URL]",
    .words_min = 2,
    .words_max = 2,
    .flags = CTL_SINCE | CTL_CREDENTIAL | CTL_ENDPOINT | CTL_AEP_ENDPOINT | CTL_IMS_ENDPOINT,
    .run = fetch_run,
    .no_config = true,
    .help =
        "      copies what a dataset got in the last SPAN, once; needs no configuration and "
        "no\n"
        "      Redis of yours, but redis-server and the credential's file; AWS_… as usual\n",
};

/* ---- the words */

static int read_url(struct fetch *fetch, const char *url)
{
    const char *bucket = url + strlen(SCHEME);
    if (strncmp(url, SCHEME, strlen(SCHEME)) != 0 || !*bucket || *bucket == '/')
        return ctl_refuse(fetch->ctl, EX_USAGE, "\"%.80s\" is no s3://BUCKET/PREFIX", url);
    size_t len = strcspn(bucket, "/");
    const char *prefix = bucket[len] ? bucket + len + 1 : "";
    bool open = *prefix && prefix[strlen(prefix) - 1] != '/';
    fetch->bucket = mem_copy_bytes(bucket, len);
    fetch->prefix = mem_print("%s%s", prefix, open ? "/" : "");
    return EX_OK;
}

static int read_words(struct fetch *fetch)
{
    const struct ctl *ctl = fetch->ctl;
    int64_t since_ms = 0;
    if (!catalog_id_valid(ctl->word[0]))
        return ctl_refuse(ctl, EX_USAGE, "\"%.80s\" is no id of a dataset", ctl->word[0]);
    if (!ctl->since || parse_duration(ctl->since, &since_ms) || since_ms <= 0)
        return ctl_refuse(ctl, EX_USAGE, "--since wants a span like 2h or 7d");
    if (!ctl->credential)
        return ctl_refuse(
            ctl, EX_USAGE,
            "--credential FILE is missing: a download of the Developer Console, an "
            "aepp or aio configuration");
    fetch->to = loop_wall(ctl->loop).ms;
    fetch->from = fetch->to - since_ms;
    return read_url(fetch, ctl->word[1]);
}

/* ---- the configuration */

static const char *first_of(const char *a, const char *b, const char *c)
{
    const char *first = a && *a ? a : b;
    return first && *first ? first : c;
}

/* A line of YAML, whose quoted texts are those of JSON; none for NULL. */
static void put(struct buf *out, const char *key, const char *value)
{
    if (!value)
        return;
    buf_print(out, "  %s: ", key);
    json_write_text(out, value, strlen(value));
    buf_add_char(out, '\n');
}

static void put_store(const struct fetch *fetch, struct buf *out)
{
    const struct ctl *ctl = fetch->ctl;
    const char *region =
        first_of(getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION"), "us-east-1");
    const char *home = getenv("HOME"), *keys = getenv("AWS_ACCESS_KEY_ID");
    AUTO_TEXT char *standard = mem_print("https://s3.%s.amazonaws.com", region);
    AUTO_TEXT char *shared = mem_print("%s/.aws/credentials", home ? home : "");
    const char *given =
        first_of(ctl->endpoint, getenv("AWS_ENDPOINT_URL_S3"), getenv("AWS_ENDPOINT_URL"));
    bool from_file = !(keys && *keys);
    buf_add_text(out, "s3:\n");
    put(out, "endpoint", first_of(given, standard, NULL));
    put(out, "region", region);
    put(out, "bucket", fetch->bucket);
    put(out, "prefix", fetch->prefix);
    put(out, "credentials_file",
        from_file ? first_of(getenv("AWS_SHARED_CREDENTIALS_FILE"), shared, NULL) : NULL);
    put(out, "profile", from_file ? getenv("AWS_PROFILE") : NULL);
}

/* The tail has nothing to do: its time begins and ends now. */
static enum err write_config(struct fetch *fetch, struct buf *out, struct fault *fault)
{
    const struct ctl *ctl = fetch->ctl;
    char start[WALL_TEXT_SIZE], end[WALL_TEXT_SIZE];
    AUTO_TEXT char *redis = mem_print("unix://%s/redis.sock", fetch->servers.directory);
    AUTO_TEXT char *socket = servers_path(&fetch->servers, "sluiced.sock");
    buf_add_text(out, "redis:\n");
    put(out, "url", redis);
    buf_add_text(out, "aep:\n");
    put(out, "credential_file", ctl->credential);
    put(out, "endpoint", ctl->aep_endpoint);
    put(out, "ims_endpoint", ctl->ims_endpoint);
    put_store(fetch, out);
    buf_add_text(out, "health:\n");
    put(out, "socket", socket);
    buf_add_text(out, "datasets:\n  -\n");
    AUTO_BUF dataset = BUF_INIT(CONFIG_MAX);
    put(&dataset, "  id", ctl->word[0]);
    put(&dataset, "  start", wall_text((struct wall){ fetch->to }, start));
    put(&dataset, "  end", wall_text((struct wall){ fetch->to + 1 }, end));
    buf_add_text(out, buf_text(&dataset));
    return servers_write(&fetch->servers, "config.yaml", out, fault);
}

static int configure(struct fetch *fetch)
{
    struct fault fault = { 0 };
    AUTO_BUF text = BUF_INIT(CONFIG_MAX), errors = BUF_INIT(CONFIG_MAX);
    if (servers_init(&fetch->servers, &fault) || write_config(fetch, &text, &fault))
        return ctl_refuse(fetch->ctl, EX_IOERR, "%s", fault.text);
    AUTO_TEXT char *path = servers_path(&fetch->servers, "config.yaml");
    enum err err = settings_load(path, SETTINGS_OF_DAEMON, &fetch->ctl->settings, &errors);
    fputs(buf_text(&errors), stderr);
    return err ? EX_CONFIG : EX_OK;
}

/* ---- the work */

static void on_signal(void *owner, int number)
{
    (void)number;
    ((struct fetch *)owner)->interrupted = true;
}

/* Asks again until the daemon has told the queue of the dataset. */
static enum err order(struct fetch *fetch, struct fault *fault)
{
    AUTO_TEXT char *from = mem_print("%" PRId64, fetch->from);
    AUTO_TEXT char *to = mem_print("%" PRId64, fetch->to);
    const char *word[] = { fetch->ctl->word[0], from, to };
    for (int waited = 0;; waited += LOOK_MS) {
        AUTO_TEXT char *answer = NULL;
        enum err err = servers_check(&fetch->servers, fault);
        if (err || fetch->interrupted)
            return err;
        err = order_send(&fetch->inquiry, "backfill", 3, word, &answer, fault);
        const char *job = answer ? strchr(answer, ' ') : NULL;
        if (job) {
            fetch->job = mem_copy_text(job + 1);
            return OK;
        }
        if (waited > START_MS)
            return err;
        ctl_sleep(fetch->ctl->loop, LOOK_MS);
    }
}

static void show_progress(struct fetch *fetch)
{
    AUTO_JSON *status = NULL;
    struct fault fault;
    if (socket_status(fetch->ctl, &status, &fault) == OK)
        progress_show(&fetch->progress, "files stored",
                      (int64_t)socket_number(status, "files_stored", 0), 0);
}

static enum err wait(struct fetch *fetch, struct fault *fault)
{
    AUTO_TEXT char *key = mem_print("%st:%s", fetch->ctl->settings.redis.prefix, fetch->job);
    while (!fetch->interrupted) {
        AUTO_TEXTS field = { 0 };
        const char *word[] = { "HMGET", key, "status", "error" };
        enum err err = servers_check(&fetch->servers, fault);
        if (!err)
            err = inquiry_texts(&fetch->inquiry, 4, word, &field, fault);
        if (err)
            return err;
        fetch->failed = strcmp(inquiry_text_at(&field, 0), "failed") == 0;
        if (fetch->failed || strcmp(inquiry_text_at(&field, 0), "completed") == 0)
            return OK;
        show_progress(fetch);
        ctl_sleep(fetch->ctl->loop, LOOK_MS);
    }
    return OK;
}

/* ---- what came of it */

static void show_dead(struct fetch *fetch, struct table *table)
{
    static const struct table_column column[] = { { "task", "DEAD LETTER", TABLE_TEXT },
                                                  { "error", "ERROR", TABLE_TEXT } };
    AUTO_TEXTS dead = { 0 };
    struct fault fault;
    const char *prefix = fetch->ctl->settings.redis.prefix;
    AUTO_TEXT char *key = mem_print("%sdead", prefix);
    const char *word[] = { "ZRANGE", key, "0", "99" };
    if (inquiry_texts(&fetch->inquiry, 4, word, &dead, &fault))
        return;
    table_list(table, "dead", "", column, 2);
    for (size_t i = 0; i < dead.count; i++) {
        AUTO_TEXTS error = { 0 };
        AUTO_TEXT char *task = mem_print("%st:%s", prefix, dead.text[i]);
        const char *ask[] = { "HGET", task, "error" };
        (void)!inquiry_texts(&fetch->inquiry, 3, ask, &error, &fault);
        table_row(table, (struct table_cell[]){ { .text = dead.text[i] },
                                                { .text = inquiry_text_at(&error, 0) } });
    }
    table_list_end(table);
}

static int show(struct fetch *fetch)
{
    AUTO_JSON *status = NULL;
    struct fault fault;
    AUTO_TEXT char *url =
        mem_print("%s%s/%s%s/", SCHEME, fetch->bucket, fetch->prefix, fetch->ctl->word[0]);
    struct table *table = table_new(fetch->ctl);
    table_text(table, "to", "copied to", url);
    if (socket_status(fetch->ctl, &status, &fault) == OK) {
        table_number(table, "batches", "batches committed",
                     (int64_t)socket_number(status, "batches_committed", -1));
        table_number(table, "files", "files stored",
                     (int64_t)socket_number(status, "files_stored", -1));
        table_number(table, "bytes", "bytes stored",
                     (int64_t)socket_number(status, "bytes_stored", -1));
    }
    if (fetch->failed)
        show_dead(fetch, table);
    return table_end(table, fetch->failed ? 1 : EX_OK);
}

static int work(struct fetch *fetch)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP, 0 };
    struct fault fault = { 0 };
    loop_signals(fetch->ctl->loop, signals, fetch, on_signal);
    enum err err = servers_start(&fetch->servers, &fault);
    if (!err)
        err = inquiry_init(&fetch->inquiry, fetch->ctl, &fault);
    if (err)
        (void)!servers_check(&fetch->servers, &fault);
    if (!err)
        err = order(fetch, &fault);
    if (!err && !fetch->interrupted)
        err = wait(fetch, &fault);
    progress_end(&fetch->progress);
    if (err)
        return inquiry_refuse(fetch->ctl, &fault);
    if (fetch->interrupted)
        return ctl_refuse(fetch->ctl, EX_TEMPFAIL, "interrupted; repeated, it goes on");
    return show(fetch);
}

static int fetch_run(struct ctl *ctl)
{
    struct fetch fetch = { .ctl = ctl };
    int code = read_words(&fetch);
    if (code == EX_OK)
        code = configure(&fetch);
    if (code == EX_OK)
        code = work(&fetch);
    inquiry_release(&fetch.inquiry);
    servers_release(&fetch.servers);
    mem_free(fetch.bucket);
    mem_free(fetch.prefix);
    mem_free(fetch.job);
    return code;
}
