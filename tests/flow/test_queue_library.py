# SPDX-License-Identifier: Apache-2.0
"""The queue's function library against a real Redis: every function, every refusal.

The random walk at the end drives two owners through all functions and checks the invariants of
the task tree after every step; they are written down in check().
"""
import collections
import datetime
import pathlib
import random
import subprocess
import tempfile
import time

import pytest
import redis

LIBRARY = pathlib.Path(__file__).resolve().parents[2] / "lib/queue/queue.lua"
P = "sluice:"
DS = "5f1a2b3c4d5e6f708192a3b4"
OTHER = "6e0b"
MIB = 1 << 20

# What the daemon's Redis user needs, and no more (the library is loaded by another one).
DAEMON_ACL = """resetchannels resetkeys ~sluice:* -@all +ping +client|setname +info +fcall
    +fcall_ro +hget +hset +hmget +hgetall +hincrby +hdel +hlen +hscan +hrandfield +exists +zadd
    +zrem +zrange +zrangebyscore +zremrangebyscore +zscore +zcard +sadd +srem +smembers
    +sismember +scard +spop +srandmember +del +unlink +lindex +llen +lrem +lpush +rpop +lpos
    +ltrim +xadd +incr +get +time""".split()


@pytest.fixture(name="server", scope="module")
def fixture_server():
    """A redis-server of our own: unix socket, append-only file, no eviction."""
    with tempfile.TemporaryDirectory(prefix="sluice-") as place:
        path = f"{place}/redis"
        command = ["redis-server", "--port", "0", "--unixsocket", path, "--dir", place,
                   "--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            client = redis.Redis(unix_socket_path=path, decode_responses=True)
            wait_for(lambda: answers(client))
            client.function_load(LIBRARY.read_text())
            yield client
            process.terminate()


def answers(client):
    try:
        return client.ping()
    except redis.ConnectionError:
        return False


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(name="q")
def fixture_q(server):
    """An empty queue that knows two datasets."""
    server.flushall()
    queue = Queue(server)
    queue("dataset", DS)
    queue("dataset", OTHER)
    return queue


Task = collections.namedtuple("Task", "id fence owner fields")


class Queue:
    """The functions, with the arguments that most tests do not care about."""

    def __init__(self, client):
        self.redis = client

    def __call__(self, verb, *words):
        return self.redis.fcall("sluice_" + verb, 1, P, *words)

    def claim(self, cls="x", lane="live", limit=1, owner="a", lease=60000, room=(MIB << 20, MIB),
              datasets=(DS,)):
        found = self("claim", owner, lease, cls, lane, limit, *room, *datasets)
        for name, flat in found:
            fields = dict(zip(flat[::2], flat[1::2]))
            yield Task(name, fields["fence"], owner, fields)

    def one(self, **how):
        tasks = list(self.claim(**how))
        assert len(tasks) == 1, tasks
        return tasks[0]

    def fan(self, task, cursor, *children, prev=None, sealed=False):
        words = [word for one in children for word in one]
        prev = task.fields["offset"] if prev is None else prev
        return self("fan", task.id, task.owner, task.fence, cursor, int(sealed), prev, *words)

    def done(self, task, **fields):
        return self("done", task.id, task.owner, task.fence, *flat_of(fields))

    def fail(self, task, delay=0, count=1, text="why", cls="cut"):
        return self("fail", task.id, task.owner, task.fence, delay, count, text, cls)

    def release(self, task, delay=0, **fields):
        return self("release", task.id, task.owner, task.fence, delay, *flat_of(fields))

    def beat(self, *tasks, lease=60000, offset="", owner="a"):
        words = [word for task in tasks for word in (task.id, task.fence, offset)]
        return self("beat", owner, lease, *words)

    def tick(self, owner="a", ttl=60000, retention=10**9, max_lost=5, datasets=(DS, OTHER)):
        return self("tick", owner, ttl, retention, max_lost, *datasets)

    def task(self, name):
        return self.redis.hgetall(f"{P}t:{name}")

    def get(self, name, field):
        return self.redis.hget(f"{P}t:{name}", field)

    def members(self, key):
        kind = self.redis.type(P + key)
        if kind == "zset":
            return self.redis.zrange(P + key, 0, -1)
        return sorted(self.redis.smembers(P + key))

    # Trees

    def tail(self, dataset=DS, watermark=0):
        self("submit", f"tail/{dataset}", "tail", dataset, "live", 0, "", "offset", watermark)
        return self.one(datasets=(dataset,))

    def batch(self, name="B", files=0, order=1, dataset=DS, length=100):
        """A batch that is listed; its files are ready."""
        self("submit", f"b/{dataset}/{name}", "batch", dataset, "live", order, "")
        task = self.one(datasets=(dataset,))
        kids = [file_of(name, n, order, dataset, length=length) for n in range(files)]
        self.fan(task, "end", *kids, sealed=True)
        return task

    def finish(self, files=100, dataset=DS):
        """Copies all ready files."""
        for task in list(self.claim("f", limit=files, datasets=(dataset,))):
            self.done(task, row=f"row of {task.id}")


def flat_of(fields):
    return [word for pair in fields.items() for word in pair]


def child(kind, name, order=1, lane="live", **fields):
    return [kind, name, lane, order, len(fields), *flat_of(fields)]


def batch_of(name, order=1, dataset=DS):
    return child("batch", f"b/{dataset}/{name}", order)


def file_of(batch, number, order=1, dataset=DS, **fields):
    return child("file", f"f/{dataset}/{batch}/{number}", order, **fields)


def refused(word, function, *words, **more):
    with pytest.raises(redis.ResponseError) as problem:
        function(*words, **more)
    assert str(problem.value).startswith(word), problem.value
    return str(problem.value)


def everything(client):
    """The whole content, to prove that a refused call wrote nothing."""
    return {key: client.dump(key) for key in client.scan_iter(count=1000)}


# --- arguments -----------------------------------------------------------------------------------

def test_version_is_a_positive_integer(q):
    assert q("version") >= 1


def test_every_function_wants_the_prefix(q):
    functions = q.redis.function_list()[0][5]
    names = [dict(zip(f[::2], f[1::2]))["name"] for f in functions]
    assert len(names) == 21
    for name in names:
        refused("BADARG keys", q.redis.fcall, name, 0)


ORDER = 9 * 10**15 + 1


@pytest.mark.parametrize("words", [
    ("submit",),
    ("submit", "b/d/ü", "batch", "d", "live", 1, ""),
    ("submit", "b/d/" + "x" * 400, "batch", "d", "live", 1, ""),
    ("submit", "b/d/x", "batsch", "d", "live", 1, ""),
    ("submit", "b/d/x", "batch", "e", "live", 1, ""),
    ("submit", "b/d", "batch", "d", "live", 1, ""),
    ("submit", "b/d/x", "batch", "d/e", "live", 1, ""),
    ("submit", "f/d/x", "batch", "d", "live", 1, ""),
    ("submit", "tail/d/x", "tail", "d", "live", 1, ""),
    ("submit", "b/d/x", "batch", "d", "slow", 1, ""),
    ("submit", "b/d/x", "batch", "d", "live", "1.5", ""),
    ("submit", "b/d/x", "batch", "d", "live", -1, ""),
    ("submit", "b/d/x", "batch", "d", "live", ORDER, ""),
    ("submit", "b/d/x", "batch", "d", "live", 1, "j/d/none"),
    ("submit", "b/d/x", "batch", "d", "live", 1, "", "odd"),
    ("submit", "b/d/x", "batch", "d", "live", 1, "", "status", "completed"),
    ("submit", "b/d/x", "batch", "d", "live", 1, "", "Name", "x"),
    ("submit", "f/d/x/1", "file", "d", "live", 1, ""),
    ("submit", "f/d/x/1", "file", "d", "live", 1, f"tail/{DS}"),
    ("claim",),
    ("claim", "a", 0, "x", "live", 1, 0, 0, DS),
    ("claim", "a", 1000, "y", "live", 1, 0, 0, DS),
    ("claim", "a", 1000, "x", "dead", 1, 0, 0, DS),
    ("claim", "a", 1000, "x", "live", 1001, 0, 0, DS),
    ("claim", "a b", 1000, "x", "live", 1, 0, 0, DS),
    ("claim", "a", 1000, "x", "live", 1, 0, 0, "no/slash"),
    ("beat", "a", "soon"),
    ("beat", "a", 1000, f"tail/{DS}", 1),
    ("beat", "a", 1000, f"tail/{DS}", 1, 77),
    ("beat", "a", 1000, f"f/{DS}/B/0", 1, "many"),
    ("save", f"tail/{DS}", "a", 1, "offset", 5),
    ("save", f"tail/{DS}", "a", 1, "fence", 5),
    ("save", f"tail/{DS}", "a", 1, "lonely"),
    ("fail", f"tail/{DS}", "a", 1, -2, 1, "why", "cut"),
    ("fail", f"tail/{DS}", "a", 1, 0, 2, "why", "cut"),
    ("fail", f"tail/{DS}", "a", 1, 0, 1, "why"),
    ("release", f"tail/{DS}", "a", 1, -1),
    ("fan", f"tail/{DS}", "a", 1, "10", 2, "0"),
    ("fan", f"tail/{DS}", "a", 1, "0", 0, "0"),
    ("fan", f"tail/{DS}", "a", 1, "10", 1, "0"),
    ("fan", f"tail/{DS}", "a", 1, "10", 0, "0", "batch"),
    ("fan", f"tail/{DS}", "a", 1, "10", 0, "0", *batch_of("x"), *file_of("x", 1)),
    ("fan", f"tail/{DS}", "a", 1, "10", 0, "0", *batch_of("x"), *batch_of("x", dataset=OTHER)),
    ("fan", f"tail/{DS}", "a", 1, "10", 0, "0", *batch_of("x", order="soon")),
    ("fan", f"tail/{DS}", "a", 1, "10", 0, "0", "batch", f"b/{DS}/x", "live", 1, 2, "a", "b"),
    ("fan", f"tail/{DS}", "a", 1, "10", 0, "0", *batch_of("x") * 1001),
    ("tick", "a", 1000, 1000, 0),
    ("tick", "", 1000, 1000, 5),
    ("tick", "a", 1000, -1, 5),
    ("tick", "a", 1000, 1000, 5, "no/slash"),
    ("dataset", "a/b"),
    ("dataset", DS, "order", "newest-first"),
    ("dataset", DS, "paused", 0),
    ("dataset", DS, "max_f", "many"),
    ("pause", DS, 2),
    ("pause", "unknown", 1),
    ("retry", "b/d/none"),
    ("skip", f"tail/{DS}", "boring"),
    ("skip", f"b/{DS}/B", ""),
    ("skip", f"f/{DS}/B/0", "broken"),
    ("cancel", f"b/{DS}/B"),
    ("rows", f"b/{DS}/B", "first"),
    ("show", "b/d/none"),
    ("fix", "c", f"b/{DS}/B"),
    ("inbox_take", "x", "maybe"),
    ("inbox_take", "x", "run"),
])
def test_bad_arguments_are_refused_before_anything_is_written(q, words):
    q.batch(files=1)
    assert q.tail().fence == "1"
    before = everything(q.redis)
    refused("BADARG", q, *words)
    assert everything(q.redis) == before


# --- making tasks --------------------------------------------------------------------------------

def test_submit_makes_a_task_once(q):
    words = ("submit", f"b/{DS}/B", "batch", DS, "live", 5, "", "name", "x")
    assert q(*words)[0] == "new"
    assert q(*words)[0] == "dup"
    task = q.task(f"b/{DS}/B")
    assert (task["status"], task["phase"], task["name"]) == ("pending", "fan", "x")
    assert task["created_at"] == task["updated_at"]


def test_submit_says_have_and_revived(q):
    task = q.batch()
    words = ("submit", task.id, "batch", DS, "live", 1, "")
    q.fail(q.one(), delay=-1)
    assert q(*words)[0] == "revived"
    q.done(q.one())
    assert q(*words)[0] == "have"


def test_submit_counts_mutations(q):
    first = q("submit", f"b/{DS}/1", "batch", DS, "live", 1, "")[1]
    assert q("submit", f"b/{DS}/2", "batch", DS, "live", 1, "")[1] > first


def test_submit_under_a_parent_that_is_sealed_is_refused(q):
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    q.fan(job, "end", batch_of("B"), sealed=True)
    refused("BADARG parent", q, "submit", f"b/{DS}/C", "batch", DS, "live", 1, job.id)


def test_a_batch_has_all_its_parents(q):
    tail = q.tail()
    q.fan(tail, "10", batch_of("B"))
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    q.fan(job, "end", batch_of("B"), sealed=True)
    assert q.members(f"up:b/{DS}/B") == sorted([tail.id, job.id])
    assert q.members(f"open:{job.id}") == [f"b/{DS}/B"]
    q.fan(q.one(), "end", sealed=True)
    q.done(q.one())
    assert q.get(job.id, "status") == "completed"
    assert q.members(f"open:{tail.id}") == []


# --- fan -----------------------------------------------------------------------------------------

def test_fan_moves_children_and_cursor_together(q):
    task = q.tail()
    new, _, room = q.fan(task, "10", batch_of("B"), batch_of("C"))
    assert (new, room) == (2, 20000)
    assert q.get(task.id, "offset") == "10"
    assert q.members(f"ready:l:live:{DS}") == [f"b/{DS}/B", f"b/{DS}/C"]


def test_fan_compares_the_cursor(q):
    task = q.tail()
    q.fan(task, "10")
    refused("FENCED stale cursor", q.fan, task, "20")
    q.fan(task, "20", prev="10")


def test_fan_repeated_does_nothing(q):
    task = q.tail()
    q.fan(task, "10", batch_of("B"))
    before = everything(q.redis)
    assert q.fan(task, "10", batch_of("B"))[0] == 0
    assert everything(q.redis) == before


def test_sealed_fan_repeated_is_recognised_by_its_holder_only(q):
    q("submit", f"b/{DS}/B", "batch", DS, "live", 1, "")
    task = q.one()
    q.fan(task, "end", file_of("B", 0), sealed=True)
    before = everything(q.redis)
    assert q.fan(task, "end", file_of("B", 0), sealed=True)[0] == 0
    assert everything(q.redis) == before
    refused("FENCED", q.fan, task._replace(owner="b"), "end", file_of("B", 0), sealed=True)
    refused("FENCED", q.fan, task, "end", file_of("B", 0))


def test_sealing_with_the_cursor_of_an_open_page_is_not_a_repetition(q):
    q("submit", f"b/{DS}/B", "batch", DS, "live", 1, "")
    task = q.one()
    q.fan(task, "p1")
    refused("FENCED stale cursor", q.fan, task, "p1", sealed=True)


def test_fan_by_a_stale_worker_is_refused(q):
    old = q.tail()
    q.release(old)
    q.one()
    before = everything(q.redis)
    refused("FENCED", q.fan, old, "10", batch_of("B"))
    assert everything(q.redis) == before


def test_fan_after_listing_is_refused(q):
    q.batch()
    task = q.one()
    assert task.fields["phase"] == "fin"
    refused("BADPHASE fin", q.fan, task, "more", file_of("B", 1))


def test_an_empty_batch_goes_straight_to_its_commit(q):
    q.batch()
    assert q.one().fields["phase"] == "fin"


def test_an_empty_job_is_completed(q):
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    q.fan(job, "end", sealed=True)
    assert q.get(job.id, "status") == "completed"
    assert q.members(f"unlisted:{DS}") == []


def test_windows_and_batches_settle_up_to_the_job(q):
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    q.fan(job, "end", child("window", f"w/{DS}/1", lane="backfill"), sealed=True)
    window = q.one(lane="backfill")
    q.fan(window, "end", batch_of("B"), sealed=True)
    q.fan(q.one(), "end", sealed=True)
    assert q.get(job.id, "status") == "in-progress"
    q.done(q.one())
    assert [q.get(t.id, "status") for t in (window, job)] == ["completed"] * 2


# --- claim ---------------------------------------------------------------------------------------

def test_claim_takes_the_oldest_and_returns_the_whole_hash(q):
    for name, order in (("B", 7), ("A", 9), ("C", 3)):
        q("submit", f"b/{DS}/{name}", "batch", DS, "live", order, "", "name", name)
    tasks = list(q.claim(limit=2))
    assert [t.fields["name"] for t in tasks] == ["C", "B"]
    assert tasks[0].fields["attempts"] == tasks[0].fence == "1"
    assert tasks[0].fields["owner"] == "a"


def test_lanes_are_apart(q):
    q("backfill", DS, "2024-02-01", "2024-02-02")
    assert not list(q.claim())
    assert q.one(lane="backfill").fields["lane"] == "backfill"


def test_claim_stops_at_the_first_file_that_does_not_fit(q):
    q("submit", f"b/{DS}/B", "batch", DS, "live", 1, "")
    lengths = [3 * MIB, 10, 50 * MIB, 10]
    kids = [file_of("B", n, n, length=length) for n, length in enumerate(lengths)]
    q.fan(q.one(), "end", *kids, sealed=True)
    room = 3 * MIB + 65536 + 8 * MIB - 1
    assert len(list(q.claim("f", limit=9, room=(3 * MIB - 1, 8 * MIB)))) == 0
    assert len(list(q.claim("f", limit=9, room=(room, 8 * MIB)))) == 2
    assert len(q.members(f"ready:f:live:{DS}")) == 2
    assert len(list(q.claim("f", limit=9, room=(8 * MIB + 65536, 8 * MIB)))) == 2


def test_limits_and_pause_of_a_dataset(q):
    q.batch(files=3)
    q("dataset", DS, "max_f", 2)
    q("pause", DS, 1)
    assert not list(q.claim("f", limit=9))
    q("pause", DS, 0)
    assert len(list(q.claim("f", limit=9))) == 2
    assert not list(q.claim("f", limit=9))
    q("dataset", DS, "max_x", 0)
    q("submit", f"b/{DS}/C", "batch", DS, "live", 1, "")
    assert not list(q.claim())


def test_no_dataset_starves(q):
    for dataset in (DS, OTHER):
        for n in range(200):
            q("submit", f"b/{dataset}/{n}", "batch", dataset, "live", n, "")
    seen = collections.Counter(q.one(datasets=(DS, OTHER)).fields["dataset"] for _ in range(200))
    assert min(seen[DS], seen[OTHER]) > 40, seen


def test_listing_waits_for_room_and_commits_do_not(q):
    q("dataset", DS, "max_open_files", 2)
    q.batch("B", files=2)
    q("submit", f"b/{DS}/OLD", "batch", DS, "live", 0, "")
    assert not list(q.claim(limit=9))
    assert q.tail().fields["kind"] == "tail"
    q.finish()
    tasks = list(q.claim(limit=9))
    assert [t.fields["phase"] for t in tasks] == ["fin", "fan"]


def test_fan_reports_the_room_that_is_left(q):
    q("dataset", DS, "max_open_files", 5)
    q("submit", f"b/{DS}/B", "batch", DS, "live", 1, "")
    task = q.one()
    assert q.fan(task, "1", file_of("B", 0), file_of("B", 1))[2] == 3
    q.fail(q.one(cls="f"), delay=-1)
    assert q.fan(task, "2", prev="1")[2] == 4


def test_entries_without_a_pending_task_are_dropped_by_claim(q):
    q.redis.zadd(f"{P}ready:x:live:{DS}", {f"b/{DS}/ghost": 0})
    assert not list(q.claim())
    assert q.members(f"ready:x:live:{DS}") == []


# --- leases --------------------------------------------------------------------------------------

def test_done_moves_the_row_and_shrinks_the_file(q):
    q.batch(files=1)
    task = q.one(cls="f")
    q("save", task.id, "a", task.fence, "upload_id", "u", "offset", 50)
    assert q.done(task, row="text", offset=100)[0] == "ok"
    left = q.task(task.id)
    assert left["status"] == "completed" and left["offset"] == "100"
    assert not {"upload_id", "row", "length"} & set(left)
    assert q.redis.hgetall(f"{P}rows:b/{DS}/B") == {task.id: "text"}
    assert q.one().fields["phase"] == "fin"


def test_done_repeated_answers_ok_to_the_same_lease_only(q):
    q.batch(files=1)
    task = q.one(cls="f")
    q.done(task, row="text")
    before = everything(q.redis)
    assert q.done(task, row="text")[0] == "ok"
    assert everything(q.redis) == before
    refused("FENCED", q.done, task._replace(owner="b"))
    fin = q.one()
    q.done(fin, files=1)
    assert q.done(fin, files=1)[0] == "ok"


def test_done_while_listing_is_refused(q):
    refused("BADPHASE fan", q.done, q.tail())


@pytest.mark.parametrize("verb", ["save", "done", "fail", "release"])
def test_stale_writes_are_fenced_and_write_nothing(q, verb):
    q.batch(files=1)
    old = q.one(cls="f")
    q.release(old)
    new = q.one(cls="f", owner="b")
    assert int(new.fence) == int(old.fence) + 1
    more = {"fail": (0, 1, "why", "cut"), "release": (0,)}.get(verb, ())
    before = everything(q.redis)
    for stale in (old, new._replace(owner="a"), old._replace(owner="b")):
        refused("FENCED", q, verb, stale.id, stale.owner, stale.fence, *more)
    assert everything(q.redis) == before


def test_fail_delays_and_counts_as_told(q):
    q.batch(files=1)
    q.fail(q.one(cls="f"), delay=0, count=0)
    task = q.one(cls="f")
    assert task.fields["attempts"] == "1" and task.fields["error"] == "why"
    q.fail(task, delay=30, count=1)
    assert not list(q.claim("f")) and q.tick()[0] == 0
    time.sleep(0.04)
    assert q.tick()[0] == 1
    assert q.one(cls="f").fields["attempts"] == "2"


def test_dead_files_fail_the_batch_once_nothing_else_is_open(q):
    q.batch(files=2)
    first, second = q.claim("f", limit=2)
    assert q.fail(first, delay=-1)[0] == "dead"
    assert q.get(f"b/{DS}/B", "status") == "in-progress"
    q.done(second)
    assert q.get(f"b/{DS}/B", "class") == "children"
    assert q.members("dead") == sorted(q.members("dead")) and len(q.members("dead")) == 2
    assert q.redis.scard(f"{P}open-files:{DS}") == 0


def test_release_refunds_the_attempt_and_keeps_fields(q):
    q.batch(files=1)
    q.release(q.one(cls="f"), offset=7, upload_id="u")
    task = q.one(cls="f")
    assert (task.fields["attempts"], task.fields["offset"]) == ("1", "7")
    assert task.fields["upload_id"] == "u"
    q.release(task, delay=60000)
    assert q.members("delayed") == [task.id]


def test_beat_extends_saves_and_tells(q):
    q.batch(files=2)
    held, lost = q.claim("f", limit=2, lease=1000)
    q.release(lost)
    end = q.redis.zscore(f"{P}lease:f:{DS}", held.id)
    assert q.beat(held, lost, offset=5, lease=90000) == ["ok", "FENCED"]
    assert q.redis.zscore(f"{P}lease:f:{DS}", held.id) > end
    assert q.get(held.id, "offset") == "5"
    assert q.beat(held) == ["ok"] and q.get(held.id, "offset") == "5"
    q("skip", f"b/{DS}/B", "corrupt")
    assert q.beat(held) == ["CANCEL"]


def lapse(q, task_of):
    task = task_of()
    time.sleep(0.005)
    q.tick()
    return task


def test_a_lapsed_lease_is_given_to_the_next(q):
    q.batch(files=1)
    old = lapse(q, lambda: q.one(cls="f", lease=1))
    new = q.one(cls="f", owner="b")
    assert new.fields["lost"] == "1" and new.fence > old.fence
    assert q.beat(old) == ["FENCED"]


def test_leases_lost_without_progress_poison_a_task(q):
    q.batch(files=1)
    for _ in range(5):
        lapse(q, lambda: q.one(cls="f", lease=1))
    assert q.get(f"f/{DS}/B/0", "class") == "poison"


@pytest.mark.parametrize("progress", [
    lambda q, task: q.beat(task, offset=1, lease=1),
    lambda q, task: q.release(task),
    lambda q, task: q.fail(task, count=0),
])
def test_progress_forgives_lost_leases(q, progress):
    q.batch(files=1)
    for _ in range(3):
        lapse(q, lambda: q.one(cls="f", lease=1))
    progress(q, q.one(cls="f", lease=1))
    assert q.get(f"f/{DS}/B/0", "lost") == "0"


def test_a_beat_without_progress_forgives_nothing(q):
    q.batch(files=1)
    lapse(q, lambda: q.one(cls="f", lease=1))
    q.beat(q.one(cls="f"), offset=0)
    assert q.get(f"f/{DS}/B/0", "lost") == "1"


# --- time ----------------------------------------------------------------------------------------

def test_tick_counts_live_daemons(q):
    assert q.tick(owner="a", ttl=60000)[1] == 1
    assert q.tick(owner="b", ttl=1)[1] == 2
    time.sleep(0.005)
    moved, live, inbox, now, seq = q.tick(owner="a")
    assert (moved, live, inbox) == (0, 1, 0)
    assert abs(now - time.time() * 1000) < 5000
    assert seq == int(q.redis.get(P + "seq"))


def test_tick_is_bounded(q):
    q.batch(files=150)
    for task in list(q.claim("f", limit=150)):
        q.release(task, delay=1)
    time.sleep(0.005)
    assert [q.tick()[0] for _ in range(3)] == [100, 50, 0]


def test_a_committed_batch_leaves_nothing_but_itself_and_expires(q):
    q.batch(files=700)
    while q.redis.zcard(f"{P}ready:f:live:{DS}"):
        q.finish()
    q.done(q.one())
    q.tick()
    assert 0 < len(list(q.redis.scan_iter(P + "t:f/*", count=1000))) <= 200
    q.tick()
    assert not list(q.redis.scan_iter(P + "t:f/*", count=1000))
    assert not q.redis.exists(f"{P}rows:b/{DS}/B", P + "gc")
    assert q.task(f"b/{DS}/B")["status"] == "completed"
    time.sleep(0.005)
    q.tick(retention=1)
    left = {key for key in q.redis.scan_iter() if key.startswith((P + "t:", P + "up:"))}
    assert not left and not q.members("done")


def test_rows_can_be_walked(q):
    q.batch(files=900)
    while q.redis.zcard(f"{P}ready:f:live:{DS}"):
        q.finish()
    found, cursor = {}, "0"
    while True:
        cursor, flat = q.redis.fcall_ro("sluice_rows", 1, P, f"b/{DS}/B", cursor)
        found.update(zip(flat[::2], flat[1::2]))
        if cursor == "0":
            break
    assert found == {f"f/{DS}/B/{n}": f"row of f/{DS}/B/{n}" for n in range(900)}


# --- order ---------------------------------------------------------------------------------------

def committable(q, limit=99):
    return [task.id[-1] for task in q.claim(limit=limit) if task.fields["phase"] == "fin"]


def test_commit_order(q):
    q("dataset", DS, "order", "commit")
    for name, order in (("B", 2), ("A", 1), ("C", 3)):
        q.batch(name, files=1, order=order)
    files = {task.id: task for task in q.claim("f", limit=9)}
    assert len(files) == 3
    q.done(files[f"f/{DS}/C/0"])
    q.done(files[f"f/{DS}/B/0"])
    assert committable(q) == []
    q.done(files[f"f/{DS}/A/0"])
    for name in "ABC":
        task = q.one()
        assert task.id[-1] == name and not list(q.claim())
        q.done(task)


def test_commits_wait_for_what_may_still_yield_an_older_batch(q):
    q("dataset", DS, "order", "commit")
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    order = int(job.fields["order"])
    q.batch("L", order=order + 5)
    q.batch("E", order=order - 5)
    assert committable(q) == ["E"]
    q.fan(job, "end", batch_of("M", order + 1), sealed=True)
    assert committable(q) == []


def test_commits_wait_for_the_watermark_of_the_tail(q):
    q("dataset", DS, "order", "commit")
    tail = q.tail(watermark=100)
    q.batch("B", order=100)
    q.batch("A", order=99)
    first = q.one()
    assert first.id[-1] == "A"
    q.done(first)
    assert committable(q) == []
    q.fan(tail, "101")
    assert committable(q) == ["B"]


def test_sequential_order(q):
    q("dataset", DS, "order", "sequential")
    for name, order in (("A", 1), ("B", 2)):
        q("submit", f"b/{DS}/{name}", "batch", DS, "live", order, "")
    task = q.one(limit=9)
    assert task.id[-1] == "A"
    q.fan(task, "end", sealed=True)
    task = q.one(limit=9)
    assert task.fields["phase"] == "fin"
    q.done(task)
    assert q.one(limit=9).id[-1] == "B"


def test_a_dead_batch_holds_up_its_dataset_until_it_is_skipped(q):
    q("dataset", DS, "order", "sequential")
    for name, order in (("A", 1), ("B", 2)):
        q("submit", f"b/{DS}/{name}", "batch", DS, "live", order, "")
    q.fail(q.one(), delay=-1)
    q.tick()
    assert not list(q.claim())
    q("skip", f"b/{DS}/A", "corrupt")
    assert q.one().id[-1] == "B"


def test_a_dataset_that_is_no_longer_ordered_lets_all_pass(q):
    q("dataset", DS, "order", "commit")
    q.tail(watermark=1)
    for n in range(3):
        q.batch(str(n), order=5)
    assert committable(q) == []
    q("dataset", DS, "order", "concurrent")
    q.tick()
    assert sorted(committable(q)) == ["0", "1", "2"]


# --- operators -----------------------------------------------------------------------------------

def test_retry_revives_what_failed_below_and_above(q):
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    q.fan(job, "end", batch_of("B"), sealed=True)
    q.fan(q.one(), "end", file_of("B", 0), file_of("B", 1), sealed=True)
    for task in list(q.claim("f", limit=2)):
        q.fail(task, delay=-1)
    assert q.get(job.id, "status") == "failed"
    assert q("retry", job.id) == "ok 4"
    assert q.members("dead") == []
    q.finish()
    q.done(q.one())
    assert q.get(job.id, "status") == "completed"


def test_retry_of_one_file_revives_its_parents_only(q):
    q.batch(files=2)
    for task in list(q.claim("f", limit=2)):
        q.fail(task, delay=-1)
    assert q("retry", f"f/{DS}/B/0").startswith("ok")
    assert q.members("dead") == [f"f/{DS}/B/1"]
    assert q.get(f"b/{DS}/B", "status") == "in-progress"
    q.finish()
    assert q.get(f"b/{DS}/B", "status") == "failed"


def test_retry_does_not_revive_a_parent_that_failed_by_itself(q):
    q("submit", f"b/{DS}/B", "batch", DS, "live", 1, "")
    batch = q.one()
    q.fan(batch, "1", file_of("B", 0))
    q.fail(q.one(cls="f"), delay=-1)
    q.fail(batch, delay=-1)
    q("retry", f"f/{DS}/B/0")
    assert q.get(batch.id, "status") == "failed"
    assert q.get(batch.id, "phase") == "fan"


def test_retry_of_what_did_not_fail_is_refused(q):
    q.batch(files=1)
    refused("NOTFAILED", q, "retry", f"b/{DS}/B")


def test_retry_is_bounded_and_says_so(q):
    q.batch(files=1000)
    for task in list(q.claim("f", limit=1000)):
        q.fail(task, delay=-1)
    assert q("retry", f"b/{DS}/B") == "ok 1000, repeat it for the rest"
    assert q("retry", f"b/{DS}/B") == "ok 1"
    assert q.members("dead") == []


def test_submit_of_a_batch_with_dead_files_revives_them(q):
    task = q.batch(files=1)
    q.fail(q.one(cls="f"), delay=-1)
    assert q("submit", task.id, "batch", DS, "live", 1, "")[0] == "revived"
    q.finish()
    assert q.one().fields["phase"] == "fin"


def test_skip_settles_the_job_and_is_remembered(q):
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    q.fan(job, "end", batch_of("B"), sealed=True)
    batch = q.one()
    q.fan(batch, "end", file_of("B", 0), sealed=True)
    q.fail(q.one(cls="f"), delay=-1)
    assert q("skip", batch.id, "corrupt at source") == "ok"
    assert q("skip", batch.id, "again") == "ok"
    assert q.get(job.id, "status") == "completed"
    assert (q.get(batch.id, "class"), q.get(batch.id, "error")) == ("skipped", "corrupt at source")
    q.tick(retention=0)
    assert q.members("dead") == []
    assert q("submit", batch.id, "batch", DS, "live", 1, "")[0] == "have"
    assert not q.redis.exists(f"{P}t:f/{DS}/B/0", f"{P}open:{batch.id}")


def test_a_skipped_batch_can_be_retried_before_and_after_its_files_are_removed(q):
    for collected in (False, True):
        name = f"B{collected}"
        batch = q.batch(name, files=2)
        q.done(q.one(cls="f"), row="r")
        q("skip", batch.id, "by mistake")
        if collected:
            q.tick()
        q("retry", batch.id)
        again = q.one()
        assert again.fields["offset"] == "0"
        q.fan(again, "end", file_of(name, 0), file_of(name, 1), sealed=True)
        q.tick()
        q.finish()
        q.done(q.one())


def test_cancel_takes_along_what_nobody_else_wants(q):
    q.fan(q.tail(), "10", batch_of("S"))
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    window = child("window", f"w/{DS}/1", lane="backfill")
    q.fan(job, "end", window, batch_of("S"), batch_of("T"), sealed=True)
    assert q("cancel", job.id) == "ok" and q("cancel", job.id) == "ok"
    q.tick()
    states = [q.get(name, "class") for name in (f"w/{DS}/1", f"b/{DS}/S", f"b/{DS}/T")]
    assert states == ["cancelled", None, "cancelled"]
    assert q.members(f"unlisted:{DS}") == [f"tail/{DS}"]
    assert [task.id for task in q.claim(limit=9)] == [f"b/{DS}/S"]


def test_a_cancelled_batch_is_taken_up_again_when_it_is_wanted(q):
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    q.fan(job, "end", batch_of("T"), sealed=True)
    q("cancel", job.id)
    q.tick()
    q.fan(q.tail(), "10", batch_of("T"))
    assert q.get(f"b/{DS}/T", "status") == "pending"
    assert q("retry", job.id) == "ok 1"
    assert q.one(lane="backfill").fields["offset"] == "0"


def test_backfill_is_repeatable_and_again_is_numbered(q):
    words = ("backfill", DS, "2024-02-01", "2024-02-03")
    name = f"j/{DS}/1706745600000-1706918400000"
    assert q(*words) == f"queued {name}"
    assert q(*words) == q(*words, "again") == f"exists {name} pending"
    q.fan(q.one(lane="backfill"), "end", sealed=True)
    assert q(*words) == f"exists {name} completed"
    assert q(*words, "again") == f"queued {name}/2"
    assert q(*words, "again") == f"exists {name}/2 pending"
    task = q.one(lane="backfill")
    assert (task.fields["from"], task.fields["to"]) == ("1706745600000", "1706918400000")
    assert task.fields["order"] == task.fields["from"]


def test_backfill_wants_a_known_dataset_and_names_them(q):
    assert refused("BADARG dataset", q, "backfill", "x", "2024-02-01", "2024-02-03").endswith(
        f"want one of {DS} {OTHER}")
    refused("BADARG", q, "backfill")
    refused("BADARG from", q, "backfill", DS)


@pytest.mark.parametrize("text", [
    "2024-02-30", "2023-02-29", "1900-02-29", "2024-13-01", "2024-00-01", "2024-01-00",
    "2024-1-1", "20240201", "2024-02-01T24:00Z", "2024-02-01T10:60Z", "2024-02-01T10:00",
    "2024-02-01T10:00:60Z", "2024-02-01T10:00:5Z", "2024-02-01T10:00:00+01:00", "1969-12-31",
    "yesterday", "", " 2024-02-01", "2024-02-01 ", "1706745600", "170674560000000", "-1",
])
def test_dates_are_strict(q, text):
    before = everything(q.redis)
    refused("BADARG from", q, "backfill", DS, text, "2030-01-01")
    refused("BADARG to", q, "backfill", DS, "2024-01-01", text)
    assert everything(q.redis) == before


def test_dates_agree_with_the_calendar(q):
    rng = random.Random(1)
    for _ in range(300):
        at = datetime.datetime.fromtimestamp(rng.randrange(3 * 10**9), datetime.timezone.utc)
        form, unit = rng.choice([("%Y-%m-%d", 86400), ("%Y-%m-%dT%H:%MZ", 60),
                                 ("%Y-%m-%dT%H:%M:%SZ", 1)])
        want = int(at.timestamp()) // unit * unit * 1000
        answer = q("backfill", DS, at.strftime(form), "2099-12-31")
        assert f"/{want}-" in answer, (at, answer)


def test_a_range_must_not_be_empty(q):
    refused("BADARG range", q, "backfill", DS, "2024-02-01", "2024-02-01")
    refused("BADARG range", q, "backfill", DS, "2024-02-01T00:01Z", "1706745600000")
    refused("BADARG after", q, "backfill", DS, "2024-02-01", "2024-02-02", "please")


def test_inbox_runs_once(q):
    q.redis.lpush(P + "inbox", "raw")
    words = ("inbox_take", "raw", "run", "backfill", DS, "2024-02-01", "2024-02-02")
    verdict, answer = q(*words)
    assert verdict == "done" and answer.startswith("queued j/")
    assert q(*words) == ["gone", ""]
    assert q.tick()[2] == 0


@pytest.mark.parametrize("words, reason", [
    (("reject", "no JSON"), "no JSON"),
    (("run", "backfill", DS, "soon", "later"), "BADARG from"),
    (("run", "explode"), "BADARG verb"),
    (("run", "retry"), "BADARG id"),
    (("run", "retry", "b/x/y"), "BADARG id"),
])
def test_inbox_keeps_what_is_refused_with_the_reason(q, words, reason):
    q.redis.lpush(P + "inbox", "second", "raw", "first")
    verdict, answer = q("inbox_take", "raw", *words)
    assert verdict == "rejected" and answer.startswith(reason)
    assert q.redis.lrange(P + "inbox:rejected", 0, -1) == [f"{answer} <- raw"]
    assert q.redis.lrange(P + "inbox", 0, -1) == ["first", "second"]


def test_inbox_rejections_are_capped(q):
    for n in range(1010):
        q.redis.lpush(P + "inbox", n)
        q("inbox_take", n, "reject", "no")
    assert q.redis.llen(P + "inbox:rejected") == 1000


def test_inbox_survives_a_broken_index(q):
    q.redis.set(P + "unlisted:" + DS, "not a sorted set")
    q.redis.lpush(P + "inbox", "raw")
    verdict, answer = q("inbox_take", "raw", "run", "backfill", DS, "2024-02-01", "2024-02-02")
    assert verdict == "rejected" and "WRONGTYPE" in answer


def test_stat_and_show_explain_without_writing(q):
    q.batch(files=2)
    q.fail(q.one(cls="f"), delay=-1, text="403 from the store")
    text = q.redis.fcall_ro("sluice_stat", 1, P)
    assert text.splitlines()[0].startswith(DS + " order=concurrent paused=0")
    assert "to_copy=1" in text and "open_files=1" in text and "dead=1" in text
    assert "place ready:f:live" in q.redis.fcall_ro("sluice_show", 1, P, f"f/{DS}/B/1")
    assert "403 from the store" in q.redis.fcall_ro("sluice_show", 1, P, f"f/{DS}/B/0")
    batch = q.redis.fcall_ro("sluice_show", 1, P, f"b/{DS}/B")
    assert f"dead 1 f/{DS}/B/0" in batch and "place wait" in batch


# --- limits of Redis -----------------------------------------------------------------------------

def test_a_full_redis_drains_and_does_not_grow(q):
    q.batch(files=1)
    task = q.one(cls="f")
    q.redis.config_set("maxmemory", 1)
    try:
        refused("OOM", q, "submit", f"b/{DS}/C", "batch", DS, "live", 1, "")
        refused("OOM", q, "claim", "a", 1000, "x", "live", 1, 0, 0, DS)
        assert q.beat(task, offset=1) == ["ok"]
        assert q.done(task, row="r")[0] == "ok"
        assert q.tick()[0] == 0
    finally:
        q.redis.config_set("maxmemory", 0)


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


# --- invariants ----------------------------------------------------------------------------------

class State:
    """All that is in Redis, read in two round trips."""

    READERS = {"hash": "hgetall", "zset": "zrange", "set": "smembers", "list": "lrange"}

    def __init__(self, client):
        keys = [key for key in client.scan_iter(P + "*", count=1000) if key != P + "events"]
        pipe = client.pipeline(transaction=False)
        for key in keys:
            pipe.type(key)
        kinds = pipe.execute()
        for key, kind in zip(keys, kinds):
            words = (0, -1) if kind in ("zset", "list") else ()
            getattr(pipe, self.READERS.get(kind, "get"))(key, *words)
        self.key = {key[len(P):]: value for key, value in zip(keys, pipe.execute())}
        self.task = {key[2:]: value for key, value in self.key.items() if key.startswith("t:")}

    def members(self, key):
        return set(self.key.get(key, ()))

    def parents(self, name):
        task = self.task[name]
        return {task["parent"]} if task["kind"] == "file" else self.members(f"up:{name}")

    def ended(self, name):
        return name not in self.task or self.task[name]["phase"] == "end"

    def places(self, name):
        task = self.task[name]
        cls = "f" if task["kind"] == "file" else "l"
        if task["kind"] == "tail" or task["phase"] == "fin":
            cls = "x"
        lease = "f" if cls == "f" else "x"
        keys = [f"ready:{cls}:{task['lane']}:{task['dataset']}", "delayed", "dead",
                f"lease:{lease}:{task['dataset']}", f"shut:{task['dataset']}"]
        return [key.split(":")[0] for key in keys if name in self.members(key)]


def check_children(state, name):
    task = state.task[name]
    opened, dead = state.members(f"open:{name}"), state.members(f"dead:{name}")
    mine = {c for c in state.task if name in state.parents(c) and not state.ended(c)}
    assert opened == mine, f"open of {name}"
    assert dead == {c for c in opened if state.task[c]["status"] == "failed"}, f"dead of {name}"
    if task["phase"] == "wait":
        assert opened, f"{name} waits for nothing"
        assert (task["status"] == "failed") == (dead == opened), f"{name} failed by its children"


def check_place(state, name):
    """Each task that has not ended is found in exactly one place."""
    task, places = state.task[name], state.places(name)
    want = {"pending": None, "failed": ["dead"], "in-progress": ["lease"]}[task["status"]]
    if task["phase"] == "wait" and task["status"] == "in-progress":
        want = []
    if want is None:
        assert len(places) == 1 and places[0] in ("ready", "delayed", "shut"), (name, places)
        assert (places == ["shut"]) <= (task["gate"] == "shut" if "gate" in task else False)
    else:
        assert places == want, (name, task["status"], places)


def check_registers(state, datasets):
    for dataset in datasets:
        mine = {n: t for n, t in state.task.items() if t["dataset"] == dataset}
        live = {n: t for n, t in mine.items() if not state.ended(n)}
        files = {n for n, t in live.items() if t["kind"] == "file" and t["status"] != "failed"}
        assert state.members(f"open-files:{dataset}") == files
        assert state.members(f"order:{dataset}") == {
            n for n, t in live.items() if t["kind"] == "batch"}
        assert state.members(f"unlisted:{dataset}") == {
            n for n, t in live.items() if t["kind"] != "batch" and t["phase"] == "fan"}


def check(state, before=None):
    """The invariants of the task tree."""
    for name, task in state.task.items():
        if task["kind"] == "file":
            rows = state.key.get(f"rows:{task['parent']}", {})
            assert (task["status"] == "completed") == (name in rows), name
        if state.ended(name):
            assert not state.places(name), name
            continue
        check_place(state, name)
        if task["kind"] != "file":
            check_children(state, name)
    check_registers(state, (DS, OTHER))
    for name, old in (before.task if before else {}).items():
        new = state.task.get(name)
        if not new:
            continue
        assert int(new["fence"]) >= int(old["fence"]), name
        if new["fence"] == old["fence"] and new.get("owner") and old.get("owner"):
            assert new["owner"] == old["owner"], name
        assert old["status"] != "completed" or new["status"] == "completed", name


# --- random walk ---------------------------------------------------------------------------------

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
            assert not held or word == "BADPHASE" or call == self.q.fan, problem
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
        "fail", "release", "beat", "beat", "tick", "tick", "submit", "submit", "operate"]

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


@pytest.mark.parametrize("seed", range(4))
def test_lost_indexes_are_derived_again(q, seed):
    rng = random.Random(seed)
    mode = ["concurrent", "commit", "sequential"][seed % 3]
    walk(q, rng, 300, mode, q.redis, watch=False)
    state = State(q.redis)
    indexes = [key for key in state.key if key.split(":")[0] in (
        "open", "dead", "ready", "delayed", "lease", "shut", "order", "unlisted", "open-files")]
    for index in rng.sample(sorted(indexes), min(12, len(indexes))):
        q.redis.delete(P + index)
        for run in "ab":
            for name in State(q.redis).task:
                q("fix", run, name)
        check(State(q.redis), state)
    for name in State(q.redis).task:
        assert q("fix", "a", name) == 0


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
                kids = [file_of(task.id[-2:], page * PAGE + n, task.fields["order"])
                        for n in range(PAGE)]
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
