# SPDX-License-Identifier: Apache-2.0
"""Fault matrix, group N: names that do not resolve, lines that swallow, break and crumble."""
import os
import random
import socket
import struct
import threading
import time

import pytest

from matrix_rig import (  # pylint: disable=unused-import
    MIB, Rough, all_well, fixture_redis_line, ready, redis_relay, says)
from world import wait_until

A, AAAA = 1, 28
NXDOMAIN, SERVFAIL = 3, 2


class Dns:
    """A name server, on port 53 of an address of its own. `mode` is its answer to every name: an
    error code, None (silence), or a dict of record types and addresses."""

    def __init__(self):
        self.mode, self.asked = NXDOMAIN, 0
        self.address = "127." + ".".join(str(random.randint(2, 250)) for _ in range(3))
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((self.address, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        """Ends it."""
        self.socket.close()

    def _serve(self):
        while True:
            try:
                query, sender = self.socket.recvfrom(512)
            except OSError:
                return
            self.asked += 1
            if self.mode is not None:
                self.socket.sendto(self._answer(query), sender)

    def _answer(self, query):
        end = query.index(b"\0", 12) + 5
        (kind,) = struct.unpack(">H", query[end - 4:end - 2])
        code = self.mode if isinstance(self.mode, int) else 0
        packed = [] if code else [
            socket.inet_pton(socket.AF_INET if kind == A else socket.AF_INET6, address)
            for address in self.mode.get(kind, [])]
        records = b"".join(struct.pack(">HHHIH", 0xc00c, kind, 1, 1, len(data)) + data
                           for data in packed)
        return (query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(packed), 0, 0)
                + query[12:end] + records)


@pytest.fixture(name="dns")
def fixture_dns():
    """The name server. Its port and the mount below are root's."""
    if os.geteuid():
        pytest.skip("needs root: port 53 and a mount namespace")
    server = Dns()
    yield server
    server.close()


def resolving(daemon, dns):
    """Makes the daemon, and nobody else, ask this name server."""
    resolver = daemon.directory / "resolv.conf"
    resolver.write_text(f"nameserver {dns.address}\noptions timeout:1 attempts:1\n",
                        encoding="utf-8")
    script = daemon.directory / "start"
    script.write_text("#!/bin/sh\nexec unshare -m sh -c 'mount --bind \"$0\" /etc/resolv.conf &&"
                      f" exec \"$@\"' '{resolver}' '{daemon.binary}' \"$@\"\n", encoding="utf-8")
    script.chmod(0o755)
    daemon.binary = str(script)
    return daemon


@pytest.fixture(name="named")
def fixture_named(sim, sluiced, dns):
    """named() gives a daemon, not started, that knows the simulator by name only."""
    def make():
        origin = sim.start().endpoint.replace("127.0.0.1", "aep.matrix.test")
        return resolving(sluiced(aep={"endpoint": origin, "ims_endpoint": origin}), dns)

    return make


@pytest.mark.parametrize("mode", [NXDOMAIN, SERVFAIL, None, {}],
                         ids=["nxdomain", "servfail", "silence", "no-address"])
def test_n1_names_that_do_not_resolve(mode, world, named, dns, redis, judge):
    """Not ready, with the name; alive meanwhile; all is well once the name server is."""
    world.dataset().batch([100])
    dns.mode = mode
    daemon = named()
    daemon.start()
    says(daemon, "[-] ims fail resolve", "aep.matrix.test")
    assert daemon.get("/livez")[0] == 200
    dns.mode = {A: ["127.0.0.1"]}
    all_well(daemon, redis, judge, 1)


@pytest.mark.parametrize("records", [
    {A: ["127.0.0.2", "127.0.0.1"]}, {A: ["127.0.0.1"], AAAA: ["::1"]},
    {A: ["127.0.0.1"], AAAA: ["100::1"]}], ids=["dead-first", "dead-ipv6", "black-hole-ipv6"])
def test_n1_addresses_that_do_not_answer(records, world, named, dns, redis, judge):
    """One of several addresses is dead: another one serves without delay."""
    world.dataset().batch([100])
    dns.mode = records
    daemon = named()
    daemon.start()
    all_well(daemon, redis, judge, 1, timeout_s=8)


@pytest.mark.slow
def test_n2_line_to_redis_that_swallows(world, sim, redis_line, redis, judge):
    """Bytes go nowhere, and no end of the connection is heard: given up after ten seconds, and
    made anew."""
    world.dataset().batch([6 * MIB, 100])
    sim.start()
    sim.arm(f"slow:bytes_per_second={4 * MIB}")
    relay, daemon = redis_line()
    daemon.start()
    wait_until(lambda: daemon.metric("sluice_received_bytes_total") > MIB, 20)
    hole, go = set(relay.open), threading.Event()

    def swallow(data):
        if len(relay.open & hole) == len(hole):
            go.wait(30)
        return data

    relay.up = relay.down = swallow
    wait_until(lambda: daemon.get("/readyz")[0] == 503, 15, "not ready")
    assert daemon.get("/livez")[0] == 200
    relay.up = relay.down = lambda data: data
    sim.disarm()
    all_well(daemon, redis, judge, 1, allow_uploads=1)
    go.set()


def test_n3_every_line_breaks(world, sim, rgw, sluiced, redis, judge):
    """All connections end without notice after a while, wherever they are: all arrives."""
    data = world.dataset()
    for number in range(4):
        data.batch([300 + number, 6 * MIB, 70_000])
    sim.start()
    with Rough(redis.socket, 1 << 16, 30_000) as queue, \
            Rough(sim.endpoint, 1 << 16, 3 * MIB) as source, \
            Rough(rgw.endpoint, 1 << 16, 4 * MIB) as sink:
        origin = f"http://{source.address}"
        daemon = sluiced(redis={"url": f"redis://{queue.address}"},
                         aep={"endpoint": origin, "ims_endpoint": origin},
                         s3={"endpoint": f"http://{sink.address}"})
        daemon.start()
        all_well(daemon, redis, judge, 4, timeout_s=60, allow_uploads=8)
        assert queue.cuts and source.cuts and sink.cuts
        ready(daemon)


def test_n3_lines_that_crumble(world, sim, rgw, sluiced, redis, judge):
    """One byte at a time, in both directions, from and to all servers."""
    world.dataset().batch([300, 2000])
    sim.start()
    with Rough(redis.socket, 1) as queue, Rough(sim.endpoint, 1) as source, \
            Rough(rgw.endpoint, 1) as sink:
        origin = f"http://{source.address}"
        daemon = sluiced(redis={"url": f"redis://{queue.address}"},
                         aep={"endpoint": origin, "ims_endpoint": origin},
                         s3={"endpoint": f"http://{sink.address}"})
        begun = time.monotonic()
        daemon.start()
        all_well(daemon, redis, judge, 1)
        assert time.monotonic() - begun < 30
