/* SPDX-License-Identifier: Apache-2.0 */
/* S3 credentials: environment, profiles of a shared file, and sentences that name the fix. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/s3/creds.h"

static char path[] = "/tmp/test_creds.XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    close(fd);
    return fd < 0;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static void put(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void assert_loaded(const char *file, const char *profile, const char *access_key,
                          const char *secret_key, const char *token)
{
    struct s3_credentials got = { 0 };
    struct fault fault = { 0 };
    assert_int_equal(s3_credentials_load(file, profile, &got, &fault), OK);
    assert_string_equal(got.access_key, access_key);
    assert_string_equal(secret_reveal(&got.secret_key), secret_key);
    if (token)
        assert_string_equal(secret_reveal(&got.session_token), token);
    else
        assert_null(secret_reveal(&got.session_token));
    s3_credentials_release(&got);
    assert_null(got.access_key);
    assert_null(secret_reveal(&got.secret_key));
}

/* Refused with a sentence that contains `why` and no secret; the result is not touched. */
static void assert_refused(const char *file, const char *profile, const char *why)
{
    char untouched[] = "untouched";
    struct s3_credentials got = { .access_key = untouched };
    struct fault fault = { 0 };
    assert_int_equal(s3_credentials_load(file, profile, &got, &fault), ERR_SECRET);
    print_message("%s\n", fault.text);
    assert_non_null(strstr(fault.text, why));
    assert_null(strstr(fault.text, "HIDDEN"));
    assert_ptr_equal(got.access_key, untouched);
}

static void profiles_are_found(void **state)
{
    (void)state;
    put("# comment\n[default]\naws_access_key_id = AK1\naws_secret_access_key=S/1+=\n\n"
        "; comment\n[ two ]\r\nAWS_ACCESS_KEY_ID=AK2\r\naws_secret_access_key = S2 \r\n"
        "aws_session_token = T2\r\nregion = eu-west-1\r\ns3 =\r\n"
        "  aws_access_key_id = nested\r\n[three]\naws_access_key_id=AK3\n");
    assert_loaded(path, NULL, "AK1", "S/1+=", NULL);
    assert_loaded(path, "two", "AK2", "S2", "T2");
}

static void refusals_name_the_fix(void **state)
{
    (void)state;
    put("[default]\naws_access_key_id = AK1\n[role]\nrole_arn = arn:aws:iam::1:role/x\n"
        "[blank]\naws_access_key_id = A K\naws_secret_access_key = HIDDEN\n"
        "[umlaut]\naws_access_key_id = AK\naws_secret_access_key = HIDDEN\xc3\xa9\n");
    assert_refused(path, "none", "has no profile [none]");
    assert_refused(path, "defaul", "has no profile");
    assert_refused(path, NULL, "lacks aws_access_key_id or aws_secret_access_key");
    assert_refused(path, "role", "only static keys");
    assert_refused(path, "blank", "blanks");
    assert_refused(path, "umlaut", "ASCII");
    put("aws_access_key_id = AK\naws_secret_access_key = HIDDEN\n");
    assert_refused(path, NULL, "has no profile [default]");
    assert_refused("/nonexistent/credentials", NULL, "/nonexistent/credentials");
}

static void open_files_are_refused(void **state)
{
    (void)state;
    put("[default]\naws_access_key_id = AK\naws_secret_access_key = HIDDEN\n");
    assert_int_equal(chmod(path, 0644), 0);
    assert_refused(path, NULL, "chmod");
    assert_int_equal(chmod(path, 0600), 0);
}

static void the_environment_serves_without_a_file(void **state)
{
    (void)state;
    unsetenv("AWS_ACCESS_KEY_ID");
    setenv("AWS_SECRET_ACCESS_KEY", "HIDDEN", 1);
    unsetenv("AWS_SESSION_TOKEN");
    assert_refused(NULL, NULL, "s3.credentials_file");
    setenv("AWS_ACCESS_KEY_ID", "AK", 1);
    assert_loaded(NULL, "ignored", "AK", "HIDDEN", NULL);
    setenv("AWS_SESSION_TOKEN", "", 1);
    assert_loaded(NULL, NULL, "AK", "HIDDEN", NULL);
    setenv("AWS_SESSION_TOKEN", "T", 1);
    assert_loaded(NULL, NULL, "AK", "HIDDEN", "T");
    setenv("AWS_SECRET_ACCESS_KEY", "HIDDEN\n", 1);
    assert_refused(NULL, NULL, "environment contain blanks");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(profiles_are_found),
        cmocka_unit_test(refusals_name_the_fix),
        cmocka_unit_test(open_files_are_refused),
        cmocka_unit_test(the_environment_serves_without_a_file),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
