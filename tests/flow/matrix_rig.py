# SPDX-License-Identifier: Apache-2.0
"""What the tests of the fault matrix share: relays with rules and rough connections, and the
questions that end nearly every one of them."""
import random
import re
import socket

import pytest

from relay import Answer, Relay
from test_recovery import (  # pylint: disable=unused-import
    aep_relay, field, redis_relay, s3_relay, through)
from test_tail import committed, drained
from world import wait_until

MIB = 1 << 20
PREFIX = "sluice:"


def plain(status, body=b"", **headers):
    """An answer of any bytes, after which the connection is closed; names take _ for -."""
    headers = {"Connection": "close", "Content_Length": len(body)} | headers
    lines = [f"HTTP/1.1 {status} X"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Instead:
    """The hook `up` of a relay: requests whose first line matches get the answers, one each, then
    all pass; with forever=True the last answer stays. `hits` are the lines that were answered."""

    def __init__(self, relay, pattern, *answers, forever=False):
        self.pattern, self.answers = re.compile(pattern), list(answers)
        self.forever, self.hits = forever, []
        relay.up = self

    def __call__(self, data):
        line = data.split(b"\r\n", 1)[0].decode("latin-1")
        if not self.answers or not self.pattern.search(line):
            return data
        self.hits.append(line)
        raise Answer(self.answers[0] if self.forever and len(self.answers) == 1
                     else self.answers.pop(0))

    def used_up(self):
        """Was each answer given?"""
        return not self.answers


class Rough(Relay):
    """Passes bytes on in slices of `size`, and ends each way of a connection without notice after
    `most` bytes or a few more (0 = never)."""

    def __init__(self, target, size, most=0):
        self.size, self.most, self.dice = size, most, random.Random(most)
        self.cuts = 0
        super().__init__(target)

    def _pump(self, source, sink, hook):
        left = self.most * self.dice.uniform(1, 2) if self.most else float("inf")
        if sink.family == socket.AF_INET:
            sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while left > 0 and (data := source.recv(self.size)):
                sink.sendall(data)
                left -= len(data)
        except OSError:
            pass
        self.cuts += left <= 0
        self._end(source)
        self._end(sink)


@pytest.fixture(name="aep_line")
def fixture_aep_line(sim, aep_relay, sluiced):  # pylint: disable=redefined-outer-name
    """aep_line(faults…) gives (relay, daemon): a daemon, not started, that reaches the simulator
    through the relay. The world must be complete."""
    def make(**changes):
        sim.start()
        relay = aep_relay()
        line = {"endpoint": through(relay), "ims_endpoint": through(relay)}
        return relay, sluiced(**{"aep": line | changes.pop("aep", {})} | changes)

    return make


@pytest.fixture(name="s3_line")
def fixture_s3_line(s3_relay, sluiced):  # pylint: disable=redefined-outer-name
    """The same towards the store."""
    def make(**changes):
        line = {"endpoint": through(s3_relay)} | changes.pop("s3", {})
        return s3_relay, sluiced(s3=line, **changes)

    return make


@pytest.fixture(name="redis_line")
def fixture_redis_line(redis_relay, sluiced):  # pylint: disable=redefined-outer-name
    """The same towards Redis."""
    def make(**changes):
        return redis_relay, sluiced(redis={"url": f"redis://{redis_relay.address}"}, **changes)

    return make


def only_objects_stay(daemon, redis, bucket):
    """The daemon stops; Redis and the manifest of its only batch are gone."""
    daemon.stop()
    manifest = next(key for key in bucket.objects("lake/") if "/manifests/" in key)
    bucket.client.delete_object(Bucket=bucket.name, Key=manifest)
    redis.command("FLUSHALL")


def ready(daemon, timeout_s=20):
    """Waits until all checks of the daemon pass."""
    wait_until(lambda: daemon.get("/readyz")[0] == 200, timeout_s, "ready")


def says(daemon, *texts, timeout_s=15):
    """Waits until the daemon is not ready, and gives all of these as reasons (blanks count as
    one each)."""
    def told():
        status, text = daemon.get("/readyz?verbose")
        return status == 503 and all(part in " ".join(text.split()) for part in texts)
    wait_until(told, timeout_s, f"not ready: {texts}")


def tasks(redis, kind):
    """Ids of all tasks of a kind: tail, j, w, b, f."""
    keys = redis.command("--scan", "--pattern", f"{PREFIX}t:{kind}/*").split()
    return sorted(key.removeprefix(PREFIX + "t:") for key in keys)


HURRY = """for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
redis.call('ZADD', KEYS[1], 'XX', 1, id) end"""


def until_used_up(instead, redis, timeout_s=15):
    """Waits until each answer was given; what waits for its next try need not wait."""
    def done():
        redis.command("EVAL", HURRY, 1, PREFIX + "delayed")
        redis.command("FCALL", "sluice_tick", 1, PREFIX, "test", 1000, 86400000, 5)
        return instead.used_up()
    wait_until(done, timeout_s, "each answer was given")


def all_well(daemon, redis, judge, batches, *, timeout_s=30, **options):
    """All batches committed, none given up, the bucket is right, and the daemon is ready."""
    committed(daemon, batches, timeout_s)
    drained(daemon, redis)
    assert redis.command("ZCARD", PREFIX + "dead") == "0"
    ready(daemon)
    judge(**options)
