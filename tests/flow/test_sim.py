# SPDX-License-Identifier: Apache-2.0
"""The simulator keeps its contract: tokens, header checks, filters, pages, ranges, counters."""
import dataclasses
import time
import urllib.parse

import pytest

from client import BATCHES, EXPORT, Client
from content import Content, crc32c
from crc32c_table import crc32c as crc32c_slow
from ground import BASE_MS, ODD_NAMES, World
from sim import Sim


@pytest.fixture
def client(world, sim):
    """A client of a world with one dataset of three batches."""
    dataset = world.dataset("d1")
    for number, form in enumerate(("ulid", "hex", "uuid")):
        dataset.batch([100_000, 10 * number], form=form)
    return Client(sim.start())


def first(world):
    """The first batch of a world."""
    return next(iter(world.batches.values()))


# ---- contents


def test_content_is_the_same_from_any_offset():
    content = Content("some file", 2_500_000)
    whole = b"".join(content.chunks(step=77_777))
    assert len(whole) == 2_500_000
    for offset in (0, 1, 8, 1_048_570, 1_048_573, 1_048_575, 2_097_145, 2_499_999):
        assert content.read(offset, 100) == whole[offset:offset + 100]
    assert content.read(0, 8) != content.read(1_048_573, 8)
    assert content.read(9, 100) != content.read(9 + (1 << 20), 100)
    assert content.crc32c() == crc32c(whole)


@pytest.mark.parametrize("size", [13, 14, 20, 1000, 1_048_573, 2_500_000])
def test_content_is_as_its_name_promises(size):
    content = Content("k", size, "a.snappy.parquet")
    whole = b"".join(content.chunks(step=7 if size < 100 else 77_777))
    assert whole[:4] == whole[-4:] == b"PAR1" and len(whole) == size
    assert 0 < int.from_bytes(whole[-8:-4], "little") <= size - 12
    for at in range(max(0, size - 12), size):
        assert Content("k", size, "a.parquet").read(at, 5) == whole[at:at + 5]
    assert Content("k", size, "a.CSV").read(size - 3, 9)[-1:] == b"\n"
    assert Content("k", size, "a.json").read(0, size)[:-1] == Content("k", size).read(0, size - 1)


def test_crc32c_known_answer():
    assert crc32c(b"123456789") == crc32c_slow(b"123456789") == 0xE3069283
    assert crc32c_slow(b"6789", crc32c_slow(b"12345")) == 0xE3069283


def test_content_of_a_huge_file_costs_nothing():
    content = Content("huge", 5 << 30)
    began = time.monotonic()
    assert len(content.read((5 << 30) - 10, 100)) == 10
    read = sum(len(chunk) for chunk in content.chunks(4 << 30, (4 << 30) + (200 << 20) - 1))
    assert read == 200 << 20
    assert time.monotonic() - began < 1


def test_world_survives_json():
    world = World(seed=7)
    dataset = world.dataset()
    parent = dataset.batch(directories=[[1, 2], [("odd name", 3)]], nested=True,
                           status="loading")
    dataset.sub_batch(parent)
    again = World.from_json(world.to_json())
    assert again.to_json() == {**world.to_json(), "batches": again.to_json()["batches"]}
    for mine, other in zip(world.batches.values(), again.batches.values()):
        assert dataclasses.replace(mine, born=0) == dataclasses.replace(other, born=0)


# ---- tokens and headers


def test_token_by_form_and_by_query(client):
    for version in ("v3", "v2"):
        answer = client.ims(version)
        assert answer.status_code == 200
        assert answer.json()["token_type"] == "bearer"
        assert answer.json()["expires_in"] == 86399
        assert answer.json()["access_token"].count(".") == 2


@pytest.mark.parametrize("changes, status, error", [
    ({"client_secret": "p8e-second-secret"}, 200, None),
    ({"client_secret": "wrong"}, 401, "invalid_client"),
    ({"client_id": "wrong"}, 400, "invalid_client"),
    ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ({"scope": ""}, 400, "invalid_scope"),
])
def test_token_refusals(client, changes, status, error):
    answer = client.ims(**changes)
    assert (answer.status_code, answer.json().get("error")) == (status, error)


@pytest.mark.parametrize("changes, status, code, message", [
    ({"x-api-key": None, "Authorization": None}, 403, "403000", "Api Key is required"),
    ({"x-api-key": "other"}, 403, "403003", "Api Key is invalid"),
    ({"Authorization": None}, 403, "403010", "Oauth token is missing."),
    ({"Authorization": "", "x-gw-ims-org-id": None}, 403, "403010", "Oauth token is missing."),
    ({"Authorization": "Bearer x.y.z"}, 401, "401013", "Oauth token is not valid"),
    ({"Authorization": "Basic abc"}, 401, "401013", "Oauth token is not valid"),
    ({"x-gw-ims-org-id": None}, 400, "400003", "Missing header"),
    ({"x-gw-ims-org-id": "0123"}, 403, "403027", "User region is missing"),
    ({"x-gw-ims-org-id": "FFFF@AdobeOrg"}, 403, "403025", "Profile is not valid"),
    ({"x-sandbox-name": None}, 400, "400003", "Missing header"),
])
def test_header_checks_have_an_order(client, changes, status, code, message):
    answer = client.get(BATCHES, headers=changes)
    assert answer.status_code == status
    assert answer.json() == {"error_code": code, "message": message}


def test_other_sandbox_is_empty(client, world):
    other = {"x-sandbox-name": "dev"}
    assert client.get(BATCHES, headers=other).json() == {}
    assert client.get(f"{BATCHES}/{first(world).id}", headers=other).status_code == 404
    files = f"{EXPORT}/batches/{first(world).id}/files"
    assert client.get(files, headers=other).status_code == 404


def test_tokens_expire_and_can_be_revoked(client, sim):
    sim.set(token_ttl=1)
    answer = client.ims().json()
    assert answer["expires_in"] == 1
    short = {"Authorization": f"Bearer {answer['access_token']}"}
    assert client.get(BATCHES, headers=short).status_code == 200
    time.sleep(1.1)
    assert client.get(BATCHES, headers=short).status_code == 401
    assert client.get(BATCHES).status_code == 200
    sim.revoke()
    assert client.get(BATCHES).status_code == 401


# ---- Catalog


def test_batches_keyed_and_ordered(client, world):
    assert set(client.batches(dataSet="d1")) == set(world.batches)
    up = [row["created"] for row in client.batches(orderBy="asc:created").values()]
    down = [row["created"] for row in client.batches(sort="desc:created").values()]
    assert up == sorted(up) and down == up[::-1] and len(up) == 3


def test_time_bounds_are_exclusive(client, world):
    ids = list(world.batches)

    def found(**params):
        return list(client.batches(orderBy="created", **params))

    assert found(createdAfter=BASE_MS) == ids[1:]
    assert found(createdAfter=BASE_MS - 1) == ids
    assert found(createdBefore=BASE_MS + 2000) == ids[:2]
    assert found(createdAfter=BASE_MS, createdBefore=BASE_MS + 2000) == ids[1:2]
    assert found(created=BASE_MS + 1000) == ids[1:2]
    assert found(createdAfter=BASE_MS + 5000) == []


def test_filters(client, world, sim):
    one, two, three = world.batches
    sim.call("POST", "status", {two: "failed", three: "active"})
    assert set(client.batches(status="success,active")) == {one, three}
    assert set(client.batches(status="!success,active")) == {two}
    assert set(client.batches(batch=two)) == {two}
    assert client.batches(dataSet="other") == {}
    assert set(client.batches(dataSet="!other")) == set(world.batches)
    assert set(client.batches(property="status==failed")) == {two}
    assert set(client.batches(property=f"created>={BASE_MS + 1000}")) == {two, three}
    assert set(client.batches(property="id~^01")) == {one}
    assert set(client.batches(property="!nothing")) == set(world.batches)


@pytest.mark.parametrize("query", [
    "limit=0", "limit=-1", "limit=101", "limit=abc", "start=-1", "createdAfter=yesterday",
    "datasetId=d1", "created=1.5", "limit=5&limit=6", "orderBy=up:created", "property=a-b",
])
def test_bad_parameters_are_refused(client, query):
    answer = client.get(f"{BATCHES}?{query}")
    assert answer.status_code == 400
    assert answer.json()["title"] == "BadRequestError"


def test_limit_defaults_and_offsets(client, sim, world):
    dataset = world.dataset("many")
    sim.add_dataset(dataset)
    sim.add(*[dataset.batch([1], created=BASE_MS + 77) for _ in range(250)])
    query = {"dataSet": "many", "orderBy": "asc:created"}
    assert len(client.batches(**query)) == 20
    assert len(client.batches(**query, limit=100)) == 100
    found = [name for start in (0, 100, 200) for name in
             client.batches(**query, limit=100, start=start, created=BASE_MS + 77)]
    assert sorted(found) == sorted(b.id for b in world.batches.values() if b.dataset == "many")
    assert len(client.batches(**query, offset=240)) == 10
    assert client.batches(**query, start=250) == {}


def test_properties_and_single_objects(client, world):
    batch = first(world)
    assert client.batches(properties="nothing", batch=batch.id) == {batch.id: {}}
    assert client.batches(properties="status,created", batch=batch.id) == {
        batch.id: {"status": "success", "created": batch.created}}
    for path in (BATCHES, "/data/foundation/catalog/batch"):
        answer = client.get(f"{path}/{batch.id}")
        assert list(answer.json()) == [batch.id] and "E-Tag" in answer.headers
    assert client.get(f"{BATCHES}/unknown").status_code == 404


def test_metrics_agree_with_files(client, world):
    batch = list(world.batches.values())[1]
    metrics = client.batches(batch=batch.id)[batch.id]["metrics"]
    assert metrics["outputFileCount"] == 2 and metrics["outputByteSize"] == 100_010


def test_life_cycle_by_time_and_by_command(client, sim, world):
    dataset = world.datasets["d1"]
    batch = dataset.batch([5], life=[[0, "loading"], [300, "staging"], [600, "success"]])
    sim.add(batch)

    def status():
        return client.batches(batch=batch.id)[batch.id]["status"]

    assert status() == "loading"
    assert client.rows(f"{EXPORT}/batches/{batch.id}/files")[0] == []
    time.sleep(0.7)
    assert status() == "success"
    assert len(client.rows(f"{EXPORT}/batches/{batch.id}/files")[0]) == 1
    sim.set_status(batch, "inactive")
    assert status() == "inactive"
    assert client.read(batch).status_code == 404


def test_sub_batches_have_no_files(client, sim, world):
    parent = first(world)
    sub = world.datasets["d1"].sub_batch(parent)
    sim.add(sub)
    row = client.batches(batch=sub.id)[sub.id]
    assert {"type": "batch", "id": parent.id} in row["relatedObjects"]
    assert "recordsWritten" in row["metrics"] and sub.id.endswith("-INGEST")
    assert client.rows(f"{EXPORT}/batches/{sub.id}/files")[0] == []


# ---- Data Access


def test_listings_page_by_next_links(client, sim, world):
    dataset = world.datasets["d1"]
    batch = dataset.batch(directories=[[1] * 250] + [[1]] * 129)
    sim.add(batch)
    rows, pages = client.rows(f"{EXPORT}/batches/{batch.id}/files")
    assert [row["dataSetFileId"] for row in rows] == [item.id for item in batch.files]
    assert pages == 2 and all(row["isValid"] is False for row in rows)
    rows, pages = client.rows(f"{EXPORT}/files/{batch.id}-1", limit=99)
    assert [row["name"] for row in rows] == [file.name for file in batch.files[0].files]
    assert pages == 3 and all(row["length"] == "1" for row in rows)
    assert client.get(f"{EXPORT}/files/{batch.id}-1?limit=101").status_code == 400


def test_listing_without_pages_has_no_links(client, world):
    body = client.get(f"{EXPORT}/files/{first(world).id}-1").json()
    assert set(body) == {"data", "_page"}


def test_markers_may_be_names_and_shapes_vary():
    world = World()
    world.options |= {"marker": "name", "length": "number"}
    batch = world.dataset().batch([1] * 150)
    nested = world.dataset().batch(directories=[[1], [2]], nested=True)
    sim = Sim(world).start()
    try:
        client = Client(sim)
        rows, pages = client.rows(f"{EXPORT}/files/{batch.id}-1")
        assert len({row["name"] for row in rows}) == 150 and pages == 2
        assert rows[0]["length"] == 1
        rows, _ = client.rows(f"{EXPORT}/files/{nested.id}-0")
        assert [row["dataSetFileId"] for row in rows] == [f"{nested.id}-1", f"{nested.id}-2"]
    finally:
        sim.stop()


def test_bare_array_shape():
    world = World()
    world.options["shape"] = "array"
    batch = world.dataset().batch([1, 2])
    sim = Sim(world).start()
    try:
        rows = Client(sim).get(f"{EXPORT}/files/{batch.id}-1").json()
        assert [row["name"] for row in rows] == [file.name for _, file in batch.rows()]
    finally:
        sim.stop()


def test_whole_file_head_and_ranges(client, world):
    batch = first(world)
    want = next(batch.rows())[1].content().read(0, 1 << 20)
    whole, head = client.read(batch), client.read(batch, method="HEAD")
    assert whole.status_code == 200 and whole.content == want
    assert head.headers["Content-Length"] == "100000" and head.content == b""
    assert head.headers["Accept-Ranges"] == "bytes"
    part = client.read(batch, span=(10, 19))
    assert part.status_code == 206 and part.content == want[10:20]
    assert part.headers["Content-Range"] == "bytes 10-19/100000"
    tail = client.read(batch, span=(99_990, 200_000))
    assert tail.headers["Content-Range"] == "bytes 99990-99999/100000"
    assert client.read(batch, span=(99_990, "")).content == want[-10:]
    assert client.read(batch, span=(100_000, "")).status_code == 416
    assert client.read(batch, span=("0-1,5", 7)).status_code == 400


def test_ranges_beyond_4_gib(client, sim, world):
    batch = world.datasets["d1"].batch([5 << 30])
    sim.add(batch)
    at = (4 << 30) + 12345
    part = client.read(batch, span=(at, at + 999))
    assert part.content == next(batch.rows())[1].content().read(at, 1000)
    assert client.read(batch, method="HEAD").headers["Content-Length"] == str(5 << 30)


def test_empty_files_and_empty_batches(client, sim, world):
    dataset = world.datasets["d1"]
    hollow, bare = dataset.batch([0]), dataset.batch()
    sim.add(hollow, bare)
    answer = client.read(hollow)
    assert (answer.status_code, answer.content) == (200, b"")
    assert client.read(hollow, span=(0, "")).status_code == 416
    assert client.rows(f"{EXPORT}/batches/{bare.id}/files")[0] == []


def test_odd_names(client, sim, world):
    batch = world.datasets["d1"].batch([(name, 50) for name in ODD_NAMES])
    sim.add(batch)
    rows, _ = client.rows(f"{EXPORT}/files/{batch.id}-1")
    assert [row["name"] for row in rows] == ODD_NAMES
    for number, (_, file) in enumerate(batch.rows()):
        assert client.read(batch, number).content == file.content().read(0, 50)
        href = urllib.parse.urlsplit(rows[number]["_links"]["self"]["href"])
        assert client.get(f"{href.path}?{href.query}").status_code == 200


def test_wrong_requests(client, world):
    batch = first(world)
    assert client.get(f"{EXPORT}/files/{batch.id}-1", {"path": "no"}).status_code == 404
    assert client.get(f"{EXPORT}/files/{batch.id}-9").status_code == 404
    assert client.get(f"{EXPORT}/batches/no/files").status_code == 404
    assert client.get(f"{EXPORT}/files/{batch.id}-1", method="HEAD").status_code == 400
    assert client.get(f"{EXPORT}/files/{batch.id}-1", method="PUT").status_code == 405
    assert client.get(f"{EXPORT}/batches/{batch.id}/files?page=1").status_code == 400


# ---- counters and settings


def test_counters_tell_requests_and_bytes(client, sim, world):
    batch = first(world)
    name = f"{batch.id}-1/{next(batch.rows())[1].name}"
    sim.reset()
    client.read(batch, span=(0, 999))
    client.read(batch, span=(500, 999))
    client.batches()
    counters = sim.counters()
    assert counters["requests"] == {"content": 2, "batches": 1}
    assert counters["sent"] == {name: 1500} and counters["bytes"] == 1500
    assert counters["statuses"] == {"content 206": 2, "batches 200": 1}
    assert [entry["range"] for entry in sim.log()] == ["bytes=0-999", "bytes=500-999", ""]


def test_settings_delay_and_throughput(client, sim, world):
    sim.set(delay_ms=200, bytes_per_second=250_000)
    began = time.monotonic()
    assert len(client.read(first(world)).content) == 100_000
    assert 0.5 < time.monotonic() - began < 2
    with pytest.raises(ValueError):
        sim.set(speed=1)
