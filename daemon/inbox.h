/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operators' commands that arrive as list elements (LPUSH <prefix>inbox …), in JSON
 * ({"op":"backfill","dataset":"…","from":"…","to":"…"}) or plain words ("backfill … … …"). Every
 * element is either run or kept in <prefix>inbox:rejected with the reason; the removal and the
 * verdict are one step in Redis, so that nothing is lost or run twice.
 */
#ifndef SLUICE_DAEMON_INBOX_H
#define SLUICE_DAEMON_INBOX_H

#include "daemon/core.h"

struct inbox;
struct inbox *inbox_new(struct core *core);
void inbox_free(struct inbox *inbox);
void inbox_look(struct inbox *inbox); /* works until the list is empty */

#define INBOX_WORDS 6
#define INBOX_MAX   4096

/*
 * Splits an element into words: the verb first, then its arguments in order. A 0 byte follows
 * `raw`. Words point into `storage`. ERR_ARGUMENT with the reason for the operator. Pure.
 */
enum err inbox_parse(const char *raw, size_t len, struct buf *storage,
                     const char *word[INBOX_WORDS], size_t *ret_words,
                     struct fault *fault) MUST_CHECK;

#endif
