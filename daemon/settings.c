/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration table: one row per key drives load, check, print and the docs. Checks that
 * concern more than one key follow the table.
 */
#include "daemon/settings.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/tenant.h"
#include "lib/base/conf.h"
#include "lib/net/unixsock.h"
#include "lib/s3/key.h"

#define KIB 1024LL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define SEC 1000LL
#define DAY (86400 * SEC)

#define AT(member)  offsetof(struct settings, member)
#define SET(member) offsetof(struct dataset_settings, member)
#define REQ         CONF_REQUIRED
#define NOW         CONF_RELOAD /* by SIGHUP; the others need a restart */

#define DEFAULT_KEY "{prefix}{dataset}/dt={created:%Y-%m-%d}/{file_id}-{name}"
#define DEFAULT_MANIFEST                                                                       \
    "{prefix}{dataset}/_sluice/manifests/dt={created:%Y-%m-%d}/{batch}.json"

/* clang-format off */
static const struct conf_row row[] = {
{ "redis.url", CONF_TEXT, AT(redis.url), "unix:///run/sluice-redis/redis.sock", 1, 400, NULL, 0,
  "where the queue lives: unix:///path or redis://host:port/db" },
{ "redis.user", CONF_TEXT, AT(redis.user), NULL, 1, 100, NULL, 0, "ACL user; default user if absent" },
{ "redis.password_file", CONF_TEXT, AT(redis.password_file), NULL, 1, 400, NULL, 0,
  "file with the password" },
{ "redis.prefix", CONF_TEXT, AT(redis.prefix), "sluice:", 1, 60, NULL, 0,
  "of every key; on Redis Cluster it needs a hash tag: {sluice}:" },
{ "redis.allow_volatile", CONF_FLAG, AT(redis.allow_volatile), "false", 0, 0, NULL, 0,
  "run although this Redis may forget acknowledged writes (tests only)" },

{ "aep.endpoint", CONF_TEXT, AT(aep.endpoint), "https://platform.adobe.io", 8, 400, NULL, 0,
  "origin of Catalog and Data Access" },
{ "aep.ims_endpoint", CONF_TEXT, AT(aep.ims_endpoint), "https://ims-na1.adobelogin.com", 8, 400, NULL, 0,
  "origin of the token service" },
{ "aep.auth", CONF_CHOICE, AT(aep.auth), "auto", 0, 0, "auto|oauth|jwt|token", 0,
  "auto: token if there is a token_file, jwt if there is a private key, else oauth" },
{ "aep.org", CONF_TEXT, AT(aep.org), NULL, 3, 100, NULL, 0,
  "organisation id, …@AdobeOrg; required unless the credential file has it" },
{ "aep.client_id", CONF_TEXT, AT(aep.client_id), NULL, 1, 200, NULL, 0,
  "client id of the credential (also sent as x-api-key); required unless the credential file has it" },
{ "aep.client_secret_file", CONF_TEXT, AT(aep.client_secret_file), NULL, 1, 400, NULL, 0,
  "file with the client secret, mode 0600; a second line is the other one during a rotation" },
{ "aep.credential_file", CONF_TEXT, AT(aep.credential_file), NULL, 1, 400, NULL, 0,
  "file of the Developer Console, aepp, aio or Postman, mode 0600; gives what is absent here" },
{ "aep.token_file", CONF_TEXT, AT(aep.token_file), NULL, 1, 400, NULL, 0,
  "file in which another program keeps an access token; replaces the client secret" },
{ "aep.technical_account", CONF_TEXT, AT(aep.technical_account), NULL, 1, 200, NULL, 0,
  "of a legacy JWT credential, …@techacct.adobe.com" },
{ "aep.private_key_file", CONF_TEXT, AT(aep.private_key_file), NULL, 1, 400, NULL, 0,
  "of a legacy JWT credential: RSA key in PEM form, mode 0600" },
{ "aep.metascope", CONF_TEXT, AT(aep.metascope), "ent_dataservices_sdk", 1, 100, NULL, 0,
  "of a legacy JWT credential" },
{ "aep.scopes", CONF_TEXT, AT(aep.scopes), NULL, 1, 1000, NULL, 0,
  "OAuth scopes, if not the credential file's or the five that AEP needs" },
{ "aep.sandbox", CONF_TEXT, AT(aep.sandbox), NULL, 1, 100, NULL, 0,
  "sandbox name, lower case; absent: the credential file's, else prod" },
{ "aep.ca_file", CONF_TEXT, AT(aep.ca_file), NULL, 1, 400, NULL, 0, "CA bundle instead of the system's" },
{ "aep.proxy", CONF_TEXT, AT(aep.proxy), NULL, 1, 400, NULL, 0, "HTTP proxy; the environment is ignored" },
{ "aep.requests_per_second", CONF_NUMBER, AT(aep.requests_per_second), "20", 1, 100000, NULL, NOW,
  "upper limit per service, shared by all daemons on the queue" },
{ "aep.window_start", CONF_NUMBER, AT(aep.window_start), "8", 1, 4096, NULL, 0,
  "requests in flight per service at the start; adapts to answers" },
{ "aep.window_max", CONF_NUMBER, AT(aep.window_max), "256", 1, 4096, NULL, 0,
  "requests in flight per service at most" },
{ "aep.overlap", CONF_DURATION, AT(aep.overlap_ms), "15m", 0, 7 * DAY, NULL, NOW,
  "how far behind the watermark each poll looks again (batches listed late)" },
{ "aep.settle", CONF_DURATION, AT(aep.settle_ms), "5s", 0, 3600 * SEC, NULL, NOW,
  "batches younger than this are left for the next poll" },
{ "aep.sweep", CONF_DURATION, AT(aep.sweep_ms), "5m", 100, DAY, NULL, NOW,
  "how often a poll asks what changed instead of what is new (late successes, withdrawn batches)" },
{ "aep.short_listing", CONF_DURATION, AT(aep.short_listing_ms), "5m", 0, 1 * DAY, NULL, NOW,
  "how long a listing with fewer files than Catalog counts is doubted; 0s = never" },
{ "aep.reconcile", CONF_DURATION, AT(aep.reconcile_ms), "24h", 0, 31 * DAY, NULL, NOW,
  "how often the recent past is listed once more; 0s = never" },
{ "aep.reconcile_window", CONF_DURATION, AT(aep.reconcile_window_ms), "3d", 1 * SEC, 365 * DAY, NULL, NOW,
  "how far back that goes" },

{ "s3.endpoint", CONF_TEXT, AT(s3.endpoint), NULL, 8, 400, NULL, REQ,
  "https://s3.<region>.amazonaws.com, or the store's own" },
{ "s3.region", CONF_TEXT, AT(s3.region), "us-east-1", 1, 60, NULL, 0, "signing region" },
{ "s3.bucket", CONF_TEXT, AT(s3.bucket), NULL, 3, 63, NULL, REQ, "target bucket" },
{ "s3.prefix", CONF_TEXT, AT(s3.prefix), "", 0, 400, NULL, 0, "of every key; ends with / if not empty" },
{ "s3.credentials_file", CONF_TEXT, AT(s3.credentials_file), NULL, 1, 400, NULL, NOW,
  "AWS shared credentials file, mode 0600; absent: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" },
{ "s3.profile", CONF_TEXT, AT(s3.profile), NULL, 1, 100, NULL, NOW, "profile in that file" },
{ "s3.ca_file", CONF_TEXT, AT(s3.ca_file), NULL, 1, 400, NULL, 0, "CA bundle instead of the system's" },
{ "s3.proxy", CONF_TEXT, AT(s3.proxy), NULL, 1, 400, NULL, 0, "HTTP proxy; the environment is ignored" },
{ "s3.addressing", CONF_CHOICE, AT(s3.addressing), "path", 0, 0, "path|virtual", 0,
  "bucket in the path or in the host name" },
{ "s3.payload", CONF_CHOICE, AT(s3.payload), "auto", 0, 0, "auto|signed|unsigned", 0,
  "SHA-256 of each body, or CRC-32C over TLS where the store proved that it checks it (auto)" },
{ "s3.conditional", CONF_CHOICE, AT(s3.conditional), "auto", 0, 0, "auto|require", 0,
  "require: refuse a store that ignores If-None-Match on PUT" },
{ "s3.abort_uploads_after", CONF_DURATION, AT(s3.abort_uploads_ms), "48h", 0, 365 * DAY, NULL, NOW,
  "age at which an unfinished upload that no task knows is aborted; 0s = never" },
{ "s3.manifest", CONF_TEXT, AT(s3.manifest), DEFAULT_MANIFEST, 1, 400, NULL, 0,
  "key template of manifests" },

{ "transfer.memory", CONF_SIZE, AT(transfer.memory_bytes), "128MiB", 16 * MIB, 64 * GIB, NULL, 0,
  "for part buffers; the process takes about 20 MiB more" },
{ "transfer.part_size", CONF_SIZE, AT(transfer.part_bytes), "8MiB", 5 * MIB, 1 * GIB, NULL, 0,
  "of multipart uploads; grows with the file so that 10000 parts suffice" },
{ "transfer.socket_buffer", CONF_SIZE, AT(transfer.socket_bytes), "1MiB", 64 * KIB, 64 * MIB, NULL, 0,
  "kernel memory per source connection; raise it for a fast source far away" },
{ "transfer.files", CONF_NUMBER, AT(transfer.files), "256", 1, 4096, NULL, NOW, "files in flight at most" },
{ "transfer.batches", CONF_NUMBER, AT(transfer.batches), "32", 1, 1024, NULL, NOW,
  "tails, jobs and batches in work at a time" },
{ "transfer.workers", CONF_NUMBER, AT(transfer.workers), "1", 1, 64, NULL, 0, "uploader threads" },
{ "transfer.lanes", CONF_NUMBER, AT(transfer.lanes), "16", 1, 64, NULL, NOW,
  "parallel ranges of one huge file at most; each may cost one part again after a crash" },

{ "queue.lease", CONF_DURATION, AT(queue.lease_ms), "60s", 2 * SEC, 3600 * SEC, NULL, 0,
  "how long a silent daemon keeps its tasks" },
{ "queue.claim_poll", CONF_DURATION, AT(queue.claim_poll_ms), "500ms", 10, 60 * SEC, NULL, NOW,
  "how often an idle daemon asks for work" },
{ "queue.retention", CONF_DURATION, AT(queue.retention_ms), "7d", 60 * SEC, 365 * DAY, NULL, NOW,
  "how long finished tasks stay visible" },
{ "queue.max_open_files", CONF_NUMBER, AT(queue.max_open_files), "20000", 1, 10000000, NULL, NOW,
  "file tasks per dataset in Redis at a time; bounds its memory" },
{ "queue.window", CONF_DURATION, AT(queue.window_ms), "1d", 60 * SEC, 31 * DAY, NULL, NOW,
  "slice of a backfill that is listed as one task" },
{ "queue.stop_grace", CONF_DURATION, AT(queue.stop_grace_ms), "20s", 0, 600 * SEC, NULL, NOW,
  "after SIGTERM, time for parts on their way to S3" },

{ "health.socket", CONF_TEXT, AT(health.socket), "/run/sluiced/sluiced.sock", 1, 100, NULL, 0,
  "unix socket for health, status and metrics" },
{ "health.mode", CONF_TEXT, AT(health.mode_text), "0660", 3, 4, NULL, 0,
  "permission bits of the socket, octal" },
{ "health.group", CONF_TEXT, AT(health.group), NULL, 1, 100, NULL, 0,
  "group of the socket; absent: the daemon's own" },
{ "health.listen", CONF_TEXT, AT(health.listen), NULL, 1, 100, NULL, 0,
  "the same answers on a loopback port, for scrapers that know no unix sockets: 127.0.0.1:9464" },
{ "health.textfile", CONF_TEXT, AT(health.textfile), NULL, 1, 400, NULL, 0,
  "file that gets the metrics every 15 s, for node_exporter; its name ends in .prom" },
{ "metrics.emf", CONF_TEXT, AT(metrics.emf), NULL, 1, 400, NULL, 0,
  "file, or unix:PATH of a datagram socket, that gets a line a minute for CloudWatch" },
{ "log.level", CONF_CHOICE, AT(log.level), "info", 0, 0, "debug|info|warn|error", NOW,
  "least important events that are logged" },
{ "log.format", CONF_CHOICE, AT(log.format), "auto", 0, 0, "auto|text|json", NOW,
  "auto: fields of the journal if it reads us, else text" },

{ "datasets[].id", CONF_TEXT, SET(id), NULL, 1, 160, NULL, REQ, "dataset id in AEP" },
{ "datasets[].as", CONF_TEXT, SET(as), NULL, 1, 160, NULL, 0, "name in object keys; the id if absent" },
{ "datasets[].start", CONF_DATE, SET(start_ms), "now", 0, 0, "now", NOW,
  "batches created from this time on (2024-02-01, 2024-02-01T10:30Z, now)" },
{ "datasets[].end", CONF_DATE, SET(end_ms), "never", 0, 0, "never", NOW,
  "no batches created from this time on" },
{ "datasets[].semantics", CONF_CHOICE, SET(semantics), "incremental", 0, 0,
  "incremental|snapshot-latest|snapshot-versions", NOW,
  "each batch adds rows; each holds all rows and the latest is wanted; or all versions are" },
{ "datasets[].order", CONF_CHOICE, SET(order), "concurrent", 0, 0, "concurrent|commit|sequential", NOW,
  "of manifests: any; by creation; one batch at a time" },
{ "datasets[].poll", CONF_DURATION, SET(poll_ms), "30s", 100, DAY, NULL, NOW,
  "how often new batches are looked for" },
{ "datasets[].page", CONF_NUMBER, SET(page), "100", 1, 100, NULL, NOW, "batches per request to Catalog" },
{ "datasets[].key", CONF_TEXT, SET(key), DEFAULT_KEY, 1, 400, NULL, NOW, "key template of data objects" },
{ "datasets[].on_revoke", CONF_CHOICE, SET(on_revoke), "keep", 0, 0, "keep|delete", NOW,
  "data objects of a batch that AEP revoked; its manifest stays in any case" },
{ "datasets[].check", CONF_CHOICE, SET(check), "full", 0, 0, "full|magic|off", NOW,
  "of files: .parquet is one, .json and .csv end in a whole line; magic: only the former" },
};
/* clang-format on */

static const struct conf_sequence sequence[] = {
    { "datasets", sizeof(struct dataset_settings), AT(dataset), AT(datasets), 0, 1000 },
};

static const struct conf_table table = { row, sizeof row / sizeof *row, sequence, 1 };

static void check_dataset(struct settings *settings, size_t index);

static void check_prefix(const struct settings *settings)
{
    const char *prefix = settings->s3.prefix ? settings->s3.prefix : "";
    size_t len = strlen(prefix);
    if (len && (prefix[0] == '/' || prefix[len - 1] != '/'))
        conf_complain(settings->conf, "s3.prefix", 0,
                      "must not start with / and must end with /");
    if (key_generation(prefix) != KEY_GENERATION_1)
        conf_complain(settings->conf, "s3.prefix", 0,
                      "must not contain _generation=, the folders of replays are named so");
}

/* What no row can know of itself alone. Values that were refused are NULL or defaults here. */
static void check_all(struct settings *settings, enum settings_reader reader)
{
    struct conf *conf = settings->conf;
    struct fault fault = { 0 };
    check_prefix(settings);
    if (key_check(settings->s3.manifest, false, &fault))
        conf_complain(conf, "s3.manifest", 0, "%s", fault.text);
    if (settings->transfer.part_bytes * 2 > settings->transfer.memory_bytes)
        conf_complain(conf, "transfer.memory", 0, "must hold at least two parts (part_size)");
    if (strspn(settings->health.mode_text, "01234567") != strlen(settings->health.mode_text))
        conf_complain(conf, "health.mode", 0, "must be octal, like 0660");
    settings->health.mode = (unsigned)strtoul(settings->health.mode_text, NULL, 8) & 0777;
    if (settings->health.listen && unixsock_check_port(settings->health.listen, &fault))
        conf_complain(conf, "health.listen", 0, "%s", fault.text);
    tenant_settle(settings);
    if (reader == SETTINGS_OF_DAEMON && !conf_given(conf, "datasets", 0))
        conf_complain(
            conf, "datasets", 0,
            "there is none to copy; sluicectl datasets shows what AEP has, write the id of "
            "each that is wanted here, as \"- id: …\"");
    for (size_t i = 0; i < settings->datasets; i++)
        check_dataset(settings, i);
}

enum err settings_load(const char *file, enum settings_reader reader, struct settings *settings,
                       struct buf *errors)
{
    const char *slash = strrchr(file, '/');
    AUTO_TEXT char *folder = mem_print("%.*sconf.d", slash ? (int)(slash + 1 - file) : 0, file);
    struct conf *conf = settings->conf = conf_new(&table, settings);
    conf_add_file(conf, file);
    conf_add_folder(conf, folder);
    conf_bind(conf);
    if (conf_complete(conf)) /* what else is wrong, all at once */
        check_all(settings, reader);
    return conf_end(conf, errors);
}

static bool id_text(const char *text)
{
    return text[strspn(
               text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")] == 0;
}

static void check_name(const struct settings *settings, size_t index, const char *key,
                       const char *name)
{
    if (!id_text(name))
        conf_complain(settings->conf, key, index,
                      "\"%.60s\" has more than letters, digits, '.', '_' and '-'", name);
}

static void check_dataset(struct settings *settings, size_t index)
{
    struct dataset_settings *dataset = &settings->dataset[index];
    struct conf *conf = settings->conf;
    struct fault fault = { 0 };
    if (!dataset->id) /* that is told already */
        return;
    check_name(settings, index, "datasets[].id", dataset->id);
    if (dataset->as)
        check_name(settings, index, "datasets[].as", dataset->as);
    else
        dataset->as = mem_copy_text(dataset->id);
    if (dataset->end_ms >= 0 && dataset->end_ms <= dataset->start_ms)
        conf_complain(conf, "datasets[].end", index, "must be after start");
    if (key_check(dataset->key, true, &fault))
        conf_complain(conf, "datasets[].key", index, "%s", fault.text);
    for (size_t i = 0; i < index; i++) {
        const struct dataset_settings *other = &settings->dataset[i];
        if (other->id && strcmp(other->id, dataset->id) == 0)
            conf_complain(conf, "datasets[].id", index, "dataset %.80s is there already",
                          dataset->id);
        else if (other->id && strcmp(other->as, dataset->as) == 0)
            conf_complain(conf, "datasets[].as", index,
                          "%.80s is the name of dataset %.80s already", dataset->as, other->id);
    }
}

void settings_print(const struct settings *settings, struct buf *out)
{
    conf_show(settings->conf, CONF_HELP, out);
}

void settings_show(const struct settings *settings, unsigned flags, bool json, struct buf *out)
{
    if (json)
        conf_show_json(settings->conf, flags, out);
    else
        conf_show(settings->conf, flags, out);
}

void settings_schema(struct buf *out)
{
    conf_schema(&table, "Sluice, sluiced.yaml", out);
}

void settings_release(struct settings *settings)
{
    conf_release(&table, settings);
    conf_free(settings->conf);
    settings->conf = NULL;
}

/* A dataset keeps its name until a restart: no other one may get that name before. */
static enum err check_names(const struct settings *settings, const struct settings *fresh,
                            struct fault *fault)
{
    for (size_t i = 0; i < fresh->datasets; i++)
        for (size_t j = 0; j < settings->datasets; j++)
            if (strcmp(fresh->dataset[i].as, settings->dataset[j].as) == 0 &&
                strcmp(fresh->dataset[i].id, settings->dataset[j].id) != 0)
                return fault_set(fault, ERR_CONFIG,
                                 "datasets[].as: %.80s is in use for dataset %.80s: restart",
                                 fresh->dataset[i].as, settings->dataset[j].id);
    return OK;
}

enum err settings_take(struct settings *settings, struct settings *fresh, void *owner,
                       conf_changed *changed, struct fault *fault)
{
    enum err err = check_names(settings, fresh, fault);
    if (!err)
        conf_take(settings->conf, fresh->conf, owner, changed);
    return err;
}

const struct dataset_settings *settings_dataset(const struct settings *settings, const char *id)
{
    for (size_t i = 0; i < settings->datasets; i++)
        if (strcmp(settings->dataset[i].id, id) == 0)
            return &settings->dataset[i];
    return NULL;
}
