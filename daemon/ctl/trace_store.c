/* SPDX-License-Identifier: Apache-2.0 */
/* What the bucket holds of a batch: its manifest and its revocation, by HEAD. */
#include "daemon/ctl/trace.h"

#include "daemon/commit.h"
#include "daemon/locate.h"

static char *key_of(const struct trace *trace, const struct dataset_settings *dataset,
                    const char *template)
{
    return commit_key_of(&trace->ctl->settings, dataset, template, trace->batch, trace->created,
                         trace->generation);
}

/* Whether there is such an object; a line for it, or for why that is not known. */
static bool look(struct trace *trace, const char *name, const char *label, const char *key)
{
    struct s3_call call = { .op = S3_HEAD, .key = key };
    enum err err = ask_store(&trace->ask, &call);
    s3_call_release(&call);
    if (err && err != ERR_NOT_FOUND) {
        trace->store_known = false;
        ctl_refuse(trace->ctl, EX_UNAVAILABLE, "%s: %s", key, trace->ask.fault.text);
    } else if (!err) {
        AUTO_TEXT char *url = mem_print("s3://%s/%s", trace->ctl->settings.s3.bucket, key);
        table_text(trace->table, name, label, url);
    }
    return !err;
}

static void look_for(struct trace *trace, const struct dataset_settings *dataset)
{
    AUTO_TEXT char *manifest = key_of(trace, dataset, trace->ctl->settings.s3.manifest);
    AUTO_TEXT char *revocation = key_of(trace, dataset, LOCATE_REVOCATION);
    trace->stored = look(trace, "manifest", "manifest", manifest);
    trace->revoked = look(trace, "revocation", "revocation", revocation);
    if (trace->stored)
        trace->dataset = dataset;
}

void trace_look_at_store(struct trace *trace)
{
    const struct settings *settings = &trace->ctl->settings;
    trace->store_known = trace->created >= 0;
    if (trace->created < 0)
        return;
    if (trace->dataset) {
        look_for(trace, trace->dataset);
        return;
    }
    for (size_t i = 0; i < settings->datasets && !trace->stored; i++)
        look_for(trace, &settings->dataset[i]);
}
