/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus' text format. Pure. */
#include "daemon/families.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/json.h"

static const struct {
    const char *name, *type, *help;
} row[FAMILIES] = {
#define X(id, name, type, labels, help) { name, #type, help },
    FAMILY_LIST(X)
#undef X
};

void family_begin(struct buf *out, enum family family)
{
    buf_print(out, "# HELP %s %s\n# TYPE %s %s\n", row[family].name, row[family].help,
              row[family].name, row[family].type);
}

/* A label is quoted as a text of JSON is. */
static void print_labels(struct buf *out, const struct label *label, size_t labels)
{
    for (size_t i = 0; i < labels; i++) {
        buf_print(out, "%s%s=", i ? "," : "", label[i].name);
        json_write_text(out, label[i].value, strlen(label[i].value));
    }
}

static void print_sample(struct buf *out, const char *name, const char *suffix,
                         const struct label *label, size_t labels, double value)
{
    buf_print(out, "%s%s", name, suffix);
    if (labels) {
        buf_add_char(out, '{');
        print_labels(out, label, labels);
        buf_add_char(out, '}');
    }
    buf_print(out, " %.15g\n", value);
}

void family_sample(struct buf *out, enum family family, const struct label *label,
                   size_t labels, double value)
{
    print_sample(out, row[family].name, "", label, labels, value);
}

void family_value(struct buf *out, enum family family, double value)
{
    family_begin(out, family);
    family_sample(out, family, NULL, 0, value);
}

static void print_bucket(struct buf *out, const char *name, const struct label *label,
                         size_t labels, const char *bound, int64_t count)
{
    buf_print(out, "%s_bucket{", name);
    print_labels(out, label, labels);
    buf_print(out, "%sle=\"%s\"} %lld\n", labels ? "," : "", bound, (long long)count);
}

void family_histogram(struct buf *out, enum family family, const struct label *label,
                      size_t labels, const struct histogram *histogram)
{
    const char *name = row[family].name;
    int64_t count = 0;
    for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
        char bound[24];
        snprintf(bound, sizeof bound, "%g", histogram_bound_s(i));
        count += histogram->within[i];
        print_bucket(out, name, label, labels, bound, count);
    }
    print_bucket(out, name, label, labels, "+Inf", histogram->count);
    print_sample(out, name, "_sum", label, labels, histogram->sum_s);
    print_sample(out, name, "_count", label, labels, (double)histogram->count);
}
