# SPDX-License-Identifier: Apache-2.0
"""Each fault of the simulator strikes when its script says, and does what its name says."""
import time

import pytest
import requests

from client import BATCHES, EXPORT, Client
from faults import TABLE, faults_from_text
from ground import BASE_MS, World, now_ms
from sim import Sim


@pytest.fixture
def client(world, sim):
    """A client of a world with one dataset of three batches."""
    dataset = world.dataset("d1")
    for _ in range(3):
        dataset.batch([100_000])
    return Client(sim.start())


def first(world):
    """The first batch of a world."""
    return next(iter(world.batches.values()))


def status_of(client, times=3):
    """Statuses of equal requests in a row."""
    return [client.get(BATCHES).status_code for _ in range(times)]


@pytest.mark.parametrize("fault, statuses", [
    ("auth_401_once", [401, 200, 200]),
    ("throttle_429_bare:times=2", [429, 429, 200]),
    ("throttle_429_retry_after:seconds=7,nth=2", [200, 429, 200]),
    ("error_500", [500, 200, 200]),
    ("error_503:nth=3", [200, 200, 503]),
    ("error_503:endpoint=content", [200, 200, 200]),
    ("error_500:match=nothing", [200, 200, 200]),
    ("hang:seconds=0", [504, 200, 200]),
])
def test_error_answers_follow_their_script(client, sim, fault, statuses):
    sim.arm(fault)
    assert status_of(client) == statuses


def test_bodies_of_error_answers(client, sim):
    sim.arm("throttle_429_retry_after:seconds=7 html_200:nth=1")
    answer = client.get(BATCHES)
    assert answer.headers["Retry-After"] == "7"
    assert answer.json() == {"error_code": "429050", "message": "Too many requests"}
    answer = client.get(BATCHES)
    assert answer.status_code == 200 and answer.text.startswith("<html>")


def test_a_penalty_grows_for_the_impatient_only(client, sim):
    sim.arm("penalty:seconds=1,grace_ms=0")
    waits = []
    for _ in range(3):  # at once, at once again, and when it is over
        answer = client.get(BATCHES)
        waits.append(answer.headers.get("Retry-After"))
    assert waits[0] == "1" and int(waits[1]) >= 2 and int(waits[2]) >= 3
    assert sim.counters()["impatient"] == 2
    time.sleep(int(waits[2]))
    assert status_of(client) == [200, 200, 200]


def test_probability_is_seeded():
    def run(seed):
        sim = Sim(World(), "error_503:p=0.5", seed).start()
        try:
            return status_of(Client(sim), 40)
        finally:
            sim.stop()

    assert run(1) == run(1) != run(2)
    assert {200, 503} == set(run(1))


def test_hang_gives_no_answer(client, sim):
    sim.arm("hang")
    with pytest.raises(requests.Timeout):
        client.session.get(sim.endpoint + BATCHES, headers=client.headers, timeout=0.3)
    assert client.get(BATCHES).status_code == 200


def test_ims_faults(client, sim):
    sim.arm("ims_down:times=1 ims_slow:ms=300,nth=2,times=1 expired_token:seconds=1,says=9000")
    assert client.ims().status_code == 503
    began = time.monotonic()
    answer = client.ims().json()
    assert time.monotonic() - began > 0.3 and answer["expires_in"] == 9000
    time.sleep(1.1)
    late = {"Authorization": f"Bearer {answer['access_token']}"}
    assert client.get(BATCHES, headers=late).status_code == 401


def test_delay(client, sim):
    sim.arm("delay:ms=300,times=1")
    began = time.monotonic()
    client.get(BATCHES)
    assert time.monotonic() - began > 0.3


def test_cut_bodies(client, sim, world):
    sim.arm("truncated_body")
    cut = client.read(first(world))
    assert (len(cut.content), cut.headers["Content-Length"]) == (50_000, "100000")
    sim.arm("reset_mid_body:nth=1")
    with pytest.raises(requests.exceptions.ChunkedEncodingError) as reset:
        client.read(first(world))
    assert "reset" in str(reset.value)
    assert len(client.read(first(world)).content) == 100_000
    assert 0 < sim.counters()["bytes"] <= 200_000


@pytest.mark.parametrize("fault, status, said, span", [
    ("full_200_to_range", 200, None, (0, 99_999)),
    ("shifted_content_range:bytes=500", 206, "bytes 1500-2999/100000", (1500, 2999)),
    ("short_range", 206, "bytes 1000-1999/100000", (1000, 1999)),
    ("total_changes:bytes=-5", 206, "bytes 1000-2999/99995", (1000, 2999)),
])
def test_bent_ranges_tell_the_truth(client, sim, world, fault, status, said, span):
    sim.arm(fault)
    answer = client.read(first(world), span=(1000, 2999))
    want = next(first(world).rows())[1].content().read(span[0], span[1] - span[0] + 1)
    assert answer.status_code == status and answer.content == want
    assert answer.headers.get("Content-Range") == said
    assert client.read(first(world), span=(1000, 2999)).headers["Content-Range"] == (
        "bytes 1000-2999/100000")


def test_slow(client, sim, world):
    sim.arm("slow:bytes_per_second=200000")
    began = time.monotonic()
    assert len(client.read(first(world)).content) == 100_000
    assert 0.4 < time.monotonic() - began < 2


def test_late_success(client, sim, world):
    sim.arm("late_success:ms=400")
    batch = first(world)
    path = f"{EXPORT}/batches/{batch.id}/files"
    assert {row["status"] for row in client.batches().values()} == {"staging"}
    assert client.rows(path)[0] == []
    time.sleep(0.5)
    assert {row["status"] for row in client.batches().values()} == {"success"}
    assert len(client.rows(path)[0]) == 1


def test_list_empty_then_full(client, sim, world):
    sim.arm("list_empty_then_full:calls=2")
    path = f"{EXPORT}/batches/{first(world).id}/files"
    assert [len(client.rows(path)[0]) for _ in range(4)] == [0, 0, 1, 1]
    sim.arm("list_empty_then_full:endpoint=batches")
    assert [len(client.batches()) for _ in range(3)] == [0, 3, 3]


def test_short_pages_lose_nothing(client, sim, world):
    batch = world.datasets["d1"].batch([1] * 30)
    sim.add(batch)
    sim.arm("short_pages:rows=7")
    rows, pages = client.rows(f"{EXPORT}/files/{batch.id}-1")
    assert len({row["name"] for row in rows}) == 30 and pages == 5
    assert len(client.batches(limit=100)) == 4


def test_duplicate_rows_lose_nothing(client, sim, world):
    batch = world.datasets["d1"].batch([1] * 30)
    sim.add(batch)
    sim.arm("duplicate_rows")
    names = [row["name"] for row in client.rows(f"{EXPORT}/files/{batch.id}-1", limit=10)[0]]
    assert set(names) == {file.name for _, file in batch.rows()}
    assert len(names) > 30


def test_unstable_order_moves_only_ties(client, sim, world):
    dataset = world.datasets["d1"]
    sim.add(*[dataset.batch([1], created=BASE_MS + 5000) for _ in range(10)])
    sim.arm("unstable_order")
    query = {"orderBy": "asc:created", "limit": 100}
    seen = [list(client.batches(**query).items()) for _ in range(5)]
    assert len({tuple(name for name, _ in rows) for rows in seen}) > 1
    for rows in seen:
        assert [row["created"] for _, row in rows] == sorted(row["created"] for _, row in rows)
        assert {name for name, _ in rows} == set(world.batches)


def test_batches_that_appear(client, sim):
    sim.arm("new_batches_while_paging:times=1 many_files")
    began = now_ms()
    before = client.batches(dataSet="d1", limit=100)
    after = client.batches(dataSet="d1", limit=100)
    assert (len(before), len(after)) == (4, 5)
    assert sim.truth()["batches"][-1]["created"] >= began
    big = max(before, key=lambda name: before[name]["metrics"].get("outputFileCount", 0))
    assert len(client.rows(f"{EXPORT}/batches/{big}/files")[0]) == 121
    assert len(client.rows(f"{EXPORT}/files/{big}-1")[0]) == 250


@pytest.mark.parametrize("text", ["nonsense", "error_503:nht=3", "slow:endpoint=somewhere"])
def test_misspelt_faults_are_refused(client, sim, text):
    with pytest.raises(ValueError):
        sim.arm(text)
    assert status_of(client, 1) == [200]


def test_every_fault_is_reported(client, sim):
    sim.arm(" ".join(TABLE))
    assert set(sim.counters()["faults"]) == set(TABLE)
    sim.disarm("error_500")
    assert "error_500" not in sim.counters()["faults"]
    sim.disarm()
    assert status_of(client, 1) == [200]
    assert faults_from_text("slow:p=0.5,match=x") == [{"name": "slow", "p": 0.5, "match": "x"}]
