# SPDX-License-Identifier: Apache-2.0
"""The oracle accepts a right bucket and notices each way in which one can be wrong."""
import datetime
import json

import pytest

from bucket import Bucket
from ground import BASE_MS, ODD_NAMES, World
from oracle import Oracle, encode_segment, main

PREFIX = "lake/"
LATER = datetime.datetime(2024, 3, 1, 12, 0, 2, tzinfo=datetime.timezone.utc)
EARLY = LATER - datetime.timedelta(seconds=2)


class FakeBucket:
    """A bucket in a dict: key -> [bytes, last modified]."""

    name = "target"

    def __init__(self):
        self.stored = {}
        self.left = []

    def put(self, key, data, modified=EARLY):
        """Stores an object."""
        self.stored[key] = [data, modified]

    def objects(self, prefix):
        """As Bucket.objects"""
        return {key: (len(data), modified) for key, (data, modified) in self.stored.items()
                if key.startswith(prefix)}

    def uploads(self, _prefix):
        """As Bucket.uploads"""
        return self.left

    def read(self, key):
        """As Bucket.read, in pieces of an odd size."""
        data = self.stored[key][0]
        for offset in range(0, len(data), 3333):
            yield data[offset:offset + 3333]


def manifest_of(batch, bucket_name, sandbox="prod", generation=1):
    """A right manifest, as data."""
    entries, folder = [], "" if generation == 1 else f"_generation={generation}/"
    for file_id, file in batch.data():
        key = f"{PREFIX}ds1/{folder}{encode_segment(file_id)}-{encode_segment(file.name)}"
        entries.append({
            "mandatory": True, "meta": {"content_length": file.size},
            "sluice": {"crc32c": f"{file.content().crc32c():08x}", "file_id": file_id,
                       "name": file.name},
            "url": f"s3://{bucket_name}/{key}"})
    sizes = [file.size for _, file in batch.data()]
    head = {"batch": batch.id, "bytes": sum(sizes), "created": batch.created,
            "dataset": batch.dataset, "files": len(sizes), "generation": generation,
            "sandbox": sandbox, "version": 1}
    return {"entries": sorted(entries, key=lambda entry: entry["url"]), "sluice": head}


def manifest_key(batch, folder=""):
    """Where it belongs; all batches of these worlds are from one day."""
    return f"{PREFIX}ds1/{folder}_sluice/manifests/dt=2024-02-01/{encode_segment(batch.id)}.json"


def deliver(batch, put, bucket_name, generation=1):
    """Objects and manifest, as a faultless daemon leaves them."""
    manifest = manifest_of(batch, bucket_name, generation=generation)
    files = {(file_id, file.name): file for file_id, file in batch.data()}
    for entry in manifest["entries"]:
        file = files[entry["sluice"]["file_id"], entry["sluice"]["name"]]
        key = entry["url"].removeprefix(f"s3://{bucket_name}/")
        put(key, file.content().read(0, file.size))
    return manifest


def dump(manifest, sort=True):
    """The bytes of a manifest."""
    return json.dumps(manifest, sort_keys=sort, ensure_ascii=False).encode()


def small_world():
    """Two readable batches with all kinds of names, and others that must have no manifest."""
    world = World()
    dataset = world.dataset("d1")
    parent = dataset.batch(directories=[[(name, 4000) for name in ODD_NAMES], [0, 10_000]])
    dataset.batch([5000, 7000, ("_SUCCESS", 0), ("a=1/.hidden", 0)], form="uuid")
    dataset.batch()
    dataset.batch([1], status="loading")
    dataset.batch([1], status="failed")
    dataset.sub_batch(parent)
    return world


class Scene:
    """A right bucket, to be spoilt: `manifests` is written when judge() is called."""

    def __init__(self):
        self.world = small_world()
        self.bucket = FakeBucket()
        self.batches = list(self.world.batches.values())
        self.manifests = {manifest_key(batch): deliver(batch, self.bucket.put, "target")
                          for batch in self.batches if batch.expected() == "one"}
        self.sort = True

    @property
    def one(self):
        """The manifest of the second batch: two plain files."""
        return self.manifests[manifest_key(self.batches[1])]

    @property
    def object_key(self):
        """The key of its first file."""
        return self.one["entries"][0]["url"].removeprefix("s3://target/")

    def judge(self, **options):
        """The oracle's verdict."""
        for key, manifest in self.manifests.items():
            self.bucket.put(key, dump(manifest, self.sort), LATER)
        return Oracle(self.world.to_json(), self.bucket, prefix=PREFIX, names={"d1": "ds1"},
                      **options).judge()


@pytest.fixture
def scene():
    """A right bucket."""
    return Scene()


def test_a_right_bucket_is_accepted(scene):
    scene.bucket.put(PREFIX + "_sluice/probe", b"x")
    verdict = scene.judge()
    assert verdict.ok, verdict.table()
    assert verdict.looked["bytes"] == len(ODD_NAMES) + 4
    assert "WRONG" not in verdict.table()


def lose_manifest(scene):
    del scene.manifests[manifest_key(scene.batches[1])]


def commit_open_batch(scene):
    batch = scene.batches[3]
    scene.manifests[manifest_key(batch)] = deliver(batch, scene.bucket.put, "target")


def commit_sub_batch(scene):
    batch = scene.batches[5]
    scene.manifests[manifest_key(batch)] = manifest_of(batch, "target")


def commit_twice(scene):
    scene.manifests[manifest_key(scene.batches[1]).replace("02-01", "02-02")] = scene.one


def commit_unknown_batch(scene):
    head = scene.one["sluice"] | {"batch": "nobody"}
    scene.manifests[manifest_key(scene.batches[1]).replace(".json", "x.json")] = {
        "entries": [], "sluice": head}


def wrong_day(scene):
    key = manifest_key(scene.batches[1])
    scene.manifests[key.replace("02-01", "02-03")] = scene.manifests.pop(key)


def wrong_created(scene):
    scene.one["sluice"]["created"] += 1


def wrong_total(scene):
    scene.one["sluice"]["bytes"] -= 1


def unsorted_members(scene):
    scene.manifests[manifest_key(scene.batches[1])] = dict(reversed(scene.one.items()))
    scene.sort = False


def unsorted_entries(scene):
    scene.one["entries"].reverse()


def drop_entry(scene):
    del scene.one["entries"][0]


def foreign_entry(scene):
    scene.one["entries"][0]["sluice"]["name"] = "other"


def double_entry(scene):
    scene.one["entries"].insert(0, scene.one["entries"][0])


def two_files_one_object(scene):
    first, second = scene.one["entries"]
    second["url"] = first["url"]


def lose_object(scene):
    del scene.bucket.stored[scene.object_key]


def other_bucket(scene):
    entry = scene.one["entries"][0]
    entry["url"] = entry["url"].replace("s3://target", "s3://elsewhere")


def marker_entry(scene):
    entry = json.loads(json.dumps(scene.one["entries"][0]))
    entry["sluice"]["name"], entry["meta"]["content_length"] = "_SUCCESS", 0
    scene.one["entries"].insert(0, entry)


def shorten_object(scene):
    stored = scene.bucket.stored[scene.object_key]
    stored[0] = stored[0][:-1]


def shorten_object_and_manifest(scene):
    shorten_object(scene)
    scene.one["entries"][0]["meta"]["content_length"] -= 1


def flip_bit(scene):
    stored = scene.bucket.stored[scene.object_key]
    stored[0] = stored[0][:3999] + bytes([stored[0][3999] ^ 1]) + stored[0][4000:]


def swap_contents(scene):
    batch = scene.batches[0]
    keys = [entry["url"].removeprefix("s3://target/")
            for entry in scene.manifests[manifest_key(batch)]["entries"]
            if entry["meta"]["content_length"] == 4000]
    stored = scene.bucket.stored
    stored[keys[0]], stored[keys[1]] = stored[keys[1]], stored[keys[0]]


def wrong_checksum(scene):
    scene.one["entries"][0]["sluice"]["crc32c"] = "00000000"


def young_object(scene):
    scene.bucket.stored[scene.object_key][1] = LATER + datetime.timedelta(seconds=1)


def stray(scene):
    scene.bucket.put(PREFIX + "ds1/nobody-names-me", b"")


def leave_upload(scene):
    scene.bucket.left = [PREFIX + "ds1/half"]


@pytest.mark.parametrize("spoil, checks", [
    (lose_manifest, ["manifests", "strays"]),
    (commit_open_batch, ["manifests"]),
    (commit_sub_batch, ["manifests"]),
    (commit_twice, ["doubled", "form", "manifests"]),
    (commit_unknown_batch, ["manifests"]),
    (wrong_day, ["form"]),
    (wrong_created, ["form"]),
    (wrong_total, ["form"]),
    (unsorted_members, ["form"]),
    (unsorted_entries, ["form"]),
    (drop_entry, ["entries"]),
    (foreign_entry, ["entries"]),
    (marker_entry, ["entries"]),
    (double_entry, ["doubled"]),
    (two_files_one_object, ["doubled"]),
    (lose_object, ["objects"]),
    (other_bucket, ["objects"]),
    (shorten_object, ["objects"]),
    (shorten_object_and_manifest, ["objects"]),
    (flip_bit, ["bytes"]),
    (swap_contents, ["bytes"]),
    (wrong_checksum, ["crc32c"]),
    (young_object, ["order"]),
    (stray, ["strays"]),
    (leave_upload, ["uploads"]),
])
def test_each_violation_is_noticed(scene, spoil, checks):
    spoil(scene)
    verdict = scene.judge()
    assert set(checks) <= set(verdict.failed()), verdict.table()
    assert "WRONG" in verdict.table()


def replayed(scene):
    """The second batch once more, as generation 9; its manifest and where that is."""
    batch = scene.batches[1]
    key = manifest_key(batch, "_generation=9/")
    scene.manifests[key] = deliver(batch, scene.bucket.put, "target", 9)
    return scene.manifests[key], key


def test_a_replay_is_judged_for_what_it_has(scene):
    replayed(scene)
    scene.bucket.put(PREFIX + "ds1/_sluice/jobs/replay/9/B.json", b"{}")
    scene.bucket.put(PREFIX + "ds1/_sluice/jobs/replay/9/B/2.done.json", b"{}")
    verdict = scene.judge()
    assert verdict.ok, verdict.table()
    assert verdict.looked["bytes"] == len(ODD_NAMES) + 6


def test_a_wrong_replay_is_noticed(scene):
    manifest, key = replayed(scene)
    manifest["sluice"]["generation"] = 8
    assert scene.judge().failed() == ["form"]
    manifest["sluice"]["generation"] = 9
    scene.manifests[key] = {**manifest, "entries": manifest["entries"][1:]}
    assert scene.judge().failed() == ["entries", "strays"]
    scene.manifests[key] = scene.one
    assert scene.judge().failed() == ["doubled", "form", "manifests", "strays"]


def test_allowances(scene):
    stray(scene)
    leave_upload(scene)
    assert scene.judge(allow_strays=True, allow_uploads=1).ok
    assert scene.judge(allow_strays=True).failed() == ["uploads"]


def test_manifest_that_is_no_json(scene):
    key = manifest_key(scene.batches[1]).replace(".json", "y.json")
    scene.bucket.put(key, b'{"entries":[', LATER)
    assert scene.judge().failed() == ["form"]


def test_withdrawn_batches_may_have_one_that_does_not_count(scene):
    scene.batches[1].set_status("inactive")
    assert scene.judge().failed() == ["rows"]
    key = manifest_key(scene.batches[1])
    scene.bucket.put(key.replace("manifests", "revocations"), b"{}")
    assert scene.judge().ok
    wrong_checksum(scene)
    assert scene.judge().failed() == ["crc32c"]
    del scene.manifests[key], scene.bucket.stored[key]
    assert scene.judge(allow_strays=True).ok


def test_since_limits_what_must_be_there(scene):
    scene.batches[0].created = BASE_MS + 10_000_000
    lose_manifest(scene)
    scene.manifests.clear()
    assert scene.judge(allow_strays=True, since=BASE_MS + 9_000_000).failed() == [
        "manifests", "rows"]
    assert scene.judge(allow_strays=True, since=BASE_MS + 20_000_000).ok


@pytest.mark.parametrize("text, encoded", [
    ("a-b_c=1.x", "a-b_c=1.x"), (".a.b", "%2Ea.b"), ("a b/c", "a%20b%2Fc"), ("%", "%25"),
    ("\u00e9~", "%C3%A9%7E"),
])
def test_encoding_of_names(text, encoded):
    assert encode_segment(text) == encoded


def test_a_real_bucket_and_the_command_line(rgw, bucket, tmp_path, monkeypatch, capsys):
    world = small_world()

    def put(key, data):
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=data)

    for batch in world.batches.values():
        if batch.expected() == "one":
            put(manifest_key(batch), dump(deliver(batch, put, bucket.name)))
    (tmp_path / "truth.json").write_text(json.dumps(world.to_json()), encoding="utf-8")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", rgw.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", rgw.secret_key)
    monkeypatch.setattr("sys.argv", [
        "oracle", "--truth", str(tmp_path / "truth.json"), "--endpoint", rgw.endpoint,
        "--bucket", bucket.name, "--prefix", PREFIX, "--name", "d1=ds1"])
    assert main() == 0
    bucket.client.create_multipart_upload(Bucket=bucket.name, Key=PREFIX + "half")
    assert bucket.uploads(PREFIX) == [PREFIX + "half"]
    assert main() == 1
    assert "1 in progress, allowed 0" in capsys.readouterr().out
    assert isinstance(bucket, Bucket)
