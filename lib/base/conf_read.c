/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files: read whole, parsed, and merged into one tree. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/conf_table.h"

#define FILES_MAX 1000

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Takes over `text`. */
static struct conf_source *add_source(struct conf *conf, const char *name, char *text,
                                      size_t len)
{
    struct conf_source *source = mem_alloc(sizeof *source);
    *source = (struct conf_source){ mem_copy_text(name), text, len, conf->sources };
    conf->source = mem_grow(conf->source, conf->sources + 1, sizeof(struct conf_source *));
    conf->source[conf->sources++] = source;
    return source;
}

/* About the file as a whole. */
static void refuse_file(struct conf *conf, const char *name, const char *text)
{
    struct conf_source *source = add_source(conf, name, NULL, 0);
    conf->complete = false;
    if (conf->sources == 1)
        conf->root.at = (struct conf_place){ source, 1, 1, 1 };
    conf_error_add(&conf->errors, (struct conf_place){ .source = source }, false, "%s", text);
}

void conf_add_text(struct conf *conf, const char *name, const char *text, size_t len)
{
    struct conf_source *source = add_source(conf, name, mem_copy_bytes(text, len), len);
    struct conf_node root;
    if (!conf_yaml_read(source, &root, &conf->errors))
        conf->complete = false;
    if (conf->sources == 1)
        conf->root = root;
    else if (!conf_node_merge(&conf->root, &root) && conf->complete)
        conf_error_add(&conf->errors, root.at, true, "expected keys with values here");
    if (conf->sources > 1)
        conf_node_release(&root);
}

void conf_add_file(struct conf *conf, const char *path)
{
    AUTO_BUF text = BUF_INIT(CONF_BYTES_MAX);
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    char chunk[4096];
    ssize_t n = fd < 0 ? -1 : 0;
    while (fd >= 0 && !text.overflow && (n = read(fd, chunk, sizeof chunk)) > 0)
        buf_add(&text, chunk, (size_t)n);
    if (n < 0) {
        AUTO_TEXT char *why = mem_print("cannot be read: %s", strerrordesc_np(errno));
        refuse_file(conf, path, why);
    } else if (text.overflow) {
        AUTO_TEXT char *why = mem_print("larger than %d KiB", CONF_BYTES_MAX / 1024);
        refuse_file(conf, path, why);
    } else {
        conf_add_text(conf, path, buf_text(&text), text.len);
    }
}

static int is_yaml(const struct dirent *entry)
{
    return fnmatch("*.yaml", entry->d_name, FNM_PERIOD) == 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

void conf_add_folder(struct conf *conf, const char *path)
{
    struct dirent **entry = NULL;
    int count = scandir(path, &entry, is_yaml, by_bytes);
    if (count < 0 && errno == ENOMEM)
        mem_exhausted("memory for the names of files");
    if (count < 0 && errno != ENOENT && errno != ENOTDIR) {
        AUTO_TEXT char *why = mem_print("cannot be read: %s", strerrordesc_np(errno));
        refuse_file(conf, path, why);
    }
    if (count > FILES_MAX)
        refuse_file(conf, path, "more than 1000 files");
    for (int i = 0; i < count; i++) {
        AUTO_TEXT char *name = mem_print("%s/%s", path, entry[i]->d_name);
        if (count <= FILES_MAX)
            conf_add_file(conf, name);
        free(entry[i]);
    }
    free(entry);
}

/* --- in one go --- */

enum err conf_load_text(const struct conf_table *table, const char *name, const char *text,
                        size_t len, void *settings, struct buf *errors)
{
    struct conf *conf = conf_new(table, settings);
    conf_add_text(conf, name, text, len);
    conf_bind(conf);
    enum err err = conf_end(conf, errors);
    conf_free(conf);
    return err;
}

enum err conf_load(const struct conf_table *table, const char *file, void *settings,
                   struct buf *errors)
{
    struct conf *conf = conf_new(table, settings);
    conf_add_file(conf, file);
    if (conf_complete(conf))
        conf_bind(conf);
    enum err err = conf_end(conf, errors);
    conf_free(conf);
    return err;
}
