/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl ddl athena: a CREATE EXTERNAL TABLE over the objects of a dataset, with the types of
 * its schema. Days are partitions that nobody has to add: Athena computes them.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "daemon/ctl/ddl_type.h"
#include "daemon/ctl/lookup.h"
#include "daemon/verify_keys.h"
#include "lib/aep/schema.h"

#define PROPERTIES "name,schemaRef,fileDescription,created,observableSchema"
#define NAME_SIZE  128
#define DAY_SIZE   16
#define DAY_FOLDER "dt="

struct ddl {
    struct ctl *ctl;
    struct ask ask;
    const struct dataset_settings *dataset;
    struct dataset_info info;
    const struct json_t *object; /* of the dataset */
    struct ddl_columns columns;
};

static int ddl_run(struct ctl *ctl);

const struct ctl_command ctl_ddl = {
    .name = "ddl",
    .arguments = "athena DATASET",
    .words_min = 2,
    .words_max = 2,
    .run = ddl_run,
    .help = "      prints a CREATE EXTERNAL TABLE for a dataset of Parquet files\n",
};

/* ---- the schema */

static enum err ask_registry(struct ddl *ddl, bool global, struct json_t **ret)
{
    AUTO_BUF accept = BUF_INIT(100), path = BUF_INIT(2000);
    schema_write_accept(&accept, schema_version(ddl->info.schema_type));
    schema_write_path(&path, global, ddl->info.schema_id);
    return ask_json(&ddl->ask, AEP_SCHEMA, buf_text(&accept), buf_text(&path), ret);
}

/* The registry's schema; what was seen in the files, where the dataset names none. */
static int read_schema(struct ddl *ddl)
{
    AUTO_JSON *answer = NULL;
    const struct json_t *schema = json_member(ddl->object, "observableSchema");
    if (ddl->info.schema_id && schema_id_valid(ddl->info.schema_id)) {
        enum err err = ask_registry(ddl, false, &answer);
        if (err == ERR_NOT_FOUND)
            err = ask_registry(ddl, true, &answer);
        if (err)
            return ask_refuse(&ddl->ask, ddl->info.schema_id);
        schema = answer;
    }
    ddl_write_columns(schema, &ddl->columns);
    if (ddl->columns.count == 0)
        return ctl_refuse(ddl->ctl, EX_NOINPUT,
                          "the schema of dataset %s has no field; sluicectl schema %s shows it",
                          ddl->info.id, ddl->info.id);
    return EX_OK;
}

/* ---- the statement */

/* A name that needs no quotes anywhere. */
static void write_name(const struct dataset_settings *dataset, char name[NAME_SIZE])
{
    snprintf(name, NAME_SIZE, "%s%s", isdigit((unsigned char)*dataset->as) ? "d_" : "",
             dataset->as);
    for (char *c = name; *c; c++)
        *c = isalnum((unsigned char)*c) ? (char)tolower((unsigned char)*c) : '_';
}

/* What all keys of the dataset begin with, up to and with its last "/"; whether days follow. */
static char *folder_of(const struct ddl *ddl, bool *ret_days)
{
    struct key_values values = { .prefix = ddl->ctl->settings.s3.prefix,
                                 .dataset = ddl->dataset->as,
                                 .dataset_id = ddl->dataset->id,
                                 .generation = KEY_GENERATION_1 };
    struct verify_prefixes prefixes;
    verify_prefixes(ddl->dataset->key, &values, VERIFY_BEGIN, 0, 1, &prefixes);
    char *begin = mem_copy_text(prefixes.count > 0 ? prefixes.prefix[0] : "");
    verify_prefixes_release(&prefixes);
    char *last = strrchr(begin, '/'), *end = last ? last + 1 : begin;
    *ret_days = strcmp(end, DAY_FOLDER) == 0 && verify_by_day(ddl->dataset->key);
    *end = 0;
    return begin;
}

static void write_days(const struct ddl *ddl, const char *url, struct buf *out)
{
    char first[DAY_SIZE];
    wall_format((struct wall){ ddl->info.created }, "%Y-%m-%d", first, sizeof first);
    buf_print(out,
              "TBLPROPERTIES (\n"
              "  'projection.enabled' = 'true',\n"
              "  'projection.dt.type' = 'date',\n"
              "  'projection.dt.format' = 'yyyy-MM-dd',\n"
              "  'projection.dt.range' = '%s,NOW',\n"
              "  'storage.location.template' = '%sdt=${dt}/'\n)",
              first, url);
}

static void write_statement(const struct ddl *ddl, struct buf *out)
{
    char name[NAME_SIZE];
    bool days;
    AUTO_TEXT char *folder = folder_of(ddl, &days);
    AUTO_TEXT char *url = mem_print("s3://%s/%s", ddl->ctl->settings.s3.bucket, folder);
    write_name(ddl->dataset, name);
    buf_print(out, "CREATE EXTERNAL TABLE IF NOT EXISTS `%s` (\n%s\n)\n", name,
              buf_text(&ddl->columns.text));
    if (days)
        buf_add_text(out, "PARTITIONED BY (`dt` string)\n");
    buf_print(out, "STORED AS PARQUET\nLOCATION '%s'\n", url);
    if (days)
        write_days(ddl, url, out);
    buf_add_text(out, ";\n");
}

/* What the table cannot know. */
static void write_notes(const struct ddl *ddl, struct buf *out)
{
    AUTO_TEXT char *skipped = mem_copy_text(buf_text(&ddl->columns.skipped));
    text_sanitize(skipped);
    buf_print(
        out,
        "-- Dataset %s. It shows all objects: also those of batches that are still on their "
        "way,\n-- were withdrawn or replaced (see \"Which batches a reader counts\"). Those "
        "of one batch\n-- are left out by: WHERE \"$path\" NOT LIKE '%%/<batch>-%%'\n",
        ddl->info.id);
    if (*skipped)
        buf_print(out, "-- Left out, for want of a type or of a name that Hive takes: %s\n",
                  skipped);
}

static int print(const struct ddl *ddl)
{
    AUTO_BUF out = BUF_INIT(2 << 20), json = BUF_INIT(8 << 20);
    write_notes(ddl, &out);
    write_statement(ddl, &out);
    if (out.overflow)
        return ctl_refuse(ddl->ctl, 1, "the schema is too large for one statement");
    if (!ddl->ctl->json) {
        fputs(buf_text(&out), stdout);
        return EX_OK;
    }
    json_write_text(&json, buf_text(&out), out.len);
    printf("{\"command\":\"ddl\",\"statement\":%s,\"exit\":0}\n", buf_text(&json));
    return EX_OK;
}

/* ---- the command */

static int look(struct ddl *ddl)
{
    AUTO_JSON *root = NULL;
    int code = ask_init(&ddl->ask, ddl->ctl, false);
    if (code == EX_OK)
        code = lookup_dataset(&ddl->ask, ddl->dataset->id, PROPERTIES, &root, &ddl->object);
    if (code != EX_OK)
        return code;
    dataset_read(ddl->dataset->id, ddl->object, &ddl->info);
    const char *format = ddl->info.format ? ddl->info.format : "parquet";
    if (strcmp(format, "parquet") != 0)
        return ctl_refuse(ddl->ctl, 1,
                          "the files of dataset %s are %s; a table with types wants Parquet",
                          ddl->dataset->id, format);
    code = read_schema(ddl);
    return code == EX_OK ? print(ddl) : code;
}

static int ddl_run(struct ctl *ctl)
{
    struct ddl ddl = { .ctl = ctl, .dataset = ctl_configured(ctl, ctl->word[1]) };
    if (strcmp(ctl->word[0], "athena") != 0)
        return ctl_refuse(ctl, EX_USAGE, "want ddl athena DATASET");
    if (!ddl.dataset)
        return ctl_refuse(ctl, EX_USAGE, "dataset %s is not in the configuration",
                          ctl->word[1]);
    int code = look(&ddl);
    ask_release(&ddl.ask);
    buf_release(&ddl.columns.text);
    buf_release(&ddl.columns.skipped);
    return code;
}
