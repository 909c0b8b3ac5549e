/* SPDX-License-Identifier: Apache-2.0 */
/* Internal to log: one event and its forms. Pure, and without allocation. */
#ifndef SLUICE_BASE_LOG_LINE_H
#define SLUICE_BASE_LOG_LINE_H

#include "lib/base/clock.h"
#include "lib/base/log.h"

#define LOG_LINE_SIZE  2048
#define LOG_FORM_SIZE  4096 /* of any form: what poll promises room for in a pipe (PIPE_BUF) */
#define LOG_EVENT_SIZE 64

struct log_line {
    enum log_level level;
    struct wall at;
    char object[300];
    char event[LOG_EVENT_SIZE]; /* "" if the format begins with a value */
    char message[LOG_LINE_SIZE];
    struct log_subject subject;
};

/* The words of a format before its first key or value: "put back error=%s" gives "put back". */
void log_event_name(const char *format, char name[LOG_EVENT_SIZE]);

/* Each returns the length; texts have to be printable ASCII. */
size_t log_form_text(const struct log_line *line, char out[LOG_FORM_SIZE]);
size_t log_form_json(const struct log_line *line, char out[LOG_FORM_SIZE]);
size_t log_form_journal(const struct log_line *line, char out[LOG_FORM_SIZE]);

#endif
