# SPDX-License-Identifier: Apache-2.0
"""sluicectl verify: a bucket that the daemon filled is proven, and each planted damage is found,
named, and shows in the exit status."""
import json
import os
import pathlib
import re
import socket
import subprocess

import pytest

from conftest import PREFIX
from ground import now_ms
from relay import Answer, Relay, http_answer
from test_tail import committed, drained
from world import Sluiced

MIB = 1 << 20
BINARY = os.environ.get("SLUICECTL", str(pathlib.Path(Sluiced.binary).with_name("sluicectl")))
DAY = 86_400_000
FIRST = 1_706_745_600_000  # 2024-02-01


def ctl(daemon, *words, timeout_s=60):
    """(exit status, text) of a command with the daemon's configuration."""
    done = subprocess.run([BINARY, "--config", str(daemon.file), *map(str, words)],
                          capture_output=True, text=True, timeout=timeout_s, check=False)
    print(done.stdout, done.stderr)
    return done.returncode, done.stdout + done.stderr


def report(daemon, *words, **more):
    """(exit status, problems, counts) by --json."""
    status, text = ctl(daemon, *words, "--json", **more)
    document = json.loads(text)
    assert document["exit"] == status
    problems = [(one["kind"], one["subject"], one["text"]) for one in document["problems"]]
    return status, problems, document["counts"]


@pytest.fixture(name="filled")
def fixture_filled(world, sim, sluiced, redis):
    """A daemon that has copied three days of batches and is stopped."""
    data = world.dataset()
    for day in range(3):
        data.batch([100, 70_000, 0], created=FIRST + day * DAY)
        data.batch([6 * MIB + day], created=FIRST + day * DAY + 1000)
    data.batch([], created=FIRST + 5000)
    data.batch([40], created=FIRST + 6000, status="failed")
    data.sub_batch(next(iter(world.batches.values())))
    daemon = sluiced()
    daemon.start()
    committed(daemon, 7)
    drained(daemon, redis)
    daemon.stop()
    return daemon


def keys(bucket, part):
    """Keys that contain `part`, in order."""
    return sorted(key for key in bucket.objects(PREFIX) if part in key)


def manifests(bucket):
    """Keys of manifests."""
    return keys(bucket, "/_sluice/manifests/")


def small(bucket):
    """The key of an object of 100 bytes of the first day."""
    objects = bucket.objects(PREFIX)
    return next(key for key in keys(bucket, "dt=2024-02-01/")
                if objects[key][0] == 100 and "_sluice" not in key)


def put(bucket, key, body):
    """Writes an object behind the daemon's back."""
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=body)


def delete(bucket, key):
    """Removes one."""
    bucket.client.delete_object(Bucket=bucket.name, Key=key)


def body_of(bucket, key):
    """All bytes of an object."""
    return b"".join(bucket.read(key))


# ---- nothing is wrong


@pytest.mark.parametrize("deep", [False, True])
def test_clean(deep, filled):
    """All is right; what was proven, and how, is counted."""
    status, problems, counts = report(filled, "verify", "ds1", *(["--deep"] if deep else []))
    assert status == 0 and not problems
    assert counts["manifests"] == 7 and counts["named"] == 12 and counts["batches"] == 7
    assert counts["expired"] == 0 and counts["newer"] == 0
    assert counts["by-reading"] == (12 if deep else 0)
    # This store keeps no checksums, and that must not pass for a proof.
    assert counts["by-size"] == (0 if deep else 12) and counts["by-store"] == 0


def test_clean_as_a_table(filled):
    """For people, and by the dataset's id."""
    status, text = ctl(filled, "verify", filled.config["datasets"][0]["id"])
    assert status == 0
    assert re.search(r"^ +7  manifests ", text, re.M)
    assert re.search(r"^ +12  by-size .*--deep", text, re.M)
    assert text.endswith("all is right\n")


def test_range(filled, bucket):
    """Only what was created in the range is proven; its days alone are listed."""
    status, _, counts = report(filled, "verify", "ds1", "2024-02-02", "2024-02-03")
    assert status == 0 and counts["manifests"] == 2 and counts["batches"] == 2
    assert counts["objects"] == 4
    delete(bucket, small(bucket))
    assert report(filled, "verify", "ds1", "2024-02-02", "2024-02-04")[0] == 0
    assert report(filled, "verify", "ds1", "2024-02-01T00:00:00Z", "2024-02-01T00:00:01Z")[0] == 1
    assert report(filled, "verify", "ds1", "2024-02-01T00:00:01Z", "2024-02-02")[0] == 0


def test_start_of_the_dataset(filled, bucket):
    """Batches from before it need no manifest; the manifests that there are must be right."""
    filled.config["datasets"][0]["start"] = "2024-02-02"
    filled.launch("--check-config").process.wait(10)
    delete(bucket, manifests(bucket)[0])
    status, problems, counts = report(filled, "verify", "ds1")
    assert status == 1 and {problem[0] for problem in problems} <= {"extra"}
    assert counts["manifests"] == 6 and counts["batches"] == 4 and counts["expired"] == 0
    delete(bucket, small(bucket))
    _, problems, _ = report(filled, "verify", "ds1")
    assert {problem[0] for problem in problems} & {"missing", "extra"}


def test_end_of_the_dataset(filled, bucket):
    """Batches created from it on need no manifest, in a range neither; what there is must be
    right."""
    filled.config["datasets"][0]["end"] = "2024-02-03"
    filled.launch("--check-config").process.wait(10)
    delete(bucket, manifests(bucket)[-1])
    status, problems, counts = report(filled, "verify", "ds1")
    assert status == 1 and {problem[0] for problem in problems} == {"extra"}
    assert counts["manifests"] == 6 and counts["batches"] == 5 and counts["expired"] == 0
    for key in keys(bucket, "/dt=2024-02-03/"):
        delete(bucket, key)
    assert report(filled, "verify", "ds1")[:2] == (0, [])
    assert report(filled, "verify", "ds1", "2024-02-02", "2024-02-04")[:2] == (0, [])
    delete(bucket, manifests(bucket)[0])
    assert report(filled, "verify", "ds1")[0] == 1


def test_other_layout(world, sim, sluiced, redis):
    """Templates without a folder per day are listed whole, and a range is one all the same."""
    data = world.dataset()
    for day in range(3):
        data.batch([100], created=FIRST + day * DAY)
    daemon = sluiced(s3={"manifest": "{prefix}{dataset}/_sluice/manifests/{batch}.json"})
    daemon.config["datasets"][0]["key"] = "{prefix}{dataset}/{batch}/{created:%H}/{name}"
    daemon.start()
    committed(daemon, 3)
    drained(daemon, redis)
    daemon.stop()
    status, _, counts = report(daemon, "verify", "ds1", "2024-02-02", "2024-02-03")
    assert status == 0 and counts["manifests"] == 1
    daemon.config["datasets"][0]["key"] = "{prefix}{dataset}-{batch}/{file_id}-{name}"
    daemon.launch("--check-config").process.wait(10)
    status, problems, _ = report(daemon, "verify", "ds1")
    assert status == 69 and [kind for kind, _, _ in problems] == ["unchecked"]


# ---- something is wrong


def one_problem(filled, *words):
    """The only problem, with exit status 1."""
    status, problems, _ = report(filled, "verify", "ds1", *words)
    assert status == 1 and len(problems) == 1
    return problems[0]


def test_object_deleted(filled, bucket):
    """It is named, and the batch that misses it."""
    key = small(bucket)
    delete(bucket, key)
    kind, subject, text = one_problem(filled)
    assert (kind, subject) == ("missing", key) and "batch 01" in text


def test_object_of_other_size(filled, bucket):
    """Both sizes are said."""
    key = small(bucket)
    put(bucket, key, b"x" * 99)
    kind, subject, text = one_problem(filled)
    assert (kind, subject) == ("mismatch", key) and "99 bytes" in text and "says 100" in text


def test_object_with_other_bytes(filled, bucket):
    """Same size: without a checksum of the store only its bytes tell."""
    key = small(bucket)
    put(bucket, key, b"x" * 100)
    status, problems, counts = report(filled, "verify", "ds1")
    assert status == 0 and not problems and counts["by-size"] == 12
    kind, subject, text = one_problem(filled, "--deep")
    assert (kind, subject) == ("mismatch", key) and "of its bytes" in text


def test_large_object_with_other_bytes(filled, bucket):
    """One byte in the last range of a multipart upload."""
    key = next(key for key, (size, _) in bucket.objects(PREFIX).items() if size > 6 * MIB)
    body = bytearray(body_of(bucket, key))
    body[-1] ^= 1
    put(bucket, key, bytes(body))
    assert one_problem(filled, "--deep")[:2] == ("mismatch", key)


def test_object_that_says_it_was_another_upload(filled, bucket):
    """The daemon's note of the checksum differs: the object was written by somebody else."""
    key = small(bucket)
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=b"x" * 100,
                             Metadata={"sluice-crc32c": "00000001"})
    kind, subject, text = one_problem(filled)
    assert (kind, subject) == ("mismatch", key) and "noted when it was sent" in text


def test_store_that_knows_checksums(filled, bucket, rgw):
    """Its CRC-32C decides without reading a byte."""
    key = small(bucket)

    def tell(answer):
        if not re.search(rb"\r\nContent-Length: (0|100)\r\n", answer, re.I):
            return answer
        return re.sub(rb"\r\nDate:", b"\r\nx-amz-checksum-crc32c: AAAAAA==\r\nDate:", answer)

    with Relay(rgw.endpoint) as relay:
        filled.config["s3"]["endpoint"] = f"http://{relay.address}"
        relay.down = tell
        filled.launch("--check-config").process.wait(10)
        status, problems, counts = report(filled, "verify", "ds1", "2024-02-01", "2024-02-02")
    assert status == 1 and [problem[:2] for problem in problems] == [("mismatch", key)]
    assert counts["by-store"] == 1  # the empty object: its CRC-32C is 0 indeed


def test_manifest_deleted(filled, bucket):
    """The batch is missing, and its objects belong to nobody."""
    key = manifests(bucket)[0]
    count = body_of(bucket, key).count(b"\"mandatory\"")
    delete(bucket, key)
    status, problems, _ = report(filled, "verify", "ds1")
    assert status == 1
    batch = key.rsplit("/", 1)[1].removesuffix(".json")
    lacks = [problem for problem in problems if problem[0] == "missing"]
    assert [problem[1] for problem in lacks] == [batch] and "sluice_show" in lacks[0][2]
    assert sum(problem[0] == "extra" for problem in problems) == count


@pytest.mark.parametrize("old,new", [
    (rb'"content_length":100', b'"content_length":101'),  # a wrong sum
    (rb"\n\]", b" \n]"),
    (rb'"version":1', b'"version":1,"zebra":1'),
    (rb'"created":\d', b'"created":2'),
    (rb'"dataset":"', b'"dataset":"x'),
    (rb'"sandbox":"prod"', b'"sandbox":"dev"'),
    (rb"s3://[a-z]+", b"s3://other"),
    (rb"\{.*", b"[1"),
])
def test_manifest_edited(old, new, filled, bucket):
    """Whatever is changed in it."""
    key = next(key for key in manifests(bucket) if b"length\":100}" in body_of(bucket, key))
    body, times = re.subn(old, new, body_of(bucket, key), count=1, flags=re.S)
    assert times == 1
    put(bucket, key, body)
    status, problems, _ = report(filled, "verify", "ds1")
    assert status == 1
    assert [one[1] for one in problems if one[0] == "mismatch"] == [key]
    assert {one[0] for one in problems} == {"mismatch", "extra"}


def test_object_named_twice(filled, bucket):
    """Two manifests name one object."""
    first, second = (key for key in manifests(bucket)
                     if b"length\":629" in body_of(bucket, key) and "dt=2024-02-03" not in key)
    row = re.compile(rb"\n\{.*\}\n\]", re.S)
    taken = row.search(body_of(bucket, second))[0]
    edited = row.sub(lambda _: taken, body_of(bucket, first))
    edited = re.sub(rb'"bytes":\d+', b'"bytes":%d' % (6 * MIB + 1), edited)
    put(bucket, first, edited)
    _, problems, _ = report(filled, "verify", "ds1")
    assert any(one[0] == "mismatch" and "by another manifest" in one[2] for one in problems)


@pytest.mark.parametrize("name", [
    "dt=2024-02-01/stray", "odd/with blank+%41&\u00e9\x01", "_sluicex/thing"])
def test_stray(name, filled, bucket):
    """An object that no manifest names."""
    key = f"{PREFIX}ds1/{name}"
    put(bucket, key, b"?")
    assert one_problem(filled)[:2] == ("extra", key)


def test_housekeeping_is_no_stray(filled, bucket):
    """What the daemon keeps for itself."""
    put(bucket, f"{PREFIX}ds1/_sluice/tail.json", b"{}")
    put(bucket, f"{PREFIX}ds2/other", b"another dataset")
    assert report(filled, "verify", "ds1")[0] == 0


@pytest.mark.slow
def test_many_pages(filled, bucket):
    """More objects than a page of the listing holds."""
    for number in range(260):
        put(bucket, f"{PREFIX}ds1/many/{number:03}", b"")
    status, problems, counts = report(filled, "verify", "ds1")
    assert status == 1 and counts["objects"] == 12 + 7 + 260
    assert [one[0] for one in problems] == ["extra"] * 260


# ---- what AEP says


def test_batch_that_was_never_copied(filled, world, sim):
    """Readable in Catalog, without a manifest."""
    dataset = next(iter(world.datasets.values()))
    batch = dataset.batch([10], created=FIRST + 7000)
    sim.add(batch)
    assert one_problem(filled)[:2] == ("missing", batch.id)
    assert report(filled, "verify", "ds1", "2024-02-02", "2024-02-04")[0] == 0


def test_batch_that_expired(filled, sim, bucket):
    """AEP forgets batches; that is counted and no fault."""
    sim.stop()
    sim.world.batches = dict(list(sim.world.batches.items())[2:])
    sim.start()
    filled.config["aep"] |= {"endpoint": sim.endpoint, "ims_endpoint": sim.endpoint}
    filled.launch("--check-config").process.wait(10)
    status, problems, counts = report(filled, "verify", "ds1")
    assert status == 0 and not problems and counts["expired"] == 2
    assert len(manifests(bucket)) == 7


# ---- what cannot be checked


def dead_port():
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def reconfigure(daemon, section, **members):
    """Changes the configuration file of a stopped daemon."""
    daemon.config[section] |= members
    daemon.launch("--check-config").process.wait(10)


@pytest.mark.slow
def test_aep_unreachable(filled):
    """The bucket is proven, Catalog is not compared."""
    place = f"http://127.0.0.1:{dead_port()}"
    reconfigure(filled, "aep", endpoint=place, ims_endpoint=place)
    status, problems, counts = report(filled, "verify", "ds1")
    assert status == 69 and counts["manifests"] == 7 and counts["batches"] == 0
    assert [problem[:2] for problem in problems] == [("unchecked", "Catalog")]


@pytest.mark.slow
def test_aep_unreachable_and_damage(filled, bucket):
    """What is known to be wrong weighs more."""
    delete(bucket, small(bucket))
    place = f"http://127.0.0.1:{dead_port()}"
    reconfigure(filled, "aep", endpoint=place, ims_endpoint=place)
    assert report(filled, "verify", "ds1")[0] == 1


def test_aep_stumbles(filled, sim):
    """Single failures of Catalog are repeated."""
    sim.arm("error_503:times=2,endpoint=batches")
    assert report(filled, "verify", "ds1")[0] == 0


@pytest.mark.slow
def test_store_unreachable(filled):
    """Nothing can be said, and the end comes soon."""
    reconfigure(filled, "s3", endpoint=f"http://127.0.0.1:{dead_port()}")
    status, problems, _ = report(filled, "verify", "ds1")
    assert status == 69
    assert {problem[0] for problem in problems} == {"unchecked"} and len(problems) == 3


def refusing(rgw, part, status=403):
    """A relay that refuses requests whose first line contains `part`."""
    relay = Relay(rgw.endpoint)

    def check(request):
        if re.match(part, request):
            raise Answer(http_answer(status))
        return request

    relay.up = check
    return relay


def test_head_refused(filled, rgw):
    """403 is neither there nor absent."""
    with refusing(rgw, rb"HEAD .*dt%3D2024-02-02/") as relay:
        reconfigure(filled, "s3", endpoint=f"http://{relay.address}")
        status, problems, counts = report(filled, "verify", "ds1")
    assert status == 69 and counts["by-size"] == 8
    assert [problem[0] for problem in problems] == ["unchecked"] * 4
    assert all("grant s3:GetObject" in problem[2] for problem in problems)


def test_manifest_refused(filled, rgw):
    """Then nothing can be called a stray either."""
    with refusing(rgw, rb"GET .*manifests/dt%3D2024-02-02/.*json ") as relay:
        reconfigure(filled, "s3", endpoint=f"http://{relay.address}")
        status, problems, _ = report(filled, "verify", "ds1")
    assert status == 69 and {problem[0] for problem in problems} == {"unchecked"}
    assert len(problems) == 3 and "strays" in problems[-1][2]


def test_everything_refused(world, sim, sluiced, redis, rgw):
    """Gives up instead of asking for each of many objects."""
    data = world.dataset()
    data.batch([10] * 300)
    daemon = sluiced()
    daemon.start()
    committed(daemon, 1)
    drained(daemon, redis)
    daemon.stop()
    with refusing(rgw, rb"HEAD ") as relay:
        reconfigure(daemon, "s3", endpoint=f"http://{relay.address}")
        status, problems, _ = report(daemon, "verify", "ds1")
    assert status == 69 and len(problems) < 150 and "gave up" in problems[-1][2]


# ---- beside a daemon at work


def test_beside_a_daemon(world, sim, sluiced, redis):
    """A range that is complete stays proven while newer batches arrive."""
    data = world.dataset()
    for number in range(30):
        data.batch([100], created=FIRST + number)
    daemon = sluiced()
    daemon.start()
    committed(daemon, 30)
    now = now_ms()
    sim.add(*(data.batch([200_000] * 5, created=now + number) for number in range(40)))
    for _ in range(3):
        assert report(daemon, "verify", "ds1", "2024-02-01", "2024-02-02")[0] == 0
    committed(daemon, 70)
    drained(daemon, redis)
    assert report(daemon, "verify", "ds1")[0] == 0


# ---- the command line


@pytest.mark.parametrize("words", [
    (), ("nonsense",), ("verify",), ("verify", "nope"), ("verify", "ds1", "2024-02-01"),
    ("verify", "ds1", "2024-02-02", "2024-02-01"), ("verify", "ds1", "yesterday", "2024-02-01"),
    ("verify", "ds1", "--depp"), ("audit", "ds1"), ("audit", "--deep"),
])
def test_usage(words, world, sluiced):
    """Exit status 64 and a hint."""
    world.dataset()
    daemon = sluiced()
    daemon.launch("--check-config").process.wait(10)
    status, text = ctl(daemon, *words)
    assert status == 64 and ("usage:" in text or "sluicectl" in text)


def test_configuration(world, sluiced, place):
    """Exit status 78, with the place of the mistake, or the missing file."""
    world.dataset()
    daemon = sluiced(aep={"client_secret_file": str(place / "nowhere")})
    daemon.launch("--check-config").process.wait(10)
    status, text = ctl(daemon, "verify", "ds1")
    assert status == 78 and "nowhere" in text
    daemon.file.write_text("s3: 7\n", encoding="utf-8")
    status, text = ctl(daemon, "verify", "ds1")
    assert status == 78 and "sluice.yaml:1" in text


def test_help_and_version():
    """Both go to standard output."""
    for option, start in (("--help", "usage: sluicectl"), ("--version", "sluicectl ")):
        done = subprocess.run([BINARY, option], capture_output=True, text=True, check=True)
        assert done.stdout.startswith(start) and not done.stderr
