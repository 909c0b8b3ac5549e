# SPDX-License-Identifier: Apache-2.0
"""Listings of a batch that are void, or were never finished: what is committed is what the last
complete one has named."""
import pytest

from queue_rig import (  # pylint: disable=unused-import
    DS, P, State, check, file_of, fixture_q, fixture_server, refused)

B = f"b/{DS}/B"


def names(q, *numbers):
    return [f"f/{DS}/B/{number}" for number in numbers]


def begin(q):
    """A batch that is about to be listed."""
    q("submit", B, "batch", DS, "live", 1, "")
    return q.one()


def listed(q, *numbers, task=None, length=100):
    """Lists the batch, all in one go; returns how many strays there were."""
    task = task or q.one()
    kids = [file_of("B", number, length=length) for number in numbers]
    answer = q.fan(task, f"end{task.fence}", *kids, sealed=True)
    check(State(q.redis))
    return answer[3]


def rows(q):
    return sorted(q.redis.hkeys(f"{P}rows:{B}"))


def commit(q):
    """The batch is complete, and these are its rows."""
    task = q.one()
    assert (task.id, task.fields["phase"]) == (B, "fin")
    found = rows(q)
    assert len(found) == int(task.fields["listed"])
    q.done(task)
    q.tick()
    assert not [name for name in State(q.redis).task if name.startswith("f/")]
    return found


def copy(q, *numbers):
    """Claims all ready files and completes these."""
    tasks = {task.id: task for task in q.claim("f", limit=99)}
    for name in names(q, *numbers):
        q.done(tasks.pop(name), row="r", offset=100)
    return list(tasks.values())


def test_renamed_files_leave_and_their_rows_too(q):
    listed(q, 0, 1, 2, 3, task=begin(q))
    gone = copy(q, 0, 1)
    assert q.relist(gone[0])[0] == "relisted"
    state = State(q.redis)
    check(state)
    assert state.task[B]["phase"] == "fan" and state.task[B]["status"] == "pending"
    assert rows(q) == names(q, 0, 1)  # until it is certain
    assert gone[0].id not in state.task
    assert gone[1].id in state.task  # somebody is at it
    assert listed(q, 1, 8, 9) == 1
    assert rows(q) == names(q, 1)
    refused("FENCED", q.done, gone[1])
    copy(q, 8, 9)
    assert commit(q) == names(q, 1, 8, 9)


def test_the_second_to_notice_changes_nothing(q):
    listed(q, 0, 1, 2, task=begin(q))
    first, second, third = copy(q)
    q.relist(first)
    assert q.relist(second)[0] == "dropped"
    lister = q.one()
    assert q.relist(third)[0] == "dropped"  # that listing has not named it
    check(State(q.redis))
    refused("FENCED", q.relist, third)
    assert listed(q, 2, task=lister) == 0
    copy(q, 2)
    assert commit(q) == names(q, 2)


def test_a_listing_that_named_what_is_gone_begins_anew(q):
    """Names changed between two pages."""
    lister = begin(q)
    q.fan(lister, "1", file_of("B", 0), file_of("B", 1))
    done, gone = q.claim("f", limit=2)
    q.done(done, row="r")
    assert q.relist(gone)[0] == "relisted"
    refused("FENCED", q.fan, lister, "2", file_of("B", 7), prev="1", sealed=True)
    check(State(q.redis))
    assert listed(q, 5, 7) == 1
    copy(q, 5, 7)
    assert commit(q) == names(q, 5, 7)


def test_a_listing_cut_short_names_nothing_for_good(q):
    """Its lister died; what only that one had named is not in the batch, copied or not."""
    lister = begin(q)
    q.fan(lister, "1", file_of("B", 0), file_of("B", 1))
    copy(q, 0)
    q.release(lister)
    assert listed(q, 1, 2) == 1
    assert rows(q) == []
    q("tick", "a", 1000, 10**9, 9, DS)
    copied = {task.id: task for task in q.claim("f", limit=9)}
    assert sorted(copied) == names(q, 2)  # the other one is still in work


def test_files_nobody_began_make_room(q):
    """A batch that fills the room for open files can be listed all the same."""
    q("dataset", DS, "max_open_files", 5)
    listed(q, *range(9), task=begin(q))
    working, gone = q.claim("f", limit=2)
    began, = q.claim("f")
    q("save", began.id, "a", began.fence, "upload_id", "u")
    q.release(began)
    assert list(q.claim()) == []
    q.relist(gone)
    assert sorted(q.members(f"open:{B}")) == sorted([working.id, began.id])
    assert listed(q, 0, 1, 2) == 0
    assert q.get(began.id, "upload_id") == "u"


def test_another_length_is_another_file(q):
    """Whether it was completed, is in work, or waits with parts of the old one."""
    listed(q, 0, 1, 2, task=begin(q))
    working, waiting = copy(q, 0)
    q("save", waiting.id, "a", waiting.fence, "upload_id", "u")
    q.release(waiting)
    q.fail(working)
    gone = q.one(cls="f")
    assert gone.id == working.id
    q.relist(gone)
    assert listed(q, 0, 1, 2, length=101) == 0
    assert rows(q) == []
    tasks = list(q.claim("f", limit=9))
    assert sorted(task.id for task in tasks) == names(q, 0, 1, 2)
    assert {task.fields["length"] for task in tasks} == {"101"}
    assert not any("upload_id" in task.fields for task in tasks)
    check(State(q.redis))


def test_the_same_length_is_the_same_file(q):
    listed(q, 0, 1, task=begin(q))
    gone, = copy(q, 0)
    q.relist(gone)
    assert listed(q, 0, 9) == 0
    assert [task.id for task in copy(q)] == names(q, 9)
    assert rows(q) == names(q, 0)


def test_endless_renaming_is_given_up(q):
    lister, times = begin(q), 0
    while True:
        listed(q, times, task=lister)
        gone, = copy(q)
        if q.relist(gone)[0] == "worn":
            break
        times += 1
        delay = int(q.get(B, "not_before") or 0) - int(q.get(B, "updated_at"))
        assert (delay > 0) == (times > 1) and delay <= 30_000
        q.redis.zadd(P + "delayed", {B: 1} if times > 1 else {"x": 9e15})
        q.tick()
        lister = q.one()
    assert times == 20
    q.fail(gone, delay=-1, cls="source-changed")
    assert q.get(B, "status") == "failed"
    check(State(q.redis))
    q("retry", B)
    gone = q.one(cls="f")
    assert q.relist(gone)[0] == "relisted"  # an operator's retry begins to count anew


def test_progress_is_what_counts(q):
    lister = begin(q)
    for turn in range(50):
        listed(q, *range(turn), 100 + turn, task=lister)
        gone = copy(q, *range(max(0, turn - 1), turn))
        assert q.relist(gone[0])[0] == "relisted"
        q.redis.delete(P + "delayed")
        q("fix", "a", B)
        lister = q.one()


def test_nothing_left_of_a_batch(q):
    """It is listed without files in the end: committed as such, if the lister says so."""
    listed(q, 0, task=begin(q))
    gone, = copy(q)
    q.relist(gone)
    listed(q)
    assert commit(q) == []


@pytest.mark.parametrize("verb", ["skip", "cancel"])
def test_a_batch_that_ended_takes_no_listing(q, verb):
    listed(q, 0, task=begin(q))
    gone, = copy(q)
    if verb == "skip":
        q("skip", B, "reason")
    else:
        q.redis.hset(P + "t:" + B, "phase", "fin")
    refused("FENCED", q.relist, gone)
    refused("FENCED", q.relist, gone._replace(fence="1"))


def test_only_files_are_relisted(q):
    refused("FENCED", q.relist, begin(q))
    refused("BADARG", q, "relist", "f/x y", "a", "1")
