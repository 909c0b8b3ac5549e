# SPDX-License-Identifier: Apache-2.0
"""The ground truth: datasets, batches, dataset files, physical files.

Tests build a World, the simulator serves it, the oracle checks a bucket against it. The same
JSON form travels to the simulator (--world, POST /_sim/batches) and back (/_sim/truth).
"""
import copy
import dataclasses
import random
import uuid
from dataclasses import dataclass, field

from clock import clock
from content import PARQUET_MIN, Content
from lineage import ROW_BYTES, Lineage
from spool import STORED, Stored

READABLE = ("success", "active")
WITHDRAWN = ("inactive", "deleted", "archived", "retained")
BASE_MS = 1_706_745_600_000  # 2024-02-01T00:00:00Z, creation of the first batch by default
SETTLED_MS = 12_365  # between a batch's creation and its last change, as seen on real ones
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

# How the world shows itself where reality has more than one way; README.md says what each does.
OPTIONS = {
    "shape": "rows", "length": "text", "marker": "offset", "page_max": 100,
    "dataset_shape": "today", "dead_members": False, "xdms": False, "dataset_files": "listed",
    "property_operators": "exists absent == != < <= > >= ~",
    "wrong_sandbox": "empty", "error_shape": "own", "gzip": True,
    "create_reply": "flat", "put_max": 256 << 20, "chunk_max": 512_000_000,
    "files_per_batch": 1500, "batches_per_minute": 138, "repeated_chunk": "replaces",
    "promotion_ms": 300, "deletion_ms": 60_000,
    "journal_days": 7, "journal_retry_s": 10,
}
# What a dataset says of itself, besides its id and sandbox.
ABOUT = {
    "name": "", "description": "", "format": "parquet", "table_format": "delta",
    "behavior": "time-series", "state": "ACTIVE", "schema": "", "created": BASE_MS - 86_400_000,
    "tags": {}, "ttl": "",
    "fields": {"_id": "string", "timestamp": "date-time", "eventType": "string",
               "person": {"firstName": "string", "age": "integer"}, "score": "number"},
}

ODD_NAMES = [
    "with blank.parquet", "a+b.parquet", "100%.parquet", "%2F.parquet", "a=b&c=d;e.parquet",
    "year=2024/month=02/part-0.parquet", "na\u00efve-\u6587\u4ef6-\U0001f642.parquet",
    "#hash?query.parquet", ".hidden", "..dots", "quote\"and'.parquet", "tilde~(1)!*.parquet",
    "n" * 255, "_committed",
]


def now_ms():
    """The world's clock in the unit of the API."""
    return clock.now_ms()


@dataclass
class File:
    """One physical file. `key` names its content and survives a rename. `rows` says which rows
    it holds, as [origin, first, behind the last]: the origin is the key of the file that had
    them first. None: rows of its own, one for each ROW_BYTES."""
    name: str
    size: int
    key: str
    rows: list = None

    def held(self):
        """Its rows."""
        if self.rows is not None:
            return self.rows
        return [] if self.is_marker() or not self.size else [
            [self.key, 0, self.size // ROW_BYTES + 1]]

    def content(self):
        """The bytes of the file."""
        if self.key.startswith(STORED):
            return Stored(self.key, self.size)
        return Content(self.key, self.size, self.name)

    def is_marker(self):
        """A sign that the writer left for other readers, not data."""
        name = self.name.rsplit("/", 1)[-1]
        return name == "_SUCCESS" or (self.size == 0 and name.startswith(("_", ".")))


@dataclass
class DatasetFile:
    """A directory of physical files, or (nested) of further dataset files."""
    id: str
    files: list = field(default_factory=list)
    nested: list = field(default_factory=list)

    def walk(self):
        """This dataset file and all that are nested in it."""
        yield self
        for inner in self.nested:
            yield from inner.walk()


@dataclass
class Batch:
    """One batch. `life` is a list of [milliseconds after it was added, status]."""
    id: str
    dataset: str
    created: int
    status: str = "success"
    life: list = field(default_factory=list)
    files: list = field(default_factory=list)
    former: list = field(default_factory=list)  # what `files` was before each rewriting
    expired: list = field(default_factory=list)  # rows that it no longer has
    sub_of: str = ""
    replay: dict = field(default_factory=dict)
    successor: str = ""  # the batch that consolidated or replaced this one
    tags: dict = field(default_factory=dict)  # further ones
    failed_records: int = 0  # rows that partial ingestion left out
    extra: dict = field(default_factory=dict)  # further members of the batch object
    expect: str = ""
    updated: int = 0
    version: int = 3
    born: int = field(default_factory=now_ms)
    held_until: int = 0

    def current(self):
        """(status, time of the last change) at this moment."""
        now = now_ms()
        if now < self.held_until:
            return "staging", self.born
        status, since = self.status, self.updated or self.created + SETTLED_MS
        for after, step in self.life:
            if self.born + after <= now:
                status, since = step, max(self.born + after, self.updated)
        return status, max(since, self.held_until)

    def readable(self):
        """May its files be read now?"""
        return self.current()[0] in READABLE

    def free(self):
        """Readable, and nothing is decided about its end."""
        return self.readable() and not self.sub_of and not self.successor and not any(
            self.born + after > now_ms() for after, _ in self.life)

    def merges(self):
        """Does it only repeat the rows of others?"""
        return self.replay.get("reason") == "consolidation"

    def set_status(self, status):
        """A change by command; ends the scripted life."""
        self.status, self.life, self.held_until = status, [], 0
        self.updated, self.version = now_ms(), self.version + 1

    def touch(self, **tags):
        """Tags are written: `updated` moves, the data does not."""
        self.tags.update(tags)
        self.updated, self.version = now_ms(), self.version + 1

    def rename_files(self):
        """The platform rewrites the files: other names, the same bytes."""
        number = self._begin_rewriting()
        for directory in self.dataset_files():
            directory.files = [file if file.is_marker() else
                               dataclasses.replace(file, name=f"v{number}_{file.name}")
                               for file in directory.files]

    def compact(self):
        """The platform merges the files of each dataset file into one: another name, another
        size, the same rows."""
        number = self._begin_rewriting()
        for directory in self.dataset_files():
            data = [file for file in directory.files if not file.is_marker()]
            if not data:
                continue
            rows = [row for file in data for row in file.held()]
            size = sum(file.size for file in data) * 9 // 10 + bool(rows)
            name = part_name(f"compacted-{number}", size)
            directory.files = [file for file in directory.files if file.is_marker()] + [
                File(name, size, f"{data[0].key}/{number}", rows)]

    def _begin_rewriting(self):
        self.former.append(copy.deepcopy(self.files))
        self.touch()
        return len(self.former)

    def versions(self):
        """All that its files have been, the newest first: a copy of each dataset file as it was in
        one of them is right, a mixture of its files is not."""
        return [self] + [dataclasses.replace(self, files=files) for files in self.former[::-1]]

    def held(self):
        """The rows of all its files."""
        return [row for _, file in self.data() for row in file.held()]

    def records(self):
        """How many rows it has."""
        return sum(end - begin for _, begin, end in self.held())

    def plan(self, *steps):
        """From now on its life is this: (milliseconds from now, status) each."""
        self.status, self.updated = self.current()
        self.held_until = 0
        self.life = [[now_ms() - self.born + after, status] for after, status in steps]

    def expire(self):
        """Old rows vanish: every second file of it, without a word elsewhere."""
        self._begin_rewriting()
        for directory in self.dataset_files():
            for file in directory.files[1::2]:
                self.expired += file.held()
            directory.files = directory.files[::2]

    def dataset_files(self):
        """All dataset files, nested ones included."""
        for top in self.files:
            yield from top.walk()

    def rows(self):
        """All (dataset file id, physical file)."""
        for directory in self.dataset_files():
            for file in directory.files:
                yield directory.id, file

    def data(self):
        """The rows that have to be stored."""
        return [(file_id, file) for file_id, file in self.rows() if not file.is_marker()]

    def expected(self):
        """How many manifests the batch must have: one, none, or any (it was once readable)."""
        if self.expect:
            return self.expect
        status = self.current()[0]
        if self.sub_of or status not in READABLE + WITHDRAWN:
            return "none"
        return "any" if status in WITHDRAWN else "one"


def batch_from(data):
    """A Batch from its JSON form."""
    known = {f.name for f in dataclasses.fields(Batch)} - {"born"}
    batch = Batch(**{name: value for name, value in data.items() if name in known})
    batch.files = [dataset_file_from(item) for item in batch.files]
    batch.former = [[dataset_file_from(item) for item in files] for files in batch.former]
    return batch


def dataset_file_from(data):
    """A DatasetFile from its JSON form."""
    return DatasetFile(data["id"], [File(**file) for file in data.get("files", [])],
                       [dataset_file_from(item) for item in data.get("nested", [])])


class World(Lineage):
    """Everything that exists, and the tenant's credentials."""

    def __init__(self, seed=1, sandbox="prod"):
        self.seed = seed
        self.random = random.Random(f"world {seed}")
        self.org = "0123456789ABCDEF01234567@AdobeOrg"
        self.client_id = "0123456789abcdef0123456789abcdef"
        self.secrets = ["p8e-first-secret", "p8e-second-secret"]
        self.sandbox = sandbox
        self.options = dict(OPTIONS)
        self.datasets = {}
        self.batches = {}
        self.index = {}  # dataset file id -> (batch, dataset file)

    def dataset(self, dataset_id=None, sandbox=None, **about):
        """A new dataset; batches are added to it with Dataset.batch(). `about` as in ABOUT."""
        unknown = set(about) - set(ABOUT)
        if unknown:
            raise ValueError(f"dataset {dataset_id}: unknown {sorted(unknown)}")
        dataset = Dataset(self, dataset_id or f"{self.random.getrandbits(96):024x}",
                          sandbox or self.sandbox, about)
        self.datasets[dataset.id] = dataset
        return dataset

    def add_dataset(self, item):
        """A dataset from its JSON form."""
        about = {name: value for name, value in item.items() if name in ABOUT}
        dataset = self.dataset(item["id"], item.get("sandbox"), **about)
        dataset.gone = item.get("gone", False)
        return dataset

    def seen(self, dataset_id, sandbox):
        """The dataset if it exists in this sandbox, or None."""
        dataset = self.datasets.get(dataset_id)
        return dataset if dataset and dataset.sandbox == sandbox and not dataset.gone else None

    def new_id(self, form, created):
        """A batch id in one of the forms that occur."""
        if form == "ulid":
            head = "".join(CROCKFORD[(created >> shift) & 31] for shift in range(45, -1, -5))
            return head + "".join(self.random.choices(CROCKFORD, k=16))
        number = self.random.getrandbits(128)
        return f"{number:032x}" if form == "hex" else str(uuid.UUID(int=number, version=4))

    def next_created(self):
        """A creation time after all others."""
        return max((batch.created + 1000 for batch in self.batches.values()), default=BASE_MS)

    def add(self, batch):
        """Takes over a batch; an id may exist only once."""
        if batch.id in self.batches or batch.dataset not in self.datasets:
            raise ValueError(f"batch {batch.id}: exists already, or its dataset does not")
        self.batches[batch.id] = batch
        self.index.update((item.id, (batch, item)) for item in batch.dataset_files())
        return batch

    def dataset_file(self, file_id):
        """(batch, dataset file) of an id, or (None, None)."""
        return self.index.get(file_id, (None, None))

    def sandbox_of(self, batch):
        """The sandbox that a batch is visible in."""
        return self.datasets[batch.dataset].sandbox

    def to_json(self):
        """The JSON form, with what the oracle needs to know of this moment."""
        batches = [dataclasses.asdict(batch) | {
            "now": batch.current()[0], "expected": batch.expected(),
        } for batch in self.batches.values()]
        return {
            "seed": self.seed, "org": self.org, "client_id": self.client_id,
            "secrets": self.secrets, "sandbox": self.sandbox, "options": self.options,
            "datasets": [dataset.to_json() for dataset in self.datasets.values()],
            "batches": batches,
        }

    @classmethod
    def from_json(cls, data):
        """The reverse of to_json."""
        world = cls(data.get("seed", 1), data.get("sandbox", "prod"))
        for name in ("org", "client_id", "secrets"):
            setattr(world, name, data.get(name, getattr(world, name)))
        world.options.update(data.get("options", {}))
        for item in data.get("datasets", []):
            world.add_dataset(item)
        for item in data.get("batches", []):
            world.add(batch_from(item))
        return world


class Dataset:
    """One dataset of a world, and the builder of its batches."""

    def __init__(self, world, dataset_id, sandbox, about):
        self.world = world
        self.id = dataset_id
        self.sandbox = sandbox
        self.about = about  # what differs from ABOUT
        self.gone = False  # deleted as a whole

    def __getitem__(self, name):
        """What the dataset says of itself."""
        return self.about.get(name, ABOUT[name])

    def to_json(self):
        """The JSON form."""
        return {"id": self.id, "sandbox": self.sandbox, "gone": self.gone} | self.about

    def batch(self, files=(), *, directories=None, batch_id=None, form="ulid", created=None,
              nested=False, **more):
        """Adds a batch. `files` are sizes or (name, size), all in one dataset file;
        `directories` is a list of such lists, one per dataset file; nested=True puts these into
        a directory of their own. `more` are members of Batch: status, life, replay, expect."""
        created = self.world.next_created() if created is None else created
        batch_id = batch_id or self.world.new_id(form, created)
        if directories is None:
            directories = [files] if files else []
        items = [self._directory(f"{batch_id}-{number}", rows)
                 for number, rows in enumerate(directories, 1)]
        if nested:
            items = [DatasetFile(f"{batch_id}-0", [], items)]
        return self.world.add(Batch(batch_id, self.id, created, files=items, **more))

    def sub_batch(self, parent):
        """A profile sub-batch of `parent`: success, but without files of its own."""
        org = self.world.org.split("@", maxsplit=1)[0]
        batch_id = f"{parent.id}-{org}-{self.sandbox}-{self.id}-INGEST"
        return self.world.add(Batch(batch_id, self.id, parent.created + 1, sub_of=parent.id))

    def _directory(self, file_id, rows):
        files = []
        for number, item in enumerate(rows):
            name, size = item if isinstance(item, (tuple, list)) else (None, item)
            name = name or self._part_name(number, size)
            files.append(File(name, size, f"{self.world.seed}/{file_id}/{name}"))
        return DatasetFile(file_id, files)

    def _part_name(self, number, size):
        token = uuid.UUID(int=self.world.random.getrandbits(128), version=4)
        return part_name(f"part-{number:05d}-{token}-c000.snappy", size)


def part_name(stem, size):
    """A name that a file of this size can have: no Parquet file is that small."""
    return stem if 0 < size < PARQUET_MIN else f"{stem}.parquet"
