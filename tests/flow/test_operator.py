# SPDX-License-Identifier: Apache-2.0
"""What operators touch: backfill by function and inbox, health socket, refused starts."""
import json
import os
import socket
import subprocess

import pytest

from test_tail import committed, drained
from world import wait_until

FCALL = ("FCALL", "sluice_backfill", 1, "sluice:")


def words(daemon, text):
    """One line on the health socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(daemon.socket))
        connection.sendall(text.encode() + b"\n")
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
    return answer.decode()


@pytest.fixture
def history(world, sluiced):
    """A daemon that starts its tail after all of the history."""
    data = world.dataset()
    for day in range(5):
        for number in range(3):
            data.batch([1000 + day, 50 + number], created=1_706_745_600_000 + day * 86_400_000
                       + number * 3_600_000)
    daemon = sluiced()
    daemon.config["datasets"][0]["start"] = "2024-03-01"
    daemon.start()
    wait_until(lambda: daemon.get("/readyz")[0] == 200, 20, "ready")
    return daemon, data


def test_backfill_by_function(history, redis, bucket, sim, judge):
    """A job answers at once, may be repeated, and moves exactly its range."""
    daemon, data = history
    answer = redis.command(*FCALL, data.id, "2024-02-01", "2024-02-06")
    assert answer.startswith(f"queued j/{data.id}/"), answer
    again = redis.command(*FCALL, data.id, "2024-02-01", "2024-02-06")
    assert again.startswith(f"exists j/{data.id}/"), again
    committed(daemon, 15)
    drained(daemon, redis)
    judge()
    job = answer.split()[1]
    wait_until(lambda: redis.command("HGET", f"sluice:t:{job}", "status") == "completed", 20)


@pytest.mark.parametrize("arguments,reason", [
    (("nope", "2024-02-01", "2024-02-02"), "BADARG"),
    (("DATA", "2024-02-30", "2024-03-02"), "BADARG"),
    (("DATA", "yesterday", "2024-03-02"), "BADARG"),
    (("DATA", "2024-03-02", "2024-02-02"), "BADARG"),
    (("DATA", "2024-03-02"), "BADARG"),
])
def test_backfill_refused(history, redis, arguments, reason):
    """Bad input gets a reason, nothing is queued."""
    _, data = history
    arguments = [data.id if word == "DATA" else word for word in arguments]
    with pytest.raises(subprocess.CalledProcessError) as refusal:
        redis.command(*FCALL, *arguments)
    assert reason in refusal.value.stdout + refusal.value.stderr
    assert redis.command("--scan", "--pattern", "sluice:t:j/*") == ""


def test_inbox(history, redis, judge, sim):
    """JSON and plain words work; what cannot be run is kept with its reason."""
    daemon, data = history
    good = {"op": "backfill", "dataset": data.id, "from": "2024-02-01", "to": "2024-02-03"}
    redis.command("LPUSH", "sluice:inbox", json.dumps(good))
    redis.command("LPUSH", "sluice:inbox", f"backfill {data.id} 2024-02-03 2024-02-06")
    for bad in ("backfill", "{\"op\":", f"backfill {data.id} 2024-02-31 2024-03-05",
                "backfill unknown 2024-02-01 2024-02-02", "x" * 5000):
        redis.command("LPUSH", "sluice:inbox", bad)
    committed(daemon, 15)
    wait_until(lambda: redis.command("LLEN", "sluice:inbox") == "0", 10, "the inbox is empty")
    wait_until(lambda: redis.command("LLEN", "sluice:inbox:rejected") == "5", 10)
    rejected = redis.command("LRANGE", "sluice:inbox:rejected", 0, -1)
    assert "3 to 4 arguments" in rejected and "not JSON" in rejected and "1 to 4096" in rejected
    assert rejected.count("BADARG") >= 2
    drained(daemon, redis)
    judge()


def test_health_socket(history):
    """HTTP and words on one socket."""
    daemon, _ = history
    wait_until(lambda: daemon.get("/readyz")[0] == 200, 20)
    assert daemon.get("/livez") == (200, "ok\n")
    status, text = daemon.get("/readyz?verbose")
    assert status == 200 and "[+] redis" in text and "[+] s3" in text and "[+] ims" in text
    report = daemon.status()
    assert report["ready"] is True and report["datasets"][0]["as"] == "ds1"
    assert "sluice_batches_committed_total" in daemon.get("/metrics")[1]
    assert daemon.get("/version")[1].startswith("sluiced ")
    assert daemon.get("/nothing")[0] == 404
    assert words(daemon, "health") == "ok\n"
    assert words(daemon, "agent") == "up ready\n"
    assert words(daemon, "status").startswith("ready")
    assert "words:" in words(daemon, "quit")
    assert os.stat(daemon.socket).st_mode & 0o777 == 0o660


def refused(daemon, *arguments):
    """(exit status, log) of a daemon that does not start."""
    daemon.launch(*arguments)
    return daemon.process.wait(20), daemon.tail()


def test_config_errors_come_all_at_once(world, sluiced):
    """Every error with its place, exit 78."""
    world.dataset()
    daemon = sluiced()
    daemon.config["s3"]["prefx"] = "x"
    daemon.config["aep"]["requests_per_second"] = "many"
    del daemon.config["aep"]["org"]
    status, log = refused(daemon)
    assert status == 78, log
    assert 'unknown key s3.prefx (did you mean "prefix"?)' in log
    assert "requests_per_second" in log and "org" in log
    assert log.count("sluice.yaml:") >= 3
    status, again = refused(daemon, "--check-config")
    assert status == 78


def test_missing_secret_is_named(world, sluiced):
    """The sentence names the file."""
    world.dataset()
    daemon = sluiced(aep={"client_secret_file": "/nonexistent/secret"})
    status, log = refused(daemon)
    assert status == 78 and "/nonexistent/secret" in log


def test_secret_that_others_can_read(world, sluiced, place):
    """The sentence names the fix."""
    world.dataset()
    daemon = sluiced()
    os.chmod(place / "secret", 0o644)
    status, log = refused(daemon)
    assert status == 78 and "chmod" in log


def test_redis_that_forgets_is_refused(world, sluiced, redis):
    """The sentence names the setting."""
    world.dataset()
    redis.command("CONFIG", "SET", "appendonly", "no")
    daemon = sluiced()
    status, log = refused(daemon)
    assert status == 78 and "appendonly" in log, log


def test_unreachable_redis_is_said(world, sluiced):
    """Alive, not ready, and the log says where it tried."""
    world.dataset()
    daemon = sluiced(redis={"url": "redis://127.0.0.1:1"})
    daemon.start()
    wait_until(lambda: "127.0.0.1" in daemon.tail(), 10, "the address is logged")
    status, text = daemon.get("/readyz?verbose")
    assert status == 503 and "[-] redis" in text


def test_missing_bucket_is_said(world, sluiced):
    """Alive, not ready, with the bucket's name."""
    world.dataset()
    daemon = sluiced(s3={"bucket": "no-such-bucket-here"})
    daemon.start()
    wait_until(lambda: "no-such-bucket-here" in daemon.get("/readyz?verbose")[1], 20)
    assert daemon.get("/readyz")[0] == 503


def test_wrong_client_secret_is_said(world, sluiced, place):
    """IMS refuses: not ready, and the text tells what to do."""
    world.dataset()
    daemon = sluiced()
    (place / "secret").write_text("wrong", encoding="utf-8")
    daemon.start()
    wait_until(lambda: "[-] ims" in daemon.get("/readyz?verbose")[1], 20, "ims fails")


def test_print_config_loads_again(world, sluiced, tmp_path):
    """--print-config gives a file that --check-config accepts."""
    world.dataset()
    daemon = sluiced()
    daemon.launch("--check-config")
    assert daemon.process.wait(10) == 0
    text = subprocess.run([daemon.binary, "--config", daemon.file, "--print-config"], check=True,
                          capture_output=True, text=True).stdout
    other = tmp_path / "again.yaml"
    other.write_text(text, encoding="utf-8")
    again = subprocess.run([daemon.binary, "--config", other, "--print-config"], check=True,
                           capture_output=True, text=True).stdout
    assert again == text
