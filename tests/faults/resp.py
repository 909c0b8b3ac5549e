# SPDX-License-Identifier: Apache-2.0
"""A proxy between a daemon and a real Redis that understands what passes: one command goes
through after the other, each as an operation of the wire."""
import asyncio
import re
import socket
import struct

from wire import NO_POLL, Half, Lost, Op

POLLS = {"tick", "beat", "fix"}  # go on for ever
ERRORS = {
    "LOADING": "Redis is loading the dataset in memory",
    "READONLY": "You can't write against a read only replica.",
    "OOM": "command not allowed when used memory > 'maxmemory'.",
    "MISCONF": "Errors writing to the AOF file: No space left on device",
    "NOREPLICAS": "Not enough good replicas to write.",
    "MASTERDOWN": "Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "CLUSTERDOWN": "The cluster is down",
    "TRYAGAIN": "Multiple keys request during rehashing of slot",
    "BUSY": "Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
}

CLOCK = re.compile(rb"return time\[1\] \* 1000 \+ math\.floor\(time\[2\] / 1000\)")
SKEWED = rb"\g<0> + tonumber(call('GET', 'skew') or 0)"


class More(Exception):
    """The bytes end before the value does."""


def parse(data, at=0):
    """(value, where it ends) of the RESP2 value that begins at `at`. Errors come as an
    exception object, not raised."""
    end = data.find(b"\r\n", at)
    if end < 0:
        raise More
    kind, line, at = data[at:at + 1], bytes(data[at + 1:end]), end + 2
    if kind == b"+":
        return line, at
    if kind == b"-":
        return RuntimeError(line.decode()), at
    size = int(line)
    if kind == b":" or size < 0:
        return (size if kind == b":" else None), at
    if kind == b"$":
        if len(data) < at + size + 2:
            raise More
        return bytes(data[at:at + size]), at + size + 2
    items = []
    for _ in range(size):
        item, at = parse(data, at)
        items.append(item)
    return items, at


async def read_value(stream, buffer):
    """(value, its bytes) of the next value of a stream; None at its end."""
    while True:
        try:
            value, end = parse(buffer)
            raw = bytes(buffer[:end])
            del buffer[:end]
            return value, raw
        except More:
            chunk = await stream.read(1 << 20)
            if not chunk:
                return None
            buffer += chunk


def with_skewed_clock(words):
    """The command that loads the queue's library, so that its clock can be moved."""
    words[-1], times = CLOCK.subn(SKEWED, words[-1])
    assert times == 1, "the clock line of the queue's library was not found"
    return words, b"".join([b"*%d\r\n" % len(words),
                            *(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)])


def name_op(words, slot):
    """What a command is: a function is known by its name and its first argument."""
    words = [word.decode("utf-8", "replace") for word in words[:8]]
    if not words[0].startswith("FCALL"):
        return Op("redis", words[0].lower(), "", slot)
    verb = words[1].removeprefix("sluice_")
    if verb in POLLS:
        return Op("redis", verb, "", slot, polls=2)
    if verb == "claim":
        return Op("redis", verb, " ".join(words[6:8]), slot)
    subject = words[4] if len(words) > 4 else ""
    return Op("redis", verb, subject, slot, polls=4 if subject.startswith("tail/") else NO_POLL)


class Proxy:
    """Listens on a unix socket for one daemon."""

    def __init__(self, lab, slot, path, target):
        self.lab, self.slot, self.path, self.target = lab, slot, path, target
        self.server = None

    async def start(self):
        """Returns when it listens."""
        self.server = await asyncio.start_unix_server(self._serve, self.path)

    def _is_stale(self, writer):
        """Was it opened by a daemon that was killed meanwhile, perhaps in an earlier run?"""
        peer = writer.get_extra_info("socket").getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return struct.unpack("3i", peer)[0] != self.lab.slots[self.slot].process.pid

    async def _serve(self, reader, writer):
        if self._is_stale(writer):
            writer.close()
            return
        judge = self.lab.judge
        upstream_reader, upstream = await asyncio.open_unix_connection(self.target)
        asked, answered = bytearray(), bytearray()

        async def carry_out(words, raw):
            async with self.lab.turn:  # so that the judge sees what the daemons do in order
                if judge.closed:
                    raise Lost  # what a daemon of an earlier run still had on its way
                past = judge.past
                upstream.write(raw)
                got = await read_value(upstream_reader, answered)
                if got is None:
                    raise Lost
                if past == judge.past:
                    judge.on_redis(words, got[0])
                return got

        try:
            while (command := await read_value(reader, asked)) and not judge.closed:
                _, reply = await self._pass(*command, carry_out)
                writer.write(reply)
        except Half as stop:
            writer.write(stop.answer[1][:len(stop.answer[1]) // 2])
            await writer.drain()
        except (Lost, OSError, RuntimeError):
            pass
        finally:
            for stream in (writer, upstream):
                stream.close()

    async def _pass(self, words, raw, carry_out):
        """One command. A claim that gets nothing is no operation; so claims are carried out
        first, and then it is decided what becomes of the answer."""
        if words[0] == b"FUNCTION":
            words, raw = with_skewed_clock(words)
        op = name_op(words, self.slot)
        op.instead = error_instead
        if op.verb != "claim":
            return await self.lab.wire.through(op, lambda: carry_out(words, raw))
        got = await carry_out(words, raw)
        tasks = got[0][1:] if isinstance(got[0], list) else []
        if not tasks:
            return got

        if all(task.startswith(b"tail/") for task, _ in tasks):
            op.subject, op.polls = "tail", 3

        async def known():
            return got
        return await self.lab.wire.through(op, known)


async def error_instead(kind, _effect):
    """An error reply; nothing was carried out."""
    return None, f"-{kind} {ERRORS[kind]}\r\n".encode()
