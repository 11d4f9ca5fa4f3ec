"""How much was read of a target's objects, by whichever process: gateways of its host tell it what they have read."""

from __future__ import annotations

import msgspec


class ReadCounts(msgspec.Struct, gc=False):
    """Of objects and of ranges of them, each time that one is opened for reading. For one thread."""

    reads: int = 0
    read_bytes: int = 0

    def add(self, read_bytes: int, *, reads: int = 1) -> None:
        self.reads += reads
        self.read_bytes += read_bytes

    def take(self) -> ReadCounts:
        """What was counted since the last call."""
        taken = ReadCounts(self.reads, self.read_bytes)
        self.reads = self.read_bytes = 0
        return taken
