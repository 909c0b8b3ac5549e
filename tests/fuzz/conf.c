/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files: what was loaded prints as a file that loads and prints the same. */
#include "lib/base/conf.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

#define OUT_MAX (16 << 20)

struct item {
    char *id;
    int64_t start_ms;
};

struct settings {
    char *text;
    bool flag;
    int64_t number, bytes, ms;
    int choice;
    struct item *item;
    size_t items;
};

#define AT(member) offsetof(struct settings, member)

static const struct conf_row row[] = {
    { "a.text", CONF_TEXT, AT(text), NULL, 1, 40, NULL, 0, "text" },
    { "a.flag", CONF_FLAG, AT(flag), "false", 0, 0, NULL, 0, "flag" },
    { "b.number", CONF_NUMBER, AT(number), "7", 1, 4096, NULL, 0, "number" },
    { "b.bytes", CONF_SIZE, AT(bytes), "8MiB", 0, 0, NULL, 0, "size" },
    { "b.time", CONF_DURATION, AT(ms), "30s", 0, 0, NULL, 0, "duration" },
    { "choice", CONF_CHOICE, AT(choice), "x", 0, 0, "x|yy|zzz", 0, "choice" },
    { "items[].id", CONF_TEXT, offsetof(struct item, id), NULL, 1, 40, NULL, CONF_REQUIRED,
      "id" },
    { "items[].start", CONF_DATE, offsetof(struct item, start_ms), "now", 0, 0, "now", 0,
      "date" },
};
static const struct conf_sequence sequence[] = {
    { "items", sizeof(struct item), AT(item), AT(items), 0, 20 },
};
static const struct conf_table table = { row, sizeof row / sizeof *row, sequence, 1 };

/* False if the text was refused. */
static bool load_and_print(const char *text, size_t len, struct buf *printed)
{
    struct settings settings = { 0 };
    AUTO_BUF errors = BUF_INIT(OUT_MAX);
    enum err err = conf_load_text(&table, "f", text, len, &settings, &errors);
    MUST_HOLD(!err == !errors.len);
    if (!err)
        conf_print(&table, &settings, printed);
    conf_release(&table, &settings);
    return !err;
}

void fuzz_one(const char *bytes, size_t len)
{
    AUTO_BUF first = BUF_INIT(OUT_MAX), second = BUF_INIT(OUT_MAX);
    if (!load_and_print(bytes, len, &first))
        return;
    MUST_HOLD(load_and_print(buf_text(&first), first.len, &second));
    MUST_HOLD(strcmp(buf_text(&first), buf_text(&second)) == 0);
}
