/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the small XML answers of S3 stores. The only home of expat. Limits: 1 MiB, depth 8,
 * names of 64 bytes, texts of 4 KiB; a document type or an entity of its own ends the reading,
 * so nothing can expand. Blanks before the document are skipped (a store that needs long for an
 * answer sends them to keep the connection). Pure.
 */
#ifndef SLUICE_S3_XML_H
#define SLUICE_S3_XML_H

#include "lib/base/buf.h"

#define XML_SIZE_MAX  (1024 * 1024)
#define XML_DEPTH_MAX 8
#define XML_NAME_MAX  64
#define XML_TEXT_MAX  4096

/*
 * Called at the end of each element with its path from the root ("Error/Code") and its own text,
 * trimmed; children come before their parent. The strings are valid during the call.
 */
typedef void xml_element(void *owner, const char *path, const char *text);

/* ERR_BAD_RESPONSE with a sentence if the document is broken, passes a limit or is empty. */
enum err xml_read(const char *bytes, size_t len, void *owner, xml_element *on_element,
                  struct fault *fault) MUST_CHECK;

/* Appends text for use between tags; bytes that XML cannot hold are left out. */
void xml_add_text(struct buf *out, const char *text);

#endif
