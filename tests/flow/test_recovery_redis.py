# SPDX-License-Identifier: Apache-2.0
"""Redis restarts, forgets, goes back in time, is damaged or refuses: nothing is lost or doubled,
and all of it is told."""
import json
import re
import threading
import time

import pytest
import redis as client_library

from ground import now_ms
from relay import Relay
from test_recovery import s3_relay  # pylint: disable=unused-import
from test_tail import committed, drained
from world import Redis, wait_until, write_secret

MIB = 1 << 20
INDEXES = ("up", "open", "ready", "delayed", "lease", "order", "unlisted", "open-files", "rows")
DAY = "lake/ds1/_sluice/"


class Gate:
    """The way to the server, as Relay sees it; refuses calls while there is a refusal."""

    def __init__(self, refuser, client, server):
        self.refuser, self.client, self.server = refuser, client, server

    def sendall(self, data):
        """INFO and the greeting are alone on their way, so answers keep their order."""
        if self.refuser.refusal and b"FCALL" in data:
            self.refuser.refused += 1
            self.client.sendall(self.refuser.refusal * data.count(b"FCALL"))
        else:
            self.server.sendall(data)

    def __getattr__(self, name):
        return getattr(self.server, name)


class Refuser(Relay):
    """A relay that can answer all functions with an error of Redis."""
    refusal, refused = None, 0

    def refuse(self, text):
        """From the next connection on; None ends it."""
        self.refusal = text and f"-{text}\r\n".encode()
        self.cut()

    def _pump(self, source, sink, hook):
        super()._pump(source, Gate(self, source, sink) if hook == "up" else sink, hook)


@pytest.fixture
def refuser(redis):
    """Between the daemon and Redis."""
    with Refuser(redis.socket) as relay:
        yield relay


@pytest.fixture
def raw(redis):
    """A client for bytes."""
    with client_library.Redis(unix_socket_path=str(redis.socket)) as client:
        yield client


def through(relay):
    """The address of a relay as redis.url."""
    return f"redis://{relay.address}"


def field(redis, task, name):
    """A field of a task's hash."""
    return redis.command("HGET", f"sluice:t:{task}", name)


def lost(daemon):
    """How often the daemon saw Redis go back in time."""
    return daemon.metric("sluice_redis_lost_writes_total")


def ready(daemon):
    """Waits until all is well."""
    wait_until(lambda: daemon.get("/readyz")[0] == 200, 30, "ready")


def busy(world, sim, batches=4, size=3 * MIB):
    """A dataset whose batches take some seconds."""
    data, start = world.dataset(), now_ms() - 60_000
    for number in range(batches):
        data.batch([size, 1000 + number], created=start + number)
    sim.start()
    sim.arm(f"slow:bytes_per_second={MIB}")
    return data


def working(daemon):
    """Waits until files are on their way."""
    wait_until(lambda: daemon.metric("sluice_received_bytes_total") > MIB, 30, "bytes arrive")


def all_done(redis, count, timeout_s=60):
    """Waits until so many batches have ended well."""
    def enough():
        keys = redis.command("--scan", "--pattern", "sluice:t:b/*").split()
        states = [redis.command("HGET", key, "status") for key in keys]
        return states.count("completed") == len(states) == count
    wait_until(enough, timeout_s, f"{count} batches completed", 0.2)


# ---- restarts


def test_restart_with_its_file(world, sim, sluiced, redis, judge):
    """kill -9 and start: nothing is lost, no lease is dropped. With "everysec" a Redis whose disk
    is busy may hold its file back for two seconds and yet answer."""
    redis.command("CONFIG", "SET", "appendfsync", "always")
    busy(world, sim)
    daemon = sluiced(queue={"lease": "20s"}).start()
    working(daemon)
    redis.kill9()
    redis.start()
    ready(daemon)
    sim.disarm()
    all_done(redis, 4)
    assert lost(daemon) == 0
    assert daemon.metric("sluice_leases_lost_total") == 0
    judge()


def test_functions_are_deleted_under_a_live_daemon(world, sim, sluiced, redis, judge):
    """They are loaded again, the work goes on."""
    busy(world, sim)
    daemon = sluiced().start()
    working(daemon)
    redis.command("FUNCTION", "DELETE", "sluice1")
    sim.disarm()
    all_done(redis, 4)
    assert lost(daemon) == 0
    judge()


# ---- total loss


def test_all_is_lost_under_a_live_daemon(world, sim, sluiced, redis, bucket, judge):
    """An operator's job is ordered again from the ledger, the tail begins anew."""
    data = world.dataset()
    data.batch([10], created=now_ms() - 60_000)
    for hour in range(3):
        data.batch([2 * MIB], created=1_706_745_600_000 + hour * 3_600_000)
    sim.start()
    daemon = sluiced()
    daemon.config["datasets"][0]["start"] = "2024-03-01"
    daemon.start()
    committed(daemon, 1)
    sim.arm(f"slow:bytes_per_second={MIB}")
    answer = redis.command("FCALL", "sluice_backfill", 1, "sluice:", data.id, "2024-02-01",
                           "2024-02-02")
    job, record = answer.split()[1], f"{DAY}jobs/1706745600000-1706832000000"
    wait_until(lambda: f"{record}.json" in bucket.objects(DAY), 20, "the job is recorded")
    redis.command("FLUSHALL")
    wait_until(lambda: redis.command("EXISTS", f"sluice:t:{job}") == "1", 20, "the job is back")
    sim.disarm()
    wait_until(lambda: field(redis, job, "status") == "completed", 40, "the job is done")
    assert f"{record}.done.json" in bucket.objects(DAY)
    assert lost(daemon) == 1
    assert "acknowledged writes are lost" in daemon.tail()
    judge()
    redis.command("FLUSHALL")
    wait_until(lambda: lost(daemon) == 2, 10)
    all_done(redis, 1)
    assert redis.command("EXISTS", f"sluice:t:{job}") == "0", "done is done"


def test_all_is_lost_and_no_counter_tells(world, sim, sluiced, redis, judge):
    """A second loss on the heels of the first: the counter is as high as the daemon saw it last,
    and what its tick wrote is there; but the dataset is not."""
    data = world.dataset()
    data.batch([10], created=now_ms() - 60_000)
    sim.start()
    daemon = sluiced()
    daemon.config["datasets"][0]["start"] = "2024-03-01"
    daemon.start()
    committed(daemon, 1)
    owner, until = redis.command("ZRANGE", "sluice:daemons", 0, 0, "WITHSCORES").split()
    redis.command("EVAL", "redis.call('FLUSHDB') redis.call('SET', 'sluice:seq', 1000000) "
                  "redis.call('ZADD', 'sluice:daemons', ARGV[1], ARGV[2])", 0,
                  int(until) + 60_000, owner)
    sim.add(data.batch([20], created=now_ms() - 30_000))
    committed(daemon, 2)
    assert lost(daemon) == 1 and "does not know a dataset" in daemon.tail()
    judge()


def test_a_job_ordered_anew_is_not_taken_for_the_one_that_is_done(
        world, sim, sluiced, redis, bucket, judge):
    """Redis has forgotten the first (queue.retention), the ledger has not: the second has records
    of its own and comes back if all is lost."""
    data = world.dataset()
    data.batch([10], created=1_706_745_600_000)
    sim.start()
    daemon = sluiced()
    daemon.config["datasets"][0]["start"] = "2024-03-01"
    daemon.start()
    ready(daemon)
    order = ("FCALL", "sluice_backfill", 1, "sluice:", data.id, "2024-02-01", "2024-02-02")
    record = f"{DAY}jobs/1706745600000-1706832000000"

    def ordered():
        return wait_until(lambda: redis.command(*order), 20).split()[1]
    job = ordered()
    wait_until(lambda: field(redis, job, "status") == "completed", 40, "the job is done")
    redis.command("FCALL", "sluice_tick", 1, "sluice:", "test", 1000, 0, 5, data.id)
    assert redis.command("EXISTS", f"sluice:t:{job}") == "0"
    sim.add(data.batch([2 * MIB], created=1_706_745_700_000))
    sim.arm(f"slow:bytes_per_second={MIB // 2}")
    assert ordered() == job
    wait_until(lambda: f"{record}_2.json" in bucket.objects(DAY), 20, "a record of its own")
    redis.command("FLUSHALL")
    wait_until(lambda: redis.command("EXISTS", f"sluice:t:{job}") == "1", 20, "the job is back")
    sim.disarm()
    wait_until(lambda: field(redis, job, "status") == "completed", 40, "done once more")
    assert f"{record}_2.done.json" in bucket.objects(DAY)
    assert f"{record}_3.json" not in bucket.objects(DAY)
    judge()


def test_all_is_lost_under_two_daemons(world, sim, sluiced, redis, judge):
    """Both repair and enrol at the same time, more than once."""
    busy(world, sim, 6)
    daemons = [sluiced(queue={"lease": "2s"}).start() for _ in range(2)]
    wait_until(lambda: any(daemon.metric("sluice_received_bytes_total") > MIB
                           for daemon in daemons), 30)
    for _ in range(2):
        redis.command("FLUSHALL")
        time.sleep(2)
    sim.disarm()
    all_done(redis, 6)
    assert sum(map(lost, daemons)) >= 2
    judge(allow_uploads=6)


def test_all_is_lost_while_the_daemon_is_down(world, sim, sluiced, redis, bucket, judge):
    """`start: now`: what arrived before the daemon came back is found, the open job too."""
    data = world.dataset()
    data.batch([10], created=1_706_745_600_000)
    sim.start()
    daemon = sluiced(aep={"overlap": "1s"})
    daemon.config["datasets"][0]["start"] = "now"
    daemon.start()
    ready(daemon)
    anchor = json.loads(b"".join(bucket.read(f"{DAY}tail.json")))
    assert anchor["dataset"] == data.id
    assert anchor["start"] == int(field(redis, f"tail/{data.id}", "start"))
    sim.arm("hang:times=0,endpoint=content")
    redis.command("FCALL", "sluice_backfill", 1, "sluice:", data.id, "2024-02-01", "2024-02-02")
    wait_until(lambda: f"{DAY}jobs/1706745600000-1706832000000.json" in bucket.objects(DAY), 20)
    daemon.stop()
    sim.disarm()
    redis.command("FLUSHALL")
    sim.add(data.batch([20], created=now_ms()))
    time.sleep(2.5)
    daemon.start()
    all_done(redis, 2)
    assert int(field(redis, f"tail/{data.id}", "start")) == anchor["start"]
    judge()


def test_an_anchor_of_another_dataset_is_refused(world, sim, sluiced, redis, bucket):
    """Two datasets under one name: the tail waits, the health check says why."""
    data = world.dataset()
    sim.start()
    bucket.client.put_object(Bucket=bucket.name, Key=f"{DAY}tail.json",
                             Body=b'{"dataset":"other","start":1,"version":1}\n')
    daemon = sluiced()
    daemon.config["datasets"][0]["start"] = "now"
    daemon.start()
    wait_until(lambda: "another dataset" in daemon.get("/readyz?verbose")[1], 20)
    assert redis.command("EXISTS", f"sluice:t:tail/{data.id}") == "0"


# ---- back in time


SNAPSHOT = """
local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  all[#all + 1] = key
  all[#all + 1] = redis.call('DUMP', key)
end
return all
"""


def snapshot(raw):
    """All that is in Redis, at one instant, as every state is to which a Redis can go back."""
    flat = raw.eval(SNAPSHOT, 0)
    return dict(zip(flat[::2], flat[1::2]))


def restore(raw, state):
    """Redis as it was, in one step."""
    with raw.pipeline(transaction=True) as pipe:
        pipe.flushdb()
        for key, value in state.items():
            pipe.restore(key, 0, value)
        pipe.execute()


@pytest.mark.parametrize("when", ["before the work", "while it works"])
def test_redis_goes_back_in_time(when, world, sim, sluiced, redis, raw, judge):
    """An earlier state under a live daemon, which holds leases that Redis does not know."""
    data = busy(world, sim)
    daemon = sluiced(queue={"lease": "2s"}).start()
    if when == "before the work":
        wait_until(lambda: redis.command("EXISTS", f"sluice:t:tail/{data.id}") == "1", 20)
    else:
        working(daemon)
    earlier = snapshot(raw)
    wait_until(lambda: daemon.metric("sluice_files_stored_total") > 5, 40)
    restore(raw, earlier)
    wait_until(lambda: lost(daemon) == 1, 10, "it is noticed")
    sim.disarm()
    all_done(redis, 4)
    judge(allow_uploads=4)
    assert daemon.metric("sluice_dead_letters_total") == 0


def test_all_is_lost_and_an_older_state_comes_back(world, sim, sluiced, redis, raw, s3_relay,
                                                   bucket, judge):
    """On the heels of the loss a replica takes over that is older, but has counted further: what
    was ordered again in between is ordered once more."""
    data, _ = world.dataset(), world.dataset()
    data.batch([2 * MIB], created=1_706_745_600_000)
    sim.start()
    daemon = sluiced(s3={"endpoint": f"http://{s3_relay.address}"})
    daemon.config["datasets"][0]["start"] = "2024-03-01"
    daemon.start()
    ready(daemon)
    wait_until(lambda: int(redis.command("GET", "sluice:seq")) > 60, 60, "it has counted")
    older = snapshot(raw)
    sim.arm(f"slow:bytes_per_second={MIB // 4}")
    job = redis.command("FCALL", "sluice_backfill", 1, "sluice:", data.id, "2024-02-01",
                        "2024-02-02").split()[1]
    wait_until(lambda: any("/jobs/" in key for key in bucket.objects(DAY)), 20, "a record of it")
    asked, go_on = threading.Event(), threading.Event()

    def stall(request):
        if re.search(rb"ds2.*_sluice.*jobs", request):  # the other dataset is not yet enrolled
            asked.set()
            go_on.wait(10)
        return request

    s3_relay.up = stall
    redis.command("FLUSHALL")
    assert asked.wait(20) and raw.exists(f"sluice:t:{job}")
    restore(raw, older)
    go_on.set()
    wait_until(lambda: field(redis, job, "status") == "completed", 40, "the job is done")
    assert lost(daemon) == 2
    daemon.stop()
    assert "does not know our last tick" in daemon.tail()
    judge()


def test_rollback_asks_for_the_recent_past_again(world, sim, sluiced, redis, raw, judge):
    """A batch that the tail had passed, and whose task is gone, is found by the second look."""
    data = world.dataset()
    data.batch([100], created=now_ms() - 1_200_000)
    sim.start()
    daemon = sluiced()
    daemon.start()
    all_done(redis, 1)
    sim.add(data.batch([200], created=now_ms() - 1_100_000))  # listed too late for the overlap
    state = snapshot(raw)
    time.sleep(1)
    del state[b"sluice:seq"]
    restore(raw, state)
    all_done(redis, 2)
    assert lost(daemon) == 1
    judge()


def test_a_replica_takes_over(world, sim, sluiced, redis, place, refuser, judge):
    """Nobody knows what the master had said last: treated as a loss."""
    busy(world, sim)
    replica = Redis(place / "replica")
    redis.command("CONFIG", "SET", "port", 0)
    replica.start()
    with Relay(redis.socket) as link:
        host, port = link.address.split(":")
        replica.command("REPLICAOF", host, port)
        wait_until(lambda: "master_link_status:up" in replica.command("INFO", "replication"), 20)
        daemon = sluiced(redis={"url": through(refuser)}, queue={"lease": "2s"}).start()
        working(daemon)
    refuser.target = str(replica.socket)
    replica.command("REPLICAOF", "NO", "ONE")
    refuser.cut()
    wait_until(lambda: lost(daemon) == 1, 20, "it is noticed")
    sim.disarm()
    all_done(replica, 4)
    judge(allow_uploads=4)
    daemon.stop()
    replica.stop()


# ---- damage


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("at_rest", [True, False])
def test_index_is_lost(index, at_rest, world, sim, sluiced, redis, judge):
    """All keys of one kind vanish: the repair makes them anew, and all work is completed."""
    busy(world, sim, 3)
    daemon = sluiced(queue={"lease": "2s"}).start()
    working(daemon)
    if at_rest:
        daemon.stop()
    keys = redis.command("--scan", "--pattern", f"sluice:{index}*").split()
    if keys:
        redis.command("DEL", *keys)
    sim.disarm()
    if at_rest:
        daemon.start()
    else:
        redis.stop()
        redis.start()  # another process: the daemon looks at everything
    all_done(redis, 3)
    judge(allow_uploads=3)
    if keys and index in ("up", "open", "open-files"):
        assert daemon.metric("sluice_queue_repaired_total") > 0
        assert "index entries were missing" in daemon.log.read_text()


def test_records_are_lost(world, sim, sluiced, redis, judge):
    """Hashes of batches and files that nobody works on: found again by their relatives."""
    data = busy(world, sim, 3)
    daemon = sluiced(queue={"lease": "2s"}).start()
    working(daemon)
    daemon.stop()
    files = redis.command("SMEMBERS", f"sluice:open-files:{data.id}").split()
    batches = redis.command("ZRANGE", f"sluice:order:{data.id}", 0, -1).split()
    redis.command("DEL", *(f"sluice:t:{task}" for task in files[:2] + batches[-1:]))
    sim.disarm()
    daemon.start()
    all_done(redis, 3)
    judge(allow_uploads=3)


def test_poison_is_told(world, sim, sluiced, redis):
    """A task that lost its lease once too often: an error line and a metric."""
    busy(world, sim, 1)
    daemon = sluiced(queue={"lease": "60s"}).start()
    working(daemon)
    dataset = next(iter(world.datasets))
    task = redis.command("ZRANGE", f"sluice:lease:f:{dataset}", 0, 0)
    redis.command("HSET", f"sluice:t:{task}", "lost", 4)
    redis.command("ZADD", f"sluice:lease:f:{dataset}", "XX", 1, task)
    wait_until(lambda: daemon.metric("sluice_dead_letters_by_class_total") == 1, 10)
    assert 'class="poison"' in daemon.get("/metrics")[1]
    assert daemon.metric("sluice_leases_lapsed_total") == 1
    assert "given up error=poison" in daemon.log.read_text()


# ---- refusals


REFUSALS = ["LOADING Redis is loading the dataset in memory",
            "BUSY Redis is busy running a script",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "CLUSTERDOWN The cluster is down", "MASTERDOWN Link with MASTER is down",
            "MISCONF Redis is configured to save RDB snapshots", "ASK 1 127.0.0.1:1",
            "NOREPLICAS Not enough good replicas to write.", "OOM command not allowed",
            "READONLY You can't write against a read only replica.",
            "NOAUTH Authentication required.", "WRONGPASS invalid username-password pair",
            "NOPERM this user has no permissions", "MOVED 1 127.0.0.1:1"]


@pytest.mark.parametrize("text", REFUSALS, ids=lambda text: text.split()[0])
def test_redis_refuses_for_a_while(text, world, sim, sluiced, redis, refuser, judge):
    """Nobody dies of it, no attempt is counted, the reason is shown."""
    busy(world, sim, 2)
    daemon = sluiced(redis={"url": through(refuser)}, queue={"lease": "20s"}).start()
    working(daemon)
    refuser.refuse(text)
    word = text.split()[0]
    if word != "MOVED":  # … to where nobody listens: that is what it says in the end
        wait_until(lambda: word in daemon.get("/readyz?verbose")[1], 20, "says why")
    time.sleep(2)
    assert daemon.get("/livez")[0] == 200
    assert 0 < refuser.refused < 200
    refuser.refuse(None)
    sim.disarm()
    all_done(redis, 2)
    ready(daemon)
    assert daemon.metric("sluice_dead_letters_total") == 0
    assert daemon.metric("sluice_retries_total") == 0
    judge(allow_uploads=2)


def test_moved_is_followed(world, sim, sluiced, redis, refuser, judge):
    """The other node is asked."""
    busy(world, sim, 1)
    sim.disarm()
    with Relay(redis.socket) as other:
        refuser.refuse(f"MOVED 1 {other.address}")
        daemon = sluiced(redis={"url": through(refuser)}).start()
        all_done(redis, 1)
        judge()
        daemon.stop()


def test_redis_is_full(world, sim, sluiced, redis, judge):
    """What runs is finished and reported, nothing new is claimed until there is room."""
    data = busy(world, sim, 12)
    daemon = sluiced(transfer={"files": 4}).start()
    working(daemon)
    wait_until(lambda: field(redis, f"tail/{data.id}", "status") == "pending", 20)
    redis.command("CONFIG", "SET", "maxmemory", 1)
    sim.disarm()
    wait_until(lambda: daemon.status()["tasks"]["files"] == 0, 30, "running work ends")
    assert "OOM" in daemon.get("/readyz?verbose")[1]
    stored = daemon.metric("sluice_files_stored_total")
    assert 0 < stored < 24
    time.sleep(1)
    assert daemon.metric("sluice_files_stored_total") == stored
    redis.command("CONFIG", "SET", "maxmemory", 0)
    all_done(redis, 12)
    ready(daemon)
    assert daemon.metric("sluice_dead_letters_total") == 0
    judge()


def test_redis_becomes_a_replica_for_a_while(world, sim, sluiced, redis, judge):
    """READONLY: reconnects with patience, and goes on."""
    busy(world, sim, 2)
    daemon = sluiced(queue={"lease": "20s"}).start()
    working(daemon)
    redis.command("REPLICAOF", "127.0.0.1", 1)
    wait_until(lambda: "is a replica" in daemon.get("/readyz?verbose")[1], 20)
    time.sleep(3)
    redis.command("REPLICAOF", "NO", "ONE")
    sim.disarm()
    all_done(redis, 2)
    assert daemon.log.read_text().count("is a replica") <= 3
    judge(allow_uploads=2)


def test_the_password_changes(world, sim, sluiced, redis, refuser, place, judge):
    """The file is read again when Redis refuses the old one."""
    busy(world, sim, 2)
    sim.disarm()
    secret = place / "redis-password"
    redis.command("ACL", "SETUSER", "worker", "on", ">first", "~sluice:*", "+@all")
    daemon = sluiced(redis={"url": through(refuser), "user": "worker",
                            "password_file": write_secret(secret, "first")}).start()
    all_done(redis, 2)
    redis.command("ACL", "SETUSER", "worker", "resetpass", ">second")
    refuser.cut()
    wait_until(lambda: "redis-denied" in daemon.get("/readyz?verbose")[1], 20)
    write_secret(secret, "second")
    ready(daemon)
    drained(daemon, redis)
    judge()
