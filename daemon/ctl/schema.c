/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl schema: the fields of a schema, or of a dataset's schema, as a flat list. Where a
 * dataset's schema is looked for, in the order of the ETL guide, is the table `source`; a source
 * that fails is named on standard error, and the next one is asked.
 */
#include <string.h>

#include "daemon/ctl/lookup.h"
#include "daemon/ctl/table.h"
#include "lib/aep/schema.h"

#define PROPERTIES "name,schemaRef,schema,observableSchema,fields"

struct schema_run {
    struct ctl *ctl;
    struct ask ask;
    struct table *table;
    struct dataset_info info;
    const struct json_t *dataset; /* its object; NULL: a schema was named itself */
    const char *id;               /* of the schema */
    int version;
    struct json_t *answer; /* owned */
    const struct json_t *schema;
    const char *container;
};

static int schema_run(struct ctl *ctl);

const struct ctl_command ctl_schema = {
    .name = "schema",
    .arguments = "DATASET|SCHEMA [--observed]",
    .words_min = 1,
    .words_max = 1,
    .flags = CTL_OBSERVED,
    .run = schema_run,
    .help = "      fields and types of a schema; --observed: of what was seen in the files\n",
};

/* Fills run->schema. ERR_ARGUMENT: the dataset has no such thing, nothing was asked. */
static enum err from_registry(struct schema_run *run);
static enum err from_xdms(struct schema_run *run);
static enum err from_observed(struct schema_run *run);
static enum err from_fields(struct schema_run *run);

static const struct {
    const char *name;
    enum err (*look)(struct schema_run *run);
} source[] = {
    { "schemaRef", from_registry },
    { "schema (deprecated)", from_xdms },
    { "observableSchema", from_observed },
    { "fields (deprecated)", from_fields },
};
#define SOURCES  (sizeof source / sizeof *source)
#define OBSERVED 2

/* ---- sources */

static enum err ask_container(struct schema_run *run, bool global)
{
    AUTO_BUF accept = BUF_INIT(100), path = BUF_INIT(2000);
    schema_write_accept(&accept, run->version);
    schema_write_path(&path, global, run->id);
    enum err err =
        ask_json(&run->ask, AEP_SCHEMA, buf_text(&accept), buf_text(&path), &run->answer);
    if (!err) {
        run->schema = run->answer;
        run->container = global ? "global" : "tenant";
    }
    return err;
}

static enum err from_registry(struct schema_run *run)
{
    if (!run->id || !schema_id_valid(run->id))
        return ERR_ARGUMENT;
    enum err err = ask_container(run, false);
    return err == ERR_NOT_FOUND ? ask_container(run, true) : err;
}

static enum err from_xdms(struct schema_run *run)
{
    AUTO_BUF path = BUF_INIT(2000);
    if (!run->info.schema_link || !schema_write_xdm_path(&path, run->info.schema_link))
        return ERR_ARGUMENT;
    enum err err = ask_json(&run->ask, AEP_CATALOG, NULL, buf_text(&path), &run->answer);
    if (!err)
        run->schema = run->answer;
    return err;
}

static enum err from_member(struct schema_run *run, const char *name)
{
    const struct json_t *schema = json_member(run->dataset, name);
    if (json_count(schema) == 0)
        return ERR_ARGUMENT;
    run->schema = schema;
    return OK;
}

static enum err from_observed(struct schema_run *run)
{
    return from_member(run, "observableSchema");
}

/* Only of datasets without a schema do they mean anything. */
static enum err from_fields(struct schema_run *run)
{
    bool has_schema = run->info.schema_id || run->info.schema_link;
    return has_schema ? ERR_ARGUMENT : from_member(run, "fields");
}

/* ---- what is shown */

static void on_field(void *owner, const struct schema_field *field)
{
    struct schema_run *run = owner;
    const struct table_cell cell[] = { { .text = field->path },
                                       { .text = field->type },
                                       { .text = field->xdm },
                                       { .text = field->required ? "yes" : NULL },
                                       { .text = field->title } };
    table_row(run->table, cell);
}

static int show(struct schema_run *run, const char *name)
{
    static const struct table_column column[] = {
        { "path", "FIELD", TABLE_TEXT },   { "type", "TYPE", TABLE_TEXT },
        { "xdm", "XDM TYPE", TABLE_TEXT }, { "required", "REQUIRED", TABLE_TEXT },
        { "title", "TITLE", TABLE_TEXT },
    };
    bool registry = run->container;
    table_text(run->table, "dataset", "dataset", run->dataset ? run->info.id : NULL);
    table_text(run->table, "dataset_name", "name", run->dataset ? run->info.name : NULL);
    table_text(run->table, "schema", "schema", run->id ? run->id : run->info.schema_link);
    table_text(run->table, "title", "title", json_member_text(run->schema, "title"));
    table_text(run->table, "source", "source", name);
    table_text(run->table, "container", "container", run->container);
    table_text(run->table, "version", "version", json_member_text(run->schema, "version"));
    table_number(run->table, "asked_version", "version asked", registry ? run->version : -1);
    table_list(run->table, "fields", "", column, sizeof column / sizeof *column);
    schema_walk(run->schema, run, on_field);
    table_list_end(run->table);
    return EX_OK;
}

/* ---- the order */

static int no_schema(const struct schema_run *run)
{
    return ctl_refuse(
        run->ctl, EX_NOINPUT,
        "dataset %s names no schema: no schemaRef, schema, observableSchema, fields",
        run->info.id);
}

/* The first source that answers; else the status of the first that failed. */
static int by_dataset(struct schema_run *run)
{
    int code = EX_OK;
    for (size_t i = 0; i < SOURCES; i++) {
        enum err err = source[i].look(run);
        if (!err)
            return show(run, source[i].name);
        if (err == ERR_ARGUMENT)
            continue;
        int refused = ask_refuse(&run->ask, source[i].name);
        code = code ? code : refused;
    }
    return code ? code : no_schema(run);
}

static int by_observation(struct schema_run *run)
{
    if (from_observed(run) == OK)
        return show(run, source[OBSERVED].name);
    return ctl_refuse(run->ctl, EX_NOINPUT,
                      "Catalog has no observableSchema of dataset %s; leave out --observed",
                      run->info.id);
}

static int by_id(struct schema_run *run)
{
    enum err err = from_registry(run);
    if (!err)
        return show(run, "Schema Registry");
    if (err == ERR_NOT_FOUND)
        return ctl_refuse(run->ctl, EX_NOINPUT,
                          "neither the tenant's nor the global container has schema %s; "
                          "sluicectl dataset ID names the schema of a dataset",
                          run->id);
    return ask_refuse(&run->ask, run->id);
}

static int look(struct schema_run *run, const char *dataset)
{
    AUTO_JSON *root = NULL;
    int code = ask_init(&run->ask, run->ctl, false);
    if (code != EX_OK)
        return code;
    if (!dataset)
        return by_id(run);
    code = lookup_dataset(&run->ask, dataset, PROPERTIES, &root, &run->dataset);
    if (code != EX_OK)
        return code;
    dataset_read(dataset, run->dataset, &run->info);
    run->id = run->info.schema_id;
    run->version = schema_version(run->info.schema_type);
    return run->ctl->flags & CTL_OBSERVED ? by_observation(run) : by_dataset(run);
}

static int schema_run(struct ctl *ctl)
{
    const char *word = ctl->word[0], *dataset = ask_dataset(ctl, word);
    struct schema_run run = { .ctl = ctl, .version = 1 };
    bool named = dataset && strcmp(dataset, word) != 0;
    if (!named && schema_id_valid(word)) {
        run.id = word;
        dataset = NULL;
    } else if (!dataset) {
        return ask_no_dataset(ctl, word);
    }
    if (!dataset && (ctl->flags & CTL_OBSERVED))
        return ctl_refuse(ctl, EX_USAGE, "--observed wants a dataset, not a schema");
    run.table = table_new(ctl);
    int code = look(&run, dataset);
    ask_release(&run.ask);
    json_release(&run.answer);
    return table_end(run.table, code);
}
