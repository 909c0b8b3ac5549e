/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which keys belong to a dataset and a range, and which of them were met already. Pure.
 */
#ifndef SLUICE_DAEMON_VERIFY_KEYS_H
#define SLUICE_DAEMON_VERIFY_KEYS_H

#include "lib/s3/key.h"

/*
 * A set of texts that keeps 64 bits of the SHA-256 of each: 16 to 32 bytes per text, whatever its
 * length. Among ten million texts the chance that any two meet is below 1 : 300 000.
 */
struct key_set {
    uint64_t *slot; /* 0 = free */
    size_t size, count;
};
bool key_set_add(struct key_set *set, const char *text); /* false: it was there */
bool key_set_has(const struct key_set *set, const char *text);
void key_set_release(struct key_set *set);

/* Whether the keys of a template can be listed day by day: everything in it before the first
 * {created:…} is the same for the whole dataset, and that names the day and nothing smaller. */
bool verify_by_day(const char *template);

/* Whether {dataset}/ or {dataset_id}/ comes before all that differs between its keys, so that no
 * key of another dataset lies in the same folder. */
bool verify_own_folder(const char *template);

/* How the keys of a template are looked for. */
enum verify_width {
    VERIFY_DAYS,  /* what they begin with, per UTC day of the range */
    VERIFY_BEGIN, /* what all of them begin with */
    VERIFY_FOLDER /* the folder of all, whatever else is in it */
};

/* The prefixes to list, none twice. Of `values` prefix, dataset and dataset_id are used. */
struct verify_prefixes {
    char **prefix;
    size_t count;
};
void verify_prefixes(const char *template, const struct key_values *values,
                     enum verify_width width, int64_t from, int64_t to,
                     struct verify_prefixes *ret);
void verify_prefixes_release(struct verify_prefixes *prefixes);

/* Whether a key lies in a folder of housekeeping: one of its segments is "_sluice". */
bool verify_is_housekeeping(const char *key);

#endif
