/* SPDX-License-Identifier: Apache-2.0 */
/* Credential files: texts that can be headers and form fields; no secret in a fault. */
#include "lib/aep/credential.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

static void check_text(const char *text)
{
    if (!text)
        return;
    MUST_HOLD(text[0]);
    fuzz_check_line(text);
}

void fuzz_one(const char *bytes, size_t len)
{
    struct credential found = { .shape = NULL };
    struct fault fault = { 0 };
    if (!fuzz_accepted(credential_parse(bytes, len, &found, &fault), &fault)) {
        MUST_HOLD(!found.shape && !strstr(fault.text, "hush"));
        return;
    }
    MUST_HOLD(found.shape && found.secrets <= CREDENTIAL_SECRETS);
    MUST_HOLD(found.client_id || found.secrets);
    check_text(found.org);
    check_text(found.client_id);
    check_text(found.scopes);
    check_text(found.sandbox);
    check_text(found.environment);
    check_text(found.technical_account);
    check_text(found.key_file);
    for (size_t i = 0; i < found.secrets; i++) {
        MUST_HOLD(strlen(secret_reveal(&found.secret[i])) == found.secret[i].len);
        check_text(secret_reveal(&found.secret[i]));
    }
    credential_release(&found);
}
