# SPDX-License-Identifier: Apache-2.0
"""Trouble that must heal by itself: leases, listings, files and stores that fail halfway."""
import random
import re
import signal
import threading
import time

import pytest

from ground import now_ms
from relay import Answer, Cut, Relay, s3_error
from test_tail import committed, drained
from world import wait_until

MIB = 1 << 20


@pytest.fixture
def redis_relay(redis):
    """Between the daemon and Redis."""
    with Relay(redis.socket) as relay:
        yield relay


@pytest.fixture
def s3_relay(rgw):
    """Between the daemon and the store."""
    with Relay(rgw.endpoint) as relay:
        yield relay


@pytest.fixture
def aep_relay(world, sim):
    """Between the daemon and the simulator, which must be started when it is used."""
    relays = []

    def make():
        relays.append(Relay(sim.endpoint))
        return relays[0]

    yield make
    for relay in relays:
        relay.__exit__()


def through(relay):
    """The address of a relay as the setting of an HTTP server."""
    return f"http://{relay.address}"


def field(redis, task, name):
    """A field of a task's hash."""
    return redis.command("HGET", f"sluice:t:{task}", name)


def leased(redis):
    """How many tasks are held by somebody."""
    keys = redis.command("--scan", "--pattern", "sluice:lease:*").split()
    return sum(int(redis.command("ZCARD", key)) for key in keys)


# ---- the tail


def test_page_that_ends_with_the_newest_batch(world, sim, sluiced, judge):
    """All of a full page is known, and so is its last batch: what lies behind it is found."""
    data = world.dataset()
    start = now_ms() - 60_000
    for number in range(100):
        data.batch([10], created=start + number)
    daemon = sluiced()
    daemon.start()
    committed(daemon, 100)
    time.sleep(1)  # the tail comes to rest
    sim.add(data.batch([20], created=start + 200))
    committed(daemon, 101, 20)
    judge()


def test_short_page_that_ends_with_the_newest_batch(world, sim, sluiced, judge):
    """The same where the server's pages are shorter than asked for: the sweep finds it."""
    data = world.dataset()
    start = now_ms() - 60_000
    for number in range(7):
        data.batch([10], created=start + number)
    sim.start()
    sim.arm("short_pages:rows=7")
    daemon = sluiced(aep={"sweep": "1s"})
    daemon.start()
    committed(daemon, 7)
    time.sleep(1)
    sim.add(data.batch([20], created=start + 200, updated=now_ms()))
    committed(daemon, 8, 40)
    judge()


@pytest.mark.parametrize("functions", [False, True])
def test_redis_forgets_under_a_live_daemon(functions, world, sim, sluiced, redis, judge):
    """FLUSHALL while batches are on their way: all of them arrive, also those known before."""
    data = world.dataset()
    start = now_ms() - 60_000
    for number in range(4):
        data.batch([3 * MIB], created=start + number)
    sim.start()
    sim.arm(f"slow:bytes_per_second={1 * MIB}")
    daemon = sluiced()
    daemon.start()
    wait_until(lambda: daemon.metric("sluice_received_bytes_total") > MIB, 20)
    redis.command("FLUSHALL")
    if functions:
        redis.command("FUNCTION", "FLUSH")
    wait_until(lambda: redis.command("EXISTS", f"sluice:t:tail/{data.id}") == "1", 20,
               "the tail is back")
    sim.disarm()
    wait_until(lambda: redis.command("ZCARD", "sluice:done") == "4", 30, "all batches ended")
    judge()


def test_clock_that_is_ahead(world, sim, aep_relay, sluiced, redis):
    """Our clock is two hours ahead of Adobe's: the watermark follows theirs."""
    data = world.dataset()
    data.batch([10])
    sim.start()
    relay = aep_relay()
    behind = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() - 7200))
    relay.down = lambda answer: re.sub(rb"\r\nDate: [^\r]*",
                                       f"\r\nDate: {behind}".encode(), answer, count=1)
    daemon = sluiced(aep={"endpoint": through(relay), "ims_endpoint": through(relay)})
    daemon.start()
    committed(daemon, 1)
    wait_until(lambda: int(field(redis, f"tail/{data.id}", "offset")) > now_ms() - 8_000_000, 10)
    assert int(field(redis, f"tail/{data.id}", "offset")) < now_ms() - 7_000_000


# ---- stopping


def test_stop_while_a_claim_is_on_its_way(world, sim, sluiced, redis, redis_relay):
    """What Redis has given to a daemon that is told to stop is given back."""
    data = world.dataset()
    daemon = sluiced(redis={"url": f"redis://{redis_relay.address}"}, queue={"lease": "60s"})
    daemon.config["datasets"][0]["poll"] = "1h"
    daemon.start()
    wait_until(lambda: daemon.get("/readyz")[0] == 200, 20)
    wait_until(lambda: field(redis, f"tail/{data.id}", "status") == "pending", 10)
    held, go = threading.Event(), threading.Event()

    def hold(answer):
        if b"j/" + data.id.encode() in answer:
            held.set()
            go.wait(5)
        return answer

    redis_relay.down = hold
    redis.command("FCALL", "sluice_backfill", 1, "sluice:", data.id, "2024-02-01", "2024-02-02")
    assert held.wait(10)
    daemon.signal(signal.SIGTERM)
    time.sleep(0.3)
    go.set()
    daemon.process.wait(10)
    assert daemon.process.returncode == 0
    assert leased(redis) == 0


def stick(relay, go):
    """The store no longer answers what concerns files, until `go`."""
    stuck = threading.Event()

    def hold(request):
        if b"part-" in request[:300]:
            stuck.set()
            go.wait(20)
        return request

    relay.up = hold
    return stuck


def test_store_stuck_at_stop(world, sim, sluiced, s3_relay, redis, judge):
    """Uploads that do not end: stop_grace does, and the next daemon finishes."""
    world.dataset().batch([6 * MIB, 100])
    go = threading.Event()
    stuck = stick(s3_relay, go)
    daemon = sluiced(s3={"endpoint": through(s3_relay)}, queue={"stop_grace": "1s"})
    daemon.start()
    assert stuck.wait(20)
    begun = time.monotonic()
    daemon.signal(signal.SIGTERM)
    daemon.process.wait(10)
    assert daemon.process.returncode == 0
    assert 0.9 < time.monotonic() - begun < 4
    go.set()
    daemon.start()
    committed(daemon, 1)
    drained(daemon, redis)
    judge(allow_uploads=1)


def test_second_signal(world, sluiced, s3_relay):
    """A second SIGTERM ends a drain that hangs at once, with its own exit status."""
    world.dataset().batch([100])
    go = threading.Event()
    stuck = stick(s3_relay, go)
    daemon = sluiced(s3={"endpoint": through(s3_relay)}, queue={"stop_grace": "60s"})
    daemon.start()
    assert stuck.wait(20)
    daemon.signal(signal.SIGTERM)
    time.sleep(0.5)
    assert daemon.process.poll() is None
    daemon.signal(signal.SIGTERM)
    assert daemon.process.wait(2) == 69
    go.set()


def test_zombie(world, sim, sluiced, redis, judge):
    """SIGSTOP past the lease, another daemon finishes, SIGCONT: no harm, and in good health."""
    data = world.dataset()
    data.batch([12 * MIB, 100])
    data.batch([8 * MIB])
    sim.start()
    sim.arm(f"slow:bytes_per_second={6 * MIB}")
    first, second = sluiced(queue={"lease": "2s"}), sluiced(queue={"lease": "2s"})
    first.start()
    wait_until(lambda: first.metric("sluice_received_bytes_total") > 5 * MIB, 20)
    first.signal(signal.SIGSTOP)
    second.start()
    committed(second, 2, 60)
    drained(second, redis)
    first.signal(signal.SIGCONT)
    wait_until(lambda: first.status()["tasks"]["files"] == 0, 20, "the zombie lets go")
    time.sleep(0.5)
    assert first.get("/readyz")[0] == 200
    assert first.metric("sluice_leases_lost_total") > 0
    judge(allow_uploads=2)
    second.stop()
    sim.add(data.batch([5000], created=now_ms()))
    committed(first, 1, 20)
    judge(allow_uploads=2)


# ---- room


def test_batches_without_room_leave_the_slots(world, sim, sluiced, redis):
    """A dataset whose files cannot be read fills its share: others go on."""
    stuck, other = world.dataset(), world.dataset()
    for number in range(3):
        stuck.batch([1000] * 130, batch_id=f"STUCK{number}")
    sim.start()
    sim.arm("hang:times=0,endpoint=content,match=STUCK")
    daemon = sluiced(aep={"window_start": 250}, transfer={"batches": 2},
                     queue={"max_open_files": 20})
    daemon.start()
    wait_until(lambda: int(redis.command("SCARD", f"sluice:open-files:{stuck.id}")) >= 20, 20)
    time.sleep(1)
    mine = other.batch([500], created=now_ms())
    sim.add(mine)
    wait_until(lambda: field(redis, f"b/{other.id}/{mine.id}", "status") == "completed", 30,
               "the other dataset's batch is committed")


def test_live_files_pass_a_backfill(world, sim, sluiced, redis):
    """Large files of a backfill wait for buffers in numbers: a new file does not queue behind."""
    data = world.dataset()
    for number in range(4):
        data.batch([6 * MIB] * 10, created=1_706_745_600_000 + number)
    sim.start()
    sim.arm(f"slow:bytes_per_second={4 * MIB}")
    daemon = sluiced(transfer={"memory": "32MiB"})
    daemon.config["datasets"][0]["start"] = "2024-03-01"
    daemon.start()
    redis.command("FCALL", "sluice_backfill", 1, "sluice:", data.id, "2024-02-01", "2024-02-02")
    wait_until(lambda: daemon.metric("sluice_received_bytes_total") > 10 * MIB, 20)
    sim.add(data.batch([1000], created=now_ms()))
    committed(daemon, 1, 8)
    assert daemon.metric("sluice_files_stored_total") < 30


# ---- batches


@pytest.mark.parametrize("_", range(3))
def test_skip_is_known_before_the_batch_is_sealed(_, world, sim, sluiced, redis, redis_relay,
                                                  judge):
    """The connection breaks when a skipped batch is reported: it is skipped all the same."""
    data = world.dataset()
    for _ in range(4):
        data.batch([100], status="failed")
    broken = []

    def break_once(request):
        if b"/failed\r\n" in request and not broken:
            broken.append(True)
            raise Cut
        return request

    redis_relay.up = break_once
    daemon = sluiced(redis={"url": f"redis://{redis_relay.address}"})
    daemon.start()
    wait_until(lambda: redis.command("ZCARD", "sluice:done") == "4", 30, "all batches ended")
    assert broken
    judge()


def test_open_batch_listed_too_early(world, sim, sluiced, redis, judge):
    """A batch found while it was open, readable later, listed empty at first: not committed
    without its files."""
    data = world.dataset()
    data.batch([100, 200], status="loading", life=[[1500, "success"]])
    sim.start()
    sim.arm("list_empty_then_full:calls=1")
    daemon = sluiced()
    daemon.start()
    committed(daemon, 1, 30)
    drained(daemon, redis)
    judge()


def test_batch_not_found_for_a_moment(world, sim, aep_relay, sluiced, redis, judge):
    """A 404 for a batch that is open and known is not the end of it."""
    data = world.dataset()
    batch = data.batch([100], status="loading", life=[[2000, "success"]])
    sim.start()
    relay, missing = aep_relay(), []

    def lose(request):
        if f"/batches/{batch.id} ".encode() in request and not missing:
            missing.append(True)
            raise Answer(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return request

    relay.up = lose
    daemon = sluiced(aep={"endpoint": through(relay)})
    daemon.start()
    committed(daemon, 1, 30)
    assert missing
    drained(daemon, redis)
    judge()


def test_batch_not_found_once_after_other_trouble(world, sim, aep_relay, sluiced, redis, judge):
    """Attempts that were lost for other reasons are no sign that a batch does not exist."""
    data = world.dataset()
    batch = data.batch([100], status="loading", life=[[6000, "success"]])
    sim.start()
    relay, missing = aep_relay(), []

    def lose(request):
        if f"/batches/{batch.id} ".encode() in request and not missing:
            missing.append(int(field(redis, task, "attempts")))
            raise Answer(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return request

    task = f"b/{data.id}/{batch.id}"
    daemon = sluiced(aep={"endpoint": through(relay)})
    daemon.start()
    wait_until(lambda: field(redis, task, "looks") not in ("", "0"), 20, "it was looked at")
    redis.command("HSET", f"sluice:t:{task}", "attempts", "7")
    relay.up = lose
    committed(daemon, 1, 40)
    assert missing and missing[0] >= 7
    drained(daemon, redis)
    judge()


def test_skipped_by_an_operator_while_it_is_committed(world, sim, sluiced, redis, redis_relay,
                                                      bucket, judge):
    """The rows of a batch vanish under its commit: no manifest that lacks files."""
    data = world.dataset()
    batch = data.batch([10] * 30, expect="any")
    held, go = threading.Event(), threading.Event()

    def hold(request):
        if b"sluice_rows" in request and not held.is_set():
            held.set()
            go.wait(10)
        return request

    redis_relay.up = hold
    daemon = sluiced(redis={"url": f"redis://{redis_relay.address}"})
    daemon.start()
    assert held.wait(20)
    redis.command("FCALL", "sluice_skip", 1, "sluice:", f"b/{data.id}/{batch.id}", "test")
    redis.command("FCALL", "sluice_tick", 1, "sluice:", "test", 1000, 86400000, 5, data.id)
    assert redis.command("EXISTS", f"sluice:rows:b/{data.id}/{batch.id}") == "0"
    go.set()
    wait_until(lambda: daemon.status()["tasks"]["control"] <= 1, 10)
    time.sleep(1)
    assert not [key for key in bucket.objects("lake/") if "manifests" in key]
    judge(allow_strays=True)


# ---- files


def test_source_changes_for_a_moment(world, sim, sluiced, redis, judge):
    """A large file whose answer tells another length once: begun anew, no upload left behind."""
    world.dataset().batch([("big.parquet", 11 * MIB)])
    sim.start()
    sim.arm("total_changes:nth=2,times=1")
    daemon = sluiced(transfer={"lanes": 1})
    daemon.start()
    committed(daemon, 1, 30)
    drained(daemon, redis)
    assert sim.counters()["faults"]["total_changes"] == 1
    judge(allow_uploads=0)


@pytest.mark.parametrize("size,listed", [(1234, 1299), (11 * MIB, 11 * MIB + 1)])
def test_file_listed_with_a_wrong_length(size, listed, world, sim, aep_relay, sluiced, redis,
                                         judge):
    """The listing was out of date: the next try asks again, instead of failing for ever."""
    world.dataset().batch([("file.parquet", size), 100])
    sim.start()
    relay, lies = aep_relay(), []

    def lie(answer):
        if f'"length": "{size}"'.encode() in answer and not lies:
            lies.append(True)
            return answer.replace(f'"{size}"'.encode(), f'"{listed}"'.encode())
        return answer

    relay.down = lie
    daemon = sluiced(aep={"endpoint": through(relay)})
    daemon.start()
    committed(daemon, 1, 30)
    assert lies
    drained(daemon, redis)
    judge(allow_uploads=0)


@pytest.mark.parametrize("order", ["concurrent", "commit"])
@pytest.mark.parametrize("status", ["inactive", "deleted"])
def test_batch_withdrawn_under_its_files(order, status, world, sim, sluiced, redis, judge):
    """A platform merges and takes back whenever it likes: nobody is called, and nothing waits for
    the batch."""
    data = world.dataset()
    batch, after = data.batch([8 * MIB] * 4), data.batch([100])
    sim.start()
    sim.arm(f"slow:bytes_per_second={4 * MIB}")
    daemon = sluiced()
    daemon.config["datasets"][0]["order"] = order
    daemon.start()
    wait_until(lambda: daemon.metric("sluice_received_bytes_total") > 6 * MIB, 20)
    sim.set_status(batch, status)
    task = f"b/{data.id}/{batch.id}"
    wait_until(lambda: field(redis, task, "result") == "withdrawn", 60, "the batch is skipped")
    committed(daemon, 1, 60)
    drained(daemon, redis)
    assert field(redis, f"b/{data.id}/{after.id}", "result") == ""
    assert redis.command("ZCARD", "sluice:dead") == "0"
    judge(allow_strays=True, allow_uploads=4)


def upload_of(redis, bucket):
    """(key, upload id) of the only multipart upload, once the queue knows it."""
    def look():
        for key in redis.command("--scan", "--pattern", "sluice:t:f/*").split():
            upload = redis.command("HGET", key, "upload_id")
            if upload and redis.command("HEXISTS", key, "p1") == "1":
                return upload
        return None
    upload = wait_until(look, 20, "an upload with a part")
    found = bucket.client.list_multipart_uploads(Bucket=bucket.name)["Uploads"]
    return next(item["Key"] for item in found if item["UploadId"] == upload), upload


def test_upload_aborted_behind_our_back(world, sim, sluiced, redis, bucket, judge):
    """A lifecycle rule removes the upload: the file begins a new one."""
    world.dataset().batch([30 * MIB])
    sim.start()
    sim.arm(f"slow:bytes_per_second={10 * MIB}")
    daemon = sluiced()
    daemon.start()
    key, upload = upload_of(redis, bucket)
    bucket.client.abort_multipart_upload(Bucket=bucket.name, Key=key, UploadId=upload)
    sim.disarm()
    committed(daemon, 1, 40)
    drained(daemon, redis)
    judge(allow_uploads=0)


def test_complete_of_a_missing_upload(world, sim, sluiced, redis, bucket, s3_relay, judge):
    """The upload goes just before its Complete, which Ceph answers with 500."""
    world.dataset().batch([11 * MIB])
    daemon = sluiced(s3={"endpoint": through(s3_relay)})
    daemon.start()
    wait_until(lambda: daemon.get("/readyz")[0] == 200, 20)
    aborted = []

    def abort_first(request):
        found = re.match(rb"POST /([^?]*)\?uploadId=(\S+) ", request)
        if found and not aborted:
            aborted.append(upload_of(redis, bucket))
            key, upload = aborted[0]
            bucket.client.abort_multipart_upload(Bucket=bucket.name, Key=key, UploadId=upload)
        return request

    s3_relay.up = abort_first
    committed(daemon, 1, 60)
    assert aborted
    drained(daemon, redis)
    judge(allow_uploads=0)


# ---- the store


def refuse_files(relay, status, code):
    """The store answers writes of files like this."""
    def refuse(request):
        if re.match(rb"PUT /\S*part-", request):
            raise Answer(s3_error(status, code))
        return request

    relay.up = refuse


def test_store_denies_for_a_while(world, sim, sluiced, s3_relay, redis, judge):
    """Everything waits, says so, does not read the source in vain, and recovers."""
    data = world.dataset()
    for number in range(40):
        data.batch([100_000 + number])
    sim.start()
    daemon = sluiced(s3={"endpoint": through(s3_relay)})
    refuse_files(s3_relay, 403, "AccessDenied")
    daemon.start()
    wait_until(lambda: "AccessDenied" in daemon.get("/readyz?verbose")[1], 20, "says why")
    sim.reset()
    time.sleep(3)
    assert sim.counters()["requests"].get("content", 0) <= 8
    assert daemon.metric("sluice_dead_letters_total") == 0
    s3_relay.up = lambda data: data
    committed(daemon, 40, 30)
    wait_until(lambda: daemon.get("/readyz")[0] == 200, 5)
    drained(daemon, redis)
    judge()


@pytest.mark.parametrize("status,code", [(507, "InsufficientStorage"), (503, "SlowDown")])
def test_store_fails_for_a_moment(status, code, world, sluiced, s3_relay, redis, judge):
    """What the store cannot take now it is given again."""
    data = world.dataset()
    for number in range(10):
        data.batch([1000 + number])
    daemon = sluiced(s3={"endpoint": through(s3_relay)})
    refuse_files(s3_relay, status, code)
    daemon.start()
    wait_until(lambda: daemon.metric("sluice_received_bytes_total") > 5000, 20)
    time.sleep(1)
    s3_relay.up = lambda data: data
    committed(daemon, 10, 30)
    drained(daemon, redis)
    judge()


# ---- all of it


def lapse_some(redis, chance):
    """Some leases end early, as if the daemon had been silent: another fence takes over."""
    for key in redis.command("--scan", "--pattern", "sluice:lease:*").split():
        for task in redis.command("ZRANGE", key, 0, -1).split():
            if chance.random() < 0.3:
                redis.command("HSET", f"sluice:t:{task}", "lost", 0)
                redis.command("ZADD", key, "XX", 1, task)


@pytest.mark.parametrize("what", ["leases", "redis", "s3", "aep"])
def test_lost_now_and_then(what, world, sim, sluiced, redis, redis_relay, s3_relay, aep_relay,
                           judge):
    """Leases or connections are lost at random moments, in whatever state the tasks are."""
    data = world.dataset()
    for number in range(8):
        data.batch([300 + number, 6 * MIB, 70_000, 11 * MIB])
    data.batch(directories=[[50]] * 20)
    sim.start()
    sim.arm(f"delay:ms=20 slow:bytes_per_second={3 * MIB}")
    aep, chance = aep_relay(), random.Random(what)
    daemon = sluiced(redis={"url": f"redis://{redis_relay.address}"}, queue={"lease": "2s"},
                     s3={"endpoint": through(s3_relay)}, aep={"endpoint": through(aep)})
    daemon.start()
    wait_until(lambda: daemon.metric("sluice_claims_total"), 20)
    strike = {"leases": lambda: lapse_some(redis, chance), "redis": redis_relay.cut,
              "s3": s3_relay.cut, "aep": aep.cut}[what]
    for _ in range(8):
        time.sleep(chance.uniform(0.1, 0.5))
        strike()
    sim.disarm()
    wait_until(lambda: redis.command("ZCARD", "sluice:done") == "9", 60, "all batches ended")
    judge(allow_uploads=12)
