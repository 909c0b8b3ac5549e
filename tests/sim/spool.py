# SPDX-License-Identifier: Apache-2.0
"""Bytes that clients sent, kept in files until the simulator ends."""
import os
import tempfile

from content import crc32c

STORED = "stored:"  # what the key of such a file begins with; then its path


class Stored:
    """What is in a file of the spool; the counterpart of content.Content."""

    def __init__(self, key, size):
        self.path, self.size = key.removeprefix(STORED), size

    def read(self, offset, length):
        """Bytes [offset, offset + length), cut at the end of the file."""
        with open(self.path, "rb") as file:
            file.seek(offset)
            return file.read(max(min(length, self.size - offset), 0))

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

    def lines(self):
        """Its lines, without their ends."""
        with open(self.path, "rb") as file:
            for line in file:
                yield line.rstrip(b"\r\n")


class Spool:
    """The directory, made when the first file is. It goes with the process."""

    def __init__(self):
        self.directory = None
        self.count = 0

    def new(self):
        """The path of a new, empty file."""
        if self.directory is None:
            # pylint: disable-next=consider-using-with
            self.directory = tempfile.TemporaryDirectory(prefix="sluice-sim-")
        self.count += 1
        path = os.path.join(self.directory.name, str(self.count))
        with open(path, "wb"):
            return path
