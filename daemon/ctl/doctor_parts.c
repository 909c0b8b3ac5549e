/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor's look at the store and at Redis. Nothing is written: what conditional writes and
 * checksums are worth, only the daemon's probe at its start can tell.
 */
#include <inttypes.h>
#include <string.h>

#include "daemon/ctl/doctor.h"
#include "lib/queue/queue_parts.h"

#define CONNECT_MS  5000
#define REPLY_MS    5000
#define PATIENCE_MS 8000
#define PROBE       "_sluice/probe"

/* ---- the store */

static void check_list(struct doctor *doctor)
{
    const struct settings *settings = &doctor->ctl->settings;
    struct s3_call call = { .op = S3_LIST, .key = settings->s3.prefix };
    if (ask_store(&doctor->ask, &call))
        doctor_say_fault(doctor, "S3 list", "grant s3:ListBucket", &doctor->ask.fault);
    else
        doctor_say(doctor, DOCTOR_OK, "S3 list", NULL, "%s/%s: %zu objects%s",
                   settings->s3.bucket, settings->s3.prefix, call.page.count,
                   call.page.next ? " and more" : "");
    s3_call_release(&call);
}

static void check_probe(struct doctor *doctor)
{
    AUTO_TEXT char *key = mem_print("%s" PROBE, doctor->ctl->settings.s3.prefix);
    struct s3_call call = { .op = S3_HEAD, .key = key };
    enum err err = ask_store(&doctor->ask, &call);
    if (err == ERR_NOT_FOUND)
        doctor_say(doctor, DOCTOR_UNSEEN, "S3 writes",
                   "the daemon's probe at its start tells, in its log",
                   "no daemon has written %s yet", key);
    else if (err)
        doctor_say_fault(doctor, "S3 read", "grant s3:GetObject", &doctor->ask.fault);
    else
        doctor_say(doctor, DOCTOR_OK, "S3 writes",
                   "what the store can do is in the daemon's log, at its start",
                   "a daemon has written %s", key);
    s3_call_release(&call);
}

void doctor_check_store(struct doctor *doctor)
{
    check_list(doctor);
    check_probe(doctor);
}

/* ---- Redis */

struct talk {
    struct doctor *doctor;
    struct redis *redis;
    struct redis_call call;
    struct timer patience;
    struct fault fault;
    struct buf text;
    int64_t number;
    bool up, over;
};

static void finish(struct talk *talk)
{
    talk->over = true;
    loop_stop(talk->doctor->ctl->loop);
}

static void on_up(void *owner)
{
    struct talk *talk = owner;
    talk->up = true;
    finish(talk);
}

static void on_down(void *owner, const struct fault *reason)
{
    struct talk *talk = owner;
    talk->fault = *reason;
    if (!talk->up)
        finish(talk);
}

static void on_patience(struct timer *timer)
{
    struct talk *talk = container_of(timer, struct talk, patience);
    if (!talk->fault.code)
        fault_set(&talk->fault, ERR_CONNECT, "no connection within %d s", PATIENCE_MS / 1000);
    finish(talk);
}

static void on_reply(struct redis_call *call, const struct redisReply *reply)
{
    struct talk *talk = container_of(call, struct talk, call);
    talk->fault = call->fault;
    if (reply && !call->fault.code) {
        buf_add(&talk->text, redis_reply_text(reply), redis_reply_len(reply));
        talk->number = redis_reply_int(reply);
    }
    finish(talk);
}

static void wait(struct talk *talk)
{
    while (!talk->over)
        loop_run(talk->doctor->ctl->loop);
    talk->over = false;
}

static enum err ask_redis(struct talk *talk, size_t words, const char *const *word)
{
    size_t len[4];
    for (size_t i = 0; i < words; i++)
        len[i] = strlen(word[i]);
    buf_clear(&talk->text);
    talk->number = 0;
    talk->call = (struct redis_call){ .done = on_reply };
    redis_start(talk->redis, &talk->call, words, word, len);
    wait(talk);
    return talk->fault.code;
}

static enum err connect(struct talk *talk, const struct secret *password)
{
    const struct settings *settings = &talk->doctor->ctl->settings;
    struct redis_options options = { .url = settings->redis.url,
                                     .user = settings->redis.user,
                                     .password =
                                         settings->redis.password_file ? password : NULL,
                                     .connect_timeout_ms = CONNECT_MS,
                                     .reply_timeout_ms = REPLY_MS,
                                     .owner = talk,
                                     .on_up = on_up,
                                     .on_down = on_down };
    enum err err = redis_new(talk->doctor->ctl->loop, &options, &talk->redis, &talk->fault);
    if (err)
        return err;
    timer_set_in(talk->doctor->ctl->loop, &talk->patience, PATIENCE_MS);
    wait(talk);
    timer_clear(talk->doctor->ctl->loop, &talk->patience);
    return talk->up ? OK : talk->fault.code;
}

/* A value of INFO's lines of name:value, as text; "" if it is not there. */
static char *info_of(const struct talk *talk, const char *name)
{
    AUTO_TEXT char *line = mem_print("\n%s:", name);
    const char *at = strstr(buf_text(&talk->text), line);
    at = at ? at + strlen(line) : "";
    return mem_copy_bytes(at, strcspn(at, "\r\n"));
}

static void check_info(struct talk *talk)
{
    const struct settings *settings = &talk->doctor->ctl->settings;
    struct fault fault = { 0 };
    if (ask_redis(talk, 1, (const char *const[]){ "INFO" })) {
        doctor_say_fault(talk->doctor, "Redis", "grant +info", &talk->fault);
        return;
    }
    AUTO_TEXT char *version = info_of(talk, "redis_version");
    AUTO_TEXT char *aof = info_of(talk, "aof_enabled");
    AUTO_TEXT char *policy = info_of(talk, "maxmemory_policy");
    bool allow = settings->redis.allow_volatile;
    if (queue_check_info(buf_text(&talk->text), settings->redis.prefix, allow, &fault))
        doctor_say(talk->doctor, DOCTOR_FAIL, "Redis", NULL, "%s", fault.text);
    else
        doctor_say(talk->doctor, allow ? DOCTOR_WARN : DOCTOR_OK, "Redis",
                   allow ? "redis.allow_volatile is for tests" : NULL,
                   "version %s, append-only file %s, %s", version,
                   strcmp(aof, "1") == 0 ? "on" : "off", policy);
}

static void check_library(struct talk *talk)
{
    struct doctor *doctor = talk->doctor;
    int64_t ours = queue_library_ours();
    const char *word[] = { "FCALL", "sluice_version", "1", doctor->ctl->settings.redis.prefix };
    enum err err = ask_redis(talk, 4, word);
    if (err == ERR_REDIS_LIBRARY)
        doctor_say(doctor, DOCTOR_WARN, "queue library",
                   "the daemon loads it where its user may: sluiced's log tells",
                   "not in Redis yet");
    else if (err)
        doctor_say_fault(doctor, "queue library", "grant +fcall", &talk->fault);
    else
        doctor_say(doctor, talk->number == ours ? DOCTOR_OK : DOCTOR_WARN, "queue library",
                   talk->number < ours   ? "the daemon loads its own at its next start"
                   : talk->number > ours ? "this program is older than the daemon"
                                         : NULL,
                   "version %" PRId64 ", ours is %" PRId64, talk->number, ours);
}

void doctor_check_redis(struct doctor *doctor)
{
    const struct settings *settings = &doctor->ctl->settings;
    struct talk talk = { .doctor = doctor,
                         .patience.fire = on_patience,
                         .text = BUF_INIT(1 << 20) };
    AUTO(secret_release) struct secret password = { 0 };
    if (settings->redis.password_file &&
        secret_read_file(settings->redis.password_file, &password, &talk.fault))
        return; /* said already */
    if (connect(&talk, &password)) {
        bool refused = ask_exit(&talk.fault) != EX_UNAVAILABLE;
        doctor_say(doctor, refused ? DOCTOR_FAIL : DOCTOR_UNCHECKED, "Redis",
                   refused ? "check redis.user and redis.password_file" : "check redis.url",
                   "%s", talk.fault.text);
    } else {
        check_info(&talk);
        check_library(&talk);
    }
    redis_free(talk.redis);
    buf_release(&talk.text);
}
