# SPDX-License-Identifier: Apache-2.0
"""What becomes of batches after they were written: rewriting, lineage, withdrawal, and the clock
by which it happens."""
import email.utils

import pytest

from client import EXPORT, Client
from clock import clock
from ground import BASE_MS, READABLE, World, now_ms
from lineage import PATHS, life, shares


@pytest.fixture
def client(world, sim):
    """A client of a world with one dataset of three batches."""
    dataset = world.dataset("d1")
    for _ in range(3):
        dataset.batch([5000, 700, ("_SUCCESS", 0)])
    return Client(sim.start())


def first(world):
    """The first batch of a world."""
    return next(iter(world.batches.values()))


def spread(rows):
    """Rows one by one."""
    return sorted((origin, number) for origin, begin, end in rows
                  for number in range(begin, end))


def names(client, batch):
    """The names in the first dataset file of a batch."""
    return [row["name"] for row in client.rows(f"{EXPORT}/files/{batch.id}-1")[0]]


@pytest.mark.parametrize("how", ["rename_files", "compact"])
def test_files_are_rewritten(client, sim, world, how):
    batch = first(world)
    before, updated = names(client, batch), client.batches()[batch.id]["updated"]
    getattr(sim, how)(batch)
    after = names(client, batch)
    assert set(before) & set(after) == {"_SUCCESS"}
    assert len(after) == (3 if how == "rename_files" else 2)
    assert client.batches()[batch.id]["updated"] > updated
    assert client.read(batch).status_code == 404
    now = World.from_json(sim.truth()).batches[batch.id]
    assert spread(now.held()) == spread(batch.held()) and now.records() == 51 + 8
    sizes = sum(file.size for _, file in now.data()) == 5700
    assert sizes == (how == "rename_files")
    assert client.read(now, number=1).status_code == 200
    assert [version.files for version in now.versions()] == [now.files, batch.files]


def test_batches_are_merged_replaced_and_taken_back(client, sim, world):
    one, two, three = world.batches.values()
    whole = sim.lineage("consolidate", one, two, into=3)
    assert whole["replay"] == {"predecessors": [one.id, two.id], "reason": "consolidation"}
    rows = client.batches()
    assert [rows[batch.id]["status"] for batch in (one, two)] == ["inactive"] * 2
    assert rows[one.id]["tags"]["acp_successor"] == [whole["id"]]
    assert rows[whole["id"]]["metrics"]["outputRecordCount"] == one.records() + two.records()
    new = sim.lineage("replace", World.from_json(sim.truth()).batches[whole["id"]], files=[55],
                      listing="ALL", reason="Replacing", external=True)
    assert set(new["replay"]["predecessorsByExternalId"]) == {whole["id"], one.id, two.id}
    assert new["replay"]["predecessorListingType"] == "ALL"
    sim.lineage("revert", three, deleted_ms=0)
    assert client.batches()[three.id]["status"] == "deleted"
    sim.call("POST", "lineage", {"verb": "delete_dataset", "dataset": "d1"})
    assert client.batches() == {}
    now = World.from_json(sim.truth())
    assert spread(now.batches[whole["id"]].held()) == spread(one.held() + two.held())
    assert now.datasets["d1"].gone and not now.eldest("d1", 9)


def test_batches_are_replaced_before_they_are_readable_and_inactive_later():
    world = World()
    data, began = world.dataset(), now_ms()
    early = data.batch([500], status="loading", life=life("straight", 60_000))
    world.replace([early], [600])
    assert early.current()[0] == "inactive" and early.successor
    pair = [data.batch([100]), data.batch([100])]
    made = world.consolidate(pair, after_ms=60_000, status="staging")
    assert [batch.current()[0] for batch in (*pair, made)] == ["success", "success", "staging"]
    try:
        clock.step(61_000)
        assert [batch.current()[0] for batch in pair] == ["inactive"] * 2
        assert pair[0].current()[1] >= began + 60_000
    finally:
        clock.reset()


@pytest.mark.parametrize("path", list(PATHS))
def test_lives(path):
    batch = World().dataset().batch([100], life=life(path, 10))
    seen = []
    try:
        for _ in range(10):
            seen.append(batch.current()[0])
            clock.step(10)
        expected = batch.expected()
    finally:
        clock.reset()
    last = PATHS[path][-1]
    assert seen[0] == PATHS[path][0] and seen[-1] == last
    assert [word for word, before in zip(seen, [None] + seen) if word != before] == [
        word for word, before in zip(PATHS[path], (None,) + PATHS[path]) if word != before]
    assert expected == ("one" if last in READABLE else "none")


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 20])
def test_shares_keep_every_row(parts):
    rows = [["a", 0, 5], ["b", 3, 4], ["c", 0, 7]]
    lists = shares(rows, parts)
    assert len(lists) == parts
    assert spread(row for part in lists for row in part) == spread(rows)
    sizes = [sum(end - begin for _, begin, end in part) for part in lists]
    assert max(sizes) - min(sizes) <= 1


def test_the_clock_can_be_moved(client, sim):
    sim.clock(at_ms=BASE_MS, rate=0)
    assert sim.clock(step_ms=7000) == BASE_MS + 7000 == sim.clock()
    assert sim.clock(rate=1000) >= BASE_MS + 7000
    assert BASE_MS + 7000 < sim.clock() < BASE_MS + 4_000_000
    said = email.utils.parsedate_to_datetime(client.get(EXPORT).headers["Date"])
    assert 0 <= said.timestamp() * 1000 - BASE_MS < 4_000_000
