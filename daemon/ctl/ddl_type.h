/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XDM schemas as Hive's types, which Athena, Glue, Spark and Trino read. Pure.
 *
 *   xdm        string int long short byte double float boolean date date-time map array object
 *   Hive       string int bigint smallint tinyint double float boolean date timestamp map<> …
 *
 * JSON Schema says less than meta:xdmType does; what it leaves open becomes the wider type.
 */
#ifndef SLUICE_DAEMON_CTL_DDL_TYPE_H
#define SLUICE_DAEMON_CTL_DDL_TYPE_H

#include "lib/base/json.h"

/* Columns of a schema, "`name` type" each with ",\n" between, two blanks in front. */
struct ddl_columns {
    struct buf text;
    struct buf skipped; /* "path, path": names that no table can have, and what has no type */
    size_t count;
};
void ddl_write_columns(const struct json_t *schema, struct ddl_columns *columns);

#endif
