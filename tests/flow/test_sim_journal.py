# SPDX-License-Identifier: Apache-2.0
"""The simulator's journal of events: a hint, and as unreliable as the real one."""
import pytest

from ground import World
from sim_rig import JOURNAL, Reader, running


@pytest.fixture
def reader():
    """A client of a simulator whose journal has told nothing yet."""
    world = World()
    world.dataset("d1")
    with running(world) as sim:
        yield Reader(sim)


def test_journal_tells_of_ended_batches(reader):
    assert reader.follow()[0] == []
    answer = reader.ask()
    assert answer.status_code == 204 and answer.headers["Retry-After"] == "10"
    good, (bad,) = reader.ended(3), reader.ended(1, "failed")
    reader.ended(1, "loading")
    body = reader.ask(limit=2).json()
    assert body["_page"] == {"last": body["events"][1]["position"], "count": 2}
    found, since = reader.follow()
    assert set(found) == {*good, bad} and len(found) == 4
    events = {item["event"]["event"]["xdm:ingestionId"]: item["event"]
              for item in reader.ask().json()["events"]}
    assert events[bad]["event"]["xdm:eventCode"] == "ing_load_failure"
    event = events[good[0]]["event"]
    assert event["xdm:eventCode"] == "ing_load_success" and event["xdm:datasetId"] == "d1"
    assert event["xdm:sandboxName"] == "prod" and event["xdm:imsOrg"] == reader.sim.world.org
    assert event["header"]["_adobeio"]["eventCode"] == "platform_event"
    assert reader.follow(since)[0] == [] and reader.ask(latest="true").status_code == 204
    more = reader.ended(1)
    assert reader.follow(since)[0] == more


def test_journal_is_not_reliable(reader):
    assert reader.follow()[0] == []
    lost, twice, late, last = reader.ended(4)
    reader.sim.arm(f"journal_missing:match={lost} journal_duplicate:match={twice} "
                   f"journal_unordered:match={late}")
    assert reader.follow()[0] == [twice, twice, last, late]


def test_an_event_that_nothing_overtakes_comes_at_last(reader):
    reader.sim.arm("journal_unordered")
    (only,) = reader.ended(1)
    answers = [reader.ask() for _ in range(2)]
    assert [answer.status_code for answer in answers] == [204, 200]
    assert answers[1].json()["events"][0]["event"]["event"]["xdm:ingestionId"] == only


def test_old_positions_are_gone(reader):
    old = reader.sim.world.datasets["d1"].batch([5])
    reader.sim.options(journal_days=100_000)
    reader.sim.add(old)
    position = reader.ask().json()["events"][0]["position"]
    assert reader.follow(position)[0] == []
    reader.ended(1)
    reader.sim.options(journal_days=7)
    assert reader.ask(since=position).status_code == 200, "what follows is still kept"
    assert reader.ask(since="rabbit:start").status_code == 410
    assert len(reader.ask().json()["events"]) == 1, "without a position: the oldest that is kept"
    assert reader.ask(since="nowhere").status_code == 400


def test_journal_checks_its_own_headers(reader):
    answer = reader.get(JOURNAL)
    assert answer.json() == {"error_code": "400003", "message": "Missing header"}
    answer = reader.get(JOURNAL, headers={"x-ims-org-id": "FFFF@AdobeOrg"})
    assert answer.json()["error_code"] == "403025"
