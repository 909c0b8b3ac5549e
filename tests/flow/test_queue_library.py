# SPDX-License-Identifier: Apache-2.0
"""The queue's function library against a real Redis: tasks, listing, claims, leases, time, order.

See test_queue_operators.py for what people call, test_queue_walk.py for the invariants.
"""
import collections
import time

import pytest
import redis

from queue_rig import (  # pylint: disable=unused-import
    DS, MIB, OTHER, P, batch_of, child, everything, file_of, fixture_q, fixture_server, refused)

# --- arguments -----------------------------------------------------------------------------------

def test_version_is_a_positive_integer(q):
    assert q("version") >= 1


def test_every_function_wants_the_prefix(q):
    functions = q.redis.function_list()[0][5]
    names = [dict(zip(f[::2], f[1::2]))["name"] for f in functions]
    assert len(names) == 27
    for name in names:
        refused("BADARG keys", q.redis.fcall, name, 0)


ORDER = 9 * 10**15 + 1


@pytest.mark.parametrize("words", [
    ("submit",),
    ("submit", "b/d/ü", "batch", "d", "live", 1, ""),
    ("submit", "b/d/" + "x" * 400, "batch", "d", "live", 1, ""),
    ("submit", "b/d/x", "batsch", "d", "live", 1, ""),
    ("submit", "b/d/x", "batch", "e", "live", 1, ""),
    ("submit", "b/d", "batch", "d", "live", 1, ""),
    ("submit", "b/d/x", "batch", "d/e", "live", 1, ""),
    ("submit", "f/d/x", "batch", "d", "live", 1, ""),
    ("submit", "tail/d/x", "tail", "d", "live", 1, ""),
    ("submit", "b/d/x", "batch", "d", "slow", 1, ""),
    ("submit", "b/d/x", "batch", "d", "live", "1.5", ""),
    ("submit", "b/d/x", "batch", "d", "live", -1, ""),
    ("submit", "b/d/x", "batch", "d", "live", ORDER, ""),
    ("submit", "b/d/x", "batch", "d", "live", 1, "j/d/none"),
    ("submit", "b/d/x", "batch", "d", "live", 1, "", "odd"),
    ("submit", "b/d/x", "batch", "d", "live", 1, "", "status", "completed"),
    ("submit", "b/d/x", "batch", "d", "live", 1, "", "Name", "x"),
    ("submit", "f/d/x/1", "file", "d", "live", 1, ""),
    ("submit", "f/d/x/1", "file", "d", "live", 1, f"tail/{DS}"),
    ("claim",),
    ("claim", "a", 0, "x", "live", 1, 0, 0, DS),
    ("claim", "a", 1000, "y", "live", 1, 0, 0, DS),
    ("claim", "a", 1000, "x", "dead", 1, 0, 0, DS),
    ("claim", "a", 1000, "x", "live", 1001, 0, 0, DS),
    ("claim", "a b", 1000, "x", "live", 1, 0, 0, DS),
    ("claim", "a", 1000, "x", "live", 1, 0, 0, "no/slash"),
    ("beat", "a", "soon"),
    ("beat", "a", 1000, f"tail/{DS}", 1),
    ("beat", "a", 1000, f"tail/{DS}", 1, 77),
    ("beat", "a", 1000, f"f/{DS}/B/0", 1, "many"),
    ("save", f"tail/{DS}", "a", 1, "offset", 5),
    ("save", f"tail/{DS}", "a", 1, "fence", 5),
    ("save", f"tail/{DS}", "a", 1, "lonely"),
    ("fail", f"tail/{DS}", "a", 1, -2, 1, "why", "cut"),
    ("fail", f"tail/{DS}", "a", 1, 0, 2, "why", "cut"),
    ("fail", f"tail/{DS}", "a", 1, 0, 1, "why"),
    ("release", f"tail/{DS}", "a", 1, -1),
    ("fan", f"tail/{DS}", "a", 1, "10", 2, "0"),
    ("fan", f"tail/{DS}", "a", 1, "0", 0, "0"),
    ("fan", f"tail/{DS}", "a", 1, "10", 1, "0"),
    ("fan", f"tail/{DS}", "a", 1, "10", 0, "0", "batch"),
    ("fan", f"tail/{DS}", "a", 1, "10", 0, "0", *batch_of("x"), *file_of("x", 1)),
    ("fan", f"tail/{DS}", "a", 1, "10", 0, "0", *batch_of("x"), *batch_of("x", dataset=OTHER)),
    ("fan", f"tail/{DS}", "a", 1, "10", 0, "0", *batch_of("x", order="soon")),
    ("fan", f"tail/{DS}", "a", 1, "10", 0, "0", "batch", f"b/{DS}/x", "live", 1, 2, "a", "b"),
    ("fan", f"tail/{DS}", "a", 1, "10", 0, "0", *batch_of("x") * 1001),
    ("tick", "a", 1000, 1000, 0),
    ("tick", "", 1000, 1000, 5),
    ("tick", "a", 1000, -1, 5),
    ("tick", "a", 1000, 1000, 5, "no/slash"),
    ("dataset", "a/b"),
    ("dataset", DS, "order", "newest-first"),
    ("dataset", DS, "paused", 0),
    ("dataset", DS, "max_f", "many"),
    ("pause", DS, 2),
    ("pause", "unknown", 1),
    ("retry", "b/d/none"),
    ("skip", f"tail/{DS}", "boring"),
    ("skip", f"b/{DS}/B", ""),
    ("skip", f"f/{DS}/B/0", "broken"),
    ("cancel", f"b/{DS}/B"),
    ("rows", f"b/{DS}/B", "first"),
    ("show", "b/d/none"),
    ("fix", "c", f"b/{DS}/B"),
    ("inbox_take", "x", "maybe"),
    ("inbox_take", "x", "run"),
])
def test_bad_arguments_are_refused_before_anything_is_written(q, words):
    q.batch(files=1)
    q.redis.hset(f"{P}t:{q.tail().id}", "fence", 1)  # so that a lease is not what is refused
    before = everything(q.redis)
    refused("BADARG", q, *words)
    assert everything(q.redis) == before


# --- making tasks --------------------------------------------------------------------------------

def test_submit_makes_a_task_once(q):
    words = ("submit", f"b/{DS}/B", "batch", DS, "live", 5, "", "name", "x")
    assert q(*words)[0] == "new"
    assert q(*words)[0] == "dup"
    task = q.task(f"b/{DS}/B")
    assert (task["status"], task["phase"], task["name"]) == ("pending", "fan", "x")
    assert task["created_at"] == task["updated_at"]


def test_submit_says_have_and_revived(q):
    task = q.batch()
    words = ("submit", task.id, "batch", DS, "live", 1, "")
    q.fail(q.one(), delay=-1)
    assert q(*words)[0] == "revived"
    q.done(q.one())
    assert q(*words)[0] == "have"


def test_submit_counts_mutations(q):
    first = q("submit", f"b/{DS}/1", "batch", DS, "live", 1, "")[1]
    assert q("submit", f"b/{DS}/2", "batch", DS, "live", 1, "")[1] > first


def test_submit_under_a_parent_that_is_sealed_is_refused(q):
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    q.fan(job, "end", batch_of("B"), sealed=True)
    refused("BADARG parent", q, "submit", f"b/{DS}/C", "batch", DS, "live", 1, job.id)


def test_a_batch_has_all_its_parents(q):
    tail = q.tail()
    q.fan(tail, "10", batch_of("B"))
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    q.fan(job, "end", batch_of("B"), sealed=True)
    assert q.members(f"up:b/{DS}/B") == sorted([tail.id, job.id])
    assert q.members(f"open:{job.id}") == [f"b/{DS}/B"]
    q.fan(q.one(), "end", sealed=True)
    q.done(q.one())
    assert q.members(f"open:{tail.id}") == []
    q.note_job(job.id)


# --- fan -----------------------------------------------------------------------------------------

def test_fan_moves_children_and_cursor_together(q):
    task = q.tail()
    new, _, room, _ = q.fan(task, "10", batch_of("B"), batch_of("C"))
    assert (new, room) == (2, 20000)
    assert q.get(task.id, "offset") == "10"
    assert q.members(f"ready:l:live:{DS}") == [f"b/{DS}/B", f"b/{DS}/C"]


def test_fan_compares_the_cursor(q):
    task = q.tail()
    q.fan(task, "10")
    refused("FENCED stale cursor", q.fan, task, "20")
    q.fan(task, "20", prev="10")


def test_fan_repeated_does_nothing(q):
    task = q.tail()
    q.fan(task, "10", batch_of("B"))
    before = everything(q.redis)
    assert q.fan(task, "10", batch_of("B"))[0] == 0
    assert everything(q.redis) == before


def test_sealed_fan_repeated_is_recognised_by_its_holder_only(q):
    q("submit", f"b/{DS}/B", "batch", DS, "live", 1, "")
    task = q.one()
    q.fan(task, "end", file_of("B", 0), sealed=True)
    before = everything(q.redis)
    assert q.fan(task, "end", file_of("B", 0), sealed=True)[0] == 0
    assert everything(q.redis) == before
    refused("FENCED", q.fan, task._replace(owner="b"), "end", file_of("B", 0), sealed=True)
    refused("FENCED", q.fan, task, "end", file_of("B", 0))


def test_sealing_with_the_cursor_of_an_open_page_is_not_a_repetition(q):
    q("submit", f"b/{DS}/B", "batch", DS, "live", 1, "")
    task = q.one()
    q.fan(task, "p1")
    refused("FENCED stale cursor", q.fan, task, "p1", sealed=True)


def test_fan_by_a_stale_worker_is_refused(q):
    old = q.tail()
    q.release(old)
    q.one()
    before = everything(q.redis)
    refused("FENCED", q.fan, old, "10", batch_of("B"))
    assert everything(q.redis) == before


def test_fan_after_listing_is_refused(q):
    q.batch()
    task = q.one()
    assert task.fields["phase"] == "fin"
    refused("BADPHASE fin", q.fan, task, "more", file_of("B", 1))


def test_an_empty_batch_goes_straight_to_its_commit(q):
    q.batch()
    assert q.one().fields["phase"] == "fin"


def test_an_empty_job_is_completed(q):
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    q.fan(job, "end", sealed=True)
    assert q.members(f"unlisted:{DS}") == []
    q.note_job(job.id)


def test_windows_and_batches_settle_up_to_the_job(q):
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    q.fan(job, "end", child("window", f"w/{DS}/1", lane="backfill"), sealed=True)
    window = q.one(lane="backfill")
    q.fan(window, "end", batch_of("B"), sealed=True)
    q.fan(q.one(), "end", sealed=True)
    assert q.get(job.id, "status") == "in-progress"
    q.done(q.one())
    assert q.get(window.id, "status") == "completed"
    q.note_job(job.id)


# --- claim ---------------------------------------------------------------------------------------

def test_claim_takes_the_oldest_and_returns_the_whole_hash(q):
    for name, order in (("B", 7), ("A", 9), ("C", 3)):
        q("submit", f"b/{DS}/{name}", "batch", DS, "live", order, "", "name", name)
    tasks = list(q.claim(limit=2))
    assert [t.fields["name"] for t in tasks] == ["C", "B"]
    assert tasks[0].fields["attempts"] == "1"
    assert tasks[0].fields["owner"] == "a"


def test_a_key_of_a_wrong_type_stops_its_dataset_only(q):
    q("submit", f"b/{OTHER}/B", "batch", OTHER, "live", 1, "")
    q.redis.set(f"{P}ready:l:live:{DS}", "what?")
    for _ in range(4):
        task = q.one(datasets=(DS, OTHER))
        assert task.id == f"b/{OTHER}/B"
        q.release(task)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        list(q.claim())


def test_lanes_are_apart(q):
    q("backfill", DS, "2024-02-01", "2024-02-02")
    assert not list(q.claim())
    assert q.one(lane="backfill").fields["lane"] == "backfill"


def test_claim_stops_at_the_first_file_that_does_not_fit(q):
    q("submit", f"b/{DS}/B", "batch", DS, "live", 1, "")
    lengths = [3 * MIB, 10, 50 * MIB, 10]
    kids = [file_of("B", n, n, length=length) for n, length in enumerate(lengths)]
    q.fan(q.one(), "end", *kids, sealed=True)
    room = 3 * MIB + 65536 + 8 * MIB - 1
    assert len(list(q.claim("f", limit=9, room=(3 * MIB - 1, 8 * MIB)))) == 0
    assert len(list(q.claim("f", limit=9, room=(room, 8 * MIB)))) == 2
    assert len(q.members(f"ready:f:live:{DS}")) == 2
    assert len(list(q.claim("f", limit=9, room=(8 * MIB + 65536, 8 * MIB)))) == 2


def test_small_files_of_another_dataset_do_not_overtake_for_ever(q):
    q.batch("B", files=1, length=8 * MIB)
    q.batch("S", files=1, dataset=OTHER)
    empty = 0
    for _ in range(60):
        tasks = list(q.claim("f", limit=9, room=(8 * MIB - 1, 8 * MIB), datasets=(DS, OTHER)))
        assert [task.fields["dataset"] for task in tasks] in ([], [OTHER])
        empty += not tasks
        for task in tasks:
            q.release(task)
    assert 10 < empty < 50, empty


def test_limits_and_pause_of_a_dataset(q):
    q.batch(files=3)
    q("dataset", DS, "max_f", 2)
    q("pause", DS, 1)
    assert not list(q.claim("f", limit=9))
    q("pause", DS, 0)
    assert len(list(q.claim("f", limit=9))) == 2
    assert not list(q.claim("f", limit=9))
    q("dataset", DS, "max_x", 0)
    q("submit", f"b/{DS}/C", "batch", DS, "live", 1, "")
    assert not list(q.claim())


def test_no_dataset_starves(q):
    for dataset in (DS, OTHER):
        for n in range(200):
            q("submit", f"b/{dataset}/{n}", "batch", dataset, "live", n, "")
    seen = collections.Counter(q.one(datasets=(DS, OTHER)).fields["dataset"] for _ in range(200))
    assert min(seen[DS], seen[OTHER]) > 40, seen


def test_listing_waits_for_room_and_commits_do_not(q):
    q("dataset", DS, "max_open_files", 2)
    q.batch("B", files=2)
    q("submit", f"b/{DS}/OLD", "batch", DS, "live", 0, "")
    assert not list(q.claim(limit=9))
    assert q.tail().fields["kind"] == "tail"
    q.finish()
    tasks = list(q.claim(limit=9))
    assert [t.fields["phase"] for t in tasks] == ["fin", "fan"]


def test_fan_reports_the_room_that_is_left(q):
    q("dataset", DS, "max_open_files", 5)
    q("submit", f"b/{DS}/B", "batch", DS, "live", 1, "")
    task = q.one()
    assert q.fan(task, "1", file_of("B", 0), file_of("B", 1))[2] == 3
    q.fail(q.one(cls="f"), delay=-1)
    assert q.fan(task, "2", prev="1")[2] == 4


def test_entries_without_a_pending_task_are_dropped_by_claim(q):
    q.redis.zadd(f"{P}ready:x:live:{DS}", {f"b/{DS}/ghost": 0})
    assert not list(q.claim())
    assert q.members(f"ready:x:live:{DS}") == []


# --- leases --------------------------------------------------------------------------------------

def test_done_moves_the_row_and_shrinks_the_file(q):
    q.batch(files=1)
    task = q.one(cls="f")
    q("save", task.id, "a", task.fence, "upload_id", "u", "offset", 50)
    assert q.done(task, row="text", offset=100)[0] == "ok"
    left = q.task(task.id)
    assert left["status"] == "completed" and left["offset"] == "100"
    assert not {"upload_id", "row"} & set(left)
    assert q.redis.hgetall(f"{P}rows:b/{DS}/B") == {task.id: "text"}
    assert q.one().fields["phase"] == "fin"


def test_done_repeated_answers_ok_to_the_same_lease_only(q):
    q.batch(files=1)
    task = q.one(cls="f")
    q.done(task, row="text")
    before = everything(q.redis)
    assert q.done(task, row="text")[0] == "ok"
    assert everything(q.redis) == before
    refused("FENCED", q.done, task._replace(owner="b"))
    fin = q.one()
    q.done(fin, files=1)
    assert q.done(fin, files=1)[0] == "ok"


def test_done_while_listing_is_refused(q):
    refused("BADPHASE fan", q.done, q.tail())


@pytest.mark.parametrize("verb", ["save", "done", "fail", "release"])
def test_stale_writes_are_fenced_and_write_nothing(q, verb):
    q.batch(files=1)
    old = q.one(cls="f")
    q.release(old)
    new = q.one(cls="f", owner="b")
    assert int(new.fence) > int(old.fence)
    more = {"fail": (0, 1, "why", "cut"), "release": (0,)}.get(verb, ())
    before = everything(q.redis)
    for stale in (old, new._replace(owner="a"), old._replace(owner="b")):
        refused("FENCED", q, verb, stale.id, stale.owner, stale.fence, *more)
    assert everything(q.redis) == before


def test_fail_delays_and_counts_as_told(q):
    q.batch(files=1)
    q.fail(q.one(cls="f"), delay=0, count=0)
    task = q.one(cls="f")
    assert task.fields["attempts"] == "1" and task.fields["error"] == "why"
    assert task.fields["waits"] == "1"
    q.fail(task, delay=30, count=1)
    assert not list(q.claim("f")) and q.tick()[0] == 0
    time.sleep(0.04)
    assert q.tick()[0] == 1
    assert q.one(cls="f").fields["attempts"] == "2"


def test_dead_files_fail_the_batch_once_nothing_else_is_open(q):
    q.batch(files=2)
    first, second = q.claim("f", limit=2)
    assert q.fail(first, delay=-1)[0] == "dead"
    assert q.get(f"b/{DS}/B", "status") == "in-progress"
    q.done(second)
    assert q.get(f"b/{DS}/B", "class") == "children"
    assert sorted(q.members("dead")) == [f"b/{DS}/B", first.id]
    assert q.redis.scard(f"{P}open-files:{DS}") == 0


def test_release_refunds_the_attempt_and_keeps_fields(q):
    q.batch(files=1)
    q.release(q.one(cls="f"), offset=7, upload_id="u")
    task = q.one(cls="f")
    assert (task.fields["attempts"], task.fields["offset"]) == ("1", "7")
    assert (task.fields["upload_id"], task.fields["waits"]) == ("u", "0")
    q.release(task, delay=60000)
    assert q.members("delayed") == [task.id]


def test_a_tail_forgets_failures_once_a_turn_succeeds(q):
    q.fail(q.tail())
    task = q.one()
    assert task.fields["attempts"] == "2"
    q.release(task)
    assert q.get(task.id, "attempts") == "0"


def test_beat_extends_saves_and_tells(q):
    q.batch(files=2)
    held, lost = q.claim("f", limit=2, lease=1000)
    q.release(lost)
    end = q.redis.zscore(f"{P}lease:f:{DS}", held.id)
    assert q.beat(held, lost, offset=5, lease=90000) == ["ok", "FENCED"]
    assert q.redis.zscore(f"{P}lease:f:{DS}", held.id) > end
    assert q.get(held.id, "offset") == "5"
    assert q.beat(held) == ["ok"] and q.get(held.id, "offset") == "5"
    q("skip", f"b/{DS}/B", "corrupt")
    assert q.beat(held) == ["CANCEL"]


def lapse(q, task_of):
    task = task_of()
    time.sleep(0.005)
    q.tick()
    return task


def test_a_claimed_task_is_in_one_index(q):
    q("submit", f"b/{DS}/B", "batch", DS, "live", 1, "")
    task = q.one()
    assert q.members(f"ready:l:live:{DS}") == []
    assert q.redis.zrange(f"{P}lease:x:{DS}", 0, -1) == [task.id]


def test_a_lapsed_lease_is_given_to_the_next(q):
    q.batch(files=1)
    old = lapse(q, lambda: q.one(cls="f", lease=1))
    new = q.one(cls="f", owner="b")
    assert new.fields["lost"] == "1" and new.fence > old.fence
    assert q.beat(old) == ["FENCED"]


def test_a_batch_without_the_rows_of_its_files_is_listed_again(q):
    q.batch(files=2)
    first, second = q.claim("f", limit=2)
    q.done(first, row="one")
    q.redis.delete(f"{P}rows:b/{DS}/B")
    q.done(second, row="two")
    assert (q.get(f"b/{DS}/B", "phase"), q.get(f"b/{DS}/B", "status")) == ("fan", "pending")


def test_what_waits_for_its_children_has_no_lease_to_lose(q):
    """An index entry too many, as a copy of Redis taken key by key may hold it."""
    file = q.batch(files=1) and q.one(cls="f")
    q.redis.zadd(f"{P}lease:x:{DS}", {f"b/{DS}/B": 1})
    assert q.tick()[5:7] == [0, []]
    assert not q.redis.exists(f"{P}ready:l:live:{DS}")
    assert (q.get(f"b/{DS}/B", "status"), q.get(f"b/{DS}/B", "phase")) == ("in-progress", "wait")
    q.done(file)
    assert q.one().fields["phase"] == "fin"


def test_leases_lost_without_progress_poison_a_task(q):
    q.batch(files=1)
    for _ in range(4):
        lapse(q, lambda: q.one(cls="f", lease=1))
    q.one(cls="f", lease=1)
    time.sleep(0.005)
    assert q.tick()[5:7] == [1, [f"f/{DS}/B/0"]]
    assert q.get(f"f/{DS}/B/0", "class") == "poison"
    assert q.tick()[5:7] == [0, []]


@pytest.mark.parametrize("progress", [
    lambda q, task: q.beat(task, offset=1, lease=1),
    lambda q, task: q.release(task),
    lambda q, task: q.fail(task, count=0),
])
def test_progress_forgives_lost_leases(q, progress):
    q.batch(files=1)
    for _ in range(3):
        lapse(q, lambda: q.one(cls="f", lease=1))
    progress(q, q.one(cls="f", lease=1))
    assert q.get(f"f/{DS}/B/0", "lost") == "0"


def test_a_beat_without_progress_forgives_nothing(q):
    q.batch(files=1)
    lapse(q, lambda: q.one(cls="f", lease=1))
    q.beat(q.one(cls="f"), offset=0)
    assert q.get(f"f/{DS}/B/0", "lost") == "1"


# --- time ----------------------------------------------------------------------------------------

def test_tick_counts_live_daemons(q):
    assert q.tick(owner="a", ttl=60000)[1] == 1
    assert q.tick(owner="b", ttl=1)[1] == 2
    time.sleep(0.005)
    moved, live, inbox, now, seq, lapsed, poisoned, before, unknown = q.tick(owner="a")
    assert (moved, live, inbox, lapsed, poisoned, unknown) == (0, 1, 0, 0, [], 0)
    assert abs(now - time.time() * 1000) < 5000
    assert seq == int(q.redis.get(P + "seq"))
    assert now < before < now + 60000
    assert q.tick(owner="c")[7] == 0


def test_a_fence_is_never_given_twice(q):
    """Not even by a Redis that went back to a state before the claim."""
    q("submit", f"b/{DS}/B", "batch", DS, "live", 1, "")
    old = q.redis.dump(f"{P}t:b/{DS}/B")
    first = q.one()
    q.redis.restore(f"{P}t:b/{DS}/B", 0, old, replace=True)
    q.redis.zrem(f"{P}lease:x:{DS}", f"b/{DS}/B")
    q.redis.zadd(f"{P}ready:l:live:{DS}", {f"b/{DS}/B": 1})
    assert q.one().fence > first.fence


def test_tick_is_bounded(q):
    q.batch(files=150)
    for task in list(q.claim("f", limit=150)):
        q.release(task, delay=1)
    time.sleep(0.005)
    assert [q.tick()[0] for _ in range(3)] == [100, 50, 0]


def test_a_committed_batch_leaves_nothing_but_itself_and_expires(q):
    q.batch(files=700)
    while q.redis.zcard(f"{P}ready:f:live:{DS}"):
        q.finish()
    q.done(q.one())
    q.tick()
    assert 0 < len(list(q.redis.scan_iter(P + "t:f/*", count=1000))) <= 200
    q.tick()
    assert not list(q.redis.scan_iter(P + "t:f/*", count=1000))
    assert not q.redis.exists(f"{P}rows:b/{DS}/B", P + "gc")
    assert q.task(f"b/{DS}/B")["status"] == "completed"
    time.sleep(0.005)
    q.tick(retention=1)
    left = {key for key in q.redis.scan_iter() if key.startswith((P + "t:", P + "up:"))}
    assert not left and not q.members("done")


def test_rows_can_be_walked(q):
    q.batch(files=900)
    while q.redis.zcard(f"{P}ready:f:live:{DS}"):
        q.finish()
    found, cursor = {}, "0"
    while True:
        cursor, flat = q.redis.fcall_ro("sluice_rows", 1, P, f"b/{DS}/B", cursor)
        found.update(zip(flat[::2], flat[1::2]))
        if cursor == "0":
            break
    assert found == {f"f/{DS}/B/{n}": f"row of f/{DS}/B/{n}" for n in range(900)}


# --- order ---------------------------------------------------------------------------------------

def committable(q, limit=99):
    return [task.id[-1] for task in q.claim(limit=limit) if task.fields["phase"] == "fin"]


def test_commit_order(q):
    q("dataset", DS, "order", "commit")
    for name, order in (("B", 2), ("A", 1), ("C", 3)):
        q.batch(name, files=1, order=order)
    files = {task.id: task for task in q.claim("f", limit=9)}
    assert len(files) == 3
    q.done(files[f"f/{DS}/C/0"])
    q.done(files[f"f/{DS}/B/0"])
    assert committable(q) == []
    q.done(files[f"f/{DS}/A/0"])
    for name in "ABC":
        task = q.one()
        assert task.id[-1] == name and not list(q.claim())
        q.done(task)


def test_commits_wait_for_what_may_still_yield_an_older_batch(q):
    q("dataset", DS, "order", "commit")
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    order = int(job.fields["order"])
    q.batch("L", order=order + 5)
    q.batch("E", order=order - 5)
    assert committable(q) == ["E"]
    q.fan(job, "end", batch_of("M", order + 1), sealed=True)
    assert committable(q) == []


def test_commits_wait_for_the_watermark_of_the_tail(q):
    q("dataset", DS, "order", "commit")
    tail = q.tail(watermark=100)
    q.batch("B", order=100)
    q.batch("A", order=99)
    first = q.one()
    assert first.id[-1] == "A"
    q.done(first)
    assert committable(q) == []
    q.fan(tail, "101")
    assert committable(q) == ["B"]


def test_sequential_order(q):
    q("dataset", DS, "order", "sequential")
    for name, order in (("A", 1), ("B", 2)):
        q("submit", f"b/{DS}/{name}", "batch", DS, "live", order, "")
    task = q.one(limit=9)
    assert task.id[-1] == "A"
    q.fan(task, "end", sealed=True)
    task = q.one(limit=9)
    assert task.fields["phase"] == "fin"
    q.done(task)
    assert q.one(limit=9).id[-1] == "B"


def test_a_dead_batch_holds_up_its_dataset_until_it_is_skipped(q):
    q("dataset", DS, "order", "sequential")
    for name, order in (("A", 1), ("B", 2)):
        q("submit", f"b/{DS}/{name}", "batch", DS, "live", order, "")
    q.fail(q.one(), delay=-1)
    q.tick()
    assert not list(q.claim())
    q("skip", f"b/{DS}/A", "corrupt")
    assert q.one().id[-1] == "B"


def test_a_dataset_that_is_no_longer_ordered_lets_all_pass(q):
    q("dataset", DS, "order", "commit")
    q.tail(watermark=1)
    for n in range(3):
        q.batch(str(n), order=5)
    assert committable(q) == []
    q("dataset", DS, "order", "concurrent")
    q.tick()
    assert sorted(committable(q)) == ["0", "1", "2"]


@pytest.mark.parametrize("order, phase", [("sequential", "fan"), ("commit", "fin")])
def test_a_dataset_that_becomes_ordered_lets_only_the_oldest_pass(q, order, phase):
    """As after a loss of Redis: tasks were made before a daemon had said that order matters."""
    q.tail(watermark=5)
    for name, created in (("A", 5), ("B", 6)):
        q("submit", f"b/{DS}/{name}", "batch", DS, "live", created, "")
    for task in list(q.claim(limit=9)) if phase == "fin" else ():
        q.fan(task, "end", sealed=True)
    q("dataset", DS, "order", order)
    assert not list(q.claim(limit=9))
    q.redis.hset(f"{P}t:tail/{DS}", "offset", "7")
    q.redis.zadd(f"{P}unlisted:{DS}", {f"tail/{DS}": 7})
    q.tick()
    assert [task.id[-1] for task in q.claim(limit=9)] == ["A"]


def test_nothing_is_claimed_of_a_dataset_that_nobody_registered(q):
    q.batch(files=1)
    q.redis.delete(P + "datasets")
    assert not list(q.claim("f")) and not list(q.claim())
    q("dataset", DS)
    assert q.one(cls="f")
