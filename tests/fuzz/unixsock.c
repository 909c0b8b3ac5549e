/* SPDX-License-Identifier: Apache-2.0 */
/* Requests on the health socket: decided at the latest at their end, one line, printable. */
#include "lib/net/unixsock_request.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

static void check_answer(const struct unixsock_parsed *parsed)
{
    AUTO_BUF out = BUF_INIT(1 << 16);
    struct unixsock_answer answer = { parsed->status, "text/plain", BUF_INIT(100) };
    buf_add_text(&answer.body, "fine");
    unixsock_answer_write(&out, &parsed->request, &answer);
    MUST_HOLD(!out.overflow && out.len > 0);
    MUST_HOLD(parsed->request.http == (strncmp(out.data, "HTTP/1.1 ", 9) == 0));
    buf_release(&answer.body);
}

static void check_parsed(const struct unixsock_parsed *parsed)
{
    int status = parsed->status;
    MUST_HOLD(status == 200 || status == 400 || status == 405 || status == 431);
    if (status == 200) {
        fuzz_check_line(parsed->request.path);
        fuzz_check_line(parsed->request.query);
        MUST_HOLD(!parsed->request.http || parsed->request.path[0] == '/');
        MUST_HOLD(!parsed->request.http || !strchr(parsed->request.path, '?'));
    }
    check_answer(parsed);
}

void fuzz_one(const char *bytes, size_t len)
{
    struct unixsock_parsed parsed;
    len = len < UNIXSOCK_REQUEST_MAX ? len : UNIXSOCK_REQUEST_MAX;
    if (unixsock_request_parse(bytes, len, false, &parsed))
        check_parsed(&parsed);
    else
        MUST_HOLD(len < UNIXSOCK_REQUEST_MAX);
    if (unixsock_request_parse(bytes, len, true, &parsed))
        check_parsed(&parsed);
    else
        MUST_HOLD(len == 0);
}
