# SPDX-License-Identifier: Apache-2.0
"""What it costs in calls to Adobe: polls of datasets in which nothing changes, and the copy of a
batch. The simulator counts."""
import math

import pytest

from ground import now_ms
from world import wait_until

PAGE = 100  # rows of a listing
POLLS = 20


def completed(redis, data):
    """How many batches of a dataset are through."""
    keys = redis.command("--scan", "--pattern", f"sluice:t:b/{data.id}/*").split()
    return sum(redis.command("HGET", key, "status") == "completed" for key in keys)


def polls(redis, data, since):
    """How often its tail was claimed after the first `since` lines of the events."""
    lines = redis.command("XRANGE", "sluice:events", "-", "+").split("\n")[since:]
    return sum(line == f"tail/{data.id}" and "claimed" in lines[at:at + 3]
               for at, line in enumerate(lines))


def listing_calls(rows):
    """Of one listing: its pages, and if there are several the first once more in the end."""
    pages = max(1, math.ceil(rows / PAGE))
    return pages + (pages > 1)


def batch_calls(files_of_each):
    """Of a batch that is readable when it is found, whose files are of one part each."""
    return {"batch_files": listing_calls(len(files_of_each)),
            "files": sum(listing_calls(files) for files in files_of_each),
            "content": sum(files_of_each)}


@pytest.mark.slow
def test_quiet_polls(world, sim, sluiced, redis):
    """At most one Catalog call per dataset and poll, sweeps among them: for a dataset of more
    than a page of batches, and for one whose batches are all within the overlap."""
    old, young = world.dataset(), world.dataset()
    for number in range(130):
        old.batch([])
    now = now_ms()
    for number in range(60):
        young.batch([], created=now - 60_000 + number, updated=now - 50_000)
    daemon = sluiced(aep={"sweep": "1s"})
    for entry in daemon.config["datasets"]:
        entry["poll"] = "200ms"
    daemon.start()
    wait_until(lambda: daemon.metric("sluice_batches_committed_total") == 190, 60, "all of them")
    sweeps = daemon.metric("sluice_sweeps_total")
    wait_until(lambda: daemon.metric("sluice_sweeps_total") >= sweeps + 4, 60, "sweeps of both")
    since = len(redis.command("XRANGE", "sluice:events", "-", "+").split("\n"))
    sim.reset()
    sweeps = daemon.metric("sluice_sweeps_total")
    wait_until(lambda: min(polls(redis, data, since) for data in (old, young)) >= POLLS and
               daemon.metric("sluice_sweeps_total") >= sweeps + 6, 60, "polls and sweeps", 0.2)
    targets = [row["target"] for row in sim.log()]
    calls = sim.counters()["requests"]
    assert sum(calls.values()) == calls["batches"] == len(targets), calls
    for data in (old, young):
        asked = sum(data.id in target for target in targets)
        done = polls(redis, data, since)
        # One poll may have begun before the counting, and one not have asked yet.
        assert POLLS - 1 <= asked <= done + 1, (asked, done, targets)


@pytest.mark.parametrize("files_of_each", [[1], [20], [5, 1, 1], [130]], ids=str)
def test_calls_of_a_batch(files_of_each, world, sim, sluiced, redis):
    """Its listings and one GET for each file, nothing else, and no look at the batch: what the
    poll has found says enough."""
    data = world.dataset()
    data.batch([10])
    daemon = sluiced()
    daemon.start()
    wait_until(lambda: completed(redis, data) == 1, 60, "the daemon works")
    sim.reset()
    now = now_ms()
    sim.add(data.batch(directories=[[1000 + number for number in range(files)]
                                    for files in files_of_each], created=now, updated=now))
    wait_until(lambda: completed(redis, data) == 2, 60, "the batch is completed")
    calls = sim.counters()["requests"]
    calls.pop("batches")  # of polls
    assert calls == batch_calls(files_of_each)
    files = sum(files_of_each)
    assert sum(calls.values()) <= 3 * files, "metered calls per file"
    assert daemon.metric("sluice_files_stored_total") == files + 1


def test_what_was_exported_is_counted_for_good(world, sim, sluiced, redis):
    """Over restarts, in Redis; the metric begins anew."""
    data, other = world.dataset(), world.dataset()
    data.batch([1000, 50])
    other.batch([7])
    daemon = sluiced()
    daemon.start()

    def kept(dataset):
        return int(redis.command("HGET", "sluice:exported", dataset.id) or 0)
    wait_until(lambda: kept(data) == 1050 and kept(other) == 7, 60, "both are kept")
    daemon.stop()
    daemon.start()
    sim.add(data.batch([300], created=now_ms(), updated=now_ms()))
    wait_until(lambda: kept(data) == 1350, 60, "both lives")
    assert kept(other) == 7 and daemon.metric("sluice_exported_bytes_total") == 300
    lines = redis.command("FCALL_RO", "sluice_stat", 1, "sluice:").split("\n")
    said = {words[0]: words for words in map(str.split, lines[:2])}
    assert "exported=1350" in said[data.id] and "exported=7" in said[other.id]
