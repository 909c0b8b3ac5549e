# SPDX-License-Identifier: Apache-2.0
"""README's section "Operate": each redis-cli line of it is run exactly as it is printed. The
socket is brought to the test's Redis by a redis-cli in front of the real one, and the ids of the
examples by a world in which they exist."""
import os
import re
import shutil
import subprocess

import pytest

from test_tail import committed
from world import ROOT, wait_until

SECTION = re.compile(r"^## Operate\n(.*?)^### ", re.M | re.S)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)
EXAMPLE = "5f1a2b3c4d5e6f708192a3b4"
DAY = 86_400_000
FIRST = 1_706_745_600_000  # 2024-02-01
ERRORS = ("ERR", "BADARG", "NOTFAILED", "WRONGTYPE", "NOPERM")


def lines():
    """The commands of the block that begins with a function q."""
    section = SECTION.search((ROOT / "README.md").read_text(encoding="utf-8"))[1]
    block = next(text for text in BLOCK.findall(section) if text.startswith("q()"))
    return [line for line in block.splitlines() if line and not line.startswith("#")]


def batches_of(text):
    """Ids of batches in the examples."""
    return sorted(set(re.findall(r"01[0-9A-HJKMNP-TV-Z]{24}", text)))


class Shell:
    """A shell that has a redis-cli of its own, which talks to the test's Redis."""

    def __init__(self, place, redis, head):
        self.head = head
        self.path = place / "bin"
        self.path.mkdir()
        tool = self.path / "redis-cli"
        tool.write_text('#!/bin/bash\nargs=("$@")\nfor i in "${!args[@]}"; do\n'
                        '    [ "${args[i]}" != /run/sluice-redis/redis.sock ] ||\n'
                        f'        args[i]={redis.socket}\ndone\n'
                        f'exec {shutil.which("redis-cli")} -e "${{args[@]}}"\n', encoding="utf-8")
        tool.chmod(0o755)

    def run(self, line):
        """(exit status, what it printed)"""
        env = {**os.environ, "PATH": f"{self.path}:{os.environ['PATH']}"}
        done = subprocess.run(["bash", "-c", "\n".join([*self.head, line])], env=env, text=True,
                              capture_output=True, timeout=60, check=False)
        print(f"$ {line}\n{done.stdout}{done.stderr}")
        return done.returncode, (done.stdout + done.stderr).strip()


@pytest.fixture(name="shop")
def fixture_shop(world, sim, sluiced, redis):
    """A daemon that tails the dataset of the examples, with their batches: each has a file that is
    never right, so that there is something to retry and to skip."""
    text = "\n".join(lines())
    data = world.dataset(EXAMPLE)
    data.batch([1000], created=FIRST)
    names = batches_of(text)
    for number, name in enumerate(names):
        data.batch([("wrong.parquet", 1234)], batch_id=name, created=FIRST + 40 * DAY + number)
    sim.start()
    sim.arm("bit_flip:times=0,match=wrong")
    daemon = sluiced()
    daemon.start()
    committed(daemon, 1)
    wait_until(lambda: all(redis.command("HGET", f"sluice:t:b/{EXAMPLE}/{name}", "status")
                           == "failed" for name in names), 60, "dead letters")
    return daemon


def test_every_line_of_the_cookbook(shop, place, redis):
    """Each answers at once and well; what is pushed is carried out; what is refused has a reason;
    what acts leaves an event."""
    assert shop.running()
    head, told = lines()[:2], {}
    shell = Shell(place, redis, head)
    for line in lines()[2:]:
        for job in re.findall(r"j/\$ds/(\d+)-(\d+)", line):  # the examples' jobs exist
            redis.command("FCALL", "sluice_backfill", 1, "sluice:", EXAMPLE, *job)
        status, text = shell.run(line)
        assert status == 0 and not text.startswith(ERRORS), (line, text)
        told[line] = text
    assert len(told) > 15

    def answer(word):
        return [text for line, text in told.items() if f"sluice_{word} " in line]
    assert all(re.match(r"(queued|exists) j/", text) for text in answer("backfill"))
    assert all(re.match(r"queued j/\S+ generation=\d+$", text) for text in answer("replay"))
    assert all(re.match(r"ok", text) for verb in ("retry", "skip", "cancel", "pause", "resume",
                                                  "priority", "set") for text in answer(verb))
    assert "tail=" in answer("stat")[0] and "total " in answer("stat")[0]
    assert answer("show")[0].startswith(f"id tail/{EXAMPLE}")
    if any("sluice_pause" in line for line in told):
        redis.command("FCALL", "sluice_resume", 1, "sluice:", EXAMPLE)
    wait_until(lambda: redis.command("LLEN", "sluice:inbox") == "0", 60, "the inbox is read")
    assert redis.command("LRANGE", "sluice:inbox:rejected", 0, -1) == ""
    pushed = [line for line in told if "LPUSH" in line]
    assert len(pushed) >= 2
    events = redis.command("XREVRANGE", "sluice:events", "+", "-").split("\n")
    assert events.count("operator") >= len(told) - len(pushed) - 12
    for line in told:  # may be repeated: a second answer is a sentence, too, and nothing breaks
        status, text = shell.run(line)
        assert status == 0 or text.startswith(("NOTFAILED", "BADARG")), (line, text)
    assert shop.running() and shop.get("/livez")[0] == 200
