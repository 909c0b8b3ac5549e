/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl health: what the daemon says of itself, and the exit status that follows. */
#include <stdio.h>
#include <string.h>

#include "daemon/ctl/socket.h"
#include "daemon/ctl/terminal.h"

static int health_run(struct ctl *ctl);

const struct ctl_command ctl_health = {
    .name = "health",
    .arguments = "",
    .run = health_run,
    .help = "      the daemon's checks: 0 ready, 1 not ready, 69 no answer\n",
};

/* Lines "[+] …", "[!] …", "[-] …": the mark in colour, the rest as it came. */
static void put_line(const char *line, size_t len, bool colours)
{
    static const struct {
        const char *mark, *colour;
    } row[] = { { "[+]", "\033[32m" }, { "[!]", "\033[33m" }, { "[-]", "\033[31m" } };
    for (size_t i = 0; colours && i < sizeof row / sizeof *row; i++)
        if (len >= 3 && strncmp(line, row[i].mark, 3) == 0) {
            printf("%s%s\033[0m", row[i].colour, row[i].mark);
            line += 3;
            len -= 3;
            break;
        }
    printf("%.*s\n", (int)len, line);
}

static void put_json(const struct buf *body, int code)
{
    AUTO_BUF out = BUF_INIT(1 << 20);
    buf_add_text(&out, "{\"command\":\"health\",\"ready\":");
    buf_print(&out, "%s,\"text\":", code == EX_OK ? "true" : "false");
    json_write_text(&out, buf_text(body), body->len);
    printf("%s,\"exit\":%d}\n", buf_text(&out), code);
}

static int health_run(struct ctl *ctl)
{
    AUTO_BUF body = { 0 };
    struct fault fault = { 0 };
    int status;
    if (socket_ask(ctl, "/readyz?verbose", &status, &body, &fault))
        return ctl_refuse(ctl, EX_UNAVAILABLE, "%s", fault.text);
    int code = status == 200 ? EX_OK : status == 503 ? 1 : EX_UNAVAILABLE;
    if (ctl->json) {
        put_json(&body, code);
        return code;
    }
    bool colours = terminal_colours();
    const char *line = buf_text(&body);
    for (size_t len; *line; line += len + (line[len] == '\n')) {
        len = strcspn(line, "\n");
        put_line(line, len, colours);
    }
    return code;
}
