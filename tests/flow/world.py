# SPDX-License-Identifier: Apache-2.0
"""Helpers of the flow tests: processes that stop with their test, a Redis, the daemon."""
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_S = 20
STOP_S = 30
TAIL = 40  # lines of the daemon's log that a failed test shows


def wait_until(predicate, timeout_s=30, what="", pause_s=0.05):
    """Returns the first true value of predicate(); fails with `what` after the timeout."""
    end = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s} s: {what or predicate}")
        time.sleep(pause_s)


def spawn(command, **more):
    """A child that the kernel kills if this process dies."""
    return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, command)], **more)


def end(process, number=signal.SIGTERM, timeout_s=STOP_S):
    """Signals a child and waits; what does not obey is killed. Returns its exit status."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"{process.args[3]} did not stop within {timeout_s} s") from None


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path, timeout_s=5):
        super().__init__("localhost", timeout=timeout_s)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def unix_get(path, target):
    """(status, body text) of a GET; (0, why) if nobody answers."""
    connection = UnixConnection(path)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()


class Redis:
    """redis-server on a unix socket, durable in `directory`."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.socket = self.directory / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.process = None

    def start(self):
        """Returns when it answers."""
        self.directory.mkdir(exist_ok=True)
        options = {"port": 0, "unixsocket": self.socket, "unixsocketperm": 700,
                   "dir": self.directory, "appendonly": "yes", "save": "",
                   "maxmemory-policy": "noeviction", "logfile": self.directory / "redis.log"}
        command = ["redis-server"]
        for name, value in options.items():
            command += [f"--{name}", value]
        self.process = spawn(command)
        wait_until(self.ping, START_S, "redis-server answers", 0.02)
        return self

    def ping(self):
        """Does it answer?"""
        if self.process.poll() is not None:
            raise AssertionError(f"redis-server ended; see {self.directory}/redis.log")
        try:
            return self.command("PING") == "PONG"
        except subprocess.CalledProcessError:
            return False

    def command(self, *words):
        """One command through redis-cli; the answer as text."""
        return subprocess.run(["redis-cli", "-e", "-s", str(self.socket), *map(str, words)],
                              check=True, capture_output=True, text=True).stdout.strip()

    def stop(self):
        """Ends it cleanly."""
        if self.process:
            end(self.process)
            self.process = None

    def kill9(self):
        """Ends it as a power cut would."""
        end(self.process, signal.SIGKILL)
        self.process = None


def yaml_text(config):
    """A configuration as block YAML; values as JSON, which YAML contains."""
    lines = []
    for section, members in config.items():
        lines.append(f"{section}:")
        for item in members if isinstance(members, list) else [members]:
            lead = "  - " if isinstance(members, list) else "  "
            for name, value in item.items():
                lines.append(f"{lead}{name}: {json.dumps(value)}")
                lead = lead.replace("-", " ")
    return "\n".join(lines) + "\n"


def merged(base, changes):
    """`base` with the members of `changes` over it, section by section."""
    config = {name: value if isinstance(value, list) else dict(value)
              for name, value in base.items()}
    for name, value in changes.items():
        config[name] = config.get(name, {}) | value if isinstance(value, dict) else value
    return config


def write_secret(path, text):
    """A file that only its owner reads."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return str(path)


class Sluiced:
    """The daemon. Its files are in `directory`; config is written anew at each start."""

    binary = os.environ.get("SLUICED", str(ROOT / "build/plain/sluiced"))

    def __init__(self, directory, config):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.socket = self.directory / "sluiced.sock"
        self.log = self.directory / "sluiced.log"
        self.file = self.directory / "sluice.yaml"
        self.config = merged(config, {"health": {"socket": str(self.socket)}})
        self.process = None

    def launch(self, *arguments):
        """Starts it without waiting; `arguments` follow --config FILE."""
        self.file.write_text(yaml_text(self.config), encoding="utf-8")
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = spawn([self.binary, "--config", self.file, *arguments],
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def start(self):
        """Returns when it says that it lives."""
        self.launch()
        wait_until(self.alive, START_S, "sluiced answers /livez")
        return self

    def alive(self):
        """Does it answer /livez? Fails if the process has ended."""
        if self.process.poll() is not None:
            raise AssertionError(f"sluiced ended ({self.process.returncode}):\n{self.tail()}")
        return self.get("/livez")[0] == 200

    def get(self, target):
        """(status, body) of a GET on the health socket."""
        return unix_get(self.socket, target)

    def status(self):
        """/status as JSON."""
        return json.loads(self.get("/status")[1])

    def metric(self, name):
        """Sum of a metric over its labels; None if there is none."""
        values = [float(line.rsplit(" ", 1)[1]) for line in self.get("/metrics")[1].splitlines()
                  if line.split("{")[0].split(" ")[0] == name]
        return sum(values) if values else None

    def running(self):
        """Is there a process?"""
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        """Sends a signal."""
        self.process.send_signal(number)

    def stop(self):
        """SIGTERM, drain, exit status 0."""
        if not self.running():
            return
        status = end(self.process)
        assert status == 0, f"sluiced ended with {status}:\n{self.tail()}"

    def kill9(self):
        """Ends it as a crash would."""
        end(self.process, signal.SIGKILL)

    def tail(self):
        """The end of its log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8").splitlines()[-TAIL:])
