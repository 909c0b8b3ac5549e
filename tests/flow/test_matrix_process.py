# SPDX-License-Identifier: Apache-2.0
"""Fault matrix, group P: tasks that kill their daemon, clocks that jump, a loop that stalls."""
import contextlib
import ctypes
import glob
import os
import pathlib
import signal
import socket
import time

import pytest

from ground import now_ms
from matrix_rig import (  # pylint: disable=unused-import
    MIB, aep_relay, all_well, committed, field, fixture_aep_line, ready, tasks)
from queue_rig import LIBRARY
from relay import Cut
from test_service import heard
from world import wait_until

LOST_MAX = 5
HOUR_S = 3600
TEN_YEARS_S = 315_360_000
CLOCK = "math.floor(time[2] / 1000)\n"
SHIFT = "sluice:shift"
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WATCHDOG_S = 1.5


# ---- a task that kills


def lapse(redis, task, dataset):
    """The lease of a task is over, as if its time had passed."""
    redis.command("ZADD", f"sluice:lease:f:{dataset}", "XX", 1, task)


def test_p8_poison(world, sim, aep_line, redis, judge):
    """A file that kills each daemon that reads it is buried; what comes after it is not."""
    data = world.dataset()
    data.batch([100])
    relay, daemon = aep_line()
    daemon.start()
    committed(daemon, 1)

    def crash(request):
        if b"path=poison" in request:
            daemon.process.kill()
            raise Cut
        return request

    relay.up = crash
    sim.add(data.batch([("poison.parquet", 500)], created=now_ms(), expect="none"))
    daemon.process.wait(10)
    poison = next(task for task in tasks(redis, "f")
                  if field(redis, task, "name") == "poison.parquet")
    deaths = [0]

    def buried():
        if field(redis, poison, "status") == "failed":
            return True
        if not daemon.running():
            deaths[0] += 1
            lapse(redis, poison, data.id)
            daemon.launch()
        return False

    wait_until(buried, 30, "the poison is buried")
    assert field(redis, poison, "class") == "poison"
    assert deaths[0] == LOST_MAX
    sim.add(data.batch([200], created=now_ms()))
    committed(daemon, 1)
    judge(allow_strays=True)


# ---- the daemon's clock


@pytest.fixture(name="clock")
def fixture_clock(place, monkeypatch):
    """clock() is a context in which processes are started with a clock of their own, which
    clock.set(seconds) moves at any time; their monotonic clock stays as it is."""
    library = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    assert library, "apt-get install libfaketime"

    class Clock:
        """The clock, kept in a file."""
        file = place / "clock"

        def set(self, seconds):
            """It differs by so many seconds from the right one."""
            new = self.file.with_suffix(".new")
            new.write_text(f"{seconds:+d}\n", encoding="utf-8")
            new.rename(self.file)

        @contextlib.contextmanager
        def __call__(self):
            with monkeypatch.context() as environment:
                environment.setenv("LD_PRELOAD", library[0])
                environment.setenv("FAKETIME_TIMESTAMP_FILE", str(self.file))
                environment.setenv("FAKETIME_NO_CACHE", "1")
                environment.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                yield

    clock = Clock()
    clock.set(0)
    return clock


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S, TEN_YEARS_S])
def test_p12_clock_jumps_under_the_daemon(jump_s, clock, world, sim, sluiced, redis, judge):
    """The store's Date corrects signatures; leases and polls follow the monotonic clock."""
    data = world.dataset()
    data.batch([100])
    daemon = sluiced(queue={"lease": "2s"})
    with clock():
        daemon.start()
    committed(daemon, 1)
    clock.set(jump_s)
    sim.add(data.batch([6 * MIB, 100], created=now_ms()))
    all_well(daemon, redis, judge, 2)
    assert daemon.metric("sluice_leases_lost_total") == 0


@pytest.mark.parametrize("jump_s", [HOUR_S, TEN_YEARS_S, -HOUR_S])
def test_p12_start_with_a_wrong_clock(jump_s, clock, world, sim, sluiced, redis, judge):
    """A daemon goes on where another one, whose clock was right, has stopped."""
    data = world.dataset()
    data.batch([100])
    daemon = sluiced()
    daemon.start()
    committed(daemon, 1)
    time.sleep(0.5)  # the watermark comes up to the present
    daemon.stop()
    clock.set(jump_s)
    with clock():
        daemon.start()
    sim.add(data.batch([6 * MIB, 100], created=now_ms()))
    all_well(daemon, redis, judge, 1, timeout_s=8)


@pytest.mark.parametrize("jump_s", [-HOUR_S, HOUR_S])
def test_p12_from_now_on_by_a_wrong_clock(jump_s, clock, world, sim, sluiced, redis, judge):
    """start: now means now, whatever our clock says: nothing that comes later is skipped."""
    data = world.dataset()
    daemon = sluiced()
    daemon.config["datasets"][0]["start"] = "now"
    clock.set(jump_s)
    with clock():
        daemon.start()
    ready(daemon)
    sim.add(data.batch([100], created=now_ms()))
    all_well(daemon, redis, judge, 1, timeout_s=8)


# ---- the clock of Redis


@pytest.fixture(name="shift")
def fixture_shift(redis):
    """shift(seconds) moves the clock of the queue's functions; all else in them is as it is."""
    text = pathlib.Path(LIBRARY).read_text(encoding="utf-8")
    assert text.count(CLOCK) == 1
    moved = text.replace(CLOCK, f"{CLOCK.strip()} + tonumber(call('GET', '{SHIFT}') or 0)\n")
    redis.command("FUNCTION", "LOAD", moved)
    return lambda seconds: redis.command("SET", SHIFT, seconds * 1000)


def test_p13_clock_of_redis_goes_ahead(shift, world, sim, sluiced, redis, judge):
    """Every lease that is not renewed first ends at once: its work is fenced and done again."""
    data = world.dataset()
    data.batch([11 * MIB, 100])
    sim.start()
    sim.arm(f"slow:bytes_per_second={8 * MIB}")
    daemon = sluiced(queue={"lease": "2s"})
    daemon.start()
    wait_until(lambda: daemon.metric("sluice_received_bytes_total") > 2 * MIB, 20)
    shift(HOUR_S)
    redis.command("FCALL", "sluice_tick", 1, "sluice:", "test", 1000, 86400000, 5, data.id)
    wait_until(lambda: daemon.metric("sluice_leases_lost_total") > 0, 10, "fenced")
    sim.disarm()
    all_well(daemon, redis, judge, 1, allow_uploads=1)


def test_p13_clock_of_redis_goes_back(shift, world, sim, sluiced, redis, judge):
    """Leases and waits last longer by the jump, work goes on; when the clock is right again all
    is as before."""
    data = world.dataset()
    data.batch([11 * MIB, 100])
    sim.start()
    sim.arm(f"slow:bytes_per_second={8 * MIB}")
    daemon = sluiced(queue={"lease": "2s"})
    daemon.start()
    wait_until(lambda: daemon.metric("sluice_received_bytes_total") > 2 * MIB, 20)
    shift(-HOUR_S)
    committed(daemon, 1, 15)
    assert daemon.metric("sluice_leases_lost_total") == 0
    shift(0)
    sim.add(data.batch([200], created=now_ms()))
    all_well(daemon, redis, judge, 2)


# ---- a loop that stalls


@contextlib.contextmanager
def frozen(thread):
    """Stops one thread of a child as a debugger would; the others go on."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(PTRACE_SEIZE, thread, None, None):
        pytest.skip(f"needs the right to trace: {os.strerror(ctypes.get_errno())}")
    assert libc.ptrace(PTRACE_INTERRUPT, thread, None, None) == 0
    os.waitpid(thread, 0x40000000)  # __WALL: whatever kind of thread it is
    yield
    assert libc.ptrace(PTRACE_DETACH, thread, None, None) == 0


@pytest.mark.parametrize("who", ["process", "loop", "uploader"])
def test_p14_watchdog(who, world, sluiced, place, monkeypatch):
    """systemd hears nothing while the process, its loop or one of its uploaders stands still,
    and so would kill it; it is heard again when they go on."""
    world.dataset()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sink:
        sink.bind(str(place / "notify"))
        daemon = sluiced()
        with monkeypatch.context() as environment:
            environment.setenv("NOTIFY_SOCKET", str(place / "notify"))
            environment.setenv("WATCHDOG_USEC", str(int(WATCHDOG_S * 1e6)))
            daemon.start()
        ready(daemon)
        pid = daemon.process.pid
        threads = sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))
        with contextlib.ExitStack() as stack:
            if who == "process":
                daemon.signal(signal.SIGSTOP)
                stack.callback(daemon.signal, signal.SIGCONT)
            else:
                stack.enter_context(frozen(threads[0] if who == "loop" else threads[1]))
            time.sleep(WATCHDOG_S)  # the last pulse was good for so long
            heard(sink)
            time.sleep(WATCHDOG_S)
            assert "WATCHDOG=1" not in heard(sink)
        wait_until(lambda: "WATCHDOG=1" in heard(sink), 5, "it is heard again")
