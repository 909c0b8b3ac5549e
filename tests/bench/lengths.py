# SPDX-License-Identifier: Apache-2.0
"""Long listings: does memory stay as it is when there is ten times as much to list?"""
import subprocess
from pathlib import Path

from lab import MIB

SHARES = (10, 50, 90)  # percent of the work
HEAD = (f"{'load':14}{'batches':>9}{'files':>9}{'wall s':>9}{'CPU s':>8}"
        + "".join(f"{f'at {share}%':>8}" for share in SHARES)
        + f"{'peak':>8}{'catalog':>9}{'listing':>9}{'content':>9}"
        + f"{'manifests':>11}{'objects':>9}{'Redis':>8}")


def rss_mib(pid):
    """What a process holds now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Watch:
    """Ends the wait when all is stored; on the way notes the client's memory."""

    def __init__(self, load, client, sink):
        self.load, self.client, self.sink = load, client, sink
        self.rss = {}

    def __call__(self):
        seen = self.sink.stats()
        done = 100 * seen["objects"] / self.load.count()
        for share in SHARES:
            if done >= share and share not in self.rss:
                self.rss[share] = rss_mib(self.client.process.pid)
        return seen["manifests"] >= self.load.batches


def redis_peak_mib(socket):
    """The most that the queue has taken."""
    text = subprocess.run(["redis-cli", "-s", socket, "INFO", "memory"], check=True,
                          capture_output=True, text=True).stdout
    lines = [line for line in text.splitlines() if line.startswith("used_memory_peak:")]
    return int(lines[0].split(":")[1]) / MIB


def measure(load, setup, runner, stack):
    """One run. Every file and every manifest must have been stored once, not more, not less."""
    client = runner.start()
    stack.callback(client.kill)
    watch = Watch(load, client, setup.sink)
    client.wait(load.limit_s, until=watch)
    redis = redis_peak_mib(setup.directory / "redis/redis.sock")
    client.end()
    found, sink, source = client.measure, setup.sink.stats(), setup.source.stats()
    stored, expected = (sink["manifests"], sink["objects"]), (load.batches, load.count())
    if not found.error and stored != expected:
        found.error = f"{stored} manifests and objects were stored, of {expected}"
    found.more.update(rss=watch.rss, redis=redis, source=source, sink=sink)
    return found


def cells(load, found):
    """The figures of one row; an error comes behind them."""
    more = found.more
    if not more:
        return f"  {found.error}"
    rss = "".join(f"{more['rss'].get(share, float('nan')):>8.1f}" for share in SHARES)
    calls = "".join(f"{more['source'][kind]:>9}" for kind in ("catalog", "listing", "content"))
    return (f"{load.batches:>9}{load.count():>9}{found.wall:>9.1f}{found.cpu:>8.1f}{rss}"
            f"{found.rss_mib:>8.1f}{calls}{more['sink']['manifests']:>11}"
            f"{more['sink']['objects']:>9}{more['redis']:>8.1f}  {found.error}").rstrip()


def print_long(results):
    """A row for each load, and what ten times the work adds to the memory."""
    if not results:
        return
    print("\nlong listings: memory in MiB, of sluiced when so much is stored and of Redis at most;"
          "\ncalls to the source; manifests and objects as stored, checked against what there is")
    print(HEAD)
    for load, found in results.items():
        print(f"{load.name:14}{cells(load, found)}")
    for name in sorted({load.name for load in results}):
        usable = [(load.count(), found) for load, found in results.items()
                  if load.name == name and not found.error]
        if len(usable) < 2:
            continue
        (few, small), (many, large) = min(usable, key=first), max(usable, key=first)
        print(f"{name}: {many // few} times as much takes "
              f"{large.rss_mib - small.rss_mib:+.1f} MiB at the peak")


def first(pair):
    """For sorting."""
    return pair[0]
