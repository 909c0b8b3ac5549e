/* SPDX-License-Identifier: Apache-2.0 */
/* Small texts of configurations, headers and pages: dates, sizes, durations, Retry-After. */
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/encode.h"
#include "tests/fuzz/fuzz.h"

#define HOUR_MS (60 * 60 * 1000)
#define NOW_MS  1700000000000

static void check_dates(const char *text)
{
    struct wall at = { -7 }, again = { 0 };
    char written[WALL_TEXT_SIZE];
    if (wall_parse(text, &at) == OK) {
        MUST_HOLD(wall_parse(wall_text(at, written), &again) == OK);
        MUST_HOLD(again.ms == at.ms);
        at.ms = -7;
    }
    if (wall_parse_http(text, &again))
        return;
    MUST_HOLD(again.ms % 1000 == 0 && at.ms == -7);
}

static void check_base64(const char *text)
{
    uint8_t bytes[64];
    char again[4 * ((sizeof bytes + 2) / 3) + 1];
    size_t len = 0;
    if (decode_base64(text, bytes, sizeof bytes, &len))
        return;
    MUST_HOLD(len <= sizeof bytes);
    encode_base64(bytes, len, again);
    MUST_HOLD(strcmp(again, text) == 0);
}

static void check_numbers(const char *text)
{
    uint64_t number = 7;
    int64_t ms = 7;
    AUTO_BUF out = BUF_INIT(64);
    if (parse_u64(text, 1000, &number) == OK)
        MUST_HOLD(number <= 1000);
    if (parse_size(text, &number) == OK && number <= INT64_MAX) {
        uint64_t again = 7;
        print_size(&out, (int64_t)number);
        MUST_HOLD(parse_size(buf_text(&out), &again) == OK && again == number);
    }
    buf_clear(&out);
    if (parse_duration(text, &ms) == OK) {
        int64_t again = 7;
        MUST_HOLD(ms >= 0);
        print_duration(&out, ms);
        MUST_HOLD(parse_duration(buf_text(&out), &again) == OK && again == ms);
    }
    ms = parse_retry_after(text, NOW_MS, HOUR_MS);
    MUST_HOLD(ms >= 0 && ms <= HOUR_MS);
}

void fuzz_one(const char *bytes, size_t len)
{
    AUTO_TEXT char *text = mem_copy_bytes(bytes, len);
    check_dates(text);
    check_base64(text);
    check_numbers(text);
}
