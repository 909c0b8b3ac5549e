/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read the files ─▶ check them ─▶ read the secrets ─▶ take over ─▶ register the datasets
 *        └────────────┴──────────────────┴─ refused: the former one stays, and why is told
 */
#include "daemon/reload.h"

#include <stdio.h>
#include <string.h>

#include "daemon/figures.h"
#include "daemon/scheduler.h"
#include "daemon/startup.h"
#include "daemon/tail.h"
#include "daemon/tenant.h"
#include "lib/base/log.h"

#define ERRORS_MAX (1 << 20)
#define VALUE_MAX  200 /* bytes of a value in a line of log */

/* Datasets that are no longer in force but may still be read. */
struct retired {
    struct settings settings;
    struct tail_memory **memory; /* of those that went; NULL in between */
    size_t memories;
    unsigned epoch; /* the last one in which tasks began with them */
    struct retired *next;
};

struct reload {
    struct core *core;
    char *file;
    /* All that there have been, the last one in force: threads may still sign with an older. */
    struct s3_credentials **credentials;
    size_t credentials_count;
    struct retired *retired;
    struct wall loaded_at, refused_at;
    bool refused;
    char why[600];
    /* of the reload under way */
    bool datasets; /* they, or their options in Redis, are others */
    size_t applied, waiting;
};

static void keep_credentials(struct reload *reload, struct s3_credentials *fresh)
{
    size_t count = ++reload->credentials_count;
    reload->credentials = mem_grow(reload->credentials, count, sizeof(struct s3_credentials *));
    reload->credentials[count - 1] = mem_alloc(sizeof *fresh);
    *reload->credentials[count - 1] = *fresh;
}

enum err reload_new(struct core *core, const char *file, struct reload **ret,
                    struct fault *fault)
{
    const struct settings *settings = core->settings;
    struct s3_credentials credentials = { 0 };
    enum err err = s3_credentials_load(settings->s3.credentials_file, settings->s3.profile,
                                       &credentials, fault);
    if (err)
        return err;
    struct reload *reload = mem_alloc(sizeof *reload);
    reload->core = core;
    reload->file = mem_copy_text(file);
    reload->loaded_at = clock_wall();
    keep_credentials(reload, &credentials);
    core->tail_memory = mem_alloc_array(settings->datasets, sizeof(struct tail_memory *));
    for (size_t i = 0; i < settings->datasets; i++)
        core->tail_memory[i] = tail_memory_new(1);
    core->reload = *ret = reload;
    return OK;
}

static void retired_free(struct retired *retired)
{
    for (size_t i = 0; i < retired->memories; i++)
        tail_memory_free(retired->memory[i], 1);
    mem_free(retired->memory);
    settings_release(&retired->settings);
    mem_free(retired);
}

void reload_free(struct reload *reload)
{
    if (!reload)
        return;
    for (struct retired *retired; (retired = reload->retired);) {
        reload->retired = retired->next;
        retired_free(retired);
    }
    for (size_t i = 0; i < reload->core->settings->datasets; i++)
        tail_memory_free(reload->core->tail_memory[i], 1);
    mem_free(reload->core->tail_memory);
    for (size_t i = 0; i < reload->credentials_count; i++) {
        s3_credentials_release(reload->credentials[i]);
        mem_free(reload->credentials[i]);
    }
    mem_free(reload->credentials);
    mem_free(reload->file);
    mem_free(reload);
}

void reload_tidy(struct reload *reload)
{
    const struct core *core = reload->core;
    if (!reload->retired || startup_asks(core->startup))
        return;
    unsigned oldest = scheduler_oldest(core->scheduler);
    struct retired **at = &reload->retired;
    while (*at) {
        struct retired *retired = *at;
        if (retired->epoch < oldest) {
            *at = retired->next;
            retired_free(retired);
        } else {
            at = &retired->next;
        }
    }
}

/* ---- secrets */

const struct s3_credentials *reload_credentials(const struct reload *reload)
{
    return reload->credentials[reload->credentials_count - 1];
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_credentials(const struct s3_credentials *a, const struct s3_credentials *b)
{
    return same_text(a->access_key, b->access_key) &&
           same_text(secret_reveal(&a->secret_key), secret_reveal(&b->secret_key)) &&
           same_text(secret_reveal(&a->session_token), secret_reveal(&b->session_token));
}

/* Those of AEP are only looked at: they are read again for each token. */
static enum err read_secrets(const struct settings *settings, struct s3_credentials *ret,
                             struct fault *fault)
{
    AUTO(secret_release) struct secret password = { 0 };
    enum err err = tenant_check_secrets(settings, fault);
    if (!err && settings->redis.password_file)
        err = secret_read_file(settings->redis.password_file, &password, fault);
    if (!err)
        err = s3_credentials_load(settings->s3.credentials_file, settings->s3.profile, ret,
                                  fault);
    return err;
}

static void renew_credentials(struct reload *reload, struct s3_credentials *fresh)
{
    if (same_credentials(fresh, reload_credentials(reload))) {
        s3_credentials_release(fresh);
        return;
    }
    keep_credentials(reload, fresh);
    reload->core->s3.credentials = reload_credentials(reload);
    reload->applied++;
    log_event(LOG_INFO, "config", "S3 credentials changed access_key=%s, applied",
              fresh->access_key);
}

/* ---- datasets */

/* What is known of a dataset stays with it; what is known of the others waits for their tasks. */
static void move_memories(struct core *core, struct retired *retired)
{
    const struct settings *now = core->settings, *before = &retired->settings;
    struct tail_memory **memory = mem_alloc_array(now->datasets, sizeof *memory);
    for (size_t i = 0; i < now->datasets; i++) {
        const struct dataset_settings *old = settings_dataset(before, now->dataset[i].id);
        struct tail_memory **place = old ? &core->tail_memory[old - before->dataset] : NULL;
        memory[i] = place ? *place : tail_memory_new(1);
        if (place)
            *place = NULL;
    }
    retired->memory = core->tail_memory;
    retired->memories = before->datasets;
    core->tail_memory = memory;
}

static void replace_datasets(struct reload *reload, struct settings *fresh)
{
    struct core *core = reload->core;
    struct retired *retired = mem_alloc(sizeof *retired);
    retired->settings = *fresh;
    retired->settings.conf = NULL;
    retired->epoch = core->epoch;
    retired->next = reload->retired;
    reload->retired = retired;
    conf_free(fresh->conf);
    move_memories(core, retired);
    core->epoch++;
    scheduler_reload(core->scheduler);
    figures_reload(core->figures);
    scheduler_nudge(core);
}

/* ---- one reload */

static void refuse(struct reload *reload, const char *why)
{
    log_event(LOG_ERROR, "config", "not reloaded, the former one stays in force: %s", why);
    reload->refused = true;
    reload->refused_at = clock_wall();
    snprintf(reload->why, sizeof reload->why, "%s", why);
}

/* A line for each error, without what shows the place to a person. */
static void refuse_file(struct reload *reload, const struct buf *errors)
{
    const char *next = buf_text(errors);
    size_t count = 0;
    char first[500] = "";
    for (const char *at = next; *at; at = next) {
        size_t len = strcspn(at, "\n");
        next = at + len + (at[len] != 0);
        AUTO_TEXT char *line = mem_copy_bytes(at, len);
        if (!strstr(line, ": error: "))
            continue;
        log_event(LOG_ERROR, "config", "%s", line);
        if (count++ == 0)
            snprintf(first, sizeof first, "%s", line);
    }
    AUTO_TEXT char *why =
        mem_print("%s%s", first, count > 1 ? ", and more errors in the log" : "");
    refuse(reload, why);
}

static void tell_key(const struct conf_change *change)
{
    const char *path = change->row->path, *dot = strstr(path, "[].");
    AUTO_TEXT char *name = change->item ? mem_print("%s.%s", change->item, dot + strlen("[]."))
                                        : mem_copy_text(path);
    log_event(change->applied ? LOG_INFO : LOG_WARN, "config",
              "%s changed from=%.*s to=%.*s, %s", name, VALUE_MAX, change->before, VALUE_MAX,
              change->after, change->applied ? "applied" : "needs a restart");
}

static void on_change(void *owner, const struct conf_change *change)
{
    struct reload *reload = owner;
    reload->applied += change->applied;
    reload->waiting += !change->applied;
    if (!change->row)
        log_event(LOG_INFO, "config", "dataset %s %s, applied", change->item,
                  change->after ? "is new" : "is no longer copied");
    else
        tell_key(change);
    if (change->item || strcmp(change->row->path, "queue.max_open_files") == 0)
        reload->datasets = true;
}

static void take(struct reload *reload, struct settings *fresh,
                 struct s3_credentials *credentials)
{
    struct core *core = reload->core;
    struct fault fault = { 0 };
    const struct dataset_settings *before = core->settings->dataset;
    reload->datasets = false;
    reload->applied = reload->waiting = 0;
    if (settings_take(core->settings, fresh, reload, on_change, &fault)) {
        refuse(reload, fault.text);
        s3_credentials_release(credentials);
        settings_release(fresh);
        return;
    }
    renew_credentials(reload, credentials);
    if (core->settings->dataset == before)
        settings_release(fresh);
    else
        replace_datasets(reload, fresh);
    startup_reload(core->startup, reload->datasets);
    reload->refused = false;
    reload->loaded_at = clock_wall();
    log_event(LOG_INFO, "config", "reloaded applied=%zu need_restart=%zu", reload->applied,
              reload->waiting);
}

void reload_run(struct reload *reload)
{
    struct settings fresh = { 0 };
    struct s3_credentials credentials = { 0 };
    struct fault fault = { 0 };
    AUTO_BUF errors = BUF_INIT(ERRORS_MAX);
    if (settings_load(reload->file, SETTINGS_OF_DAEMON, &fresh, &errors)) {
        refuse_file(reload, &errors);
        settings_release(&fresh);
    } else if (read_secrets(&fresh, &credentials, &fault)) {
        refuse(reload, fault.text);
        settings_release(&fresh);
    } else {
        take(reload, &fresh, &credentials);
    }
    reload_tidy(reload);
}

/* ---- what is told of it */

void reload_note(const struct reload *reload, struct buf *out)
{
    char at[WALL_TEXT_SIZE];
    if (reload->refused)
        buf_print(out, "configuration refused at %s: %s", wall_text(reload->refused_at, at),
                  reload->why);
}

bool reload_refused(const struct reload *reload)
{
    return reload->refused;
}

struct wall reload_loaded_at(const struct reload *reload)
{
    return reload->loaded_at;
}
