# SPDX-License-Identifier: Apache-2.0
"""Generated file contents: any byte of any file, computed from its key, stored nowhere.

A file is a random tile of its own, repeated. The tile's length is a prime just below 1 MiB, so
that no shift by a power of two maps a file onto itself, and each repetition starts with its
number: bytes that land at the wrong place, or in the wrong file, never compare equal.

What a reader looks at first is as the name promises: .parquet begins and ends with its magic number
and has a footer length that fits, .json and .csv end in a whole line.
"""
import functools
import random

try:
    from awscrt.checksums import crc32c
except ImportError:  # the package comes with awscli; slow but right without it
    from crc32c_table import crc32c

TILE = 1_048_573
STAMP = 8

MAGIC = b"PAR1"
PARQUET_MIN = 13  # magic, a footer of one byte, its length, magic

__all__ = ["Content", "crc32c"]


def ends(name, size):
    """(head, tail) that a file of this name and size must have."""
    suffix = name.lower().rpartition(".")[2]
    if suffix == "parquet" and size >= PARQUET_MIN:
        return MAGIC, min(size - 12, 1 + size % 5000).to_bytes(4, "little") + MAGIC
    if suffix in ("json", "csv") and size:
        return b"", b"\n"
    return b"", b""


@functools.lru_cache(maxsize=64)
def tile(key, length):
    """The random tile of one file; short files need only a short one."""
    return random.Random(key).randbytes(length)


def overlaid(data, offset, at, piece):
    """`data`, which begins at `offset`, with `piece` in its place at `at`."""
    first, last = max(offset, at), min(offset + len(data), at + len(piece))
    if first >= last:
        return data
    return data[:first - offset] + piece[first - at:last - at] + data[last - offset:]


class Content:
    """What is in the file that `key` names; `name` says of which form it is."""

    def __init__(self, key, size, name=""):
        self.size = size
        self.tile = tile(key, min(size, TILE))
        self.head, self.tail = ends(name, size)

    def read(self, offset, length):
        """Bytes [offset, offset + length), cut at the end of the file."""
        end = min(offset + length, self.size)
        data = self._tiles(offset, end)
        if offset < len(self.head) or end > self.size - len(self.tail):
            data = overlaid(data, offset, 0, self.head)
            data = overlaid(data, offset, self.size - len(self.tail), self.tail)
        return data

    def _tiles(self, offset, end):
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
