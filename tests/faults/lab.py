# SPDX-License-Identifier: Apache-2.0
"""One laboratory: a real Redis behind a proxy, the simulator of AEP, a strict S3 store, and as
many daemons as a run needs. A run ends when all that had to be stored is stored, and is judged.

Redis keeps its own time. So that nobody waits for leases and back-offs, the proxy changes one
line of the queue's library when a daemon loads it (see resp.py): its clock adds the key `skew`,
and the laboratory moves that whenever nothing else is left to happen.
"""
import asyncio
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import time

import redis as redis_py
from aiohttp import web

from access import Access
from catalog import Catalog
from faults import Faults
from gateway import ANSWERS, Counters, Gateway, Refused, State, endpoint_of, gateway_error, not_found
from ims import Ims, ims_error
from judge import PREFIX, Judge
from resp import Proxy
from store import ACCESS_KEY, BUCKET, SECRET_KEY, Front, Store, half_answer
from wire import NO_POLL, Half, Lost, Op, Wire
from world import Sluiced, spawn, write_secret, yaml_text
from ground import World, now_ms

LEASE_MS = 60_000
IDLE_S, STUCK_S = 0.04, 0.8  # nothing happens; nothing happens although tasks are leased
POLL_MS = 100
DEADLINE_S = 25
DRAIN_S = 15
LOOKS = 2  # at what is not yet readable before the platform goes on
AFTERLIFE_S = 0.25  # how long a resumed zombie may do harm
POLLED = {"batches": 12, "batch": 6}  # listings that go on for ever: so many are points


@dataclasses.dataclass
class Slot:
    """A daemon's place: its own addresses, so that we know who speaks."""
    number: int
    directory: pathlib.Path
    process: subprocess.Popen = None
    state: str = "empty"  # empty, runs, crashed, stops (SIGTERM), stands (SIGSTOP)
    signalled: float = 0


@dataclasses.dataclass
class Report:
    """What became of a run."""
    problems: list
    points: list
    struck: list
    crashes: int
    retries: int
    seconds: float

    @property
    def ok(self):
        """No violation."""
        return not self.problems


class Lab:
    """See above. One run at a time."""

    def __init__(self, directory, slots=3):
        self.directory = pathlib.Path(directory)
        self.slots = [Slot(number, self.directory / str(number)) for number in range(slots)]
        self.state = State(World())
        self.ports, self.proxies, self.transports = {}, [], set()
        self.redis_path = str(self.directory / "redis.sock")
        self.redis = self.raw = self.redis_process = None
        self.scenario = self.judge = self.store = self.wire = None
        self.resumed = self.turn = None
        self.snapshots = None
        self.skew = self.crashes = self.retries = self.lapses = self.jumps = 0
        self.acts, self.acted, self.acted_at = [], 0, 0
        self.last_move = 0
        self.poll = f"{POLL_MS}ms"  # of the tails

    # ---- servers, for all runs

    async def open(self):
        """Returns when all servers listen."""
        self.redis_process = spawn(
            ["redis-server", "--port", 0, "--unixsocket", self.redis_path, "--save", "",
             "--appendonly", "no", "--maxmemory-policy", "noeviction", "--dir", self.directory,
             "--logfile", self.directory / "redis.log"])
        self.redis = redis_py.Redis(unix_socket_path=self.redis_path, decode_responses=True)
        self.raw = redis_py.Redis(unix_socket_path=self.redis_path)
        while True:
            try:
                self.redis.ping()
                break
            except redis_py.exceptions.ConnectionError:
                await asyncio.sleep(0.02)
        for slot in self.slots:
            slot.directory.mkdir()
            proxy = Proxy(self, slot.number, str(slot.directory / "redis.sock"), self.redis_path)
            await proxy.start()
            self.proxies.append(proxy)
            self.ports[slot.number] = (await self.listen(self.aep(slot.number)),
                                       await self.listen(self.s3(slot.number)))
        self.turn = asyncio.Lock()
        write_secret(self.directory / "secret", World().secrets[0])
        write_secret(self.directory / "credentials",
                     f"[default]\naws_access_key_id = {ACCESS_KEY}\n"
                     f"aws_secret_access_key = {SECRET_KEY}\n")
        return self

    def close(self):
        """Ends the Redis; the rest ends with the process."""
        self.redis_process.kill()
        self.redis_process.wait()

    @staticmethod
    async def listen(runner):
        """The port on which a server listens."""
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=256)
        await site.start()
        return runner.addresses[0][1]

    def aep(self, slot):
        """The simulator behind the wire."""
        gateway = Gateway(self.state)

        @web.middleware
        async def wired(request, handler):
            return await self.through(slot, request, handler)

        async def hide_time(_request, response):
            if self.scenario.changes:
                response.headers.pop("Date", None)
        app = web.Application(middlewares=[wired, gateway.front])
        app.on_response_prepare.append(hide_time)
        for service in (Ims(self.state), Catalog(self.state), Access(self.state)):
            app.add_routes(service.routes())
        return web.AppRunner(app, access_log=None)

    def s3(self, slot):
        """The store behind the wire."""
        return web.ServerRunner(web.Server(Front(self, slot).handle, access_log=None))

    async def through(self, slot, request, handler):
        """One request to the simulator, as an operation of the wire."""
        self.transports.add(request.transport)
        verb = endpoint_of(request)
        subject = request.query.get("path") or request.match_info.get("id") or \
            request.query.get("dataSet", "")
        first = request.headers.get("Range", "").removeprefix("bytes=").split("-")[0]
        if request.query.get("orderBy") == "desc:updated":
            subject += " by change"
        op = Op("ims" if verb.startswith("ims") else "aep", verb,
                f"{subject} {first}".strip(), slot, polls=POLLED.get(verb, NO_POLL))

        async def carry_out():
            return await handler(request)

        async def instead(kind, effect):
            return await self.aep_instead(op, kind, effect)
        op.instead = instead
        try:
            return await self.wire.through(op, carry_out)
        except (Lost, ConnectionResetError):  # cut here, or by a daemon that was killed
            if request.transport:
                request.transport.abort()
            return web.Response()
        except Half as stop:
            if request.transport is None or stop.answer.prepared:
                return stop.answer  # a stream: it was sent while it was carried out
            return await half_answer(request, stop.answer)

    async def aep_instead(self, op, kind, effect):
        """The answer of a fault: an error, or a body that is not as it should be."""
        if op.verb == "content" and kind not in AEP_ERRORS:
            self.state.faults.arm({"name": kind})
            return await effect()
        make = (IMS_ERRORS if op.service == "ims" else AEP_ERRORS)[kind]
        return make(op).response()

    # ---- daemons

    def config(self, slot):
        """Patient settings made quick; back-offs pass by moving the clock of Redis."""
        aep, s3 = (f"http://127.0.0.1:{port}" for port in self.ports[slot.number])
        world = self.scenario.world
        return {
            "redis": {"url": f"unix://{slot.directory}/redis.sock", "allow_volatile": True},
            "aep": {"endpoint": aep, "ims_endpoint": aep, "org": world.org,
                    "client_id": world.client_id, "sandbox": world.sandbox,
                    "client_secret_file": str(self.directory / "secret"),
                    "requests_per_second": 5000, "window_start": 32, "settle": "0s"} |
                   self.changes(),
            "s3": {"endpoint": s3, "bucket": BUCKET, "prefix": PREFIX,
                   "credentials_file": str(self.directory / "credentials")},
            "transfer": {"memory": "16MiB", "part_size": "5MiB"},
            "queue": {"window": "31d", "lease": f"{LEASE_MS // 1000}s", "claim_poll": "20ms", "stop_grace": "5s"},
            "health": {"socket": str(slot.directory / "health.sock")},
            "log": {"level": "debug" if os.environ.get("SLUICE_DEBUG") else "info"},
            "datasets": [{"id": name, "start": self.start_of(), "poll": self.poll,
                          "order": self.scenario.mode} for name in world.datasets],
        }

    def changes(self):
        """Where the platform changes what is stored, the daemon asks for it often (and goes by
        its own clock, for a Date knows no milliseconds)."""
        return {"overlap": "300ms", "sweep": "100ms"} if self.scenario.changes else {}

    def start_of(self):
        """The tail finds everything, or nothing that a job should find."""
        return "2026-01-01" if self.scenario.route == "backfill" else "2020-01-01"

    def launch(self, slot):
        """Starts a daemon in its slot."""
        file = slot.directory / "sluice.yaml"
        file.write_text(yaml_text(self.config(slot)), encoding="utf-8")
        with open(slot.directory / "log", "a", encoding="utf-8") as log:
            slot.process = spawn([Sluiced.binary, "--config", file], stdin=subprocess.DEVNULL,
                                 stdout=log, stderr=log)
        slot.state = "runs"

    def crash(self, number):
        """kill -9"""
        slot = self.slots[number]
        slot.process.kill()
        slot.process.wait()
        slot.state = "crashed"
        self.crashes += 1

    def signal(self, number, what):
        """SIGTERM or SIGHUP."""
        slot = self.slots[number]
        if slot.state != "runs":
            return
        slot.process.send_signal(what)
        if what == signal.SIGTERM:
            slot.state, slot.signalled = "stops", time.monotonic()

    async def suspend(self, number):
        """SIGSTOP; returns when the run is over and the daemon is woken. Its leases lapse and
        others do its work."""
        slot = self.slots[number]
        if slot.state != "runs":
            raise Lost
        slot.process.send_signal(signal.SIGSTOP)
        slot.state = "stands"
        self.crashes += 1
        await self.resumed.wait()

    async def wake(self):
        """SIGCONT to those that stand: they may do what harm they can. Were there any?"""
        standing = [slot for slot in self.slots if slot.state == "stands"]
        for slot in standing:
            slot.process.send_signal(signal.SIGCONT)
            slot.state = "runs"
        if standing:
            self.resumed.set()
            await asyncio.sleep(AFTERLIFE_S)
        return bool(standing)

    def go_back(self):
        """Redis goes back to a state half as old as the run: a replica was promoted that had
        not followed."""
        if self.snapshots:
            self.restore(self.snapshots[len(self.snapshots) // 2])
            self.crashes += 1

    async def lose_redis(self):
        """All of it, at once."""
        self.redis.flushall()
        self.redis.set("skew", self.skew)
        self.judge.forget()
        self.crashes += 1

    # ---- one run

    async def run(self, scenario, strikes=(), dice=None, record=False, daemons=1):
        """One run on a fresh world."""
        self.redis.flushall()
        self.begin(scenario, Store(None), strikes, dice)
        wants = record or any(strike.kind == "rollback" for strike in strikes) or \
            (dice and dice.rolls_back)
        self.snapshots = [] if wants else None
        return await self.finish(daemons)

    async def run_back(self, scenario, snapshot):
        """Redis is as it was, S3 is as it became; one daemon begins there."""
        store, skew = self.store, self.skew
        self.begin(scenario, store, (), None)
        self.skew, self.acted_at = skew, now_ms()
        self.restore(snapshot)
        self.judge.manifests = [batch.id for batch in scenario.world.batches.values()
                                if self.judge.key_of(batch, "manifests") in store.objects]
        return await self.finish(1)

    def begin(self, scenario, store, strikes, dice):
        """Everything as new."""
        self.scenario, self.store = scenario, store
        self.judge = store.judge = Judge(self, scenario)
        self.wire = Wire(self, strikes, dice)
        self.state.world = scenario.world
        self.state.faults, self.state.counters, self.state.tokens = Faults(), Counters(), {}
        self.resumed = asyncio.Event()
        self.acts, self.acted, self.acted_at = list(scenario.acts), 0, 0
        self.skew = self.crashes = self.retries = self.lapses = self.jumps = 0
        for slot in self.slots:
            (slot.directory / "log").write_text("", encoding="utf-8")
            slot.state = "empty"

    async def finish(self, daemons):
        """Drives the run to its end and judges it."""
        began = time.monotonic()
        try:
            for slot in self.slots[:daemons]:
                self.launch(slot)
            await self.drive()
            if await self.wake():
                await self.drive()
            self.jump(0)  # collects what ended tasks have left
            if not self.judge.problems:
                self.judge.verdict()
        finally:
            await self.end_daemons()
        return Report(list(self.judge.problems), self.wire.points(), self.wire.struck, self.crashes,
                      self.retries, time.monotonic() - began)

    async def end_daemons(self):
        """Nothing of this run goes on, and nothing of it reaches the next one."""
        self.judge.closed = True
        self.resumed.set()
        for slot in self.slots:
            if slot.process and slot.process.poll() is None:
                slot.process.kill()
                slot.process.wait()
        self.cut_connections()
        await asyncio.sleep(0.01)
        self.cut_connections()

    def cut_connections(self):
        """What daemons of this run have sent must not reach the next one."""
        for transport in self.transports:
            if transport:
                transport.abort()
        self.transports.clear()

    async def drive(self):
        """Until all is done, or nothing goes on."""
        deadline = time.monotonic() + DEADLINE_S
        self.last_move = time.monotonic()
        while self.acts or not self.judge.complete() or not self.at_rest():
            if self.judge.problems:
                return
            if time.monotonic() > deadline:
                missing = [batch.id for batch in self.scenario.world.batches.values()
                           if self.judge.expected(batch) and batch.id not in self.judge.manifests]
                self.judge.wrong("I0", f"not finished; without manifest: {missing}; "
                                       f"not revoked: {self.judge.unrevoked()}; "
                                       f"acts to come: {len(self.acts)}; "
                                       f"slots {[slot.state for slot in self.slots]}; "
                                       f"{self.stat()}")
                return
            await asyncio.sleep(0.01)
            self.tend()
            idle = time.monotonic() - self.last_move
            if idle > IDLE_S:
                self.pass_time(idle)

    def tend(self):
        """Daemons that ended are started again, as systemd would."""
        for slot in self.slots:
            if slot.state == "stops" and time.monotonic() > slot.signalled + DRAIN_S:
                self.judge.wrong("stop", f"daemon {slot.number} does not end after SIGTERM")
            if slot.state in ("runs", "stops") and slot.process.poll() is not None:
                good = (0, -signal.SIGTERM) if slot.state == "stops" else ()
                if slot.process.returncode not in good:
                    self.judge.wrong("exit", f"daemon {slot.number} ended with "
                                             f"{slot.process.returncode}")
                self.launch(slot)
            elif slot.state == "crashed":
                self.lapse()
                self.launch(slot)
        if all(slot.state in ("stands", "empty") for slot in self.slots):
            self.lapse()
            self.launch(next(slot for slot in self.slots if slot.state == "empty"))

    def may_stand(self):
        """Is there a place for another daemon when one more stands still?"""
        return any(slot.state == "empty" for slot in self.slots)

    def moved(self, op):
        """Something happened."""
        if not op.idle:
            self.last_move = time.monotonic()

    # ---- time

    def pass_time(self, idle):
        """Nothing happens: what is everybody waiting for?"""
        self.order_jobs()
        leased, delayed, dead = self.waiting()
        if leased:
            if idle > STUCK_S:
                self.lapse()
            return
        if dead:
            self.retries += 1
            for task in dead:
                self.call("retry", task)
        elif self.acts and (self.jumps >= LOOKS or self.judge.complete()):
            self.act()
        if delayed:
            self.jumps += 1
            self.jump(delayed - self.now() + 1)
        elif self.scenario.changes:
            self.jump(POLL_MS)  # the tails look again
        self.last_move = time.monotonic()

    def act(self):
        """The platform does something."""
        self.acts.pop(0)()
        self.acted, self.acted_at, self.jumps = self.acted + 1, now_ms(), 0

    def waiting(self):
        """(tasks leased, when the next delayed one is due, dead letters); tails do not count."""
        pipe = self.redis.pipeline(transaction=False)
        for name in self.scenario.world.datasets:
            for kind in "xf":
                pipe.zrange(f"sluice:lease:{kind}:{name}", 0, -1)
        pipe.zrange("sluice:delayed", 0, -1, withscores=True)
        pipe.zrange("sluice:dead", 0, -1)
        *leases, delayed, dead = pipe.execute()
        leased = [task for lease in leases for task in lease]
        due = [score for task, score in delayed if not task.startswith("tail/")]
        return leased, min(due, default=0), dead

    def now(self):
        """Of Redis, moved."""
        seconds, micros = self.redis.time()
        return seconds * 1000 + micros // 1000 + self.skew

    def jump(self, forward_ms):
        """Redis' clock goes forward; what is due then becomes ready."""
        self.skew += max(int(forward_ms), 0)
        self.redis.set("skew", self.skew)
        self.call("tick", "laboratory", 1, 86_400_000, 5, *self.scenario.world.datasets)

    def lapse(self):
        """All leases end."""
        self.lapses += 1
        self.jump(LEASE_MS + 1000)
        self.last_move = time.monotonic()

    def stat(self):
        """The queue's own words."""
        return self.redis.execute_command("FCALL_RO", "sluice_stat", 1, "sluice:")

    def call(self, function, *arguments):
        """One of the queue's functions; None if it refuses."""
        try:
            return self.redis.execute_command("FCALL", f"sluice_{function}", 1, "sluice:",
                                              *arguments)
        except redis_py.exceptions.ResponseError:
            return None

    # ---- what is in Redis

    def order_jobs(self):
        """The operator asks until the queue knows the dataset, and again if it was lost before
        a daemon could write it down."""
        for verb, dataset, begin, end in self.scenario.jobs:
            if not self.records(verb, dataset, begin, end) and \
                    not self.redis.exists(f"sluice:t:{task_of_job(verb, dataset, begin, end)}"):
                self.call(verb, dataset, begin, end)

    def records(self, verb, dataset, begin, end):
        """What the daemons have written down about a job."""
        name = re.compile(f"{dataset}/_sluice/jobs/" + r"replay/\d+/" * (verb == "replay")
                          + f"{begin}-{end}")
        return [key for key in self.store.objects if name.search(key)]

    def at_rest(self):
        """Is there nothing left to do?"""
        pipe = self.redis.pipeline(transaction=False)
        names = list(self.scenario.world.datasets)
        for name in names:
            pipe.hget(f"sluice:t:tail/{name}", "swept")
        for name in names:
            pipe.smembers(f"sluice:open-files:{name}")
            for key in ("order", "unlisted", "ready:x:live", "ready:x:backfill",
                        "ready:l:live", "ready:l:backfill", "lease:x", "lease:f"):
                pipe.zrange(f"sluice:{key}:{name}", 0, -1)
        pipe.zrange("sluice:delayed", 0, -1)
        answers = pipe.execute()
        tails, work = answers[:len(names)], answers[len(names):]
        busy = any(not task.startswith("tail/") for tasks in work for task in tasks)
        since = self.acted_at if self.scenario.changes else 0
        return not busy and all(swept and int(swept) >= since for swept in tails) \
            and all(self.job_done(*job) for job in self.scenario.jobs)

    def job_done(self, *job):
        """Done, in Redis or (if Redis lost it afterwards) in the ledger."""
        status = self.redis.hget(f"sluice:t:{task_of_job(*job)}", "status")
        noted = any(".done" in key for key in self.records(*job))
        return status == "completed" or (status is None and noted)

    def redis_content(self):
        """{key without prefix: value}"""
        keys = [key for key in self.redis.keys("sluice:*")]
        pipe = self.redis.pipeline(transaction=False)
        for key in keys:
            pipe.type(key)
        kinds = pipe.execute()
        read = {"hash": pipe.hgetall, "set": pipe.smembers, "string": pipe.get,
                "zset": lambda key: pipe.zrange(key, 0, -1, withscores=True),
                "list": lambda key: pipe.lrange(key, 0, -1), "stream": pipe.xlen,
                "none": pipe.get}
        for key, kind in zip(keys, kinds):
            read[kind](key)
        values = pipe.execute()
        return {key.removeprefix("sluice:"): dict(value) if kind == "zset" else value
                for key, kind, value in zip(keys, kinds, values)}

    def record(self):
        """Keeps what Redis holds now."""
        client = self.raw
        keys = client.keys("sluice:*")
        pipe = client.pipeline(transaction=False)
        for key in keys:
            pipe.dump(key)
        self.snapshots.append(list(zip(keys, pipe.execute())))

    def restore(self, snapshot):
        """Redis goes back to a snapshot."""
        pipe = self.raw.pipeline(transaction=True)
        pipe.flushall()
        pipe.set("skew", self.skew)
        for key, value in snapshot:
            pipe.restore(key, 0, value)
        pipe.execute()
        self.judge.forget()


def task_of_job(verb, dataset, begin, end):
    """The id of its task."""
    return f"j/{dataset}/{'replay/' * (verb == 'replay')}{begin}-{end}"


AEP_ERRORS = {
    "401": lambda op: gateway_error(401, "401013", "Oauth token is not valid"),
    "403": lambda op: gateway_error(403, "403027", "User region is missing"),
    "404": lambda op: not_found(op.verb, op.subject),
    "429": lambda op: ANSWERS["throttle_429_retry_after"]({"seconds": 1}),
    "500": lambda op: ANSWERS["error_500"]({}),
    "503": lambda op: ANSWERS["error_503"]({}),
    "html": lambda op: ANSWERS["html_200"]({}),
}
IMS_ERRORS = AEP_ERRORS | {
    "400": lambda op: ims_error("invalid_client", "invalid client_id parameter"),
    "401": lambda op: ims_error("invalid_client", "invalid client_secret parameter", 401),
}
