/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests share that talk to AEP: a scripted HTTP server in a thread of its own, one tenant
 * that talks to it, and damaged variants of a text for parsers. The server handles one
 * connection after the other, answers each request by the first row of the script that matches
 * it and has uses left, and keeps everything it was sent.
 */
#ifndef SLUICE_TESTS_AEP_RIG_H
#define SLUICE_TESTS_AEP_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/aep/aep.h"

#define ALWAYS    1000000
#define HANG      "hang" /* as an answer: nothing, until the client gives up */
#define TOKEN_ROW "POST /ims/token/v3"

struct server;

struct rig {
    struct server *server;
    struct loop *loop;
    struct http *http;
    struct aep *aep;
    struct aep_options options;
    char url[64], secret_file[64];
    struct timer guard;
    bool late;
};

/* Once per program, around all tests. */
int rig_setup_libraries(void **state);
int rig_release_libraries(void **state);

void rig_start(struct rig *rig);
void rig_stop(struct rig *rig);
void rig_renew_tenant(struct rig *rig); /* with what `options` say now */
void rig_write_secret(struct rig *rig, const char *secret);

/* ---- the script: rows are tried in the order of their adding */

/* `answer` is the whole of it; NULL: close without a byte. */
void rig_script(struct rig *rig, const char *match, int uses, const char *answer);
/* `headers` are whole lines. */
void rig_answer(struct rig *rig, const char *match, int uses, const char *status,
                const char *headers, const char *body);
void rig_token(struct rig *rig, int uses, const char *token, const char *life);
/* A 200 each time, whose body `write` makes in the server's thread; rig_stop waits for that. */
void rig_compute(struct rig *rig, const char *match, void *owner,
                 void (*write)(void *owner, const char *request, struct buf *body));

int rig_count(struct rig *rig, const char *text); /* how often it came in */

/* ---- the loop */

void rig_turn(struct rig *rig);
void rig_turn_for(struct rig *rig, int64_t ms);

/* Turns the loop until `condition` holds. */
#define SPIN(rig, condition)                                                                   \
    do {                                                                                       \
        while (!(condition)) {                                                                 \
            assert_false((rig)->late);                                                         \
            rig_turn(rig);                                                                     \
        }                                                                                      \
    } while (0)

/* ---- damage */

/* Hands `rounds` damaged variants to `parse`, each in memory of exactly its size. */
void damage_each(const char *text, int rounds, void (*parse)(const char *body, size_t len));

#endif
