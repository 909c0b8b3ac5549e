# SPDX-License-Identifier: Apache-2.0
"""The oracle reads a bucket as readers do - lineage, revocations, snapshots, replays - and
notices each way in which they would get wrong rows."""
import datetime

import pytest

from ground import World
from oracle import Oracle, encode_segment
from reader import beyond, counting, merged
from test_oracle import LATER, PREFIX, FakeBucket, dump


class Lake:
    """A bucket and the world that it should mirror. Manifests are written by judge()."""

    def __init__(self):
        self.world, self.bucket = World(), FakeBucket()
        self.data = self.world.dataset("d1")
        self.manifests, self.heads = {}, {}

    def batch(self, *sizes, **more):
        """A batch."""
        return self.data.batch(list(sizes), **more)

    @staticmethod
    def folder(batch, what, generation=1):
        """The key of a manifest or a revocation."""
        number = f"_generation={generation}/" if generation > 1 else ""
        day = datetime.datetime.fromtimestamp(batch.created / 1000, datetime.timezone.utc)
        return f"{PREFIX}ds1/{number}_sluice/{what}/dt={day:%Y-%m-%d}/{batch.id}.json"

    def store(self, batch, generation=1, files=None, **head):
        """What a daemon makes of a batch; `files` as in Batch.data()."""
        files, entries = batch.data() if files is None else files, []
        number = f"_generation={generation}/" if generation > 1 else ""
        for file_id, file in files:
            key = f"{PREFIX}ds1/{number}{encode_segment(file_id)}-{encode_segment(file.name)}"
            self.bucket.put(key, file.content().read(0, file.size))
            entries.append({"mandatory": True, "meta": {"content_length": file.size},
                            "sluice": {"crc32c": f"{file.content().crc32c():08x}",
                                       "file_id": file_id, "name": file.name},
                            "url": f"s3://target/{key}"})
        entries.sort(key=lambda entry: entry["url"])
        self.manifests[self.folder(batch, "manifests", generation)] = {
            "entries": entries, "sluice": {
                "batch": batch.id, "bytes": sum(file.size for _, file in files),
                "created": batch.created, "dataset": "d1", "files": len(files),
                "generation": generation, "sandbox": "prod", "version": 1} | head}

    def head(self, batch, generation=1):
        """The head of a manifest, to be changed."""
        return self.manifests[self.folder(batch, "manifests", generation)]["sluice"]

    def forget(self, batch):
        """Its manifest was never written."""
        del self.manifests[self.folder(batch, "manifests")]

    def revoke(self, batch):
        """Its withdrawal is on record."""
        self.bucket.put(self.folder(batch, "revocations"), b'{"batch":"x"}')

    def judge(self, **options):
        """The oracle's verdict."""
        for key, manifest in self.manifests.items():
            self.bucket.put(key, dump(manifest), LATER)
        return Oracle(self.world.to_json(), self.bucket, prefix=PREFIX, names={"d1": "ds1"},
                      **options).judge()


class History(Lake):
    """A right one, with all that can happen to a batch."""

    def __init__(self):
        super().__init__()
        world = self.world
        self.small = [self.batch(500 * number, 70) for number in (1, 2, 3)]
        self.late = self.batch(900)
        self.wrong = self.batch(800)
        self.taken = self.batch(300)
        self.rewritten = self.batch(400, 200)
        self.batch()
        for batch in self.world.batches.values():
            if batch is not self.late:
                self.store(batch)
        self.whole = world.consolidate(self.small[:2])
        self.store(self.whole, files=[], consolidates=[b.id for b in self.small[:2]],
                   replay_reason="consolidation", records=self.whole.records())
        self.more = world.consolidate([self.whole, self.small[2]])
        self.store(self.more, files=[], consolidates=[self.whole.id, self.small[2].id])
        self.right = world.replace([self.wrong], [810, 20], reason="Replacing for 2020-04-09")
        self.store(self.right, replaces=[self.wrong.id], failed_records=0,
                   records=self.right.records(), replay_reason="Replacing for 2020-04-09")
        self.known = self.batch(150)
        self.store(self.known)
        self.mixed = world.consolidate([self.late, self.known], into=2)
        self.store(self.mixed, replaces=[self.known.id])
        self.rewritten.compact()
        world.revert(self.taken)
        self.revoke(self.taken)
        self.store(self.right, generation=2)
        self.store(self.mixed, generation=2)
        self.sub = self.data.sub_batch(self.right)


@pytest.fixture
def past():
    """See History."""
    return History()


def test_a_right_history_is_accepted(past):
    verdict = past.judge()
    assert verdict.ok, verdict.table()
    assert verdict.looked["rows"] >= 8 and verdict.looked["lineage"] >= 8


def land_twice(past):
    past.store(past.whole)


def no_predecessor(past):
    past.forget(past.small[0])


def no_link_of_the_chain(past):
    past.forget(past.whole)


def revoked_predecessor(past):
    past.revoke(past.small[1])


def consolidates_with_entries(past):
    past.store(past.more, consolidates=[past.whole.id, past.small[2].id])


def replaced_still_counts(past):
    del past.head(past.right)["replaces"]


def merged_and_kept(past):
    del past.head(past.mixed)["replaces"]


def no_revocation(past):
    del past.bucket.stored[past.folder(past.taken, "revocations")]


def readable_is_revoked(past):
    past.revoke(past.right)


def revocation_elsewhere(past):
    key = past.folder(past.taken, "revocations")
    past.bucket.stored[key.replace(".json", "x.json")] = past.bucket.stored.pop(key)


def revocation_unreadable(past):
    past.bucket.put(past.folder(past.taken, "revocations"), b"{")


def mixture_of_versions(past):
    now, before = past.rewritten.data(), past.rewritten.versions()[1].data()
    past.store(past.rewritten, files=before[:1] + now)


def half_a_version(past):
    past.store(past.rewritten, files=past.rewritten.versions()[1].data()[:1])


def replaces_a_stranger(past):
    past.head(past.right)["replaces"].append(past.known.id)


def circle(past):
    past.head(past.wrong)["replaces"] = [past.right.id]


def wrong_records(past):
    past.head(past.right)["records"] += 1


def wrong_failed_records(past):
    past.head(past.right)["failed_records"] = 7


def wrong_reason(past):
    past.head(past.right)["replay_reason"] = "replace"


def unknown_member(past):
    past.head(past.right)["rowCount"] = 1


def late_batch_missing(past):
    past.forget(past.mixed)


def replay_in_the_wrong_folder(past):
    past.head(past.right, 2)["generation"] = 3


def replay_incomplete(past):
    past.store(past.right, generation=2, files=past.right.data()[:1])


def replay_twice(past):
    past.store(past.known, generation=2)


def replay_bytes(past):
    key = past.manifests[past.folder(past.right, "manifests", 2)]["entries"][0]["url"]
    past.bucket.stored[key.removeprefix("s3://target/")][0] = b"x" * 810


@pytest.mark.parametrize("spoil, checks", [
    (land_twice, ["rows"]),
    (no_predecessor, ["lineage", "rows"]),
    (no_link_of_the_chain, ["lineage"]),
    (revoked_predecessor, ["lineage", "rows"]),
    (consolidates_with_entries, ["entries", "form", "lineage"]),
    (replaced_still_counts, ["rows"]),
    (merged_and_kept, ["rows"]),
    (no_revocation, ["rows"]),
    (readable_is_revoked, ["revoked", "rows"]),
    (revocation_elsewhere, ["revoked", "rows"]),
    (revocation_unreadable, ["revoked"]),
    (mixture_of_versions, ["entries", "form"]),
    (half_a_version, ["entries", "form", "rows"]),
    (replaces_a_stranger, ["lineage"]),
    (circle, ["lineage"]),
    (wrong_records, ["form"]),
    (wrong_failed_records, ["form"]),
    (wrong_reason, ["form"]),
    (unknown_member, ["form"]),
    (late_batch_missing, ["manifests", "rows", "strays"]),
    (replay_in_the_wrong_folder, ["form"]),
    (replay_incomplete, ["entries", "form"]),
    (replay_twice, ["rows"]),
    (replay_bytes, ["bytes"]),
])
def test_each_violation_is_noticed(past, spoil, checks):
    spoil(past)
    verdict = past.judge()
    assert set(checks) <= set(verdict.failed()), verdict.table()


def test_rewritten_batches_may_be_stored_in_any_version(past):
    past.store(past.rewritten)
    assert past.judge(allow_strays=True).ok


def test_objects_of_revoked_batches_may_be_gone(past):
    key = past.manifests[past.folder(past.taken, "manifests")]["entries"][0]["url"]
    del past.bucket.stored[key.removeprefix("s3://target/")]
    assert past.judge().failed() == ["objects"]
    assert past.judge(allow_deleted=True).ok
    del past.bucket.stored[past.folder(past.taken, "revocations")]
    assert past.judge(allow_deleted=True).failed() == ["objects", "rows"]


def test_rows_that_expired_may_be_there_or_not(past):
    batch = past.batch(600, 300)
    past.store(batch)
    batch.expire()
    assert past.judge().ok
    past.store(batch)
    assert past.judge(allow_strays=True).ok


def test_a_dataset_that_is_gone_stays_or_goes(past):
    past.world.delete_dataset("d1")
    assert past.judge().ok
    past.manifests, past.bucket.stored = {}, {}
    assert past.judge().ok


# ---- snapshots

SNAPSHOTS = {"semantics": {"d1": "snapshot-latest"}}


@pytest.fixture
def shots():
    """Three snapshots; the newest is stored."""
    lake = Lake()
    lake.all = [lake.batch(100 * number) for number in (1, 2, 3)]
    lake.store(lake.all[2], snapshot=True)
    return lake


def test_snapshots_of_which_the_newest_is_wanted(shots):
    assert shots.judge(**SNAPSHOTS).ok
    shots.store(shots.all[0], snapshot=True)
    assert shots.judge(**SNAPSHOTS).ok
    versions = {"semantics": {"d1": "snapshot-versions"}}
    assert shots.judge(**versions).failed() == ["manifests"]
    shots.store(shots.all[1], snapshot=True)
    assert shots.judge(**versions).ok


def test_a_snapshot_that_is_not_the_newest(shots):
    shots.batch(400)
    assert shots.judge(**SNAPSHOTS).failed() == ["manifests", "newest"]
    shots.forget(shots.all[2])
    shots.store(shots.all[1], snapshot=True)
    assert "newest" in shots.judge(**SNAPSHOTS, allow_strays=True).failed()


def test_a_snapshot_that_was_taken_back(shots):
    shots.store(shots.all[1], snapshot=True)
    shots.world.revert(shots.all[2])
    assert shots.judge(**SNAPSHOTS).failed() == ["newest"]
    shots.revoke(shots.all[2])
    assert shots.judge(**SNAPSHOTS).ok


def test_manifests_say_that_they_are_snapshots(shots):
    del shots.head(shots.all[2])["snapshot"]
    assert shots.judge(**SNAPSHOTS).failed() == ["form"]
    shots.head(shots.all[2])["snapshot"] = True
    assert shots.judge(semantics={"d1": "incremental"}).failed() == ["form", "manifests"]


# ---- arithmetic


def test_what_counts():
    assert counting({"a": {}, "b": {"replaces": ["a"]}, "c": {"replaces": ["b"]}}, set()) == {
        "a", "c"}
    assert counting({"a": {}, "b": {"replaces": ["a"]}}, {"b"}) == {"a"}


def test_rows_once_twice_and_beyond():
    spans, doubles = merged([["x", 5, 9], ["x", 0, 5], ["y", 1, 2], ["x", 7, 12]])
    assert (spans, doubles) == ({"x": [[0, 12]], "y": [[1, 2]]}, [("x", 7, 9)])
    others, _ = merged([["x", 2, 3], ["x", 10, 20]])
    assert beyond(spans, others) == [("x", 0, 2), ("x", 3, 10), ("y", 1, 2)]
    assert beyond(others, spans) == [("x", 12, 20)]
    assert beyond(spans, spans) == []
