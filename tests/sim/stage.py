# SPDX-License-Identifier: Apache-2.0
"""What a schedule is played on: the simulator and a strict S3 store in this process, a real
Redis, the production daemon. The clock of the world is moved by hand; that of Redis is the real
one and what is added to it, so that nobody waits for leases and back-offs.
"""
import asyncio
import collections
import datetime
import json
import pathlib
import re
import subprocess
import time
import types

import redis as redis_py
from aiohttp import web

from clock import clock
from faults import Faults
from gateway import Counters, State
from ground import READABLE, World
from oracle import RECORD, Oracle
from resp import CLOCK, SKEWED
from schedule import BEGIN_MS, GRACE_MS
from sim import application
from store import ACCESS_KEY, BUCKET, SECRET_KEY, Front, Store
from wire import Lost
from world import ROOT, Sluiced, end, spawn, write_secret, yaml_text

PREFIX = "lake/"
LEASE_MS = 3_600_000
PAUSE_S = 0.01  # real time of a step
SKEW_MS = 2000  # that Redis' clock gains in a step
JUMP_MS = 10_000  # and more, if somebody waits for it
SETTLE_S = 40  # without progress
LOOK_S = 0.5  # between two judgements at the end
QUIET_STEPS = 40  # between two good ones
OPERATE = 30  # steps between two visits of the operator
KNOWS_TIME, PATIENCE_S = 6, 5
AHEAD_MS = 6 * 3_600_000  # how far the world's time may be ahead of the daemon's last look
MANIFEST = re.compile(r"/_sluice/manifests/")
LONG_AGO = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


class StoreBucket:
    """The store as the oracle reads a bucket."""

    name = BUCKET

    def __init__(self, store):
        self.store = store

    def objects(self, prefix):
        """As Bucket.objects; the order of writing is checked when it happens."""
        return {key: (len(item.body), LONG_AGO) for key, item in self.store.objects.items()
                if key.startswith(prefix)}

    def uploads(self, prefix):
        """As Bucket.uploads"""
        return [item.key for item in self.store.uploads.values() if item.key.startswith(prefix)]

    def read(self, key):
        """As Bucket.read"""
        yield self.store.objects[key].body


class Stage:
    """One schedule after the other. Front and Store take it for their laboratory."""

    def __init__(self, directory, log=None):
        self.directory, self.log = pathlib.Path(directory), log
        self.state = State(World())
        self.transports, self.problems = set(), []
        self.wire = self
        self.judge = types.SimpleNamespace(closed=False)  # calls of a dead daemon do no harm here
        self.redis = self.redis_process = self.process = self.store = self.schedule = None
        self.endpoints = {}
        self.skew = self.kills = self.calls = 0
        self.awaited = self.followed = self.patience = 0  # see follow()
        self.struck, self.orders, self.steps = {}, collections.Counter(), 0
        self.deadly = collections.deque()  # the numbers of calls at which the daemon dies

    async def open(self):
        """Returns when all servers listen."""
        socket = self.directory / "redis.sock"
        self.redis_process = spawn(
            ["redis-server", "--port", 0, "--unixsocket", socket, "--save", "", "--appendonly",
             "no", "--maxmemory-policy", "noeviction", "--dir", self.directory, "--logfile",
             self.directory / "redis.log"])
        self.redis = redis_py.Redis(unix_socket_path=str(socket), decode_responses=True)
        while True:
            try:
                self.redis.ping()
                break
            except redis_py.exceptions.ConnectionError:
                await asyncio.sleep(0.02)
        library, times = CLOCK.subn(SKEWED, (ROOT / "lib/queue/queue.lua").read_bytes())
        assert times == 1, "the clock line of the queue's library was not found"
        self.redis.function_load(library.decode(), replace=True)
        app = application(self.state)
        app.middlewares.insert(0, self.count)
        self.endpoints["aep"] = await self.listen(web.AppRunner(app, access_log=None))
        self.endpoints["s3"] = await self.listen(
            web.ServerRunner(web.Server(Front(self, 0).handle, access_log=None)))
        write_secret(self.directory / "secret", World().secrets[0])
        write_secret(self.directory / "credentials",
                     f"[default]\naws_access_key_id = {ACCESS_KEY}\n"
                     f"aws_secret_access_key = {SECRET_KEY}\n")
        return self

    @staticmethod
    async def listen(runner):
        """The address at which a server listens."""
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    def close(self):
        """Ends the Redis; the servers end with the process."""
        end(self.redis_process)

    # ---- calls of the daemon

    @web.middleware
    async def count(self, request, handler):
        """One to the simulator. Some of them kill."""
        if self.kill_now():
            request.transport.abort()
            return web.Response()
        return await handler(request)

    async def through(self, _op, carry_out):
        """One to the store: the daemon dies after it has taken effect."""
        answer = await carry_out()
        if self.kill_now():
            raise Lost
        return answer

    def kill_now(self):
        """Counts a call; kill -9 if it is one of those."""
        self.calls += 1
        if not self.deadly or self.calls < self.deadly[0] or not self.process:
            return False
        self.deadly.popleft()
        self.process.kill()
        self.kills += 1
        return True

    def on_stored(self, key, made, before):
        """The store is about to create an object: nothing is written over with other bytes, and
        a manifest names what is there."""
        if before and before.body != made.body and not RECORD.search(key) and \
                not key.startswith(PREFIX + "_sluice/"):
            self.problems.append(f"{key} is written over")
        if not MANIFEST.search(key):
            return
        for entry in json.loads(made.body)["entries"]:
            there = self.store.objects.get(entry["url"].removeprefix(f"s3://{BUCKET}/"))
            if not there or len(there.body) != entry["meta"]["content_length"]:
                self.problems.append(f"{key} names {entry['url']}, which is not there")

    # ---- the daemon

    def config(self):
        """Quick, and patient where the world is slow."""
        world, datasets = self.schedule.world, []
        for name, (semantics, order) in self.schedule.modes.items():
            more = {"semantics": semantics} if semantics != "incremental" else {}
            datasets.append({"id": name, "start": "2020-01-01", "poll": "100ms",
                             "order": order} | more)
        return {
            "redis": {"url": f"unix://{self.directory}/redis.sock", "allow_volatile": True},
            "aep": {"endpoint": self.endpoints["aep"], "ims_endpoint": self.endpoints["aep"],
                    "org": world.org, "client_id": world.client_id, "sandbox": world.sandbox,
                    "client_secret_file": str(self.directory / "secret"),
                    "requests_per_second": 5000, "window_start": 32} | self.schedule.settings,
            "s3": {"endpoint": self.endpoints["s3"], "bucket": BUCKET, "prefix": PREFIX,
                   "credentials_file": str(self.directory / "credentials")},
            "transfer": {"memory": "16MiB", "part_size": "5MiB"},
            "queue": {"lease": f"{LEASE_MS // 1000}s", "claim_poll": "20ms", "stop_grace": "5s"},
            "health": {"socket": str(self.directory / "health.sock")},
            "log": {"level": "debug" if self.log else "info"},
            "datasets": datasets,
        }

    def launch(self):
        """Starts the daemon."""
        file = self.directory / "sluice.yaml"
        file.write_text(yaml_text(self.config()), encoding="utf-8")
        self.awaited = self.state.counters.statuses["batches 200"] + KNOWS_TIME
        self.followed, self.patience = clock.now_ms() - AHEAD_MS, time.monotonic() + PATIENCE_S
        with open(self.log or self.directory / "log", "a", encoding="utf-8") as log:
            self.process = spawn([Sluiced.binary, "--config", file], stdin=subprocess.DEVNULL,
                                 stdout=log, stderr=log)

    def follow(self):
        """The daemon has asked what is new: time may go on for some hours. Else it would pass
        too fast; and a daemon takes the real time for that of the world until it has its first
        answers."""
        polls = self.state.counters.statuses["batches 200"]
        if polls >= self.awaited:
            self.awaited, self.followed = polls + 1, clock.now_ms()
            self.patience = time.monotonic() + PATIENCE_S

    def tend(self):
        """A daemon that was killed is started again, and its leases are over. Others do not
        end."""
        if self.process.poll() is None:
            return
        if self.process.returncode != -9:
            text = (self.log or self.directory / "log").read_text(encoding="utf-8", errors="replace")
            self.problems.append(f"the daemon ended with {self.process.returncode}: {text[-2000:]}")
        self.pass_time(LEASE_MS + 1)
        self.launch()

    def pass_time(self, ms):
        """Redis' clock goes forward."""
        self.skew += ms
        self.redis.set("skew", self.skew)
        if self.schedule:
            self.redis.execute_command("FCALL", "sluice_tick", 1, "sluice:", "stage", 1, 86_400_000,
                                       5, *self.schedule.modes)

    def jump(self):
        """Towards the time at which the next delayed task is due, slowly enough for leases: a
        task has seconds of real time."""
        names = [(score, task) for task, score in self.redis.zrange(
            "sluice:delayed", 0, -1, withscores=True) if not task.startswith("tail/")]
        seconds, micros = self.redis.time()
        now = seconds * 1000 + micros // 1000 + self.skew
        if names and min(names)[0] > now:
            self.pass_time(min(int(min(names)[0] - now) + 1, JUMP_MS))

    def operate(self):
        """An operator looks at the dead letters: what AEP has withdrawn is skipped, everything
        else gets another try."""
        for task in self.redis.zrange("sluice:dead", 0, -1):
            kind, _, name = task.partition("/")
            batch = self.schedule.world.batches.get(name.rpartition("/")[2])
            if kind != "b" or not batch:
                continue
            gone = batch.current()[0] not in READABLE
            self.orders["skipped" if gone else "retried"] += 1
            words = ("skip", task, "withdrawn") if gone else ("retry", task)
            self.redis.execute_command("FCALL", f"sluice_{words[0]}", 1, "sluice:", *words[1:])

    # ---- one schedule

    async def play(self, schedule):
        """Returns the problems that it showed."""
        self.redis.flushdb()
        self.schedule = schedule
        self.begin()
        try:
            self.launch()
            while not self.schedule.over and not self.problems:
                self.schedule.advance(self.state.faults.arm)
                await self.one_step(self.schedule.step_ms)
            self.struck = self.struck_now()
            if self.schedule.disarms:
                self.state.faults.disarm()
            self.deadly.clear()
            if not self.problems:
                await self.settle()
        finally:
            await self.finish()
        return self.problems

    def struck_now(self):
        """How often each armed fault has struck so far."""
        return self.state.faults.report()

    def begin(self):
        """Everything as new."""
        self.store = Store(self)
        self.state.world = self.schedule.world
        self.state.faults, self.state.counters = Faults(self.schedule.seed), Counters()
        self.state.tokens.clear()
        self.problems, self.struck, self.orders = [], {}, collections.Counter()
        self.steps = 0
        self.skew = self.kills = self.calls = 0
        self.deadly = collections.deque(sorted(self.schedule.deadly))
        clock.set(BEGIN_MS, 0)

    async def one_step(self, ms):
        """All clocks go on, and the daemon has a moment to act."""
        self.follow()
        if clock.now_ms() < self.followed + AHEAD_MS or time.monotonic() > self.patience:
            clock.step(ms)
        self.pass_time(SKEW_MS)
        self.tend()
        self.steps += 1
        if self.steps % OPERATE == 0:
            self.operate()
        await asyncio.sleep(PAUSE_S)

    async def settle(self):
        """Until the bucket is right and stays so; all that could still happen in the world
        does. Else the last verdict is the problem."""
        deadline, look, done = time.monotonic() + SETTLE_S, 0, None
        over = clock.now_ms() + GRACE_MS
        good = 0
        while good < QUIET_STEPS:
            await self.one_step(self.schedule.step_ms)
            if good:
                good += 1
                continue
            self.jump()
            if self.ended() != done:  # it goes on, however slowly
                deadline, done = time.monotonic() + SETTLE_S, self.ended()
            if clock.now_ms() < over or time.monotonic() < look:
                continue
            verdict = self.verdict()
            good, look = int(verdict.ok), time.monotonic() + LOOK_S
            if time.monotonic() > deadline and not good:
                self.problems.append("\n" + verdict.table() + "\n" + self.stat())
                return
        verdict = self.verdict()
        if not verdict.ok:
            self.problems.append("right at first, then:\n" + verdict.table())

    def ended(self):
        """Grows with what was stored, or decided not to be."""
        return len(self.store.objects), self.redis.zcard("sluice:done")

    def verdict(self):
        """The oracle's."""
        semantics = {name: mode[0] for name, mode in self.schedule.modes.items()}
        return Oracle(self.schedule.world.to_json(), StoreBucket(self.store), prefix=PREFIX,
                      semantics=semantics, allow_strays=True, allow_uploads=self.kills).judge()

    def stat(self):
        """The queue's own words, and its dead letters."""
        dead = self.redis.zrange("sluice:dead", 0, 9)
        why = [f"{task}: {self.redis.hget('sluice:t:' + task, 'error')}" for task in dead]
        return "\n".join([str(self.redis.execute_command("FCALL_RO", "sluice_stat", 1, "sluice:")),
                          *why])

    async def finish(self):
        """Nothing of this schedule reaches the next one."""
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()
        for transport in self.transports:
            if transport:
                transport.abort()
        self.transports.clear()
        clock.reset()
        await asyncio.sleep(0.02)
