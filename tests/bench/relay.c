/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor of the benchmark: what a bare libcurl relay costs. One thread, N files at a time;
 * for each one the file's listing, its content and one PUT, streamed through a ring, signed,
 * neither hashed nor tracked, and not restartable.
 *
 *   download ──▶ ring: sent <= filled <= sent + RING ──▶ upload
 *
 *   relay -i source -o sink [-b batches] [-f files per batch] [-n at a time] [-a CA file]
 */
#include "dataset.h"
#include "sign.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define RING      (1024 * 1024)
#define BUFFER    (512 * 1024L) /* of libcurl, each way: small ones cost far more CPU */
#define LIST_MAX  4096
#define EVENTS    256
#define PUT_HEADS 4

/* A transfer is idle, running, or paused until the ring has bytes (or room) again. */
enum flow { FLOW_IDLE, FLOW_RUNNING, FLOW_PAUSED, FLOW_ENDED };

struct lane {
    CURL *get, *put;
    struct lane *next_awake; /* lanes that a callback touched; looked at from the loop */
    bool awake, listing;
    enum flow down, up;
    int number;
    uint64_t length, filled, sent;
    char list[LIST_MAX + 1];
    size_t list_len;
    struct curl_slist head[PUT_HEADS];
    char head_text[2][512];
    char *ring;
};

static const char *source, *sink, *ca_file;
static int batches = 100, files = 20, at_a_time = 16;
static int next_file, running, epoll_fd;
static int64_t timer_at = -1;
static CURLM *multi;
static struct curl_slist *get_heads;
static struct lane *awake, **lanes;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "relay: %s: %s\n", what, why);
    exit(1);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Callbacks only move bytes; what follows from that is done by the loop (wake_lane). */
static void touch(struct lane *lane)
{
    if (lane->awake)
        return;
    lane->awake = true;
    lane->next_awake = awake;
    awake = lane;
}

static size_t on_list(struct lane *lane, const char *data, size_t len)
{
    if (lane->list_len + len > LIST_MAX)
        return 0;
    memcpy(lane->list + lane->list_len, data, len);
    lane->list_len += len;
    return len;
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
    struct lane *lane = arg;
    size_t len = size * count, at = lane->filled % RING;
    if (lane->listing)
        return on_list(lane, data, len);
    touch(lane);
    if (len > RING - (lane->filled - lane->sent)) {
        lane->down = FLOW_PAUSED;
        return CURL_WRITEFUNC_PAUSE;
    }
    size_t first = len < RING - at ? len : RING - at;
    memcpy(lane->ring + at, data, first);
    memcpy(lane->ring, data + first, len - first);
    lane->filled += len;
    return len;
}

/* Full buffers or the rest of the file: small reads would cost a system call each. */
static bool worth_sending(const struct lane *lane)
{
    uint64_t ready = lane->filled - lane->sent;
    return ready >= BUFFER || (ready && lane->filled == lane->length);
}

static size_t on_send(char *data, size_t size, size_t count, void *arg)
{
    struct lane *lane = arg;
    size_t room = size * count, at = lane->sent % RING, ready = lane->filled - lane->sent;
    touch(lane);
    if (!worth_sending(lane)) {
        lane->up = FLOW_PAUSED;
        return CURL_READFUNC_PAUSE;
    }
    size_t len = ready < room ? ready : room;
    if (len > RING - at)
        len = RING - at;
    memcpy(data, lane->ring + at, len);
    lane->sent += len;
    return len;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    (void)easy, (void)arg;
    struct epoll_event event = { .data.fd = fd };
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, &event);
        return 0;
    }
    event.events =
        (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    epoll_ctl(epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    curl_multi_assign(multi, fd, &epoll_fd);
    return 0;
}

static int on_timer(CURLM *handle, long timeout_ms, void *arg)
{
    (void)handle, (void)arg;
    timer_at = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
    return 0;
}

static CURL *new_easy(struct lane *lane)
{
    CURL *easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_PRIVATE, lane);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, lane);
    return easy;
}

static size_t drop(char *data, size_t size, size_t count, void *arg)
{
    (void)data, (void)arg;
    return size * count;
}

static struct lane *lane_new(void)
{
    struct lane *lane = calloc(1, sizeof *lane);
    if (!lane || !(lane->ring = malloc(RING)))
        die("memory", "none");
    lane->get = new_easy(lane);
    curl_easy_setopt(lane->get, CURLOPT_HTTPHEADER, get_heads);
    curl_easy_setopt(lane->get, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(lane->get, CURLOPT_BUFFERSIZE, BUFFER);
    lane->put = new_easy(lane);
    curl_easy_setopt(lane->put, CURLOPT_WRITEFUNCTION, drop);
    curl_easy_setopt(lane->put, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(lane->put, CURLOPT_READFUNCTION, on_send);
    curl_easy_setopt(lane->put, CURLOPT_READDATA, lane);
    curl_easy_setopt(lane->put, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER);
    static char unsigned_payload[] = "x-amz-content-sha256: UNSIGNED-PAYLOAD",
                expect[] = "Expect:";
    char *text[PUT_HEADS] = { lane->head_text[0], lane->head_text[1], unsigned_payload,
                              expect };
    for (int i = 0; i < PUT_HEADS; i++)
        lane->head[i] =
            (struct curl_slist){ text[i], i + 1 < PUT_HEADS ? &lane->head[i + 1] : NULL };
    curl_easy_setopt(lane->put, CURLOPT_HTTPHEADER, lane->head);
    return lane;
}

static void lane_free(struct lane *lane)
{
    curl_easy_cleanup(lane->get);
    curl_easy_cleanup(lane->put);
    free(lane->ring);
    free(lane);
}

static void start_get(struct lane *lane, const char *query)
{
    char url[512];
    snprintf(url, sizeof url, "%s" DATASET_EXPORT "/files/" DATASET_FILE "%s", source,
             lane->number / files, lane->number % files, query);
    curl_easy_setopt(lane->get, CURLOPT_URL, url);
    curl_multi_add_handle(multi, lane->get);
}

static void start_file(struct lane *lane)
{
    if (next_file == batches * files) {
        running--;
        return;
    }
    lane->number = next_file++;
    lane->length = lane->filled = lane->sent = 0;
    lane->list_len = 0;
    lane->down = lane->up = FLOW_IDLE;
    lane->listing = true;
    start_get(lane, "");
}

static void start_content(struct lane *lane)
{
    static const char LENGTH[] = "\"length\":\"";
    lane->list[lane->list_len] = '\0';
    const char *length = strstr(lane->list, LENGTH);
    if (!length)
        die("listing", lane->list);
    lane->length = strtoull(length + sizeof LENGTH - 1, NULL, 10);
    lane->listing = false;
    lane->down = FLOW_RUNNING;
    start_get(lane, "?path=" DATASET_FILE_NAME);
}

static void start_put(struct lane *lane)
{
    char url[512], path[256], date[17];
    snprintf(path, sizeof path, "/bench/relay/" DATASET_FILE, lane->number / files,
             lane->number % files);
    snprintf(url, sizeof url, "%s%s", sink, path);
    sign_put(strstr(sink, "//") + 2, path, "bench", "bench-secret", date, lane->head_text[0],
             sizeof lane->head_text[0]);
    snprintf(lane->head_text[1], sizeof lane->head_text[1], "x-amz-date: %s", date);
    curl_easy_setopt(lane->put, CURLOPT_URL, url);
    curl_easy_setopt(lane->put, CURLOPT_INFILESIZE_LARGE, (curl_off_t)lane->length);
    lane->up = FLOW_RUNNING;
    curl_multi_add_handle(multi, lane->put);
}

/* Half a ring of room before the download goes on: few, large bursts. */
static void wake_lane(struct lane *lane)
{
    if (lane->up == FLOW_IDLE && worth_sending(lane))
        start_put(lane);
    if (lane->up == FLOW_PAUSED && worth_sending(lane)) {
        lane->up = FLOW_RUNNING;
        curl_easy_pause(lane->put, CURLPAUSE_CONT);
    }
    if (lane->down == FLOW_PAUSED && lane->filled - lane->sent <= RING / 2) {
        lane->down = FLOW_RUNNING;
        curl_easy_pause(lane->get, CURLPAUSE_CONT);
    }
}

static void wake_lanes(void)
{
    while (awake) {
        struct lane *lane = awake;
        awake = lane->next_awake;
        lane->awake = false;
        wake_lane(lane);
    }
}

static void ended(CURL *easy, CURLcode result)
{
    struct lane *lane;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &lane);
    if (result)
        die(easy == lane->put ? "PUT" : "GET", curl_easy_strerror(result));
    curl_multi_remove_handle(multi, easy);
    if (lane->listing) {
        start_content(lane);
        return;
    }
    *(easy == lane->put ? &lane->up : &lane->down) = FLOW_ENDED;
    if (lane->up == FLOW_ENDED && lane->down == FLOW_ENDED)
        start_file(lane);
}

static void turn(void)
{
    struct epoll_event event[EVENTS];
    int still, left;
    int64_t wait = timer_at < 0 ? 1000 : timer_at - now_ms();
    int n = epoll_wait(epoll_fd, event, EVENTS, wait > 0 ? (int)wait : 0);
    for (int i = 0; i < n; i++) {
        unsigned got = event[i].events;
        int mask = (got & EPOLLIN ? CURL_CSELECT_IN : 0) |
                   (got & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (got & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
        curl_multi_socket_action(multi, event[i].data.fd, mask, &still);
    }
    if (timer_at >= 0 && now_ms() >= timer_at) {
        timer_at = -1;
        curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &still);
    }
    for (CURLMsg *message; (message = curl_multi_info_read(multi, &left));)
        ended(message->easy_handle, message->data.result);
    wake_lanes();
}

static void relay_open(void)
{
    static const char *const head[] = { "Authorization: Bearer bench.bench.bench",
                                        "x-api-key: bench", "x-gw-ims-org-id: bench@AdobeOrg",
                                        "x-sandbox-name: prod" };
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        get_heads = curl_slist_append(get_heads, head[i]);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 2L * at_a_time + 8);
}

static void relay_close(void)
{
    curl_multi_cleanup(multi);
    curl_slist_free_all(get_heads);
    close(epoll_fd);
}

static void relay(void)
{
    int count = at_a_time < batches * files ? at_a_time : batches * files;
    if (!(lanes = calloc((size_t)count, sizeof(struct lane *))))
        die("memory", "none");
    for (running = 0; running < count; running++)
        start_file(lanes[running] = lane_new());
    while (running)
        turn();
    for (int i = 0; i < count; i++)
        lane_free(lanes[i]);
    free(lanes);
}

int main(int argc, char **argv)
{
    for (int c; (c = getopt(argc, argv, "i:o:b:f:n:a:")) != -1;)
        switch (c) {
        case 'i':
            source = optarg;
            break;
        case 'o':
            sink = optarg;
            break;
        case 'b':
            batches = (int)strtol(optarg, NULL, 10);
            break;
        case 'f':
            files = (int)strtol(optarg, NULL, 10);
            break;
        case 'n':
            at_a_time = (int)strtol(optarg, NULL, 10);
            break;
        case 'a':
            ca_file = optarg;
            break;
        default:
            return 2;
        }
    if (!source || !sink)
        die("usage", "-i source -o sink");
    curl_global_init(CURL_GLOBAL_ALL);
    relay_open();
    relay();
    relay_close();
    curl_global_cleanup();
    return 0;
}
