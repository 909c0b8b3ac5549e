# SPDX-License-Identifier: Apache-2.0
"""Trouble on the way to S3 and AEP: answers that get lost, leases that end, services that are
away, signals at any moment, uploads that nobody finishes."""
import re
import signal
import threading
import time
import urllib.parse

import pytest

# pylint: disable=unused-import,redefined-outer-name
from relay import Answer, Cut, s3_error
from test_recovery import (aep_relay, field, redis_relay, s3_relay, through,
                           upload_of)
from test_tail import committed, drained
from world import wait_until

MIB = 1 << 20
WRITES = {
    "put": rb"PUT /\S*-small\.parquet ",
    "part": rb"PUT /\S*-big\.parquet\?partNumber=2",
    "create": rb"POST /\S*-big\.parquet\?uploads",
    "complete": rb"POST /\S*-big\.parquet\?uploadId=",
    "manifest": rb"PUT /\S*/manifests/",
}


class Strike:
    """Lets the store carry out the first `times` requests of a kind, and spoils its answers."""

    def __init__(self, relay, what, how, times=1):
        self.pattern, self.how, self.left = re.compile(WRITES[what]), how, times
        self.waiting, self.struck = False, 0
        relay.up, relay.down = self.see, self.spoil

    def see(self, data):
        """The hook `up`."""
        if self.left and self.pattern.match(data):
            self.waiting, self.left = True, self.left - 1
        return data

    def spoil(self, data):
        """The hook `down`."""
        if not self.waiting:
            return data
        self.waiting, self.struck = False, self.struck + 1
        if self.how is None:
            raise Cut
        return self.how


def instead(relay, what, answer):
    """The store sees nothing of the first request of a kind; the daemon gets this answer."""
    pattern, done = re.compile(WRITES[what]), []

    def refuse(data):
        if not done and pattern.match(data):
            done.append(True)
            raise Answer(answer)
        return data

    relay.up = refuse
    return done


def fill(world, what):
    """A batch whose files make the kind of write: one of one part, or one of three. Alone, so
    that the next answer after the request is the answer to it."""
    small = what in ("put", "manifest")
    size = 1234 if small else 11 * MIB
    return world.dataset().batch([("small.parquet" if small else "big.parquet", size)])


def moved(daemon, redis):
    """Waits for the end; no attempt may have come to nothing for good."""
    committed(daemon, 1, 40)
    drained(daemon, redis)
    assert daemon.metric("sluice_dead_letters_total") == 0


# ---- ambiguous success


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("how", ["lost", "500"])
@pytest.mark.parametrize("what", WRITES)
def test_done_but_the_answer_is_lost(what, how, times, world, sluiced, s3_relay, redis, judge):
    """Whatever the store did and could not say: done once, and seen as done."""
    fill(world, what)
    answer = None if how == "lost" else s3_error(500, "InternalError")
    strike = Strike(s3_relay, what, answer, times)
    daemon = sluiced(s3={"endpoint": through(s3_relay)}, transfer={"lanes": 1})
    daemon.start()
    moved(daemon, redis)
    assert strike.struck
    judge(allow_uploads=times if what == "create" else 0)


@pytest.mark.parametrize("answer", [
    s3_error(200, "InternalError"), s3_error(200, "PreconditionFailed"),
    s3_error(412, "PreconditionFailed"), s3_error(409, "ConditionalRequestConflict"),
    s3_error(404, "NoSuchUpload"), b"HTTP/1.1 200 X\r\nContent-Length: 5\r\n\r\n<Comp",
], ids=["200-error", "200-exists", "412", "409", "404", "truncated"])
@pytest.mark.parametrize("acts", [True, False])
def test_complete_answers_strangely(acts, answer, world, sluiced, s3_relay, redis, judge):
    """HEAD decides whether the object was made; if not, nothing is left of the attempt."""
    fill(world, "complete")
    if acts:
        Strike(s3_relay, "complete", answer)
    else:
        instead(s3_relay, "complete", answer)
    daemon = sluiced(s3={"endpoint": through(s3_relay)})
    daemon.start()
    moved(daemon, redis)
    judge(allow_uploads=0)


@pytest.mark.parametrize("what,status,code", [
    ("complete", 400, "InvalidPart"), ("complete", 400, "EntityTooSmall"),
    ("complete", 400, "BadDigest"), ("part", 404, "NoSuchUpload"),
    ("put", 409, "ConditionalRequestConflict"), ("put", 412, "PreconditionFailed"),
    ("manifest", 409, "ConditionalRequestConflict"), ("manifest", 412, "PreconditionFailed"),
])
def test_refused_without_reason(what, status, code, world, sluiced, s3_relay, redis, judge):
    """A refusal that the bucket does not bear out is tried again, from the right place."""
    fill(world, what)
    refused = instead(s3_relay, what, s3_error(status, code))
    daemon = sluiced(s3={"endpoint": through(s3_relay)})
    daemon.start()
    moved(daemon, redis)
    assert refused
    judge(allow_uploads=0)


def test_another_object_in_the_way(world, sim, sluiced, redis, bucket, s3_relay):
    """A Complete that meets an object of somebody else: dead letter, its upload is aborted, the
    object stays as it is."""
    batch = fill(world, "complete")
    daemon = sluiced(s3={"endpoint": through(s3_relay)})
    foreign = []

    def put_first(data):
        if not foreign and re.match(WRITES["complete"], data):
            path = re.match(rb"POST /[^/]*/([^?]*)", data)[1].decode()
            foreign.append(urllib.parse.unquote(path))
            bucket.client.put_object(Bucket=bucket.name, Key=foreign[0], Body=b"not ours")
            raise Answer(s3_error(412, "PreconditionFailed"))
        return data

    s3_relay.up = put_first
    daemon.start()
    task = f"b/{sim.truth()['batches'][0]['dataset']}/{batch.id}"
    wait_until(lambda: field(redis, task, "status") == "failed", 20, "the batch has failed")
    dead = redis.command("SMEMBERS", f"sluice:dead:{task}")
    assert field(redis, dead, "class") == "differs"
    body = bucket.client.get_object(Bucket=bucket.name, Key=foreign[0])["Body"].read()
    assert body == b"not ours"
    assert "Uploads" not in bucket.client.list_multipart_uploads(Bucket=bucket.name)


def test_another_manifest_in_the_way(world, sluiced, redis, bucket, s3_relay):
    """A manifest of somebody else, put there a moment before ours: it stays, and is said."""
    data = world.dataset()
    batch = data.batch([100])
    daemon = sluiced(s3={"endpoint": through(s3_relay)})
    foreign = []

    def put_first(data):
        found = re.match(rb"PUT /[^/]*/([^? ]*_sluice/manifests/[^? ]*)", data)
        if found and not foreign:
            foreign.append(urllib.parse.unquote(found[1].decode()))
            bucket.client.put_object(Bucket=bucket.name, Key=foreign[0], Body=b"{}")
        return data

    s3_relay.up = put_first
    daemon.start()
    task = f"b/{data.id}/{batch.id}"
    wait_until(lambda: field(redis, task, "status") == "failed", 40, "the batch has failed")
    assert field(redis, task, "class") == "differs"
    assert bucket.client.get_object(Bucket=bucket.name, Key=foreign[0])["Body"].read() == b"{}"


# ---- leases


def test_no_write_begins_late_in_a_lease(world, sim, sluiced, redis, redis_relay, s3_relay):
    """Redis no longer answers: no part begins after two thirds of the lease, and at its end all
    work of the task is over, with the store's answer or without it."""
    world.dataset().batch([("big.parquet", 300 * MIB)])
    sim.start()
    sim.arm(f"slow:bytes_per_second={12 * MIB}")
    parts, silent, go = [], threading.Event(), threading.Event()

    def count(data):
        if b"partNumber=" in data[:400]:
            parts.append(time.monotonic())
        return data

    def be_silent(data):
        if silent.is_set():
            go.wait(20)
        return data

    s3_relay.up, redis_relay.down = count, be_silent
    daemon = sluiced(redis={"url": f"redis://{redis_relay.address}"}, transfer={"lanes": 1},
                     s3={"endpoint": through(s3_relay)}, queue={"lease": "3s"})
    daemon.start()
    wait_until(lambda: len(parts) > 2, 20)
    silent.set()
    begun = time.monotonic()
    wait_until(lambda: daemon.status()["tasks"]["files"] == 0, 4.2, "the transfer is over")
    assert time.monotonic() - begun > 1.5
    late = [at - begun for at in parts if at - begun > 2.2]
    assert any(at > begun for at in parts) and not late
    go.set()


def test_store_stuck_at_the_end_of_a_lease(world, sluiced, redis, redis_relay, s3_relay, judge):
    """A part on its way is not waited for once the task may be another worker's."""
    world.dataset().batch([("big.parquet", 11 * MIB)])
    stuck, go = threading.Event(), threading.Event()

    def stick(data):
        if re.match(WRITES["part"], data):
            stuck.set()
            go.wait(20)
        return data

    s3_relay.up = stick
    daemon = sluiced(redis={"url": f"redis://{redis_relay.address}"},
                     s3={"endpoint": through(s3_relay)}, queue={"lease": "2s"})
    daemon.start()
    assert stuck.wait(20)

    def never(data):
        go.wait(20)
        return data

    redis_relay.down = never
    wait_until(lambda: daemon.status()["tasks"]["files"] == 0, 3.2, "the file is let go")
    redis_relay.down = s3_relay.up = lambda data: data
    go.set()
    redis_relay.cut()
    moved(daemon, redis)
    judge(allow_uploads=1)


def test_zombie_aborts_nothing(world, sim, sluiced, redis, s3_relay, judge):
    """Who has lost its lease aborts no upload: it may be the successor's by now."""
    world.dataset().batch([("big.parquet", 16 * MIB)])
    sim.start()
    sim.arm(f"slow:bytes_per_second={6 * MIB}")
    aborts = []

    def see(data):
        if data.startswith(b"DELETE "):
            aborts.append(data[:200])
        return data

    s3_relay.up = see
    first = sluiced(queue={"lease": "2s"}, s3={"endpoint": through(s3_relay)})
    second = sluiced(queue={"lease": "2s"})
    first.start()
    wait_until(lambda: first.metric("sluice_parts_stored_total") > 0, 20)
    aborts.clear()  # the probe at the start aborts its own
    first.signal(signal.SIGSTOP)
    second.start()
    committed(second, 1, 40)
    first.signal(signal.SIGCONT)
    wait_until(lambda: first.status()["tasks"]["files"] == 0, 3, "the zombie lets go")
    drained(second, redis)
    assert not aborts
    judge(allow_uploads=0)


# ---- services that are away


def breakers(daemon):
    """The state of each breaker."""
    return {name: check["breaker"] for name, check in daemon.status()["checks"].items()
            if "breaker" in check}


def attempts(redis):
    """The highest number of attempts that any task has."""
    keys = redis.command("--scan", "--pattern", "sluice:t:*").split()
    return max(int(redis.command("HGET", key, "attempts") or 0) for key in keys)


def requests(sim):
    """How many calls AEP has got."""
    return sum(sim.counters()["requests"].values())


def fault_of_aep(sim, text):
    """Takes a service of AEP away, and brings it back."""
    return lambda: sim.arm(text), sim.disarm


def s3_away(relay):
    """The same for S3: it denies all that is written."""
    def deny(data):
        if re.match(rb"(PUT|POST) /\S*(part-|manifests)", data):
            raise Answer(s3_error(403, "AccessDenied"))
        return data

    def away():
        relay.up = deny

    def back():
        relay.up = lambda data: data
    return away, back


AEP_AWAY = {
    "ims": "ims_down",
    "catalog": "error_500:times=0,endpoint=batches|batch",
    "access": "error_503:times=0,endpoint=batch_files|files|content",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ims", "catalog", "access", "s3"])
def test_upstream_away(name, world, sim, sluiced, s3_relay, redis, judge):
    """A service fails for everybody: its breaker opens and says so, few calls try it, no task
    loses an attempt by it, and when it is back everything arrives."""
    data = world.dataset()
    for number in range(60):
        data.batch([1000 + number, 50])
    sim.start()
    away, back = s3_away(s3_relay) if name == "s3" else fault_of_aep(sim, AEP_AWAY[name])
    away()
    daemon = sluiced(s3={"endpoint": through(s3_relay)})
    daemon.start()
    wait_until(lambda: breakers(daemon)[name] == "open", 60, "the breaker is open")
    time.sleep(1)  # what was on its way when it opened
    before = requests(sim)
    time.sleep(4)
    assert requests(sim) - before < 60
    status, text = daemon.get("/readyz")
    assert status == 503 and f"[-] {name}" in text
    assert daemon.metric("sluice_breaker_open") > 0
    assert attempts(redis) <= 1
    assert daemon.metric("sluice_dead_letters_total") == 0
    back()
    committed(daemon, 60, 60)
    drained(daemon, redis)
    wait_until(lambda: daemon.get("/readyz")[0] == 200, 10, "ready again")
    assert breakers(daemon)[name] == "closed"
    log = daemon.log.read_text(encoding="utf-8")
    opened = log.count(f"{name} fails for all tasks, breaker open")
    assert opened and opened == log.count(f"{name} works again, breaker closed")
    judge()


@pytest.mark.slow
def test_silent_source_costs_no_attempts(world, sim, sluiced, redis, aep_relay, judge):
    """Every connection to AEP breaks without an answer: no task is to blame."""
    data = world.dataset()
    for number in range(30):
        data.batch([1000 + number])
    sim.start()
    relay = aep_relay()

    def cut(data):
        if b"/files" in data.split(b"\r\n", 1)[0]:
            raise Cut
        return data

    relay.up = cut
    daemon = sluiced(aep={"endpoint": through(relay)})
    daemon.start()
    wait_until(lambda: breakers(daemon)["access"] == "open", 20, "the breaker is open")
    time.sleep(6)
    assert attempts(redis) <= 2
    relay.up = lambda data: data
    committed(daemon, 30, 60)
    assert daemon.metric("sluice_dead_letters_total") == 0
    drained(daemon, redis)
    judge()


def test_commits_go_on_without_aep(world, sim, sluiced, redis, s3_relay, judge):
    """Batches whose files are all there need no source: their manifests are written."""
    data = world.dataset()
    data.batch([("small.parquet", 100)])
    sim.start()
    go, held = threading.Event(), threading.Event()

    def hold(request):
        if re.match(WRITES["put"], request):
            held.set()
            go.wait(20)
        return request

    s3_relay.up = hold
    daemon = sluiced(s3={"endpoint": through(s3_relay)}, queue={"lease": "30s"})
    daemon.start()
    assert held.wait(20)
    sim.arm("error_500:times=0")
    wait_until(lambda: breakers(daemon)["catalog"] == "open", 30)
    go.set()
    committed(daemon, 1, 5)
    sim.disarm()
    drained(daemon, redis)
    judge()


# ---- signals


def test_hangups_at_every_moment(world, sim, sluiced, redis, judge):
    """SIGHUP from the first instant to the last: no effect on anything."""
    data = world.dataset()
    for number in range(20):
        data.batch([1000 + number, 6 * MIB])
    daemon = sluiced()
    daemon.launch()
    ended = threading.Event()

    def minds_no_hangup():
        """Its main has begun: before that the kernel's default is to end it."""
        with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as file:
            status = dict(line.split(":", 1) for line in file)
        masks = int(status["SigIgn"], 16) | int(status["SigCgt"], 16) | int(status["SigBlk"], 16)
        return status["Name"].strip() == "sluiced" and masks & 1

    def pester():
        wait_until(minds_no_hangup, 10, "main", 0.001)
        while not ended.is_set() and daemon.process.poll() is None:
            daemon.signal(signal.SIGHUP)
            time.sleep(0.003)

    thread = threading.Thread(target=pester)
    thread.start()
    try:
        committed(daemon, 20, 40)
        drained(daemon, redis)
        daemon.stop()
    finally:
        ended.set()
        thread.join()
    judge()


def test_takeover_after_sigterm(world, sim, sluiced, redis, judge):
    """Tasks of a daemon that stops are with another one within two seconds, as if untried."""
    data = world.dataset()
    for number in range(4):
        data.batch([12 * MIB + number])
    sim.start()
    sim.arm(f"slow:bytes_per_second={MIB}")
    first, second = sluiced(queue={"lease": "60s"}), sluiced(queue={"lease": "60s"})
    first.start()
    wait_until(lambda: first.metric("sluice_received_bytes_total") > MIB, 20)
    second.start()
    wait_until(lambda: second.get("/readyz")[0] == 200, 20)
    first.signal(signal.SIGTERM)
    wait_until(lambda: (second.metric("sluice_received_bytes_total") or 0) > 0, 2, "taken over")
    assert attempts(redis) == 1
    sim.disarm()
    assert first.process.wait(10) == 0
    committed(second, 4, 40)
    drained(second, redis)
    judge()


def test_takeover_after_a_crash(world, sim, sluiced, redis, judge):
    """Tasks of a daemon that was killed are with another one two seconds after their lease."""
    lease_s = 4
    world.dataset().batch([12 * MIB])
    sim.start()
    sim.arm(f"slow:bytes_per_second={MIB}")
    first, second = (sluiced(queue={"lease": f"{lease_s}s"}) for _ in range(2))
    first.start()
    wait_until(lambda: first.metric("sluice_received_bytes_total") > MIB, 20)
    second.start()
    wait_until(lambda: second.get("/readyz")[0] == 200, 20)
    first.kill9()
    wait_until(lambda: (second.metric("sluice_received_bytes_total") or 0) > 0, lease_s + 2,
               "taken over")
    sim.disarm()
    committed(second, 1, 40)
    drained(second, redis)
    judge()


@pytest.mark.parametrize("dead", ["redis", "s3", "aep"])
def test_drain_beside_the_dead(dead, world, sim, sluiced, redis, redis_relay, s3_relay,
                               aep_relay):
    """A server that no longer answers holds the end up for stop_grace at most."""
    world.dataset().batch([12 * MIB, 100])
    sim.start()
    sim.arm(f"slow:bytes_per_second={2 * MIB}")
    aep, go = aep_relay(), threading.Event()
    daemon = sluiced(redis={"url": f"redis://{redis_relay.address}"},
                     s3={"endpoint": through(s3_relay)}, aep={"endpoint": through(aep)},
                     queue={"stop_grace": "1s", "lease": "30s"})
    daemon.start()
    wait_until(lambda: daemon.metric("sluice_received_bytes_total") > 5 * MIB, 20)

    def never(data):
        go.wait(20)
        return data

    relay = {"redis": redis_relay, "s3": s3_relay, "aep": aep}[dead]
    relay.up = relay.down = never
    time.sleep(0.5)
    begun = time.monotonic()
    daemon.signal(signal.SIGTERM)
    assert daemon.process.wait(10) == 0
    assert time.monotonic() - begun < 2.5
    go.set()


# ---- the source


@pytest.mark.slow
def test_trickling_source(world, sim, sluiced, redis, judge):
    """A body that comes at less than 1 kB/s is ended after 20 s, and goes on where it was."""
    world.dataset().batch([200_000])
    sim.start()
    sim.arm("slow:bytes_per_second=500,times=1")
    daemon = sluiced()
    daemon.start()
    begun = time.monotonic()
    committed(daemon, 1, 40)
    assert time.monotonic() - begun > 15
    assert daemon.metric("sluice_retries_total") == 0
    drained(daemon, redis)
    judge()


@pytest.mark.parametrize("size", [100_000, 11 * MIB])
def test_source_that_keeps_changing(size, world, sim, sluiced, redis, bucket, judge):
    """Begun anew once, after a look at the listing; then given up with the reason."""
    data = world.dataset()
    batch = data.batch([("big.parquet", size)], expect="none")
    sim.start()
    sim.arm("total_changes:times=0")
    daemon = sluiced()
    daemon.start()
    task = f"b/{data.id}/{batch.id}"
    wait_until(lambda: field(redis, task, "status") == "failed", 30, "the batch has failed")
    dead = redis.command("SMEMBERS", f"sluice:dead:{task}")
    assert field(redis, dead, "class") == "source-changed"
    assert field(redis, dead, "attempts") == "2"
    assert "Uploads" not in bucket.client.list_multipart_uploads(Bucket=bucket.name)


# ---- uploads that nobody finishes


def begin_upload(bucket, key):
    """An upload with a part, left alone."""
    upload = bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)["UploadId"]
    bucket.client.upload_part(Bucket=bucket.name, Key=key, UploadId=upload, PartNumber=1,
                              Body=b"orphan")
    return upload


def uploads(bucket):
    """The keys of all unfinished uploads."""
    pages = bucket.client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket.name)
    return [upload["Key"] for page in pages for upload in page.get("Uploads", [])]


@pytest.mark.slow
def test_janitor(world, sim, sluiced, redis, bucket, judge):
    """Old uploads that no task names go; those of tasks and of others stay."""
    world.dataset().batch([("big.parquet", 14 * MIB)])
    sim.start()
    sim.arm(f"slow:bytes_per_second={2 * MIB}")
    for name in ("lake/ds1/a", "lake/ds1/b/part-1", "other/c"):
        begin_upload(bucket, name)
    daemon = sluiced(s3={"abort_uploads_after": "1s"}, transfer={"lanes": 1})
    daemon.start()
    upload_of(redis, bucket)
    wait_until(lambda: len(uploads(bucket)) == 2, 20, "the orphans are gone")
    time.sleep(2)  # more rounds, while the upload of the task is old enough
    assert len(uploads(bucket)) == 2
    sim.disarm()
    moved(daemon, redis)
    assert uploads(bucket) == ["other/c"]
    assert daemon.metric("sluice_uploads_aborted_total") == 2
    assert daemon.metric("sluice_retries_total") == 0
    assert daemon.log.read_text(encoding="utf-8").count("aborted uploads=2") == 1
    judge(allow_uploads=1)


@pytest.mark.slow
def test_janitor_turns_pages(world, sluiced, bucket):
    """More uploads than fit a page."""
    world.dataset()
    for number in range(510):
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key=f"lake/{number % 7}")
    sluiced(s3={"abort_uploads_after": "1s"}).start()
    wait_until(lambda: not uploads(bucket), 40, "all are gone")


@pytest.mark.parametrize("age", ["48h", "0s"])
def test_janitor_leaves_the_young(age, world, sluiced, bucket):
    """Neither a young upload is aborted, nor any where the operator said never."""
    world.dataset()
    begin_upload(bucket, "lake/ds1/a")
    daemon = sluiced(s3={"abort_uploads_after": age})
    daemon.start()
    wait_until(lambda: daemon.get("/readyz")[0] == 200, 20)
    time.sleep(2)
    assert uploads(bucket) == ["lake/ds1/a"]
    assert daemon.metric("sluice_uploads_aborted_total") == 0
