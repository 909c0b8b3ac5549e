/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP over the daemon's unix socket, one question at a time. */
#include "daemon/ctl/socket.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_MS 5000
#define BODY_MAX   (4 * 1024 * 1024)

struct question {
    struct http_req http;
    struct loop *loop;
    bool over;
};

static void on_answer(struct http_req *req)
{
    struct question *question = container_of(req, struct question, http);
    question->over = true;
    loop_stop(question->loop);
}

/* What curl says of a unix socket is about hosts and ports. */
static enum err say_why(const char *path, const struct fault *why, struct fault *fault)
{
    if (why->code != ERR_CONNECT)
        return fault_set(fault, why->code, "no answer on %s: %s", path, err_text(why->code));
    if (access(path, F_OK))
        return fault_set(
            fault, why->code,
            "no answer: there is no %s; sluiced is not running, or health.socket is "
            "another one",
            path);
    if (access(path, W_OK))
        return fault_set(fault, why->code,
                         "no answer: you may not use %s; be root, or in the socket's group",
                         path);
    return fault_set(fault, why->code, "no answer on %s: sluiced is not running", path);
}

enum err socket_ask(struct ctl *ctl, const char *target, int *ret_status, struct buf *ret_body,
                    struct fault *fault)
{
    struct http_options options = { .plain_http = true,
                                    .unix_socket = ctl->settings.health.socket,
                                    .max_connections = 1,
                                    .connect_timeout_ms = TIMEOUT_MS };
    AUTO_TEXT char *url = mem_print("http://sluiced%s", target);
    struct http *http = http_new(ctl->loop, &options);
    struct question question = { .loop = ctl->loop,
                                 .http = { .method = "GET",
                                           .url = url,
                                           .timeout_ms = TIMEOUT_MS,
                                           .max_body = BODY_MAX,
                                           .done = on_answer } };
    http_start(http, &question.http);
    while (!question.over)
        loop_run(ctl->loop);
    enum err err = question.http.result;
    if (err) {
        err = say_why(options.unix_socket, &question.http.fault, fault);
    } else {
        *ret_status = question.http.status;
        *ret_body = question.http.content;
        question.http.content = (struct buf){ .max = 0 };
    }
    http_req_release(&question.http);
    http_free(http);
    return err;
}

enum err socket_status(struct ctl *ctl, struct json_t **ret, struct fault *fault)
{
    AUTO_BUF body = { 0 };
    int status;
    enum err err = socket_ask(ctl, "/status", &status, &body, fault);
    if (!err && status != 200)
        err = fault_set(fault, ERR_BAD_RESPONSE, "/status answered %d", status);
    return err ? err : json_parse(buf_text(&body), body.len, BODY_MAX, ret, fault);
}

/* Whether a line is of this metric, and where its labels begin: name{…} value, or name value. */
static bool is_of(const char *line, const char *name, const char *label)
{
    size_t len = strlen(name);
    if (strncmp(line, name, len) != 0 || (line[len] != '{' && line[len] != ' '))
        return false;
    const char *found = label ? strstr(line + len, label) : line;
    return found && found < line + strcspn(line, "\n");
}

bool socket_metric(const char *metrics, const char *name, const char *label, double *ret)
{
    bool found = false;
    double sum = 0;
    for (const char *line = metrics; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!is_of(line, name, label))
            continue;
        size_t len = strcspn(line, "\n");
        while (len > 0 && line[len - 1] != ' ')
            len--;
        sum += strtod(line + len, NULL);
        found = true;
    }
    if (found)
        *ret = sum;
    return found;
}

double socket_number(const struct json_t *object, const char *name, double absent)
{
    AUTO_BUF text = BUF_INIT(64);
    const struct json_t *value = json_member(object, name);
    if (!value || json_is_object(value) || json_is_array(value) || json_is_string(value))
        return absent;
    json_write(&text, value);
    char *end;
    double number = strtod(buf_text(&text), &end);
    return end > buf_text(&text) && !*end ? number : absent;
}

bool socket_flag(const struct json_t *object, const char *name)
{
    AUTO_BUF text = BUF_INIT(64);
    json_write(&text, json_member(object, name));
    return strcmp(buf_text(&text), "true") == 0;
}
