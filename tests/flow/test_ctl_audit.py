# SPDX-License-Identifier: Apache-2.0
"""sluicectl audit: a queue at work is clean, and each planted damage of an index is found, with
the command that mends it."""
import re
import socket
import time

import pytest

from ground import now_ms
from test_ctl_verify import ctl, report
from test_tail import committed, drained
from world import wait_until

MIB = 1 << 20
P = "sluice:"


def audit(daemon):
    """(exit status, [(subject, text)], counts)"""
    status, problems, counts = report(daemon, "audit")
    assert {kind for kind, _, _ in problems} <= {"violation", "unchecked"}
    return status, [(subject, text) for _, subject, text in problems], counts


@pytest.fixture(name="stopped")
def fixture_stopped(world, sim, sluiced, redis):
    """A stopped daemon that has left in Redis: a tail, a completed batch, a batch that waits for
    two files, one of them dead, an open batch that is delayed, and a job."""
    data = world.dataset()
    data.batch([10])
    daemon = sluiced()
    daemon.config["datasets"][0]["poll"] = "1h"
    daemon.start()
    committed(daemon, 1)
    drained(daemon, redis)
    daemon.stop()
    queue = Queue(redis, data.id)
    queue.open_batch("open", 1000)
    queue.open_batch("waits", 2000, files=2)
    queue.backfill()
    return daemon, queue


class Queue:
    """The functions of the queue, as a test needs them."""

    def __init__(self, redis, dataset):
        self.redis, self.dataset = redis, dataset

    def __call__(self, verb, *words):
        return self.redis.command("FCALL", f"sluice_{verb}", 1, P, *words)

    def id(self, name):
        """Of a batch."""
        return f"b/{self.dataset}/{name}"

    def file(self, number):
        """Of a file of the batch "waits"."""
        return f"f/{self.dataset}/waits/{number}"

    def claim(self, cls):
        """(id, fence) of the oldest claimable task of the live lane."""
        words = self("claim", "somebody", 60000, cls, "live", 1, MIB << 10, MIB, self.dataset)
        _, *fields = words.split("\n")  # the counter of mutations comes first
        return fields[0], fields[fields.index("fence") + 1]

    def open_batch(self, name, order, files=0):
        """A batch; with files it is listed and waits, and its first file is a dead letter."""
        self("submit", self.id(name), "batch", self.dataset, "live", order, "")
        if not files:
            return
        task = {}
        while task.get("id") != self.id(name):
            task["id"], task["fence"] = self.claim("x")
            if task["id"] != self.id(name):
                self("release", task["id"], "somebody", task["fence"], 3_600_000)
        words = []
        for number in range(files):
            words += ["file", self.file(number), "live", order, 0]
        self("fan", task["id"], "somebody", task["fence"], "end", 1, 0, *words)
        found, fence = self.claim("f")
        self("fail", found, "somebody", fence, -1, 1, "planted", "differs")

    def backfill(self):
        """A job that nobody has begun."""
        self("backfill", self.dataset, "2024-01-01", "2024-01-03")


def test_clean(stopped):
    """Nothing is wrong, and everything was looked at."""
    status, problems, counts = audit(stopped[0])
    assert status == 0 and not problems
    assert counts["tasks"] >= 6 and counts["children"] == 3 and counts["datasets"] == 1


def test_table(stopped):
    """For people."""
    status, text = ctl(stopped[0], "audit")
    assert status == 0 and re.search(r"^ +\d+  tasks ", text, re.M)
    assert text.endswith("all is right\n")


@pytest.mark.parametrize("damage,subject,words", [
    ("ZREM delayed {open}", "{open}", "I9"),
    ("ZREM order:{ds} {open}", "{open}", "I13"),
    ("ZREM unlisted:{ds} {job}", "{job}", "I13"),
    ("ZADD unlisted:{ds} 9e14 {job}", "{job}", "I13"),
    ("ZREM ready:l:backfill:{ds} {job}", "{job}", "I9"),
    ("ZREM ready:f:live:{ds} {alive}", "{alive}", "I9"),
    ("SREM open:{waits} {alive}", "{alive}", "I5"),
    ("SREM dead:{waits} {dead}", "{dead}", "I6"),
    ("ZREM dead {dead}", "{dead}", "I9"),
    ("SREM open-files:{ds} {alive}", "{alive}", "I16"),
])
def test_lost_entry_is_mended_by_fix(damage, subject, words, stopped, redis):
    """The repair that is printed makes the queue whole again."""
    daemon, queue = stopped
    names = {"ds": queue.dataset, "open": queue.id("open"), "waits": queue.id("waits"),
             "job": f"j/{queue.dataset}/1704067200000-1704240000000",
             "alive": queue.file(1), "dead": queue.file(0)}
    command, key, *rest = damage.format(**names).split()
    assert redis.command(command, P + key, *rest) != "nothing"
    status, problems, _ = audit(daemon)
    assert status == 1, "the damage was not found"
    named = [text for who, text in problems if who == subject.format(**names)]
    assert len(named) == 1 and words in named[0]
    repair = f"FCALL sluice_fix 1 {P} a {subject.format(**names)}, then the same with b"
    assert repair in named[0]
    for step in "ab":
        queue("fix", step, subject.format(**names))
    assert audit(daemon)[0] == 0


@pytest.mark.parametrize("damage,subject,words", [
    ("SADD dead:{waits} {alive}", "{alive}", "I6"),
    ("ZADD dead 1 {alive}", "{alive}", "I9"),
    ("ZADD order:{ds} 1 {done}", "{done}", "I13"),
    ("ZADD order:{ds} 1 b/{ds}/nobody", "b/{ds}/nobody", "no record"),
    ("ZADD unlisted:{ds} 1 {waits}", "{waits}", "I13"),
    ("ZADD ready:l:live:{ds} 1 {waits}", "{waits}", "I9"),
    ("ZADD delayed 9e15 {alive}", "{alive}", "more than one place"),
    ("ZADD lease:f:{ds} 9e15 {alive}", "{alive}", "I9"),
    ("SADD open-files:{ds} {dead}", "{dead}", "I16"),
    ("SADD open-files:{ds} f/{ds}/x/1", "f/{ds}/x/1", "no record"),
    ("SADD open:{waits} f/{ds}/x/1", "f/{ds}/x/1", "no record"),
    ("SADD open:{waits} {done}", "{done}", "has ended"),
    ("SADD open:{job} {open}", "{open}", "does not know"),
    ("SADD up:b/{ds}/nobody {job}", "b/{ds}/nobody", "no record"),
    ("SADD open:{done} {open}", "{done}", "has open children"),
])
def test_entry_too_much(damage, subject, words, stopped, redis):
    """The command that is printed removes it, or makes it right."""
    daemon, queue = stopped
    done = redis.command("ZRANGE", P + "done", 0, -1).split("\n")[0]
    names = {"ds": queue.dataset, "open": queue.id("open"), "waits": queue.id("waits"),
             "job": f"j/{queue.dataset}/1704067200000-1704240000000",
             "alive": queue.file(1), "dead": queue.file(0), "done": done}
    command, key, *rest = damage.format(**names).split()
    redis.command(command, P + key, *rest)
    status, problems, _ = audit(daemon)
    assert status == 1
    named = [text for who, text in problems if who == subject.format(**names)]
    assert named and any(words in text for text in named)
    repairs = [text.split("repair: ")[1] for _, text in problems]
    for repair in sorted(repairs, key=lambda one: one.startswith("FCALL")):
        for step in "ab" if "then the same with b" in repair else "x":
            line = repair.split(",")[0].replace(" a ", f" {step} ", 1)
            redis.command(*line.split())
    assert audit(daemon)[0] == 0


def test_record_lost(stopped, redis):
    """A hash that is gone shows in every index that named it."""
    daemon, queue = stopped
    redis.command("DEL", f"{P}t:{queue.file(1)}")
    status, problems, _ = audit(daemon)
    assert status == 1 and {who for who, _ in problems} == {queue.file(1)}


def test_failed_parent_of_a_living_child(stopped, redis):
    """Its dead child was believed to be all of them: retry brings it back."""
    daemon, queue = stopped
    redis.command("SREM", f"{P}open:{queue.id('waits')}", queue.file(1))
    queue("fix", "b", queue.id("waits"))
    queue("fix", "a", queue.file(1))
    status, problems, _ = audit(daemon)
    assert status == 1 and [who for who, _ in problems] == [queue.id("waits")]
    redis.command(*problems[0][1].split("repair: ")[1].split())
    assert audit(daemon)[0] == 0


def test_lease_lost(stopped, redis):
    """In progress for ever, because nothing will lapse."""
    daemon, queue = stopped
    name, _ = queue.claim("f")
    redis.command("ZREM", f"{P}lease:f:{queue.dataset}", name)
    status, problems, _ = audit(daemon)
    assert status == 1 and [who for who, _ in problems] == [name] and "I10" in problems[0][1]


def test_senseless_record(stopped, redis):
    """A status that does not exist."""
    daemon, queue = stopped
    redis.command("HSET", f"{P}t:{queue.file(1)}", "status", "sleeping")
    status, problems, _ = audit(daemon)
    assert status == 1 and "no sense" in problems[0][1]


def test_too_many_open_files(stopped, redis):
    """More than the limit and a page."""
    daemon, queue = stopped
    redis.command("HSET", f"{P}ds:{queue.dataset}", "max_open_files", "0")
    assert audit(daemon)[0] == 0
    redis.command("EVAL", "for i = 1, 1001 do redis.call('SADD', KEYS[1], 'f/x/' .. i) end", 1,
                  f"{P}open-files:{queue.dataset}")
    status, problems, _ = audit(daemon)
    assert status == 1 and queue.dataset in [who for who, _ in problems]


def test_retention_and_collection(stopped, redis):
    """Skipped, cancelled and expired tasks leave nothing that looks wrong."""
    daemon, queue = stopped
    queue("skip", queue.id("waits"), "because")
    assert audit(daemon)[0] == 0
    queue("cancel", f"j/{queue.dataset}/1704067200000-1704240000000")
    assert audit(daemon)[0] == 0
    queue("tick", "somebody", 1000, 0, 5, queue.dataset)
    queue("tick", "somebody", 1000, 0, 5, queue.dataset)
    assert audit(daemon)[0] == 0


def test_reads_only(stopped, redis):
    """Not a single write: the counter of changes stands still, also while damage is found."""
    daemon, queue = stopped
    redis.command("ZREM", f"{P}order:{queue.dataset}", queue.id("open"))
    redis.command("CONFIG", "RESETSTAT")
    audit(daemon)
    asked = set(re.findall(r"cmdstat_(\S+?):", redis.command("INFO", "commandstats")))
    assert asked <= {"scan", "sscan", "zscan", "hmget", "hget", "zscore", "sismember", "scard",
                     "smembers", "exists", "client|setname", "config|resetstat", "info",
                     "command|docs"}, asked


@pytest.mark.parametrize("order", ["concurrent", "commit", "sequential"])
def test_beside_daemons_at_work(order, world, sim, sluiced, redis):
    """Two daemons copy while the audit runs, again and again, and it stays silent."""
    data = world.dataset()
    for number in range(60):
        data.batch([1000 + number] * (number % 4) + [6 * MIB] * (number % 15 == 0))
    daemons = [sluiced(), sluiced()]
    for daemon in daemons:
        daemon.config["datasets"][0] |= {"order": order}
        daemon.start()
    looked = 0
    end = time.monotonic() + 60
    while redis.command("ZCARD", P + "done") != "60":
        assert time.monotonic() < end
        status, problems, counts = audit(daemons[0])
        assert status in (0, 69), problems
        looked += counts["tasks"]
        sim.add(*(data.batch([500] * 3, created=now_ms()) for _ in range(2))
                if looked < 500 else ())
        if int(redis.command("ZCARD", P + "done")) > 60:
            break
    assert looked > 100
    drained(daemons[0], redis)
    assert audit(daemons[0])[0] == 0


# ---- what cannot be checked


def test_no_redis(world, sluiced):
    """The address that was tried is said."""
    world.dataset()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    daemon = sluiced(redis={"url": f"redis://127.0.0.1:{port}"})
    daemon.launch("--check-config").process.wait(10)
    status, problems, _ = audit(daemon)
    assert status == 69 and str(port) in problems[0][1]


def test_no_queue(world, sluiced):
    """An empty Redis is not a healthy queue."""
    world.dataset()
    daemon = sluiced()
    daemon.launch("--check-config").process.wait(10)
    status, problems, _ = audit(daemon)
    assert status == 69 and "no queue" in problems[0][1]


def test_not_allowed(stopped, redis, place):
    """A user without SCAN: the rights that are missing are said."""
    daemon, _ = stopped
    redis.command("ACL", "SETUSER", "poor", "on", ">pw", "~sluice:*", "+ping", "+client|setname")
    (place / "pw").touch(0o600)
    (place / "pw").write_text("pw", encoding="utf-8")
    daemon.config["redis"] |= {"user": "poor", "password_file": str(place / "pw")}
    daemon.launch("--check-config").process.wait(10)
    status, problems, _ = audit(daemon)
    assert status == 69 and "NOPERM" in problems[0][1] and "+sscan" in problems[0][1]


def test_redis_dies(stopped, redis):
    """In the middle of the audit: that is said, and the end comes."""
    daemon, queue = stopped
    for number in range(300):
        queue.redis.command("HSET", f"{P}t:b/{queue.dataset}/{number}", "kind", "batch")
    redis.command("CLIENT", "PAUSE", "60000", "ALL")
    redis.process.kill()
    wait_until(lambda: redis.process.poll() is not None, 5)
    status, problems, _ = audit(daemon)
    assert status == 69 and len(problems) == 1
    redis.start()
