# SPDX-License-Identifier: Apache-2.0
"""Out of memory: the Nth allocation of the daemon fails, once or from then on. It may put the
task back or end with EX_OSERR; it may not hang, crash or say a wrong thing, and a normal start
afterwards brings the work to its end.

A sample of N by default, spread over the whole life of a small world. All of them (hours):

    NOMEM_STRIDE=1 python3 -m pytest tests/faults/test_nomem.py

NOMEM_STRIDE=7,3 takes every seventh, beginning with the third.
"""
import contextlib
import itertools
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "flow"))

# pylint: disable=wrong-import-position
from bucket import Bucket, s3_client
from conftest import aws_keys, names_of
from ground import World
from oracle import Oracle
from rgw import Rgw
from sim import Sim
from world import Redis, Sluiced, end, wait_until, write_secret

MIB = 1 << 20
BATCHES = 3
SAMPLE, LASTING = 44, 16  # runs in which one allocation fails, or all from one on
EX_OK, EX_OSERR = 0, 71
GIVES_UP_S = 12  # a retry after a lost allocation comes within seconds
SOURCE = pathlib.Path(__file__).with_name("nomem.c")


class Lab:
    """Servers that last, and for each run a bucket and an empty queue."""

    def __init__(self, directory, stack):
        self.place = pathlib.Path(directory)
        self.rgw = Rgw(self.place / "rgw")
        stack.callback(self.rgw.stop)
        self.rgw.start()
        self.redis = Redis(self.place / "redis").start()
        stack.callback(self.redis.stop)
        self.world = World()
        data = self.world.dataset()
        data.batch([1000, 70000])
        data.batch([6 * MIB])
        data.batch([])
        self.sim = Sim(self.world).start()
        stack.callback(self.sim.stop)
        self.library = self.place / "nomem.so"
        subprocess.run([os.environ.get("CC", "gcc"), "-std=gnu17", "-D_GNU_SOURCE", "-O2",
                        "-fPIC", "-shared", "-fno-builtin", "-o", self.library, SOURCE],
                       check=True)
        self.client = s3_client(self.rgw.endpoint, self.rgw.access_key, self.rgw.secret_key)
        self.numbers = itertools.count()
        self.total = self.measure()

    def config(self, bucket):
        """A quick daemon with one transfer at a time and more."""
        return {
            "redis": {"url": self.redis.url},
            "aep": {"endpoint": self.sim.endpoint, "ims_endpoint": self.sim.endpoint,
                    "org": self.world.org, "client_id": self.world.client_id,
                    "client_secret_file": write_secret(self.place / "secret",
                                                       self.world.secrets[0]),
                    "requests_per_second": 2000, "settle": "0s"},
            "s3": {"endpoint": self.rgw.endpoint, "bucket": bucket.name, "prefix": "lake/",
                   "credentials_file": write_secret(self.place / "keys", aws_keys(self.rgw))},
            "transfer": {"memory": "32MiB", "part_size": "5MiB"},
            "queue": {"lease": "2s", "claim_poll": "50ms", "stop_grace": "3s"},
            "datasets": [{"id": dataset, "as": name, "start": "2020-01-01", "poll": "200ms"}
                         for dataset, name in names_of(self.world).items()],
        }

    @contextlib.contextmanager
    def run(self):
        """A daemon that is not started, over a new bucket and an empty queue."""
        self.redis.command("FLUSHALL")
        self.redis.command("FUNCTION", "FLUSH")
        number = next(self.numbers)
        bucket = Bucket(self.client, f"nomem-{os.getpid()}-{number}")
        self.client.create_bucket(Bucket=bucket.name)
        daemon = Sluiced(self.place / f"run{number}", self.config(bucket))
        try:
            yield daemon, bucket
        finally:
            if daemon.running():
                daemon.kill9()
            bucket.empty()

    def done(self):
        """Is every batch committed?"""
        keys = self.redis.command("--scan", "--pattern", "sluice:t:b/*").split()
        states = [self.redis.command("HGET", key, "status") for key in keys]
        return states.count("completed") == BATCHES

    def starved(self, daemon, monkeypatch, **settings):
        """Starts the daemon with the allocator that fails."""
        with monkeypatch.context() as changed:
            changed.setenv("LD_PRELOAD", str(self.library))
            changed.setenv("NOMEM_PROGRAM", pathlib.Path(daemon.binary).name)
            for name, value in settings.items():
                changed.setenv(name, str(value))
            daemon.launch()

    def measure(self):
        """How many allocations a whole life takes."""
        count = self.place / "count"
        with pytest.MonkeyPatch.context() as patch, self.run() as (daemon, _):
            self.starved(daemon, patch, NOMEM_COUNT=count)
            wait_until(self.done, 30, "a run without faults")
            daemon.stop()
        return int.from_bytes(count.read_bytes(), sys.byteorder)


@pytest.fixture(scope="module")
def lab():
    """One for the module."""
    with tempfile.TemporaryDirectory(prefix="nomem-") as directory, \
            contextlib.ExitStack() as stack:
        yield Lab(directory, stack)


def sample():
    """(share of all allocations, lasting): or all of them, by the environment."""
    stride = os.environ.get("NOMEM_STRIDE")
    if stride:
        return [pytest.param(stride, lasting, id=f"stride-{stride}-{lasting}")
                for lasting in (False, True)]
    return [((number + 0.5) / runs, lasting)
            for runs, lasting in ((SAMPLE, False), (LASTING, True)) for number in range(runs)]


def survive(lab, monkeypatch, number, lasting):
    """One run: allocation `number` fails, then a normal start."""
    what = f"allocation {number} of {lab.total}{' and all after it' if lasting else ''}"
    with lab.run() as (daemon, bucket):
        more = {"NOMEM_ALL": 1} if lasting else {}
        lab.starved(daemon, monkeypatch, NOMEM_AT=number, **more)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not daemon.running() or lab.done(), GIVES_UP_S)
        status = end(daemon.process, signal.SIGTERM, 10)
        assert status in (EX_OK, EX_OSERR), f"{what}: ended with {status}\n{daemon.tail()}"
        if status == EX_OSERR:
            assert "out of " in daemon.tail(), f"{what}: no reason given"
        daemon.start()
        try:
            wait_until(lab.done, 30, f"{what}: all batches committed afterwards")
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{daemon.tail()}") from None
        verdict = Oracle(lab.sim.truth(), bucket, prefix="lake/", names=names_of(lab.world),
                         allow_uploads=1).judge()
        assert verdict.ok, f"{what}\n{verdict.table()}"
        assert daemon.metric("sluice_dead_letters_total") == 0, f"{what}\n{daemon.tail()}"
        daemon.stop()
    return status


@pytest.mark.slow
@pytest.mark.parametrize("share,lasting", sample())
def test_nth_allocation_fails(lab, monkeypatch, share, lasting):
    """P9: no hang, no crash, nothing lost."""
    if isinstance(share, float):
        survive(lab, monkeypatch, max(1, round(share * lab.total)), lasting)
        return
    step, _, first = share.partition(",")
    for number in range(int(first or 1), lab.total + 1, int(step)):
        survive(lab, monkeypatch, number, lasting)
