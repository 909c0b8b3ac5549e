# SPDX-License-Identifier: Apache-2.0
"""The simulator's contract beyond batches and files: datasets, schemas, diagnostics."""
import json
import urllib.parse

import pytest

import xdm
from client import BATCHES, EXPORT, Client
from ground import BASE_MS, World
from sim import Sim

CATALOG = "/data/foundation/catalog"
DATASETS = CATALOG + "/dataSets"
REGISTRY = "/data/foundation/schemaregistry"


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


@pytest.fixture(scope="module", name="shared")
def shared_sim():
    """One simulator for all tests that leave its world as it is."""
    sim = Sim(filled(World())).start()
    yield sim
    sim.stop()


@pytest.fixture
def client(shared):
    """A client of it, and the options as they should be."""
    before = shared.options()
    yield Client(shared)
    shared.options(**before)
    shared.disarm()


@pytest.fixture
def world(shared):
    """What is there."""
    return shared.world


@pytest.fixture
def own():
    """A client of a simulator with a world alike, for tests that change it."""
    sim = Sim(filled(World())).start()
    yield Client(sim)
    sim.stop()


def ok(answer):
    """The JSON of an answer that must be good."""
    assert answer.status_code == 200, answer.text
    return answer.json()


def problem(answer):
    """Status and title of a refusal."""
    return answer.status_code, answer.json()["title"]


# ---- datasets


def test_datasets_are_keyed_and_look_real(client, world):
    rows = ok(client.get(DATASETS))
    assert set(rows) == {"d1", "d2"}
    row = rows["d1"]
    assert row["name"] == "Web events" and row["imsOrg"] == world.org
    assert row["fileDescription"] == {"persisted": True, "containerFormat": "parquet",
                                      "format": "parquet"}
    assert row["schemaRef"]["id"].startswith("https://ns.adobe.com/simtenant/schemas/")
    assert row["schemaRef"]["contentType"] == "application/vnd.adobe.xed+json;version=1"
    assert row["tags"]["adobe/siphon/table/format"] == ["delta"]
    assert row["classification"] == {"dataBehavior": "time-series", "managedBy": "CUSTOMER"}
    lake = row["extensions"]["adobe_lakeHouse"]
    assert lake["metrics"]["storageSize"] == 1250 and row["state"] == "ACTIVE"
    assert lake["metrics"]["rowCount"] == 11 + 3
    assert row["files"] == "@/dataSetFiles?dataSetId=d1"
    assert "fields" not in row and "schema" not in row
    assert rows["d2"]["fileDescription"]["delimiters"] == [","]
    assert rows["d2"]["classification"]["dataBehavior"] == "record"


def test_dataset_says_its_last_batches(client, world):
    good, bad, open_one = world.batches
    row = ok(client.get(DATASETS + "/d1"))["d1"]
    assert (row["lastBatchId"], row["lastBatchStatus"]) == (open_one, "loading")
    assert (row["lastSuccessfulBatch"], row["lastFailedBatch"]) == (good, bad)
    assert "lastBatchId" not in ok(client.get(DATASETS + "/d2"))["d2"]


def test_dataset_filters(client):
    def found(**params):
        return set(ok(client.get(DATASETS, params)))

    assert found(name="People") == {"d2"} == found(name="!Web events")
    assert found(name="People,Web events") == {"d1", "d2"}
    assert found(property="name~^Web") == {"d1"} == found(property="name==Web events")
    assert found(property="lastBatchId") == {"d1"} and found(property="!lastBatchId") == {"d2"}
    assert found(property=f"created>={BASE_MS}") == {"d2"}
    assert found(property="name!=People", state="ACTIVE") == {"d1"}
    assert found(tags="unifiedProfile:enabled:true") == {"d1"}
    assert found(tags="unifiedProfile:*,adobe/pqs/table:web*") == {"d1"}
    assert found(tags="unifiedProfile:*,adobe/pqs/table:peo*") == set()
    assert found(tags="adobe/pqs/table:*") == {"d1", "d2"}


def test_dataset_order_window_and_projection(client):
    def keys(**params):
        return list(ok(client.get(DATASETS, params)))

    assert keys(orderBy="desc:created") == ["d2", "d1"] == keys(sort="desc:created")
    assert keys(orderBy="name") == ["d2", "d1"] and keys(orderBy="desc:name") == ["d1", "d2"]
    assert keys(orderBy="asc:state,desc:name") == ["d1", "d2"]
    assert keys(orderBy="name", limit=1) == ["d2"]
    assert keys(orderBy="name", limit=1, start=1) == ["d1"] == keys(orderBy="name", offset=1)
    assert keys(start=2) == []
    assert ok(client.get(DATASETS, {"properties": "nothing"})) == {"d1": {}, "d2": {}}
    assert ok(client.get(DATASETS + "/d2", {"properties": "name,nothing"})) == {
        "d2": {"name": "People"}}


@pytest.mark.parametrize("query", [
    "limit=0", "limit=101", "limit=x", "start=-1", "offset=a", "orderBy=up:name", "tags=abc",
    "unknown=1", "created=soon", "properties=name,observableSchema&limit=21",
])
def test_bad_dataset_parameters(client, query):
    assert problem(client.get(f"{DATASETS}?{query}")) == (400, "BadRequestError")


def test_limits_of_dataset_lists():
    world = World()
    for number in range(120):
        world.dataset(f"d{number}")
    sim = Sim(world).start()
    try:
        client = Client(sim)
        assert len(ok(client.get(DATASETS))) == 20
        assert len(ok(client.get(DATASETS, {"limit": 100}))) == 100
        assert len(ok(client.get(DATASETS, {"limit": 100, "start": 100}))) == 20
        rows = ok(client.get(DATASETS, {"properties": "observableSchema", "limit": 20}))
        assert len(rows) == 20
        assert all(row["observableSchema"]["properties"] for row in rows.values())
    finally:
        sim.stop()


def test_single_datasets_have_a_version(client):
    answer = client.get(DATASETS + "/d1")
    tag = answer.headers["E-Tag"]
    assert tag == f'"{answer.json()["d1"]["version"]}"'
    assert client.get(DATASETS + "/d1", headers={"If-Match": tag}).status_code == 200
    assert problem(client.get(DATASETS + "/d1", headers={"If-Match": '"0.0.0"'})) == (
        412, "PreconditionFailedError")
    for name in ("none", "d3"):
        assert problem(client.get(f"{DATASETS}/{name}")) == (404, "NotFoundError")


def test_datasets_of_other_sandboxes(client):
    assert set(ok(client.get(DATASETS, headers={"x-sandbox-name": "dev"}))) == {"d3"}
    assert ok(client.get(DATASETS, headers={"x-sandbox-name": "qa"})) == {}


def test_dataset_patch_merges_deeply(own):
    def patch(changes, **headers):
        return own.session.patch(f"{own.sim.endpoint}{CATALOG}/v2/dataSets/d1", json=changes,
                                 headers=own.headers | headers)

    def shown():
        return ok(own.get(DATASETS + "/d1"))["d1"]

    assert ok(patch({"tags": {"mine": ["x"]}}, Pragma="validate-only")) == ["@/dataSets/d1"]
    assert "mine" not in shown()["tags"]
    assert ok(patch({"tags": {"mine": ["x"]}, "description": "all"})) == ["@/dataSets/d1"]
    assert shown()["tags"]["mine"] == ["x"] and shown()["description"] == "all"
    assert shown()["tags"]["unifiedProfile"] == ["enabled:true"]
    assert patch({"id": "other"}).status_code == 400
    assert patch({"name": "n"}, **{"If-Match": '"9"'}).status_code == 412


# ---- last batches and dataset files


def test_last_batches(client, world):
    good, bad, open_one = world.batches
    rows = ok(client.get(CATALOG + "/lastBatches"))
    assert set(rows) == {"d1", "d2"} and "lastBatchId" not in rows["d2"]
    assert rows["d1"] | {
        "lastBatchId": open_one, "lastBatchStatus": "loading", "imsOrg": world.org,
        "lastSuccessfulBatchId": good, "lastFailedBatchId": bad} == rows["d1"]

    def found(**params):
        return set(ok(client.get(CATALOG + "/lastBatches", params)))

    assert found(dataSetId="d1") == {"d1"} and found(dataSetId="d1,d2,d3") == {"d1", "d2"}
    assert found(lastBatchStatus="loading") == {"d1"} and found(lastFailedBatchId="x") == set()
    assert found(limit=1, orderBy="desc:updated") == {"d1"}
    assert ok(client.get(CATALOG + "/lastBatches", {"properties": "lastBatchId"}))["d2"] == {}


def test_dataset_files(client, world):
    good = next(iter(world.batches))
    rows = ok(client.get(CATALOG + "/dataSetFiles", {"dataSetId": "d1"}))
    assert set(rows) == {f"{good}-1"}
    row = rows[f"{good}-1"]
    assert row["batchId"] == good and row["availableDates"] == {}
    view = ok(client.get(DATASETS + "/d1"))["d1"]["viewId"]
    assert row["dataSetViewId"] == view
    assert ok(client.get(f"{DATASETS}/d1/views/{view}/files")) == rows
    assert client.get(f"{DATASETS}/d1/views/other/files").status_code == 404
    assert ok(client.get(f"{CATALOG}/dataSetFiles/{good}-1")) == rows
    assert client.get(f"{CATALOG}/dataSetFiles/none").status_code == 404
    assert ok(client.get(CATALOG + "/dataSetFiles", {"batchId": "x"})) == {}


def test_dataset_files_may_be_empty_for_tables(client, shared):
    shared.options(dataset_files="empty")
    assert ok(client.get(CATALOG + "/dataSetFiles")) == {}


# ---- the shapes of the guide


def test_seed_dataset_and_its_links(client, shared):
    shared.options(dataset_shape="seed", xdms=True)
    row = ok(client.get(DATASETS))["d1"]
    assert row["fileDescription"] == {"persisted": False, "format": "parquet"}
    assert {"name": "_id", "type": "string"} in row["fields"] and row["status"] == "enabled"
    assert {"name": "person", "type": "object"} in row["fields"]
    assert "schemaRef" not in row and "tags" not in row and row["aspect"] == "production"
    assert row["observableSchema"]["properties"]["score"]["type"] == "number"
    files = ok(client.get(CATALOG + row["files"].removeprefix("@")))
    assert len(files) == 1 and "id" not in next(iter(files.values()))
    schema = CATALOG + row["schema"].removeprefix("@")
    full = ok(client.get(schema, {"expansion": "xdm"}))
    assert full["properties"]["_id"]["meta:xdmType"] == "string"
    assert "properties" not in ok(client.get(schema)) and "allOf" in ok(client.get(schema))


def test_dead_members_and_xdms_are_off_by_default(client, shared):
    path = f"{CATALOG}/xdms/simtenant/schemas/{xdm.digest('d1')}"
    assert client.get(path, {"expansion": "xdm"}).status_code == 404
    shared.options(dead_members=True)
    row = ok(client.get(DATASETS))["d1"]
    assert row["schema"].startswith("@/xdms/") and row["fields"] and "schemaRef" in row


# ---- schemas


def accept(form, version="1"):
    """Headers with this Accept."""
    suffix = f"; version={version}" if version else ""
    return {"Accept": f"application/vnd.adobe.{form}+json{suffix}"}


def schema_of(client, dataset_id="d1"):
    """(path, reference) of a dataset's schema."""
    reference = ok(client.get(f"{DATASETS}/{dataset_id}"))[dataset_id]["schemaRef"]
    return f"{REGISTRY}/tenant/schemas/{urllib.parse.quote(reference['id'], safe='')}", reference


def test_schema_forms(client):
    path, reference = schema_of(client)
    raw = ok(client.get(path, headers=accept("xed")))
    full = ok(client.get(path, headers=accept("xed-full")))
    assert raw["$id"] == full["$id"] == reference["id"]
    assert raw["allOf"] and "properties" not in raw
    assert full["properties"]["person"]["properties"]["age"]["type"] == "integer"
    assert full["title"] == "Web events" and full["meta:class"].endswith("/experienceevent")
    bare = ok(client.get(path, headers=accept("xed-full-notext")))
    assert "title" not in bare and "title" not in bare["properties"]["_id"]
    assert "title" not in ok(client.get(path, headers=accept("xed-notext")))
    assert "meta:descriptors" in ok(client.get(path, headers=accept("xed-full-desc")))
    answer = client.get(path, headers={"Accept": reference["contentType"]})
    assert answer.headers["Content-Type"].startswith("application/vnd.adobe.xed+json")


def test_schema_by_alternative_id_and_version(client):
    _, reference = schema_of(client)
    path = f"{REGISTRY}/tenant/schemas/{xdm.alternative_id(reference['id'])}"
    assert ok(client.get(path, headers=accept("xed", "1.2")))["$id"] == reference["id"]
    assert client.get(path, headers=accept("xed", "2")).status_code == 404


@pytest.mark.parametrize("headers, code", [
    (accept("xed", None), "XDM-1007-400"), (accept("xed-id"), "XDM-1008-400"),
    ({"Accept": "application/json"}, "XDM-1008-400"), ({"Accept": "*/*"}, "XDM-1009-400"),
    ({"Accept": ""}, "XDM-1009-400"),
])
def test_lookups_are_strict_on_accept(client, headers, code):
    path, _ = schema_of(client)
    answer = client.get(path, headers=headers)
    body = answer.json()
    assert (answer.status_code, body["status"]) == (400, 400)
    assert body["type"] == f"http://ns.adobe.com/aep/errors/{code}"
    assert set(body["report"]) == {"registryRequestId", "timestamp", "detailed-message",
                                   "sub-errors"}
    assert body["report"]["detailed-message"] == body["detail"]


def test_unknown_schemas(client):
    for path in ("tenant/schemas/none", "global/schemas/_simtenant.schemas.x"):
        answer = client.get(f"{REGISTRY}/{path}", headers=accept("xed"))
        assert answer.status_code == 404 and answer.json()["type"].endswith("XDM-1012-404")


def test_schema_lists_page_by_keys():
    world = World()
    for number in range(12):
        world.dataset(f"d{number}", name=f"Name {number // 3}")
    world.dataset("g", name="Standard", schema="https://ns.adobe.com/xdm/context/profile",
                  behavior="record")
    sim = Sim(world).start()
    try:
        client = Client(sim)
        names = {"headers": accept("xed-id", None)}
        path, found, pages = f"{REGISTRY}/tenant/schemas?limit=4&orderby=desc:title", [], 0
        while path:
            body = ok(client.get(path, **names))
            found += [row["title"] for row in body["results"]]
            pages, path = pages + 1, (body["_links"]["next"] or {}).get("href")
        assert found == sorted(found, reverse=True) and len(found) == 12 and pages == 2
        row = body["results"][0]
        assert set(row) == {"title", "$id", "meta:altId", "version"}
        whole = ok(client.get(f"{REGISTRY}/global/schemas", headers=accept("xed", None)))
        assert [row["title"] for row in whole["results"]] == ["Standard"]
        assert whole["_page"] == {"orderby": "title", "next": None, "count": 1}
        answer = client.get(f"{REGISTRY}/tenant/schemas", headers=accept("xed"))
        assert answer.json()["type"].endswith("XDM-1006-400")
        assert client.get(f"{REGISTRY}/tenant/schemas?limit=501", **names).status_code == 400
    finally:
        sim.stop()


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
