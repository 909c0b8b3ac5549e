# SPDX-License-Identifier: Apache-2.0
"""The simulator's write side: batches that clients send, and the journal that tells of them."""
import itertools
import json
import re
import time

import pytest

from client import EXPORT, Client
from ground import World
from sim import Sim

IMPORT = "/data/foundation/import/batches"
JOURNAL = "/events/organizations/1/integrations/2/3"
PARQUET = b"PAR1" + bytes(range(200)) + b"\x01\x00\x00\x00PAR1"
OCTETS = {"Content-Type": "application/octet-stream"}
NAMES = itertools.count()


@pytest.fixture(scope="module", name="shared")
def shared_sim():
    """One simulator; each test writes to a dataset of its own."""
    sim = Sim(World()).start()
    yield sim
    sim.stop()


@pytest.fixture
def writer(shared):
    """A writer to a new dataset; options and faults end with the test."""
    before = shared.options(batches_per_minute=10_000, promotion_ms=0)
    yield Writer(shared)
    shared.options(**before)
    shared.disarm()


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


def detail(answer, status=400):
    """The detail of a refusal."""
    assert answer.status_code == status, answer.text
    return answer.json()["detail"]


# ---- creation


def test_creation_is_flat(writer):
    answer = writer.create(externalId="mine", tags={"flow": ["f"]})
    body = answer.json()
    assert answer.status_code == 201 and body["status"] == "loading"
    assert (body["created"], body["updated"], body["version"]) == (0, 0, "1.0.0")
    assert body["relatedObjects"] == [{"type": "dataSet", "id": writer.dataset}]
    row = writer.row(body["id"])
    assert row["status"] == "loading" and row["externalId"] == "mine"
    assert row["tags"]["flow"] == ["f"] and row["inputFormat"]["format"] == "parquet"
    assert writer.row(writer.batch(inputFormat={"format": "Parquet"}))["status"] == "loading"


def test_creation_of_the_guide_is_keyed(writer, shared):
    shared.options(create_reply="keyed")
    answer = writer.send("POST", IMPORT, data=json.dumps({"datasetId": writer.dataset}))
    (name, body), = answer.json().items()
    assert answer.status_code == 201 and body["id"] == name and body["created"] > 0
    assert body["status"] == "loading"
    assert writer.put(name).json() == {name: {"name": "a.parquet", "sizeInBytes": len(PARQUET)}}


@pytest.mark.parametrize("fields", [
    {"datasetId": "none"}, {"datasetId": None}, {"inputFormat": {"format": "xml"}},
    {"partialIngestionPercent": 101}, {"replay": {"predecessors": ["none"]}},
])
def test_bad_creations(writer, fields):
    assert detail(writer.create(**fields))


def test_creation_needs_json(writer):
    answer = writer.send("POST", IMPORT, data=b"{}", headers={"Content-Type": "text/plain"})
    assert detail(answer) == "A valid content-type must be specified"
    answer = writer.send("POST", IMPORT, data=b"{", headers={"Content-Type": "application/json"})
    assert detail(answer) == "the body is not JSON"


def test_batches_per_minute(writer, shared):
    shared.options(batches_per_minute=0)
    answer = writer.create()
    assert answer.status_code == 429 and answer.json()["error_code"] == "429050"
    assert 1 <= int(answer.headers["Retry-After"]) <= 61


# ---- small files


def test_small_files_are_seen_after_promotion(writer, shared):
    batch = writer.batch()
    path = f"{EXPORT}/batches/{batch}/files"
    assert writer.put(batch).text == ""
    assert writer.put(batch, PARQUET * 2, "day=1/b.parquet").status_code == 200
    assert writer.put(batch, PARQUET + PARQUET).status_code == 200, "the same path: replaced"
    shared.options(promotion_ms=600_000)
    assert writer.act(batch, "COMPLETE") == 200
    assert writer.row(batch)["status"] == "loaded" and writer.rows(path)[0] == []
    other = writer.written()
    assert writer.act(other, "COMPLETE") == 200, "safe to repeat"
    shared.options(promotion_ms=0)
    third = writer.batch()
    for name, data in (("day=1/b.parquet", PARQUET), ("a.parquet", PARQUET * 3)):
        writer.put(third, data, name)
    assert writer.act(third, "complete") == 200, "lower case is taken"
    assert writer.row(third)["status"] == "success"
    (directory,), _ = writer.rows(f"{EXPORT}/batches/{third}/files")
    place = f"{EXPORT}/files/{directory['dataSetFileId']}"
    rows = {row["name"]: int(row["length"]) for row in writer.rows(place)[0]}
    assert rows == {"day=1/b.parquet": len(PARQUET), "a.parquet": 3 * len(PARQUET)}
    answer = writer.get(place, {"path": "a.parquet"}, {"Range": "bytes=4-300"})
    assert answer.status_code == 206 and answer.content == (PARQUET * 3)[4:301]
    assert writer.put(third).status_code == 400, "it takes no more files"


def test_promotion_takes_time(writer, shared):
    shared.options(promotion_ms=900)
    batch, seen = writer.written(), []
    end = time.monotonic() + 30
    while "success" not in seen and time.monotonic() < end:
        status = writer.row(batch)["status"]
        seen += [status] if status not in seen else []
    assert seen == [word for word in ("loaded", "staging", "staged", "success") if word in seen]
    assert seen[-1] == "success" and len(seen) > 1


def test_truth_holds_what_was_sent(writer, shared):
    batch = writer.written()
    found = World.from_json(shared.truth()).batches[batch]
    (_, file), = found.data()
    assert b"".join(file.content().chunks(step=50)) == PARQUET
    assert file.content().crc32c() == file.content().crc32c() != 0


def test_only_octets_are_taken(writer):
    batch = writer.batch()
    answer = writer.send("PUT", writer.file(batch), files={"file": ("a.parquet", PARQUET)})
    assert detail(answer, 415)
    assert detail(writer.put(batch, **{"Content-Type": "application/json"}), 415)


def test_limits_of_files(writer, shared):
    shared.options(put_max=1000, files_per_batch=2, chunk_max=500)
    batch = writer.batch()
    assert detail(writer.put(batch, b"x" * 1001), 413)
    assert detail(writer.put(batch, iter([b"x" * 600, b"x" * 600])), 413), "without length"
    assert writer.put(batch, b"x" * 1000).status_code == 200
    assert writer.mark(batch, "INITIALIZE", "b") == 201
    assert detail(writer.patch(batch, 0, b"x" * 501, name="b"), 413)
    assert detail(writer.put(batch, name="c")) == "a batch takes 2 files at most"
    assert writer.put(batch, name="b").status_code == 200, "replacing is not adding"


def test_addresses(writer, shared):
    batch = writer.batch()
    path = writer.file(batch, word="dataSets")
    assert writer.send("PUT", path, data=PARQUET, headers=OCTETS).status_code == 200
    assert detail(writer.put("none"), 404)
    wrong = writer.file(batch).replace(writer.dataset, "other")
    assert detail(writer.send("PUT", wrong, data=b"", headers=OCTETS), 404)
    assert detail(writer.put(batch, name="n" * 2000), 414)
    other = writer.send("PUT", path, data=b"x", headers=OCTETS | {"x-sandbox-name": "dev"})
    assert other.status_code == 404
    assert shared.counters()["requests"]["upload"] >= 4


# ---- large files


def test_large_file_in_chunks(writer):
    data = PARQUET + bytes(1000) + PARQUET
    batch = writer.batch()

    def received():
        return writer.send("HEAD", writer.file(batch)).headers.get("Range")

    assert writer.mark(batch, "INITIALIZE") == 201 and received() is None
    assert writer.patch(batch, 0, data[:500], len(data)).status_code == 200
    assert received() == "bytes=0-499"
    assert writer.patch(batch, 900, data[900:], len(data)).status_code == 200
    assert received() == "bytes=0-499", "there is a gap"
    assert writer.act(batch, "COMPLETE") == 400, "the file is open"
    assert writer.patch(batch, 500, data[500:900], len(data)).status_code == 200
    assert writer.patch(batch, 500, data[500:900], len(data)).status_code == 200, "sent again"
    assert writer.mark(batch, "COMPLETE") == 200 == writer.mark(batch, "COMPLETE")
    assert received() == f"bytes=0-{len(data) - 1}"
    assert writer.act(batch, "COMPLETE") == 200
    answer = writer.get(f"{EXPORT}/files/{batch}-1", {"path": "a.parquet"})
    assert answer.content == data


@pytest.mark.parametrize("chunks, total, text", [
    ([(0, 10), (12, 5)], "*", "bytes 10 to 11 are missing"),
    ([(0, 10), (9, 5)], "*", "chunks overlap at byte 9"),
    ([(3, 10)], "*", "bytes 0 to 2 are missing"),
    ([(0, 10)], 11, "10 bytes came, 11 were announced"),
])
def test_chunks_that_do_not_fit(writer, chunks, total, text):
    batch = writer.batch()
    writer.mark(batch, "INITIALIZE")
    for first, length in chunks:
        assert writer.patch(batch, first, b"x" * length, total).status_code == 200
    answer = writer.send("POST", writer.file(batch), params={"action": "COMPLETE"})
    assert text in detail(answer)
    assert writer.mark(batch, "INITIALIZE") == 201, "from the beginning"
    writer.patch(batch, 0, PARQUET)
    assert writer.mark(batch, "COMPLETE") == 200 == writer.act(batch, "COMPLETE")


def test_a_repeated_chunk_may_count_as_overlap(writer, shared):
    shared.options(repeated_chunk="overlaps")
    batch = writer.batch()
    writer.mark(batch, "INITIALIZE")
    for _ in range(2):
        writer.patch(batch, 0, PARQUET)
    assert writer.mark(batch, "COMPLETE") == 400


def test_bad_chunks(writer):
    batch = writer.batch()
    assert detail(writer.patch(batch, 0, b"x"), 404), "not initialized"
    assert writer.mark(batch, "INITIALIZE") == 201 and writer.mark(batch, "GO") == 400
    for span in ("bytes 0-5/6", "0-0", ""):
        answer = writer.send("PATCH", writer.file(batch), data=b"x",
                             headers=OCTETS | {"Content-Range": span})
        assert "Content-Range" in detail(answer)


# ---- actions


def test_abort_and_fail(writer):
    batch = writer.batch()
    assert writer.act(batch, "ABORT") == 200 == writer.act(batch, "abort")
    assert writer.row(batch)["status"] == "aborted"
    assert writer.put(batch).status_code == 400 == writer.act(batch, "COMPLETE")
    assert writer.act(writer.written(), "ABORT") == 400, "too late"
    batch = writer.batch()
    assert writer.act(batch, "FAIL") == 200 and writer.row(batch)["status"] == "failed"
    assert writer.act(batch, "JUMP") == 400 and writer.act("none", "ABORT") == 404


def test_revert(writer, shared):
    shared.options(deletion_ms=600_000)
    batch = writer.written()
    assert writer.act(writer.batch(), "REVERT") == 400, "it is loading"
    assert writer.act(batch, "REVERT") == 200 == writer.act(batch, "REVERT")
    assert writer.row(batch)["status"] == "inactive"
    assert writer.act(batch, "COMPLETE") == 400
    assert writer.get(f"{EXPORT}/files/{batch}-1").status_code == 404
    shared.options(deletion_ms=0)
    batch = writer.written()
    assert writer.act(batch, "REVERT") == 200 and writer.row(batch)["status"] == "deleted"


def test_replay_replaces(writer):
    one, two = writer.written(), writer.written(externalId="second")
    replay = {"predecessors": [f"${one}"], "predecessorsByExternalId": ["second"],
              "reason": "replace"}
    answer = writer.create(replay=replay)
    new = answer.json()["id"]
    assert answer.json()["replay"]["predecessors"] == [one]
    writer.put(new)
    assert writer.row(one)["status"] == "success", "not before the new one is there"
    assert writer.act(new, "COMPLETE") == 200
    for old in (one, two):
        row = writer.row(old)
        assert row["status"] == "inactive" and row["tags"]["acp_successor"] == [new]
    assert writer.row(new)["replay"]["reason"] == "replace"
    last = writer.written(replay={"predecessors": [new], "predecessorListingType": "ALL"})
    assert writer.row(one)["tags"]["acp_successor"] == [last]


def test_failed_replay_replaces_nothing(writer):
    one = writer.written()
    new = writer.written(b"no parquet", replay={"predecessors": [one]})
    assert writer.row(new)["status"] == "failed" and writer.row(one)["status"] == "success"


# ---- what the platform finds wrong


def test_what_is_not_parquet_fails_with_the_text_of_the_guide(writer):
    batch = writer.written(b"PAR1 and so on 9b7\n", "contact.csv")
    row = writer.row(batch)
    assert row["status"] == "failed"
    (error,) = row["errors"]
    assert error["code"] == "200" and error["rows"] == []
    assert re.search(r"^Error in validating schema for file: 'adl://\S+/contact.csv' with "
                     r"errorMessage=adl://\S+/contact.csv is not a Parquet file. expected magic "
                     r"number at tail \[80, 65, 82, 49\] but found \[57, 98, 55, 10\] and "
                     r"errorType=java.lang.RuntimeException$", error["description"])
    path = f"{EXPORT}/batches/{batch}/failed"
    assert [item["name"] for item in writer.rows(path)[0]] == ["contact.csv"]
    assert writer.get(path, {"path": "contact.csv"}).content == b"PAR1 and so on 9b7\n"


@pytest.mark.parametrize("form, data, code", [
    ("parquet", b"", "106"), ("csv", b"\n1,2\n", "118"), ("csv", b",,\n1,2\n", "118"),
    ("json", b'{"a": 1}\n{"a"\n', "INGEST-1212-400"), ("json", b"[1]\n", "INGEST-1212-400"),
])
def test_other_faults(writer, form, data, code):
    batch = writer.written(data, f"a.{form}", inputFormat={"format": form})
    row = writer.row(batch)
    assert row["status"] == "failed" and row["errors"][0]["code"] == code


def test_good_files_of_other_formats(writer):
    for form, data in (("csv", b"a,b\n1,2\n"), ("json", b'{"a": 1}\n{"a": 2}\n')):
        batch = writer.written(data, f"a.{form}", inputFormat={"format": form})
        assert writer.row(batch)["status"] == "success" and writer.row(batch)["errors"] == []
    multi = {"format": "json", "isMultiLineJson": True}
    batch = writer.written(b'[{"a":\n 1}]', "a.json", inputFormat=multi)
    assert writer.row(batch)["status"] == "success"
    batch = writer.written(b'[{"a":\n 1}', "a.json", inputFormat=multi)
    assert writer.row(batch)["errors"][0]["code"] == "INGEST-1401-400"


def test_partial_ingestion(writer):
    data = b'{"a": 1}\n{"a": 2}\n{"a": 3}\n{"a": \n'
    form = {"inputFormat": {"format": "json"}}
    batch = writer.written(data, "a.json", partialIngestionPercent=30, **form)
    row = writer.row(batch)
    assert row["status"] == "success" and row["metrics"]["failedRecordCount"] == 1
    assert row["errors"][0]["recordCount"] == 1
    line = writer.get(f"{EXPORT}/batches/{batch}/meta",
                      {"path": "row_errors/parsing_errors_0.json"}).json()
    assert line["_corrupt_record"] == '{"a": ' and line["_filename"] == "a.json"
    batch = writer.written(data, "a.json", partialIngestionPercentage=20, **form)
    assert writer.row(batch)["status"] == "failed"
    batch = writer.written(data, "a.json", partialIngestionPercent=30,
                           enableErrorDiagnostics=False, **form)
    assert writer.row(batch)["errors"][0]["code"] == "INGEST-1211-400"


def test_a_batch_without_files_fails(writer):
    batch = writer.batch()
    assert writer.act(batch, "COMPLETE") == 200
    assert writer.row(batch)["errors"][0]["code"] == "106"


def test_preview_shows_what_was_sent(shared, writer):
    del writer  # for its options
    other = Writer(shared, format="csv")
    other.written(b"name,age\nEsi,7\nBo,8\n", "a.csv", inputFormat={"format": "csv"})
    body = other.get(f"{EXPORT}/datasets/{other.dataset}/preview").json()
    assert body == {"data": [{"name": "Esi", "age": "7"}, {"name": "Bo", "age": "8"}]}


# ---- the journal


@pytest.fixture
def reader():
    """A client of a simulator whose journal has told nothing yet."""
    sim = Sim(World())
    sim.world.dataset("d1")
    sim.start()
    yield Reader(sim)
    sim.stop()


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


def test_journal_tells_of_ended_batches(reader):
    assert reader.follow()[0] == []
    answer = reader.ask()
    assert answer.status_code == 204 and answer.headers["Retry-After"] == "10"
    good, (bad,) = reader.ended(3), reader.ended(1, "failed")
    reader.ended(1, "loading")
    body = reader.ask(limit=2).json()
    assert body["_page"] == {"last": body["events"][1]["position"], "count": 2}
    found, since = reader.follow()
    assert set(found) == {*good, bad} and len(found) == 4
    events = {item["event"]["event"]["xdm:ingestionId"]: item["event"]
              for item in reader.ask().json()["events"]}
    assert events[bad]["event"]["xdm:eventCode"] == "ing_load_failure"
    event = events[good[0]]["event"]
    assert event["xdm:eventCode"] == "ing_load_success" and event["xdm:datasetId"] == "d1"
    assert event["xdm:sandboxName"] == "prod" and event["xdm:imsOrg"] == reader.sim.world.org
    assert event["header"]["_adobeio"]["eventCode"] == "platform_event"
    assert reader.follow(since)[0] == [] and reader.ask(latest="true").status_code == 204
    more = reader.ended(1)
    assert reader.follow(since)[0] == more


def test_journal_is_not_reliable(reader):
    assert reader.follow()[0] == []
    lost, twice, late, last = reader.ended(4)
    reader.sim.arm(f"journal_missing:match={lost} journal_duplicate:match={twice} "
                   f"journal_unordered:match={late}")
    assert reader.follow()[0] == [twice, twice, last, late]


def test_an_event_that_nothing_overtakes_comes_at_last(reader):
    reader.sim.arm("journal_unordered")
    (only,) = reader.ended(1)
    answers = [reader.ask() for _ in range(2)]
    assert [answer.status_code for answer in answers] == [204, 200]
    assert answers[1].json()["events"][0]["event"]["event"]["xdm:ingestionId"] == only


def test_old_positions_are_gone(reader):
    old = reader.sim.world.datasets["d1"].batch([5])
    reader.sim.options(journal_days=100_000)
    reader.sim.add(old)
    position = reader.ask().json()["events"][0]["position"]
    assert reader.follow(position)[0] == []
    reader.ended(1)
    reader.sim.options(journal_days=7)
    assert reader.ask(since=position).status_code == 200, "what follows is still kept"
    assert reader.ask(since="rabbit:start").status_code == 410
    assert len(reader.ask().json()["events"]) == 1, "without a position: the oldest that is kept"
    assert reader.ask(since="nowhere").status_code == 400


def test_journal_checks_its_own_headers(reader):
    answer = reader.get(JOURNAL)
    assert answer.json() == {"error_code": "400003", "message": "Missing header"}
    answer = reader.get(JOURNAL, headers={"x-ims-org-id": "FFFF@AdobeOrg"})
    assert answer.json()["error_code"] == "403025"
