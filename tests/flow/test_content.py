# SPDX-License-Identifier: Apache-2.0
"""What the source sends is looked at on its way: files that are not what they say they are, and
files that are renamed, merged or replaced between their listing and the last of their bytes."""
import json
import re

import pytest

from ground import now_ms
from matrix_rig import all_well, fixture_aep_line, tasks  # pylint: disable=unused-import
from test_recovery import (  # pylint: disable=unused-import
    aep_relay, field, upload_of)
from test_tail import committed, drained
from world import wait_until

MIB = 1 << 20
BIG = 11 * MIB
PATIENCE_S = 60
MAGIC_TEXT = ("is not a Parquet file: expected magic number at tail [80, 65, 82, 49] but found "
              "[80, 65, 82, 48]")


def given_up(redis, batch):
    """The only dead letter of a batch, once the batch has failed."""
    task = f"b/{batch.dataset}/{batch.id}"
    wait_until(lambda: field(redis, task, "status") == "failed", PATIENCE_S, "it has failed")
    return redis.command("SMEMBERS", f"sluice:dead:{task}")


def manifests(bucket):
    """{batch: {(file id, name)}} of all manifests."""
    found = {}
    for key in bucket.objects("lake/"):
        if "/manifests/" in key:
            text = json.loads(b"".join(bucket.read(key)))
            found[text["sluice"]["batch"]] = {
                (entry["sluice"]["file_id"], entry["sluice"]["name"]) for entry in text["entries"]}
    return found


def listed(sim, batch):
    """What the source lists of a batch now, in the same form."""
    truth = next(item for item in sim.truth()["batches"] if item["id"] == batch.id)
    return {(directory["id"], file["name"]) for directory in truth["files"]
            for file in directory["files"]}


# ---- files that are not what their names say


@pytest.mark.parametrize("name, size, at", [
    ("a.parquet", 1234, -1), ("b.parquet", BIG, -1), ("c.parquet", BIG, 0),
    ("d.snappy.parquet", 5 * MIB + 3, -5), ("e.csv", 1234, -1)])
def test_corrupt_for_a_moment(name, size, at, world, sim, sluiced, redis, judge):
    """Read once more from its first byte, and right then."""
    world.dataset().batch([(name, size)])
    sim.start()
    sim.arm(f"bit_flip:at={at}")
    daemon = sluiced(transfer={"lanes": 1})
    daemon.start()
    all_well(daemon, redis, judge, 1, timeout_s=PATIENCE_S)
    assert daemon.metric("sluice_corrupt_files_total") == 1
    assert daemon.metric("sluice_ends_read_total") == 0
    sent = sim.counters()["bytes"]
    assert sent >= size + min(size, 5 * MIB), "not all of it was read again"


@pytest.mark.parametrize("size", [1234, BIG])
def test_corrupt_for_good(size, world, sim, sluiced, redis, bucket, judge):
    """After the second time a dead letter that says what is wrong; no object, no upload, no
    manifest. An operator's retry makes it good when the source is."""
    data = world.dataset()
    batch = data.batch([("contact.parquet", size), 500], expect="none")
    sim.start()
    sim.arm("bit_flip:times=0,match=contact")
    daemon = sluiced()
    daemon.start()
    dead = given_up(redis, batch)
    assert field(redis, dead, "class") == "corrupt"
    assert field(redis, dead, "attempts") == "2"
    assert field(redis, dead, "error") == f"contact.parquet {MAGIC_TEXT}"
    assert daemon.metric("sluice_corrupt_files_total") == 2
    assert not [key for key in bucket.objects("lake/") if "contact" in key]
    assert "Uploads" not in bucket.client.list_multipart_uploads(Bucket=bucket.name)
    judge(allow_strays=True)  # no manifest
    sim.disarm()
    redis.command("FCALL", "sluice_retry", 1, "sluice:", f"b/{data.id}/{batch.id}")
    committed(daemon, 1, PATIENCE_S)
    drained(daemon, redis)
    assert manifests(bucket)[batch.id] == listed(sim, batch)


def test_what_is_looked_at_is_configured(world, sim, sluiced, redis, bucket):
    """Text without a last line feed passes with `magic`, a false Parquet file only with `off`."""
    data = world.dataset()
    data.batch([("a.csv", 1000), ("b.json", BIG), ("c.csv.gz", 50), ("_SUCCESS", 0),
                ("d.json", 0), ("e.parquet", 0)])
    sim.start()
    sim.arm("bit_flip:times=0,match=csv bit_flip:times=0,match=json")
    daemon = sluiced()
    for dataset in daemon.config["datasets"]:
        dataset["check"] = "magic"
    daemon.start()
    committed(daemon, 1, PATIENCE_S)
    drained(daemon, redis)
    batch = data.batch([("f.parquet", 1000)], created=now_ms())
    daemon.stop()
    daemon.config["datasets"][0]["check"] = "off"
    daemon.start()
    sim.arm("bit_flip:times=0,match=parquet")
    sim.add(batch)
    committed(daemon, 1, PATIENCE_S)
    assert daemon.metric("sluice_corrupt_files_total") == 0
    assert len(manifests(bucket)) == 2


@pytest.mark.parametrize("known", [True, False], ids=["recorded", "record-lost"])
def test_ends_survive_a_crash(known, world, sim, sluiced, redis, bucket, judge):
    """The head passed in the life before: it is on record, or four bytes are read again."""
    world.dataset().batch([("big.parquet", 24 * MIB)])
    sim.start()
    sim.arm(f"slow:bytes_per_second={8 * MIB}")
    daemon = sluiced(transfer={"lanes": 1})
    daemon.start()
    upload_of(redis, bucket)
    daemon.kill9()
    task, = tasks(redis, "f")
    assert field(redis, task, "ends").startswith("50415231--------")
    if not known:
        redis.command("HDEL", f"sluice:t:{task}", "ends")
    daemon.start()
    all_well(daemon, redis, judge, 1, timeout_s=PATIENCE_S)
    assert daemon.metric("sluice_ends_read_total") == (0 if known else 1)
    assert daemon.metric("sluice_parts_resumed_total") >= 1


@pytest.mark.parametrize("fault", [
    "chunked_body:times=3", "gzip_body:times=2", "wrong_content_type:times=0",
    "no_content_range:times=2", "html_200:times=2,endpoint=content",
    "full_200_to_range:times=3 wrong_content_type:times=3",
    "cut_off:times=2,seconds=0 slow:bytes_per_second=8000000"])
def test_answers_of_many_kinds(fault, world, sim, sluiced, redis, judge):
    """None of them is taken for what it is not, none of them is fatal."""
    world.dataset().batch([3000, BIG, ("lines.json", 70_000)])
    sim.start()
    sim.arm(fault)
    daemon = sluiced(transfer={"lanes": 1})
    daemon.start()
    all_well(daemon, redis, judge, 1, timeout_s=PATIENCE_S)
    assert all(sim.counters()["faults"].values())
    assert daemon.metric("sluice_corrupt_files_total") == 0


@pytest.mark.slow
def test_stall_in_the_middle(world, sim, sluiced, redis, judge):
    """Half of a body, then nothing: it goes on at the byte it reached."""
    world.dataset().batch([BIG])
    sim.start()
    sim.arm("stall:seconds=3600")
    daemon = sluiced(transfer={"lanes": 1})
    daemon.start()
    all_well(daemon, redis, judge, 1, timeout_s=90)
    assert sim.counters()["bytes"] < BIG + 3 * MIB


# ---- files renamed, merged or replaced under us


def halfway(daemon, files):
    """Waits until so many files are stored."""
    wait_until(lambda: daemon.metric("sluice_files_stored_total") >= files, PATIENCE_S,
               f"{files} files stored", 0.01)


@pytest.mark.parametrize("kill", [False, True], ids=["", "kill"])
@pytest.mark.parametrize("change", ["rename_files", "compact"])
def test_files_change_while_they_are_copied(change, kill, world, sim, sluiced, redis, bucket,
                                            judge):
    """The batch is listed anew. Its manifest names what is there now, and nothing else; objects
    of files that have gone are strays, and are counted."""
    data = world.dataset()
    batch = data.batch(directories=[[100_000 + number for number in range(8)],
                                    [8 * MIB, 200_000]])
    sim.start()
    sim.arm(f"slow:bytes_per_second={MIB}")
    daemon = sluiced(transfer={"files": 3, "lanes": 1})
    daemon.start()
    halfway(daemon, 2)
    getattr(sim, change)(batch)
    if kill:
        daemon.kill9()
    sim.disarm()
    if kill:
        daemon.start()
    committed(daemon, 1, PATIENCE_S)
    drained(daemon, redis)
    assert manifests(bucket) == {batch.id: listed(sim, batch)}
    assert redis.command("ZCARD", "sluice:dead") == "0"
    assert daemon.metric("sluice_stray_objects_total") >= 2
    judge(allow_strays=True, allow_uploads=2)


def test_upload_of_a_renamed_file_goes(world, sim, sluiced, redis, bucket, judge):
    """A file of many parts is renamed in the middle: its upload is aborted, not left to time."""
    batch = world.dataset().batch([("big.parquet", 24 * MIB)])
    sim.start()
    sim.arm(f"slow:bytes_per_second={8 * MIB}")
    daemon = sluiced(transfer={"lanes": 1})
    daemon.start()
    _, upload = upload_of(redis, bucket)
    sim.rename_files(batch)
    all_well(daemon, redis, judge, 1, timeout_s=PATIENCE_S, allow_uploads=0)
    assert manifests(bucket) == {batch.id: listed(sim, batch)}
    assert daemon.metric("sluice_stray_objects_total") == 0
    assert upload not in str(bucket.client.list_multipart_uploads(Bucket=bucket.name))


def test_names_change_between_the_pages_of_a_listing(world, sim, aep_line, redis, bucket, judge):
    """The first page is void when the last one arrives, and its files are copied already."""
    data = world.dataset()
    batch = data.batch([100 + number for number in range(30)])
    world.options["page_max"] = 10
    relay, daemon = aep_line()
    changed = []

    def rename(request):
        second = re.search(rb"GET \S*/files/\S*start=20", request)
        if second and not changed:
            halfway(daemon, 10)
            sim.rename_files(batch)
            changed.append(True)
        return request

    relay.up = rename
    daemon.start()
    committed(daemon, 1, PATIENCE_S)
    drained(daemon, redis)
    assert changed
    assert manifests(bucket) == {batch.id: listed(sim, batch)}
    judge(allow_strays=True)


def test_files_that_change_all_the_time(world, sim, aep_line, redis, bucket, judge):
    """Renamed whenever one of them is asked for: the batch waits for the source to rest."""
    data = world.dataset()
    batch = data.batch([1000])
    relay, daemon = aep_line()
    turns = []

    def rename(request):
        if b"?path=" in request.split(b"\r\n")[0] and len(turns) < 4:
            turns.append(True)
            sim.rename_files(batch)
        return request

    relay.up = rename
    daemon.start()
    all_well(daemon, redis, judge, 1, timeout_s=PATIENCE_S)
    assert len(turns) == 4
    assert manifests(bucket) == {batch.id: listed(sim, batch)}


def test_a_listing_that_stays_short_is_taken_with_a_warning(world, sim, sluiced, bucket):
    """Catalog counts two files, one is listed: doubted while its index may lag, then believed."""
    batch = world.dataset().batch([10, 20])
    sim.start()
    sim.arm("files_partial:endpoint=files,calls=99")
    daemon = sluiced(aep={"short_listing": "2s"})
    daemon.start()
    committed(daemon, 1, PATIENCE_S)
    assert daemon.metric("sluice_short_listings_total") == 1
    assert len(manifests(bucket)[batch.id]) == 1
    assert "listing stays short files=1 expected=2" in daemon.tail()
    assert sim.counters()["requests"]["files"] >= 3
