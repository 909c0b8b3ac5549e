# SPDX-License-Identifier: Apache-2.0
"""Random walks of two owners through all functions; the invariants hold after every step. Also
what such a walk leaves behind: every index can be derived again, and the daemon's Redis user
needs no more rights than it has."""
import collections
import random
import re
import time

import pytest
import redis

from queue_rig import (  # pylint: disable=unused-import
    DS, LIBRARY, OTHER, P, Queue, State, batch_of, check, child, file_of, fixture_q, fixture_server)

# What the daemon's Redis user needs, and no more (the library is loaded by another one).
DAEMON_ACL = """resetchannels resetkeys ~sluice:* -@all +ping +client|setname +info +fcall
    +fcall_ro +scan +hget +hset +hmget +hgetall +hincrby +hdel +hlen +hexists +hscan
    +hrandfield +exists +zadd
    +zrem +zrange +zrangebyscore +zremrangebyscore +zscore +zcard +sadd +srem +smembers
    +sismember +scard +spop +srandmember +del +unlink +lindex +llen +lrem +lpush +rpop +lpos
    +ltrim +xadd +incr +get +time""".split()

INDEXES = ("up", "open", "dead", "ready", "delayed", "lease", "shut", "order", "unlisted",
           "open-files")
PAGE = 4
MAX_OPEN = 12


class Walk:
    """Two owners at work. Leases are short or long; old handles are kept and used again."""

    def __init__(self, q, rng, observer):
        self.q, self.rng, self.observer = q, rng, observer
        self.handles = []
        self.number = 0
        self.fenced = collections.Counter()

    def held(self, task):
        now = self.q.task(task.id)
        return (now.get("status"), now.get("owner"), now.get("fence")) == (
            "in-progress", task.owner, task.fence)

    def report(self, task, call, *words, **more):
        """Calls with a handle: it must be accepted if the lease is held, else fenced."""
        held = self.held(task)
        try:
            answer = call(task, *words, **more)
        except redis.ResponseError as problem:
            word = str(problem).split()[0]
            self.fenced[word, held] += 1
            assert word in (("FENCED",) if not held else ("BADPHASE", "FENCED")), problem
            assert not held or word == "BADPHASE" or call in (self.q.fan, self.q.relist), problem
            return None
        return answer

    def handle(self):
        return self.rng.choice(self.handles) if self.handles else None

    def do_claim(self):
        tasks = self.q.claim(
            self.rng.choice("xxf"), self.rng.choice(["live", "live", "backfill"]),
            self.rng.randrange(1, 4), self.rng.choice("ab"), self.rng.choice([1, 5, 60000]),
            datasets=(DS, OTHER))
        self.handles = (self.handles + list(tasks))[-30:]

    def children(self, task):
        kind = {"tail": "batch", "job": self.rng.choice(["window", "batch"]), "window": "batch",
                "batch": "file"}[task.fields["kind"]]
        dataset = task.fields["dataset"]
        for _ in range(self.rng.randrange(PAGE + 1)):
            number = self.rng.randrange(40)
            if kind == "file":
                yield file_of(task.id.split("/")[-1], number % 6, task.fields["order"], dataset)
            else:
                yield child(kind, f"{kind[0]}/{dataset}/{number}", number,
                            lane=task.fields["lane"])

    def do_fan(self):
        task = self.handle()
        if task and task.fields["kind"] != "file":
            self.number += 1
            sealed = task.fields["kind"] != "tail" and self.rng.random() < 0.6
            prev = self.q.get(task.id, "offset") or "0"
            call = (f"{self.number}", *self.children(task))
            first = self.report(task, self.q.fan, *call, prev=prev, sealed=sealed)
            if first and self.rng.random() < 0.3:
                assert self.q.fan(task, *call, prev=prev, sealed=sealed)[0] == 0

    def do_done(self):
        task = self.handle()
        if task and self.report(task, self.q.done) and task.fields["kind"] != "file":
            assert self.q.done(task)[0] == "ok"

    def do_fail(self):
        task = self.handle()
        if task:
            self.report(task, self.q.fail, self.rng.choice([-1, 0, 3]), self.rng.randrange(2))

    def do_release(self):
        task = self.handle()
        if task:
            self.report(task, self.q.release, self.rng.choice([0, 3]))

    def do_relist(self):
        task = self.handle()
        if task and task.fields["kind"] == "file":
            self.report(task, self.q.relist)

    def do_beat(self):
        task = self.handle()
        if task:
            offset = self.rng.randrange(99) if task.fields["kind"] == "file" else ""
            held = self.held(task)
            answer = self.q.beat(task, owner=task.owner, offset=offset)[0]
            assert (answer == "FENCED") == (not held)

    def do_tick(self):
        self.q.tick(max_lost=3, retention=self.rng.choice([10, 10**6]))

    def do_submit(self):
        dataset = self.rng.choice([DS, OTHER])
        number = self.rng.randrange(40)
        if self.rng.random() < 0.2:
            self.q("submit", f"tail/{dataset}", "tail", dataset, "live", 0, "")
        else:
            self.q("submit", f"b/{dataset}/{number}", "batch", dataset, "live", number, "")

    def do_operate(self):
        names = sorted(State(self.observer).task) if self.rng.random() < 0.5 else []
        verb, *words = self.rng.choice([
            ("retry",), ("retry",), ("skip", "reason"), ("cancel",), ("pause",)])
        if verb == "pause":
            self.q("pause", DS, self.rng.choice([0, 0, 0, 1]))
            self.q("backfill", DS, self.rng.choice(["2024-02-01", "2024-02-02"]), "2024-02-03",
                   "again")
        elif names:
            try:
                self.q(verb, self.rng.choice(names), *words)
            except redis.ResponseError as problem:
                assert str(problem).startswith(("BADARG", "NOTFAILED")), problem

    STEPS = ["claim"] * 6 + ["fan"] * 5 + ["done"] * 6 + [
        "fail", "release", "relist", "beat", "beat", "tick", "tick", "submit", "submit", "operate"]

    def step(self):
        getattr(self, "do_" + self.rng.choice(self.STEPS))()


def walk(q, rng, steps, mode, observer, watch=True):
    q("dataset", DS, "order", mode, "max_open_files", MAX_OPEN)
    q("dataset", OTHER, "order", "concurrent")
    play, before = Walk(q, rng, observer), None
    for _ in range(steps):
        play.step()
        if watch:
            state = State(observer)
            check(state, before)
            before = state
    return play


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mode", ["concurrent", "commit", "sequential"])
def test_random_walk_keeps_the_invariants(q, mode, seed):
    play = walk(q, random.Random(f"{mode}{seed}"), 900, mode, q.redis)
    assert play.fenced["FENCED", False] > 20


def test_the_daemon_user_has_the_rights_that_the_library_uses():
    used = re.findall(r"call\('(\w+)'", LIBRARY.read_text())
    outside = {"ping", "client|setname", "info", "fcall", "fcall_ro", "scan"}
    given = {word[1:] for word in DAEMON_ACL if word.startswith("+")}
    assert given == {word.lower() for word in used} | outside


def test_the_daemon_user_can_run_everything_and_nothing_else(q):
    q.redis.execute_command("ACL", "SETUSER", "sluiced", "reset", "on", ">secret", *DAEMON_ACL)
    path = q.redis.connection_pool.connection_kwargs["path"]
    user = redis.Redis(unix_socket_path=path, username="sluiced", password="secret",
                       decode_responses=True)
    walk(Queue(user), random.Random(7), 400, "commit", q.redis, watch=False)
    user.info()
    user.client_setname("x")
    for command in (["EVAL", "return 1", 0], ["CONFIG", "GET", "*"], ["FLUSHALL"], ["KEYS", "*"],
                    ["FUNCTION", "DELETE", "sluice1"], ["GET", "other"], ["SCRIPT", "FLUSH"]):
        with pytest.raises(redis.exceptions.NoPermissionError):
            user.execute_command(*command)
    user.close()


@pytest.mark.parametrize("seed", range(4))
def test_lost_indexes_are_derived_again(q, seed):
    rng = random.Random(seed)
    mode = ["concurrent", "commit", "sequential"][seed % 3]
    walk(q, rng, 300, mode, q.redis, watch=False)
    state = State(q.redis)
    indexes = [key for key in state.key if key.split(":")[0] in INDEXES]
    for index in rng.sample(sorted(indexes), min(12, len(indexes))):
        q.redis.delete(P + index)
        for run in "ab":
            for name in State(q.redis).task:
                q("fix", run, name)
        check(State(q.redis), state)
    for name in State(q.redis).task:
        assert q("fix", "a", name) == 0


def repair(q):
    """What daemons do in the background; returns how many entries were missing."""
    found = sum(q("fix", "a", name) for name in State(q.redis).task)
    for name in State(q.redis).task:
        q("fix", "b", name)
    return found


@pytest.mark.parametrize("damage", [
    "rows:b/{0}/0", "open:b/{0}/0", "open:tail/{0}", "up:b/{0}/0", "t:b/{0}/0", "t:f/{0}/0/1",
    "t:f/{0}/0/7", "ready:f:live:{0}", "lease:f:{0}", "open-files:{0}", "order:{0}"])
def test_no_damage_makes_a_batch_without_its_files(q, damage):
    """A key is lost when a third of the files is copied and a third is in work."""
    q("dataset", DS, "max_open_files", 1000)
    tail = q.tail()
    q.fan(tail, "10", batch_of("0"), batch_of("1"))
    for task in list(q.claim(limit=2)):
        q.fan(task, "end", *(file_of(task.id[-1], n) for n in range(3 * PAGE)), sealed=True)
    tasks = list(q.claim("f", limit=16, lease=1))
    for task in tasks[:8]:
        q.done(task, row="r")
    assert q.redis.delete(P + damage.format(DS)) == 1
    harmless = damage.startswith("rows") or damage.endswith("/1")  # is known when it matters
    assert repair(q) > 0 or harmless
    for _ in range(9):
        time.sleep(0.003)
        q.tick()
        for task in list(q.claim("f", limit=99)):
            q.done(task, row="r")
        for task in list(q.claim(limit=9)):
            if task.fields["kind"] == "tail":
                q.release(task)
            elif task.fields["phase"] == "fan":
                q.fan(task, "end", *(file_of(task.id[-1], n) for n in range(3 * PAGE)),
                      sealed=True)
            else:
                assert q.redis.hlen(f"{P}rows:{task.id}") == 3 * PAGE
                q.done(task)
        repair(q)
    assert [q.get(f"b/{DS}/{n}", "status") for n in "01"] == ["completed"] * 2


def drain(q):
    """One careful worker; every batch is committed in the end."""
    commits, prev = [], {}
    while True:
        q.tick()
        tasks = [*q.claim("x", "live", 5), *q.claim("f", "live", 3), *q.claim("x", "backfill", 2)]
        if not tasks:
            return commits
        for task in tasks:
            if task.fields["phase"] == "fan":
                page = int(prev.get(task.id, 0))
                prev[task.id] = page + 1
                kids = [file_of(task.id[-2:], n, task.fields["order"])  # each time from the start
                        for n in range((page + 1) * PAGE)]
                q.fan(task, str(page + 1), *kids, sealed=page == 2)
                if page < 2:
                    q.release(task)
            else:
                commits += [task.id] if task.fields["kind"] == "batch" else []
                q.done(task, row="r")


@pytest.mark.parametrize("mode", ["commit", "sequential"])
def test_ordered_datasets_commit_in_order_within_the_cap_of_open_files(q, mode):
    q("dataset", DS, "order", mode, "max_open_files", MAX_OPEN)
    names = [f"b/{DS}/{n:02}" for n in range(20)]
    tail = q.tail()
    for name in random.Random(3).sample(names, 20):
        q("submit", name, "batch", DS, "live", int(name[-2:]), "")
    q.fan(tail, "1000")
    most = 0

    def watch(*words):
        nonlocal most
        answer = Queue.__call__(q, *words)
        most = max(most, q.redis.scard(f"{P}open-files:{DS}"))
        return answer

    counting = type("Counting", (Queue,), {"__call__": lambda _, *words: watch(*words)})
    assert drain(counting(q.redis)) == names
    assert 0 < most <= MAX_OPEN + 5 * PAGE  # each of the five listers may be one page over
