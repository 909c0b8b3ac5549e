# SPDX-License-Identifier: Apache-2.0
"""The oracle: does a bucket hold exactly what the ground truth says?

    python3 tests/sim/oracle.py --truth http://127.0.0.1:PORT/_sim/truth --endpoint URL \\
        --bucket B [--prefix P/] [--name DATASET=NAME] [--semantics DATASET=WORD]
        [--allow-strays] [--allow-uploads N]

prints a table of verdicts; exit status 0 if all hold. It trusts nothing that the daemon says:
manifests are found by listing, every object is read and compared with the generated content.
Keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
"""
import argparse
import collections
import concurrent.futures
import dataclasses
import datetime
import json
import os
import re
import sys
import urllib.request
from dataclasses import dataclass, field

from bucket import Bucket, s3_client
from content import crc32c
from ground import READABLE, WITHDRAWN, World
from reader import beyond, counting, merged

MANIFEST = re.compile(r"/_sluice/manifests/dt=\d{4}-\d\d-\d\d/[^/]+\.json$")
REVOCATION = re.compile(r"/_sluice/revocations/dt=\d{4}-\d\d-\d\d/[^/]+\.json$")
HEAD = {"batch", "bytes", "consolidates", "created", "dataset", "failed_records", "files",
        "generation", "records", "replaces", "replaces_external", "replay_reason", "sandbox",
        "snapshot", "version"}
PROBES = ("_sluice/probe", "_sluice/probe-checksum")  # the daemon's start-up probe leaves these
RECORD = re.compile(r"/_sluice/(tail|jobs/(\d+-\d+(\.\d+)?(_\d+)?|replay/\d+/[^/]+(/\d+)?)(\.done)?)"
                    r"\.json$")  # its ledger
GENERATION = re.compile(r"/_generation=(\d+)/")  # the folder of a replay
PLAIN = re.compile(r"[A-Za-z0-9._=-]")
READERS = 8
SHOWN = 5

CHECKS = {
    "manifests": "one for each readable batch, none for others",
    "form": "manifest: canonical, at its key, head agrees with the truth",
    "entries": "exactly the files of the batch",
    "lineage": "heads name predecessors only, and those that they rest on are there",
    "revoked": "revocation records are of withdrawn batches, at their keys",
    "rows": "a reader gets the rows of the readable batches, each once",
    "newest": "of snapshots a reader gets the newest readable one",
    "doubled": "no file and no object is named twice, in any generation",
    "objects": "every object that is named exists, with its size",
    "crc32c": "checksum in the manifest is that of the source",
    "bytes": "every byte equals the source",
    "order": "no object is younger than its manifest",
    "strays": "no object that no manifest names",
    "uploads": "no multipart upload left in progress",
}


@dataclass
class Verdict:
    """What was looked at, and what was wrong with it."""
    looked: collections.Counter = field(default_factory=collections.Counter)
    problems: dict = field(default_factory=lambda: collections.defaultdict(list))

    def look(self, check, good, problem):
        """One look: `problem` is noted unless `good`."""
        self.looked[check] += 1
        if not good:
            self.problems[check].append(problem)
        return good

    @property
    def ok(self):
        """Nothing was wrong."""
        return not any(self.problems.values())

    def failed(self):
        """The names of the checks that failed."""
        return sorted(check for check, problems in self.problems.items() if problems)

    def table(self):
        """For people."""
        lines = []
        for check, text in CHECKS.items():
            problems = self.problems[check]
            word = "WRONG" if problems else "ok"
            lines.append(f"{word:6} {check:10} {self.looked[check]:7} looked at  {text}")
            lines += [f"       - {problem}" for problem in problems[:SHOWN]]
            if len(problems) > SHOWN:
                lines.append(f"       - and {len(problems) - SHOWN} more")
        return "\n".join(lines)


@dataclass
class Manifest:
    """A manifest that was found; `batch` as it was when that was written."""
    key: str
    batch: object
    head: dict
    entries: list
    modified: object

    @property
    def generation(self):
        """1, or the number of a replay."""
        return self.head.get("generation", 1)

    def rows(self):
        """The rows of the files that it names."""
        held = {who: file.held() for who, file in source_rows(self.batch)}
        return [row for who in {identity(entry) for entry in self.entries}
                for row in held.get(who, ())]


class Oracle:
    """Judges one bucket. `since` (ms) limits the batches that must be there. `semantics` says
    which datasets hold snapshots (snapshot-latest, snapshot-versions); without it, those whose
    manifests say so. `allow_deleted`: the objects of revoked batches may be gone."""

    def __init__(self, truth, bucket, *, prefix="", names=None, allow_strays=False,
                 allow_uploads=0, since=0, semantics=None, allow_deleted=False):
        self.world = World.from_json(truth)
        self.expected = {item["id"]: item["expected"] for item in truth["batches"]}
        self.status = {item["id"]: item["now"] for item in truth["batches"]}
        self.semantics = semantics or {}
        self.bucket, self.prefix, self.names = bucket, prefix, names or {}
        self.allow_deleted, self.revoked = allow_deleted, set()
        self.allow_strays, self.allow_uploads, self.since = allow_strays, allow_uploads, since
        self.verdict = Verdict()
        self.objects = {}

    def judge(self):
        """Looks at everything once."""
        self.objects = self.bucket.objects(self.prefix)
        keys = [key for key in self.objects if MANIFEST.search(key)]
        manifests = [manifest for manifest in map(self.load, keys) if manifest]
        self.count_manifests([item for item in manifests if item.generation == 1])
        self.read_as_readers(manifests)
        self.find_doubles(manifests)
        work = [pair for manifest in manifests for pair in self.pairs(manifest)]
        with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
            for problem in pool.map(lambda pair: self.compare(*pair), work):
                self.verdict.look("bytes", not problem, problem)
        self.find_strays(manifests)
        self.count_uploads()
        return self.verdict

    def load(self, key):
        """A manifest that can be read and belongs to a batch, or None."""
        look = self.verdict.look
        text = b"".join(self.bucket.read(key))
        try:
            data = json.loads(text, object_pairs_hook=canonical_object)
            head, entries = data["sluice"], data["entries"]
            batch = self.world.batches.get(head["batch"])
            urls = [entry["url"] for entry in entries]
        except (ValueError, KeyError, TypeError) as error:
            look("form", False, f"{key}: {error!r}")
            return None
        if not look("manifests", batch, f"{key}: there is no batch {head['batch']}"):
            return None
        if head.get("consolidates"):
            batch = dataclasses.replace(batch, files=[])  # its predecessors have them
        batch = version_of(batch, entries)
        generation = head.get("generation", 1)
        look("form", urls == sorted(urls), f"{key}: entries are not in order")
        look("form", key == self.key_beside(batch, "manifests", generation),
             f"{key}: not the key of {batch.id}, generation {generation}")
        for url in urls:
            look("form", generation_of(url) == generation, f"{key}: {url} is of another generation")
        look("form", head.keys() <= HEAD, f"{key}: unknown members {head.keys() - HEAD}")
        for name, value in self.head_of(batch).items():
            look("form", head.get(name) in value,
                 f"{key}: {name} is {head.get(name)!r}, not {value[0]!r}")
        return Manifest(key, batch, head, entries, self.objects[key][1])

    def head_of(self, batch):
        """What the head of a manifest must say: member -> accepted values; None: it may be
        silent."""
        sizes = [file.size for _, file in batch.data()]
        records = {version.records() for version in self.world.batches[batch.id].versions()}
        snapshot = self.semantics.get(batch.dataset, "").startswith("snapshot")
        return {"version": [1], "sandbox": [self.world.sandbox_of(batch)],
                "dataset": [batch.dataset, self.names.get(batch.dataset)],
                "created": [batch.created], "files": [len(sizes)], "bytes": [sum(sizes)],
                "records": [None, batch.records(), *records],
                "failed_records": [None, batch.failed_records],
                "replay_reason": [batch.replay.get("reason"), None],
                "snapshot": [True] if snapshot else [None, *([True] * (not self.semantics))]}

    def key_beside(self, batch, what, generation=1):
        """Where the manifest (or the revocation) of a batch has to be."""
        name = self.names.get(batch.dataset, batch.dataset)
        return record_key(f"{self.prefix}{name}/", batch, what, generation)

    def count_manifests(self, manifests):
        """One for each readable batch, none for others. A replay is right for what it has."""
        found = collections.Counter(manifest.batch.id for manifest in manifests
                                    if manifest.generation == 1)
        for batch in self.world.batches.values():
            want, have = self.wanted(batch), found[batch.id]
            good = {"one": have == 1, "none": have == 0, "any": have <= 1}[want]
            self.verdict.look("manifests", good,
                              f"batch {batch.id}: {have} manifests, expected: {want}")

    def wanted(self, batch):
        """One manifest, none, or any?"""
        want = self.expected[batch.id]
        skips = self.semantics.get(batch.dataset) == "snapshot-latest" and \
            batch.id != self.newest(batch.dataset)
        gone = self.world.datasets[batch.dataset].gone
        return "any" if want == "one" and (batch.created < self.since or skips or gone) else want

    def newest(self, dataset):
        """The newest readable batch of a dataset, or None."""
        readable = [(batch.created, batch.id) for batch in self.world.of_dataset(dataset)
                    if self.status[batch.id] in READABLE and not batch.sub_of
                    and self.expected[batch.id] != "none" and batch.created >= self.since]
        return max(readable, default=(0, None))[1]

    # ---- what readers get

    def read_as_readers(self, manifests):
        """Lineage, revocations, rows, for each dataset and generation."""
        revoked = self.revoked = self.revocations()
        groups = collections.defaultdict(dict)
        for item in manifests:
            groups[item.batch.dataset, item.generation][item.batch.id] = item
        for dataset, generation in groups.keys() | {(name, 1) for name in self.world.datasets}:
            group = groups[dataset, generation]
            names = counting({name: item.head for name, item in group.items()}, revoked)
            for name in group:
                self.check_lineage(group, name, names)
            counted = [group[name] for name in names]
            if generation != 1:
                self.check_replay(counted)
            elif self.semantics.get(dataset, "").startswith("snapshot") or \
                    any(item.head.get("snapshot") for item in group.values()):
                self.check_newest(dataset, counted)
            else:
                self.check_rows(dataset, counted)

    def revocations(self):
        """The batches that have a record of their withdrawal."""
        look, found = self.verdict.look, set()
        keys = {self.key_beside(batch, "revocations"): batch
                for batch in self.world.batches.values()}
        for key in filter(REVOCATION.search, self.objects):
            batch = keys.get(key)
            if not look("revoked", batch, f"{key}: not the key of any batch"):
                continue
            found.add(batch.id)
            status = self.status[batch.id]
            look("revoked", status in WITHDRAWN, f"{key}: the batch is {status}")
            try:
                json.loads(b"".join(self.bucket.read(key)), object_pairs_hook=canonical_object)
            except ValueError as error:
                look("revoked", False, f"{key}: {error!r}")
        return found

    def check_lineage(self, group, name, counted):
        """What the head of one manifest says of others."""
        look, item = self.verdict.look, group[name]
        older = {batch.id for batch in self.world.ancestors([item.batch])}
        for member in ("consolidates", "replaces"):
            for other in item.head.get(member, ()):
                look("lineage", other in older,
                     f"{item.key}: {other} in {member} is no predecessor")
        merges = item.head.get("consolidates", ())
        look("lineage", not (merges and item.entries), f"{item.key}: consolidates, with entries")
        for other in merges if name in counted else ():
            look("lineage", other in counted,
                 f"{item.key}: rests on {other}, whose manifest is missing or does not count")

    def check_rows(self, dataset, counted):
        """Exactly the rows of the readable batches, each once."""
        must, may = [], []
        for batch in self.world.of_dataset(dataset):
            if self.status[batch.id] in READABLE and not batch.sub_of:
                (must if self.wanted(batch) == "one" else may).extend(batch.held())
            may += batch.expired
            if self.world.datasets[dataset].gone:
                may += batch.held()
        have, doubles = merged([row for item in counted for row in item.rows()])
        self.verdict.looked["rows"] += sum(map(len, have.values()))
        for problem, rows in (("twice", doubles),
                              ("missing", beyond(merged(must)[0], have)),
                              ("no longer valid", beyond(have, merged(must + may)[0]))):
            for origin, begin, end in rows:
                self.verdict.look("rows", False, f"{dataset}: {problem}: {origin} {begin}-{end}")

    def check_newest(self, dataset, counted):
        """The newest snapshot that counts is the newest readable one."""
        have = max(((item.batch.created, item.batch.id) for item in counted),
                   default=(0, None))[1]
        want = self.newest(dataset)
        gone = self.world.datasets[dataset].gone
        self.verdict.look("newest", have == want or gone, f"{dataset}: {have}, not {want}")

    def check_replay(self, counted):
        """A replay has each row of its batches once."""
        for origin, begin, end in merged([row for item in counted for row in item.rows()])[1]:
            self.verdict.look("rows", False, f"generation {counted[0].generation}: twice: "
                                             f"{origin} {begin}-{end}")

    # ---- objects

    def find_doubles(self, manifests):
        """Each file of a batch once, each object for one file only."""
        keys = collections.Counter()
        for manifest in manifests:
            keys.update(entry["url"] for entry in manifest.entries)
            files = collections.Counter(map(identity, manifest.entries))
            for file, times in files.items():
                self.verdict.look("doubled", times == 1,
                                  f"{manifest.key}: {file} {times} times")
        for key, times in keys.items():
            self.verdict.look("doubled", times == 1, f"{key} is named {times} times")

    def pairs(self, manifest):
        """(key, source file) of the entries that are right so far."""
        look, rows = self.verdict.look, dict(source_rows(manifest.batch))
        named = {identity(entry): entry for entry in manifest.entries}
        for missing in sorted(rows.keys() - named.keys()):
            look("entries", False, f"{manifest.key}: lacks {missing}")
        for who, entry in named.items():
            if not look("entries", who in rows, f"{manifest.key}: {who} is not in the batch"):
                continue
            file, key = rows[who], self.key_of(entry)
            size, modified = self.objects.get(key, (None, None))
            if size is None and self.allow_deleted and manifest.batch.id in self.revoked:
                continue
            said = entry.get("meta", {}).get("content_length")
            look("crc32c", entry["sluice"].get("crc32c") == f"{file.content().crc32c():08x}",
                 f"{key}: {entry['sluice'].get('crc32c')} is not the source's")
            if look("objects", size == said == file.size,
                    f"{key}: {size} bytes, manifest {said}, source {file.size}"):
                look("order", modified <= manifest.modified, f"{key}: after {manifest.key}")
                yield key, file

    def key_of(self, entry):
        """The key that an entry's URL names; None if it is in another bucket."""
        start = f"s3://{self.bucket.name}/"
        return entry["url"].removeprefix(start) if entry["url"].startswith(start) else None

    def compare(self, key, file):
        """Reads an object beside its source: None, or what is wrong."""
        content, offset, check = file.content(), 0, 0
        for chunk in self.bucket.read(key):
            if chunk != content.read(offset, len(chunk)):
                return f"{key}: differs from the source within 1 MiB after byte {offset}"
            check = crc32c(chunk, check)
            offset += len(chunk)
        return None if offset == file.size else f"{key}: ends at byte {offset} of {file.size}"

    def find_strays(self, manifests):
        """Objects that nobody names."""
        named = {self.key_of(entry) for manifest in manifests for entry in manifest.entries}
        named.update(self.prefix + name for name in PROBES)
        for key in self.objects:
            known = key in named or any(known.search(key)
                                        for known in (MANIFEST, REVOCATION, RECORD))
            self.verdict.look("strays", known or self.allow_strays, key)

    def count_uploads(self):
        """Multipart uploads that nobody finished or aborted."""
        left = self.bucket.uploads(self.prefix)
        self.verdict.look(
            "uploads", len(left) <= self.allow_uploads,
            f"{len(left)} in progress, allowed {self.allow_uploads}: {left[:SHOWN]}")


def canonical_object(pairs):
    """Members in order, none twice."""
    names = [name for name, _ in pairs]
    if names != sorted(set(names)):
        raise ValueError(f"members not in order, or doubled: {names}")
    return dict(pairs)


def identity(entry):
    """Which file of the source an entry means."""
    info = entry.get("sluice", {})
    return info.get("file_id"), info.get("name")


def version_of(batch, entries):
    """The batch as it was when the manifest was written: its files may have been rewritten, those of
    each dataset file by themselves."""
    named, chosen = collections.defaultdict(set), {}
    for who, name in map(identity, entries):
        named[who].add(name)
    for version in batch.versions():
        for item in version.dataset_files():
            if named[item.id] == {file.name for file in item.files if not file.is_marker()}:
                chosen.setdefault(item.id, item)
    for item in batch.dataset_files():
        chosen.setdefault(item.id, item)
    return dataclasses.replace(batch, files=[dataclasses.replace(item, nested=[])
                                             for item in chosen.values()])


def record_key(folder, batch, what, generation=1):
    """The key of a batch's manifest or revocation below the folder of its dataset."""
    day = datetime.datetime.fromtimestamp(batch.created / 1000, datetime.timezone.utc)
    inner = f"_generation={generation}/" if generation != 1 else ""
    return f"{folder}{inner}_sluice/{what}/dt={day:%Y-%m-%d}/{encode_segment(batch.id)}.json"


def generation_of(key):
    """The generation in whose folder a key lies."""
    match = GENERATION.search(key)
    return int(match[1]) if match else 1


def source_rows(batch):
    """((dataset file id, name), file) of a batch, markers left out."""
    return (((file_id, file.name), file) for file_id, file in batch.data())


def encode_segment(text):
    """The encoding of foreign names in keys, written down once more and independently."""
    return "".join(
        char if PLAIN.fullmatch(char) and not (number == 0 and char == ".")
        else "".join(f"%{byte:02X}" for byte in char.encode())
        for number, char in enumerate(text))


def load_truth(place):
    """The truth from a simulator's address or from a file."""
    if place.startswith("http"):
        with urllib.request.urlopen(place) as answer:
            return json.load(answer)
    with open(place, encoding="utf-8") as file:
        return json.load(file)


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description="judges a bucket against the ground truth")
    parser.add_argument("--truth", required=True, help="file, or address of /_sim/truth")
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--prefix", default="")
    parser.add_argument("--name", action="append", default=[], metavar="DATASET=NAME")
    parser.add_argument("--semantics", action="append", default=[], metavar="DATASET=WORD")
    parser.add_argument("--since", type=int, default=0, help="created (ms) of the first batch")
    parser.add_argument("--allow-strays", action="store_true")
    parser.add_argument("--allow-uploads", type=int, default=0)
    options = parser.parse_args()
    client = s3_client(options.endpoint, os.environ["AWS_ACCESS_KEY_ID"],
                       os.environ["AWS_SECRET_ACCESS_KEY"])
    names = dict(item.split("=", 1) for item in options.name)
    semantics = dict(item.split("=", 1) for item in options.semantics)
    oracle = Oracle(load_truth(options.truth), Bucket(client, options.bucket), names=names,
                    prefix=options.prefix, since=options.since, semantics=semantics,
                    allow_strays=options.allow_strays, allow_uploads=options.allow_uploads)
    verdict = oracle.judge()
    print(verdict.table())
    return 0 if verdict.ok else 1


if __name__ == "__main__":
    sys.exit(main())
