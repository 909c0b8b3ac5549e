# SPDX-License-Identifier: Apache-2.0
"""The unpleasant faults of the simulator do what their rows say. One simulator for all."""
import email.utils
import gzip
import http.client
import json
import pathlib
import time
import urllib.parse

import pytest

from client import BATCHES, EXPORT, Client
from faults import TABLE
from ground import ODD_NAMES, World
from sim import Sim


@pytest.fixture(scope="module", name="served")
def served_sim():
    """A simulator of an empty world."""
    sim = Sim(World()).start()
    yield sim
    sim.stop()


class Scene:
    """A dataset of its own for one test: three batches of two files."""

    def __init__(self, sim):
        sim.reset()
        self.sim, self.world = sim, sim.world
        self.data = self.world.dataset()
        sim.add_dataset(self.data)
        self.batches = [self.add([5000, 700]) for _ in range(3)]
        self.client = Client(sim)
        sim.reset()

    def add(self, *args, **more):
        """One more batch."""
        batch = self.data.batch(*args, **more)
        self.sim.add(batch)
        return batch

    def list(self, **params):
        """The batches of the dataset."""
        return self.client.batches(dataSet=self.data.id, limit=100, **params)

    def get(self, batch):
        """A batch by its id."""
        return self.client.get(f"{BATCHES}/{batch.id}")

    def files(self, batch, **params):
        """The answer to a listing of physical files."""
        return self.client.get(f"{EXPORT}/files/{batch.id}-1", params)

    def now(self):
        """The world as it is now."""
        return World.from_json(self.sim.truth())


@pytest.fixture
def scene(served):
    """See Scene."""
    yield Scene(served)
    served.reset()


def content_of(batch, number=0):
    """The bytes of a file."""
    file = list(batch.rows())[number][1]
    return file.content().read(0, file.size)


# ---- lists of batches


def test_late_listing_and_the_reverse(scene):
    scene.sim.arm("late_listing:ms=600")
    batch = scene.add([100])
    assert batch.id not in scene.list() and scene.get(batch).status_code == 200
    time.sleep(0.7)
    assert batch.id in scene.list()
    scene.sim.disarm()
    scene.sim.arm("late_by_id:ms=600 late_listing:percent=0")
    batch = scene.add([100])
    assert batch.id in scene.list() and scene.get(batch).status_code == 404
    time.sleep(0.7)
    assert scene.get(batch).status_code == 200
    assert scene.sim.counters()["faults"] == {"late_by_id": 1, "late_listing": 0}


def test_updated_moves_without_a_change(scene):
    scene.sim.arm("updated_bumps:times=2")
    seen = [scene.list() for _ in range(4)]
    times = [row[scene.batches[0].id]["updated"] for row in seen]
    assert times[0] < times[1] <= times[2] == times[3]
    assert len({row[scene.batches[0].id]["version"] for row in seen}) == 3


def test_statuses_that_are_not_the_batches(scene):
    scene.add([100], status="processing")
    scene.sim.arm("status_flap:endpoint=batch unknown_status:endpoint=batches,times=1")
    assert [scene.get(scene.batches[0]).json()[scene.batches[0].id]["status"]
            for _ in range(2)] == ["staging", "success"]
    statuses = [sorted({row["status"] for row in scene.list().values()}) for _ in range(2)]
    assert statuses == [["reticulating", "success"], ["processing", "success"]]


def test_batches_that_appear(scene):
    scene.sim.arm("odd_batches huge_file")
    assert len(scene.list()) == 12
    world = scene.now()
    shapes = [sorted(file.name for _, file in batch.rows())
              for batch in world.of_dataset(scene.data.id)]
    assert [] in shapes and ["_SUCCESS"] in shapes and sorted(ODD_NAMES) in shapes
    assert ["part.parquet", "part.parquet"] in shapes
    assert any(batch.sub_of for batch in world.of_dataset(scene.data.id))
    huge = next(batch for batch in world.batches.values()
                if any(file.size == 5 << 30 for _, file in batch.rows()))
    span = ((4 << 30) + 7, (4 << 30) + 1006)
    want = next(huge.rows())[1].content().read(span[0], 1000)
    assert scene.client.read(huge, span=span).content == want


def test_sub_batches_without_a_listing(scene):
    sub = scene.data.sub_batch(scene.batches[0])
    scene.sim.add(sub)
    path = f"{EXPORT}/batches/{urllib.parse.quote(sub.id, safe='')}/files"
    assert scene.client.get(path).json()["data"] == []
    scene.sim.arm("sub_batch_404")
    assert scene.client.get(path).status_code == 404
    assert scene.client.get(f"{EXPORT}/batches/{scene.batches[0].id}/files").status_code == 200


# ---- lists of files


def test_listings_that_lack_rows(scene):
    batch = scene.add([100] * 250)
    scene.sim.arm("files_partial")
    assert [len(scene.client.rows(f"{EXPORT}/files/{batch.id}-1")[0]) for _ in range(2)] == [
        125, 250]
    scene.sim.disarm()
    scene.sim.arm("empty_page")
    rows = [len(scene.client.rows(f"{EXPORT}/files/{batch.id}-1")[0]) for _ in range(2)]
    assert rows == [100, 250]
    scene.sim.arm("empty_page:endpoint=batches,nth=2")
    assert [len(scene.list()) for _ in range(3)] == [4, 0, 4]


def test_lengths_that_differ(scene):
    scene.sim.arm("listing_length:bytes=7 head_length:bytes=-9,times=1")
    assert [scene.files(scene.batches[0]).json()["data"][0]["length"] for _ in range(2)] == [
        "5007", "5000"]
    assert [scene.client.read(scene.batches[0], method="HEAD").headers["Content-Length"]
            for _ in range(2)] == ["4991", "5000"]


# ---- events


@pytest.mark.parametrize("how", ["rename", "compact"])
def test_compaction_under_a_download(scene, how):
    batch = scene.batches[0]
    scene.sim.arm(f"compaction:how={how},endpoint=content")
    assert scene.client.read(batch).status_code == 404
    now = scene.now().batches[batch.id]
    assert len(now.former) == 1 and scene.client.read(now).status_code == 200


def test_consolidation_in_the_middle(scene):
    scene.sim.arm("consolidation:batches=2,endpoint=batches")
    rows = scene.list()
    first, second, third = scene.batches
    made = next(row for name, row in rows.items() if name not in scene.world.batches)
    assert made["replay"] == {"predecessors": [first.id, second.id], "reason": "consolidation"}
    assert [rows[batch.id]["status"] for batch in scene.batches] == [
        "inactive", "inactive", "success"]
    assert rows[first.id]["tags"]["acp_successor"] and not rows[third.id]["replay"]
    assert made["metrics"]["outputRecordCount"] == first.records() + second.records()


def test_replacement_in_the_middle(scene):
    scene.sim.arm("replacement:endpoint=content,reason=Replacing_for_2020-04-09,listing=ALL")
    assert scene.client.read(scene.batches[0]).status_code == 404
    made = next(batch for batch in scene.now().of_dataset(scene.data.id) if batch.replay)
    assert made.replay == {"predecessors": [scene.batches[0].id],
                           "predecessorListingType": "ALL",
                           "reason": "Replacing for 2020-04-09"}


def test_withdrawal_in_the_middle(scene):
    first, second, _ = scene.batches
    scene.sim.arm("reverted:deleted_ms=300,endpoint=content row_expiry:endpoint=files")
    assert scene.client.read(first).status_code == 404
    status = scene.get(first).json()[first.id]["status"]
    time.sleep(0.4)
    assert (status, scene.get(first).json()[first.id]["status"]) == ("inactive", "deleted")
    assert len(scene.files(second).json()["data"]) == 1
    assert scene.now().batches[second.id].expired[0][1:] == [0, 8]
    scene.sim.arm("dataset_deleted:endpoint=batch")
    assert scene.get(second).status_code == 404 and scene.list() == {}


# ---- contents


def test_bodies_with_odd_headers(scene):
    batch = scene.batches[0]
    scene.sim.arm("chunked_body wrong_content_type:times=1")
    answer = scene.client.read(batch)
    assert answer.content == content_of(batch) and "Content-Length" not in answer.headers
    assert answer.headers["Content-Type"] == "text/html"
    scene.sim.arm("no_content_range")
    answer = scene.client.read(batch, span=(10, 19))
    assert answer.status_code == 206 and "Content-Range" not in answer.headers
    scene.sim.arm("gzip_body")
    answer = scene.client.read(batch, span=(10, 1009))
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.content == content_of(batch)[10:1010]
    assert scene.client.read(batch).headers["Content-Type"] == "application/parquet"


@pytest.mark.parametrize("at, where", [(-1, 4999), (0, 0), (1234, 1234)])
def test_bit_flip(scene, at, where):
    scene.sim.arm(f"bit_flip:at={at}")
    got, want = scene.client.read(scene.batches[0]).content, content_of(scene.batches[0])
    assert [number for number in range(5000) if got[number] != want[number]] == [where]


def test_bodies_that_take_long(scene):
    batch = scene.batches[0]
    scene.sim.arm("stall:seconds=0.4")
    began = time.monotonic()
    assert scene.client.read(batch).content == content_of(batch)
    assert time.monotonic() - began > 0.4
    scene.sim.arm("cut_off:seconds=0.2 slow:bytes_per_second=5000")
    began = time.monotonic()
    answer = scene.client.read(batch)
    assert 0 < len(answer.content) < 5000 and 0.2 < time.monotonic() - began < 5


# ---- throttling, refusals


def test_retry_after_in_other_forms(scene):
    scene.sim.arm("retry_after_date:seconds=30 retry_after_odd:times=4")
    said = [scene.client.get(BATCHES).headers["Retry-After"] for _ in range(5)]
    wait = email.utils.parsedate_to_datetime(said[0]).timestamp() - time.time()
    assert 20 < wait <= 31 and said[1:] == ["0", "-5", "86400", "soon"]


def test_growing_penalty(scene):
    scene.sim.arm("growing_penalty:every=1,seconds=0.3,grace_ms=0")
    answers = [scene.client.get(BATCHES) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 429, 429, 429]
    assert [answer.headers["Retry-After"] for answer in answers[1:]] == ["0.3", "0.6", "1.2"]
    time.sleep(1.3)
    assert scene.client.get(BATCHES).status_code == 200


def test_limits_of_the_gateway(scene):
    scene.sim.arm("storm_503:ms=400")
    assert scene.client.get(BATCHES).status_code == 503
    time.sleep(0.5)
    assert scene.client.get(BATCHES).status_code == 200
    scene.sim.disarm()
    scene.sim.arm("crowd_500:running=0")
    assert scene.client.get(BATCHES).status_code == 500
    scene.sim.disarm()
    for fault in ("endpoint_bucket", "sandbox_bucket"):
        scene.sim.arm(f"{fault}:burst=2,per_second=0.1")
        assert [scene.client.get(BATCHES).status_code for _ in range(3)] == [200, 200, 429]
        scene.sim.disarm()


def test_refusals(scene):
    scene.sim.arm("permission_lost gateway_timeout:seconds=0.2,nth=1,endpoint=batch")
    assert scene.client.get(BATCHES).json()["error_code"] == "403025"
    assert scene.get(scene.batches[0]).status_code == 504
    scene.sim.arm("error_bodies:status=500")
    answers = [scene.client.get(BATCHES) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [500] * 10 + [200]
    assert len({answer.text for answer in answers}) == 11


# ---- connections


def test_redirect(scene):
    scene.sim.arm("redirect:to=http://127.0.0.1:9/x")
    answer = scene.client.session.get(scene.sim.endpoint + BATCHES, allow_redirects=False,
                                      headers=scene.client.headers)
    assert answer.status_code == 307
    assert answer.headers["Location"] == "http://127.0.0.1:9/x" + BATCHES


def test_connections_that_misbehave(scene):
    scene.sim.arm("closed_at_idle")
    line = http.client.HTTPConnection(scene.sim.endpoint.removeprefix("http://"), timeout=10)
    line.request("GET", BATCHES, headers=scene.client.headers)
    answer = line.getresponse()
    answer.read()
    assert not answer.will_close and line.sock.recv(1) == b""
    line.close()
    scene.sim.arm("slow_header:seconds=0.5")
    began = time.monotonic()
    assert scene.client.get(BATCHES).text == ""  # requests takes the end for the header's
    assert time.monotonic() - began > 0.5


def test_skewed_date(scene):
    scene.sim.arm("skewed_date:seconds=-3600")
    said = email.utils.parsedate_to_datetime(scene.client.get(BATCHES).headers["Date"])
    assert 3590 < time.time() - said.timestamp() < 3700


# ---- shapes


def test_shapes_drift(scene):
    batch = scene.batches[0]
    path = f"{EXPORT}/files/{batch.id}-1"
    plain, row = scene.list()[batch.id], scene.files(batch).json()["data"][0]
    scene.sim.arm("extra_fields:times=2")
    assert scene.list()[batch.id].items() > plain.items()
    assert scene.client.get(path).json()["data"][0].items() > row.items()
    scene.sim.arm("null_fields:times=1")
    assert scene.list()[batch.id]["replay"] is None
    scene.sim.arm("missing_fields:times=1")
    assert set(plain) - set(scene.list()[batch.id]) >= {"replay", "errors", "externalId"}
    scene.sim.arm("numbers_as_text:times=2")
    assert scene.list()[batch.id]["created"] == str(batch.created)
    assert scene.client.get(path).json()["data"][0]["length"] == 5000


def test_documents_that_cannot_be_read(scene):
    scene.sim.arm("truncated_json json_as_text:times=1")
    answer = scene.client.get(BATCHES)
    assert answer.headers["Content-Type"].startswith("text/plain")
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.text)
    scene.sim.arm("gzip_json")
    raw = scene.client.session.get(scene.sim.endpoint + BATCHES, headers=scene.client.headers
                                   | {"Accept-Encoding": "identity"}, stream=True).raw
    assert json.loads(gzip.decompress(raw.read(decode_content=False)))


def test_every_fault_has_a_test():
    """By name, in one of the files beside this one."""
    here = pathlib.Path(__file__).parent
    text = "".join(path.read_text(encoding="utf-8") for path in here.glob("test_sim_*.py"))
    assert [name for name in TABLE if name not in text] == []
