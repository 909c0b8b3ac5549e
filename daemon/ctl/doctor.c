/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl doctor: looks at everything an installation needs, from the secrets to Redis, and
 * asks AEP what its documents leave open. Reads only, and costs about twenty calls.
 */
#include "daemon/ctl/doctor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/aep/grant.h"
#include "lib/aep/token_file.h"

#define TEXT_MAX_BYTES 700
#define STORE_CALLS    2

static int doctor_run(struct ctl *ctl);

const struct ctl_command ctl_doctor = {
    .name = "doctor",
    .arguments = "",
    .run = doctor_run,
    .help = "      looks for what is missing or unusual: secrets, token, clock, permissions,\n"
            "      AEP's habits, the store, Redis\n",
};

static const struct {
    const char *name, *mark;
} row[DOCTOR_FINDINGS] = {
    [DOCTOR_OK] = { "ok", "[ok]  " },
    [DOCTOR_WARN] = { "warn", "[warn]" },
    [DOCTOR_FAIL] = { "fail", "[fail]" },
    [DOCTOR_UNSEEN] = { "unseen", "[ -- ]" },
    [DOCTOR_UNCHECKED] = { "unchecked", "[ ?? ]" },
};

static const struct table_column column[] = {
    { "result", "RESULT", TABLE_TEXT },
    { "check", "CHECK", TABLE_TEXT },
    { "finding", "FINDING", TABLE_TEXT },
    { "hint", "HINT", TABLE_TEXT },
};

/* ---- findings */

void doctor_say(struct doctor *doctor, enum finding finding, const char *what, const char *hint,
                const char *format, ...)
{
    char text[TEXT_MAX_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    doctor->count[finding]++;
    if (doctor->ctl->json) {
        table_row(doctor->table, (const struct table_cell[]){ { .text = row[finding].name },
                                                              { .text = what },
                                                              { .text = text },
                                                              { .text = hint } });
        return;
    }
    AUTO_TEXT char *plain = table_printable(text);
    table_note(doctor->table, "%s %s: %s%s%s%s", row[finding].mark, what, plain,
               hint ? " (" : "", hint ? hint : "", hint ? ")" : "");
    fflush(stdout);
}

void doctor_say_fault(struct doctor *doctor, const char *what, const char *hint,
                      const struct fault *fault)
{
    bool unreachable = ask_exit(fault) == EX_UNAVAILABLE;
    doctor_say(doctor, unreachable ? DOCTOR_UNCHECKED : DOCTOR_FAIL, what,
               unreachable ? NULL : hint, "%s",
               fault->text[0] ? fault->text : err_text(fault->code));
}

/* ---- what needs no network */

/* What a secret file is good for, for people; NULL with a fault. None quotes what it holds. */
static char *look_at_file(const char *file, struct fault *fault)
{
    AUTO(secret_release) struct secret content = { 0 };
    return secret_read_file(file, &content, fault) ? NULL : mem_copy_text("");
}

static char *look_at_client_secret(const char *file, struct fault *fault)
{
    AUTO(secret_release) struct secret content = { 0 };
    struct secret line[CREDENTIAL_SECRETS] = { 0 };
    if (secret_read_file(file, &content, fault))
        return NULL;
    size_t lines = secret_lines(&content, line, CREDENTIAL_SECRETS);
    for (size_t i = 0; i < CREDENTIAL_SECRETS; i++)
        secret_release(&line[i]);
    if (lines == 0 || lines > CREDENTIAL_SECRETS) {
        fault_set(fault, ERR_SECRET,
                  "%s has %zu lines: one client secret in each of one or two", file, lines);
        return NULL;
    }
    return mem_copy_text(lines == 1 ? ": one client secret"
                                    : ": two client secrets, as during a rotation");
}

static char *look_at_credential(const char *file, struct fault *fault)
{
    AUTO(credential_release) struct credential found = { 0 };
    if (grant_read_credential(file, &found, fault))
        return NULL;
    return mem_print(": %s with %zu client secret%s%s", found.shape, found.secrets,
                     found.secrets == 1 ? "" : "s",
                     found.private_key.bytes ? " and a private key" : "");
}

static char *look_at_token(const char *file, struct fault *fault)
{
    AUTO(secret_release) struct secret token = { 0 };
    AUTO_TEXT char *path = mem_copy_text(file);
    struct token_file place = { .path = path };
    int64_t life_ms;
    if (token_file_read(&place, clock_wall(), &token, &life_ms, fault))
        return NULL;
    return mem_print(": a token for %" PRId64 " min", life_ms / 60000);
}

/* `used`: whether the chosen way to a token reads it. */
static void check_secrets(struct doctor *doctor)
{
    const struct settings *settings = &doctor->ctl->settings;
    const bool token = settings->aep.auth == AUTH_TOKEN, jwt = settings->aep.auth == AUTH_JWT;
    const struct {
        const char *what, *file;
        char *(*look)(const char *file, struct fault *fault);
        bool used;
    } secret[] = {
        { "aep.client_secret_file", settings->aep.client_secret_file, look_at_client_secret,
          !token },
        { "aep.credential_file", settings->aep.credential_file, look_at_credential, true },
        { "aep.token_file", settings->aep.token_file, look_at_token, token },
        { "aep.private_key_file", settings->aep.private_key_file, look_at_file, jwt },
        { "s3.credentials_file", settings->s3.credentials_file, look_at_file, true },
        { "redis.password_file", settings->redis.password_file, look_at_file, true },
    };
    for (size_t i = 0; i < sizeof secret / sizeof *secret; i++) {
        struct fault fault = { 0 };
        if (!secret[i].file || !secret[i].used)
            continue;
        AUTO_TEXT char *good = secret[i].look(secret[i].file, &fault);
        if (good)
            doctor_say(doctor, DOCTOR_OK, secret[i].what, NULL,
                       "%s is readable, and by no others%s", secret[i].file, good);
        else
            doctor_say(doctor, DOCTOR_FAIL, secret[i].what, NULL, "%s", fault.text);
    }
}

/* ---- the command */

static void check_all(struct doctor *doctor, const struct fault *fault)
{
    const struct settings *settings = &doctor->ctl->settings;
    doctor_say(doctor, DOCTOR_OK, "configuration", NULL, "%s: %zu datasets, sandbox %s",
               doctor->ctl->config, settings->datasets, settings->aep.sandbox);
    check_secrets(doctor);
    if (settings->datasets == 0)
        doctor_say(doctor, DOCTOR_WARN, "datasets", "sluicectl datasets shows what there is",
                   "none is configured: sluiced would not start");
    if (!doctor->ask.clients.s3 && doctor->count[DOCTOR_FAIL] == 0)
        doctor_say(doctor, DOCTOR_FAIL, "credentials", NULL, "%s", fault->text);
    if (doctor->ask.clients.aep)
        doctor_check_access(doctor);
    if (doctor->dataset) {
        doctor_check_catalog(doctor);
        doctor_check_files(doctor);
    }
    if (doctor->ask.clients.s3)
        doctor_check_store(doctor);
    doctor_check_redis(doctor);
}

static int exit_status(const struct doctor *doctor)
{
    if (doctor->count[DOCTOR_FAIL] > 0)
        return 1;
    return doctor->count[DOCTOR_UNCHECKED] > 0 ? EX_UNAVAILABLE : EX_OK;
}

static int finish(struct doctor *doctor)
{
    table_list_end(doctor->table);
    if (doctor->ctl->json) {
        for (size_t i = 0; i < DOCTOR_FINDINGS; i++)
            table_number(doctor->table, row[i].name, "", doctor->count[i]);
        table_number(doctor->table, "calls", "", doctor->ask.calls);
    }
    table_note(doctor->table,
               "%" PRId64 " ok, %" PRId64 " warnings, %" PRId64 " failures, %" PRId64
               " not checked; %d calls to AEP",
               doctor->count[DOCTOR_OK], doctor->count[DOCTOR_WARN], doctor->count[DOCTOR_FAIL],
               doctor->count[DOCTOR_UNCHECKED], doctor->ask.calls);
    return exit_status(doctor);
}

static int doctor_run(struct ctl *ctl)
{
    struct doctor doctor = { .ctl = ctl, .ask = { .ctl = ctl, .once = true } };
    struct fault fault = { 0 };
    (void)!ctl_clients_init(&doctor.ask.clients, ctl, STORE_CALLS, &fault);
    doctor.table = table_new(ctl);
    table_list(doctor.table, "checks", NULL, column, sizeof column / sizeof *column);
    check_all(&doctor, &fault);
    int code = finish(&doctor);
    ask_release(&doctor.ask);
    mem_free(doctor.batches);
    mem_free(doctor.file_id);
    mem_free(doctor.file_name);
    return table_end(doctor.table, code);
}
