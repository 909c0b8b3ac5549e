/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key templates. One tokenizer serves check and build: a template is literal text and {fields};
 * only {created:FORMAT} takes an argument, and only conversions that depend on nothing but the time
 * (no locale, no time zone).
 */
#include "lib/s3/key.h"

#include <inttypes.h>
#include <string.h>

#include "lib/base/digest.h"
#include "lib/base/encode.h"

#define FORMAT_MAX   64
#define CONVERSIONS  "YmdHMSjFGV"
#define DIGEST_START "sha256-"
#define DIGEST_LEN   (sizeof DIGEST_START - 1 + (size_t)2 * SHA256_SIZE)
#define GENERATION   "_generation="
#define PLAIN        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._=-"

enum field {
    PREFIX,
    DATASET,
    DATASET_ID,
    BATCH,
    FILE_ID,
    NAME,
    FIELDS,
    CREATED = FIELDS,
    LITERAL
};

/* `foreign`: the value comes from the source and is encoded. */
static const struct {
    const char *name;
    size_t offset;
    bool foreign;
} row[FIELDS] = {
    [PREFIX] = { "prefix", offsetof(struct key_values, prefix), false },
    [DATASET] = { "dataset", offsetof(struct key_values, dataset), false },
    [DATASET_ID] = { "dataset_id", offsetof(struct key_values, dataset_id), true },
    [BATCH] = { "batch", offsetof(struct key_values, batch), true },
    [FILE_ID] = { "file_id", offsetof(struct key_values, file_id), true },
    [NAME] = { "name", offsetof(struct key_values, name), true },
};

struct token {
    enum field field;
    const char *text; /* of a literal, the format of {created:…}, or what could not be read */
    size_t len;
};

/* The text of each field, ready for the key; what had to be encoded is owned. */
struct texts {
    const char *raw[FIELDS];
    char *owned[FIELDS];
};

static enum err next_token(const char **at, struct token *ret, struct fault *fault);
static enum err read_field(const char *text, size_t len, struct token *ret,
                           struct fault *fault);
static enum err check_format(const char *format, size_t len, struct fault *fault);
static enum err check_fields(const bool *seen, bool for_data, struct fault *fault);
static enum err check_shape(const char *template, struct fault *fault);
static void texts_init(struct texts *texts, const struct key_values *values);
static void texts_release(struct texts *texts);
static bool shorten_longest(struct texts *texts);
static void expand(const char *template, const struct texts *texts, struct wall created,
                   struct buf *out);
static size_t generation_at(const char *template);

enum err key_check(const char *template, bool for_data, struct fault *fault)
{
    bool seen[LITERAL + 1] = { false };
    struct token token;
    for (const char *at = template; *at;) {
        enum err err = next_token(&at, &token, fault);
        if (err)
            return err;
        seen[token.field] = true;
    }
    enum err err = check_fields(seen, for_data, fault);
    return err ? err : check_shape(template, fault);
}

void key_build(const char *template, const struct key_values *values, struct buf *out)
{
    AUTO(texts_release) struct texts texts;
    AUTO_BUF key = BUF_INIT(64 * 1024);
    bool replay = values->generation > KEY_GENERATION_1;
    size_t at = replay ? generation_at(template) : 0;
    AUTO_TEXT char *head = mem_copy_bytes(template, at);
    texts_init(&texts, values);
    do {
        buf_clear(&key);
        expand(head, &texts, values->created, &key);
        if (replay)
            buf_print(&key, GENERATION "%" PRId64 "/", values->generation);
        expand(template + at, &texts, values->created, &key);
    } while ((key.len > S3_KEY_MAX || key.overflow) && shorten_longest(&texts));
    buf_add(out, buf_text(&key), key.len);
}

static bool begins(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

void key_encode(struct buf *out, const char *text)
{
    /* A leading dot could hide or climb; "sha256-" is kept for values that were too long, and
     * "_generation=" for the folders of replays. */
    size_t forced = text[0] == '.' || begins(text, DIGEST_START) || begins(text, GENERATION);
    if (!*text)
        buf_add_text(out, "%00"); /* no text holds a NUL, so nothing else gives this */
    for (; *text; forced = 0) {
        size_t plain = forced ? 0 : strspn(text, PLAIN);
        buf_add(out, text, plain);
        text += plain;
        if (*text)
            buf_print(out, "%%%02X", (unsigned char)*text++);
    }
}

/* Reads one token and moves `at` behind it. */
static enum err next_token(const char **at, struct token *ret, struct fault *fault)
{
    const char *start = *at;
    size_t literal = strcspn(start, "{}");
    if (literal > 0) {
        *ret = (struct token){ LITERAL, start, literal };
        *at = start + literal;
        return OK;
    }
    size_t len = strcspn(start + 1, "{}");
    if (*start != '{' || start[1 + len] != '}')
        return fault_set(fault, ERR_CONFIG, "braces do not match at \"%.20s\"", start);
    *at = start + 1 + len + 1;
    return read_field(start + 1, len, ret, fault);
}

static enum err read_field(const char *text, size_t len, struct token *ret, struct fault *fault)
{
    static const char created[] = "created:";
    const size_t created_len = sizeof created - 1;
    if (len >= created_len && memcmp(text, created, created_len) == 0) {
        *ret = (struct token){ CREATED, text + created_len, len - created_len };
        return check_format(ret->text, ret->len, fault);
    }
    for (enum field field = PREFIX; field < FIELDS; field++)
        if (strlen(row[field].name) == len && memcmp(row[field].name, text, len) == 0) {
            *ret = (struct token){ field, text, len };
            return OK;
        }
    return fault_set(fault, ERR_CONFIG,
                     "unknown field {%.*s}: use prefix, dataset, dataset_id, batch, file_id, "
                     "name or created:FORMAT",
                     (int)(len < 30 ? len : 30), text);
}

static enum err check_format(const char *format, size_t len, struct fault *fault)
{
    if (len == 0 || len >= FORMAT_MAX)
        return fault_set(fault, ERR_CONFIG, "{created:FORMAT} takes 1 to %d bytes of format",
                         FORMAT_MAX - 1);
    for (size_t i = 0; i < len; i++) {
        if (format[i] != '%')
            continue;
        if (++i == len || !strchr(CONVERSIONS, format[i]))
            return fault_set(
                fault, ERR_CONFIG,
                "{created:FORMAT} takes the conversions %%Y %%m %%d %%H %%M %%S %%j %%F "
                "%%G %%V only");
    }
    return OK;
}

static enum err check_fields(const bool *seen, bool for_data, struct fault *fault)
{
    if (!for_data && (seen[NAME] || seen[FILE_ID]))
        return fault_set(fault, ERR_CONFIG,
                         "a manifest is of a batch: no {name}, no {file_id}");
    if (!for_data && !seen[BATCH])
        return fault_set(fault, ERR_CONFIG, "needs {batch}, or manifests would meet");
    if (for_data && !(seen[NAME] && (seen[FILE_ID] || seen[BATCH])))
        return fault_set(fault, ERR_CONFIG,
                         "needs {name} and one of {file_id}, {batch}, or files would meet");
    return OK;
}

static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

/* Judges keys as they would come out, with and without a prefix. */
static enum err check_shape(const char *template, struct fault *fault)
{
    struct key_values sample = { .prefix = "",
                                 .dataset = "d",
                                 .dataset_id = "d",
                                 .batch = "b",
                                 .file_id = "f",
                                 .name = "n",
                                 .created = { 1700000000000 } };
    AUTO_BUF bare = BUF_INIT(64 * 1024);
    AUTO_BUF prefixed = BUF_INIT(64 * 1024);
    key_build(template, &sample, &bare);
    sample.prefix = "p/";
    key_build(template, &sample, &prefixed);
    const char *text = buf_text(&prefixed);
    if (buf_text(&bare)[0] == '/')
        return fault_set(fault, ERR_CONFIG,
                         "must not start with \"/\" ({prefix} brings its own)");
    if (strstr(text, "//") || text[strlen(text) - 1] == '/')
        return fault_set(fault, ERR_CONFIG, "must not contain \"//\" or end with \"/\"");
    if (strstr(text, GENERATION))
        return fault_set(fault, ERR_CONFIG,
                         "must not contain " GENERATION
                         ", the folders of replays are named so");
    if (strchr(text, ':') || has_control(text))
        return fault_set(
            fault, ERR_CONFIG,
            "must not contain ':' or control characters (readers stumble on them)");
    return OK;
}

/* ---- generations */

size_t key_head_len(const char *template)
{
    static const char *const fixed[] = { "{prefix}", "{dataset}", "{dataset_id}" };
    size_t len = 0;
    for (;;) {
        size_t i = 0;
        len += strcspn(template + len, "{");
        while (i < 3 && !begins(template + len, fixed[i]))
            i++;
        if (i == 3)
            return len;
        len += strlen(fixed[i]);
    }
}

/* Where in a template the segment of a generation goes; see key.h. */
static size_t generation_at(const char *template)
{
    static const char prefix[] = "{prefix}";
    AUTO_TEXT char *head = mem_copy_bytes(template, key_head_len(template));
    const char *name = strstr(head, "{dataset}"), *id = strstr(head, "{dataset_id}");
    const char *first = name && (!id || name < id) ? name : id;
    const char *slash = first ? strchr(first, '/') : NULL;
    if (slash)
        return (size_t)(slash + 1 - head);
    const char *found = strstr(head, prefix);
    return found ? (size_t)(found - head) + strlen(prefix) : 0;
}

int64_t key_generation(const char *key)
{
    const char *at = strstr(key, GENERATION);
    for (; at; at = strstr(at + 1, GENERATION)) {
        const char *digits = at + strlen(GENERATION);
        size_t len = strspn(digits, "0123456789");
        AUTO_TEXT char *number = mem_copy_bytes(digits, len);
        uint64_t generation;
        if ((at == key || at[-1] == '/') && digits[len] == '/' &&
            parse_u64(number, INT64_MAX, &generation) == OK)
            return (int64_t)generation;
    }
    return KEY_GENERATION_1;
}

static void texts_init(struct texts *texts, const struct key_values *values)
{
    *texts = (struct texts){ 0 };
    for (enum field field = PREFIX; field < FIELDS; field++) {
        const char *value = *(const char *const *)((const char *)values + row[field].offset);
        AUTO_BUF encoded = BUF_INIT(16 * 1024);
        texts->raw[field] = value ? value : "";
        if (!row[field].foreign || !value)
            continue;
        key_encode(&encoded, value);
        texts->owned[field] = buf_take(&encoded);
    }
}

static void texts_release(struct texts *texts)
{
    for (enum field field = PREFIX; field < FIELDS; field++)
        mem_free(texts->owned[field]);
}

/* Replaces the longest foreign value by its digest; false if none would become shorter. */
static bool shorten_longest(struct texts *texts)
{
    enum field longest = FIELDS;
    size_t longest_len = DIGEST_LEN;
    for (enum field field = PREFIX; field < FIELDS; field++) {
        size_t len = texts->owned[field] ? strlen(texts->owned[field]) : 0;
        if (len <= longest_len)
            continue;
        longest = field;
        longest_len = len;
    }
    if (longest == FIELDS)
        return false;
    uint8_t hash[SHA256_SIZE];
    char *text = texts->owned[longest];
    digest_sha256(texts->raw[longest], strlen(texts->raw[longest]), hash);
    memcpy(text, DIGEST_START, sizeof DIGEST_START - 1); /* longer than the digest, as found */
    encode_hex(hash, sizeof hash, text + sizeof DIGEST_START - 1);
    return true;
}

static void expand(const char *template, const struct texts *texts, struct wall created,
                   struct buf *out)
{
    struct fault unused;
    struct token token;
    for (const char *at = template; *at;) {
        char format[FORMAT_MAX], date[2 * FORMAT_MAX];
        if (next_token(&at, &token, &unused))
            return; /* key_check refused this template */
        if (token.field == LITERAL) {
            buf_add(out, token.text, token.len);
        } else if (token.field == CREATED) {
            memcpy(format, token.text, token.len);
            format[token.len] = 0;
            wall_format(created, format, date, sizeof date);
            buf_add_text(out, date);
        } else {
            const char *encoded = texts->owned[token.field];
            buf_add_text(out, encoded ? encoded : texts->raw[token.field]);
        }
    }
}
