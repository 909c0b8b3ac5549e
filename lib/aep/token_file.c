/* SPDX-License-Identifier: Apache-2.0 */
/* A ready access token, kept fresh by somebody else. */
#include "lib/aep/token_file.h"

#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "lib/aep/ims.h"
#include "lib/aep/jwt.h"

#define LOOK_MS         1000
#define LIFE_UNKNOWN_MS (365LL * 24 * 60 * 60 * 1000)

/* What differs between two files of one name, or between two contents of one file. */
static void take_stamp(const char *path, int64_t stamp[4])
{
    struct stat st = { 0 };
    int missing = stat(path, &st);
    stamp[0] = missing ? -1 : (int64_t)st.st_ino;
    stamp[1] = (int64_t)st.st_size;
    stamp[2] = (int64_t)st.st_mtim.tv_sec;
    stamp[3] = (int64_t)st.st_mtim.tv_nsec;
}

bool token_file_changed(struct token_file *file, struct mono now)
{
    int64_t stamp[4];
    if (!file->path || mono_ms_between(file->looked_at, now) < LOOK_MS)
        return false;
    file->looked_at = now;
    take_stamp(file->path, stamp);
    return memcmp(stamp, file->stamp, sizeof stamp) != 0;
}

static const char *without_scheme(const char *text)
{
    const size_t len = strlen("Bearer");
    if (strncasecmp(text, "Bearer", len) != 0 || (text[len] != ' ' && text[len] != 0))
        return text;
    return text + len + strspn(text + len, " ");
}

enum err token_file_read(struct token_file *file, struct wall now, struct secret *ret_token,
                         int64_t *ret_life_ms, struct fault *fault)
{
    AUTO(secret_release) struct secret text = { 0 };
    AUTO(secret_release) struct secret line = { 0 };
    struct wall end;
    /* Before reading: what is written meanwhile counts as a change. */
    take_stamp(file->path, file->stamp);
    if (secret_read_file(file->path, &text, fault))
        return fault->code;
    size_t lines = secret_lines(&text, &line, 1);
    const char *token = lines == 1 ? without_scheme(secret_reveal(&line)) : "";
    if (!ims_token_valid(token, strlen(token)))
        return fault_set(fault, ERR_SECRET,
                         "token file %s must hold an access token and nothing else",
                         file->path);
    int64_t life_ms = jwt_expiry(token, &end) ? end.ms - now.ms : LIFE_UNKNOWN_MS;
    if (life_ms <= 0)
        return fault_set(fault, ERR_CREDENTIAL,
                         "the token in %s is over since %lld s: write a new one", file->path,
                         (long long)(-life_ms / 1000));
    secret_set(ret_token, token, strlen(token));
    *ret_life_ms = life_ms < LIFE_UNKNOWN_MS ? life_ms : LIFE_UNKNOWN_MS;
    return OK;
}
