# SPDX-License-Identifier: Apache-2.0
"""What must hold while a run goes on, and after it. The names I1 to I16 are those of the table
of invariants in README.md of this directory."""
import collections
import datetime
import hashlib
import json
import re

from oracle import Oracle, generation_of, record_key

PREFIX = "lake/"
HOUSEKEEPING = re.compile(r"(^|/)_sluice/")
MANIFEST = re.compile(r"_sluice/manifests/dt=[^/]+/([^/]+)\.json$")
RECORD = re.compile(r"_sluice/(manifests|revocations)/")  # what readers go by
READ_AGAIN = 2 << 20  # what the kernels hold when a daemon dies
MUTATIONS = {"submit", "fan", "claim", "save", "done", "fail", "release"}
SPOILS = {"NoSuchUpload", "InvalidPart", "EntityTooSmall", "BadDigest", "OperationAborted",
          "total_changes"}
LONG_AGO = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def task_of(dataset, batch, file_id, name):
    """The id of a file's task."""
    digest = hashlib.sha256(f"{file_id}\n{name}".encode()).hexdigest()[:24]
    return f"f/{dataset}/{batch}/{digest}"


class Memory:
    """The store as the oracle reads a bucket."""

    def __init__(self, store):
        self.store, self.name = store, "lake"

    def objects(self, prefix):
        """{key: (size, last modified)}; housekeeping is not the reader's."""
        return {key: (len(item.body), LONG_AGO) for key, item in self.store.objects.items()
                if key.startswith(prefix) and (RECORD.search(key) or
                                               not HOUSEKEEPING.search(key))}

    def uploads(self, prefix):
        """Keys of uploads in progress; that of a probe that was interrupted is the janitor's."""
        return [item.key for item in self.store.uploads.values()
                if item.key.startswith(prefix) and not HOUSEKEEPING.search(item.key)]

    def read(self, key):
        """The object in pieces."""
        body = self.store.objects[key].body
        for at in range(0, len(body), 1 << 20):
            yield body[at:at + (1 << 20)]


class Judge:
    """Of one run."""

    def __init__(self, lab, scenario):
        self.lab, self.scenario, self.world = lab, scenario, scenario.world
        self.problems = []
        self.closed = False  # the run is over
        self.grant = {}  # task -> (owner, fence) of its last claim
        self.seq = 0
        self.past = 0  # how often Redis went back in time
        self.fans = set()  # accepted ones, which may be repeated
        self.manifests = []  # batches, in the order of their commits

    def wrong(self, invariant, text):
        """Notes a violation."""
        self.problems.append(f"{invariant} {text}")

    def want(self, invariant, good, text):
        """Notes a violation unless `good`."""
        if not good:
            self.wrong(invariant, text)

    # ---- while it runs: Redis

    def on_redis(self, words, reply):
        """A command was carried out."""
        if not words[0].startswith(b"FCALL") or isinstance(reply, Exception):
            return
        verb = words[1].decode().removeprefix("sluice_")
        arguments = [word.decode("utf-8", "replace") for word in words[4:]]
        check = getattr(self, "after_" + verb, None)
        if check:
            check(arguments, reply)
        if self.lab.snapshots is not None and verb in MUTATIONS and reply:
            self.lab.record()

    def forget(self):
        """Redis went back in time: what it granted since then is void."""
        self.grant, self.seq = {}, 0
        self.past += 1

    def count(self, seq):
        """I15: the counter of mutations never falls by itself."""
        self.want("I15", seq >= self.seq, f"seq fell from {self.seq} to {seq}")
        self.seq = max(seq, self.seq)

    def accepted(self, verb, task, owner, fence):
        """I11: only the holder of the last grant may write."""
        last = self.grant.get(task, (owner, fence))
        self.want("I11", last == (owner, fence),
                  f"{verb} {task}: accepted from {owner} {fence}, granted to {last}")

    def after_claim(self, _arguments, reply):
        """Remembers the grants."""
        self.count(reply[0])
        for task, flat in reply[1:]:
            fields = dict(zip(flat[::2], flat[1::2]))
            self.grant[task.decode()] = (fields[b"owner"].decode(), fields[b"fence"].decode())

    def after_done(self, arguments, reply):
        """I1: a file is only completed if the store has it, whole."""
        task, owner, fence = arguments[:3]
        self.accepted("done", task, owner, fence)
        self.count(reply[1])
        if not task.startswith("f/"):
            return
        fields = dict(zip(arguments[3::2], arguments[4::2]))
        made, file = self.lab.store.objects.get(fields.get("key")), self.file_of(task)
        if self.expect("I1", file, f"{task} is no file of the world"):
            good = made and made.body == file.content().read(0, file.size)
            self.want("I1", good, f"{task} completed, but the store has not its bytes")

    def file_of(self, task):
        """The file that a task is about."""
        batch = self.world.batches.get(task.split("/")[-2])
        return next((file for file_id, file in (batch.data() if batch else ())
                     if task.endswith(task_of("", batch.id, file_id, file.name)[2:])), None)

    def expect(self, invariant, good, text):
        """As want(); says whether it held."""
        self.want(invariant, good, text)
        return good

    def after_save(self, arguments, reply):
        """Fence and counter."""
        self.accepted("save", *arguments[:3])
        self.count(reply[1])

    def after_fan(self, arguments, reply):
        """Fence and counter; a repetition changes nothing, whoever holds the task by then."""
        if tuple(arguments[:5]) not in self.fans:
            self.accepted("fan", *arguments[:3])
        self.fans.add(tuple(arguments[:5]))
        self.count(reply[1])

    def after_fail(self, arguments, reply):
        """Fence and counter."""
        self.accepted("fail", *arguments[:3])
        self.count(reply[1])

    def after_release(self, arguments, reply):
        """Fence and counter."""
        self.accepted("release", *arguments[:3])
        self.count(reply[1])

    def after_beat(self, arguments, reply):
        """The fences of those that were renewed."""
        for number, answer in enumerate(reply):
            if answer == b"ok":
                self.accepted("beat", arguments[2 + 3 * number], arguments[0],
                              arguments[3 + 3 * number])

    # ---- while it runs: the store

    def on_stored(self, key, made, before):
        """An object is about to be created."""
        if HOUSEKEEPING.search(key) and not RECORD.search(key):
            return
        self.want("I3", before is None, f"{key} is written over")
        found = MANIFEST.search(key)
        if found:
            self.on_manifest(key, made)

    def on_manifest(self, key, made):
        """I2: all its objects exist. I13: no older batch is missing."""
        document = json.loads(made.body)
        for entry in document["entries"]:
            item = self.lab.store.objects.get(entry["url"].removeprefix("s3://lake/"))
            good = item and len(item.body) == entry["meta"]["content_length"]
            self.want("I2", good, f"{key} names {entry['url']}, which is not there")
        if document["sluice"]["generation"] > 1:
            return  # a replay is neither counted nor in order
        batch = self.world.batches[document["sluice"]["batch"]]
        self.manifests.append(batch.id)
        if self.scenario.mode == "concurrent":
            return
        for other in self.world.batches.values():
            older = (other.created, other.id) < (batch.created, batch.id)
            if older and other.dataset == batch.dataset and self.expected(other):
                self.want("I13", other.id in self.manifests,
                          f"{batch.id} is committed before {other.id}, which is older")

    def expected(self, batch):
        """Will the batch have a manifest in the end?"""
        return batch.expected() == "one"

    # ---- after it

    def complete(self):
        """Has every batch its manifest, and its revocation if it was taken back?"""
        return all(batch.id in self.manifests for batch in self.world.batches.values()
                   if self.expected(batch)) and not self.unrevoked()

    def unrevoked(self):
        """The batches that were taken back, that nothing replaces, and that readers count."""
        return [batch.id for batch in self.world.batches.values()
                if batch.expected() == "any" and not batch.successor
                and batch.id in self.manifests
                and self.key_of(batch, "revocations") not in self.lab.store.objects]

    def leaks(self):
        """How many uploads may be left over: of each file that is copied, one for each fault. An
        orderly stop leaves none."""
        struck = self.lab.wire.struck
        faults = sum(strike.kind not in ("term-before", "term-after", "hup") for strike in struck)
        return (self.lab.lapses + faults) * self.scenario.copies

    def verdict(self):
        """All that must hold in the end."""
        names = {name: name for name in self.world.datasets}
        told = Oracle(self.world.to_json(), Memory(self.lab.store), prefix=PREFIX, names=names,
                      allow_uploads=self.leaks()).judge()
        for check in told.failed():
            problems = [text for text in told.problems[check]
                        if check != "strays" or not self.is_leftover(text)]
            self.want("bucket", not problems, f"{check}: {'; '.join(problems[:3])}")
        self.check_replays()
        self.read_again()
        Tree(self.lab.redis_content(), self).check()

    def is_leftover(self, key):
        """Is the object of a batch that was taken back while it was copied?"""
        return any(f"/{batch.id}-" in key and batch.expected() == "any"
                   and batch.id not in self.manifests for batch in self.world.batches.values())

    def check_replays(self):
        """A dataset that was replayed has one more generation, with all its batches."""
        for _, dataset, _, _ in self.scenario.jobs if self.scenario.copies > 1 else ():
            found = {generation_of(key) for key in self.lab.store.objects
                     if key.startswith(f"{PREFIX}{dataset}/")} - {1}
            self.want("replay", len(found) <= 1, f"{dataset}: generations {sorted(found)}")
            for batch in self.world.of_dataset(dataset):
                good = not self.expected(batch) or any(
                    self.key_of(batch, "manifests", generation) in self.lab.store.objects
                    for generation in found)
                self.want("replay", good, f"{batch.id} is in none of {sorted(found)}")

    def read_again(self):
        """A fault costs at most one part of a file, unless it spoils the whole upload."""
        struck = self.lab.wire.struck
        whole = sum(strike.kind in SPOILS for strike in struck)
        for batch in self.world.batches.values():
            for file_id, file in batch.data():
                sent = self.lab.state.counters.sent[f"{file_id}/{file.name}"]
                part = min(file.size, 5 << 20) + READ_AGAIN
                most = file.size * (self.scenario.copies + whole) + \
                    (len(struck) + self.lab.lapses) * part
                self.want("restart", sent <= most,
                          f"{file.name}: {sent} bytes read of {file.size}, most {most}")

    @staticmethod
    def key_of(batch, what, generation=1):
        """Where a batch's manifest (or its revocation) is."""
        return record_key(f"{PREFIX}{batch.dataset}/", batch, what, generation)


class Tree:
    """The task tree in Redis at rest. `content` is {key without prefix: its Python value}."""

    def __init__(self, content, judge):
        self.content, self.judge = content, judge
        self.tasks = {key[2:]: value for key, value in content.items() if key.startswith("t:")}
        self.children = collections.defaultdict(set)
        for task, fields in self.tasks.items():
            for parent in self.parents(task, fields):
                self.children[parent].add(task)

    def parents(self, task, fields):
        """Who waits for a task."""
        if fields["kind"] == "file":
            return {fields["parent"]}
        return self.content.get(f"up:{task}", set())

    def members(self, key):
        """A set or sorted set, as a set."""
        return set(self.content.get(key, ()))

    def check(self):
        """All invariants of the tree, then: is it empty?"""
        for task, fields in self.tasks.items():
            self.check_links(task, fields)
            self.check_place(task, fields)
        self.check_rest()

    def check_links(self, task, fields):
        """I5 to I8."""
        want, opened = self.judge.want, self.members(f"open:{task}")
        dead = self.members(f"dead:{task}")
        running = {child for child in self.children[task]
                   if self.tasks[child]["status"] != "completed"
                   and self.tasks[child]["phase"] != "end"}
        failed = {child for child in running if self.tasks[child]["status"] == "failed"}
        if fields["phase"] != "end":
            want("I5", opened == running, f"{task}: open {opened}, children {running}")
            want("I6", dead == failed, f"{task}: dead {dead}, failed {failed}")
        if fields["status"] == "completed":
            want("I7", not opened, f"{task} is completed with {opened} open")
        if fields["phase"] == "wait":
            buried = bool(opened) and opened == dead
            want("I8", (fields["status"] == "failed") == buried,
                 f"{task}: {fields['status']}, open {opened}, dead {dead}")

    def places(self, task, dataset):
        """The indexes in which a task is found."""
        keys = [f"ready:{kind}:{lane}:{dataset}" for kind in "xlf" for lane in
                ("live", "backfill")]
        keys += ["delayed", f"lease:x:{dataset}", f"lease:f:{dataset}", f"shut:{dataset}",
                 "dead"]
        return [key for key in keys if task in self.content.get(key, ())]

    def check_place(self, task, fields):
        """I9 and I10."""
        places = self.places(task, fields["dataset"])
        if fields["phase"] == "end":
            self.judge.want("I9", not places, f"{task} has ended and is in {places}")
        elif fields["phase"] == "wait" and fields["status"] != "failed":
            self.judge.want("I9", not places, f"{task} waits and is in {places}")
        else:
            self.judge.want("I9", len(places) == 1, f"{task} is in {places}")
        if fields["status"] == "in-progress" and fields["phase"] not in ("wait", "end"):
            leased = places and places[0].startswith("lease:")
            self.judge.want("I10", leased, f"{task} is in progress without a lease")

    def check_rest(self):
        """No entry is left of anything but the tails."""
        for key, value in self.content.items():
            name = key.split(":")[0]
            if name in ("ready", "delayed", "lease", "shut", "order", "unlisted", "open-files",
                        "dead", "open"):
                left = {item for item in value if not item.startswith("tail/")}
                left -= {item for item in value if item not in self.tasks and name == "open"}
                self.judge.want("rest", not left, f"{key} still has {sorted(left)[:3]}")
