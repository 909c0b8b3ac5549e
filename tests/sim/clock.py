# SPDX-License-Identifier: Apache-2.0
"""The clock of a world: real by default, or started elsewhere, faster, or moved by hand, so that
a week of batches passes in seconds. Lives of batches, `updated` and the Date header follow it;
tokens and waits do not."""
import email.utils
import time


class Clock:
    """Milliseconds since 1970."""

    def __init__(self):
        self.at = self.since = 0.0
        self.rate = 1.0

    def now_ms(self):
        """The time of the world."""
        return int(self.at + (time.time() * 1000 - self.since) * self.rate)

    def set(self, at_ms=None, rate=None):
        """From now on it is `at_ms` and passes `rate` times as fast (0: only by step)."""
        self.at, self.since = self.now_ms() if at_ms is None else at_ms, time.time() * 1000
        self.rate = self.rate if rate is None else rate

    def step(self, ms):
        """Forward at once."""
        self.at += ms

    def reset(self):
        """Real time again."""
        self.__init__()

    def date(self, ahead_s=0):
        """As the Date header writes it."""
        return email.utils.formatdate(self.now_ms() // 1000 + ahead_s, usegmt=True)


clock = Clock()  # of the process: a simulator has one world at a time
