# SPDX-License-Identifier: Apache-2.0
"""Batches that change after they were found, and batches that repeat or replace others: what a
reader of the bucket counts is what AEP holds."""
import json
import time

import pytest

from conftest import START
from ground import now_ms
from lineage import shares
from world import wait_until

QUICK = {"overlap": "1s", "sweep": "300ms"}


class Lake:
    """The bucket as a reader of manifests sees it."""

    def __init__(self, bucket):
        self.bucket = bucket

    def _read(self, part):
        keys = [key for key in self.bucket.objects("lake/") if f"/_sluice/{part}/" in key]
        return {key.rsplit("/", 1)[1].removesuffix(".json"):
                json.loads(b"".join(self.bucket.read(key))) for key in keys}

    def heads(self):
        """batch -> head of its manifest"""
        return {name: data["sluice"] for name, data in self._read("manifests").items()}

    def revocations(self):
        """batch -> its revocation"""
        return self._read("revocations")

    def counted(self):
        """Batches whose files count: a manifest that no other replaces, and no revocation."""
        heads, gone = self.heads(), set(self.revocations())
        for head in heads.values():
            gone.update(head.get("replaces", []))
        return {name for name, head in heads.items() if name not in gone and head["files"]}


@pytest.fixture
def lake(bucket):
    """The reader's view."""
    return Lake(bucket)


def just_now():
    """Times of a batch that a running daemon has not seen."""
    now = now_ms()
    return {"created": now, "updated": now}


def promised(world):
    """The id of a batch to come, for those that name it as their successor."""
    return world.new_id("ulid", world.next_created())


def carry(batch, *predecessors):
    """The rows of the others are what the files of a consolidation hold."""
    rows = [row for old in predecessors for row in old.held()]
    files = [file for _, file in batch.rows()]
    for file, part in zip(files, shares(rows, len(files))):
        file.rows = part


def supersede(sim, data, batch_id, *predecessors, files=(500,), reason="consolidation"):
    """A batch appears in the place of others, which become inactive."""
    replay = {"predecessors": [old.id for old in predecessors], "reason": reason}
    batch = data.batch(list(files), batch_id=batch_id, replay=replay, **just_now())
    if reason == "consolidation":
        carry(batch, *predecessors)
    sim.add(batch)
    for old in predecessors:
        sim.set_status(old, "inactive")
    return batch


def ended(redis, batch):
    """The fields of a batch's task, once it is completed."""
    def look():
        flat = redis.command("HGETALL", f"sluice:t:b/{batch.dataset}/{batch.id}").split("\n")
        fields = dict(zip(flat[::2], flat[1::2]))
        return fields if fields.get("status") == "completed" else None
    return wait_until(look, 60, f"{batch.id} completed")


def test_withdrawn_after_commit(world, sim, sluiced, redis, judge, lake):
    """Inactive, deleted: a revocation each; a batch that was never stored gets none."""
    data = world.dataset()
    kept, first, second = data.batch([10]), data.batch([20]), data.batch([30])
    never = data.batch([40], status="failed")
    daemon = sluiced(aep=QUICK)
    daemon.start()
    for batch in (kept, first, second):
        ended(redis, batch)
    sim.set_status(first, "inactive")
    sim.set_status(second, "deleted")
    sim.set_status(never, "deleted")
    wait_until(lambda: len(lake.revocations()) == 2, 60, "two revocations")
    records = lake.revocations()
    assert records[first.id] == {
        "batch": first.id, "created": first.created, "dataset": data.id, "reason": "inactive",
        "status": "inactive", "version": 1}
    assert records[second.id]["reason"] == "deleted"
    assert lake.counted() == {kept.id}
    assert daemon.metric("sluice_revocations_total") == 2
    wait_until(lambda: int(redis.command("HGET", f"sluice:t:tail/{data.id}", "swept"))
               > now_ms() - 60_000, 60, "the sweep is complete")
    daemon.stop()
    redis.command("FLUSHALL")  # with it, what was swept
    sim.set_status(kept, "inactive")
    daemon.start()
    wait_until(lambda: kept.id in lake.revocations(), 60, "the first walk has seen it")
    assert len(lake.heads()) == 3
    judge()


def test_withdrawn_while_all_was_lost(world, sim, sluiced, redis, lake):
    """Also what was created before `start`, and came by a backfill."""
    data = world.dataset()
    old = data.batch([10])
    daemon = sluiced(aep=QUICK)
    daemon.config["datasets"][0]["start"] = "2024-03-01"
    daemon.start()
    wait_until(lambda: redis.command("SISMEMBER", "sluice:datasets", data.id) == "1", 60)
    redis.command("FCALL", "sluice_backfill", 1, "sluice:", data.id, "2024-02-01", "2024-02-02")
    ended(redis, old)
    daemon.stop()
    redis.command("FLUSHALL")
    sim.set_status(old, "inactive")
    time.sleep(2.5)  # more than the overlap
    daemon.start()
    wait_until(lambda: set(lake.revocations()) == {old.id}, 20, "its revocation")


def test_objects_are_deleted_where_the_operator_wants_it(world, sim, sluiced, bucket, lake):
    """on_revoke: delete. The record comes first, the manifest stays, others are not touched."""
    data = world.dataset()
    kept, gone = data.batch([10, 11]), data.batch([20, 21, 22])
    sim.start()
    daemon = sluiced(aep=QUICK, datasets=[{
        "id": data.id, "as": "ds1", "start": START, "poll": "200ms", "on_revoke": "delete"}])
    daemon.start()
    wait_until(lambda: set(lake.heads()) == {kept.id, gone.id}, 60, "both are committed")
    sim.set_status(gone, "inactive")

    def objects(batch):
        return [key for key in bucket.objects("lake/ds1/dt=") if batch.id in key]
    wait_until(lambda: not objects(gone), 60, "its objects are gone")
    assert set(lake.revocations()) == {gone.id} and len(objects(kept)) == 2
    assert set(lake.heads()) == {kept.id, gone.id} and lake.counted() == {kept.id}



def test_a_successor_that_fails_late(world, sim, sluiced, redis, judge, lake):
    """As long as it may come, the batch that it would replace counts; when it does not come, that
    one is looked at again, however long ago it was withdrawn."""
    data = world.dataset()
    next_id = promised(world)
    old = data.batch([100], successor=next_id)
    daemon = sluiced(aep=QUICK)
    daemon.start()
    ended(redis, old)
    replay = {"predecessors": [old.id], "reason": "replace"}
    coming = data.batch([90], batch_id=next_id, status="staging", replay=replay, **just_now())
    sim.add(coming)
    sim.set_status(old, "inactive")
    time.sleep(5)  # far more than the overlap
    assert lake.counted() == {old.id}
    sim.set_status(coming, "failed")
    wait_until(lambda: set(lake.revocations()) == {old.id}, 30, "its revocation")
    judge()


def test_late_batches_are_found(world, sim, sluiced, redis, judge):
    """Behind the watermark by more than the overlap: by the sweep if it is new to Catalog, by the
    daily reconciliation if it looks old."""
    data = world.dataset()
    first = data.batch([10], created=now_ms() - 1000)
    daemon = sluiced(aep=QUICK | {"reconcile": "2s", "reconcile_window": "1h"})
    daemon.start()
    ended(redis, first)
    late = data.batch([20], created=now_ms() - 600_000, updated=now_ms())
    sim.add(late)
    ended(redis, late)
    hidden = data.batch([30], created=now_ms() - 900_000, updated=now_ms() - 800_000)
    sim.add(hidden)
    ended(redis, hidden)
    judge()


def test_consolidation_of_what_is_stored(world, sim, sluiced, redis, judge, lake):
    """Nothing is copied, the predecessors go on counting; until the consolidation goes."""
    data = world.dataset()
    next_id, last_id = promised(world), promised(world)
    old = [data.batch([100 + number], successor=next_id) for number in range(3)]
    daemon = sluiced(aep=QUICK)
    daemon.start()
    for batch in old:
        ended(redis, batch)
    big = supersede(sim, data, next_id, *old)
    ended(redis, big)
    head = lake.heads()[big.id]
    assert head["consolidates"] == sorted(batch.id for batch in old) and head["files"] == 0
    again = supersede(sim, data, last_id, big)
    ended(redis, again)
    assert lake.heads()[again.id]["consolidates"] == [big.id]
    sweeps = daemon.metric("sluice_sweeps_total")
    wait_until(lambda: daemon.metric("sluice_sweeps_total") > sweeps + 6, 60, "some sweeps")
    assert lake.counted() == {batch.id for batch in old} and not lake.revocations()
    sim.set_status(again, "deleted")
    wait_until(lambda: len(lake.revocations()) == 5, 60, "the rows are gone with it")
    assert {record["reason"] for record in lake.revocations().values()} == {"deleted"}
    assert lake.counted() == set()
    judge()


def test_consolidation_of_what_was_never_stored(world, sim, sluiced, redis, judge, lake):
    """It is copied and replaces its predecessors, those of kept consolidations included."""
    data = world.dataset()
    small_id, big_id = promised(world), promised(world)
    one, two = (data.batch([size], successor=small_id) for size in (100, 200))
    lost = data.batch([300], status="failed", successor=big_id)
    daemon = sluiced(aep=QUICK)
    daemon.start()
    ended(redis, one)
    ended(redis, two)
    small = data.batch([300], batch_id=small_id, successor=big_id, replay={
        "predecessors": [one.id, two.id], "reason": "consolidation"}, **just_now())
    carry(small, one, two)
    sim.add(small)
    ended(redis, small)
    sim.set_status(one, "inactive")
    sim.set_status(two, "inactive")
    big = supersede(sim, data, big_id, small, lost, files=(600,))
    ended(redis, big)
    heads = lake.heads()
    assert "consolidates" in heads[small.id] and "consolidates" not in heads[big.id]
    assert heads[big.id]["replaces"] == sorted([one.id, two.id, small.id, lost.id])
    assert lake.counted() == {big.id}
    wait_until(lambda: small.id in lake.revocations(), 60, "a record for the consolidation")
    assert lake.revocations()[small.id]["reason"] == "consolidated-into"
    assert lake.counted() == {big.id}
    judge()


def test_replacements_in_a_chain(world, sim, sluiced, redis, judge, lake):
    """Each names what it replaces, and that is revoked."""
    data = world.dataset()
    second_id, third_id = promised(world), promised(world)
    other, first = data.batch([50]), data.batch([100], successor=second_id)
    daemon = sluiced(aep=QUICK)
    daemon.start()
    ended(redis, other)
    ended(redis, first)
    second = data.batch([120], batch_id=second_id, successor=third_id, replay={
        "predecessors": [first.id], "reason": "Replacing for 2020-04-09",
        "predecessorsByExternalId": ["ext b", "ext a"]}, **just_now())
    sim.add(second)
    sim.set_status(first, "inactive")
    ended(redis, second)
    third = supersede(sim, data, third_id, second, reason="replace")
    ended(redis, third)
    heads = lake.heads()
    assert heads[second.id]["replaces"] == [first.id]
    assert heads[second.id]["replaces_external"] == ["ext a", "ext b"]
    assert heads[second.id]["replay_reason"] == "Replacing for 2020-04-09"
    assert heads[third.id]["replaces"] == [second.id]
    assert lake.counted() == {other.id, third.id}
    wait_until(lambda: len(lake.revocations()) == 2, 60, "both are revoked")
    assert lake.revocations()[first.id] == {
        "batch": first.id, "created": first.created, "dataset": data.id, "reason": "replaced",
        "status": "inactive", "superseded_by": second.id, "version": 1}
    assert lake.revocations()[second.id]["superseded_by"] == third.id
    judge()


def test_a_predecessor_on_its_way_is_waited_for(world, sim, sluiced, redis, judge, lake):
    """A consolidation that comes while its predecessor is copied waits for the end of it."""
    data = world.dataset()
    big_id = promised(world)
    old = data.batch([3 << 20, 100], successor=big_id)
    sim.start()
    sim.set(bytes_per_second=1 << 20)
    daemon = sluiced(aep=QUICK)
    daemon.start()
    wait_until(lambda: redis.command("HGET", f"sluice:t:b/{data.id}/{old.id}", "phase") == "wait",
               60, "its files are listed")
    big = supersede(sim, data, big_id, old)
    waits = ended(redis, big).get("lineage_waits", "0")
    sim.set(bytes_per_second=0)
    assert int(waits) >= 1
    assert lake.heads()[big.id]["consolidates"] == [old.id]
    assert lake.counted() == {old.id}
    judge()


def test_a_predecessor_that_nobody_knows_is_searched(world, sim, sluiced, redis, bucket, lake):
    """Gone from Catalog and from Redis: its manifest is found by its name."""
    data = world.dataset()
    data.batch([10])
    for number, name in enumerate(("GONE", "GONE-TOO", "OTHER")):
        head = (f'{{"batch":"{name}","bytes":0,"created":{number},"dataset":"{data.id}","files":0,'
                f'"generation":1,"sandbox":"prod","version":1}}')
        bucket.client.put_object(
            Bucket=bucket.name, Key=f"lake/ds1/_sluice/manifests/dt=1970-01-01/{name}.json",
            Body=f'{{"entries":[],"sluice":{head}}}\n'.encode())
    daemon = sluiced(aep=QUICK)
    daemon.start()
    kept = data.batch([20], replay={"predecessors": ["GONE-TOO", "GONE"],
                                    "reason": "consolidation"}, **just_now())
    copied = data.batch([30], replay={"predecessors": ["GONE", "NEVER"],
                                      "reason": "consolidation"}, **just_now())
    sim.add(kept, copied)
    ended(redis, kept)
    ended(redis, copied)
    heads = lake.heads()
    assert heads[kept.id]["consolidates"] == ["GONE", "GONE-TOO"]
    assert heads[copied.id]["replaces"] == ["GONE", "NEVER"] and heads[copied.id]["files"] == 1
