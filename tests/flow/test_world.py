# SPDX-License-Identifier: Apache-2.0
"""The helpers of the flow tests do what they say: a wrong helper makes every test worthless."""
import signal
import subprocess
import sys
import time

import pytest

from sim import Sim
from ground import World
from world import (Redis, Sluiced, end, merged, spawn, unix_get, wait_until, write_secret,
                   yaml_text)

DAEMON = """
import http.server, os, socketserver, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'a 1\\nb{x="1"} 2\\nb{x="2"} 3\\n'
        self.send_response(200 if self.path != "/readyz" else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def address_string(self):
        return ""
path = [line.split('"')[1] for line in open(sys.argv[2]) if "socket" in line][0]
socketserver.UnixStreamServer(path, Handler).serve_forever()
"""


def pid_gone(pid):
    """Is there no such process, or only its corpse?"""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_wait_until_returns_or_fails():
    values = iter([0, None, "yes"])
    assert wait_until(lambda: next(values)) == "yes"
    with pytest.raises(AssertionError, match="never happens"):
        wait_until(lambda: False, 0.1, "never happens")


def test_children_die_with_their_parent():
    program = ("import os, sys, time; sys.path.insert(0, sys.argv[1]); import world\n"
               "child = world.spawn(['sleep', '60'], stdout=-3); time.sleep(0.5)\n"
               "print(child.pid, child.poll(), flush=True); os.kill(os.getpid(), 9)")
    folder = __file__.rsplit("/", 1)[0]
    answer = subprocess.run([sys.executable, "-c", program, folder], check=False, timeout=20,
                            capture_output=True, text=True)
    pid, status = answer.stdout.split()
    assert (answer.returncode, status) == (-signal.SIGKILL, "None")
    wait_until(lambda: pid_gone(int(pid)), 5)


def test_end_kills_what_does_not_obey():
    process = spawn(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"],
                    stdout=subprocess.PIPE)
    with process.stdout:
        process.stdout.readline()
        with pytest.raises(AssertionError, match="did not stop"):
            end(process, timeout_s=0.3)
    assert process.returncode == -signal.SIGKILL


def test_configuration_text():
    base = {"a": {"x": 1, "y": "t"}, "list": [{"id": "i", "n": 1}, {"id": "j"}]}
    text = yaml_text(merged(base, {"a": {"y": "20s"}, "b": {"on": True}}))
    assert text == ('a:\n  x: 1\n  y: "20s"\nlist:\n  - id: "i"\n    n: 1\n  - id: "j"\n'
                    'b:\n  on: true\n')
    assert base["a"]["y"] == "t"


def test_secrets_are_private(tmp_path):
    path = write_secret(tmp_path / "secret", "text")
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert open(path, encoding="utf-8").read() == "text"


def test_redis_keeps_what_it_acknowledged(redis):
    assert redis.command("SET", "key", "value") == "OK"
    assert redis.command("CONFIG", "GET", "maxmemory-policy").split() == ["maxmemory-policy",
                                                                           "noeviction"]
    redis.stop()
    again = Redis(redis.directory).start()
    assert again.command("GET", "key") == "value"
    again.kill9()
    redis.start()
    assert redis.command("GET", "key") == "value"


def test_daemon_helper(place, monkeypatch):
    script = place / "daemon"
    script.write_text(f"#!{sys.executable}\n{DAEMON}", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setattr(Sluiced, "binary", str(script))
    daemon = Sluiced(place / "d", {"redis": {"url": "u"}}).start()
    assert daemon.get("/readyz")[0] == 503
    assert (daemon.metric("a"), daemon.metric("b"), daemon.metric("c")) == (1, 5, None)
    pid = daemon.process.pid
    daemon.kill9()
    assert pid_gone(pid) and not daemon.running()
    assert unix_get(daemon.socket, "/livez")[0] == 0
    daemon.socket.unlink()
    daemon.start()
    with pytest.raises(AssertionError, match="ended with -15"):
        daemon.stop()


def test_a_daemon_that_ends_at_once_shows_its_log(place, monkeypatch):
    script = place / "daemon"
    script.write_text("#!/bin/sh\necho no such key >&2; exit 78\n", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setattr(Sluiced, "binary", str(script))
    with pytest.raises(AssertionError, match="(?s)ended .78.*no such key"):
        Sluiced(place / "d", {}).start()


def test_simulator_stops_with_calls_in_progress():
    sim = Sim(World(), "hang:endpoint=ims,times=0").start()
    curl = spawn(["curl", "-s", "-d", "", sim.endpoint + "/ims/token/v3"])
    wait_until(lambda: sim.counters()["running"] == 1, 5)
    pid, began = sim.process.pid, time.monotonic()
    sim.stop()
    assert pid_gone(pid) and time.monotonic() - began < 3
    end(curl)
