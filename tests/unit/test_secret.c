/* SPDX-License-Identifier: Apache-2.0 */
/* Secret files: what is read, and every way in which a file is refused with a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/mem.h"
#include "lib/base/secret.h"

static char directory[] = "/tmp/test_secret.XXXXXX";
static char path[sizeof directory + 16], link_path[sizeof directory + 16];

static int make_directory(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/file", directory);
    snprintf(link_path, sizeof link_path, "%s/link", directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory);
}

static void put(const char *bytes, size_t len, mode_t mode)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void assert_read(const char *expected, size_t len)
{
    struct secret secret = { 0 };
    struct fault fault = { 0 };
    assert_int_equal(secret_read_file(path, &secret, &fault), OK);
    assert_int_equal(secret.len, len);
    assert_memory_equal(secret_reveal(&secret), expected, len + 1);
    secret_release(&secret);
    assert_null(secret_reveal(&secret));
    assert_int_equal(secret.len, 0);
}

/* The file is refused, the fault names it and says `why`, and an older secret survives. */
static void assert_refused(const char *file, const char *why)
{
    struct secret secret = { 0 };
    struct fault fault = { 0 };
    secret_set(&secret, "old", 3);
    assert_int_equal(secret_read_file(file, &secret, &fault), ERR_SECRET);
    assert_int_equal(fault.code, ERR_SECRET);
    assert_non_null(strstr(fault.text, file));
    assert_non_null(strstr(fault.text, why));
    assert_null(strstr(fault.text, "hunter2"));
    assert_string_equal(secret_reveal(&secret), "old");
    secret_release(&secret);
}

static void one_newline_is_cut(void **state)
{
    (void)state;
    put("hunter2", 7, 0600);
    assert_read("hunter2", 7);
    put("hunter2\n", 8, 0400);
    assert_read("hunter2", 7);
    put("hunter2\n\n", 9, 0640);
    assert_read("hunter2\n", 8);
}

static void open_files_are_refused(void **state)
{
    (void)state;
    static const mode_t bad[] = { 0604, 0644, 0620, 0602, 0666 };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put("hunter2", 7, bad[i]);
        assert_refused(path, "chmod 0600");
    }
}

static void empty_and_broken_content_is_refused(void **state)
{
    (void)state;
    put("", 0, 0600);
    assert_refused(path, "is empty");
    put("\n", 1, 0600);
    assert_refused(path, "is empty");
    put("hunter2\0x", 9, 0600);
    assert_refused(path, "NUL");
}

static void size_has_a_limit(void **state)
{
    (void)state;
    AUTO_TEXT char *bytes = mem_alloc(SECRET_FILE_MAX + 2);
    memset(bytes, 'x', SECRET_FILE_MAX + 1);
    put(bytes, SECRET_FILE_MAX + 1, 0600);
    assert_refused(path, "64 KiB");
    bytes[SECRET_FILE_MAX] = '\n';
    put(bytes, SECRET_FILE_MAX + 1, 0600);
    bytes[SECRET_FILE_MAX] = 0;
    assert_read(bytes, SECRET_FILE_MAX);
}

static void only_regular_files_are_read(void **state)
{
    (void)state;
    put("hunter2", 7, 0600);
    assert_int_equal(symlink(path, link_path), 0);
    assert_refused(link_path, "symbolic link");
    unlink(link_path);
    assert_int_equal(mkfifo(link_path, 0600), 0);
    assert_refused(link_path, "regular file"); /* and does not wait for a writer */
    unlink(link_path);
    assert_refused(link_path, "No such file");
    assert_refused(directory, "regular file");
}

static void foreign_owners_are_refused(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip(); /* only root can give a file away */
    put("hunter2", 7, 0600);
    assert_int_equal(chown(path, 12345, 12345), 0);
    assert_refused(path, "user 12345");
}

static void set_replaces_and_may_alias(void **state)
{
    (void)state;
    struct secret secret = { 0 };
    secret_set(&secret, "a longer text", 13);
    secret_set(&secret, secret_reveal(&secret) + 2, 6);
    assert_string_equal(secret_reveal(&secret), "longer");
    assert_int_equal(secret.len, 6);
    secret_release(&secret);
    secret_release(&secret);
}

static void assert_redacted(const char *secret_text, const char *text, const char *expected)
{
    struct secret secret = { 0 };
    AUTO_TEXT char *copy = mem_copy_text(text);
    secret_set(&secret, secret_text, strlen(secret_text));
    secret_redact(&secret, copy);
    assert_string_equal(copy, expected);
    secret_release(&secret);
}

static void foreign_texts_are_redacted(void **state)
{
    (void)state;
    assert_redacted("0123456789", "no 0123456789 is 0123456789.",
                    "no ********** is **********.");
    assert_redacted("0123456789", "cut off: 01234567", "cut off: ********");
    assert_redacted("0123456789", "too little: 0123456", "too little: 0123456");
    assert_redacted("0123456789", "001234567x", "0********x");
    assert_redacted("abc", "abcab", "***ab");
    assert_redacted("abcdefgh", "", "");
    secret_redact(&(struct secret){ 0 }, (char[]){ "no secret, no star" });
}

static size_t lines_of(const char *text, struct secret *line, size_t max)
{
    struct secret whole = { 0 };
    secret_set(&whole, text, strlen(text));
    size_t count = secret_lines(&whole, line, max);
    secret_release(&whole);
    return count;
}

static void lines_are_told_apart(void **state)
{
    (void)state;
    struct secret line[2] = { 0 };
    assert_int_equal(lines_of("one", line, 2), 1);
    assert_string_equal(secret_reveal(&line[0]), "one");
    assert_null(secret_reveal(&line[1]));
    assert_int_equal(lines_of(" old\t\r\n\r\n \nthe new\r\n", line, 2), 2);
    assert_string_equal(secret_reveal(&line[0]), "old");
    assert_string_equal(secret_reveal(&line[1]), "the new");
    assert_int_equal(line[1].len, 7);
    assert_int_equal(lines_of("a\nb\nc\nd", line, 2), 4);
    assert_string_equal(secret_reveal(&line[1]), "b");
    assert_int_equal(lines_of(" \n\r\n", line, 2), 0);
    assert_int_equal(secret_lines(&(struct secret){ 0 }, line, 2), 0);
    secret_release(&line[0]);
    secret_release(&line[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_newline_is_cut),
        cmocka_unit_test(open_files_are_refused),
        cmocka_unit_test(empty_and_broken_content_is_refused),
        cmocka_unit_test(size_has_a_limit),
        cmocka_unit_test(only_regular_files_are_read),
        cmocka_unit_test(foreign_owners_are_refused),
        cmocka_unit_test(set_replaces_and_may_alias),
        cmocka_unit_test(foreign_texts_are_redacted),
        cmocka_unit_test(lines_are_told_apart),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
