# SPDX-License-Identifier: Apache-2.0
"""Every operation that leaves a daemon passes here: it gets a name, and the faults planned for
it strike.

An operation's name says what it is, not when it came: service, verb, subject and how often that
was seen before in this run. So the operations of an undisturbed run name the points at which
later runs are disturbed, although no two runs have the same order of polls.
"""
import collections
import re
import signal
from dataclasses import dataclass


NO_POLL = 1 << 30
GENERATION = re.compile(r"(?<=[/=])\d{13}(?=/)")  # of a replay: another one in each run
REPEATED = {"head", "get", "hget", "batch"}  # go on for a while when something was withdrawn


class Lost(Exception):
    """There is no answer: the connection ends."""


class Half(Exception):
    """The connection ends in the middle of this answer."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer


@dataclass
class Op:
    """One operation. `instead(kind)` makes the service's answer for a kind of fault."""
    service: str
    verb: str
    subject: str
    slot: int
    polls: int = NO_POLL  # how many of its repetitions are points (anew after each act of the
    #                       platform): it goes on when idle
    instead: object = None
    occurrence: int = 0
    name: str = ""

    @property
    def idle(self):
        """Does it only say that nothing happens?"""
        return self.occurrence > self.polls


@dataclass(frozen=True)
class Strike:
    """A fault of a kind, at the operation of this name (None: at the next one)."""
    name: str
    kind: str

    def __str__(self):
        return f"{self.kind}@{self.name}"


async def kill_before(lab, op, _effect):
    lab.crash(op.slot)
    raise Lost


async def kill_after(lab, op, effect):
    await effect()
    lab.crash(op.slot)
    raise Lost


async def zombie_before(lab, op, effect):
    await lab.suspend(op.slot)
    return await effect()


async def zombie_after(lab, op, effect):
    answer = await effect()
    await lab.suspend(op.slot)
    return answer


async def term_before(lab, op, effect):
    lab.signal(op.slot, signal.SIGTERM)
    return await effect()


async def term_after(lab, op, effect):
    answer = await effect()
    lab.signal(op.slot, signal.SIGTERM)
    return answer


async def hup(lab, op, effect):
    lab.signal(op.slot, signal.SIGHUP)
    return await effect()


async def cut(_lab, _op, _effect):
    raise Lost


async def lost(_lab, _op, effect):
    await effect()
    raise Lost


async def half(_lab, _op, effect):
    raise Half(await effect())


async def flush(lab, _op, effect):
    await lab.lose_redis()
    return await effect()


async def rollback(lab, _op, effect):
    lab.go_back()
    return await effect()


# What may happen at any operation, whatever the service.
ANYWHERE = {
    "kill-before": kill_before, "kill-after": kill_after,
    "zombie-before": zombie_before, "zombie-after": zombie_after,
    "term-before": term_before, "term-after": term_after, "hup": hup,
    "cut": cut, "lost": lost, "half": half, "flush": flush,
    "rollback": rollback,
}

# Answers in place of the effect, by service. Those that end with + come after it: the operation
# was carried out and nevertheless answered so.
ERRORS = {
    "redis": ("LOADING", "READONLY", "OOM", "MISCONF", "NOREPLICAS", "MASTERDOWN",
              "CLUSTERDOWN", "TRYAGAIN", "BUSY"),
    "s3": ("500", "503", "RequestTimeout", "AccessDenied", "ExpiredToken",
           "RequestTimeTooSkewed", "500+", "503+"),
    "aep": ("401", "403", "404", "429", "500", "503", "html"),
    "ims": ("400", "401", "429", "500", "503", "html"),
}
# Those that only some operations can meet.
ERRORS_OF = {
    ("s3", "put"): ("BadDigest", "OperationAborted"),
    ("s3", "part"): ("BadDigest", "NoSuchUpload"),
    ("s3", "complete"): ("InvalidPart", "EntityTooSmall", "NoSuchUpload", "OperationAborted",
                         "200-error", "200-error+"),
    ("s3", "list-parts"): ("NoSuchUpload",),
    ("aep", "content"): ("short_range", "shifted_content_range", "full_200_to_range",
                         "total_changes", "truncated_body"),
}


def kinds_for(service, verb):
    """The kinds of fault that an operation can meet."""
    return list(ANYWHERE) + list(ERRORS[service]) + list(ERRORS_OF.get((service, verb), ()))


class Wire:
    """Names operations, strikes, keeps the history of one run."""

    def __init__(self, lab, strikes=(), dice=None):
        self.lab = lab
        self.strikes = list(strikes)
        self.dice = dice  # chooses faults at random; see random_run.py
        self.seen = collections.Counter()
        self.history = []
        self.struck = []

    def _number(self, op):
        if self.lab.scenario.changes and op.verb in REPEATED:
            op.polls = 2
        polled = op.polls < NO_POLL and self.lab.acted
        subject = GENERATION.sub("generation", op.subject)
        key = (op.service, op.verb, subject, f"after act {self.lab.acted}" if polled else "")
        self.seen[key] += 1
        op.occurrence = self.seen[key]
        op.name = " ".join(filter(None, key)) + f" #{op.occurrence}"
        self.history.append(op)

    def _planned(self, op):
        for strike in self.strikes:
            if strike.name in (None, op.name):
                self.strikes.remove(strike)
                self.struck.append(Strike(op.name, strike.kind))
                return strike.kind
        kind = self.dice.throw(op) if self.dice else None
        if kind:
            self.struck.append(Strike(op.name, kind))
        return kind

    async def through(self, op, effect):
        """The answer to `op`; raises Lost or Half. `effect` carries it out."""
        self._number(op)
        self.lab.moved(op)
        kind = self._planned(op)
        if kind is None:
            return await effect()
        if kind in ANYWHERE:
            return await ANYWHERE[kind](self.lab, op, effect)
        if kind.endswith("+"):
            await effect()
        return await op.instead(kind.removesuffix("+"), effect)

    def points(self):
        """The operations of this run at which another one can be disturbed."""
        return [op for op in self.history if not op.idle]
