/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uploader threads.
 *
 *   main loop ── upload ──▶ worker's mailbox ──▶ s3_start … done ── upload ──▶ main mailbox
 *
 *                 ── abort ───▶                 s3_cancel         ── abort ──▶
 *
 * An abort may cross its upload on the way: the upload is over when both are back. A stop message
 * is a letter without an upload; the worker then frees its clients and its loop ends.
 */
#include "daemon/uploader.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "lib/base/digest.h"

#define PULSE_MS 500

struct uploader_worker {
    struct uploader *uploader;
    pthread_t thread;
    struct loop *loop;
    struct http *http;
    struct s3 *s3;
    struct mailbox *inbox;
    struct upload_letter stop;
    struct timer pulse;
    _Atomic int64_t pulsed_at_us;
    size_t running; /* main thread's count */
};

struct uploader {
    struct loop *loop;
    struct mailbox *results;
    struct uploader_worker *worker;
    int workers;
    size_t running;
    struct traffic traffic;
    void *owner;
    void (*note)(void *owner, const struct s3_call *call);
};

static void *run_worker(void *arg);
static void on_letter(void *owner, struct mail *mail);
static void on_returned(void *owner, struct mail *mail);
static void on_pulse(struct timer *timer);
static void on_called(struct s3_call *call);

struct uploader *uploader_new(struct loop *loop, int workers, const struct s3_options *s3,
                              const struct http_options *http)
{
    struct uploader *uploader = mem_alloc(sizeof *uploader);
    uploader->loop = loop;
    uploader->results = mailbox_new(loop, uploader, on_returned);
    uploader->worker = mem_alloc_array((size_t)workers, sizeof *uploader->worker);
    uploader->workers = workers;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* threads inherit: signals are main's */
    for (int i = 0; i < workers; i++) {
        struct uploader_worker *worker = &uploader->worker[i];
        worker->uploader = uploader;
        worker->loop = loop_new();
        worker->http = http_new(worker->loop, http);
        worker->s3 = s3_new(worker->loop, worker->http, s3);
        worker->inbox = mailbox_new(worker->loop, worker, on_letter);
        worker->pulse.fire = on_pulse;
        atomic_store(&worker->pulsed_at_us, clock_mono().us);
        if (pthread_create(&worker->thread, NULL, run_worker, worker))
            abort();
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return uploader;
}

void uploader_free(struct uploader *uploader)
{
    if (!uploader)
        return;
    assert(uploader->running == 0);
    for (int i = 0; i < uploader->workers; i++) {
        struct uploader_worker *worker = &uploader->worker[i];
        mailbox_post(worker->inbox, &worker->stop.mail);
        pthread_join(worker->thread, NULL);
    }
    mailbox_free(uploader->results);
    mem_free(uploader->worker);
    mem_free(uploader);
}

void uploader_start(struct uploader *uploader, struct upload *upload)
{
    struct uploader_worker *least = &uploader->worker[0];
    for (int i = 1; i < uploader->workers; i++)
        if (uploader->worker[i].running < least->running)
            least = &uploader->worker[i];
    upload->uploader = uploader;
    upload->worker = least;
    upload->job.upload = upload->abort.upload = upload;
    upload->running = true;
    upload->started = loop_now(uploader->loop);
    upload->aborting = upload->arrived = upload->calling = false;
    least->running++;
    uploader->running++;
    mailbox_post(least->inbox, &upload->job.mail);
}

void uploader_abort(struct upload *upload)
{
    if (!upload->running || upload->aborting || upload->arrived)
        return;
    upload->aborting = true;
    mailbox_post(upload->worker->inbox, &upload->abort.mail);
}

size_t uploader_running(const struct uploader *uploader)
{
    return uploader->running;
}

const struct traffic *uploader_traffic(const struct uploader *uploader)
{
    return &uploader->traffic;
}

void uploader_watch(struct uploader *uploader, void *owner,
                    void (*note)(void *owner, const struct s3_call *call))
{
    uploader->owner = owner;
    uploader->note = note;
}

int64_t uploader_silence_ms(struct uploader *uploader)
{
    int64_t oldest = clock_mono().us, now = oldest;
    for (int i = 0; i < uploader->workers; i++) {
        int64_t at = atomic_load(&uploader->worker[i].pulsed_at_us);
        oldest = at < oldest ? at : oldest;
    }
    return (now - oldest) / 1000;
}

/* ---- in the worker's thread */

static void *run_worker(void *arg)
{
    struct uploader_worker *worker = arg;
    timer_set_in(worker->loop, &worker->pulse, 0);
    loop_run(worker->loop);
    timer_clear(worker->loop, &worker->pulse);
    s3_free(worker->s3);
    http_free(worker->http);
    mailbox_free(worker->inbox);
    loop_free(worker->loop);
    return NULL;
}

static void on_pulse(struct timer *timer)
{
    struct uploader_worker *worker = container_of(timer, struct uploader_worker, pulse);
    atomic_store(&worker->pulsed_at_us, clock_mono().us);
    timer_set_in(worker->loop, &worker->pulse, PULSE_MS);
}

static void post_back(struct upload_letter *letter)
{
    mailbox_post(letter->upload->uploader->results, &letter->mail);
}

static void start_job(struct uploader_worker *worker, struct upload *upload)
{
    struct s3_call *call = &upload->call;
    bool carries = call->op == S3_PUT || call->op == S3_PART;
    if (carries && digest_crc32c(0, call->body, call->body_len) != call->body_crc32c) {
        fault_set(&call->fault, ERR_DIGEST, "bytes of %s changed in memory", call->key);
        post_back(&upload->job);
        return;
    }
    upload->calling = true;
    call->done = on_called;
    s3_start(worker->s3, call);
}

static void on_letter(void *owner, struct mail *mail)
{
    struct uploader_worker *worker = owner;
    struct upload_letter *letter = container_of(mail, struct upload_letter, mail);
    struct upload *upload = letter->upload;
    if (!upload) {
        loop_stop(worker->loop);
        return;
    }
    if (letter == &upload->job) {
        start_job(worker, upload);
        return;
    }
    if (upload->calling)
        s3_cancel(&upload->call);
    post_back(letter);
}

static void on_called(struct s3_call *call)
{
    struct upload *upload = container_of(call, struct upload, call);
    upload->calling = false;
    post_back(&upload->job);
}

/* ---- in the main thread */

/* A call counts once, by its last answer; what came before it was the same trouble again. */
static void count(struct uploader *uploader, const struct upload *upload)
{
    const struct s3_call *call = &upload->call;
    int64_t took_ms = mono_ms_between(upload->started, loop_now(uploader->loop));
    uploader->traffic.repeated += call->tries > 1 ? call->tries - 1 : 0;
    if (call->fault.code != ERR_CANCELLED)
        traffic_note(&uploader->traffic, call->fault.code == OK ? 200 : call->fault.http_status,
                     (double)took_ms / 1000);
}

static void on_returned(void *owner, struct mail *mail)
{
    struct uploader *uploader = owner;
    struct upload_letter *letter = container_of(mail, struct upload_letter, mail);
    struct upload *upload = letter->upload;
    if (letter == &upload->job)
        upload->arrived = true;
    else
        upload->aborting = false;
    if (!upload->arrived || upload->aborting)
        return;
    upload->running = false;
    uploader->running--;
    upload->worker->running--;
    count(uploader, upload);
    if (uploader->note)
        uploader->note(uploader->owner, &upload->call);
    upload->done(upload);
}
