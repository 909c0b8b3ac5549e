/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schemas, read for people: where a dataset's schema is to be had, and its fields as a flat list.
 * The order of the ETL integration guide, with today's registry in front:
 *
 *   schemaRef          GET /data/foundation/schemaregistry/{tenant|global}/schemas/{id}
 *                      Accept: application/vnd.adobe.xed-full+json; version=N
 *   schema             GET /data/foundation/catalog/xdms/…?expansion=xdm   (removed in 2019)
 *   observableSchema   of the dataset: what was really seen in its files
 *   fields             of the dataset, only where it has no schema         (removed in 2019)
 *
 * Source: Schema Registry API reference; the guide "ETL integration". Pure.
 */
#ifndef SLUICE_AEP_SCHEMA_H
#define SLUICE_AEP_SCHEMA_H

#include "lib/base/json.h"

#define SCHEMA_ID_MAX 400

/* A URI ($id) or a meta:altId ("_tenant.schemas.…"); a dataset's id is neither. */
bool schema_id_valid(const char *text);

/* N of "…;version=N", with any blanks; 1 if it says none. NULL is fine. */
int schema_version(const char *content_type);

/* What goes into Accept and into the path. */
void schema_write_accept(struct buf *out, int version);
void schema_write_path(struct buf *out, bool global, const char *id);
/* "@/xdms/context/person" → the path of old; false if the link is of another form. */
bool schema_write_xdm_path(struct buf *out, const char *link);

struct schema_field {
    const char *path;  /* a.b, list[].c, map{}.d */
    const char *type;  /* "string", "array of integer", "string|null", "object" */
    const char *xdm;   /* meta:xdmType or format; NULL = nothing beyond the type */
    const char *title; /* NULL = none */
    bool required;
};
/*
 * Calls `visit` for each field that has none below it, in the order of the document. Accepts a
 * JSON schema (properties, items, additionalProperties, allOf), or the bare array of `fields`.
 * Returns how many there were.
 */
size_t schema_walk(const struct json_t *schema, void *owner,
                   void (*visit)(void *owner, const struct schema_field *field));

#endif
