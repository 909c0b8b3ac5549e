# SPDX-License-Identifier: Apache-2.0
"""Fault matrix, group R: a Redis that is hard to reach, in two minds, busy or hostile."""
import time

import pytest

from ground import now_ms
from matrix_rig import (  # pylint: disable=unused-import
    MIB, Rough, all_well, committed, fixture_redis_line, ready, redis_relay)
from queue_rig import LIBRARY
from relay import Relay
from rgw import free_ports
from world import Redis, wait_until

BUSY = ["LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script", "TRYAGAIN Multiple keys request",
        "CLUSTERDOWN The cluster is down", "MASTERDOWN Link with MASTER is down"]

# Functions of the same length of name as ours, each of which answers what the test says.
TROUBLE = """#!lua name=matrix
for name in ([[beat claim dataset done fail fan fix release rows save submit tick
version]]):gmatch('%S+') do
  redis.register_function { function_name = 'matrix_' .. name, flags = { 'no-writes' },
    callback = function()
      return redis.error_reply(redis.call('GET', 'matrix:trouble'))
    end }
end
"""


def test_r1_replies_in_pieces(world, sluiced, redis, judge):
    """One byte at a time, and connections that end within a reply."""
    data = world.dataset()
    for number in range(4):
        data.batch([100 + number])
    # Loaded here: it is longer than a connection lasts.
    redis.command("FUNCTION", "LOAD", LIBRARY.read_text(encoding="utf-8"))
    with Rough(redis.socket, 1, 15_000) as rough:
        daemon = sluiced(redis={"url": f"redis://{rough.address}"})
        daemon.start()
        all_well(daemon, redis, judge, 4)
        wait_until(lambda: rough.cuts >= 3, 10, "connections were cut")
        ready(daemon)


@pytest.fixture(name="replica")
def fixture_replica(place, redis):
    """A replica that has caught up with `redis`, which serves TCP as well."""
    (port,) = free_ports(1)
    redis.command("CONFIG", "SET", "repl-diskless-sync-delay", 0, "port", port)
    server = Redis(place / "replica").start()
    server.command("REPLICAOF", "127.0.0.1", port)
    wait_until(lambda: "master_link_status:up" in server.command("INFO", "replication"), 10)
    yield server
    server.stop()


def test_r5_two_masters(world, sim, sluiced, redis, replica, judge):
    """A replica is promoted while the old master lives on: two daemons work on two copies of one
    queue, and S3 keeps each object and batch single. Then the old master's daemon comes over.
    (A store without conditional Complete may take the same bytes of a large file twice.)"""
    data = world.dataset()
    for number in range(6):
        data.batch([1000 + number, 4 * MIB])
    sim.start()
    sim.arm(f"slow:bytes_per_second={8 * MIB}")
    with Relay(redis.socket) as relay:
        first = sluiced(redis={"url": f"redis://{relay.address}"}, queue={"lease": "2s"})
        second = sluiced(redis={"url": replica.url}, queue={"lease": "2s"})
        first.start()
        wait_until(lambda: first.metric("sluice_received_bytes_total") > 3 * MIB, 20)
        replica.command("REPLICAOF", "NO", "ONE")
        second.start()
        for server in (redis, replica):
            wait_until(lambda s=server: s.command("ZCARD", "sluice:done") == "6", 30,
                       "all batches ended on both sides")
        relay.target = str(replica.socket)
        relay.cut()
        ready(first)
        second.stop()
        before = first.metric("sluice_batches_committed_total")
        sim.add(data.batch([500], created=now_ms()))
        all_well(first, replica, judge, before + 1)


@pytest.mark.parametrize("text", BUSY, ids=[text.split()[0] for text in BUSY])
def test_r6_not_now(text, world, sim, redis_line, redis, judge):
    """Redis answers every call of ours with a refusal for a while: work waits, nothing dies."""
    data = world.dataset()
    for number in range(4):
        data.batch([6 * MIB, 100 + number])
    sim.start()
    sim.arm(f"slow:bytes_per_second={8 * MIB}")
    redis.command("FUNCTION", "LOAD", TROUBLE)
    redis.command("SET", "matrix:trouble", text)
    relay, daemon = redis_line()
    daemon.start()
    wait_until(lambda: daemon.metric("sluice_received_bytes_total") > 3 * MIB, 20)
    hits = []

    def swap(request):
        hits.append(request.count(b"\r\nsluice_"))
        return request.replace(b"\r\nsluice_", b"\r\nmatrix_")

    relay.up = swap
    time.sleep(1)
    sim.disarm()
    time.sleep(0.5)
    relay.up = lambda request: request
    all_well(daemon, redis, judge, 4, allow_uploads=1)
    assert sum(hits) > 0
    assert daemon.metric("sluice_dead_letters_total") == 0


HOSTILE = {"huge-bulk": b"$536870912\r\n" + b"x" * (20 * MIB),
           "deep": b"*1\r\n" * 9 + b":1\r\n", "negative": b"$-2\r\n",
           "endless-array": b"*2147483647\r\n", "noise": b"\0\xff\r\n"}


@pytest.mark.parametrize("reply", HOSTILE.values(), ids=HOSTILE.keys())
def test_r14_hostile_replies(reply, world, sim, redis_line, redis, judge):
    """The connection is dropped before it costs memory; the next one serves."""
    data = world.dataset()
    data.batch([100])
    relay, daemon = redis_line()
    daemon.start()
    committed(daemon, 1)
    struck = []

    def spoil(answer):
        if len(struck) < 2:
            struck.append(True)
            return reply + answer
        return answer

    relay.down = spoil
    wait_until(lambda: len(struck) == 2, 10, "two replies were spoilt")
    sim.add(data.batch([200], created=now_ms()))
    all_well(daemon, redis, judge, 2)
