# SPDX-License-Identifier: Apache-2.0
"""Generated file contents: any byte of any file, computed from its key, stored nowhere.

A file is a random tile of its own, repeated. The tile's length is a prime just below 1 MiB, so
that no shift by a power of two maps a file onto itself, and each repetition starts with its
number: bytes that land at the wrong place, or in the wrong file, never compare equal.
"""
import functools
import random

try:
    from awscrt.checksums import crc32c
except ImportError:  # the package comes with awscli; slow but right without it
    from crc32c_table import crc32c

TILE = 1_048_573
STAMP = 8

__all__ = ["Content", "crc32c"]


@functools.lru_cache(maxsize=64)
def tile(key, length):
    """The random tile of one file; short files need only a short one."""
    return random.Random(key).randbytes(length)


class Content:
    """What is in the file that `key` names."""

    def __init__(self, key, size):
        self.size = size
        self.tile = tile(key, min(size, TILE))

    def read(self, offset, length):
        """Bytes [offset, offset + length), cut at the end of the file."""
        end = min(offset + length, self.size)
        pieces = []
        while offset < end:
            number, at = divmod(offset, TILE)
            upto = min(TILE, at + end - offset)
            if at < STAMP:
                stamp = number.to_bytes(STAMP, "big")[at:upto]
                pieces.append(stamp)
                pieces.append(self.tile[at + len(stamp):upto])
            else:
                pieces.append(self.tile[at:upto])
            offset += upto - at
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def chunks(self, first=0, last=None, step=1 << 18):
        """The bytes [first, last] in pieces."""
        end = self.size if last is None else last + 1
        for offset in range(first, end, step):
            yield self.read(offset, min(step, end - offset))

    def crc32c(self):
        """CRC-32C of the whole file."""
        value = 0
        for chunk in self.chunks(step=1 << 20):
            value = crc32c(chunk, value)
        return value
