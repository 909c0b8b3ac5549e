# SPDX-License-Identifier: Apache-2.0
"""The worlds in which faults strike. Small, but with two pages at each level, an empty batch, a
file of several parts, equal creation times, and a batch that becomes readable last; and one in
which the platform merges, replaces and takes back what was stored."""
import itertools
from dataclasses import dataclass
from functools import partial

from ground import BASE_MS, World, now_ms, part_name

PART = 5 << 20
MODES = ("concurrent", "commit", "sequential")
ROUTES = ("tail", "backfill", "replay")
REFERENCE = [*itertools.product(("plain", "wide"), MODES, ("tail", "backfill")),
             ("plain", "concurrent", "replay"), *itertools.product(("lived",), MODES, ("tail",))]
MONTH_MS = 30 * 86_400_000


@dataclass
class Scenario:
    """A world by name, the order its datasets ask for, and the way its batches are found. Whatever the
    route, a dataset has a tail; it finds nothing that a backfill should find."""
    name: str
    world: World
    mode: str
    route: str
    acts: list  # what the platform does when nothing else is left to do, one after the other

    @property
    def jobs(self):
        """What an operator asks for: (verb, dataset, from, to)."""
        if self.route == "tail":
            return []
        return [(self.route, name, BASE_MS - MONTH_MS, BASE_MS + MONTH_MS)
                for name in self.world.datasets]

    @property
    def changes(self):
        """Does the platform change what is stored?"""
        return self.name in ("lived", "eventful")

    @property
    def copies(self):
        """In how many generations a batch is stored."""
        return 2 if self.route == "replay" else 1


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
    return [partial(late.set_status, "success")]


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
    return [partial(late.set_status, "success")]


def lived(world):
    """One dataset: two batches are merged into one, then that and a third into another; one is
    replaced, one is taken back, at last all that was merged."""
    data = world.dataset()
    first, second = data.batch([300, 50]), data.batch([700])
    third, fourth, fifth = data.batch([20]), data.batch([80]), data.batch([90, 91])
    made = []
    return [lambda: made.append(world.consolidate([first, second], updated=now_ms())),
            lambda: made.append(world.consolidate([made[0], third], updated=now_ms())),
            lambda: world.replace([fourth], [81, 10], updated=now_ms()),
            lambda: world.revert(fifth),
            lambda: world.revert(made[1])]


def tiny(world):
    """For random runs: whatever the seed says, but little of it."""
    chance, acts = world.random, []
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
                acts.append(partial(batch.set_status, "success"))
    return acts


def eventful(world):
    """For random runs, too: afterwards some batches are merged, replaced, taken back."""
    acts, chance = tiny(world), world.random

    def happen():
        stored = world.eldest(chance.choice(list(world.datasets)), 4)
        some = chance.sample(stored, min(len(stored), chance.choice((1, 2, 2))))
        some.sort(key=lambda batch: (batch.created, batch.id))
        for batch in some:
            batch.expect = ""  # it may be taken back before it was stored
        if some:
            chance.choice((lambda: world.consolidate(some, updated=now_ms()),
                           lambda: world.replace(some, [60, 7], updated=now_ms()),
                           lambda: world.revert(some[0])))()
    return acts + [happen] * chance.choice((1, 1, 2, 3))


MAKERS = {"plain": plain, "wide": wide, "lived": lived, "tiny": tiny, "eventful": eventful}


def scenario(name, mode, route, seed=1):
    """A fresh one."""
    world = paged(seed)
    return Scenario(name, world, mode, route, MAKERS[name](world))
