# SPDX-License-Identifier: Apache-2.0
"""The worlds in which faults strike. Small, but with two pages at each level, an empty batch, a
file of several parts, equal creation times, and a batch that becomes readable last."""
from dataclasses import dataclass

from ground import BASE_MS, World, part_name

PART = 5 << 20
MODES = ("concurrent", "commit", "sequential")
ROUTES = ("tail", "backfill")
MONTH_MS = 30 * 86_400_000


@dataclass
class Scenario:
    """A world, the order its datasets ask for, and the way its batches are found."""
    world: World
    mode: str
    route: str
    late: list  # batches that become readable when nothing else is left to do

    @property
    def jobs(self):
        """What an operator asks for: (dataset, from, to)."""
        if self.route == "tail":
            return []
        return [(name, BASE_MS - MONTH_MS, BASE_MS + MONTH_MS) for name in self.world.datasets]


def paged(seed):
    """An empty world whose services answer with pages of two."""
    world = World(seed)
    world.options["page_max"] = 2
    return world


def plain(world):
    """One dataset."""
    data = world.dataset()
    data.batch([300, 5000])
    data.batch(created=BASE_MS + 2000)
    data.batch(directories=[[100, ("zero.parquet", 0)], [2000], [70]], created=BASE_MS + 2000)
    late = data.batch([900], created=BASE_MS + 3000, status="staging", expect="one")
    data.batch([("big.parquet", PART + 65536)], created=BASE_MS + 4000)
    return [late]


def wide(world):
    """Two datasets, files in pages, a failed batch and a sub-batch."""
    data = world.dataset()
    first = data.batch([10, 20, 30], nested=True)
    data.batch([], status="failed")
    data.sub_batch(first)
    late = data.batch([77], created=BASE_MS + 5000, status="loading", expect="one")
    other = world.dataset()
    other.batch([("big.parquet", PART + 1)], created=BASE_MS + 100)
    other.batch([5], created=BASE_MS + 200)
    return [late]


def tiny(world):
    """For random runs: whatever the seed says, but little of it."""
    chance, late = world.random, []
    for _ in range(chance.choice((1, 1, 2))):
        data = world.dataset()
        created = BASE_MS
        for _ in range(chance.randint(1, 4)):
            created += chance.choice((0, 1, 1000))
            files = [chance.choice((0, 1, 60, 4000)) for _ in range(chance.randint(0, 3))]
            named = [(part_name(f"part-{number}", size), size) for number, size in enumerate(files)]
            if chance.random() < 0.1:
                named.append(("big.parquet", PART + 100))
            waits = chance.random() < 0.2
            batch = data.batch(named, created=created, expect="one" if waits else "",
                               status="staging" if waits else "success")
            if waits:
                late.append(batch)
    return late


MAKERS = {"plain": plain, "wide": wide, "tiny": tiny}


def scenario(name, mode, route, seed=1):
    """A fresh one."""
    world = paged(seed)
    return Scenario(world, mode, route, MAKERS[name](world))
