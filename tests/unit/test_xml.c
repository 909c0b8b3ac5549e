/* SPDX-License-Identifier: Apache-2.0 */
/* XML answers: what is reported, the limits, and documents that must not be believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/s3/xml.h"

/* Writes "path=text;" for each element. */
static void note(void *owner, const char *path, const char *text)
{
    buf_print(owner, "%s=%s;", path, text);
}

static enum err read_text(const char *xml, struct buf *out, struct fault *fault)
{
    buf_clear(out);
    return xml_read(xml, strlen(xml), out, note, fault);
}

static void assert_read(const char *xml, const char *expected)
{
    AUTO_BUF out = BUF_INIT(1 << 20);
    struct fault fault = { 0 };
    assert_int_equal(read_text(xml, &out, &fault), OK);
    assert_string_equal(buf_text(&out), expected);
}

static void assert_refused(const char *xml, const char *why)
{
    AUTO_BUF out = BUF_INIT(1 << 20);
    struct fault fault = { 0 };
    assert_int_equal(read_text(xml, &out, &fault), ERR_BAD_RESPONSE);
    print_message("%s\n", fault.text);
    assert_non_null(strstr(fault.text, why));
}

static void elements_come_with_their_path(void **state)
{
    (void)state;
    assert_read("<Error><Code>SlowDown</Code><Message/></Error>",
                "Error/Code=SlowDown;Error/Message=;Error=;");
    assert_read(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<A xmlns=\"u\">\n <B> x y \n</B></A>",
        "A/B=x y;A=;");
    assert_read("<A><B>1</B><B>2</B></A>", "A/B=1;A/B=2;A=;");
    assert_read("<A><E>&quot;d&amp;&lt;&#x41;&quot;</E></A>", "A/E=\"d&<A\";A=;");
    assert_read("<A><![CDATA[<x>]]></A>", "A=<x>;");
    assert_read("<A>one<B>two</B></A>", "A/B=two;A=;");
}

static void blanks_may_come_first(void **state)
{
    (void)state;
    assert_read(" \r\n\t \n<?xml version=\"1.0\"?><A>1</A>", "A=1;");
}

static void broken_documents_are_refused(void **state)
{
    (void)state;
    assert_refused("", "empty");
    assert_refused(" \n ", "empty");
    assert_refused("hello", "broken");
    assert_refused("<A><B></A>", "broken");
    assert_refused("<A>", "broken");
    assert_refused("<A/><B/>", "broken");
    assert_refused("<A>&unknown;</A>", "broken");
    assert_refused("<A>\xff</A>", "broken");
    assert_refused("<html><body><p>Bad Gateway<br></body></html>", "broken");
}

static void nothing_can_expand(void **state)
{
    (void)state;
    assert_refused("<!DOCTYPE A [<!ENTITY x \"y\">]><A>&x;</A>", "document type");
    assert_refused("<!DOCTYPE A SYSTEM \"file:///etc/passwd\"><A/>", "document type");
    assert_refused("<!DOCTYPE A><A/>", "document type");
}

static void depth_is_limited(void **state)
{
    (void)state;
    assert_read(
        "<a><a><a><a><a><a><a><a>x</a></a></a></a></a></a></a></a>",
        "a/a/a/a/a/a/a/a=x;a/a/a/a/a/a/a=;a/a/a/a/a/a=;a/a/a/a/a=;a/a/a/a=;a/a/a=;a/a=;a=;");
    assert_refused("<a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a>", "8 levels");
}

static void assert_text_len(size_t len, bool fits)
{
    AUTO_BUF xml = BUF_INIT(1 << 20);
    buf_add_text(&xml, "<A><B>");
    for (size_t i = 0; i < len; i++)
        buf_add_char(&xml, 'x');
    buf_add_text(&xml, "</B></A>");
    if (!fits) {
        assert_refused(buf_text(&xml), "4 KiB");
        return;
    }
    AUTO_BUF out = BUF_INIT(1 << 20);
    struct fault fault = { 0 };
    assert_int_equal(read_text(buf_text(&xml), &out, &fault), OK);
    assert_int_equal(out.len, strlen("A/B=;A=;") + len);
}

static void texts_and_names_are_limited(void **state)
{
    (void)state;
    assert_text_len(XML_TEXT_MAX, true);
    assert_text_len(XML_TEXT_MAX + 1, false);
    AUTO_BUF name = BUF_INIT(4096);
    buf_add_char(&name, '<');
    for (size_t i = 0; i <= XML_NAME_MAX; i++)
        buf_add_char(&name, 'n');
    buf_add_text(&name, "/>");
    assert_refused(buf_text(&name), "64 bytes");
}

static void size_is_limited(void **state)
{
    (void)state;
    AUTO_BUF xml = BUF_INIT(2 * XML_SIZE_MAX);
    buf_add_text(&xml, "<A>");
    while (xml.len < XML_SIZE_MAX)
        buf_add_text(&xml, "<B>text</B>");
    buf_add_text(&xml, "</A>");
    assert_refused(buf_text(&xml), "1 MiB");
}

static void zero_bytes_are_no_blanks(void **state)
{
    (void)state;
    static const char xml[] = "\0\0<A/>";
    AUTO_BUF out = BUF_INIT(64);
    struct fault fault = { 0 };
    assert_int_equal(xml_read(xml, sizeof xml - 1, &out, note, &fault), ERR_BAD_RESPONSE);
}

static void text_is_escaped(void **state)
{
    (void)state;
    AUTO_BUF out = BUF_INIT(64);
    xml_add_text(&out, "a&b<c>\"d\"\x01\n");
    assert_string_equal(buf_text(&out), "a&amp;b&lt;c&gt;\"d\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_come_with_their_path),
        cmocka_unit_test(blanks_may_come_first),
        cmocka_unit_test(broken_documents_are_refused),
        cmocka_unit_test(nothing_can_expand),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(texts_and_names_are_limited),
        cmocka_unit_test(size_is_limited),
        cmocka_unit_test(zero_bytes_are_no_blanks),
        cmocka_unit_test(text_is_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
