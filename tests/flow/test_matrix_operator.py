# SPDX-License-Identifier: Apache-2.0
"""Fault matrix, group O: operators who type too much, or nonsense, or into our keys."""
import json
import random
import string
import time

import pytest

from ground import now_ms
from matrix_rig import MIB, PREFIX, all_well, committed, field, ready, tasks
from world import wait_until

INBOX, REJECTED = PREFIX + "inbox", PREFIX + "inbox:rejected"
DAY = ("2024-02-01", "2024-02-02")
FILL = """for i = 1, ARGV[1] do redis.call('LPUSH', KEYS[1], ARGV[2] .. i) end"""


def rejected(redis):
    """How many inputs were refused and kept."""
    return int(redis.command("LLEN", REJECTED))


def jobs_of(redis):
    """Ids of the jobs that exist."""
    return tasks(redis, "j")


def fragments(dataset):
    """Pieces of the languages on the way, where a dataset, a date or a verb is expected."""
    bad = ["'; DROP TABLE tasks; --", "]] redis.call('FLUSHALL') --", "$(reboot)",
           "\r\n*1\r\n$8\r\nFLUSHALL", "../../etc/passwd", "%s%n%s", "\u202e",
           "${jndi:ldap://x}", "\\0", "*", "[x-"]
    for text in bad:
        yield json.dumps({"op": "backfill", "dataset": text, "from": DAY[0], "to": DAY[1]})
        yield json.dumps({"op": "backfill", "dataset": dataset, "from": text, "to": DAY[1]})
        yield json.dumps({"op": text, "dataset": dataset})
        yield json.dumps({"op": "retry", "id": text})
        yield f"backfill {dataset} {text} {DAY[1]}"


def test_o1_fragments_of_languages(world, sim, sluiced, redis, judge):
    """Each is refused with a reason, none is carried out, and the next command is."""
    data = world.dataset()
    data.batch([100])
    daemon = sluiced()
    daemon.start()
    committed(daemon, 1)
    bad = list(fragments(data.id))
    dice = random.Random(5)
    bad += ["".join(dice.choices(string.printable, k=dice.randint(1, 200))) for _ in range(50)]
    for element in bad:
        redis.command("LPUSH", INBOX, element)
    wait_until(lambda: rejected(redis) == len(bad), 15, "each is kept with its reason")
    assert not jobs_of(redis)
    redis.command("LPUSH", INBOX, f"backfill {data.id} {DAY[0]} {DAY[1]}")
    wait_until(lambda: len(jobs_of(redis)) == 1, 10, "the good one is carried out")
    sim.add(data.batch([100], created=now_ms()))
    all_well(daemon, redis, judge, 2)


@pytest.mark.parametrize("size", [10 * MIB, 20 * MIB])
def test_o1_huge_element(size, world, sim, sluiced, redis, judge):
    """It is refused without taking the connection, or what comes after it, down."""
    data = world.dataset()
    daemon = sluiced()
    daemon.start()
    ready(daemon)
    redis.command("EVAL", "redis.call('LPUSH', KEYS[1], string.rep('x', ARGV[1]))", 1, INBOX, size)
    redis.command("LPUSH", INBOX, f"backfill {data.id} {DAY[0]} {DAY[1]}")
    wait_until(lambda: jobs_of(redis), 10, "the next command is carried out")
    assert rejected(redis) == 1
    sim.add(data.batch([100], created=now_ms()))
    all_well(daemon, redis, judge, 1)


def test_o1_flood_of_100_000(world, sim, sluiced, redis):
    """Work and health answer while it is refused; what is kept of it is bounded."""
    data = world.dataset()
    daemon = sluiced()
    daemon.start()
    ready(daemon)
    redis.command("EVAL", FILL, 1, INBOX, 100_000, "backfill nonsense ")
    sim.add(data.batch([6 * MIB, 100], created=now_ms()))
    slowest = 0.0
    end = time.monotonic() + 20
    while not daemon.metric("sluice_batches_committed_total"):
        assert time.monotonic() < end, "a batch is committed meanwhile"
        begun = time.monotonic()
        assert daemon.get("/livez")[0] == 200
        slowest = max(slowest, time.monotonic() - begun)
    assert slowest < 0.5
    wait_until(lambda: rejected(redis) > 0, 10)
    assert rejected(redis) <= 1000


# ---- fingers in our keys


EDITS = {
    "owner": ("owner", "somebody"), "fence": ("fence", "999"), "pending": ("status", "pending"),
    "failed": ("status", "failed"), "completed": ("status", "completed"),
    "nonsense": ("status", "doing fine"), "offset": ("offset", "-1"), "lane": ("lane", "fast"),
}


def mend(redis):
    """What the handbook tells: both passes over all tasks."""
    for turn in "ab":
        for kind in ("tail", "j", "w", "b", "f"):
            for task in tasks(redis, kind):
                redis.command("FCALL", "sluice_fix", 1, PREFIX, turn, task)


@pytest.mark.parametrize("edit", EDITS)
def test_o2_edited_task(edit, world, sim, sluiced, redis, judge):
    """A running file's task is changed by hand: no worker writes on a task that is not its own,
    the daemon lives, nothing wrong is committed, and other batches are."""
    data = world.dataset()
    data.batch([("edited.parquet", 11 * MIB)], expect="any")
    sim.start()
    sim.arm(f"slow:bytes_per_second={6 * MIB}")
    daemon = sluiced(queue={"lease": "2s"})
    daemon.start()
    wait_until(lambda: daemon.metric("sluice_received_bytes_total") > MIB, 20)
    (task,) = tasks(redis, "f")
    name, value = EDITS[edit]
    redis.command("HSET", f"{PREFIX}t:{task}", name, value)
    sim.disarm()
    other = data.batch([200], created=now_ms())
    sim.add(other)
    wait_until(lambda: field(redis, f"b/{data.id}/{other.id}", "status") == "completed", 15,
               "the other batch is committed")
    mend(redis)
    assert daemon.get("/livez")[0] == 200
    judge(allow_strays=True, allow_uploads=1)


def test_o2_keys_of_a_running_job_deleted(world, sim, sluiced, redis, judge):
    """All keys of a job and what is below it: its workers let go, and the same backfill again
    does it all. (Files of one part: a store without conditional Complete may take larger ones
    twice.)"""
    data = world.dataset()
    for number in range(3):
        data.batch([4 * MIB, 100], created=1_706_745_600_000 + number)
    daemon = sluiced(queue={"lease": "2s"})
    daemon.config["datasets"][0]["start"] = "2024-03-01"
    sim.arm(f"slow:bytes_per_second={4 * MIB}")
    daemon.start()
    ready(daemon)
    backfill = ("FCALL", "sluice_backfill", 1, PREFIX, data.id, *DAY)
    redis.command(*backfill)
    wait_until(lambda: daemon.metric("sluice_received_bytes_total") > MIB, 20)
    for kind in "jwbf":
        for task in tasks(redis, kind):
            redis.command("DEL", *(f"{PREFIX}{key}:{task}"
                                   for key in ("t", "up", "open", "dead", "rows")))
    sim.disarm()
    assert redis.command(*backfill).startswith("queued")
    committed(daemon, 3, 30)
    assert field(redis, f"tail/{data.id}", "status") != "failed"
    judge()
