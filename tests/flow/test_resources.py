# SPDX-License-Identifier: Apache-2.0
"""The daemon without what it takes for granted: file descriptors (P10), a place for its log
lines (P11), room for the answer to a question, a quiet health socket (O3)."""
import contextlib
import fcntl
import os
import pathlib
import resource
import socket
import subprocess
import time

import pytest

from ground import now_ms
from test_tail import committed, drained
from world import wait_until

STARVED_S = 3
EX_OSERR, EX_IOERR, EX_CONFIG = 71, 74, 78
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


def cpu_seconds(daemon):
    """What the process has used so far."""
    text = pathlib.Path(f"/proc/{daemon.process.pid}/stat").read_text(encoding="ascii")
    fields = text.rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def set_open_files(daemon, soft):
    """Changes RLIMIT_NOFILE of the running process."""
    _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (soft, hard))


def open_files(daemon):
    """How many descriptors it has."""
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


def through_shell(daemon, line):
    """Has the daemon started by a line of shell, in which $SLUICED is the program and "$@" its
    arguments; its log goes where the line says."""
    script = daemon.directory / "start"
    script.write_text(f"#!/bin/sh\nSLUICED='{daemon.binary}'\n{line}\n", encoding="ascii")
    script.chmod(0o700)
    daemon.binary = str(script)
    return daemon


# ---- P10: descriptors

def test_no_descriptors_while_it_works(world, sim, sluiced, redis, judge):
    """EMFILE in the middle of the work, and connections that break: no spinning, nothing dies,
    it goes on as soon as it can."""
    data = world.dataset()
    for number in range(40):
        data.batch([3000 + number, 66000])
    sim.start()
    sim.arm("delay:ms=20 reset_mid_body:times=30")
    daemon = sluiced()
    daemon.start()
    committed(daemon, 3)
    set_open_files(daemon, 8)  # fewer than it has: each new one is refused
    before = cpu_seconds(daemon)
    time.sleep(STARVED_S)
    used = cpu_seconds(daemon) - before
    assert daemon.running(), daemon.tail()
    assert used < 0.4 * STARVED_S, f"{used:.1f} s of CPU in {STARVED_S} s without descriptors"
    set_open_files(daemon, 1024)
    drained(daemon, redis, 90)
    assert daemon.metric("sluice_dead_letters_total") == 0
    judge()


def test_no_descriptor_for_a_client(world, sluiced):
    """accept() on the health socket fails while clients wait: the classic way to spin."""
    world.dataset()
    daemon = sluiced()
    daemon.start()
    wait_until(lambda: daemon.get("/readyz")[0] == 200, 20, "ready")
    set_open_files(daemon, open_files(daemon))
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(daemon.socket))
            with contextlib.suppress(BrokenPipeError):  # sent away is as good as waiting
                client.sendall(LIVEZ)
        before = cpu_seconds(daemon)
        time.sleep(STARVED_S)
        used = cpu_seconds(daemon) - before
        assert used < 0.3, f"{used:.1f} s of CPU in {STARVED_S} s of waiting clients"
    set_open_files(daemon, 1024)
    wait_until(lambda: daemon.get("/livez")[0] == 200, 10, "answers again")


@pytest.mark.parametrize("soft", [7, 13, 17, 21, 25, 30])
def test_few_descriptors_from_the_start(world, sluiced, redis, judge, soft):
    """RLIMIT_NOFILE too low at the start: ends with a sentence, or lives without spinning."""
    world.dataset().batch([1000])
    daemon = through_shell(sluiced(), f'exec prlimit --nofile={soft}:1024 $SLUICED "$@"')
    daemon.launch()
    time.sleep(1)
    if not daemon.running():
        status = daemon.process.returncode
        assert status in (EX_OSERR, EX_CONFIG, 127), daemon.tail()  # 127: the linker's
        why = "oo many open files", "out of", "Error 24"
        assert any(word in daemon.tail() for word in why), daemon.tail()
        return
    before = cpu_seconds(daemon)
    time.sleep(STARVED_S)
    used = cpu_seconds(daemon) - before
    assert used < 0.3, f"{used:.1f} s of CPU in {STARVED_S} s with {soft} descriptors"
    set_open_files(daemon, 1024)
    committed(daemon, 1)
    drained(daemon, redis)
    judge()


# ---- P11: nowhere to log to

@pytest.mark.parametrize("where", ["2>&-", ">&- 2>&- <&-", "2>/dev/full"])
def test_log_that_goes_nowhere(world, sluiced, redis, judge, where):
    """Closed or full: the work goes on, and no log line ends up in somebody's connection."""
    world.dataset().batch([1000, 6_000_000])
    daemon = through_shell(sluiced(log={"level": "debug"}), f'exec $SLUICED "$@" {where}')
    daemon.start()
    committed(daemon, 1)
    drained(daemon, redis)
    judge()
    lost = daemon.metric("sluice_log_lines_lost")
    assert lost > 5 if "full" in where else lost == 0


def test_log_disk_full_for_a_while(world, sim, sluiced, redis, judge, place):
    """A log on a small disk: lines are lost and counted, and the next one says how many."""
    small = place / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the permission to mount")
    data = world.dataset()
    data.batch([1000])
    daemon = through_shell(sluiced(log={"level": "debug"}),
                           f'exec $SLUICED "$@" 2>>{small}/log')
    try:
        filler = small / "filler"
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        daemon.start()
        committed(daemon, 1)
        wait_until(lambda: daemon.metric("sluice_log_lines_lost") > 0, 10, "lines are lost")
        filler.unlink()
        sim.add(data.batch([2000], created=now_ms()))
        committed(daemon, 2)
        drained(daemon, redis)
        judge()
        daemon.stop()
        assert "log_lines_lost=" in (small / "log").read_text(encoding="ascii")
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_log_reader_that_stands_still(world, sluiced, redis, judge):
    """A pipe that nobody empties: its writer must not wait for it."""
    world.dataset().batch([[f"file{number}", 10] for number in range(400)])
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    try:
        daemon = through_shell(sluiced(log={"level": "debug"}),
                               f'exec $SLUICED "$@" 2>/proc/{os.getpid()}/fd/{writer}')
        daemon.start()
        committed(daemon, 1)
        drained(daemon, redis)
        judge()
        assert daemon.metric("sluice_log_lines_lost") > 0
    finally:
        os.close(reader)
        os.close(writer)


def test_log_reader_that_has_gone(world, sluiced, redis, judge):
    """A broken pipe: no signal, no end."""
    world.dataset().batch([1000])
    reader, writer = os.pipe()
    daemon = through_shell(sluiced(), f'exec $SLUICED "$@" 2>/proc/{os.getpid()}/fd/{writer}')
    daemon.launch()
    wait_until(daemon.alive, 20)
    os.close(reader)
    os.close(writer)
    committed(daemon, 1)
    drained(daemon, redis)
    judge()
    wait_until(lambda: daemon.metric("sluice_log_lines_lost") > 0, 10, "lines are lost")


# ---- answers to questions

@pytest.mark.parametrize("question", ["--print-config", "--version", "--help"])
def test_full_disk_is_no_answer(world, sluiced, question):
    """What could not be written must not end with 0."""
    world.dataset()
    daemon = sluiced()
    daemon.launch("--check-config")
    assert daemon.process.wait(10) == 0, daemon.tail()
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([daemon.binary, "--config", str(daemon.file), question],
                              stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == EX_IOERR


# ---- O3: the health socket

def latency_s(daemon):
    """Of one /livez."""
    began = time.monotonic()
    assert daemon.get("/livez")[0] == 200
    return time.monotonic() - began


def hold(stack, daemon, said):
    """A client that says a part of a request and no more."""
    client = stack.enter_context(socket.socket(socket.AF_UNIX))
    client.connect(str(daemon.socket))
    client.sendall(said)
    return client


def test_slow_and_partial_clients(world, sluiced):
    """60 clients that say nothing, half of something, or do not read: others do not notice."""
    world.dataset()
    daemon = sluiced()
    daemon.start()
    said = [b"", b"G", b"sta", b"GET /status HTTP/1.1\r\nHost", b"GET /metrics HTTP/1.1\r\n\r\n"]
    with contextlib.ExitStack() as stack:
        for number in range(60):
            hold(stack, daemon, said[number % len(said)])
        slowest = sorted(latency_s(daemon) for _ in range(100))[-3]
        assert slowest < 0.05, f"{1000 * slowest:.0f} ms"
    assert daemon.running()


def test_a_thousand_connections(world, sim, sluiced, redis, judge):
    """1000 clients at a time: bounded, the work goes on, and afterwards all is as before."""
    data = world.dataset()
    data.batch([1000])
    daemon = sluiced()
    daemon.start()
    committed(daemon, 1)
    before = open_files(daemon)
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):  # the backlog is full
                client.connect(str(daemon.socket))
                client.send(b"GET /li")
        assert open_files(daemon) <= before + 64 + 8
        sim.add(data.batch([2000], created=now_ms()))
        key = f"sluice:t:b/{data.id}/*"
        wait_until(lambda: len(redis.command("--scan", "--pattern", key).split()) == 2, 10,
                   "work goes on meanwhile")
        drained(daemon, redis, 10)
    committed(daemon, 2)
    wait_until(lambda: open_files(daemon) <= before + 8, 10, "all closed")
    assert latency_s(daemon) < 0.1
    judge()
