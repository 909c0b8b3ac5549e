/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replaces in values: ${NAME} and ${NAME:-text} by the environment, ${file:PATH} by the one line
 * of a secret file, $$ by one $. A $ before anything else stands for itself.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/conf_yaml.h"
#include "lib/base/secret.h"

#define EXPANDED_MAX (64 * 1024)

struct expansion {
    struct conf_node *node;
    struct conf_errors *errors;
    struct buf text;
    bool refused;
};

/* What lies between ${ and }. */
struct reference {
    const char *at, *name; /* the $; what follows the { */
    size_t len;            /* of the name and what belongs to it */
};

static void refuse(struct expansion *expansion, const struct reference *reference,
                   const char *text)
{
    const struct conf_node *node = expansion->node;
    struct conf_place place = node->at;
    /* Escapes in quotes and folded lines move the text: then the place is where it begins. */
    if (node->at.width == strlen(node->text) + 2 * node->quoted) {
        place.column += (size_t)(reference->at - node->text) + node->quoted;
        place.width = reference->len + strlen("${}");
    }
    conf_error_add(expansion->errors, place, false, "%s", text);
    expansion->refused = true;
}

static void add_file(struct expansion *expansion, const struct reference *reference)
{
    AUTO(secret_release) struct secret secret = { 0 };
    struct fault fault = { 0 };
    size_t skip = strlen("file:");
    AUTO_TEXT char *path = mem_copy_bytes(reference->name + skip, reference->len - skip);
    if (*path != '/') {
        refuse(expansion, reference, "${file:} wants the whole path of a file, from / on");
    } else if (secret_read_file(path, &secret, &fault)) {
        refuse(expansion, reference, fault.text);
    } else if (strpbrk(secret_reveal(&secret), "\r\n")) {
        AUTO_TEXT char *text = mem_print("%s has more than one line: ${file:} takes one", path);
        refuse(expansion, reference, text);
    } else {
        expansion->node->private = true;
        buf_add(&expansion->text, secret_reveal(&secret), secret.len);
    }
}

static bool is_name(const char *name)
{
    size_t len = 0;
    while (isalnum((unsigned char)name[len]) || name[len] == '_')
        len++;
    return len > 0 && !isdigit((unsigned char)*name) && !name[len];
}

static void add_variable(struct expansion *expansion, const struct reference *reference)
{
    AUTO_TEXT char *name = mem_copy_bytes(reference->name, reference->len);
    char *otherwise = strstr(name, ":-");
    if (otherwise) {
        *otherwise = 0;
        otherwise += strlen(":-");
    }
    const char *value = is_name(name) ? getenv(name) : NULL;
    if (!is_name(name)) {
        refuse(expansion, reference,
               "expected ${NAME}, ${NAME:-default} or ${file:/path}; $$ stands for one $");
    } else if (value && (*value || !otherwise)) {
        buf_add_text(&expansion->text, value);
    } else if (otherwise) {
        buf_add_text(&expansion->text, otherwise);
    } else {
        AUTO_TEXT char *text = mem_print(
            "${%s} is not set in the environment (use ${%s:-default} if it may be absent)",
            name, name);
        refuse(expansion, reference, text);
    }
}

/* Appends what stands for the $ at `at`; returns what follows. */
static const char *add_reference(struct expansion *expansion, const char *at)
{
    struct reference reference = { .at = at, .name = at + 2 };
    if (at[1] != '{') {
        buf_add_char(&expansion->text, '$');
        return at + 1 + (at[1] == '$');
    }
    reference.len = strcspn(reference.name, "}");
    if (!reference.name[reference.len]) {
        refuse(expansion, &reference, "${ without its }; $$ stands for one $");
        return reference.name + reference.len;
    }
    if (strncmp(reference.name, "file:", strlen("file:")) == 0)
        add_file(expansion, &reference);
    else
        add_variable(expansion, &reference);
    return reference.name + reference.len + 1;
}

static void expand(struct conf_node *node, struct conf_errors *errors)
{
    struct expansion expansion = { node, errors, BUF_INIT(EXPANDED_MAX), false };
    for (const char *at = node->text; *at;) {
        size_t plain = strcspn(at, "$");
        buf_add(&expansion.text, at, plain);
        at += plain;
        if (*at)
            at = add_reference(&expansion, at);
    }
    if (expansion.text.overflow)
        conf_error_add(errors, node->at, false, "longer than %d KiB", EXPANDED_MAX / 1024);
    if (expansion.refused || expansion.text.overflow)
        node->kind = CONF_REFUSED;
    node->written = node->text;
    node->text = mem_copy_text(buf_text(&expansion.text));
    if (expansion.text.data)
        mem_wipe(expansion.text.data, expansion.text.len);
    buf_release(&expansion.text);
}

void conf_node_expand(struct conf_node *node, struct conf_errors *errors)
{
    if (node->kind == CONF_SCALAR && strchr(node->text, '$'))
        expand(node, errors);
    for (size_t i = 0; i < node->children; i++)
        conf_node_expand(&node->child[i], errors);
}
