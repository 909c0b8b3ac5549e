# SPDX-License-Identifier: Apache-2.0
"""The main job: batches of a dataset end up in S3, each once, manifests last."""
import time

import pytest

from ground import ODD_NAMES, now_ms
from world import wait_until

MIB = 1 << 20


def committed(daemon, count, timeout_s=60):
    """Waits until so many manifests were written by this daemon."""
    def enough():
        return (daemon.metric("sluice_batches_committed_total") or 0) >= count
    wait_until(enough, timeout_s, f"{count} batches committed")


def all_committed(daemon, sim, timeout_s=60):
    """Waits until every batch that must have a manifest has one."""
    def all_there():
        due = [b for b in sim.truth()["batches"] if b["expected"] == "one"]
        return (daemon.metric("sluice_batches_committed_total") or 0) >= len(due)
    wait_until(all_there, timeout_s, "every readable batch committed", 0.2)


def drained(daemon, redis, timeout_s=60):
    """Waits until no batch is open and nothing runs."""
    def quiet():
        keys = redis.command("--scan", "--pattern", "sluice:t:b/*").split()
        states = {redis.command("HGET", key, "status") for key in keys}
        return states <= {"completed"}
    wait_until(quiet, timeout_s, "all batches completed", 0.2)


def test_everything_there_is(world, sim, sluiced, redis, judge):
    """Small, large, empty, odd names, many files, nested directories, ties, sub-batches."""
    data = world.dataset()
    data.batch([1000, 65536, 65537, 0])
    data.batch([12 * MIB + 17, 5 * MIB, 5 * MIB + 1])
    data.batch([(name, 1234) for name in ODD_NAMES if not name.startswith(("_", "."))])
    data.batch([])
    parent = data.batch([100] * 130)
    data.sub_batch(parent)
    data.batch(directories=[[50]] * 130)
    data.batch(directories=[[50, 60], [70]], nested=True)
    for _ in range(120):
        data.batch([10], created=parent.created + 5)
    for form in ("hex", "uuid"):
        data.batch([77], form=form)
    daemon = sluiced()
    daemon.start()
    committed(daemon, 129)
    drained(daemon, redis)
    verdict = judge()
    assert verdict.looked["objects"] > 400
    assert daemon.metric("sluice_dead_letters_total") == 0


def test_two_datasets_and_new_batches(world, sim, sluiced, redis, judge):
    """Batches that arrive while the daemon runs, some of them readable only later."""
    one, two = world.dataset(), world.dataset()
    one.batch([100])
    daemon = sluiced()
    daemon.start()
    committed(daemon, 1)
    now = now_ms()
    later = [two.batch([200, 300], created=now), one.batch([6 * MIB], created=now)]
    slow = two.batch([400], created=now, status="loading",
                     life=[[1500, "staging"], [2500, "success"]])
    never = one.batch([500], created=now, status="failed")
    sim.add(*later, slow, never)
    committed(daemon, 4)
    drained(daemon, redis)
    judge()


def test_steady_state_costs_one_call(world, sim, sluiced, redis):
    """A dataset in which nothing changes costs one Catalog call per poll."""
    data = world.dataset()
    for _ in range(3):
        data.batch([10])
    daemon = sluiced()
    daemon.config["datasets"][0]["poll"] = "500ms"
    daemon.start()
    committed(daemon, 3)
    drained(daemon, redis)
    wait_until(lambda: daemon.status()["tasks"]["control"] == 0, 10)
    sim.reset()
    time.sleep(3)
    calls = sim.counters()["requests"]
    assert 2 <= calls.get("batches", 0) <= 7, calls
    assert sum(calls.values()) == calls["batches"], calls


FAULTS = [
    "auth_401_once:endpoint=batches", "auth_401_once:endpoint=content",
    "auth_401_once:endpoint=files",
    "throttle_429_retry_after:times=5", "throttle_429_bare:times=5",
    "error_500:times=4", "error_503:times=4", "html_200:times=3,endpoint=batches|files|batch_files",
    "truncated_body:times=3", "reset_mid_body:times=3", "full_200_to_range:times=2",
    "shifted_content_range:times=2", "short_range:times=5", "total_changes:times=1",
    "short_pages", "duplicate_rows", "unstable_order", "list_empty_then_full",
    "late_success:times=2", "new_batches_while_paging", "many_files",
    "expired_token:seconds=1", "ims_down:times=2", "ims_slow:ms=500",
]


@pytest.mark.parametrize("fault", FAULTS)
def test_named_fault(fault, world, sim, sluiced, redis, judge):
    """Each fault alone: everything arrives, once, and nothing is given up."""
    data = world.dataset()
    for number in range(12):
        data.batch([3000 + number, 70000])
    data.batch([11 * MIB + 3, 10])
    data.batch(directories=[[50]] * 20)
    sim.start()
    sim.arm(fault)
    daemon = sluiced()
    daemon.start()
    committed(daemon, 14, 90)
    all_committed(daemon, sim, 30)
    drained(daemon, redis, 90)
    judge()
    name = fault.split(":")[0]
    assert sim.counters()["faults"][name] > 0, "the fault never struck"


def test_everything_at_once(world, sim, sluiced, redis, judge):
    """A mix of faults, each now and then."""
    data = world.dataset()
    for number in range(30):
        data.batch([2000 + number, 6 * MIB, 50])
    sim.start()
    for fault in ("error_500:p=0.05", "error_503:p=0.03", "truncated_body:p=0.1",
                  "reset_mid_body:p=0.05", "short_range:p=0.1", "throttle_429_bare:p=0.03",
                  "short_pages", "auth_401_once:times=3", "html_200:p=0.02,endpoint=files"):
        sim.arm(fault)
    daemon = sluiced()
    daemon.start()
    committed(daemon, 30, 180)
    drained(daemon, redis, 180)
    judge()
