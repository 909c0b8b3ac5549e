# SPDX-License-Identifier: Apache-2.0
"""What operators set in the queue: the lane of a job, limits of a dataset; and their trail."""
import pytest

from queue_rig import (  # pylint: disable=unused-import
    DS, OTHER, P, State, batch_of, check, child, everything, file_of, fixture_q, fixture_server,
    refused)


def backfilled(q, batches=2):
    """A job with a window that runs, and batches that are ready in the backfill lane."""
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    names = [f"b/{DS}/B{number}" for number in range(batches)]
    q.fan(job, "end", child("window", f"w/{DS}/1", lane="backfill"),
          *(child("batch", name, lane="backfill") for name in names), sealed=True)
    window = next(task for task in q.claim(lane="backfill", limit=1))
    assert window.id.startswith("w/") or window.id.startswith("b/")
    return job, window


def lanes(q, *names):
    return [q.get(name, "lane") for name in names]


def test_a_job_moves_with_all_that_is_open_below_it(q):
    """Ready tasks are claimed in the new lane; what a running one lists comes there, too."""
    job, running = backfilled(q)
    rest = sorted({f"w/{DS}/1", f"b/{DS}/B0", f"b/{DS}/B1"} - {running.id})
    assert q("priority", job.id, "live") == "ok 4"
    assert q("priority", job.id, "live") == "ok 0", "repeated"
    assert lanes(q, job.id, running.id, *rest) == ["live"] * 4
    assert not list(q.claim(lane="backfill", limit=9))
    assert sorted(task.id for task in q.claim(limit=9)) == rest
    kind = child("batch", f"b/{DS}/late", lane="backfill")
    if running.id.startswith("b/"):
        kind = child("file", f"f/{DS}/{running.id.split('/')[2]}/0", lane="backfill", length=1)
    q.fan(running, "1", kind)
    assert q.get(kind[1], "lane") == "live", "its lister knew the old lane only"
    check(State(q.redis))


def test_what_the_tail_wants_stays_live(q):
    """Back in the backfill lane a job leaves alone what the tail found as well."""
    q.fan(q.tail(), "10", batch_of("S"))
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    q.fan(job, "end", batch_of("S"), child("batch", f"b/{DS}/T", lane="backfill"), sealed=True)
    q("priority", job.id, "live")
    q("priority", job.id, "backfill")
    assert lanes(q, f"b/{DS}/S", f"b/{DS}/T") == ["live", "backfill"]
    check(State(q.redis))


def test_priority_is_bounded_and_says_so(q):
    """A thousand tasks at a time."""
    job, _ = backfilled(q, batches=998)
    q("submit", f"b/{DS}/more", "batch", DS, "backfill", 1, "")
    assert q("priority", job.id, "live") == "ok 1000, repeat it for the rest"
    assert q("priority", job.id, "live") == "ok 0"


@pytest.mark.parametrize("words", [
    ("priority", "JOB"), ("priority", "JOB", "fast"), ("priority", f"tail/{DS}", "live"),
    ("priority", "j/none", "live"), ("resume", "nobody"), ("resume", DS, "1"), ("resume",),
    ("set", DS, "max_f"), ("set", DS, "max_f", "-1"), ("set", DS, "max_f", "1e9"),
    ("set", DS, "max_open_files", "5"), ("set", "nobody", "max_f", "5"), ("set", DS),
])
def test_what_cannot_be_set(q, words):
    """A reason, and not a byte is written."""
    q.tail()
    job = q("backfill", DS, "2024-02-01", "2024-02-02").split()[1]
    before = everything(q.redis)
    refused("BADARG", q, *(job if word == "JOB" else word for word in words))
    assert everything(q.redis) == before


def test_limits_hold_and_go_away(q):
    """max_f 1: one file at a time; none: as many as there is room for."""
    q.batch(files=3)
    assert q("set", DS, "max_f", "1") == "ok" and q("set", DS, "max_f", "1") == "ok"
    assert "max_f=1 max_x=none" in q.redis.fcall_ro("sluice_stat", 1, P)
    assert len(list(q.claim("f", limit=9))) == 1 and not list(q.claim("f", limit=9))
    q("set", DS, "max_f", "none")
    assert len(list(q.claim("f", limit=9))) == 2


def test_every_act_leaves_an_event(q):
    """Who did it is said; also for what was refused on the way in."""
    q.batch("dead", files=1)
    q.fail(q.one(cls="f"), delay=-1)
    q.batch("bad", files=1)
    job = q("backfill", DS, "2024-02-01", "2024-02-02").split()[1]
    acts = [("priority", job, "live"), ("cancel", job), ("pause", DS, "1"), ("resume", DS),
            ("retry", f"b/{DS}/dead"), ("skip", f"b/{DS}/bad", "why"), ("set", DS, "max_x", "2"),
            ("replay", DS, "B")]
    want = ["priority live", "cancelled", "paused", "resumed", "retried", "skipped", "max_x=2",
            "replay"]
    for words, event in zip(acts, want):
        q(*words)
        last = q.redis.xrevrange(P + "events", count=1)[0][1]
        assert last["e"].startswith(event) and last["w"] == "operator", (words, last)
    q.redis.lpush(P + "inbox", "rubbish")
    q("inbox_take", "rubbish", "reject", "no such verb")
    last = q.redis.xrevrange(P + "events", count=1)[0][1]
    assert last == {"t": "inbox", "e": "rejected", "w": "no such verb"}
