# SPDX-License-Identifier: Apache-2.0
"""sluicectl's commands for every day: status, jobs, trace, orders, plan, check, health, top, ddl,
queue install; with a daemon, and with parts of the world away."""
import json
import os
import pathlib
import pty
import re
import subprocess

import pytest

from queue_rig import LIBRARY
from test_ctl_discover import Ctl, column
from test_tail import committed
from world import Sluiced, wait_until

BINARY = os.environ.get("SLUICECTL", str(pathlib.Path(Sluiced.binary).with_name("sluicectl")))
FIRST = 1_706_745_600_000  # 2024-02-01
DAY = 86_400_000
MIB = 1 << 20


def run(daemon, *words, **more):
    """(exit status, standard output, standard error)"""
    done = subprocess.run([BINARY, "--config", str(daemon.file), *map(str, words)],
                          capture_output=True, text=True, timeout=60, check=False, **more)
    print("$", *words, "\n" + done.stdout, done.stderr)
    return done.returncode, done.stdout, done.stderr


def document(daemon, *words, status=0):
    """The JSON document of a command."""
    code, text, _ = run(daemon, *words, "--json")
    answer = json.loads(text)
    assert code == answer["exit"] == status and answer["command"] == words[0]
    return answer


def answer(daemon, *words):
    """The one line of an order."""
    status, text, _ = run(daemon, *words)
    assert status == 0
    return text.strip()


@pytest.fixture(name="stage")
def fixture_stage(world, sim, sluiced, redis):
    """A daemon whose tail is at work: two committed batches, and one that can never be."""
    data = world.dataset()
    good = [data.batch([1000, 70_000], created=FIRST), data.batch([500], created=FIRST + DAY)]
    bad = data.batch([("wrong.parquet", 1234)], created=FIRST + DAY + 1)
    sim.start()
    sim.arm("bit_flip:times=0,match=wrong")
    daemon = sluiced()
    daemon.start()
    committed(daemon, 2)
    wait_until(lambda: redis.command("ZCARD", "sluice:dead") == "2", 60, "file and batch are dead")
    return daemon, data, good, bad


def test_a_day_of_an_operator(stage, redis):
    """What is said of a batch that is committed, of one that is dead, and after each order."""
    daemon, data, good, bad = stage
    told = document(daemon, "status")
    row = told["datasets"][0]
    assert told["daemon"] == "ready" and told["dead"] == 2 and row["as"] == "ds1"
    assert (row["state"], row["order"], row["dead"]) == ("tailing", "concurrent", 2)
    assert row["last_commit"] and row["last_batch"] in [batch.id for batch in good]
    days = wait_until(lambda: daemon.status()["datasets"][0]["lag_s"], 20) // 86400
    lag = document(daemon, "status")["datasets"][0]["lag"]  # the dead ones are from 2024
    assert days > 600 and int(lag.split("d")[0]) in (days, days + 1)
    text = answer(daemon, "status")
    assert column(text[:text.index("\n\nnext step")], "STATE") == ["tailing"]

    told = document(daemon, "trace", good[0].id)
    assert told["manifest"].endswith(f"/dt=2024-02-01/{good[0].id}.json")
    assert told["next"] == "nothing: it is done" and "revocation" not in told
    assert {"claimed", "fan", "completed"} <= {event["event"] for event in told["events"]}
    told = document(daemon, "trace", bad.id)
    assert told["status"] == "failed" and "retry" in told["next"] and "manifest" not in told
    assert told["files"][0]["status"] == "failed" and "parquet" in told["files"][0]["note"].lower()
    assert run(daemon, "trace", "01HNOBODY")[0] == 66
    assert run(daemon, "trace", "j/none/1-2")[0] == 66

    assert answer(daemon, "retry", bad.id).startswith("ok")
    wait_until(lambda: redis.command("ZCARD", "sluice:dead") == "2", 60, "dead again")
    assert answer(daemon, "pause", "ds1") == "ok" == answer(daemon, "pause", "ds1")
    assert document(daemon, "status")["datasets"][0]["state"] == "paused"
    assert answer(daemon, "skip", bad.id, "corrupt at the source") == "ok"
    assert "skipped" in document(daemon, "trace", bad.id)["next"]
    job = answer(daemon, "backfill", "ds1", "2024-02-01", "2024-02-02").removeprefix("queued ")
    assert answer(daemon, "backfill", "ds1", "2024-02-01", "2024-02-02") == f"exists {job} pending"
    assert "paused" in document(daemon, "trace", job)["next"]
    assert answer(daemon, "priority", job, "live") == "ok 1"
    told = document(daemon, "jobs", "ds1")["jobs"]
    assert [(one["id"], one["lane"], one["status"]) for one in told] == [(job, "live", "pending")]
    assert answer(daemon, "cancel", job) == "ok"
    assert answer(daemon, "set", "ds1", "max_f", "3") == "ok"
    assert document(daemon, "resume", data.id)["answer"] == "ok"
    job = answer(daemon, "backfill", "ds1", "2024-02-02", "2024-02-03").split()[1]
    wait_until(lambda: redis.command("HGET", f"sluice:t:{job}", "status") == "completed", 60)

    status, _, error = run(daemon, "retry", good[0].id)
    assert status == 64 and "nothing below it failed" in error
    assert run(daemon, "skip", good[0].id, "x")[0] == 64
    assert run(daemon, "backfill", "nobody", "2024-02-01", "2024-02-02")[0] == 64
    assert run(daemon, "backfill", "ds1", "2024-02-30", "2024-03-02")[0] == 64
    assert run(daemon, "priority", job, "fast")[0] == 64


def test_the_daemon_as_seen_by_others(stage, redis):
    """health, check and top while it is up; status, check and trace when it is not."""
    daemon, _, good, _ = stage
    status, text, _ = run(daemon, "health")
    assert status == 0 and "[+] redis" in text and "\033" not in text
    assert document(daemon, "health")["ready"] is True
    status, text, _ = run(daemon, "check")
    assert status in (0, 1) and text.startswith(("OK - ready", "WARNING - ready"))
    assert " committed=2c" in text and text.count("\n") == 1
    assert run(daemon, "check", "--warn-lag", "soon")[0] == 3
    told = document(daemon, "top", "--once")
    assert told["state"] == "ready" and told["datasets"][0]["as"] == "ds1"
    assert float(told["batches_per_s"]) == 0 and told["windows"]
    assert "buffers" in run(daemon, "top", "--once")[1]

    file = daemon.file.read_text(encoding="utf-8")
    daemon.stop()
    status, text, error = run(daemon, "status")
    assert status == 69 and "from Redis alone" in text and "tailing  concurrent" in text
    assert run(daemon, "health")[0] == 69 and run(daemon, "top", "--once")[0] == 69
    status, text, _ = run(daemon, "check")
    assert status == 2 and text.startswith("CRITICAL - no answer")
    assert document(daemon, "trace", good[1].id)["manifest"]
    redis.command("DEL", f"sluice:t:b/{good[1].dataset}/{good[1].id}")
    told = document(daemon, "trace", good[1].id)
    assert "does not know" in told["task"] and told["next"] == "nothing: it is committed"
    redis.stop()
    status, _, error = run(daemon, "status")
    assert status == 69 and "check redis.url" in error
    daemon.file.write_text("datasets: 5\n", encoding="utf-8")
    assert run(daemon, "check")[0] == 3 and run(daemon, "health")[0] == 78
    daemon.file.write_text(file, encoding="utf-8")


def test_transfers_that_run(world, sim, sluiced):
    """The slowest first; none when nothing moves."""
    data = world.dataset()
    batch = data.batch([("quick", 40 * MIB), ("slow", 40 * MIB)], created=FIRST)
    sim.start()
    sim.arm(f"slow:bytes_per_second={4 * MIB},match=quick")
    sim.arm(f"slow:bytes_per_second={MIB},match=slow")
    daemon = sluiced(transfer={"lanes": 1})
    daemon.start()

    def both():
        rows = daemon.status()["transfers"]
        known = [row for row in rows if row["bytes_per_s"] > 0 and row["done_bytes"] > 0]
        return len(known) == 2 and known
    rows = wait_until(both, 40, "both have stored a part")
    ids = [row["task"] for row in rows]
    assert all(batch.id in task for task in ids) and rows[0]["bytes_per_s"] < rows[1]["bytes_per_s"]
    assert [row["length_bytes"] for row in rows] == [40 * MIB] * 2
    assert all(row["lanes"] == 1 and row["done_bytes"] < 40 * MIB for row in rows)
    assert daemon.metric("sluice_lanes_running") == daemon.metric("sluice_files_running") == 2
    assert daemon.metric("sluice_pool_used_bytes") > 10 * MIB
    assert daemon.metric("sluice_api_requests_running") >= 1
    assert daemon.metric("sluice_loop_lag_seconds") > 0
    wait_until(lambda: daemon.metric("sluice_delayed_tasks") == 1, 20, "the tail waits")
    wait_until(lambda: daemon.metric("sluice_queue_age_seconds") > 0.5, 20, "figures grow old")
    wait_until(lambda: daemon.metric("sluice_uploads_running") >= 1, 20, "a part is on its way")
    told = document(daemon, "top", "--once")
    assert [row["task"] for row in told["transfers"]] == ids
    sim.disarm()
    daemon.stop()


def test_a_plan_orders_nothing(stage, redis, sim):
    """What is there, what is due, calls by the README's formula; the queue is as it was."""
    daemon, data, _, _ = stage
    redis.command("FCALL", "sluice_pause", 1, "sluice:", data.id, 1)
    sim.add(data.batch([50] * 101, created=FIRST + 2),
            data.batch([5], created=FIRST + 3, status="loading"),
            data.batch([5], created=FIRST + 4, status="failed"))
    keys = redis.command("--scan", "--pattern", "sluice:t:j/*")
    told = document(daemon, "backfill", "ds1", "2024-02-01", "2024-02-03", "--plan")
    assert redis.command("--scan", "--pattern", "sluice:t:j/*") == keys == ""
    assert (told["listed"], told["stored"], told["due"]) == (6, 2, 2)
    assert (told["open"], told["failed"], told["files"]) == (1, 1, 102)
    assert (told["calls_least"], told["calls_most"]) == (3 + 1 + 3 + 101, 3 + 3 + 101 + 101)
    assert told["bytes"] == 101 * 50 + 1234
    assert "nothing was ordered" in answer(daemon, "backfill", "ds1", "2024-02-01", "2024-02-03",
                                           "--plan")
    assert run(daemon, "backfill", "ds1", "2024-02-03", "2024-02-01", "--plan")[0] == 64


def test_progress_and_colours_are_for_terminals(stage):
    """On a terminal health has colours, unless NO_COLOR is set, and a plan shows its progress."""
    daemon = stage[0]

    def on_terminal(*words, status=0, **environment):
        main, other = pty.openpty()
        env = {**os.environ, "TERM": "xterm", **environment}
        with subprocess.Popen([BINARY, "--config", str(daemon.file), *words], stdout=other,
                              stderr=other, stdin=subprocess.DEVNULL, env=env) as process:
            os.close(other)
            shown = b""
            try:
                while chunk := os.read(main, 65536):
                    shown += chunk
            except OSError:
                pass # the other end is closed
            os.close(main)
            assert process.wait(60) == status
        return shown.decode()

    assert "\033[32m[+]\033[0m" in on_terminal("health", NO_COLOR="")
    assert "\033" not in on_terminal("health", NO_COLOR="1")
    plan = ("backfill", "ds1", "2024-02-01", "2024-02-03", "--plan")
    assert "days in the bucket [" in on_terminal(*plan)
    assert "days in the bucket" not in on_terminal(*plan, TERM="dumb")
    shown = on_terminal("verify", "ds1", status=1)
    assert re.search(r"\r\033\[K\w+ \d+", shown) and "\r\033[KMISSING" in shown


def test_queue_install(place, redis, sim, world):
    """Loads what is missing or old, is content with its own, leaves alone what is newer."""
    data = world.dataset()
    sim.start()
    ctl = Ctl(place, sim, {"web": data}, redis={"url": redis.url})
    library = LIBRARY.read_text(encoding="utf-8")
    ours = int(library.split("\nlocal VERSION = ")[1].split("\n")[0])
    assert ctl.document("queue", "install")["result"] == "installed"
    assert ctl.document("queue", "install") == {
        "command": "queue", "result": "there already", "found": ours, "version": ours, "exit": 0}
    for version, status in ((ours - 1, 0), (ours + 1, 1)):
        text = library.replace(f"local VERSION = {ours}\n", f"local VERSION = {version}\n")
        subprocess.run(["redis-cli", "-s", str(redis.socket), "-x", "FUNCTION", "LOAD", "REPLACE"],
                       input=text, text=True, check=True, capture_output=True)
        assert ctl.run("queue", "install")[0] == status
    assert redis.command("FCALL", "sluice_version", 1, "sluice:") == str(ours + 1)
    ctl.refused(64, "queue", "remove")


def test_ddl(place, sim, world):
    """Columns by the registry's types; days as computed partitions; what has no type is named."""
    web = world.dataset(name="Web", fields={"name": "string", "age": "integer", "tags": ["string"],
                                             "home": {"city": "string", "floors": ["integer"]}})
    rows = world.dataset(name="CSV", format="csv")
    sim.start()
    ctl = Ctl(place, sim, {"web.events-1": web, "rows": rows})
    text = ctl.table("ddl", "athena", "web.events-1")
    assert "CREATE EXTERNAL TABLE IF NOT EXISTS `web_events_1` (\n" in text
    assert "`tags` array<string>" in text
    assert re.search(r"`home` struct<city:string,floors:array<(int|bigint)>>", text)
    assert "`name` string" in text and "STORED AS PARQUET" in text
    assert "LOCATION 's3://bucket/lake/web.events-1/'" in text
    assert "'s3://bucket/lake/web.events-1/dt=${dt}/'" in text and text.rstrip().endswith(";")
    assert ctl.document("ddl", "athena", web.id)["statement"] == text
    assert "wants Parquet" in ctl.refused(1, "ddl", "athena", "rows")
    ctl.refused(64, "ddl", "redshift", "web.events-1")
    ctl.refused(64, "ddl", "athena", "nobody")
