# SPDX-License-Identifier: Apache-2.0
"""For tests of the simulator itself: a filled world, clients that write and that read events."""
import contextlib
import itertools
import re
import time

from client import Client
from ground import BASE_MS
from sim import Sim

IMPORT = "/data/foundation/import/batches"
JOURNAL = "/events/organizations/1/integrations/2/3"
PARQUET = b"PAR1" + bytes(range(200)) + b"\x01\x00\x00\x00PAR1"
OCTETS = {"Content-Type": "application/octet-stream"}
NAMES = itertools.count()


@contextlib.contextmanager
def running(world):
    """The simulator of a world."""
    sim = Sim(world).start()
    try:
        yield sim
    finally:
        sim.stop()


@contextlib.contextmanager
def borrowed(sim, **options):
    """A simulator that others use as well: options and faults end with the test."""
    before = sim.options(**options)
    try:
        yield sim
    finally:
        sim.options(**before)
        sim.disarm()


def filled(world):
    """The world with three datasets; the first has a life behind it."""
    first = world.dataset("d1", name="Web events", tags={"unifiedProfile": ["enabled:true"]})
    first.batch([1000, 250])
    first.batch([("bad.csv", 400)], status="failure")
    first.batch([777], status="loading")
    world.dataset("d2", name="People", behavior="record", format="csv", created=BASE_MS + 5,
                  fields={"name": "string", "age": "integer"})
    world.dataset("d3", sandbox="dev")
    return world


def ok(answer):
    """The JSON of an answer that must be good."""
    assert answer.status_code == 200, answer.text
    return answer.json()


def problem(answer):
    """Status and title of a refusal."""
    return answer.status_code, answer.json()["title"]


def detail(answer, status=400):
    """The detail of a refusal."""
    assert answer.status_code == status, answer.text
    return answer.json()["detail"]


class Writer(Client):
    """A client that writes."""

    def __init__(self, sim, **about):
        super().__init__(sim)
        dataset = sim.world.dataset(f"w{next(NAMES)}", **about)
        sim.add_dataset(dataset)
        self.dataset = dataset.id

    def send(self, method, path, **more):
        """One call of Batch Ingestion."""
        headers = self.headers | more.pop("headers", {})
        return self.session.request(method, self.sim.endpoint + path, headers=headers,
                                    timeout=20, **more)

    def create(self, **fields):
        """The answer to a creation."""
        fields = {"datasetId": self.dataset, "inputFormat": {"format": "parquet"}} | fields
        return self.send("POST", IMPORT, json=fields)

    def batch(self, **fields):
        """The id of a new batch."""
        answer = self.create(**fields)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def file(self, batch, name="a.parquet", word="datasets"):
        """The address of a file."""
        return f"{IMPORT}/{batch}/{word}/{self.dataset}/files/{name}"

    def put(self, batch, data=PARQUET, name="a.parquet", **headers):
        """The answer to a small file."""
        return self.send("PUT", self.file(batch, name), data=data, headers=OCTETS | headers)

    def patch(self, batch, first, data, total="*", name="a.parquet"):
        """The answer to a chunk."""
        span = f"bytes {first}-{first + len(data) - 1}/{total}"
        return self.send("PATCH", self.file(batch, name), data=data,
                         headers=OCTETS | {"Content-Range": span})

    def mark(self, batch, action, name="a.parquet"):
        """The status of INITIALIZE or COMPLETE of a large file."""
        return self.send("POST", self.file(batch, name), params={"action": action}).status_code

    def act(self, batch, action):
        """The status of an action on the batch."""
        return self.send("POST", f"{IMPORT}/{batch}", params={"action": action}).status_code

    def row(self, batch):
        """What Catalog says of it."""
        return self.batches(batch=batch)[batch]

    def written(self, data=PARQUET, name="a.parquet", **fields):
        """A batch of one file, complete."""
        batch = self.batch(**fields)
        assert self.put(batch, data, name).status_code == 200
        assert self.act(batch, "COMPLETE") == 200
        return batch


class Reader(Client):
    """A client that reads the journal."""

    def ask(self, **params):
        """One call."""
        headers = self.headers | {"x-ims-org-id": self.sim.world.org}
        del headers["x-gw-ims-org-id"], headers["x-sandbox-name"]
        return self.session.get(self.sim.endpoint + JOURNAL, params=params, headers=headers)

    def follow(self, since=None):
        """(batch ids of all new events, the position to go on from)"""
        found, params = [], {"since": since} if since else {}
        while True:
            answer = self.ask(**params)
            link = re.search(r"[?&]since=([^>&]+)[^>]*>; rel=\"next\"", answer.headers["Link"])
            params = {"since": link[1].replace("%3A", ":")}
            if answer.status_code == 204:
                return found, params["since"]
            found += [item["event"]["event"]["xdm:ingestionId"]
                      for item in answer.json()["events"]]

    def ended(self, count, status="success"):
        """So many batches that have ended, now."""
        dataset = self.sim.world.datasets["d1"]
        batches = [dataset.batch([5], status=status, created=int(time.time() * 1000) + number)
                   for number in range(count)]
        self.sim.add(*batches)
        return [batch.id for batch in batches]
