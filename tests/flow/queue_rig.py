# SPDX-License-Identifier: Apache-2.0
"""The function library under test: a Redis of its own, the functions as methods, and the
invariants of the task tree, which check() proves for all that is in Redis."""
import collections
import pathlib
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
        _, *found = self("claim", owner, lease, cls, lane, limit, *room, *datasets)
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

    def relist(self, task):
        return self("relist", task.id, task.owner, task.fence)

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

    def note_job(self, name):
        """A job of which nothing is left to do: noted as done."""
        job = self.one(lane="backfill")
        assert (job.id, job.fields["phase"]) == (name, "fin")
        self.done(job)
        assert self.get(name, "status") == "completed"

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
    if task["kind"] == "batch" and task["phase"] in ("wait", "fin"):
        named = opened | set(state.key.get(f"rows:{name}", ()))
        assert {state.task[c].get("listing") for c in named} <= {task["listing"]}, name
        assert int(task["listed"]) == len(named), name
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
