# SPDX-License-Identifier: Apache-2.0
"""How fast /livez and /readyz answer, while the daemon moves data as fast as it can, and while one of
the services that it needs hangs: SIGSTOP to AEP, S3 or Redis. Beside them how late this process
itself woke from a short sleep: what the machine adds to whatever is asked on it."""
import http.client
import signal
import socket
import sys
import time

AIM_MS = 50
PATHS = ("/livez", "/readyz")
COUNT = 400     # questions to each path in each state
GAP_S = 0.005   # between two
SETTLE_S = 12   # after SIGSTOP: past the first timeouts


class Unix(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path):
        super().__init__("sluiced", timeout=30)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(path, target):
    """(milliseconds, status) of one question, from connect to the end of the answer."""
    began = time.monotonic()
    connection = Unix(path)
    connection.request("GET", target)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return (time.monotonic() - began) * 1000, answer.status


def rank(values, share):
    """The value below which `share` of the sorted values are."""
    return values[min(len(values) - 1, int(len(values) * share))]


def questions(path, count):
    """{target: (p50, p99, worst, p99 of a sleep's delay, statuses)}"""
    times = {target: [] for target in PATHS}
    statuses = {target: set() for target in PATHS}
    late = []
    for _ in range(count):
        for target in PATHS:
            took_ms, status = ask(path, target)
            times[target].append(took_ms)
            statuses[target].add(status)
        began = time.monotonic()
        time.sleep(GAP_S)
        late.append((time.monotonic() - began - GAP_S) * 1000)
    return {target: (rank(sorted(found), 0.5), rank(sorted(found), 0.99), max(found),
                     rank(sorted(late), 0.99), statuses[target])
            for target, found in times.items()}


def ready(path, limit_s):
    """Waits for the first good answer."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        try:
            if ask(path, "/readyz")[1] == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError("never got ready")


def measure(setup, runner, stack, count=COUNT, settle_s=SETTLE_S):
    """Yields (state, figures): at full speed, then with each service stopped in turn."""
    client = runner.start()
    stack.callback(client.kill)
    path = runner.socket
    ready(path, 60)
    yield "full speed", questions(path, count)
    moved = setup.sink.stats()["objects"]
    if moved >= setup.load.count():
        print("health: all was moved before the end; these are an idle daemon's times",
              file=sys.stderr)
    hangs = {"AEP": setup.source.process, "S3": setup.sink.process, "Redis": runner.redis.process}
    for name, process in hangs.items():
        process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(settle_s)
            yield f"{name} hangs", questions(path, count)
        finally:
            process.send_signal(signal.SIGCONT)


def print_responses(rows):
    """The table, and whether the aim is met."""
    print(f"{'while':12}{'path':9}{'p50 ms':>9}{'p99 ms':>9}{'worst ms':>10}"
          f"{'machine p99':>13}  answers")
    missed = 0
    for state, figures in rows:
        for target, (median, p99, worst, late, statuses) in figures.items():
            missed += p99 >= AIM_MS
            print(f"{state:12}{target:9}{median:9.2f}{p99:9.2f}{worst:10.2f}{late:13.2f}  "
                  f"{', '.join(map(str, sorted(statuses)))}")
    print(f"aim: p99 < {AIM_MS} ms: {'missed in ' + str(missed) + ' rows' if missed else 'met'}")
