# SPDX-License-Identifier: Apache-2.0
"""Half an hour of batches, with a fault every second, on three daemons. Those of slots 1 and 2
are also killed; the one of slot 0 lives through it all, so its memory and descriptors tell."""
import asyncio
import os
import random
import statistics
import time

from ground import World, part_name
from lab import Report
from store import Store
from wire import kinds_for
from worlds import Scenario

EVERY_S = 1.0
LETHAL = {"kill-before", "kill-after", "term-before", "term-after"}
STANDING = {"zombie-before", "zombie-after"}  # end with a run: they would stand for ever
SAMPLE_S = 5
# Of the last quarter over the second. Idle connections come in bursts, after each cut.
GROWTH_MIB, GROWTH_FDS = 6, 40


class Metronome:
    """Strikes one operation in each second, of any daemon."""

    def __init__(self, seed):
        self.chance = random.Random(f"soak {seed}")
        self.due = time.monotonic() + EVERY_S

    def throw(self, op):
        """As Dice.throw."""
        if op.idle or time.monotonic() < self.due:
            return None
        kinds = [kind for kind in kinds_for(op.service, op.verb) if kind not in STANDING]
        if op.slot == 0:
            kinds = [kind for kind in kinds if kind not in LETHAL]
        self.due = time.monotonic() + EVERY_S
        return self.chance.choice(kinds)


def rss_mib(pid):
    """Resident memory of a process."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def descriptors(pid):
    """How many files a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def add_batch(data, chance):
    """One more batch: mostly small, now and then a file of two parts."""
    files = [chance.choice((0, 1, 700, 60_000)) for _ in range(chance.randint(0, 4))]
    named = [(part_name(f"part-{number}", size), size) for number, size in enumerate(files)]
    if chance.random() < 0.05:
        named.append(("big.parquet", (5 << 20) + 1000))
    data.batch(named, created=time.time_ns() // 1_000_000)


async def soak(lab, minutes, seed):
    """Returns a report, the figures of daemon 0 as [(MiB, descriptors)], and how many batches
    there were."""
    world, chance = World(seed), random.Random(seed)
    sets = [world.dataset(), world.dataset()]
    metronome, figures = Metronome(seed), []
    lab.redis.flushall()
    lab.begin(Scenario("soak", world, "concurrent", "tail", []), Store(None), (), metronome)
    lab.poll = "1s"
    lab.snapshots = None
    began = sampled = time.monotonic()
    for slot in lab.slots:
        lab.launch(slot)
    try:
        while time.monotonic() < began + 60 * minutes and not lab.judge.problems:
            add_batch(chance.choice(sets), chance)
            for _ in range(20):
                await asyncio.sleep(0.05)
                lab.tend()
                idle = time.monotonic() - lab.last_move
                if idle > 1:
                    lab.pass_time(idle)
            if time.monotonic() > sampled + SAMPLE_S:
                sampled = time.monotonic()
                pid = lab.slots[0].process.pid
                figures.append((rss_mib(pid), descriptors(pid)))
        metronome.due = float("inf")
        await lab.drive()
        if not lab.judge.problems:
            judge_growth(lab.judge, figures)
            lab.judge.verdict()
    finally:
        await lab.end_daemons()
    report = Report(lab.judge.problems, [], lab.wire.struck, lab.crashes, lab.retries,
                    time.monotonic() - began)
    return report, figures, len(world.batches)


def judge_growth(judge, figures):
    """Is memory flat and the number of descriptors constant?"""
    if len(figures) < 48:
        return  # too short to tell growth from warming up
    quarter = len(figures) // 4
    for name, at, most in (("MiB", 0, GROWTH_MIB), ("descriptors", 1, GROWTH_FDS)):
        early = statistics.median(row[at] for row in figures[quarter:2 * quarter])
        late = statistics.median(row[at] for row in figures[-quarter:])
        judge.want("flat", late <= early + most, f"{name}: {early:.1f}, later {late:.1f}")
