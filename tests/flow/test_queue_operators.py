# SPDX-License-Identifier: Apache-2.0
"""What operators call in the queue's function library, and the limits that Redis sets."""
import datetime
import random

import pytest

from queue_rig import (  # pylint: disable=unused-import
    DS, OTHER, P, State, batch_of, check, child, everything, file_of, fixture_q, fixture_server,
    refused)

# --- operators -----------------------------------------------------------------------------------

def test_retry_revives_what_failed_below_and_above(q):
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    q.fan(job, "end", batch_of("B"), sealed=True)
    q.fan(q.one(), "end", file_of("B", 0), file_of("B", 1), sealed=True)
    for task in list(q.claim("f", limit=2)):
        q.fail(task, delay=-1)
    assert q.get(job.id, "status") == "failed"
    assert q("retry", job.id) == "ok 4"
    assert q.members("dead") == []
    q.finish()
    q.done(q.one())
    q.note_job(job.id)


def test_retry_of_one_file_revives_its_parents_only(q):
    q.batch(files=2)
    for task in list(q.claim("f", limit=2)):
        q.fail(task, delay=-1)
    assert q("retry", f"f/{DS}/B/0").startswith("ok")
    assert q.members("dead") == [f"f/{DS}/B/1"]
    assert q.get(f"b/{DS}/B", "status") == "in-progress"
    q.finish()
    assert q.get(f"b/{DS}/B", "status") == "failed"


def test_retry_does_not_revive_a_parent_that_failed_by_itself(q):
    q("submit", f"b/{DS}/B", "batch", DS, "live", 1, "")
    batch = q.one()
    q.fan(batch, "1", file_of("B", 0))
    q.fail(q.one(cls="f"), delay=-1)
    q.fail(batch, delay=-1)
    q("retry", f"f/{DS}/B/0")
    assert q.get(batch.id, "status") == "failed"
    assert q.get(batch.id, "phase") == "fan"


def test_retry_of_what_did_not_fail_is_refused(q):
    q.batch(files=1)
    refused("NOTFAILED", q, "retry", f"b/{DS}/B")


def test_retry_is_bounded_and_says_so(q):
    q.batch(files=1000)
    for task in list(q.claim("f", limit=1000)):
        q.fail(task, delay=-1)
    assert q("retry", f"b/{DS}/B") == "ok 1000, repeat it for the rest"
    assert q("retry", f"b/{DS}/B") == "ok 1"
    assert q.members("dead") == []


def test_submit_of_a_batch_with_dead_files_revives_them(q):
    task = q.batch(files=1)
    q.fail(q.one(cls="f"), delay=-1)
    assert q("submit", task.id, "batch", DS, "live", 1, "")[0] == "revived"
    q.finish()
    assert q.one().fields["phase"] == "fin"


def test_skip_settles_the_job_and_is_remembered(q):
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    q.fan(job, "end", batch_of("B"), sealed=True)
    batch = q.one()
    q.fan(batch, "end", file_of("B", 0), sealed=True)
    q.fail(q.one(cls="f"), delay=-1)
    assert q("skip", batch.id, "corrupt at source") == "ok"
    assert q("skip", batch.id, "again") == "ok"
    q.note_job(job.id)
    assert (q.get(batch.id, "class"), q.get(batch.id, "error")) == ("skipped", "corrupt at source")
    q.tick(retention=0)
    assert q.members("dead") == []
    assert q("submit", batch.id, "batch", DS, "live", 1, "")[0] == "have"
    assert not q.redis.exists(f"{P}t:f/{DS}/B/0", f"{P}open:{batch.id}")


def test_a_skipped_batch_can_be_retried_before_and_after_its_files_are_removed(q):
    for collected in (False, True):
        name = f"B{collected}"
        batch = q.batch(name, files=2)
        q.done(q.one(cls="f"), row="r")
        q("skip", batch.id, "by mistake")
        if collected:
            q.tick()
        q("retry", batch.id)
        again = q.one()
        assert again.fields["offset"] == "0"
        q.fan(again, "end", file_of(name, 0), file_of(name, 1), sealed=True)
        q.tick()
        q.finish()
        q.done(q.one())


def test_cancel_takes_along_what_nobody_else_wants(q):
    q.fan(q.tail(), "10", batch_of("S"))
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    window = child("window", f"w/{DS}/1", lane="backfill")
    q.fan(job, "end", window, batch_of("S"), batch_of("T"), sealed=True)
    assert q("cancel", job.id) == "ok" and q("cancel", job.id) == "ok"
    q.tick()
    states = [q.get(name, "class") for name in (f"w/{DS}/1", f"b/{DS}/S", f"b/{DS}/T")]
    assert states == ["cancelled", None, "cancelled"]
    assert q.members(f"unlisted:{DS}") == [f"tail/{DS}"]
    assert [task.id for task in q.claim(limit=9)] == [f"b/{DS}/S"]


def test_a_cancelled_batch_is_taken_up_again_when_it_is_wanted(q):
    q("backfill", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    q.fan(job, "end", batch_of("T"), sealed=True)
    q("cancel", job.id)
    q.tick()
    q.fan(q.tail(), "10", batch_of("T"))
    assert q.get(f"b/{DS}/T", "status") == "pending"
    assert q("retry", job.id) == "ok 1"
    assert q.one(lane="backfill").fields["offset"] == "0"


def test_backfill_is_repeatable_and_again_is_numbered(q):
    words = ("backfill", DS, "2024-02-01", "2024-02-03")
    name = f"j/{DS}/1706745600000-1706918400000"
    assert q(*words) == f"queued {name}"
    assert q(*words) == q(*words, "again") == f"exists {name} pending"
    q.fan(q.one(lane="backfill"), "end", sealed=True)
    q.note_job(name)
    assert q(*words) == f"exists {name} completed"
    assert q(*words, "again") == f"queued {name}/2"
    assert q(*words, "again") == f"exists {name}/2 pending"
    task = q.one(lane="backfill")
    assert (task.fields["from"], task.fields["to"]) == ("1706745600000", "1706918400000")
    assert task.fields["order"] == task.fields["from"]


def test_backfill_wants_a_known_dataset_and_names_them(q):
    assert refused("BADARG dataset", q, "backfill", "x", "2024-02-01", "2024-02-03").endswith(
        f"want one of {DS} {OTHER}")
    refused("BADARG", q, "backfill")
    refused("BADARG from", q, "backfill", DS)


@pytest.mark.parametrize("text", [
    "2024-02-30", "2023-02-29", "1900-02-29", "2024-13-01", "2024-00-01", "2024-01-00",
    "2024-1-1", "20240201", "2024-02-01T24:00Z", "2024-02-01T10:60Z", "2024-02-01T10:00",
    "2024-02-01T10:00:60Z", "2024-02-01T10:00:5Z", "2024-02-01T10:00:00+01:00", "1969-12-31",
    "yesterday", "", " 2024-02-01", "2024-02-01 ", "1706745600", "170674560000000", "-1",
])
def test_dates_are_strict(q, text):
    before = everything(q.redis)
    refused("BADARG from", q, "backfill", DS, text, "2030-01-01")
    refused("BADARG to", q, "backfill", DS, "2024-01-01", text)
    assert everything(q.redis) == before


def test_dates_agree_with_the_calendar(q):
    rng = random.Random(1)
    for _ in range(300):
        at = datetime.datetime.fromtimestamp(rng.randrange(3 * 10**9), datetime.timezone.utc)
        form, unit = rng.choice([("%Y-%m-%d", 86400), ("%Y-%m-%dT%H:%MZ", 60),
                                 ("%Y-%m-%dT%H:%M:%SZ", 1)])
        want = int(at.timestamp()) // unit * unit * 1000
        answer = q("backfill", DS, at.strftime(form), "2099-12-31")
        assert f"/{want}-" in answer, (at, answer)


def test_a_range_must_not_be_empty(q):
    refused("BADARG range", q, "backfill", DS, "2024-02-01", "2024-02-01")
    refused("BADARG range", q, "backfill", DS, "2024-02-01T00:01Z", "1706745600000")
    refused("BADARG after", q, "backfill", DS, "2024-02-01", "2024-02-02", "please")


# --- replays -------------------------------------------------------------------------------------

RANGE = "1706745600000-1706832000000"


def ordered(answer):
    """(job, generation) of an order that was taken."""
    word, job, generation = answer.split()
    assert word == "queued" and generation.startswith("generation=")
    return job, generation.removeprefix("generation=")


def replayed(q, name="B", files=1):
    """A replay of one batch whose files are ready: job, generation, batch."""
    job, generation = ordered(q("replay", DS, name))
    batch = f"b/{DS}/{generation}/{name}"
    q.fan(q.one(lane="backfill"), "1", child("batch", batch, 7, lane="backfill"), sealed=True)
    kids = [child("file", f"f/{DS}/{generation}/{name}/{n}", 7, lane="backfill")
            for n in range(files)]
    q.fan(q.one(lane="backfill"), "1", *kids, sealed=True)
    return job, generation, batch


def test_a_replay_is_a_job_with_a_generation(q):
    before = int(q.redis.time()[0]) * 1000
    job, generation = ordered(q("replay", DS, "2024-02-01", "2024-02-02"))
    assert job == f"j/{DS}/replay/{RANGE}"
    assert before <= int(generation) <= before + 60_000
    task = q.task(job)
    assert task["generation"] == generation and task["lane"] == "backfill"
    assert f"{task['from']}-{task['to']}" == RANGE and task["order"] == task["from"]
    event = q.redis.xrevrange(P + "events", count=1)[0][1]
    assert event == {"t": job, "e": f"replay {generation}", "w": "operator"}
    job, generation = ordered(q("replay", DS, "01HNH00ABC"))
    assert job == f"j/{DS}/replay/01HNH00ABC" and q.get(job, "batch") == "01HNH00ABC"
    check(State(q.redis))


def test_generations_are_never_the_same(q):
    q.redis.hset(f"{P}ds:{OTHER}", "generation", 4102444800000)
    found = [ordered(q("replay", ds, name))[1] for name in "ABC" for ds in (DS, OTHER)]
    assert found == [str(4102444800001 + n) for n in range(6)]


def test_a_replay_is_ordered_again_only_after_its_end(q):
    job, generation, batch = replayed(q)
    again = ("replay", DS, "B")
    assert q(*again) == f"exists {job} in-progress"
    q.fail(q.one(cls="f", lane="backfill"), delay=-1)
    assert q(*again) == f"exists {job} failed"
    assert q("retry", job) == "ok 3"
    q.done(q.one(cls="f", lane="backfill"), row="r")
    q.done(q.one(lane="backfill"))
    q.note_job(job)
    second, later = ordered(q(*again))
    assert second == f"{job}/2" and int(later) > int(generation)
    assert q("cancel", second) == "ok"
    assert ordered(q(*again))[0] == f"{job}/3"
    assert q(*again) == f"exists {job}/3 pending"
    assert q.get(batch, "status") == "completed"


@pytest.mark.parametrize("words", [
    (), (DS,), (DS, ""), (DS, "a/b"), (DS, ".."), (DS, "a b"), (DS, "x" * 161), ("x", "B"),
    (DS, "2024-02-01"), (DS, "2024-02-30"), (DS, "1706745600000"), (DS, RANGE),
    (DS, "2024-02-02", "2024-02-01"), (DS, "B", "C"), (DS, "2024-02-01", "soon"),
    (DS, "2024-02-01", "2024-02-02", "again"),
])
def test_a_senseless_replay_is_refused(q, words):
    before = everything(q.redis)
    refused("BADARG", q, "replay", *words)
    assert everything(q.redis) == before


def test_the_counter_of_generations_is_not_an_option(q):
    refused("BADARG generation", q, "dataset", DS, "generation", 1)


@pytest.mark.parametrize("kind, name", [
    ("batch", "b/{ds}/B"), ("batch", "b/{ds}/99/B"), ("window", "w/{ds}/1-2")])
def test_nothing_slips_into_another_generation(q, kind, name):
    q("replay", DS, "2024-02-01", "2024-02-02")
    job = q.one(lane="backfill")
    window = f"w/{DS}/{job.fields['generation']}/1-2"
    q.fan(job, "1", child("window", window, lane="backfill"))
    parent = q.one(lane="backfill") if kind == "batch" else job
    refused("BADARG", q, "submit", name.format(ds=DS), kind, DS, "backfill", 1, parent.id)
    refused("BADARG", q.fan, parent, "2", child(kind, name.format(ds=DS), lane="backfill"),
            prev=q.get(parent.id, "offset"))


@pytest.mark.parametrize("mode", ["commit", "sequential"])
def test_a_replay_neither_waits_nor_is_waited_for(q, mode):
    q("dataset", DS, "order", mode)
    tail = q.tail()
    q.fan(tail, "10", batch_of("OLD", 1))
    old = q.one()
    job, generation, batch = replayed(q, "OLD")
    q.done(q.one(cls="f", lane="backfill"), row="r")
    fin = q.one(lane="backfill")
    assert (fin.id, fin.fields["phase"]) == (batch, "fin"), "although an older one is open"
    q("replay", DS, "2000-01-01", "2000-01-02")
    q.fan(old, "1", file_of("OLD", 0), sealed=True)
    q.finish()
    assert q.one().id == old.id, "although a replay of older ones is not listed yet"
    assert q.members(f"order:{DS}") == [old.id] and generation in batch
    q.done(fin)
    q.note_job(job)
    check(State(q.redis))


def test_tasks_of_a_replay_can_be_skipped_cancelled_and_mended(q):
    job, generation, batch = replayed(q, files=2)
    q.fail(q.one(cls="f", lane="backfill"), delay=-1)
    assert q("skip", batch, "not needed") == "ok"
    check(State(q.redis))
    q.note_job(job)
    job, generation, batch = replayed(q, "C", files=2)
    file = q.one(cls="f", lane="backfill")
    assert q("cancel", job) == "ok"
    q.tick()
    assert q.beat(file) == ["FENCED"]
    assert q.get(batch, "class") == "cancelled"
    assert q("retry", job) == "ok 1"
    assert q.one(lane="backfill").fields["generation"] == generation
    check(State(q.redis))
    q.redis.delete(f"{P}open:{job}", f"{P}lease:x:{DS}")
    for run in "ab":
        for name in State(q.redis).task:
            q("fix", run, name)
    check(State(q.redis))


def test_inbox_orders_replays(q):
    q.redis.lpush(P + "inbox", "raw")
    verdict, answer = q("inbox_take", "raw", "run", "replay", DS, "B")
    assert verdict == "done" and ordered(answer)[0] == f"j/{DS}/replay/B"


# --- the inbox -----------------------------------------------------------------------------------

def test_inbox_runs_once(q):
    q.redis.lpush(P + "inbox", "raw")
    words = ("inbox_take", "raw", "run", "backfill", DS, "2024-02-01", "2024-02-02")
    verdict, answer = q(*words)
    assert verdict == "done" and answer.startswith("queued j/")
    assert q(*words) == ["gone", ""]
    assert q.tick()[2] == 0


@pytest.mark.parametrize("words, reason", [
    (("reject", "no JSON"), "no JSON"),
    (("run", "backfill", DS, "soon", "later"), "BADARG from"),
    (("run", "explode"), "BADARG verb"),
    (("run", "retry"), "BADARG id"),
    (("run", "retry", "b/x/y"), "BADARG id"),
])
def test_inbox_keeps_what_is_refused_with_the_reason(q, words, reason):
    q.redis.lpush(P + "inbox", "second", "raw", "first")
    verdict, answer = q("inbox_take", "raw", *words)
    assert verdict == "rejected" and answer.startswith(reason)
    assert q.redis.lrange(P + "inbox:rejected", 0, -1) == [f"{answer} <- raw"]
    assert q.redis.lrange(P + "inbox", 0, -1) == ["first", "second"]


def test_inbox_rejections_are_capped(q):
    for n in range(1010):
        q.redis.lpush(P + "inbox", n)
        q("inbox_take", n, "reject", "no")
    assert q.redis.llen(P + "inbox:rejected") == 1000


def test_inbox_survives_a_broken_index(q):
    q.redis.set(P + "unlisted:" + DS, "not a sorted set")
    q.redis.lpush(P + "inbox", "raw")
    verdict, answer = q("inbox_take", "raw", "run", "backfill", DS, "2024-02-01", "2024-02-02")
    assert verdict == "rejected" and "WRONGTYPE" in answer


def test_stat_and_show_explain_without_writing(q):
    q.batch(files=2)
    q.fail(q.one(cls="f"), delay=-1, text="403 from the store")
    text = q.redis.fcall_ro("sluice_stat", 1, P)
    assert text.splitlines()[0].startswith(DS + " order=concurrent paused=0")
    assert "to_copy=1" in text and "open_files=1" in text and "dead=1" in text
    assert "place ready:f:live" in q.redis.fcall_ro("sluice_show", 1, P, f"f/{DS}/B/1")
    assert "403 from the store" in q.redis.fcall_ro("sluice_show", 1, P, f"f/{DS}/B/0")
    batch = q.redis.fcall_ro("sluice_show", 1, P, f"b/{DS}/B")
    assert f"dead 1 f/{DS}/B/0" in batch and "place wait" in batch


def test_stat_says_what_is_due(q):
    """The oldest batch since the start of the tail that is readable and not committed."""
    def word(name):
        line = q.redis.fcall_ro("sluice_stat", 1, P).splitlines()[0]
        return dict(pair.split("=") for pair in line.split()[1:])[name]

    q("submit", f"tail/{DS}", "tail", DS, "live", 50, "", "start", 50)
    q.release(q.one(), seen_to=90)
    assert (word("seen_to"), word("oldest_due"), word("committed_at")) == ("90", "0", "0")
    q("submit", f"b/{DS}/history", "batch", DS, "live", 10, "")
    list(q.claim(limit=9))  # the tail, and this
    assert word("oldest_due") == "0", "created before the tail began"
    q("submit", f"b/{DS}/open", "batch", DS, "live", 60, "")
    q.release(q.one(), delay=10 ** 6, status_aep="loading")
    assert word("oldest_due") == "0", "AEP keeps it open itself"
    q.batch("due", files=1, order=70)
    assert word("oldest_due") == "70"
    q.finish()
    q.done(q.one(), manifest="key")
    assert word("oldest_due") == "0" and int(word("committed_at")) > 1_700_000_000_000
    refused("BADARG", q, "dataset", DS, "committed_at", 5)


# --- limits of Redis -----------------------------------------------------------------------------

def test_a_full_redis_drains_and_does_not_grow(q):
    q.batch(files=1)
    task = q.one(cls="f")
    q.redis.config_set("maxmemory", 1)
    try:
        refused("OOM", q, "submit", f"b/{DS}/C", "batch", DS, "live", 1, "")
        refused("OOM", q, "claim", "a", 1000, "x", "live", 1, 0, 0, DS)
        assert q.beat(task, offset=1) == ["ok"]
        assert q.done(task, row="r")[0] == "ok"
        assert q.tick()[0] == 0
    finally:
        q.redis.config_set("maxmemory", 0)
