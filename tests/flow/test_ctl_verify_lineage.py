# SPDX-License-Identifier: Apache-2.0
"""sluicectl verify where batches stand for others, were withdrawn, or are snapshots."""
import re

import pytest

from conftest import START
from ground import now_ms
from test_ctl_verify import body_of, delete, keys, put, reconfigure, report
from test_lineage import QUICK, Lake, ended
from world import wait_until

FIRST = 1_706_745_600_000  # 2024-02-01
DAY = 86_400_000
RANGE = ("2024-02-01", "2024-02-03")


@pytest.fixture(name="lake")
def fixture_lake(bucket):
    """The bucket as a reader sees it."""
    return Lake(bucket)


def kinds(problems):
    """(kind, subject) of each."""
    return {problem[:2] for problem in problems}


def about(bucket, part, batch):
    """The key of a batch's manifest or revocation."""
    return next(key for key in keys(bucket, f"/_sluice/{part}/") if f"/{batch.id}.json" in key)


@pytest.fixture(name="merged")
def fixture_merged(world, sim, sluiced, redis, lake):
    """(daemon, batches): one and two live on in `merged`, gone was taken back. Stopped."""
    data = world.dataset()
    later = world.new_id("ulid", now_ms())
    one = data.batch([10], created=FIRST, successor=later)
    two = data.batch([20], created=FIRST + DAY)
    plain, gone = data.batch([30], created=FIRST + 1), data.batch([40], created=FIRST + 2)
    daemon = sluiced(aep=QUICK)
    daemon.start()
    for batch in (one, two, plain, gone):
        ended(redis, batch)
    now = now_ms()
    replay = {"predecessors": [one.id, two.id], "reason": "consolidation"}
    merged = data.batch([30], batch_id=later, replay=replay, created=now, updated=now)
    sim.add(merged)
    ended(redis, merged)
    for batch in (one, two, gone):
        sim.set_status(batch, "inactive")
    wait_until(lambda: set(lake.revocations()) == {gone.id}, 60, "what was taken back is noted")
    daemon.stop()
    return daemon, {"one": one, "two": two, "plain": plain, "gone": gone, "merged": merged}


def grace_is_over(daemon):
    """No withdrawal of the past is young any more."""
    reconfigure(daemon, "aep", overlap="0s", sweep="100ms")


def test_consolidated_and_withdrawn(merged):
    """All has its reason; in a range by day it is looked up, or said to be open."""
    daemon, batch = merged
    grace_is_over(daemon)
    status, problems, counts = report(daemon, "verify", "ds1")
    assert status == 0 and not problems
    assert counts["kept"] == 2 and counts["revoked"] == 1 and counts["batches"] == 2
    assert counts["manifests"] == 5 and counts["elsewhere"] == counts["undecided"] == 0
    status, problems, counts = report(daemon, "verify", "ds1", *RANGE)
    assert status == 69 and kinds(problems) == {("unchecked", batch["two"].id)}
    assert "without FROM and TO" in problems[0][2] and counts["kept"] == 1


def test_revocation_that_is_missing(merged, bucket):
    """Excused while the change is young, then one line that says what will mend it."""
    daemon, batch = merged
    delete(bucket, about(bucket, "revocations", batch["gone"]))
    reconfigure(daemon, "aep", overlap="1h")
    status, problems, counts = report(daemon, "verify", "ds1")
    assert status == 0 and not problems and counts["undecided"] == 1 and counts["revoked"] == 0
    grace_is_over(daemon)
    status, problems, counts = report(daemon, "verify", "ds1")
    assert status == 1 and kinds(problems) == {("missing", batch["gone"].id)}
    assert "next sweep" in problems[0][2] and f"/{batch['gone'].id}.json" in problems[0][2]
    assert counts["kept"] == 2


def test_revocation_of_a_readable_batch(merged, sim, bucket):
    """AEP has brought it back."""
    daemon, batch = merged
    sim.set_status(batch["gone"], "success")
    status, problems, _ = report(daemon, "verify", "ds1")
    assert status == 1
    assert kinds(problems) == {("extra", about(bucket, "revocations", batch["gone"]))}


def test_consolidation_is_held_to_its_word(merged, bucket):
    """It names no objects, and whom it stands for has a manifest."""
    daemon, batch = merged
    objects = {key for key in bucket.objects("lake/ds1/dt=") if batch["one"].id in key}
    delete(bucket, about(bucket, "manifests", batch["one"]))
    status, problems, _ = report(daemon, "verify", "ds1")
    assert status == 1
    assert kinds(problems) == {("missing", batch["one"].id)} | {("extra", key) for key in objects}
    assert f"/{batch['merged'].id}.json says" in problems[0][2]
    key = about(bucket, "manifests", batch["plain"])
    changed, times = re.subn(rb'("bytes":\d+)', rb'\1,"consolidates":["' +
                             batch["two"].id.encode() + rb'"]', body_of(bucket, key))
    assert times == 1
    put(bucket, key, changed)
    _, problems, _ = report(daemon, "verify", "ds1")
    assert ("mismatch", key) in kinds(problems) and "missing" in {kind for kind, *_ in problems}


def test_successor_that_does_not_keep(merged, bucket):
    """A consolidation that is withdrawn and revoked keeps nobody."""
    daemon, batch = merged
    grace_is_over(daemon)
    record = body_of(bucket, about(bucket, "revocations", batch["gone"]))
    key = about(bucket, "manifests", batch["merged"]).replace("manifests", "revocations")
    put(bucket, key, record)
    _, problems, counts = report(daemon, "verify", "ds1")
    assert kinds(problems) == {("missing", batch["one"].id), ("missing", batch["two"].id),
                               ("extra", key)}
    assert counts["kept"] == 0


def test_objects_of_revoked_batches(world, sim, sluiced, redis, bucket, lake):
    """on_revoke: delete. Gone is right, there is counted; without the revocation it is neither."""
    data = world.dataset()
    kept, gone = data.batch([10, 11]), data.batch([20, 21, 22])
    sim.start()
    daemon = sluiced(aep=QUICK, datasets=[{
        "id": data.id, "as": "ds1", "start": START, "poll": "200ms", "on_revoke": "delete"}])
    daemon.start()
    ended(redis, kept)
    ended(redis, gone)
    mine = {key: body_of(bucket, key) for key in bucket.objects("lake/ds1/dt=")
            if gone.id in key}
    sim.set_status(gone, "deleted")
    wait_until(lambda: lake.revocations() and not set(mine) & set(bucket.objects("lake/")), 60,
               "its objects are gone")
    daemon.stop()
    grace_is_over(daemon)
    status, problems, counts = report(daemon, "verify", "ds1")
    assert status == 0 and not problems
    assert counts["deleted"] == 3 and counts["undeleted"] == 0 and counts["by-size"] == 2
    key, body = next(iter(mine.items()))
    put(bucket, key, body)
    status, _, counts = report(daemon, "verify", "ds1")
    assert status == 0 and counts["deleted"] == 2 and counts["undeleted"] == 1
    delete(bucket, about(bucket, "revocations", gone))
    status, problems, counts = report(daemon, "verify", "ds1")
    assert status == 1 and counts["deleted"] == counts["undeleted"] == 0
    assert kinds(problems) == {("missing", lost) for lost in set(mine) - {key}} | {
        ("missing", gone.id)}


def test_snapshots(world, sluiced, redis, bucket):
    """Of snapshots of which the latest is wanted, only the newest must have a manifest."""
    data = world.dataset()
    shots = [data.batch([10 + day], created=FIRST + day * DAY) for day in range(3)]
    daemon = sluiced()
    daemon.config["datasets"][0]["semantics"] = "snapshot-latest"
    daemon.start()
    ended(redis, shots[2])
    daemon.stop()
    for key in [key for key in bucket.objects("lake/ds1/") if shots[2].id not in key]:
        delete(bucket, key)
    status, problems, counts = report(daemon, "verify", "ds1")
    assert status == 0 and not problems and counts["batches"] == 3 and counts["manifests"] == 1
    assert report(daemon, "verify", "ds1", *RANGE)[0] == 0
    daemon.config["datasets"][0]["end"] = "2024-02-03"
    daemon.launch("--check-config").process.wait(10)
    status, problems, _ = report(daemon, "verify", "ds1")
    assert status == 1
    assert [subject for kind, subject, _ in problems if kind == "missing"] == [shots[1].id]
    del daemon.config["datasets"][0]["end"]
    daemon.launch("--check-config").process.wait(10)
    delete(bucket, about(bucket, "manifests", shots[2]))
    status, problems, _ = report(daemon, "verify", "ds1")
    assert status == 1
    assert [subject for kind, subject, _ in problems if kind == "missing"] == [shots[2].id]
