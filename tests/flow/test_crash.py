# SPDX-License-Identifier: Apache-2.0
"""Restarts: kill -9 in mid-file and elsewhere, SIGTERM, Redis gone, two daemons."""
import random
import signal
import time

from ground import BASE_MS, now_ms
from test_tail import committed, drained
from conftest import START
from world import wait_until

MIB = 1 << 20
PART = 5 * MIB
SLACK = 2 * MIB  # what the kernels held when the daemon died: sent, but never received


def received(daemon):
    """File bytes that the daemon has taken in."""
    return daemon.metric("sluice_received_bytes_total") or 0


def test_kill_in_mid_file_costs_one_part(world, sim, sluiced, judge):
    """kill -9 in the middle of a multi-part file: at most one part is downloaded again."""
    size = 60 * MIB
    world.dataset().batch([("big.parquet", size)])
    sim.start()
    sim.arm(f"slow:bytes_per_second={12 * MIB}")
    daemon = sluiced()
    daemon.start()
    wait_until(lambda: received(daemon) > 28 * MIB, 30, "the middle of the file", 0.02)
    daemon.kill9()
    daemon.start()
    committed(daemon, 1, 60)
    judge(allow_uploads=0)
    sent = sim.counters()["bytes"]
    assert sent <= size + PART + SLACK, f"{(sent - size) / MIB:.1f} MiB were read again"
    assert daemon.metric("sluice_parts_resumed_total") >= 4


def test_kill_again_and_again(world, sim, sluiced, redis, judge):
    """Many kills at random moments: nothing lost, nothing twice."""
    data = world.dataset()
    for number in range(12):
        data.batch([500 + number, 12 * MIB, 70000])
    sim.start()
    sim.arm(f"slow:bytes_per_second={20 * MIB}")
    daemon = sluiced(queue={"lease": "2s"})
    chance = random.Random(7)
    for _ in range(6):
        daemon.start()
        time.sleep(chance.uniform(0.3, 2.0))
        daemon.kill9()
    daemon.start()
    drained(daemon, redis, 120)
    wait_until(lambda: len(redis.command("--scan", "--pattern", "sluice:t:b/*").split()) == 12, 30)
    drained(daemon, redis, 120)
    judge(allow_uploads=20)


def test_sigterm_gives_everything_back(world, sim, sluiced, redis, judge):
    """SIGTERM: exit 0, leases released at once, attempts not counted; the next one finishes."""
    data = world.dataset()
    data.batch([40 * MIB, 100])
    data.batch([5000])
    sim.start()
    sim.arm(f"slow:bytes_per_second={8 * MIB}")
    daemon = sluiced(queue={"lease": "60s"})
    daemon.start()
    wait_until(lambda: received(daemon) > 12 * MIB, 30)
    begun = time.monotonic()
    daemon.signal(signal.SIGTERM)
    daemon.process.wait(10)
    assert daemon.process.returncode == 0
    assert time.monotonic() - begun < 6
    leases = redis.command("ZCARD", f"sluice:lease:{data.id}")
    assert leases == "0", leases
    daemon.start()
    committed(daemon, 1, 60)
    drained(daemon, redis, 60)
    judge()


def test_redis_goes_and_comes_back(world, sim, sluiced, redis, judge):
    """Redis restarts under the daemon: not ready meanwhile, alive all the time."""
    data = world.dataset()
    for number in range(6):
        data.batch([8 * MIB + number])
    sim.start()
    sim.arm(f"slow:bytes_per_second={10 * MIB}")
    daemon = sluiced()
    daemon.start()
    wait_until(lambda: received(daemon) > 4 * MIB, 30)
    redis.kill9()
    wait_until(lambda: daemon.get("/readyz")[0] == 503, 10, "not ready without Redis")
    assert daemon.get("/livez")[0] == 200
    redis.start()
    wait_until(lambda: daemon.get("/readyz")[0] == 200, 20, "ready again")
    drained(daemon, redis, 90)
    wait_until(lambda: redis.command("ZCARD", "sluice:done") >= "6", 30)
    judge(allow_uploads=6)


def test_redis_lost_wholly(world, sim, sluiced, redis, judge):
    """FLUSHALL after everything was committed: listed again, no file byte read again."""
    data = world.dataset()
    for number in range(5):
        data.batch([1000 + number, 6 * MIB])
    daemon = sluiced()
    daemon.start()
    committed(daemon, 5)
    daemon.stop()
    redis.command("FLUSHALL")
    redis.command("FUNCTION", "FLUSH")
    sim.reset()
    daemon.start()
    wait_until(lambda: daemon.metric("sluice_batches_known_total") == 5, 30, "manifests found")
    assert sim.counters()["bytes"] == 0
    judge()


def test_redis_flushed_under_the_daemon(world, sim, sluiced, redis, judge):
    """FLUSHALL on a live connection: noticed, everything is found again, work goes on."""
    data = world.dataset()
    for number in range(3):
        data.batch([1000 + number])
    daemon = sluiced()
    daemon.start()
    committed(daemon, 3)
    drained(daemon, redis)
    redis.command("FLUSHALL")
    wait_until(lambda: daemon.metric("sluice_batches_known_total") == 3, 20, "manifests found")
    sim.add(data.batch([4000], created=now_ms()))
    committed(daemon, 4)
    judge()


def test_two_daemons_share(world, sim, sluiced, redis, judge):
    """Two daemons on one queue: each batch once, both work."""
    data = world.dataset()
    for number in range(60):
        data.batch([3000 + number, 66000])
    sim.start()
    sim.arm("delay:ms=20")
    first, second = sluiced(), sluiced()
    first.start()
    second.start()
    wait_until(lambda: sum(d.metric("sluice_batches_committed_total") for d in (first, second))
               >= 60, 60, "60 batches")
    drained(first, redis)
    judge()
    assert sum(d.metric("sluice_batches_committed_total") for d in (first, second)) == 60
    assert all(d.metric("sluice_files_stored_total") > 0 for d in (first, second))


def test_one_instant_in_order_across_a_crash(world, sim, sluiced, judge):
    """Batches of one instant that fill several pages, a crash after the first: in an ordered
    dataset none is committed before all of the instant are known."""
    world.options["page_max"] = 2
    data = world.dataset()
    ids = [f"{letter}0HNGZE60118FVV85GF7HDM2YV" for letter in "CDAB"]  # as the pages have them
    for name in ids:
        data.batch([10], batch_id=name, created=BASE_MS)
    sim.start()
    sim.arm("hang:endpoint=batches,nth=2")
    tail = {"id": data.id, "as": "ds1", "start": START, "poll": "200ms", "order": "sequential"}
    daemon = sluiced(datasets=[tail], queue={"lease": "2s"}).start()
    wait_until(lambda: daemon.metric("sluice_batches_discovered_total") == 2, 30, "a page", 0.02)
    daemon.kill9()
    sim.disarm()
    sim.arm("delay:endpoint=batches,ms=400")
    daemon.start()
    committed(daemon, 4, 60)
    log = daemon.log.read_text(encoding="utf-8")
    assert sorted(ids, key=lambda name: log.index(f"{name} committed")) == sorted(ids)
    judge()
