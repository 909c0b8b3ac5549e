/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uploader threads: each upload comes back exactly once, whatever becomes of it; bytes that
 * changed in memory never leave; threads end when they are told to and take no signals.
 */
#include "daemon/uploader.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <signal.h>
#include <sys/socket.h>

#include "lib/base/digest.h"
#include "tests/unit/aep_rig.h"

#define BODY     "hello"
#define BODY_CRC 0x9a71bb4cu
#define UPLOADS  20

struct job {
    struct upload upload;
    struct bench *bench;
    int dones, again; /* how often it starts itself again */
};

struct bench {
    struct rig rig;
    struct uploader *uploader;
    struct s3_credentials credentials;
    struct s3_options s3;
    struct http_options http;
    char url[64];
    int closed; /* a socket that is bound but does not listen */
    int dones;
};

/* Keeps the port from everyone else, and refuses connections. */
static int closed_port(char url[64])
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    snprintf(url, 64, "http://127.0.0.1:%d", ntohs(at.sin_port));
    return fd;
}

static void bench_start(struct bench *bench, int workers, bool listening)
{
    *bench = (struct bench){
        .credentials = { .access_key = (char *)"AK",
                         .secret_key = { (struct secret_bytes *)(char *)"SK", 2 } },
        .http = { .plain_http = true, .max_connections = 4, .connect_timeout_ms = 5000 },
    };
    rig_start(&bench->rig);
    bench->closed = closed_port(bench->url);
    bench->s3 = (struct s3_options){ .endpoint = listening ? bench->rig.url : bench->url,
                                     .region = "us-east-1",
                                     .bucket = "lake",
                                     .path_style = true,
                                     .payload = S3_PAYLOAD_SIGNED,
                                     .credentials = &bench->credentials };
    bench->uploader = uploader_new(bench->rig.loop, workers, &bench->s3, &bench->http);
}

static void bench_stop(struct bench *bench)
{
    uploader_free(bench->uploader);
    close(bench->closed);
    rig_stop(&bench->rig);
}

static void on_done(struct upload *upload)
{
    struct job *job = container_of(upload, struct job, upload);
    job->dones++;
    job->bench->dones++;
    if (job->again-- > 0)
        uploader_start(job->bench->uploader, upload);
}

static struct job job_of(struct bench *bench, enum s3_op op, uint32_t crc32c)
{
    return (struct job){ .bench = bench,
                         .upload = { .call = { .op = op,
                                               .key = "k",
                                               .body = BODY,
                                               .body_len = strlen(BODY),
                                               .body_crc32c = crc32c,
                                               .upload_id = "u",
                                               .part_number = 1,
                                               .once = true },
                                     .done = on_done } };
}

static void job_run(struct job *job)
{
    int before = job->dones;
    uploader_start(job->bench->uploader, &job->upload);
    SPIN(&job->bench->rig, job->dones > before);
}

static size_t threads(void)
{
    size_t count = 0;
    DIR *dir = opendir("/proc/self/task");
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void each_upload_comes_back_once(void **state)
{
    (void)state;
    struct bench bench;
    struct job job[UPLOADS];
    bench_start(&bench, 2, false);
    assert_int_equal(uploader_running(bench.uploader), 0);
    for (size_t i = 0; i < UPLOADS; i++) {
        job[i] = job_of(&bench, i % 2 ? S3_PUT : S3_PART, BODY_CRC);
        uploader_start(bench.uploader, &job[i].upload);
        assert_int_equal(job[i].dones, 0); /* never from inside */
        assert_int_equal(uploader_running(bench.uploader), i + 1);
    }
    SPIN(&bench.rig, bench.dones == UPLOADS);
    rig_turn_for(&bench.rig, 20);
    assert_int_equal(uploader_running(bench.uploader), 0);
    for (size_t i = 0; i < UPLOADS; i++) {
        assert_int_equal(job[i].dones, 1);
        assert_int_equal(job[i].upload.call.fault.code, ERR_CONNECT);
        assert_int_equal(job[i].upload.call.tries, 1);
    }
    bench_stop(&bench);
}

static void retries_happen_over_there(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, 1, false);
    struct job job = job_of(&bench, S3_PUT, BODY_CRC);
    job.upload.call.once = false;
    job.upload.call.deadline_ms = 1500;
    job_run(&job);
    assert_int_equal(job.dones, 1);
    assert_int_equal(job.upload.call.fault.code, ERR_CONNECT);
    assert_true(job.upload.call.tries > 1);
    bench_stop(&bench);
}

static void results_arrive(void **state)
{
    (void)state;
    struct bench bench;
    struct job job[UPLOADS];
    bench_start(&bench, 2, true);
    rig_answer(&bench.rig, "PUT /lake/k", ALWAYS, "200 OK", "ETag: \"e1\"\r\n", "");
    for (size_t i = 0; i < UPLOADS; i++) {
        job[i] = job_of(&bench, S3_PUT, BODY_CRC);
        uploader_start(bench.uploader, &job[i].upload);
    }
    SPIN(&bench.rig, bench.dones == UPLOADS);
    for (size_t i = 0; i < UPLOADS; i++) {
        assert_int_equal(job[i].upload.call.fault.code, OK);
        assert_string_equal(job[i].upload.call.etag, "e1");
    }
    assert_int_equal(rig_count(&bench.rig, "\r\n\r\n" BODY), UPLOADS);
    bench_stop(&bench);
}

static void an_upload_may_start_again_in_done(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, 2, false);
    struct job job = job_of(&bench, S3_PART, BODY_CRC);
    job.again = 5;
    uploader_start(bench.uploader, &job.upload);
    SPIN(&bench.rig, job.dones == 6);
    rig_turn_for(&bench.rig, 20);
    assert_int_equal(job.dones, 6);
    assert_int_equal(uploader_running(bench.uploader), 0);
    bench_stop(&bench);
}

/* The socket takes connections now, and never says a word. */
static void be_silent(struct bench *bench)
{
    assert_int_equal(listen(bench->closed, UPLOADS), 0);
}

static void an_abort_ends_what_hangs(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, 1, false);
    be_silent(&bench);
    struct job job = job_of(&bench, S3_PART, BODY_CRC);
    uploader_start(bench.uploader, &job.upload);
    rig_turn_for(&bench.rig, 50);
    assert_int_equal(job.dones, 0);
    uploader_abort(&job.upload);
    uploader_abort(&job.upload); /* again is no more */
    SPIN(&bench.rig, job.dones == 1);
    assert_int_equal(job.upload.call.fault.code, ERR_CANCELLED);
    uploader_abort(&job.upload); /* over */
    rig_turn_for(&bench.rig, 20);
    assert_int_equal(job.dones, 1);
    assert_int_equal(uploader_running(bench.uploader), 0);
    bench_stop(&bench);
}

/* An abort may meet its upload before it begins, while it runs, or when it is over already. */
static void aborts_cross_their_uploads(void **state)
{
    (void)state;
    struct bench bench;
    struct job job[UPLOADS];
    bench_start(&bench, 2, true);
    rig_answer(&bench.rig, "PUT /lake/k", ALWAYS, "200 OK", "ETag: \"e1\"\r\n", "");
    for (int round = 0; round < 20; round++) {
        bench.dones = 0;
        for (size_t i = 0; i < UPLOADS; i++) {
            job[i] = job_of(&bench, S3_PUT, i % 3 ? BODY_CRC : BODY_CRC ^ 1);
            uploader_start(bench.uploader, &job[i].upload);
        }
        rig_turn_for(&bench.rig, round % 4);
        for (size_t i = 0; i < UPLOADS; i++)
            uploader_abort(&job[i].upload);
        SPIN(&bench.rig, bench.dones == UPLOADS);
        for (size_t i = 0; i < UPLOADS; i++) {
            enum err code = job[i].upload.call.fault.code;
            assert_int_equal(job[i].dones, 1);
            assert_true(code == OK || code == ERR_CANCELLED || code == ERR_DIGEST);
        }
        assert_int_equal(uploader_running(bench.uploader), 0);
    }
    bench_stop(&bench);
}

static void note(void *owner, const struct s3_call *call)
{
    int *noted = owner;
    noted[call->fault.code]++;
}

static void the_watcher_is_told_of_each_end(void **state)
{
    (void)state;
    struct bench bench;
    int noted[ERR_COUNT] = { 0 };
    bench_start(&bench, 1, false);
    uploader_watch(bench.uploader, noted, note);
    struct job fine = job_of(&bench, S3_HEAD, 0), spoilt = job_of(&bench, S3_PUT, 1);
    job_run(&fine);
    job_run(&spoilt);
    job_run(&fine);
    assert_int_equal(noted[ERR_CONNECT], 2);
    assert_int_equal(noted[ERR_DIGEST], 1);
    bench_stop(&bench);
}

static void changed_bytes_never_leave(void **state)
{
    (void)state;
    static const enum s3_op op[] = { S3_PUT, S3_PART };
    struct bench bench;
    bench_start(&bench, 2, true);
    rig_answer(&bench.rig, "PUT /lake/k", ALWAYS, "200 OK", "ETag: \"e1\"\r\n", "");
    for (size_t i = 0; i < sizeof op / sizeof *op; i++) {
        struct job job = job_of(&bench, op[i], BODY_CRC ^ 1);
        job_run(&job);
        assert_int_equal(job.upload.call.fault.code, ERR_DIGEST);
        assert_int_equal(rig_count(&bench.rig, "PUT /"), i);
        /* The next try, with the bytes as they were, is not tainted. */
        job.upload.call.body_crc32c = BODY_CRC;
        job_run(&job);
        assert_int_equal(job.upload.call.fault.code, OK);
        assert_int_equal(rig_count(&bench.rig, "PUT /"), i + 1);
    }
    bench_stop(&bench);
}

static void only_bodies_are_checked(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, 1, false);
    struct job head = job_of(&bench, S3_HEAD, 0), empty = job_of(&bench, S3_PUT, 0);
    empty.upload.call.body = NULL;
    empty.upload.call.body_len = 0;
    job_run(&head);
    job_run(&empty);
    assert_int_equal(head.upload.call.fault.code, ERR_CONNECT);
    assert_int_equal(empty.upload.call.fault.code, ERR_CONNECT);
    bench_stop(&bench);
}

static void free_joins_the_threads(void **state)
{
    (void)state;
    struct bench bench;
    uploader_free(NULL);
    bench_start(&bench, 3, false);
    size_t with_workers = threads();
    assert_true(with_workers > 3);
    uploader_free(bench.uploader); /* at once: the loop has not turned yet */
    bench.uploader = NULL;
    /* The kernel forgets a thread a little after it was joined. */
    for (int i = 0; i < 1000 && threads() > with_workers - 3; i++)
        rig_turn_for(&bench.rig, 5);
    assert_int_equal(threads(), with_workers - 3);
    bench_stop(&bench);
}

static void signals_stay_with_the_main_thread(void **state)
{
    (void)state;
    struct bench bench;
    sigset_t usr1, before, after;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    bench_start(&bench, 1, false); /* for the server's thread, which inherits the mask */
    pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    struct uploader *uploader = uploader_new(bench.rig.loop, 2, &bench.s3, &bench.http);
    pthread_sigmask(SIG_BLOCK, &usr1, &after);
    for (int i = 1; i <= SIGRTMAX; i++)
        assert_int_equal(sigismember(&before, i), sigismember(&after, i));
    kill(getpid(), SIGUSR1); /* a thread that took it would end the program */
    rig_turn_for(&bench.rig, 20);
    sigpending(&after);
    assert_true(sigismember(&after, SIGUSR1));
    assert_int_equal(sigtimedwait(&usr1, NULL, &(struct timespec){ 5, 0 }), SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
    uploader_free(uploader);
    bench_stop(&bench);
}

static void idle_workers_keep_their_pulse(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, 2, false);
    struct mono born = clock_mono();
    int64_t pulsed_after_ms = 0;
    for (int i = 0; i < 2000 && pulsed_after_ms < 100; i++) {
        rig_turn_for(&bench.rig, 5);
        int64_t silence_ms = uploader_silence_ms(bench.uploader);
        assert_true(silence_ms >= 0);
        pulsed_after_ms = mono_ms_between(born, clock_mono()) - silence_ms;
    }
    assert_true(pulsed_after_ms >= 100); /* not just once, at the start */
    bench_stop(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_upload_comes_back_once),
        cmocka_unit_test(retries_happen_over_there),
        cmocka_unit_test(results_arrive),
        cmocka_unit_test(an_upload_may_start_again_in_done),
        cmocka_unit_test(an_abort_ends_what_hangs),
        cmocka_unit_test(aborts_cross_their_uploads),
        cmocka_unit_test(the_watcher_is_told_of_each_end),
        cmocka_unit_test(changed_bytes_never_leave),
        cmocka_unit_test(only_bodies_are_checked),
        cmocka_unit_test(free_joins_the_threads),
        cmocka_unit_test(signals_stay_with_the_main_thread),
        cmocka_unit_test(idle_workers_keep_their_pulse),
    };
    return cmocka_run_group_tests(tests, rig_setup_libraries, rig_release_libraries);
}
