# SPDX-License-Identifier: Apache-2.0
"""The simulator's previews and diagnostics, and what holds for the answers of all its services."""
import json
import pathlib
import re
import urllib.parse

import pytest

import ground
from client import BATCHES, EXPORT, Client
from ground import World
from sim_rig import borrowed, filled, ok, problem, running

CATALOG = "/data/foundation/catalog"
DATASETS = CATALOG + "/dataSets"


@pytest.fixture(scope="module", name="shared")
def shared_sim():
    """One simulator for all tests that leave its world as it is."""
    with running(filled(World())) as sim:
        yield sim


@pytest.fixture
def client(shared):
    """A client of it."""
    with borrowed(shared):
        yield Client(shared)


@pytest.fixture
def world(shared):
    """What is there."""
    return shared.world


@pytest.fixture
def own():
    """A client of a simulator with a world alike, for tests that change it."""
    with running(filled(World())) as sim:
        yield Client(sim)


# ---- preview and diagnostics


def test_preview_shows_the_first_rows(own):
    client, sim, world = own, own.sim, own.sim.world
    rows = ok(client.get(EXPORT + "/datasets/d1/preview"))["data"]
    assert len(rows) == 14 and set(rows[0]) == set(world.datasets["d1"]["fields"])
    assert isinstance(rows[0]["person"]["age"], int)
    sim.add(world.datasets["d1"].batch([100_000]))
    assert len(ok(client.get(EXPORT + "/datasets/d1/preview"))["data"]) == 100
    assert ok(client.get(EXPORT + "/datasets/d2/preview")) == {"data": []}
    assert client.get(EXPORT + "/datasets/d3/preview").status_code == 404
    dataset = world.dataset("lines", format="json")
    sim.add_dataset(dataset)
    assert problem(client.get(EXPORT + "/datasets/lines/preview")) == (400, "BadRequestError")


def test_failed_files_can_be_read(client, world):
    good, bad, _ = world.batches.values()
    path = f"{EXPORT}/batches/{bad.id}/failed"
    rows, pages = client.rows(path)
    assert [(row["name"], row["length"]) for row in rows] == [("bad.csv", "400")] and pages == 1
    href = urllib.parse.urlsplit(rows[0]["_links"]["self"]["href"])
    answer = client.get(f"{href.path}?{href.query}")
    assert answer.content == next(bad.rows())[1].content().read(0, 400)
    assert client.get(path, {"path": "no"}).status_code == 404
    assert client.rows(f"{EXPORT}/batches/{good.id}/failed") == ([], 1)
    assert client.get(f"{EXPORT}/batches/none/failed").status_code == 404


def test_meta_is_a_tree_of_error_rows(own):
    client, sim, world = own, own.sim, own.sim.world
    batch = world.datasets["d1"].batch([500], failed_records=5)
    sim.add(batch)
    path = f"{EXPORT}/batches/{batch.id}/meta"
    assert {row["name"] for row in client.rows(path)[0]} == {
        "row_errors_sample.json", "row_errors", "input_files"}
    rows = ok(client.get(path, {"path": "row_errors"}))["data"]
    assert [row["name"] for row in rows] == ["conversion_errors_0.json", "parsing_errors_0.json"]
    assert rows[0]["_links"]["self"]["href"].endswith("?path=row_errors%2Fconversion_errors_0.json")
    lines = []
    for row in rows:
        href = urllib.parse.urlsplit(row["_links"]["self"]["href"])
        answer = client.get(f"{href.path}?{href.query}")
        assert len(answer.content) == int(row["length"])
        lines += [json.loads(line) for line in answer.text.splitlines()]
    assert len(lines) == 5 and all(line["_filename"] and line["_errors"] for line in lines)
    assert [set(line["_errors"][0]) >= {"code", "message"} for line in lines] == [True] * 5
    assert sum("_corrupt_record" in line for line in lines) == 2
    sample = client.get(path, {"path": "row_errors_sample.json"}).text
    assert len(sample.splitlines()) == 5
    inputs = client.get(path, {"path": "input_files/fileMetaData1.json"}).text
    assert json.loads(inputs) == {"path": next(batch.rows())[1].name}
    assert client.get(path, {"path": "row_errors/none"}).status_code == 404
    assert client.get(path, {"path": "row_errors/"}).status_code == 200


def errors_of(client, batch):
    """errors[] of a batch."""
    return client.batches(batch=batch.id)[batch.id]["errors"]


def test_errors_of_failed_batches(own):
    client, sim, world = own, own.sim, own.sim.world
    good, bad, _ = world.batches.values()
    assert errors_of(client, good) == []
    (error,) = errors_of(client, bad)
    tail = list(next(bad.rows())[1].content().read(396, 4))
    assert error["code"] == "200" and error["rows"] == []
    assert f"expected magic number at tail [80, 65, 82, 49] but found {tail}" in (
        error["description"])
    assert "bad.csv" in error["description"]
    dataset = world.datasets["d1"]
    hollow = dataset.batch([0], status="failed")
    header = world.datasets["d2"].batch([("a.csv", 9)], status="failed")
    rows = dataset.batch([10], status="failed", failed_records=3)
    partial = dataset.batch([10], failed_records=2)
    silent = dataset.batch([10], failed_records=1,
                           tags={"acp_enableErrorDiagnostics": ["false"]})
    sim.add(hollow, header, rows, partial, silent)
    codes = [(errors_of(client, batch)[0]["code"], errors_of(client, batch)[0].get("recordCount"))
             for batch in (hollow, header, rows, partial, silent)]
    assert codes == [("106", None), ("118", None), ("INGEST-1212-400", 3),
                     ("INGEST-1212-400", 2), ("INGEST-1211-400", 1)]
    row = client.batches(batch=rows.id)[rows.id]
    assert row["failedBatchLocation"].endswith(f"{rows.id}/d1")
    names = {row["name"] for row in client.rows(f"{EXPORT}/batches/{silent.id}/meta")[0]}
    assert names == {"input_files"}
    assert client.get(f"{BATCHES}/{partial.id}").json()[partial.id]["status"] == "success"


# ---- what holds for all services


def test_batch_filters_on_tags_and_dates(own):
    dataset = own.sim.world.datasets["d1"]
    tagged = dataset.batch([1], tags={"flowId": ["f1", "f2"], "percent": 5})
    dated = dataset.batch([1], extra={"availableDates": {"startDate": 1000, "endDate": 2000}})
    own.sim.add(tagged, dated)
    assert set(own.batches(tags="flowId:f2")) == {tagged.id} == set(own.batches(tags="percent:5"))
    assert own.batches(tags="flowId:f2,percent:6") == {}
    assert set(own.batches(startAfter=999_999)) == {dated.id} == set(own.batches(endBefore=2000001))
    assert own.batches(startAfter=1_000_000) == {} == own.batches(endAfter=2_000_000)


def test_property_operators_can_be_missing(client, shared):
    queries = ["status", "!status", "status==success", "created>=1", "created<1", "status~^s"]
    for path in (BATCHES, DATASETS):
        assert all(client.get(path, {"property": query}).status_code == 200 for query in queries)
    shared.options(property_operators="exists ==")
    for path in (BATCHES, DATASETS):
        assert [client.get(path, {"property": query}).status_code for query in queries] == [
            200, 400, 200, 400, 400, 400]


def test_batches_have_versions_too(client, world):
    name = next(iter(world.batches))
    tag = client.get(f"{BATCHES}/{name}").headers["E-Tag"]
    assert client.get(f"{BATCHES}/{name}", headers={"If-Match": tag}).status_code == 200
    assert client.get(f"{BATCHES}/{name}", headers={"If-Match": '"7"'}).status_code == 412


def test_gzip_on_listings_for_those_who_ask(client, shared):
    def encoding(path, accept):
        answer = client.get(path, headers={"Accept-Encoding": accept})
        assert ok(answer)
        return answer.headers.get("Content-Encoding")

    for path in (DATASETS, BATCHES, EXPORT + "/datasets/d1/preview"):
        assert encoding(path, "gzip, deflate") == "gzip"
        assert encoding(path, "identity") is None
    shared.options(gzip=False)
    assert encoding(DATASETS, "gzip") is None


def test_wrong_sandboxes(client, shared):
    other = {"x-sandbox-name": "nobody"}
    for path in (DATASETS, BATCHES, CATALOG + "/lastBatches", CATALOG + "/dataSetFiles"):
        assert ok(client.get(path, headers=other)) == {}
    for status, title in ((403, "ForbiddenError"), (404, "NotFoundError")):
        shared.options(wrong_sandbox=status)
        assert problem(client.get(DATASETS, headers=other)) == (status, title)
        assert set(ok(client.get(DATASETS, headers={"x-sandbox-name": "dev"}))) == {"d3"}


@pytest.mark.parametrize("shape, kind, members", [
    ("gateway", "application/json", {"error_code", "message"}),
    ("gateway_number", "application/json", {"error_code", "message"}),
    ("problem", "application/json", {"type", "title", "status", "detail", "report",
                                     "error-chain"}),
    ("registry", "application/json", {"type", "title", "status", "detail", "report"}),
    ("older", "application/json", {"type", "title", "status", "detail"}),
    ("flow", "application/json", {"errorMessage"}),
    ("ims", "application/json", {"error", "error_description"}),
    ("text", "text/plain", None), ("html", "text/html", None), ("empty", "text/plain", None),
])
def test_refusals_in_all_shapes(client, shared, shape, kind, members):
    shared.options(error_shape=shape)
    answer = client.get(f"{BATCHES}/none")
    assert answer.status_code == 404 and answer.headers["Content-Type"].startswith(kind)
    if members is None:
        assert bool(answer.text) == (shape != "empty")
    else:
        assert set(answer.json()) == members and "x-request-id" in answer.headers
    if shape == "gateway_number":
        assert answer.json()["error_code"] == 404_000


def test_unknown_options_are_refused(shared):
    with pytest.raises(ValueError):
        shared.options(colour="red")
    with pytest.raises(ValueError):
        World().dataset("d", colour="red")


def test_faults_reach_the_wider_services(client, shared):
    shared.arm("error_503:endpoint=datasets|preview,times=2 short_pages:endpoint=datasets,rows=1")
    assert client.get(DATASETS).status_code == 503
    assert client.get(EXPORT + "/datasets/d1/preview").status_code == 503
    assert len(ok(client.get(DATASETS))) == 1


def test_attributes_of_datasets_survive_json():
    world = filled(World())
    again = World.from_json(world.to_json())
    assert again.datasets["d2"]["format"] == "csv" and again.datasets["d2"]["name"] == "People"
    assert again.datasets["d1"]["fields"] == world.datasets["d1"]["fields"]
    assert again.to_json()["datasets"] == world.to_json()["datasets"]


def test_readme_names_all_options_and_controls():
    here = pathlib.Path(ground.__file__).parent
    text = (here / "README.md").read_text(encoding="utf-8")
    control = (here / "control.py").read_text(encoding="utf-8")
    calls = [f"{verb.upper()} {path}" for verb, path in
             re.findall(r'web\.(get|post)\(CONTROL \+ "(\w+)"', control)]
    assert len(calls) > 10 and [call for call in calls if f"`{call}`" not in text] == []
    assert [name for name in ground.OPTIONS if f"`{name}`" not in text] == []
