/* SPDX-License-Identifier: Apache-2.0 */
/* Text forms of bytes and numbers. Pure. */
#include "lib/base/encode.h"

#include <inttypes.h>
#include <string.h>

#include "lib/base/clock.h"

/* Ascending; a NULL name ends the table. */
struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit size_units[] = {
    { "", 1 }, { "KiB", 1 << 10 }, { "MiB", 1 << 20 }, { "GiB", 1 << 30 }, { NULL, 0 },
};

static const struct unit duration_units[] = {
    { "ms", 1 },      { "s", 1000 },     { "m", 60000 },
    { "h", 3600000 }, { "d", 86400000 }, { NULL, 0 },
};

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static enum err parse_units(const char *text, const struct unit *unit, uint64_t *ret);
static enum err parse_digits(const char *text, size_t digits, uint64_t max, uint64_t *ret);
static bool is_unreserved(char c);

void encode_hex(const void *bytes, size_t len, char *text)
{
    const uint8_t *in = bytes;
    for (size_t i = 0; i < len; i++) {
        *text++ = "0123456789abcdef"[in[i] >> 4];
        *text++ = "0123456789abcdef"[in[i] & 15];
    }
    *text = 0;
}

void encode_base64(const void *bytes, size_t len, char *text)
{
    const uint8_t *in = bytes;
    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        uint32_t bits = (uint32_t)in[i] << 16;
        bits |= have > 1 ? (uint32_t)in[i + 1] << 8 : 0;
        bits |= have > 2 ? in[i + 2] : 0;
        *text++ = base64_digits[bits >> 18];
        *text++ = base64_digits[bits >> 12 & 63];
        *text++ = have > 1 ? base64_digits[bits >> 6 & 63] : '=';
        *text++ = have > 2 ? base64_digits[bits & 63] : '=';
    }
    *text = 0;
}

/* The value of one group of four; false if a digit is foreign. Padding counts as zero bits. */
static bool base64_group(const char *text, size_t digits, uint32_t *ret)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < 4; i++) {
        const char *at = i < digits ? strchr(base64_digits, text[i]) : base64_digits;
        if (!at)
            return false;
        bits = bits << 6 | (uint32_t)(at - base64_digits);
    }
    *ret = bits;
    return true;
}

enum err decode_base64(const char *text, void *bytes, size_t size, size_t *ret_len)
{
    size_t len = strlen(text), pad = 0;
    if (len % 4)
        return ERR_ARGUMENT;
    while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
        pad++;
    size_t total = len / 4 * 3 - pad;
    if (total > size)
        return ERR_ARGUMENT;
    uint8_t *out = bytes;
    for (size_t at = 0, done = 0; at < len; at += 4, done += 3) {
        size_t have = total - done < 3 ? total - done : 3;
        uint32_t bits;
        if (!base64_group(text + at, have + 1, &bits))
            return ERR_ARGUMENT;
        /* Bits that the padding cuts off must be zero, or two texts would mean one value. */
        if (have < 3 && bits << (8 + 8 * have))
            return ERR_ARGUMENT;
        for (size_t i = 0; i < have; i++)
            out[done + i] = (uint8_t)(bits >> (16 - 8 * i));
    }
    *ret_len = total;
    return OK;
}

void encode_percent(struct buf *out, const char *text, size_t len, const char *keep)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (is_unreserved(c) || (c && strchr(keep, c)))
            buf_add_char(out, c);
        else
            buf_print(out, "%%%02X", (unsigned)(uint8_t)c);
    }
}

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '.' || c == '_' || c == '~';
}

enum err parse_u64(const char *text, uint64_t max, uint64_t *ret)
{
    return parse_digits(text, strlen(text), max, ret);
}

static enum err parse_digits(const char *text, size_t digits, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;
    if (!digits)
        return ERR_ARGUMENT;
    for (size_t i = 0; i < digits; i++) {
        unsigned digit = (unsigned)text[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value) || value > max)
            return ERR_ARGUMENT;
    }
    *ret = value;
    return OK;
}

enum err parse_size(const char *text, uint64_t *ret_bytes)
{
    return parse_units(text, size_units, ret_bytes);
}

enum err parse_duration(const char *text, int64_t *ret_ms)
{
    uint64_t ms = 0;
    if (strcmp(text, "0") != 0 && parse_units(text, duration_units, &ms))
        return ERR_ARGUMENT;
    *ret_ms = (int64_t)ms;
    return OK;
}

/* Results stay below 2^63, so that they fit the signed types they end in. */
static enum err parse_units(const char *text, const struct unit *unit, uint64_t *ret)
{
    size_t digits = strspn(text, "0123456789");
    while (unit->name && strcmp(unit->name, text + digits) != 0)
        unit++;
    if (!unit->name)
        return ERR_ARGUMENT;
    uint64_t number, factor = (uint64_t)unit->factor;
    if (parse_digits(text, digits, INT64_MAX / factor, &number))
        return ERR_ARGUMENT;
    *ret = number * factor;
    return OK;
}

static void print_units(struct buf *out, const struct unit *unit, int64_t value)
{
    const struct unit *best = unit;
    for (; unit->name; unit++)
        if (value % unit->factor == 0)
            best = unit;
    buf_print(out, "%" PRId64 "%s", value / best->factor, value ? best->name : "");
}

void print_size(struct buf *out, int64_t bytes)
{
    print_units(out, size_units, bytes);
}

void print_duration(struct buf *out, int64_t ms)
{
    print_units(out, duration_units, ms);
}

int64_t parse_retry_after(const char *text, int64_t now_ms, int64_t cap_ms)
{
    uint64_t seconds;
    struct wall at;
    int64_t ms = 0;
    /* A number too long to fit is still a wish to wait: it gets the cap. */
    if (text[0] && strspn(text, "0123456789") == strlen(text))
        ms = parse_u64(text, INT64_MAX / 1000, &seconds) ? cap_ms : (int64_t)seconds * 1000;
    else if (!wall_parse_http(text, &at))
        ms = at.ms - now_ms;
    if (ms < 0)
        return 0;
    return ms < cap_ms ? ms : cap_ms;
}
