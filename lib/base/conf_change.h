/* SPDX-License-Identifier: Apache-2.0 */
/* From one configuration to the next in a running program. */
#ifndef SLUICE_BASE_CONF_CHANGE_H
#define SLUICE_BASE_CONF_CHANGE_H

#include "lib/base/conf.h"

/* How one key differs. Texts live during the call. An element that came or went: no row. */
struct conf_change {
    const struct conf_row *row;
    const char *item; /* of which element; NULL outside of sequences */
    const char *before, *after;
    bool applied; /* else the old value stays: it needs a restart */
};
typedef void conf_changed(void *owner, const struct conf_change *change);

/*
 * Takes over from `fresh` what may change at run time (CONF_RELOAD rows; elements that come and
 * go), and leaves in it what was replaced: whoever still reads the old arrays and texts may, until
 * the caller releases `fresh`. Tells each difference. Both are bound to the settings of one table. Where
 * no element differs the array stays.
 */
void conf_take(struct conf *conf, struct conf *fresh, void *owner, conf_changed *changed);

#endif
