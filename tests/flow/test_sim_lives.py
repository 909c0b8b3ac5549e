# SPDX-License-Identifier: Apache-2.0
"""What becomes of batches after they were written: rewriting, lineage, withdrawal, and the clock
by which it happens."""
import email.utils

import pytest

from client import EXPORT, Client
from ground import BASE_MS, World


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


def test_the_clock_can_be_moved(client, sim):
    sim.clock(at_ms=BASE_MS, rate=0)
    assert sim.clock(step_ms=7000) == BASE_MS + 7000 == sim.clock()
    assert sim.clock(rate=1000) >= BASE_MS + 7000
    assert BASE_MS + 7000 < sim.clock() < BASE_MS + 4_000_000
    said = email.utils.parsedate_to_datetime(client.get(EXPORT).headers["Date"])
    assert 0 <= said.timestamp() * 1000 - BASE_MS < 4_000_000
