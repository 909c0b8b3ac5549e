/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probe is a list of calls, one row each. What a call's outcome teaches decides which row
 * follows. No call is repeated: after an answer that got lost, "it exists" would prove nothing.
 *
 *   put new ──▶ put again ──▶ put wrong ──▶ create ──▶ part ──▶ complete ──▶ abort ──▶ end
 *      └──▶ put plain ───────────▲     (a store that knows no conditions)
 */
#include "lib/s3/probe.h"

#include <string.h>

#include "lib/base/digest.h"

#define OBJECT          "_sluice/probe"
#define CHECKSUM_OBJECT "_sluice/probe-checksum"

static const char body[] = "Written by sluice to learn what this store can do.\n";

enum step {
    PUT_NEW,
    PUT_PLAIN,
    PUT_AGAIN,
    PUT_WRONG,
    CREATE,
    PART,
    COMPLETE,
    ABORT,
    END,
    UNUSABLE
};

static enum step learn_put_new(struct s3_probe *probe, enum err err);
static enum step learn_put_plain(struct s3_probe *probe, enum err err);
static enum step learn_put_again(struct s3_probe *probe, enum err err);
static enum step learn_put_wrong(struct s3_probe *probe, enum err err);
static enum step learn_create(struct s3_probe *probe, enum err err);
static enum step learn_part(struct s3_probe *probe, enum err err);
static enum step learn_complete(struct s3_probe *probe, enum err err);
static enum step learn_abort(struct s3_probe *probe, enum err err);

static const struct {
    enum s3_op op;
    const char *name;
    bool create_only, force;
    uint32_t spoil; /* flips bits of the checksum */
    enum step (*learn)(struct s3_probe *probe, enum err err);
} row[] = {
    [PUT_NEW] = { S3_PUT, OBJECT, true, true, 0, learn_put_new },
    [PUT_PLAIN] = { S3_PUT, OBJECT, false, false, 0, learn_put_plain },
    [PUT_AGAIN] = { S3_PUT, OBJECT, true, true, 0, learn_put_again },
    [PUT_WRONG] = { S3_PUT, CHECKSUM_OBJECT, false, true, 1, learn_put_wrong },
    [CREATE] = { S3_CREATE, OBJECT, false, false, 0, learn_create },
    [PART] = { S3_PART, OBJECT, false, false, 0, learn_part },
    [COMPLETE] = { S3_COMPLETE, OBJECT, true, true, 0, learn_complete },
    [ABORT] = { S3_ABORT, OBJECT, false, false, 0, learn_abort },
};

static void start_step(struct s3_probe *probe, enum step step);
static void on_done(struct s3_call *call);

void s3_probe_start(struct s3 *s3, struct s3_probe *probe)
{
    probe->s3 = s3;
    probe->fault = (struct fault){ 0 };
    probe->traits = (struct s3_traits){ 0 };
    start_step(probe, PUT_NEW);
}

void s3_probe_release(struct s3_probe *probe)
{
    s3_call_release(&probe->call);
    mem_free(probe->key);
    probe->key = NULL;
}

static void start_step(struct s3_probe *probe, enum step step)
{
    const size_t len = sizeof body - 1;
    const uint32_t crc = digest_crc32c(0, body, len);
    mem_free(probe->key);
    probe->key = mem_print("%s%s", probe->prefix, row[step].name);
    probe->step = (int)step;
    probe->call = (struct s3_call){
        .op = row[step].op,
        .key = probe->key,
        .body = body,
        .body_len = len,
        .body_crc32c = crc ^ row[step].spoil,
        .create_only = row[step].create_only,
        .force = row[step].force,
        .content_type = "text/plain",
        .upload_id = probe->upload_id,
        .part_number = 1,
        .parts = &probe->part,
        .part_count = 1,
        .size = (int64_t)len,
        .crc32c = crc,
        .once = true,
        .done = on_done,
    };
    s3_start(probe->s3, &probe->call);
}

static void on_done(struct s3_call *call)
{
    struct s3_probe *probe = container_of(call, struct s3_probe, call);
    enum err err = call->fault.code;
    enum step next = err == ERR_CANCELLED ? UNUSABLE : row[probe->step].learn(probe, err);
    if (next < END) {
        start_step(probe, next);
        return;
    }
    if (next == UNUSABLE)
        probe->fault = call->fault;
    probe->done(probe);
}

/* A conflict, too, says that the store looked for another object. */
static bool refused_by_condition(enum err err)
{
    return err == ERR_EXISTS || err == ERR_CONFLICT;
}

/* After a conflict alone nothing may be there, and the next PUT would be right to go through. */
static enum step learn_put_new(struct s3_probe *probe, enum err err)
{
    (void)probe;
    if (!err || err == ERR_EXISTS)
        return PUT_AGAIN;
    return err == ERR_REQUEST ? PUT_PLAIN : UNUSABLE;
}

static enum step learn_put_plain(struct s3_probe *probe, enum err err)
{
    (void)probe;
    return err ? UNUSABLE : PUT_WRONG;
}

static enum step learn_put_again(struct s3_probe *probe, enum err err)
{
    probe->traits.conditional_put = refused_by_condition(err);
    return !err || refused_by_condition(err) ? PUT_WRONG : UNUSABLE;
}

/* A wrong sum may also come back in a 200: noticed by us, but not by the store. */
static enum step learn_put_wrong(struct s3_probe *probe, enum err err)
{
    probe->traits.checks_crc32c = err == ERR_DIGEST && probe->call.fault.http_status >= 400;
    return !err || err == ERR_DIGEST || err == ERR_REQUEST || err == ERR_DENIED ? CREATE
                                                                                : UNUSABLE;
}

static enum step learn_create(struct s3_probe *probe, enum err err)
{
    memcpy(probe->upload_id, probe->call.new_upload_id, sizeof probe->upload_id);
    return err ? UNUSABLE : PART;
}

static enum step learn_part(struct s3_probe *probe, enum err err)
{
    const struct s3_call *call = &probe->call;
    probe->part = (struct s3_part){ .number = 1, .size = call->size };
    memcpy(probe->part.etag, call->etag, sizeof probe->part.etag);
    return err ? UNUSABLE : COMPLETE;
}

static enum step learn_complete(struct s3_probe *probe, enum err err)
{
    probe->traits.conditional_complete = refused_by_condition(err);
    if (!err)
        return END;
    return refused_by_condition(err) || err == ERR_REQUEST ? ABORT : UNUSABLE;
}

/* An upload that stays behind is a few bytes, and the bucket's lifecycle rule takes it. */
static enum step learn_abort(struct s3_probe *probe, enum err err)
{
    (void)probe;
    return err == ERR_CANCELLED ? UNUSABLE : END;
}
