# SPDX-License-Identifier: Apache-2.0
"""What a dataset means by its batches: increments or snapshots; partial ingestion; where a tail
ends; and what looking costs when nothing changes."""
import json
import time

from ground import now_ms
from world import wait_until

DAY_MS = 86_400_000


def heads(bucket):
    """batch -> head of its manifest"""
    keys = [key for key in bucket.objects("lake/") if "/_sluice/manifests/" in key]
    found = [json.loads(b"".join(bucket.read(key)))["sluice"] for key in keys]
    return {head["batch"]: head for head in found}


def results(redis, data):
    """batch -> result of its task ("" = committed), of those that are completed"""
    found = {}
    for key in redis.command("--scan", "--pattern", f"sluice:t:b/{data.id}/*").split():
        if redis.command("HGET", key, "status") == "completed":
            found[key.rsplit("/", 1)[1]] = redis.command("HGET", key, "result")
    return found


def semantics(daemon, *words):
    """Sets the semantics of the datasets, in order."""
    for entry, word in zip(daemon.config["datasets"], words):
        entry["semantics"] = word


def test_snapshots(world, sim, sluiced, redis, bucket):
    """Of snapshots-latest only the newest is stored, of versions each; both say what they are."""
    latest, versions, plain = world.dataset(), world.dataset(), world.dataset()
    old = latest.batch([10])
    newest = latest.batch([20])
    latest.sub_batch(newest)
    keep = [versions.batch([30]), versions.batch([40])]
    partial = plain.batch([100, 200], failed_records=7)
    daemon = sluiced(aep={"overlap": "1s"})
    semantics(daemon, "snapshot-latest", "snapshot-versions", "incremental")
    daemon.start()
    wait_until(lambda: len(heads(bucket)) == 4, 60, "four manifests")
    found = heads(bucket)
    assert set(found) == {newest.id, partial.id, *(batch.id for batch in keep)}
    assert old.id not in results(redis, latest)
    assert all(found[batch.id]["snapshot"] is True for batch in (newest, *keep))
    assert "snapshot" not in found[partial.id]
    assert found[partial.id]["records"] == 5 and found[partial.id]["failed_records"] == 7
    assert daemon.metric("sluice_failed_records_total") == 7
    assert f"{partial.id} committed files=2" in daemon.log.read_text()
    assert "failed_records=7" in daemon.log.read_text()
    first, second = (latest.batch([50], created=now_ms() + number, updated=now_ms(),
                                  status="staging") for number in (0, 1))
    sim.add(first, second)
    wait_until(lambda: redis.command("EXISTS", f"sluice:t:b/{latest.id}/{first.id}") == "1", 60)
    sim.set_status(second, "success")
    sim.set_status(first, "success")
    wait_until(lambda: first.id in results(redis, latest) and second.id in heads(bucket), 60)
    assert results(redis, latest)[first.id] == f"snapshot superseded by {second.id}"
    assert first.id not in heads(bucket)


def revoked(bucket):
    """Batches that have a revocation."""
    return {key.rsplit("/", 1)[1].removesuffix(".json") for key in bucket.objects("lake/")
            if "/_sluice/revocations/" in key}


def test_a_snapshot_that_is_withdrawn_gives_way_to_the_one_before(
        world, sim, sluiced, redis, bucket, judge):
    """Outdated ones were skipped: when they are the newest again they are copied; none before
    `start`. Where none is left, that is told."""
    latest, versions = world.dataset(), world.dataset()
    early, old = latest.batch([10]), latest.batch([20])
    keep = [versions.batch([30]), versions.batch([40])]
    daemon = sluiced(aep={"overlap": "1s", "sweep": "300ms"})
    semantics(daemon, "snapshot-latest", "snapshot-versions")
    daemon.config["datasets"][0]["start"] = time.strftime(
        "%Y-%m-%dT%H:%M:%SZ", time.gmtime(old.created / 1000))
    daemon.start()
    wait_until(lambda: len(heads(bucket)) == 3, 60, "one, and both versions")
    first, second = (latest.batch([50], created=now_ms() + number, updated=now_ms(),
                                  status="staging") for number in (0, 1))
    sim.add(first, second)
    wait_until(lambda: redis.command("EXISTS", f"sluice:t:b/{latest.id}/{first.id}") == "1", 60)
    sim.set_status(second, "success")
    sim.set_status(first, "success")
    wait_until(lambda: first.id in results(redis, latest) and second.id in heads(bucket), 60)
    assert first.id not in heads(bucket)
    sim.set_status(second, "inactive")
    sim.set_status(keep[1], "inactive")
    wait_until(lambda: first.id in heads(bucket), 25, "the one before it")
    assert results(redis, latest)[first.id] == ""
    wait_until(lambda: revoked(bucket) == {second.id, keep[1].id}, 60, "two revocations")
    told = "no readable snapshot is left"
    assert told not in daemon.log.read_text()
    sim.set_status(first, "deleted")
    sim.set_status(old, "deleted")
    wait_until(lambda: told in daemon.log.read_text(), 60, "nothing is left")
    wait_until(lambda: {first.id, old.id} <= revoked(bucket), 60, "their revocations")
    assert early.id not in heads(bucket)
    judge(since=old.created, semantics={latest.id: "snapshot-latest",
                                        versions.id: "snapshot-versions"})


def test_snapshots_after_the_end_outdate_none(world, sluiced, bucket):
    """Of snapshots created before `end` the newest is copied."""
    data = world.dataset()
    data.batch([10])
    batches = [data.batch([20]), data.batch([30])]
    daemon = sluiced(aep={"overlap": "1s", "sweep": "300ms"})
    semantics(daemon, "snapshot-latest")
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(batches[1].created / 1000))
    daemon.config["datasets"][0]["end"] = end
    daemon.start()
    wait_until(lambda: batches[0].id in heads(bucket), 60, "the newest before the end")
    assert len(heads(bucket)) == 1

def test_a_tail_ends(world, sim, sluiced, redis, bucket):
    """Nothing created from `end` on, neither by the walk nor by the sweep; pages of one row."""
    data = world.dataset()
    batches = [data.batch([10 + number]) for number in range(5)]
    daemon = sluiced(aep={"overlap": "1s", "sweep": "300ms"})
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(batches[3].created / 1000))
    daemon.config["datasets"][0] |= {"end": end, "page": 2}
    daemon.start()
    sim.add(data.batch([20], created=now_ms(), updated=now_ms()))
    wait_until(lambda: len(heads(bucket)) == 3, 60, "three manifests")
    wait_until(lambda: (daemon.metric("sluice_sweeps_total") or 0) >= 2, 60, "two sweeps")
    assert set(heads(bucket)) == {batch.id for batch in batches[:3]}
    assert len(results(redis, data)) == 3


def test_quiet_polls_cost_one_call(world, sim, sluiced, redis):
    """Polls and sweeps of datasets in which nothing changes: old ones, young ones, and one with
    more batches within the overlap than fit a page."""
    now = now_ms()
    old, young, busy = world.dataset(), world.dataset(), world.dataset()
    for number in range(3):
        old.batch([10])
        young.batch([10], created=now - 60_000 + number, updated=now - 50_000)
    for number in range(130):
        busy.batch([], created=now - 60_000 + number, updated=now - 7 * DAY_MS)
    daemon = sluiced(aep={"sweep": "1s"})
    for entry in daemon.config["datasets"]:
        entry["poll"] = "500ms"
    daemon.start()
    wait_until(lambda: sum(len(results(redis, data)) for data in (old, young, busy)) == 136, 60)
    wait_until(lambda: (daemon.metric("sluice_sweeps_total") or 0) >= 9, 60, "sweeps of all")
    events = len(redis.command("XRANGE", "sluice:events", "-", "+").split("\n"))
    sim.reset()
    sweeps = daemon.metric("sluice_sweeps_total")
    wait_until(lambda: daemon.metric("sluice_sweeps_total") >= sweeps + 9, 60, "more of them")
    calls = sim.counters()["requests"]
    words = redis.command("XRANGE", "sluice:events", "-", "+").split("\n")[events:]
    polls = sum(word.startswith("tail/") and words[at + 2] == "claimed"
                for at, word in enumerate(words[:-2]))
    assert polls >= 15 and calls["batches"] <= polls + 3, (calls, polls)
    assert sum(calls.values()) == calls["batches"], calls


def test_garbage_from_catalog(world, sim, sluiced, redis, bucket):
    """A page that is none is refused and told; the other dataset goes on, and so does this one."""
    bad, good = world.dataset(), world.dataset()
    batch = bad.batch([10])
    good.batch([20])
    sim.start()
    sim.arm(f"html_200:endpoint=batches,times=3,match={bad.id}")
    daemon = sluiced()
    daemon.start()
    error = wait_until(lambda: redis.command("HGET", f"sluice:t:tail/{bad.id}", "error"), 60)
    assert "the answer begins: <" in error, error
    wait_until(lambda: len(heads(bucket)) == 1, 60, "the other dataset")
    wait_until(lambda: batch.id in heads(bucket), 90, "this one, too")


def test_a_sweep_that_fails_keeps_nothing_back(world, sim, sluiced, redis, bucket):
    """New batches are found all the same; the tail says why there was no sweep."""
    data = world.dataset()
    data.batch([10])
    sim.start()
    sim.arm("html_200:endpoint=batches,times=0,match=orderBy=desc:updated")
    daemon = sluiced(aep={"sweep": "200ms"})
    daemon.start()
    tail = f"sluice:t:tail/{data.id}"
    wait_until(lambda: "answer begins" in redis.command("HGET", tail, "sweep_error"), 60)
    swept = redis.command("HGET", tail, "swept")
    batch = data.batch([20], created=now_ms(), updated=now_ms())
    sim.add(batch)
    wait_until(lambda: batch.id in heads(bucket), 60, "a new batch")
    assert daemon.metric("sluice_sweeps_failed_total") > 0
    assert redis.command("HGET", tail, "swept") == swept
    sim.disarm()
    wait_until(lambda: not redis.command("HGET", tail, "sweep_error"), 60)
    assert int(redis.command("HGET", tail, "swept")) > int(swept)
