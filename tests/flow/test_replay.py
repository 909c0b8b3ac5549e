# SPDX-License-Identifier: Apache-2.0
"""Replays: a batch, a range, once more and beside what is there; and the end of a generation."""
import json

import pytest

from conftest import PREFIX
from ground import now_ms
from oracle import GENERATION
from test_ctl_verify import ctl, report
from test_tail import committed, drained
from world import wait_until

MIB = 1 << 20
FIRST = 1_706_745_600_000  # 2024-02-01
DAY = 86_400_000


def ordered(answer):
    """(job, generation) of an order that was taken."""
    word, job, generation = answer.split()
    assert word == "queued", answer
    return job, int(generation.removeprefix("generation="))


def order(redis, *words):
    """The answer to sluice_replay."""
    return redis.command("FCALL", "sluice_replay", 1, "sluice:", *words)


def field(redis, task, name):
    """A field of a task's hash."""
    return redis.command("HGET", f"sluice:t:{task}", name)


def ended(redis, job, timeout_s=60):
    """Waits until a job is completed."""
    wait_until(lambda: field(redis, job, "status") == "completed", timeout_s, f"{job} completed",
               0.1)


def folder(generation):
    """What the keys of a generation of ds1 begin with."""
    return f"{PREFIX}ds1/_generation={generation}/"


def contents(bucket, generation=1):
    """{key as it would be in the first generation: bytes} of data and manifests of one."""
    found = {}
    for key in bucket.objects(PREFIX):
        match = GENERATION.search(key)
        if int(match[1] if match else 1) == generation and "/jobs/" not in key \
                and "/dt=" in key:
            found[GENERATION.sub("/", key)] = b"".join(bucket.read(key))
    return found


def data_of(found):
    """Without manifests."""
    return {key: body for key, body in found.items() if "_sluice" not in key}


@pytest.fixture(name="first")
def fixture_first(world, sluiced, redis):
    """Two days of a dataset that are stored, by a daemon that goes on; their batches."""
    data = world.dataset()
    batches = [data.batch([100, 70_000, 0], created=FIRST),
               data.batch([6 * MIB], created=FIRST + 1000),
               data.batch([500], created=FIRST + DAY)]
    data.batch([40], created=FIRST + 2000, status="failed")
    daemon = sluiced()
    daemon.start()
    committed(daemon, 3)
    drained(daemon, redis)
    return daemon, data, batches


def test_a_batch_and_a_day_once_more(first, redis, bucket, judge):
    """Generations lie beside the first, with the same bytes, and the first is not touched; while
    an order runs it is not taken again, after it it makes another generation."""
    daemon, data, batches = first
    before, stamps = contents(bucket), bucket.objects(PREFIX)
    redis.command("FCALL", "sluice_pause", 1, "sluice:", data.id, 1)
    job, one = ordered(order(redis, data.id, batches[0].id))
    assert order(redis, data.id, batches[0].id) == f"exists {job} pending"
    redis.command("LPUSH", "sluice:inbox", f"replay {data.id} 2024-02-01 2024-02-02")
    range_job = f"j/{data.id}/replay/{FIRST}-{FIRST + DAY}"
    wait_until(lambda: field(redis, range_job, "status") == "pending", 20, "the inbox is read")
    redis.command("FCALL", "sluice_pause", 1, "sluice:", data.id, 0)
    ended(redis, job)
    ended(redis, range_job)
    day = int(field(redis, range_job, "generation"))
    second, three = ordered(order(redis, data.id, batches[0].id))
    assert second == f"{job}/2" and three > one
    ended(redis, second)
    batch = {key: body for key, body in data_of(before).items() if batches[0].id in key}
    assert data_of(contents(bucket, one)) == data_of(contents(bucket, three)) == batch
    assert data_of(contents(bucket, day)) == {
        key: body for key, body in data_of(before).items() if "dt=2024-02-01" in key}
    head = json.loads(next(body for key, body in contents(bucket, day).items()
                           if "_sluice" in key))["sluice"]
    assert head["generation"] == day and head["dataset"] == data.id
    now = bucket.objects(PREFIX)
    assert {key: now[key] for key in stamps} == stamps, "the first generation is as it was"
    assert judge().looked["objects"] == 5 + 3 + 4 + 3
    assert field(redis, f"b/{data.id}/{one}/{batches[0].id}", "status") == "completed"
    status, problems, counts = report(daemon, "verify", "ds1")
    assert (status, problems) == (0, []) and counts["others"] > 10
    assert ctl(daemon, "audit")[0] == 0
    status, problems, counts = report(daemon, "verify", "ds1", "--generation", day, "--deep")
    assert (status, problems) == (0, []) and counts["manifests"] == 2 and counts["named"] == 4
    assert report(daemon, "verify", "ds1", "--generation", 7)[0] == 1


def test_what_cannot_be_replayed(first, redis, bucket):
    """A batch that Catalog does not know, or of another dataset: a dead letter that says so."""
    daemon, data, _ = first
    job, generation = ordered(order(redis, data.id, "01HNOBODY"))
    wait_until(lambda: field(redis, job, "status") == "failed", 30, "a dead letter")
    assert "Catalog has no batch 01HNOBODY" in field(redis, job, "error")
    assert order(redis, data.id, "01HNOBODY") == f"exists {job} failed"
    assert ctl(daemon, "audit")[0] == 0
    status, text = ctl(daemon, "replay", "ds1", "2024-02-01")
    assert status == 64 and "this is a time" in text
    assert ctl(daemon, "replay", "other", "B")[0] == 64
    assert not bucket.objects(folder(generation))
    status, text = ctl(daemon, "purge", "ds1", generation, "--confirm", generation)
    assert status == 75 and "still open" in text
    redis.command("FCALL", "sluice_cancel", 1, "sluice:", job)
    status, text = ctl(daemon, "purge", "ds1", generation, "--confirm", generation)
    assert status == 75 and "cancelled just now" in text


def test_kill_in_the_middle_of_a_replay(first, redis, bucket, sim, judge):
    """Another daemon finishes it."""
    daemon, data, batches = first
    sim.arm(f"slow:bytes_per_second={MIB}")
    status, text = ctl(daemon, "replay", "ds1", batches[1].id, "--json")
    answer = json.loads(text)
    assert status == 0 and answer["state"] == "queued"
    received = daemon.metric("sluice_received_bytes_total")
    wait_until(lambda: daemon.metric("sluice_received_bytes_total") > received + MIB, 30,
               "bytes arrive")
    daemon.kill9()
    sim.disarm()
    daemon.start()
    ended(redis, answer["job"])
    assert len(data_of(contents(bucket, answer["generation"]))) == 1
    judge(allow_uploads=1)


def test_files_change_under_a_replay(first, redis, bucket, sim, judge):
    """Its batch is listed anew, under the ids of its generation; the first one stays as it is."""
    daemon, data, batches = first
    before = contents(bucket)
    sim.arm("compaction:how=rename,endpoint=content")
    job, generation = ordered(order(redis, data.id, batches[0].id))
    ended(redis, job)
    assert sim.counters()["faults"]["compaction"] == 1
    assert redis.command("ZCARD", "sluice:dead") == "0"
    manifest = next(body for key, body in contents(bucket, generation).items()
                    if "_sluice" in key)
    assert {entry["sluice"]["name"] for entry in json.loads(manifest)["entries"]} == {
        f"v1_{file.name}" for _, file in batches[0].data()}
    assert contents(bucket) == before
    drained(daemon, redis)
    judge(allow_strays=True)


def test_redis_is_lost_in_the_middle_of_a_replay(first, redis, bucket, sim, judge):
    """The ledger brings back the job, with its generation; what is done is done."""
    daemon, data, batches = first
    done, _ = ordered(order(redis, data.id, batches[2].id))
    ended(redis, done)
    sim.arm(f"slow:bytes_per_second={MIB}")
    jobs = [ordered(order(redis, data.id, *what)) for what in (
        (batches[1].id,), ("2024-02-01", "2024-02-02"))]
    records = [f"{PREFIX}ds1/_sluice/jobs/replay/{generation}/{job.rsplit('/', 1)[1]}.json"
               for job, generation in jobs]
    wait_until(lambda: set(records) <= set(bucket.objects(PREFIX)), 30, "the jobs are recorded")
    redis.command("FLUSHALL")
    for job, generation in jobs:
        wait_until(lambda job=job: field(redis, job, "generation"), 30, "the job is back")
        assert int(field(redis, job, "generation")) == generation
    sim.disarm()
    for job, _ in jobs:
        ended(redis, job)
    assert redis.command("EXISTS", f"sluice:t:{done}") == "0", "done is done"
    assert len(data_of(contents(bucket, jobs[0][1]))) == 1
    assert len(data_of(contents(bucket, jobs[1][1]))) == 4
    drained(daemon, redis)
    judge(allow_uploads=3)


def test_purge_removes_one_generation(first, redis, bucket, judge):
    """It asks for a confirmation, waits for open tasks, and leaves all others alone."""
    daemon, data, batches = first
    kept_job, kept = ordered(order(redis, data.id, batches[0].id))
    ended(redis, kept_job)
    redis.command("FCALL", "sluice_pause", 1, "sluice:", data.id, 1)
    job, gone = ordered(order(redis, data.id, "2024-02-01", "2024-02-02"))
    status, text = ctl(daemon, "purge", "ds1", gone, "--confirm", gone)
    assert status == 75 and job in text and "still open" in text
    redis.command("FCALL", "sluice_pause", 1, "sluice:", data.id, 0)
    ended(redis, job)
    before = set(bucket.objects(PREFIX))
    status, text = ctl(daemon, "purge", "ds1", gone)
    assert status == 64 and f"sluicectl purge ds1 {gone} --confirm {gone}" in text
    assert ctl(daemon, "purge", "ds1", gone, "--confirm", kept)[0] == 64
    status, text = ctl(daemon, "purge", "ds1", 1, "--confirm", 1)
    assert status == 64 and "never purged" in text
    assert ctl(daemon, "purge", "ds1", "all", "--confirm", "all")[0] == 64
    assert set(bucket.objects(PREFIX)) == before, "nothing was deleted so far"
    doomed = {key for key in before
              if key.startswith(folder(gone)) or f"/jobs/replay/{gone}/" in key}
    assert len([key for key in doomed if "_sluice" not in key]) == 4
    keys = [f"{folder(gone)}dt=2024-02-01/left-{number}" for number in range(3)]
    keys += [f"{folder(kept)}dt=2024-02-01/left", f"{PREFIX}ds1/dt=2024-02-01/left"]
    for key in keys:
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)
    status, text = ctl(daemon, "purge", data.id, gone, "--confirm", gone, "--json")
    assert status == 0 and json.loads(text)["deleted"] == len(doomed) == 4 + 2 + 2
    assert json.loads(text)["aborted"] == 3 and json.loads(text)["uploads"] == 0
    assert bucket.uploads(PREFIX) == sorted(keys[3:]), "those of others stay"
    assert set(bucket.objects(PREFIX)) == before - doomed
    assert ctl(daemon, "purge", "ds1", gone, "--confirm", gone)[0] == 0, "it may be repeated"
    judge(allow_uploads=2)
    assert report(daemon, "verify", "ds1")[0] == 0
    assert report(daemon, "verify", "ds1", "--generation", kept)[0] == 0
    daemon.stop()
    redis.stop()
    status, text = ctl(daemon, "purge", "ds1", kept, "--confirm", kept)
    assert status == 69 and "redis.url" in text
    assert bucket.objects(folder(kept)), "who cannot ask must not delete"


@pytest.mark.parametrize("mode", ["commit", "sequential"])
def test_an_open_batch_does_not_hold_up_a_replay(mode, world, sim, sluiced, redis, judge):
    """In an ordered dataset, although the open one is older."""
    data, start = world.dataset(), now_ms() - 60_000
    stored = data.batch([1000], created=start)
    daemon = sluiced()
    daemon.config["datasets"][0]["order"] = mode
    daemon.start()
    committed(daemon, 1)
    late = data.batch([10], created=start - 1000, status="loading")
    sim.add(late)
    wait_until(lambda: redis.command("ZSCORE", f"sluice:order:{data.id}", f"b/{data.id}/{late.id}"),
               30, "it is in the order")
    job, generation = ordered(order(redis, data.id, stored.id))
    ended(redis, job)
    assert field(redis, f"b/{data.id}/{generation}/{stored.id}", "files") == "1"
    assert field(redis, f"b/{data.id}/{late.id}", "status") != "completed"
    assert ctl(daemon, "audit")[0] == 0
    judge()
