/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP client over time: pauses, cancels at every phase, many requests, several threads. */
#include "tests/unit/http_probe.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

struct flow {
    struct http_req req;
    struct loop *loop;
    char url[URL_SIZE];
    int calls, pauses, done;
    int pause_each, abort_at; /* calls of on_data; 0 = never */
    int64_t pause_ms;
    int *running; /* the last one to end stops the loop */
    size_t got;
    bool wrong;
    struct timer timer;
};

static int running;

static enum http_data on_data(struct http_req *req, const void *bytes, size_t len)
{
    struct flow *flow = container_of(req, struct flow, req);
    const unsigned char *byte = bytes;
    if (++flow->calls == flow->abort_at)
        return HTTP_ABORT;
    if (flow->pause_each && flow->calls % flow->pause_each == 0) {
        flow->pauses++;
        timer_set_in(flow->loop, &flow->timer, flow->pause_ms);
        return HTTP_PAUSE;
    }
    for (size_t i = 0; i < len; i++)
        flow->wrong |= byte[i] != pattern(flow->got + i);
    flow->got += len;
    return HTTP_TAKEN;
}

static void on_time_to_resume(struct timer *timer)
{
    http_resume(&container_of(timer, struct flow, timer)->req);
}

static void on_time_to_cancel(struct timer *timer)
{
    http_cancel(&container_of(timer, struct flow, timer)->req);
}

static void on_done(struct http_req *req)
{
    struct flow *flow = container_of(req, struct flow, req);
    flow->done++;
    if (--*flow->running == 0)
        loop_stop(flow->loop);
}

static void flow_init(struct flow *flow, const char *method, const char *path)
{
    *flow = (struct flow){ .loop = loop, .running = &running };
    flow->timer.fire = on_time_to_resume;
    flow->req = (struct http_req){
        .method = method, .url = peer_url(flow->url, path), .on_data = on_data, .done = on_done
    };
}

static void flow_release(struct flow *flow)
{
    timer_clear(flow->loop, &flow->timer);
    http_req_release(&flow->req);
}

static void start(struct flow *flow)
{
    running++;
    http_start(http, &flow->req);
}

static void run(struct flow *flow)
{
    start(flow);
    loop_run(loop);
    assert_int_equal(flow->done, 1);
    assert_false(flow->wrong);
}

static void expect_cancelled(struct flow *flow)
{
    assert_int_equal(flow->done, 1);
    assert_int_equal(flow->req.result, ERR_CANCELLED);
    assert_int_equal(flow->req.fault.code, ERR_CANCELLED);
    flow_release(flow);
}

/* ---- pausing */

static void expect_paused_body(const char *path, size_t size, size_t recv_buffer)
{
    struct flow flow;
    flow_init(&flow, "GET", path);
    flow.req.recv_buffer = recv_buffer;
    flow.pause_each = 3;
    run(&flow);
    assert_int_equal(flow.req.result, OK);
    assert_int_equal(flow.got, size);
    assert_int_equal(flow.req.body_bytes, size);
    assert_true(flow.pauses > 5);
    flow_release(&flow);
}

static void paused_body_loses_nothing(void **state)
{
    (void)state;
    expect_paused_body("/bytes/16777216", 16 * MIB, 256 * 1024);
    expect_paused_body("/bytes/4000001", 4000001, 0);
    expect_paused_body("/chunked/300000", 300000, 0);
}

static void pause_is_no_stall(void **state)
{
    (void)state;
    struct flow flow;
    flow_init(&flow, "GET", "/bytes/100000");
    flow.req.stall_ms = 100;
    flow.pause_each = 2;
    flow.pause_ms = 150;
    run(&flow);
    assert_int_equal(flow.req.result, OK);
    assert_true(flow.pauses >= 3);
    flow_release(&flow);
}

static void stall_after_a_pause_is_noticed(void **state)
{
    (void)state;
    struct flow flow;
    flow_init(&flow, "GET", "/halt/1000");
    flow.req.stall_ms = 80;
    flow.calls = 1;
    flow.pause_each = 2;
    flow.pause_ms = 20;
    run(&flow);
    assert_int_equal(flow.pauses, 1);
    assert_int_equal(flow.got, 500);
    assert_int_equal(flow.req.result, ERR_TIMEOUT);
    flow_release(&flow);
}

static void whole_time_includes_pauses(void **state)
{
    (void)state;
    struct flow flow;
    flow_init(&flow, "GET", "/bytes/100000");
    flow.req.timeout_ms = 100;
    flow.pause_each = 1;
    flow.pause_ms = 60000;
    run(&flow);
    assert_int_equal(flow.req.result, ERR_TIMEOUT);
    flow_release(&flow);
}

static void resume_without_pause_is_harmless(void **state)
{
    (void)state;
    struct flow flow;
    flow_init(&flow, "GET", "/drip/5");
    http_resume(&flow.req);
    timer_set_in(loop, &flow.timer, 50);
    start(&flow);
    http_resume(&flow.req);
    loop_run(loop);
    http_resume(&flow.req);
    assert_int_equal(flow.req.result, OK);
    assert_int_equal(flow.got, 5);
    flow_release(&flow);
}

/* The end of a body leaves through the kernel's queue, long after curl took the last byte. */
static void slow_end_of_an_upload_is_no_stall(void **state)
{
    (void)state;
    struct flow flow;
    char *body = mem_alloc(6 * MIB);
    flow_init(&flow, "PUT", "/sip");
    flow.req.body = body;
    flow.req.body_len = 6 * MIB;
    flow.req.stall_ms = 250;
    run(&flow);
    assert_string_equal(flow.req.fault.text, "");
    assert_int_equal(flow.req.status, 204);
    flow_release(&flow);
    mem_free(body);
}

/* ---- cancelling */

static void cancel_before_the_first_turn(void **state)
{
    (void)state;
    struct flow flow;
    flow_init(&flow, "GET", "/bytes/10");
    start(&flow);
    http_cancel(&flow.req);
    http_cancel(&flow.req);
    assert_int_equal(flow.done, 0);
    loop_run(loop);
    expect_cancelled(&flow);
}

static void cancel_when_the_result_is_known(void **state)
{
    (void)state;
    struct flow flow;
    flow_init(&flow, "GET", "/");
    flow.req.url = "gopher://nonsense";
    start(&flow);
    http_cancel(&flow.req);
    loop_run(loop);
    expect_cancelled(&flow);
}

static void expect_cancelled_after(const char *path, int64_t ms)
{
    struct flow flow;
    flow_init(&flow, "GET", path);
    flow.timer.fire = on_time_to_cancel;
    timer_set_in(loop, &flow.timer, ms);
    run(&flow);
    expect_cancelled(&flow);
}

static void cancel_on_the_way(void **state)
{
    (void)state;
    expect_cancelled_after("/silent", 30);
    expect_cancelled_after("/halt/100000", 30);
    expect_cancelled_after("/drip/1000", 100);
    for (int64_t ms = 0; ms < 8; ms++)
        expect_cancelled_after("/drip/10", ms);
}

static void on_time_to_resume_and_cancel(struct timer *timer)
{
    on_time_to_resume(timer);
    on_time_to_cancel(timer);
}

static void cancel_while_paused(void **state)
{
    (void)state;
    for (int resume_too = 0; resume_too < 2; resume_too++) {
        struct flow flow;
        flow_init(&flow, "GET", "/bytes/1000000");
        flow.pause_each = 1;
        flow.pause_ms = 5;
        flow.timer.fire = resume_too ? on_time_to_resume_and_cancel : on_time_to_cancel;
        run(&flow);
        assert_int_equal(flow.pauses, 1);
        expect_cancelled(&flow);
    }
}

static void abort_of_what_was_held_back(void **state)
{
    (void)state;
    struct flow flow;
    flow_init(&flow, "GET", "/bytes/100000");
    flow.pause_each = 1;
    flow.abort_at = 2;
    run(&flow);
    expect_cancelled(&flow);
}

/* A listener whose queue is full does not even answer to a SYN. */
struct full_listener {
    int listener, filler[4];
    int port;
};

static void full_listener_open(struct full_listener *full)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    full->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(full->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(full->listener, 0), 0);
    getsockname(full->listener, (struct sockaddr *)&address, &len);
    full->port = ntohs(address.sin_port);
    for (int i = 0; i < 4; i++) {
        full->filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(full->filler[i], (struct sockaddr *)&address, len);
    }
}

static void full_listener_close(struct full_listener *full)
{
    close(full->listener);
    for (int i = 0; i < 4; i++)
        close(full->filler[i]);
}

static void connecting_can_be_cancelled_and_ends_in_time(void **state)
{
    (void)state;
    struct full_listener full;
    struct flow cancelled, late;
    full_listener_open(&full);
    flow_init(&cancelled, "GET", "/");
    flow_init(&late, "GET", "/");
    snprintf(cancelled.url, URL_SIZE, "http://127.0.0.1:%d/", full.port);
    late.req.url = cancelled.url;
    cancelled.timer.fire = on_time_to_cancel;
    timer_set_in(loop, &cancelled.timer, 50);
    start(&cancelled);
    run(&late);
    assert_int_equal(late.req.result, ERR_CONNECT);
    flow_release(&late);
    expect_cancelled(&cancelled);
    full_listener_close(&full);
}

static void freeing_the_client_ends_its_requests(void **state)
{
    (void)state;
    static const char *const path[] = { "/silent", "/halt/100000", "/bytes/1000000" };
    struct flow flow[3];
    for (size_t i = 0; i < 3; i++) {
        flow_init(&flow[i], "GET", path[i]);
        start(&flow[i]);
    }
    flow[2].pause_each = 1;
    flow[2].pause_ms = 20;
    flow[2].timer.fire = on_time_to_cancel;
    running -= 2; /* the third one ends the run */
    loop_run(loop);
    running = 3;
    assert_int_equal(flow[0].done + flow[1].done, 0);
    http_free(http);
    http = NULL;
    for (size_t i = 0; i < 3; i++)
        expect_cancelled(&flow[i]);
}

/* ---- many */

static void on_done_again(struct http_req *req)
{
    struct flow *flow = container_of(req, struct flow, req);
    if (++flow->done < 5)
        http_start(http, req);
    else
        loop_stop(loop);
}

static void request_may_start_again_in_done(void **state)
{
    (void)state;
    struct flow flow;
    flow_init(&flow, "GET", "/number");
    flow.req.done = on_done_again;
    flow.req.on_data = NULL;
    http_start(http, &flow.req);
    loop_run(loop);
    assert_int_equal(flow.done, 5);
    assert_non_null(strstr(buf_text(&flow.req.content), " 4"));
    flow_release(&flow);
}

#define SIZE 400000

/* Runs CONNECTIONS requests at once; some pause, all must be right. */
static bool crowd(struct http *client, struct loop *on)
{
    static const char *const path[] = { "/bytes/400000", "/chunked/400000" };
    struct flow *flow = mem_alloc_array(CONNECTIONS, sizeof *flow);
    int left = CONNECTIONS;
    bool right = true;
    for (int i = 0; i < CONNECTIONS; i++) {
        flow_init(&flow[i], "GET", path[i % 4 == 3]);
        flow[i].loop = on;
        flow[i].running = &left;
        flow[i].pause_each = i % 3 ? 0 : 2 + i % 5;
        flow[i].pause_ms = i % 4;
        flow[i].req.stall_ms = 30000;
        http_start(client, &flow[i].req);
    }
    loop_run(on);
    for (int i = 0; i < CONNECTIONS; i++) {
        right &= !flow[i].wrong && flow[i].req.result == OK && flow[i].got == SIZE;
        flow_release(&flow[i]);
    }
    mem_free(flow);
    return right;
}

static void many_at_once_share_connections(void **state)
{
    (void)state;
    assert_true(crowd(http, loop));
    int open = count_descriptors();
    assert_true(crowd(http, loop));
    assert_true(count_descriptors() <= open);
}

/* ---- threads */

#define THROWS 500 /* of each side */

/* A thread with its own loop and client. A letter flies between the two while both transfer. */
struct worker {
    struct loop *loop;
    struct http *http;
    struct mailbox *inbox, *other;
    int received;
    bool right, idle;
    pthread_t thread;
};

struct letter {
    struct mail mail;
    int flights_left;
};

static void on_letter(void *owner, struct mail *mail)
{
    struct worker *worker = owner;
    struct letter *letter = container_of(mail, struct letter, mail);
    worker->received++;
    if (--letter->flights_left > 0)
        mailbox_post(worker->other, mail);
    if (worker->idle && worker->received == THROWS)
        loop_stop(worker->loop);
}

static void *work(void *user)
{
    struct worker *worker = user;
    worker->right = crowd(worker->http, worker->loop) && crowd(worker->http, worker->loop);
    worker->idle = true;
    if (worker->received < THROWS)
        loop_run(worker->loop);
    return NULL;
}

static void worker_init(struct worker *worker)
{
    *worker = (struct worker){ .loop = loop_new() };
    worker->http = client_new(worker->loop);
    worker->inbox = mailbox_new(worker->loop, worker, on_letter);
}

static void loops_work_in_two_threads(void **state)
{
    (void)state;
    struct worker worker[2];
    struct letter letter = { .flights_left = 2 * THROWS };
    for (int i = 0; i < 2; i++)
        worker_init(&worker[i]);
    for (int i = 0; i < 2; i++) {
        worker[i].other = worker[!i].inbox;
        pthread_create(&worker[i].thread, NULL, work, &worker[i]);
    }
    mailbox_post(worker[0].inbox, &letter.mail);
    for (int i = 0; i < 2; i++)
        pthread_join(worker[i].thread, NULL);
    for (int i = 0; i < 2; i++) {
        assert_true(worker[i].right);
        assert_int_equal(worker[i].received, THROWS);
        mailbox_free(worker[i].inbox);
        http_free(worker[i].http);
        loop_free(worker[i].loop);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(paused_body_loses_nothing),
        TEST(pause_is_no_stall),
        TEST(stall_after_a_pause_is_noticed),
        TEST(whole_time_includes_pauses),
        TEST(resume_without_pause_is_harmless),
        TEST(slow_end_of_an_upload_is_no_stall),
        TEST(cancel_before_the_first_turn),
        TEST(cancel_when_the_result_is_known),
        TEST(cancel_on_the_way),
        TEST(cancel_while_paused),
        TEST(abort_of_what_was_held_back),
        TEST(connecting_can_be_cancelled_and_ends_in_time),
        TEST(freeing_the_client_ends_its_requests),
        TEST(request_may_start_again_in_done),
        TEST(many_at_once_share_connections),
        TEST(loops_work_in_two_threads),
    };
    return cmocka_run_group_tests(tests, start_peer, stop_peer);
}
