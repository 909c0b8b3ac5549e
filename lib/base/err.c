/* SPDX-License-Identifier: Apache-2.0 */
/* The error rows and the one-line detail that travels with them. Pure. */
#include "lib/base/err.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *name;
    enum action action;
    const char *text;
} row[ERR_COUNT] = {
#define X(code, name, action, text) [code] = { name, ACT_##action, text },
    ERR_LIST(X)
#undef X
};

const char *err_name(enum err code)
{
    return code < ERR_COUNT ? row[code].name : "unknown";
}

const char *err_text(enum err code)
{
    return code < ERR_COUNT ? row[code].text : "unknown error";
}

enum action err_action(enum err code)
{
    return code < ERR_COUNT ? row[code].action : ACT_BUG;
}

void text_sanitize(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
            *text = '?';
}

enum err fault_set(struct fault *fault, enum err code, const char *format, ...)
{
    va_list args;
    fault->code = code;
    va_start(args, format);
    vsnprintf(fault->text, sizeof fault->text, format, args);
    va_end(args);
    text_sanitize(fault->text);
    return code;
}
