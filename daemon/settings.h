/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration file says, as structs, and the table that fills them (settings.c: one
 * row per key). Text belongs to the settings and lives until settings_release.
 */
#ifndef SLUICE_DAEMON_SETTINGS_H
#define SLUICE_DAEMON_SETTINGS_H

#include "lib/base/conf_change.h"

enum dataset_semantics { SEMANTICS_INCREMENTAL, SNAPSHOT_LATEST, SNAPSHOT_VERSIONS };
enum dataset_order { ORDER_CONCURRENT, ORDER_COMMIT, ORDER_SEQUENTIAL };
enum on_revoke { REVOKE_KEEP, REVOKE_DELETE };

struct dataset_settings {
    char *id;         /* AEP's id */
    char *as;         /* name in keys; the id if not given */
    int64_t start_ms; /* tail from here; -1 = from the first start of the daemon on */
    int order;        /* enum dataset_order */
    int64_t poll_ms;
    int64_t end_ms; /* tail nothing created from then on; -1 = no end */
    int semantics;  /* enum dataset_semantics */
    int64_t page;   /* rows per Catalog request */
    char *key;      /* template of data objects */
    int on_revoke;  /* enum on_revoke */
    int check;      /* enum content_check */
};

struct settings {
    struct {
        char *url, *user, *password_file, *prefix;
        bool allow_volatile;
    } redis;
    struct {
        char *endpoint, *ims_endpoint, *org, *client_id, *client_secret_file, *scopes, *sandbox;
        int auth; /* enum auth; settled by tenant.c, which also fills in what was left out */
        char *credential_file, *token_file, *technical_account, *private_key_file, *metascope;
        char *ca_file, *proxy;
        int64_t requests_per_second, window_start, window_max;
        int64_t overlap_ms, settle_ms;
        int64_t sweep_ms, reconcile_ms, reconcile_window_ms, short_listing_ms;
    } aep;
    struct {
        char *endpoint, *region, *bucket, *prefix, *credentials_file, *profile, *ca_file,
            *proxy;
        int addressing; /* path|virtual */
        int payload;    /* enum s3_payload */
        int conditional;
        int64_t abort_uploads_ms;
        char *manifest;
    } s3;
    struct {
        int64_t memory_bytes, part_bytes, socket_bytes, files, batches, workers, lanes;
    } transfer;
    struct {
        int64_t lease_ms, claim_poll_ms, retention_ms, max_open_files, window_ms, stop_grace_ms;
    } queue;
    struct {
        char *socket, *mode_text, *group, *listen, *textfile;
        unsigned mode; /* from mode_text */
    } health;
    struct {
        char *emf;
    } metrics;
    struct {
        int level;  /* enum log_level */
        int format; /* enum settings_log_format */
    } log;
    struct dataset_settings *dataset;
    size_t datasets;
    struct conf *conf; /* where each value comes from */
};

enum auth { AUTH_AUTO, AUTH_OAUTH, AUTH_JWT, AUTH_TOKEN };
enum settings_log_format { LOG_AS_AUTO, LOG_AS_TEXT, LOG_AS_JSON };
enum s3_conditional { CONDITIONAL_AUTO, CONDITIONAL_REQUIRE };
enum s3_addressing { ADDRESSING_PATH, ADDRESSING_VIRTUAL };

/* The daemon wants datasets; its tool also helps to find the first. */
enum settings_reader { SETTINGS_OF_DAEMON, SETTINGS_OF_TOOL };

/*
 * Loads and checks the file, and the *.yaml of conf.d beside it. All errors at once, as text for people,
 * in `errors`; ERR_CONFIG if there is any.
 */
enum err settings_load(const char *file, enum settings_reader reader, struct settings *settings,
                       struct buf *errors) MUST_CHECK;
void settings_print(const struct settings *settings, struct buf *out);
void settings_release(struct settings *settings);

/* For people who look at it, by flags of conf.h; settings_schema: JSON Schema for editors. */
void settings_show(const struct settings *settings, unsigned flags, bool json, struct buf *out);
void settings_schema(struct buf *out);

/*
 * A running daemon takes over from `fresh` what may change, see conf_take; `owner` and `changed`
 * are told. `fresh` is left with the old array of datasets. ERR_CONFIG, and nothing is changed: the
 * two do not go together.
 */
enum err settings_take(struct settings *settings, struct settings *fresh, void *owner,
                       conf_changed *changed, struct fault *fault) MUST_CHECK;

/* NULL if no such dataset is configured. */
const struct dataset_settings *settings_dataset(const struct settings *settings,
                                                const char *id);

#endif
