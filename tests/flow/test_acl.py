# SPDX-License-Identifier: Apache-2.0
"""conf/redis-acl.conf: what its users may do is enough for the daemon and for operators, and
little more."""
import re
import subprocess

import pytest

from test_tail import committed, drained
from world import ROOT, Redis, wait_until, write_secret

FILE = ROOT / "conf/redis-acl.conf"
PASSWORD = "acl-test-password"
USERS = ("default", "sluiced", "operator")
FORBIDDEN = [
    "CONFIG GET dir", "EVAL return(1) 0", "FLUSHALL", "FLUSHDB", "KEYS *", "BGREWRITEAOF",
    "SHUTDOWN NOSAVE", "REPLICAOF NO ONE", "ACL LIST", "SCRIPT FLUSH", "FUNCTION FLUSH",
    "FUNCTION DELETE sluice1", "GET other", "SET other 1", "RENAME sluice:seq sluice:x",
    "PUBLISH channel 1", "MIGRATE 127.0.0.1 1 sluice:seq 0 1", "SORT sluice:inbox",
]


def rules():
    """User name to the words after it."""
    return dict(re.findall(r"(?m)^user (\S+) (.*)$", FILE.read_text()))


def library_commands():
    """What lib/queue/queue.lua calls."""
    text = (ROOT / "lib/queue/queue.lua").read_text()
    return {name.lower() for name in re.findall(r"\bcall\(\s*'([A-Z]+)'", text)}


@pytest.fixture
def redis(place):
    """A server with the users of the file, two of them with a password. The default one is the
    one that sets them: it comes last."""
    server = Redis(place / "redis")
    server.start()
    for name, words in sorted(rules().items(), reverse=True):
        words = words.replace("off ", f"on >{PASSWORD} ", 1)
        server.command("ACL", "SETUSER", name, "reset", *words.split())
    yield server
    server.stop()


def ask(redis, user, words):
    """The answer to a user, with errors."""
    login = [] if user == "default" else ["--no-auth-warning", "--user", user, "--pass", PASSWORD]
    result = subprocess.run(["redis-cli", "-s", redis.socket, *login, *words.split()], text=True,
                            capture_output=True, check=False)
    return result.stdout + result.stderr


@pytest.mark.parametrize("user", USERS)
def test_names_what_the_library_calls(user):
    """A new command of the library must be allowed, one that it lost must not stay."""
    named = set(re.findall(r" \+([a-z]+)(?= |$)", rules()[user]))
    besides = {"ping", "info", "fcall", "fcall_ro", "scan"}
    assert library_commands() - named == set(), "missing"
    assert named - library_commands() - besides == set(), "more than it needs"


def test_daemon_and_operators_work(world, sluiced, redis, judge, place):
    """The daemon as its user, through all kinds of tasks; an operator beside it."""
    data = world.dataset()
    batches = [data.batch([1000, 200]) for _ in range(3)]
    daemon = sluiced(redis={"user": "sluiced",
                            "password_file": write_secret(place / "password", PASSWORD)})
    daemon.config["datasets"][0]["start"] = "2024-03-01"
    daemon.start()
    wait_until(lambda: daemon.get("/readyz")[0] == 200, 20, "ready")
    verb = "FCALL sluice_{} 1 sluice: {}"
    job = ask(redis, "operator", verb.format("backfill", f"{data.id} 2024-01-01 2024-03-01"))
    assert job.startswith("queued j/"), job
    committed(daemon, 3)
    for user in ("default", "operator"):
        for words in (verb.format("pause", f"{data.id} 1"), verb.format("pause", f"{data.id} 0"),
                      "FCALL_RO sluice_stat 1 sluice:", "ZRANGE sluice:dead 0 9 REV",
                      "XREVRANGE sluice:events + - COUNT 5", "ZRANGE sluice:daemons 0 -1",
                      f"HGETALL sluice:t:tail/{data.id}", f"HSET sluice:ds:{data.id} max_f 16",
                      "LRANGE sluice:inbox:rejected 0 9", "LPUSH sluice:inbox retry",
                      verb.format("retry", f"b/{data.id}/{batches[0].id}"),
                      verb.format("replay", f"{data.id} {batches[1].id}")):
            assert "NOPERM" not in ask(redis, user, words), f"{user}: {words}"
    committed(daemon, 4)
    drained(daemon, redis)
    assert "NOPERM" not in daemon.log.read_text()
    judge(allow_strays=True)


@pytest.mark.parametrize("user", USERS)
def test_nothing_else_works(redis, user):
    """Each of these would be a way in, or the end of the queue."""
    for words in FORBIDDEN:
        assert "NOPERM" in ask(redis, user, words), f"{user} may {words}"
